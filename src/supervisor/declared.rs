//! What is declared, and what of it is to run: the file's side of the loop.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;

use crate::model::{AzCurrent, Desired, GrantKind, Name, Pattern, Reason, Tunnel};
use crate::plan::{self, Spec};

/// Where the declaration comes from: a workspace's files, whoever reads them.
pub trait Source: Send + Sync + 'static {
    /// Reads it as it is now. May take its time.
    ///
    /// # Errors
    /// When it has mistakes, or cannot be read.
    fn read(&self, setting: &Setting) -> Result<Declared, Rejected>;

    /// It is going to be carried out: the last moment to say no.
    ///
    /// # Errors
    /// When it cannot be.
    fn accept(&self, declared: &Declared) -> Result<(), Rejected>;

    /// The files that are worth reading again when they change.
    fn paths(&self) -> Vec<PathBuf>;

    /// Where tunnels listen whose ports were ours to choose, to be the same the next time. May take its time.
    fn remember(&self, _ports: &BTreeMap<Name, u16>) {}

    /// The other workspace that a process keeps up, when it is an instance of this user.
    fn neighbour(&self, _process: u32) -> Asking<'_> {
        Box::pin(async { None })
    }
}

/// Another workspace, some time.
pub type Asking<'a> = Pin<Box<dyn Future<Output = Option<Neighbour>> + Send + 'a>>;

/// Another workspace of this user that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Which one, in words.
    pub what: String,
    /// What stops it, as one would type it; the name of a tunnel may follow.
    pub stop: String,
    /// Its tunnels, and where they listen.
    pub tunnels: Vec<(Name, Vec<SocketAddr>)>,
}

/// What a person says besides the files. Variables may hold secrets: they are never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Setting {
    /// The variables that files may name.
    pub variables: BTreeMap<String, String>,
    /// What az says is its current subscription.
    pub az: AzCurrent,
    /// Kinds of grants that are given for as long as the instance lives.
    pub allowed: BTreeSet<GrantKind>,
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.variables.keys().collect();
        f.debug_struct("Setting")
            .field("variables", &names)
            .field("allowed", &self.allowed)
            .finish_non_exhaustive()
    }
}

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// What the files declare.
    pub desired: Desired,
    /// Tunnels that must not take effect, and why: their user has not allowed them.
    pub withheld: BTreeMap<Name, Reason>,
}

/// Why what was read cannot be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The stable code of the class of failure.
    pub code: &'static str,
    /// What is wrong, on one line.
    pub what: String,
    /// What mends it, where we know.
    pub hint: Option<String>,
    /// All mistakes, each with its place.
    pub report: Option<String>,
}

impl Rejected {
    /// All of it, a line each.
    pub(super) fn told(&self) -> String {
        match (&self.report, &self.hint) {
            (Some(report), _) => report.clone(),
            (None, Some(hint)) => format!("{}\nhint: {hint}", self.what),
            (None, None) => self.what.clone(),
        }
    }
}

/// The tunnels that are wanted, whatever the file declares at the moment. It only ever grows, but by
/// [`stop`](Self::stop).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Those without a profile.
    default_set: bool,
    profiles: BTreeSet<String>,
    /// Names and patterns.
    named: BTreeSet<String>,
    /// Those that a person has stopped.
    stopped: BTreeSet<Name>,
}

/// Names or patterns that no tunnel has.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unknown(pub(super) String);

impl Wanted {
    /// Wants more: those named, or else the default set and the profiles. What was stopped and is meant runs again.
    pub(super) fn more(
        &mut self,
        named: &[String],
        profiles: &[String],
        desired: &Desired,
    ) -> Result<(), Unknown> {
        let mut added = Self::default();
        if named.is_empty() {
            added.default_set = true;
            // One that no tunnel has may come to have some.
            added.profiles = profiles.iter().cloned().collect();
        } else {
            meant(named, desired.tunnels.keys())?;
            added.named = named.iter().cloned().collect();
        }
        self.stopped.retain(|name| desired.tunnels.get(name).is_none_or(|t| !added.wants(name, t)));
        self.default_set |= added.default_set;
        self.profiles.append(&mut added.profiles);
        self.named.append(&mut added.named);
        Ok(())
    }

    /// Wants these no longer, until somebody wants them again.
    pub(super) fn stop(&mut self, tunnels: &BTreeSet<Name>) {
        self.stopped.extend(tunnels.iter().cloned());
    }

    /// Whether a tunnel is wanted.
    pub(super) fn wants(&self, name: &Name, tunnel: &Tunnel) -> bool {
        let default = self.default_set && tunnel.profiles.is_empty();
        let profile = tunnel.profiles.iter().any(|profile| self.profiles.contains(profile.as_str()));
        let named = self.named.iter().any(|pattern| matches(pattern, name));
        (default || profile || named) && !self.stopped.contains(name)
    }

    /// What is to run, and what is wanted and withheld.
    pub(super) fn of(&self, declared: &Declared) -> (BTreeMap<Name, Spec>, BTreeMap<Name, Reason>) {
        let Declared { desired, withheld } = declared;
        let run =
            plan::specs(desired, |name, tunnel| self.wants(name, tunnel) && !withheld.contains_key(name));
        let kept = withheld
            .iter()
            .filter(|(name, _)| desired.tunnels.get(*name).is_some_and(|tunnel| self.wants(name, tunnel)));
        (run, kept.map(|(name, reason)| (name.clone(), reason.clone())).collect())
    }
}

/// The tunnels that names or patterns mean; none: all of them.
pub(super) fn meant<'a>(
    patterns: &[String],
    tunnels: impl Iterator<Item = &'a Name> + Clone,
) -> Result<BTreeSet<Name>, Unknown> {
    if patterns.is_empty() {
        return Ok(tunnels.cloned().collect());
    }
    let mut all = BTreeSet::new();
    for pattern in patterns {
        let mut found = tunnels.clone().filter(|name| matches(pattern, name)).peekable();
        if found.peek().is_none() {
            return Err(Unknown(pattern.clone()));
        }
        all.extend(found.cloned());
    }
    Ok(all)
}

fn matches(pattern: &str, name: &Name) -> bool {
    // What is no pattern means nothing.
    Pattern::new(pattern).is_ok_and(|pattern| pattern.matches(name))
}
