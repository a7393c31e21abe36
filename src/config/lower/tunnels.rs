//! `[tunnels]`: the short form, the long form, and the addresses they own.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Range, RangeInclusive};

use super::behaviour::{self, Basis};
use super::listen::{Exposed, Host, Offset, Offsets, Place, Taken};
use super::values::{port, port_range, whole};
use super::{Declared, Found, Kind, declared, entry_name, env, given, listen, name_of, resolve};
use crate::config::codes;
use crate::config::diagnostic::{Diagnostic, quote};
use crate::config::expand::split_arrows;
use crate::config::keys;
use crate::config::reader::{Entry, Field, Scalar, Text};
use crate::config::shapes::{File, LongTunnel, Tunnel as RawTunnel};
use crate::model::{Listen, Name, Port, Tunnel};

/// What every tunnel is read with.
struct Context<'a> {
    file: &'a File,
    targets: Declared<'a>,
    host: Host,
    offset: Option<Offset>,
    /// `worktree_offset`, and the number of the worktree.
    worktree: Option<(Offset, u16)>,
    basis: Basis,
}

/// What a tunnel says of itself.
struct Parts {
    /// Whether it is wanted at all.
    enabled: bool,
    listen: Option<Settled>,
    target: Option<Name>,
    port: Option<Port>,
    profiles: BTreeSet<Name>,
    env: BTreeMap<String, String>,
    basis: Basis,
}

/// Where a tunnel listens.
#[derive(Clone)]
struct Settled {
    listen: Listen,
    /// Whether the port there is ours to choose.
    auto: bool,
    span: Range<usize>,
}

impl Context<'_> {
    /// What is added to the port of a tunnel with this `port_offset`.
    fn offsets<'a>(&'a self, port: Option<&'a Offset>) -> Offsets<'a> {
        Offsets { port, worktree: self.worktree.as_ref().map(|(offset, number)| (offset, *number)) }
    }
}

/// Lowers all tunnels; those with a mistake, and those that are not enabled, are left out.
pub(super) fn lower(file: &File, worktree: u16, found: &mut Found) -> BTreeMap<Name, Tunnel> {
    let (key, range) = ("worktree_offset", keys::WORKTREE_OFFSETS);
    let by_worktree = offset(file.defaults.worktree_offset.as_ref(), key, range, found);
    let context = Context {
        file,
        targets: declared(&file.targets),
        host: Host::read(&file.defaults, found),
        offset: offset(file.defaults.port_offset.as_ref(), "port_offset", keys::OFFSETS, found),
        worktree: by_worktree.filter(|_| worktree != 0).map(|offset| (offset, worktree)),
        basis: behaviour::lower(&file.defaults.behaviour, &Basis::default(), found),
    };
    let mut taken = Taken::default();
    let mut tunnels = BTreeMap::new();
    for entry in &file.tunnels {
        let name = entry_name(entry, "a tunnel", found);
        let parts = match &entry.value {
            RawTunnel::Short(text) => short(text, &context, found),
            RawTunnel::Long(raw) => Some(long(entry, raw, &context, found)),
            RawTunnel::Broken => None,
        };
        if let Some(Parts { port: Some(port), basis, .. }) = &parts {
            behaviour::check_dial(basis, *port, &entry.key, found);
        }
        let Some(parts) = parts.filter(|parts| parts.enabled) else { continue };
        if let Some(Settled { listen, span, .. }) = &parts.listen {
            taken.claim(&entry.name, *listen, span, found);
        }
        if let (Some(name), Some(Settled { listen, auto, .. }), Some(target), Some(port)) =
            (name, parts.listen, parts.target, parts.port)
        {
            let Parts { profiles, env, basis: Basis { behaviour, .. }, .. } = parts;
            tunnels.insert(name, Tunnel { listen, auto, target, port, profiles, env, behaviour });
        }
    }
    tunnels
}

fn offset(
    field: Option<&Field<toml::Spanned<i64>>>,
    key: &str,
    range: RangeInclusive<i64>,
    found: &mut Found,
) -> Option<Offset> {
    let by: i64 = whole(field, key, range, found)?;
    Some((by, given(field)?.span()))
}

/// Reads what was meant to be `LISTEN -> TARGET:PORT`: what has the right shape was expanded before.
fn short(text: &Text, context: &Context<'_>, found: &mut Found) -> Option<Parts> {
    const SHAPE: &str = "a tunnel is written `LISTEN -> TARGET:PORT`, for example `\"8080 -> web:80\"`";
    // An arrow of another make is the likeliest slip.
    let arrow = ["=>", "→", "—>", "–>"].into_iter().find(|arrow| text.value.contains(arrow));
    let malformed = |range: Range<usize>, message: String, label: &str| {
        Diagnostic::new(codes::INVALID_TUNNEL, range, message, label).help(SHAPE)
    };
    let pieces = split_arrows(&text.value);
    let (listen_at, goal) = match pieces.as_slice() {
        [listen, goal] => (listen.clone(), goal.clone()),
        [_] | [] => {
            let message = format!("{} is not a tunnel", quote(&text.value));
            let wrong =
                Diagnostic::new(codes::INVALID_TUNNEL, text.span.clone(), message, "there is no `->` in it");
            found.push(match arrow {
                Some(arrow) => {
                    let fixed = text.value.replace(arrow, "->");
                    wrong.fix("did you mean", text.span.clone(), format!("\"{fixed}\""))
                }
                None => wrong.help(SHAPE),
            });
            return None;
        }
        [_, hops @ .., last] => {
            let first = hops.first().map_or(last.start, |hop| hop.start);
            found.push(
                Diagnostic::new(
                    codes::NOT_SUPPORTED_YET,
                    text.part(first..last.end),
                    "a tunnel through hops is not supported yet",
                    "this version reaches targets directly through a bastion only",
                )
                .help(SHAPE),
            );
            return None;
        }
    };
    let written = text.value.get(goal.clone()).unwrap_or_default();
    let long = || long_form(text.value.get(listen_at.clone()).unwrap_or_default(), written);
    let listen = listen::parse(text, listen_at.clone(), &context.host, found);
    let listen = listen.and_then(|place| {
        settle(&place, &Exposed::NoRoom(long()), context.offsets(context.offset.as_ref()), found)
    });
    let parts = |target, port| Parts {
        enabled: true,
        listen,
        target,
        port,
        profiles: BTreeSet::new(),
        env: BTreeMap::new(),
        basis: context.basis.clone(),
    };
    let Some(colon) = written.rfind(':').filter(|at| *at > 0) else {
        let lacks = if written.starts_with(':') { "name a target" } else { "say which port of the target" };
        let message = format!("{} does not {lacks}", quote(written));
        found.push(malformed(text.part(goal), message, "expected `TARGET:PORT`"));
        return Some(parts(None, None));
    };
    let (name, digits) = (goal.start..goal.start + colon, goal.start + colon + 1..goal.end);
    let target = resolve(text, name, &context.file.targets, Kind::Target, &context.targets, found);
    let port = short_port(text, digits, found);
    Some(parts(target, port))
}

fn settle(place: &Place, exposed: &Exposed, offsets: Offsets<'_>, found: &mut Found) -> Option<Settled> {
    let listen = place.settle(exposed, offsets, found)?;
    Some(Settled { listen, auto: place.auto, span: place.span.clone() })
}

/// How a tunnel in short form is written so that it can say `expose = true`.
fn long_form(listen: &str, goal: &str) -> String {
    let (target, port) = goal.rsplit_once(':').unwrap_or((goal, "PORT"));
    let quotes = if listen.bytes().all(|b| b.is_ascii_digit()) { "" } else { "\"" };
    format!("`{{ listen = {quotes}{listen}{quotes}, target = \"{target}\", port = {port}, expose = true }}`")
}

fn short_port(text: &Text, part: Range<usize>, found: &mut Found) -> Option<Port> {
    let digits = text.value.get(part.clone()).unwrap_or_default();
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        let message = format!("{} is not a port", quote(digits));
        let wrong = Diagnostic::new(codes::INVALID_TUNNEL, text.part(part), message, "expected a number");
        found.push(wrong.help("ports are numbers from 1 to 65535"));
        return None;
    }
    let number = digits.parse().ok().and_then(Port::new);
    if number.is_none() {
        found.push(port_range(digits, text.part(part), "1 to 65535"));
    }
    number
}

fn long<T>(entry: &Entry<T>, raw: &LongTunnel, context: &Context<'_>, found: &mut Found) -> Parts {
    let missing = |key: &str, label: &str, help: &str| {
        let message = format!("tunnel {} needs a `{key}`", quote(&entry.name));
        Diagnostic::new(codes::MISSING_KEY, entry.key.clone(), message, label).help(help)
    };
    let exposed = exposed(raw);
    let own_offset = offset(raw.port_offset.as_ref(), "port_offset", keys::OFFSETS, found);
    // One that was refused is not replaced by another: that would be wrong in its own way.
    let offset = if raw.port_offset.is_some() { own_offset.as_ref() } else { context.offset.as_ref() };
    let place = match &raw.listen {
        Some(field) => field.value.as_ref().and_then(|value| long_listen(value, &context.host, found)),
        // Which one it was to be is not known when a key was refused that may have said it.
        None => (!raw.spoilt).then(|| context.host.auto(entry.key.clone())),
    };
    let listen = place.and_then(|place| settle(&place, &exposed, context.offsets(offset), found));
    let port = match &raw.port {
        Some(field) => field.value.as_ref().and_then(|number| port(*number.get_ref(), number.span(), found)),
        None => {
            if !raw.spoilt {
                found.push(missing("port", "which port of the target?", "add, for example, `port = 22`"));
            }
            None
        }
    };
    let profile = |text: &Text| name_of(&text.value, text.span.clone(), "a profile", found);
    let profiles = raw.profiles.iter().filter_map(profile).collect();
    Parts {
        enabled: given(raw.enabled.as_ref()).is_none_or(|flag| *flag.get_ref()),
        listen,
        target: target(entry, raw, context, found),
        port,
        profiles,
        env: env::lower(&raw.env, found),
        basis: behaviour::lower(&raw.behaviour, &context.basis, found),
    }
}

fn exposed(raw: &LongTunnel) -> Exposed {
    match &raw.expose {
        Some(field) if field.value.as_ref().is_none_or(|flag| *flag.get_ref()) => return Exposed::Allowed,
        Some(_) | None => {}
    }
    let span = |value: &Scalar| match value {
        Scalar::Text(text) => text.span.clone(),
        Scalar::Number(number) => number.span(),
        Scalar::Flag(flag) => flag.span(),
    };
    let listen = raw.listen.as_ref().and_then(|field| Some((&field.key, field.value.as_ref()?)));
    let (Some((key, listen)), Some(target), Some(port)) =
        (listen, given(raw.target.as_ref()), given(raw.port.as_ref()))
    else {
        return Exposed::Unsaid;
    };
    // A part of a short form is its own key: there is no other place for it.
    if *key != span(listen) {
        return Exposed::Unsaid;
    }
    let listen = match listen {
        Scalar::Text(text) => text.value.clone(),
        Scalar::Number(number) => number.get_ref().to_string(),
        Scalar::Flag(_) => return Exposed::Unsaid,
    };
    Exposed::NoRoom(long_form(&listen, &format!("{}:{}", target.value, port.get_ref())))
}

fn long_listen(value: &Scalar, host: &Host, found: &mut Found) -> Option<Place> {
    match value {
        Scalar::Text(text) => listen::parse(text, 0..text.value.len(), host, found),
        Scalar::Number(number) => match u16::try_from(*number.get_ref()) {
            Ok(port) => Some(host.port(port, number.span())),
            Err(_) => {
                let range = "0 to 65535, where 0 takes any free one";
                found.push(port_range(&number.get_ref().to_string(), number.span(), range));
                None
            }
        },
        Scalar::Flag(_) => None,
    }
}

fn target<T>(entry: &Entry<T>, raw: &LongTunnel, context: &Context<'_>, found: &mut Found) -> Option<Name> {
    if let Some(field) = &raw.target {
        let text = field.value.as_ref()?;
        return resolve(
            text,
            0..text.value.len(),
            &context.file.targets,
            Kind::Target,
            &context.targets,
            found,
        );
    }
    if raw.spoilt || context.targets.contains_key(entry.name.as_str()) {
        return Name::new(&entry.name).ok();
    }
    let message = format!("tunnel {} needs a `target`", quote(&entry.name));
    found.push(
        Diagnostic::new(
            codes::MISSING_KEY,
            entry.key.clone(),
            message,
            "no target has the tunnel's own name",
        )
        .help("add `target = \"…\"`"),
    );
    None
}
