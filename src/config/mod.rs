//! `bastion.toml`: text in, a checked [`Desired`] and every mistake out.
//!
//! One run finds all mistakes and reports them in file order, each with a stable code, the place it stands
//! and, where that can be known, the corrected text. Nothing is read from disk here, nothing is printed, and
//! no key is ever ignored: what this version cannot do is refused by name.
//!
//! The way through: `raw` reads the file as it was written, a span on every key and value; `lower` turns that into the
//! model. Spans stop there, so two files that differ in comments and order lower to equal values.

use std::collections::BTreeSet;

use crate::model::Desired;

mod codes;
mod defaults;
mod diagnostic;
mod keys;
mod lower;
mod raw;
mod reader;
mod schema;
mod shapes;
mod suggest;

pub use codes::CODES;
pub use defaults::defaults_of;
pub use diagnostic::{Diagnostic, Edit, Help, Label};
pub use schema::schema;

/// A file to load, as its reader found it.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The path as it is to be shown to a person.
    pub path: &'a str,
    /// What the file holds.
    pub text: &'a str,
    /// The name of the workspace where the file gives none: the directory's name. Characters that names do not
    /// have are replaced by `-`.
    pub default_name: &'a str,
}

/// The largest file that is read, in bytes.
pub const MAX_BYTES: usize = 1024 * 1024;

/// The largest number of tunnels in a file.
pub const MAX_TUNNELS: usize = 10_000;

/// How many mistakes are reported in one run; one more diagnostic says that there are others.
pub const MAX_DIAGNOSTICS: usize = 1_000;

/// Reads a workspace file.
///
/// The model is there exactly when there is no diagnostic. Diagnostics come in file order.
pub fn load(source: &Source<'_>) -> (Option<Desired>, Vec<Diagnostic>) {
    if source.text.len() > MAX_BYTES {
        let size = source.text.len();
        let found = Diagnostic::without_place(
            codes::TOO_LARGE,
            format!("the file has {size} bytes; at most {MAX_BYTES} (1 MiB) are read"),
        );
        return (None, vec![found]);
    }
    let (file, mut found) = raw::read(source.text);
    let desired = file.and_then(|file| lower::lower(&file, source.default_name, &mut found));
    if found.is_empty() {
        return (desired, found);
    }
    let mut found = without_echoes(source.text, found);
    found.sort_by_key(Diagnostic::start);
    if found.len() > MAX_DIAGNOSTICS {
        found.truncate(MAX_DIAGNOSTICS);
        found.push(Diagnostic::without_place(
            codes::TOO_MANY_MISTAKES,
            format!("there are more mistakes than the {MAX_DIAGNOSTICS} shown"),
        ));
    }
    (None, found)
}

/// Where the text is not TOML, what follows from the unreadable part is noise: a key that seems to be missing may
/// stand on the line that could not be read.
fn without_echoes(text: &str, found: Vec<Diagnostic>) -> Vec<Diagnostic> {
    if found.iter().all(|d| d.code != codes::SYNTAX) {
        return found;
    }
    let ends: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
    let line = |at: usize| ends.partition_point(|end| *end < at);
    let broken: BTreeSet<usize> =
        found.iter().filter(|d| d.code == codes::SYNTAX).map(|d| line(d.start())).collect();
    let echo = |d: &Diagnostic| codes::FROM_ABSENCE.contains(&d.code) || broken.contains(&line(d.start()));
    found.into_iter().filter(|d| d.code == codes::SYNTAX || !echo(d)).collect()
}

#[cfg(test)]
mod tests;
