//! A plan as a person reads it. It says what differs, and nothing about how it is brought about.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use super::steps::Moves;
use super::{Actual, Live, Spec};
use crate::model::{Behaviour, Listen, Name, OnOutage, OnPortTaken};

/// What becomes of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// It is new.
    Added,
    /// It runs, and something about it changes.
    Changed,
    /// It ends.
    Removed,
    /// It stays as it is.
    Unchanged,
}

impl Mark {
    /// The sign at the beginning of the line.
    pub fn sign(self) -> char {
        match self {
            Self::Added => '+',
            Self::Changed => '~',
            Self::Removed => '-',
            Self::Unchanged => '=',
        }
    }
}

/// One line about a tunnel, or about all that stay as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What becomes of it.
    pub mark: Mark,
    /// The tunnel; `None` in the line about all that stay.
    pub tunnel: Option<Name>,
    /// The words after its name; empty when the mark says it all.
    pub words: String,
}

impl Line {
    pub(super) fn unchanged(count: usize) -> Self {
        Self { mark: Mark::Unchanged, tunnel: None, words: format!("{count} unchanged") }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.mark.sign())?;
        match &self.tunnel {
            Some(tunnel) if self.words.is_empty() => write!(f, " {tunnel}"),
            Some(tunnel) => write!(f, " {tunnel}  {}", self.words),
            None => write!(f, " {}", self.words),
        }
    }
}

/// A line for each tunnel that is not left alone, by name.
pub(super) fn lines(actual: &Actual, desired: &BTreeMap<Name, Spec>, moves: &Moves<'_>) -> Vec<Line> {
    let renames = renames(actual, desired, moves);
    let mut lines = BTreeMap::new();
    for (name, spec) in desired {
        let (mark, words) = match (actual.tunnels.get(name), renames.get(name)) {
            (None, Some(old)) => (Mark::Changed, renamed(old, &actual.tunnels, spec)),
            (None, None) => (Mark::Added, added(spec)),
            (Some(live), _) => (Mark::Changed, changed(name, live, spec, moves)),
        };
        if !words.is_empty() {
            lines.insert(name, Line { mark, tunnel: Some(name.clone()), words });
        }
    }
    let renamed: BTreeSet<&Name> = renames.into_values().collect();
    let gone = actual.tunnels.keys().filter(|name| !desired.contains_key(*name));
    for name in gone.filter(|name| !renamed.contains(name)) {
        lines.insert(name, Line { mark: Mark::Removed, tunnel: Some(name.clone()), words: String::new() });
    }
    lines.into_values().collect()
}

/// New tunnels that are old ones under another name: the way is the same, and so is every address.
fn renames<'a>(
    actual: &Actual,
    desired: &BTreeMap<Name, Spec>,
    moves: &Moves<'a>,
) -> BTreeMap<&'a Name, &'a Name> {
    let is_rename = |from: &Name, to: &Name| {
        let (old, new) = (actual.tunnels.get(from)?, desired.get(to)?);
        let fresh = !actual.tunnels.contains_key(to) && !desired.contains_key(from);
        let same = old.spec.path == new.path && old.spec.listen == new.listen;
        (fresh && same && !moves.bound.contains_key(to)).then_some(())
    };
    let pairs = moves.handed.keys().filter(|(from, to)| is_rename(from, to).is_some());
    pairs.map(|(from, to)| (*to, *from)).collect()
}

fn renamed(old: &Name, tunnels: &BTreeMap<Name, Live>, new: &Spec) -> String {
    let mut words = vec![format!("was {old}, keeps {}", new.listen)];
    if let Some(live) = tunnels.get(old) {
        words.extend(differences(&live.spec, new));
    }
    words.join("; ")
}

fn added(spec: &Spec) -> String {
    let next = match (spec.auto, spec.takes_next()) {
        (true, _) => " (auto)",
        (false, true) => " or the next free port",
        (false, false) => "",
    };
    format!("{}{next} -> {}:{} through {}", spec.listen, spec.target, spec.path.port, spec.route)
}

fn changed(name: &Name, live: &Live, spec: &Spec, moves: &Moves<'_>) -> String {
    let mut words: Vec<String> = listens(name, live, spec, moves).into_iter().collect();
    words.extend(differences(&live.spec, spec));
    words.join("; ")
}

/// What changes about where it listens. What holds is what is bound, not what was once asked for.
fn listens(name: &Name, live: &Live, spec: &Spec, moves: &Moves<'_>) -> Option<String> {
    let new = spec.listen;
    let elsewhere = live.bound.iter().map(|bound| bound.listen).find(|listen| *listen != new);
    let before = if live.spec.listen == new { None } else { Some(live.spec.listen) };
    let binds = moves.bound.contains_key(name);
    let moves_at_all = binds || before.is_some() || moves.handed.keys().any(|(_, to)| *to == name);
    match (elsewhere.or(before), moves_at_all) {
        (_, false) => None,
        (Some(old), true) => Some(format!("listens on {new} instead of {old}")),
        (None, true) if let Some(next) = next_port(live, new) => {
            Some(format!("listens on {new} instead of port {next}"))
        }
        (None, true) if live.bound.is_empty() => Some(format!("listens on {new}, which it does not so far")),
        (None, true) if new.port() == 0 => Some("listens on another free port".to_owned()),
        (None, true) => Some(format!("listens on all of {new}")),
    }
}

fn auto(spec: &Spec) -> &'static str {
    if spec.auto { "auto" } else { "a port" }
}

/// The port that a tunnel has in place of the one that it was declared with.
fn next_port(live: &Live, listen: Listen) -> Option<u16> {
    let ports = live.bound.iter().flat_map(|bound| bound.addresses.iter().map(SocketAddr::port));
    ports.into_iter().find(|port| listen.port() != 0 && *port != listen.port())
}

/// What differs apart from where it listens.
fn differences(old: &Spec, new: &Spec) -> Vec<String> {
    let mut words = Vec::new();
    let place = |spec: &Spec| format!("{}:{}", spec.target, spec.path.port);
    if place(old) != place(new) {
        words.push(format!("leads to {} instead of {}", place(new), place(old)));
    } else if old.path.locator != new.path.locator {
        let (now, before) = (&new.path.locator, &old.path.locator);
        words.push(match (now.id(), before.id()) {
            // Two things of one name, in different groups or subscriptions.
            (Some(id), Some(old)) if id != old && now.to_string() == before.to_string() => {
                format!("{} is {id} instead of {old}", new.target)
            }
            _ => format!("{} is {now} instead of {before}", new.target),
        });
    }
    if old.route != new.route {
        words.push(format!("goes through {} instead of {}", new.route, old.route));
    } else if old.path.bastion != new.path.bastion {
        words.push(format!("{} is {} instead of {}", new.route, new.path.bastion, old.path.bastion));
    }
    if old.path.identity != new.path.identity {
        words.push(format!("signs in to {} as another", new.route));
    }
    words.extend(value("max_sessions", &old.limits.sessions, &new.limits.sessions));
    words.extend(value("max_setups", &old.limits.setups, &new.limits.setups));
    words.extend(behaviour(&old.behaviour, &new.behaviour));
    words.extend(value("listen", &auto(old), &auto(new)));
    if old.env != new.env {
        words.push("other env".to_owned());
    }
    words
}

fn behaviour(old: &Behaviour, new: &Behaviour) -> impl Iterator<Item = String> {
    let outage = |behaviour: &Behaviour| match behaviour.on_outage {
        OnOutage::Hold => "hold",
        OnOutage::Refuse => "refuse",
    };
    let taken = |behaviour: &Behaviour| match behaviour.on_port_taken {
        OnPortTaken::Fail => "fail",
        OnPortTaken::Next => "next",
    };
    [
        value("connect_timeout", &Wait(old.connect_timeout), &Wait(new.connect_timeout)),
        value("idle_close", &Wait(old.idle_close), &Wait(new.idle_close)),
        value("max_lifetime", &Wait(old.max_lifetime), &Wait(new.max_lifetime)),
        value("keepalive", &Wait(old.keepalive), &Wait(new.keepalive)),
        value("drain", &Wait(old.drain), &Wait(new.drain)),
        value("on_outage", &outage(old), &outage(new)),
        value("max_connections", &old.max_connections, &new.max_connections),
        value("probe", &old.probe, &new.probe),
        value("lazy", &old.lazy, &new.lazy),
        value("prewarm", &old.prewarm, &new.prewarm),
        value("prewarm_dial", &old.prewarm_dial, &new.prewarm_dial),
        value("backoff.initial", &Wait(old.backoff.0), &Wait(new.backoff.0)),
        value("on_port_taken", &taken(old), &taken(new)),
        value("backoff.max", &Wait(old.backoff.1), &Wait(new.backoff.1)),
    ]
    .into_iter()
    .flatten()
}

fn value<T: PartialEq + fmt::Display>(key: &str, old: &T, new: &T) -> Option<String> {
    (old != new).then(|| format!("{key} {new} instead of {old}"))
}

/// A duration as a file would have it.
#[derive(PartialEq)]
struct Wait(Duration);

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_zero() { f.write_str("0s") } else { write!(f, "{:?}", self.0) }
    }
}
