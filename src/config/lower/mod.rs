//! From the file as written to the model: finds every mistake in what the keys mean, and leaves the spans behind.

use std::collections::BTreeMap;
use std::ops::Range;

use super::codes;
use super::diagnostic::{Diagnostic, quote};
use super::reader::{Entry, Field, Text};
use super::shapes::{File, Own};
use super::suggest::{ENOUGH, nearest};
use crate::model::{
    AzCurrent, AzSubscription, CloudDefinition, Desired, Identity, Name, NameError, NetworkRules,
};

mod az;
mod bastions;
mod behaviour;
mod clouds;
mod emulator;
mod env;
mod faults;
mod home;
mod identity;
mod listen;
mod machines;
mod network;
mod targets;
mod tunnels;
mod url;
mod values;

use az::Taken;
use home::Home;

pub use values::read_duration;

/// Where a mistake goes. Lowering never stops at one.
type Found = Vec<Diagnostic>;

/// What the files come to.
#[derive(Debug)]
pub(super) struct Lowered {
    pub(super) desired: Option<Desired>,
    pub(super) network: NetworkRules,
    /// The clouds of the user's own that are without a mistake.
    pub(super) clouds: Vec<CloudDefinition>,
    /// az's current subscription, where it was taken.
    pub(super) az: Option<AzSubscription>,
    /// The keys that have their value by it, part by part, with that value.
    pub(super) by_az: Vec<(Vec<String>, String)>,
    pub(super) warnings: Found,
}

/// What is lowered: the workspace's file, the user's own, and what comes to them from outside.
#[derive(Debug)]
pub(super) struct Written<'a> {
    pub(super) file: &'a File,
    pub(super) own: &'a Own,
    pub(super) default_name: &'a str,
    /// The number of the git worktree.
    pub(super) worktree: u16,
    pub(super) az: &'a AzCurrent,
}

/// Lowers a workspace, and what the user's own configuration says of the network; every mistake is added to `found`.
pub(super) fn lower(written: &Written<'_>, found: &mut Found) -> Lowered {
    let Written { file, own, default_name, worktree, az } = written;
    let network = network::lower(&own.network, found);
    let clouds = clouds::lower(&own.clouds, found);
    let cloud = home::cloud(&file.azure, &clouds, found);
    let mut home = Home::new(file, cloud.as_ref(), az, found);
    let workspace = workspace(file, default_name, found);
    let asked_by = identity::lower(&file.azure.identity, &Identity::default(), found);
    let bastions = bastions::lower(&file.bastions, &mut home, &asked_by, found);
    let targets = targets::lower(file, &mut home, found);
    let tunnels = tunnels::lower(file, *worktree, found);
    let emulation = emulator::lower(file, &bastions, &targets, found);
    let desired = workspace.zip(cloud).map(|(workspace, cloud)| Desired {
        workspace,
        cloud,
        bastions,
        targets,
        tunnels,
        emulation,
    });
    let (az, warnings, by_az) = match home.az.taken {
        Some(Taken { subscription, warning, values }) => (Some(subscription), vec![warning], values),
        None => (None, Vec::new(), Vec::new()),
    };
    let clouds = clouds.into_values().flatten().collect();
    Lowered { desired, network, clouds, az, by_az, warnings }
}

fn workspace(file: &File, default_name: &str, found: &mut Found) -> Option<Name> {
    match &file.name {
        Some(field) => {
            let text = field.value.as_ref()?;
            name_of(&text.value, text.span.clone(), "the workspace", found)
        }
        None => Name::new(&clean(default_name)).or_else(|_| Name::new("workspace")).ok(),
    }
}

/// The name of an entry.
fn entry_name<T>(entry: &Entry<T>, what: &str, found: &mut Found) -> Option<Name> {
    name_of(&entry.name, entry.key.clone(), what, found)
}

fn name_of(text: &str, span: Range<usize>, what: &str, found: &mut Found) -> Option<Name> {
    let error = match Name::new(text) {
        Ok(name) => return Some(name),
        Err(error) => error,
    };
    let label = match error {
        NameError::Length => format!("has {} characters", text.chars().count()),
        NameError::Start => {
            format!("begins with {}", quote(&text.chars().take(1).collect::<String>()))
        }
        NameError::Character => {
            let odd = text.chars().find(|c| !c.is_ascii_alphanumeric() && !"-_.".contains(*c));
            match odd {
                Some(' ') => "has a space in it".to_owned(),
                Some(c) => format!("has {} in it", quote(&c.to_string())),
                None => String::new(),
            }
        }
    };
    let message = format!("{} cannot be the name of {what}: {error}", quote(text));
    let found_name = Diagnostic::new(codes::INVALID_NAME, span.clone(), message, label);
    let clean = clean(text);
    found.push(match Name::new(&clean) {
        Ok(_) => found_name.fix("for example", span, format!("\"{clean}\"")),
        Err(_) => found_name,
    });
    None
}

/// The name that is nearest to a text: what names do not have becomes a hyphen.
fn clean(text: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let clean: String = text.chars().map(allowed).take(63).collect();
    clean.trim_start_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned()
}

/// Adds the name that was probably meant, or all there are when they are few.
fn suggest<'a>(
    found: Diagnostic,
    written: &str,
    span: Range<usize>,
    quoted: bool,
    names: impl Iterator<Item = &'a str> + Clone,
) -> Diagnostic {
    const FEW: usize = 8;
    if let Some(near) = nearest(written, names.clone()) {
        let new = if quoted { format!("\"{near}\"") } else { near.to_owned() };
        return found.fix(format!("did you mean {}?", quote(near)), span, new);
    }
    let some: Vec<String> = names.clone().take(FEW).map(quote).collect();
    match some.len() {
        0 => found,
        _ if names.count() > FEW => found.help(format!("known names begin with {}, …", some.join(", "))),
        _ => found.help(format!("known names: {}", some.join(", "))),
    }
}

/// The same for a value that is a word, corrected where it stands in the file.
fn suggest_word<'a>(
    found: Diagnostic,
    text: &Text,
    words: impl Iterator<Item = &'a str> + Clone,
) -> Diagnostic {
    match (text.replaceable(), nearest(&text.value, words.clone())) {
        (None, Some(near)) => found.help(format!("did you mean {}?", quote(near))),
        (quoted, _) => suggest(found, &text.value, text.span.clone(), quoted.unwrap_or_default(), words),
    }
}

/// Finds the entry that a part of a value names, or says that there is none.
fn resolve<T>(
    text: &Text,
    part: Range<usize>,
    entries: &[Entry<T>],
    kind: Kind,
    known: &Declared<'_>,
    found: &mut Found,
) -> Option<Name> {
    let whole = part.len() == text.value.len();
    let written = text.value.get(part.clone()).unwrap_or_default();
    let span = if whole { text.span.clone() } else { text.part(part) };
    let quoted = whole && text.replaceable() == Some(true);
    // Where the place of the part is not known, a correction would replace too much.
    let correctable = text.replaceable().is_some() && (whole || span != text.span);
    look_up(&Reference { written, span, quoted, correctable }, entries, kind, known, found)
}

/// Finds the entry that a key names, or says that there is none.
fn resolve_key<K, T>(
    key: &Entry<K>,
    entries: &[Entry<T>],
    kind: Kind,
    known: &Declared<'_>,
    found: &mut Found,
) -> Option<Name> {
    let reference = Reference { written: &key.name, span: key.key.clone(), quoted: false, correctable: true };
    look_up(&reference, entries, kind, known, found)
}

/// A name that stands for something declared elsewhere.
struct Reference<'a> {
    written: &'a str,
    span: Range<usize>,
    quoted: bool,
    correctable: bool,
}

fn look_up<T>(
    reference: &Reference<'_>,
    entries: &[Entry<T>],
    kind: Kind,
    known: &Declared<'_>,
    found: &mut Found,
) -> Option<Name> {
    let Reference { written, span, quoted, correctable } = reference;
    if known.contains_key(written) {
        // A crooked name was refused where it is declared.
        return Name::new(written).ok();
    }
    let (code, word, table, example) = match kind {
        Kind::Bastion => (codes::UNKNOWN_BASTION, "bastion", "[bastions]", "`[bastions.NAME]`"),
        Kind::Target => {
            (codes::UNKNOWN_TARGET, "target", "[targets]", "`[targets]` with `NAME = { vm = \"…\" }`")
        }
    };
    let message = format!("there is no {word} {}", quote(written));
    let unknown = Diagnostic::new(code, span.clone(), message, format!("not declared in `{table}`"));
    found.push(if matches!(kind, Kind::Target) && written.parse::<std::net::Ipv4Addr>().is_ok() {
        unknown.help(format!(
            "a target has a name: add `NAME = {{ ip = \"{written}\" }}` to `[targets]` and use the name here"
        ))
    } else if entries.is_empty() {
        unknown.help(format!("declare it: {example}"))
    } else if *correctable && found.len() < ENOUGH {
        suggest(unknown, written, span.clone(), *quoted, entries.iter().map(|entry| entry.name.as_str()))
    } else {
        unknown
    });
    None
}

/// What a reference may lead to.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Bastion,
    Target,
}

/// The names that are declared, and where.
type Declared<'a> = BTreeMap<&'a str, Range<usize>>;

fn declared<T>(entries: &[Entry<T>]) -> Declared<'_> {
    entries.iter().map(|entry| (entry.name.as_str(), entry.key.clone())).collect()
}

/// The value of a field that is there and was readable.
fn given<T>(field: Option<&Field<T>>) -> Option<&T> {
    field.and_then(|field| field.value.as_ref())
}
