//! The keys of `bastion.toml`, as one table: what each takes and means, and which ones later versions will read.
//!
//! Which keys are known, the JSON Schema, the limits that `lower` holds numbers against, and what the tests demand of
//! the example and the reference all come from here.

use std::ops::RangeInclusive;

mod emulator;
mod own;
mod workspace;

pub(super) use emulator::{EMULATOR, EMULATOR_BASTION, FAULT};
pub(super) use own::{CLOUD, NETWORK, OWN, PERSONAL, USER};
pub(super) use workspace::{AZURE, BACKOFF, BASTION, DEFAULTS, ROOT, TARGET, TUNNEL};

/// The keys of one kind of table.
#[derive(Debug)]
pub(super) struct Keys {
    /// The table as a person would name it.
    pub(super) place: &'static str,
    /// What is read.
    pub(super) known: &'static [Key],
    /// What the file format has and this version refuses by name.
    pub(super) later: &'static [&'static str],
}

/// A key that is read.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    /// What may stand there.
    pub(super) takes: Kind,
    /// What it means, its unit and its default, in a line.
    pub(super) doc: &'static str,
}

/// What may stand under a key.
#[derive(Debug)]
pub(super) enum Kind {
    /// A string of which only `lower` can say whether it fits.
    Text,
    /// A name of the file's own.
    Name,
    /// A string of this shape, a regular expression.
    Pattern(&'static str),
    /// One of these words.
    Words(&'static [&'static str]),
    /// The word of a credential.
    Credential,
    /// A length of time.
    Duration,
    /// A whole number within limits.
    Number(RangeInclusive<i64>),
    /// `true` or `false`.
    Flag,
    /// Any of these.
    Either(&'static [Self]),
    /// An array.
    List(&'static Self),
    /// A table with these keys.
    Table(&'static Keys),
    /// A table of the file's own names, which have this shape, for values of this kind.
    Named(&'static str, &'static Self),
}

/// The shape of names: see [`Name`](crate::model::Name).
pub(super) const NAME: &str = "^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$";

/// Ports that a connection can be made to.
pub(super) const PORTS: RangeInclusive<i64> = 1..=65_535;
/// Ports that can be listened on, and 0 for any free one.
pub(super) const LISTEN_PORTS: RangeInclusive<i64> = 0..=65_535;
/// `port_offset`: no other one could lead from a port to a port.
pub(super) const OFFSETS: RangeInclusive<i64> = -65_534..=65_534;
/// `worktree_offset`: what is added once for each worktree before it.
pub(super) const WORKTREE_OFFSETS: RangeInclusive<i64> = 0..=65_534;
/// `max_setups`: more connections than this at once is beyond any bastion.
pub(super) const SETUPS: RangeInclusive<i64> = 1..=10_000;
/// `max_sessions` of a bastion.
pub(super) const SESSIONS: RangeInclusive<i64> = 0..=10_000;
/// `max_connections`.
pub(super) const CONNECTIONS: RangeInclusive<i64> = 0..=100_000;
/// `prewarm`: more than these, renewed all the time, would be a burden to the bastion.
pub(super) const PREWARM: RangeInclusive<i64> = 0..=20;
/// `times` of a fault.
pub(super) const TIMES: RangeInclusive<i64> = 0..=4_294_967_295;
/// `max_sessions` of the emulator.
pub(super) const EMULATED_SESSIONS: RangeInclusive<i64> = 0..=1_000_000;

impl Keys {
    /// What is read under a name.
    pub(super) fn get(&self, name: &str) -> Option<&'static Key> {
        self.known.iter().find(|key| key.name == name)
    }

    /// The names of what is read.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.known.iter().map(|key| key.name)
    }
}

const fn key(name: &'static str, takes: Kind, doc: &'static str) -> Key {
    Key { name, takes, doc }
}

/// Keys of later versions that stand in for one that this version needs: a target by `aks` has no `vm`.
pub(super) const STAND_INS: &[&str] = &["aks", "via", "host", "mode", "to"];

/// What only the user's own configuration may hold, wherever in a workspace file it stands.
pub(super) const USER_ONLY: &[&str] = &["clouds", "network", "peers", "unclean_end"];

/// The tables in which a misplaced key may have its home.
pub(super) const ALL: &[&Keys] =
    &[&ROOT, &AZURE, &DEFAULTS, &BACKOFF, &BASTION, &TARGET, &TUNNEL, &EMULATOR, &EMULATOR_BASTION, &FAULT];
