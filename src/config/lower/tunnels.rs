//! `[tunnels]`: the short form, the long form, and the addresses they own.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use super::listen::{Host, Taken};
use super::values::{Zero, duration, port, port_range};
use super::{Declared, Found, Kind, declared, entry_name, listen, resolve};
use crate::config::codes;
use crate::config::diagnostic::{Diagnostic, quote};
use crate::config::expand::split_arrows;
use crate::config::raw::{File, LongTunnel, Times, Tunnel as RawTunnel};
use crate::config::reader::{Entry, Scalar, Text};
use crate::model::{Behaviour, Listen, Name, Port, Tunnel};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
const KEEPALIVE: Duration = Duration::from_secs(30);

/// What every tunnel is read with.
struct Context<'a> {
    file: &'a File,
    targets: Declared<'a>,
    host: Host,
    connect_timeout: Duration,
    keepalive: Duration,
}

/// What a tunnel says of itself.
struct Parts {
    listen: Option<(Listen, Range<usize>)>,
    target: Option<Name>,
    port: Option<Port>,
    connect_timeout: Option<Duration>,
    keepalive: Option<Duration>,
}

/// Lowers all tunnels; those with a mistake are left out.
pub(super) fn lower(file: &File, found: &mut Found) -> BTreeMap<Name, Tunnel> {
    let (connect_timeout, keepalive) = times(&file.defaults.times, found);
    let context = Context {
        file,
        targets: declared(&file.targets),
        host: Host::read(&file.defaults, found),
        connect_timeout: connect_timeout.unwrap_or(CONNECT_TIMEOUT),
        keepalive: keepalive.unwrap_or(KEEPALIVE),
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
        let Some(parts) = parts else { continue };
        if let Some((listen, span)) = &parts.listen {
            taken.claim(&entry.name, listen, span.clone(), found);
        }
        if let (Some(name), Some((listen, _)), Some(target), Some(port)) =
            (name, parts.listen, parts.target, parts.port)
        {
            let connect_timeout = parts.connect_timeout.unwrap_or(context.connect_timeout);
            let keepalive = parts.keepalive.unwrap_or(context.keepalive);
            let behaviour = Behaviour { connect_timeout, keepalive, ..Behaviour::default() };
            let (profiles, env) = (BTreeSet::new(), BTreeMap::new());
            tunnels.insert(name, Tunnel { listen, target, port, profiles, env, behaviour });
        }
    }
    tunnels
}

fn times(raw: &Times, found: &mut Found) -> (Option<Duration>, Option<Duration>) {
    let connect_timeout = duration(raw.connect_timeout.as_ref(), "connect_timeout", Zero::Refused, found);
    (connect_timeout, duration(raw.keepalive.as_ref(), "keepalive", Zero::Allowed, found))
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
    let listen = listen::parse(text, listen_at.clone(), context.host, found);
    let listen = listen.map(|listen| (listen, text.part(listen_at)));
    let Some(colon) = written.rfind(':').filter(|at| *at > 0) else {
        let lacks = if written.starts_with(':') { "name a target" } else { "say which port of the target" };
        let message = format!("{} does not {lacks}", quote(written));
        found.push(malformed(text.part(goal), message, "expected `TARGET:PORT`"));
        return Some(Parts { listen, target: None, port: None, connect_timeout: None, keepalive: None });
    };
    let (name, digits) = (goal.start..goal.start + colon, goal.start + colon + 1..goal.end);
    let target = resolve(text, name, &context.file.targets, Kind::Target, &context.targets, found);
    let port = short_port(text, digits, found);
    Some(Parts { listen, target, port, connect_timeout: None, keepalive: None })
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
    let listen = match &raw.listen {
        Some(field) => match &field.value {
            Some(Scalar::Text(text)) => listen::parse(text, 0..text.value.len(), context.host, found)
                .map(|listen| (listen, text.span.clone())),
            Some(Scalar::Number(number)) => match u16::try_from(*number.get_ref()) {
                Ok(port) => Some((context.host.port(port), number.span())),
                Err(_) => {
                    let range = "0 to 65535, where 0 takes any free one";
                    found.push(port_range(&number.get_ref().to_string(), number.span(), range));
                    None
                }
            },
            Some(Scalar::Flag(_)) | None => None,
        },
        None => {
            if !raw.spoilt {
                let label = "without one it would be `auto`, which is not supported yet";
                found.push(missing(
                    "listen",
                    label,
                    "add `listen = 5432`, or `listen = 0` for any free port",
                ));
            }
            None
        }
    };
    let port = match &raw.port {
        Some(field) => field.value.as_ref().and_then(|number| port(*number.get_ref(), number.span(), found)),
        None => {
            if !raw.spoilt {
                found.push(missing("port", "which port of the target?", "add, for example, `port = 22`"));
            }
            None
        }
    };
    let (connect_timeout, keepalive) = times(&raw.times, found);
    Parts { listen, target: target(entry, raw, context, found), port, connect_timeout, keepalive }
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
