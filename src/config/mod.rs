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
mod document;
mod excerpt;
mod keys;
mod layers;
mod lower;
mod raw;
mod reader;
mod schema;
mod shapes;
mod suggest;
mod variables;

pub use codes::CODES;
pub use defaults::defaults_of;
pub use diagnostic::{Diagnostic, Edit, Help, Label};
pub use layers::{Layer, LayerKind};
pub use schema::schema;
pub use variables::Variables;

use layers::{Layers, Lines};
use reader::Reader;

/// What is to be loaded.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The files, each kind at most once, in the order of [`LayerKind`].
    pub layers: &'a [Layer<'a>],
    /// The name of the workspace where no file gives one: the directory's name. Characters that names do not
    /// have are replaced by `-`.
    pub default_name: &'a str,
    /// What `${NAME}` stands for.
    pub variables: &'a Variables,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What is declared; there exactly when there is no mistake.
    pub desired: Option<Desired>,
    /// The mistakes, in the order of the layers and of their lines.
    pub diagnostics: Vec<Diagnostic>,
    /// What is no mistake, but should be known.
    pub warnings: Vec<Diagnostic>,
}

/// The largest file that is read, in bytes.
pub const MAX_BYTES: usize = 1024 * 1024;

/// The largest number of tunnels in a file.
pub const MAX_TUNNELS: usize = 10_000;

/// How many mistakes are reported in one run; one more diagnostic says that there are others.
pub const MAX_DIAGNOSTICS: usize = 1_000;

/// Reads a workspace's files.
pub fn load(source: &Source<'_>) -> Loaded {
    let layers = Layers::new(source.layers);
    let mut found = Vec::new();
    let mut whole = true;
    let mut documents = Vec::new();
    for (index, (layer, base)) in layers.iter().enumerate() {
        let parsed = layers::parse(layer, index, base, &mut found);
        whole &= parsed.whole;
        documents.extend(parsed.document);
    }
    let mut reader = Reader { found };
    let file = documents.first().and_then(|document| raw::read(document, whole, &mut reader));
    let mut found = reader.found;
    let desired = file.and_then(|file| lower::lower(&file, source.default_name, &mut found));
    if found.is_empty() {
        return Loaded { desired, diagnostics: found, warnings: Vec::new() };
    }
    Loaded { desired: None, diagnostics: sorted(found, layers), warnings: Vec::new() }
}

/// The mistakes as they are reported: in order, without echoes, and not more than anybody reads.
fn sorted(found: Vec<Diagnostic>, layers: Layers<'_>) -> Vec<Diagnostic> {
    let mut found = without_echoes(found, layers);
    found.sort_by_key(Diagnostic::start);
    if found.len() > MAX_DIAGNOSTICS {
        found.truncate(MAX_DIAGNOSTICS);
        found.push(Diagnostic::without_place(
            codes::TOO_MANY_MISTAKES,
            format!("there are more mistakes than the {MAX_DIAGNOSTICS} shown"),
        ));
    }
    found
}

/// Where the text is not TOML, what follows from the unreadable part is noise: a key that seems to be missing may
/// stand on the line that could not be read.
fn without_echoes(found: Vec<Diagnostic>, layers: Layers<'_>) -> Vec<Diagnostic> {
    if found.iter().all(|d| d.code != codes::SYNTAX) {
        return found;
    }
    let lines = Lines::new(layers);
    let broken: BTreeSet<(usize, usize)> =
        found.iter().filter(|d| d.code == codes::SYNTAX).map(|d| lines.line(d.start())).collect();
    let echo =
        |d: &Diagnostic| codes::FROM_ABSENCE.contains(&d.code) || broken.contains(&lines.line(d.start()));
    found.into_iter().filter(|d| d.code == codes::SYNTAX || !echo(d)).collect()
}

#[cfg(test)]
mod tests;
