//! `bastion.toml`: text in, a checked [`Desired`] and every mistake out.
//!
//! One run finds all mistakes and reports them in file order, each with a stable code, the place it stands
//! and, where that can be known, the corrected text. Nothing is read from disk here, nothing is printed, and
//! no key is ever ignored: what this version cannot do is refused by name.
//!
//! The way through: `raw` reads the file as it was written, a span on every key and value; `lower` turns that into the
//! model. Spans stop there, so two files that differ in comments and order lower to equal values.

use std::collections::BTreeSet;

use crate::model::{AzCurrent, AzSubscription, CloudDefinition, Desired, NetworkRules};

mod codes;
mod defaults;
mod diagnostic;
mod document;
mod excerpt;
mod expand;
mod hide;
mod interpolate;
mod keys;
mod layers;
mod lower;
mod merge;
mod place;
mod provenance;
mod raw;
mod reader;
mod schema;
mod shapes;
mod suggest;
mod user;
mod variables;

pub use codes::{AZ_SUBSCRIPTION, CODES, NO_SUBSCRIPTION};
pub use defaults::{defaults_of, listen_key};
pub use diagnostic::{Diagnostic, Edit, Help, Label, Severity};
pub use interpolate::{mentioned, nameable};
pub use layers::{Layer, LayerKind};
pub use lower::read_duration;
pub use place::Place;
pub use provenance::{Origin, Value};
pub use schema::{schema, user_schema};
pub use variables::Variables;

use document::Map;
use interpolate::Filling;
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
    /// The number of the git worktree that the files are in; 0 for the main checkout.
    pub worktree: u16,
    /// What `${NAME}` stands for.
    pub variables: &'a Variables,
    /// What az says is its current subscription.
    pub az: &'a AzCurrent,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What is declared; there exactly when there is no mistake.
    pub desired: Option<Desired>,
    /// What the user's own configuration says of the way to Azure.
    pub network: NetworkRules,
    /// The clouds that the user's own configuration defines, whether the workspace names them or not.
    pub clouds: Vec<CloudDefinition>,
    /// az's current subscription, where it stands in for one that no file names.
    pub az: Option<AzSubscription>,
    /// The mistakes, in the order of the layers and of their lines.
    pub diagnostics: Vec<Diagnostic>,
    /// What is no mistake, but should be known.
    pub warnings: Vec<Diagnostic>,
    /// Every value of the layers together, with the place it came from.
    pub values: Vec<Value>,
}

impl Loaded {
    /// Adds a mistake that the files alone do not show: the value of a key cannot be used.
    pub fn refuse(&mut self, key: &str, message: &str, label: &str, help: &str) {
        self.refuse_as(codes::INVALID_VALUE, key, message, label, help);
    }

    /// The same of a file with certificate authorities.
    pub fn refuse_ca_file(&mut self, key: &str, message: &str, label: &str, help: &str) {
        self.refuse_as(codes::CA_FILE, key, message, label, help);
    }

    fn refuse_as(&mut self, code: &'static str, key: &str, message: &str, label: &str, help: &str) {
        let place = self.values.iter().find(|value| value.key == key).and_then(|value| value.place.clone());
        let found = match place {
            Some(place) => Diagnostic::new(code, place, message, label),
            None => Diagnostic::without_place(code, message),
        };
        self.diagnostics.push(found.help(help));
        self.desired = None;
    }
}

/// The largest file that is read, in bytes.
pub const MAX_BYTES: usize = 1024 * 1024;

/// The largest number of tunnels in a file.
pub const MAX_TUNNELS: usize = 10_000;

/// How many mistakes are reported in one run; one more diagnostic says that there are others.
pub const MAX_DIAGNOSTICS: usize = 1_000;

/// Reads a workspace's files, laid over each other.
pub fn load(source: &Source<'_>) -> Loaded {
    let layers = Layers::new(source.layers);
    let mut found = Vec::new();
    let Merged { document, own, whole, all } = merged(source, &layers, &mut found);
    let mut reader = Reader { found, filled: BTreeSet::new() };
    // What could not be read at all hides too much to go on.
    let personal = raw::read_own(&own, &mut reader);
    let file = if all { raw::read(&document, whole, &mut reader) } else { None };
    let Reader { mut found, filled } = reader;
    let file = file.unwrap_or_default();
    let written = lower::Written {
        file: &file,
        own: &personal,
        default_name: source.default_name,
        worktree: source.worktree,
        az: source.az,
    };
    let lower::Lowered { desired, network, clouds, az, by_az, warnings } = lower::lower(&written, &mut found);
    let mut values = provenance::values(&own, &layers, &filled);
    values.extend(provenance::values(&document, &layers, &filled));
    values.extend(by_az.iter().map(|(key, value)| provenance::by_az(key, value)));
    let desired = if found.is_empty() { desired } else { None };
    Loaded { desired, network, clouds, az, diagnostics: sorted(found, layers), warnings, values }
}

/// All layers in one.
struct Merged {
    document: Map,
    /// What only the user's own configuration holds, which is laid over nothing.
    own: Map,
    /// Whether all of them were TOML.
    whole: bool,
    /// Whether all of them were read.
    all: bool,
}

/// Reads each layer by itself, and lays them over each other. A variable is replaced in its own layer, where it is
/// known who may name it; short forms are expanded there, so that the next layer can change a part.
fn merged(source: &Source<'_>, layers: &Layers<'_>, found: &mut Vec<Diagnostic>) -> Merged {
    let (mut whole, mut all) = (true, true);
    let mut parts = Vec::new();
    let mut own = Map::default();
    for (index, (layer, base)) in layers.iter().enumerate() {
        let parsed = layers::parse(layer, index, base, found);
        whole &= parsed.whole;
        let Some(mut document) = parsed.document else {
            all = false;
            continue;
        };
        Filling { kind: layer.kind, variables: source.variables, room: MAX_BYTES, found }
            .table(&mut document);
        if layer.kind == LayerKind::User {
            let user = user::split(document, found);
            parts.push((Rank::Defaults, user.defaults));
            parts.push((Rank::Personal, user.personal));
            own = user.own;
        } else {
            expand::short_forms(&mut document);
            parts.push((Rank::from(layer.kind), document));
        }
    }
    parts.sort_by_key(|(rank, _)| *rank);
    let mut document = Map::default();
    for (_, part) in parts {
        merge::lay_over(&mut document, part, found);
    }
    merge::refused(&mut document, found);
    merge::refused(&mut own, found);
    Merged { document, own, whole, all }
}

/// What goes over what: the last one wins. The user's own file stands in two places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Defaults,
    Workspace,
    Environment,
    Personal,
    Local,
    Flags,
}

impl From<LayerKind> for Rank {
    fn from(kind: LayerKind) -> Self {
        match kind {
            LayerKind::User => Self::Defaults,
            LayerKind::Workspace => Self::Workspace,
            LayerKind::Environment => Self::Environment,
            LayerKind::Local => Self::Local,
            LayerKind::Flags => Self::Flags,
        }
    }
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
