//! From two sets of tunnels to ordered steps.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use super::claims::Claims;
use super::{Action, Actual, Change, Live, Path, Plan, Spec, Step, words};
use crate::model::{Listen, Name, is_loopback};

/// What is to be done so that exactly the desired tunnels run, each where it should listen.
pub fn between(actual: &Actual, desired: &BTreeMap<Name, Spec>) -> Plan {
    let (owners, staying) = owners(actual, desired);
    let moves = Moves::new(actual, desired, &owners, &staying);
    let mut plan = Draft::default();
    plan.records(actual, desired);
    plan.hand_over(&moves);
    let freed = plan.release_contested(&moves);
    plan.bind(desired, &moves, &freed);
    plan.release_rest(desired, &moves);
    plan.remove(actual, desired);
    let lines = words::lines(actual, desired, &moves);
    let unchanged = desired.keys().filter(|name| !plan.named.contains(*name)).count();
    Plan { steps: plan.steps, unchanged, lines }
}

/// Who is to own each address that is known already: fixed ones, and those of free ports that may stay. And who stays on
/// a port that was found for it: a free one, or the next one where its own was taken.
fn owners<'a>(
    actual: &'a Actual,
    desired: &'a BTreeMap<Name, Spec>,
) -> (Claims<&'a Name>, BTreeSet<&'a Name>) {
    let mut owners = Claims::new();
    let declare = |owners: &mut Claims<&'a Name>, name: &'a Name, spec: &Spec| {
        for address in spec.listen.addresses(actual.ipv6_loopback) {
            owners.add(address, name);
        }
    };
    let mut vanished = vanished(actual, desired);
    let mut staying = BTreeMap::new();
    for (name, spec) in desired {
        let holder = match actual.tunnels.get(name) {
            _ if !floats(spec) => None,
            Some(live) => Some(live),
            None => vanished.get_mut(&key(spec)).and_then(VecDeque::pop_front),
        };
        if let Some(held) = holder.and_then(|live| found_port(live, spec, actual.ipv6_loopback)) {
            staying.insert(name, held);
        } else if spec.listen.port() != 0 {
            declare(&mut owners, name, spec);
        }
    }
    // A port that was found was nobody's wish: it gives way to a tunnel that names it, whose own may be another's.
    loop {
        let in_the_way = |held: &&BTreeSet<SocketAddr>| {
            held.iter().any(|address| owners.overlapping(address).next().is_some())
        };
        let yielding: Vec<&Name> =
            staying.iter().filter(|(_, held)| in_the_way(held)).map(|(name, _)| *name).collect();
        if yielding.is_empty() {
            break;
        }
        for name in yielding {
            staying.remove(name);
            if let Some(spec) = desired.get(name).filter(|spec| spec.listen.port() != 0) {
                declare(&mut owners, name, spec);
            }
        }
    }
    for (name, held) in &staying {
        held.iter().for_each(|address| owners.add(*address, name));
    }
    (owners, staying.into_keys().collect())
}

/// Whether a tunnel's port may be one that was found for it.
fn floats(spec: &Spec) -> bool {
    spec.listen.port() == 0 || spec.takes_next()
}

/// What makes a tunnel whose port was found the same under another name: where it leads, and where it listens.
fn key(spec: &Spec) -> (&Path, Vec<SocketAddr>) {
    (&spec.path, spec.listen.addresses(true))
}

type Vanished<'a> = BTreeMap<(&'a Path, Vec<SocketAddr>), VecDeque<&'a Live>>;

/// Tunnels whose port was found that are no longer desired: a new one may take their place.
fn vanished<'a>(actual: &'a Actual, desired: &BTreeMap<Name, Spec>) -> Vanished<'a> {
    let mut vanished = Vanished::new();
    for (name, live) in &actual.tunnels {
        if floats(&live.spec) && !desired.contains_key(name) {
            vanished.entry(key(&live.spec)).or_default().push_back(live);
        }
    }
    vanished
}

/// The addresses that a tunnel holds for just this `listen`, if they are all that it needs.
fn found_port<'a>(live: &'a Live, spec: &Spec, ipv6_loopback: bool) -> Option<&'a BTreeSet<SocketAddr>> {
    let needed = spec.listen.addresses(ipv6_loopback);
    let held = live.bound.iter().filter(|bound| bound.listen == spec.listen).map(|bound| &bound.addresses);
    let complete =
        |held: &BTreeSet<SocketAddr>| needed.iter().all(|need| held.iter().any(|has| has.ip() == need.ip()));
    held.into_iter().find(|held| complete(held))
}

/// What happens to addresses.
pub(super) struct Moves<'a> {
    /// From whom, to whom.
    pub(super) handed: BTreeMap<(&'a Name, &'a Name), BTreeSet<SocketAddr>>,
    /// Let go because something is bound that overlaps it.
    contested: BTreeMap<&'a Name, BTreeSet<SocketAddr>>,
    /// Let go because nobody wants it.
    rest: BTreeMap<&'a Name, BTreeSet<SocketAddr>>,
    /// Bound anew.
    pub(super) bound: BTreeMap<&'a Name, Vec<SocketAddr>>,
}

impl<'a> Moves<'a> {
    fn new(
        actual: &'a Actual,
        desired: &'a BTreeMap<Name, Spec>,
        owners: &Claims<&'a Name>,
        staying: &BTreeSet<&'a Name>,
    ) -> Self {
        let mut moves = Self {
            handed: BTreeMap::new(),
            contested: BTreeMap::new(),
            rest: BTreeMap::new(),
            bound: missing(actual, desired, owners, staying),
        };
        let mut binds = Claims::new();
        for address in moves.bound.values().flatten() {
            binds.add(*address, ());
        }
        for (name, address) in held(actual) {
            let goes = match owners.to(&address) {
                Some(owner) if owner == name => continue,
                Some(owner) => moves.handed.entry((name, owner)).or_default(),
                None if binds.overlapping(&address).next().is_some() => {
                    moves.contested.entry(name).or_default()
                }
                None => moves.rest.entry(name).or_default(),
            };
            goes.insert(address);
        }
        moves
    }
}

/// Every address that is bound, with its owner.
fn held(actual: &Actual) -> impl Iterator<Item = (&Name, SocketAddr)> {
    actual.tunnels.iter().flat_map(|(name, live)| {
        live.bound.iter().flat_map(move |bound| bound.addresses.iter().map(move |address| (name, *address)))
    })
}

/// The addresses that somebody needs and nobody holds.
fn missing<'a>(
    actual: &Actual,
    desired: &'a BTreeMap<Name, Spec>,
    owners: &Claims<&'a Name>,
    staying: &BTreeSet<&'a Name>,
) -> BTreeMap<&'a Name, Vec<SocketAddr>> {
    let held: BTreeSet<SocketAddr> = held(actual).map(|(_, address)| address).collect();
    let mut missing = BTreeMap::new();
    for (name, spec) in desired.iter().filter(|(name, _)| !staying.contains(name)) {
        let mut addresses = spec.listen.addresses(actual.ipv6_loopback);
        if spec.listen.port() != 0 {
            addresses.retain(|address| !held.contains(address) || owners.to(address) != Some(name));
        }
        if !addresses.is_empty() {
            missing.insert(name, addresses);
        }
    }
    missing
}

/// Steps as they are put down.
#[derive(Default)]
struct Draft {
    steps: Vec<Step>,
    named: BTreeSet<Name>,
    added: BTreeMap<Name, usize>,
    bound: BTreeMap<Name, usize>,
    /// Steps that take something from a tunnel.
    taken: BTreeMap<Name, Vec<usize>>,
}

impl Draft {
    fn push(&mut self, about: &Name, action: Action, needs: Vec<usize>) -> usize {
        self.named.insert(about.clone());
        self.steps.push(Step { action, needs });
        self.steps.len() - 1
    }

    fn records(&mut self, actual: &Actual, desired: &BTreeMap<Name, Spec>) {
        let mut changes = Vec::new();
        for (tunnel, spec) in desired {
            match actual.tunnels.get(tunnel) {
                None => {
                    let add = Action::Add { tunnel: tunnel.clone(), spec: spec.clone() };
                    let step = self.push(tunnel, add, Vec::new());
                    self.added.insert(tunnel.clone(), step);
                }
                Some(live) if live.spec != *spec => changes.push((tunnel, spec, live)),
                Some(_) => {}
            }
        }
        for (tunnel, spec, live) in changes {
            let what = if live.spec.path == spec.path { Change::Behaviour } else { Change::Path };
            let change = Action::Change { tunnel: tunnel.clone(), spec: spec.clone(), what };
            self.push(tunnel, change, Vec::new());
        }
    }

    fn hand_over(&mut self, moves: &Moves<'_>) {
        for ((from, to), addresses) in &moves.handed {
            let needs = self.added.get(*to).copied().into_iter().collect();
            let (from, to) = ((*from).clone(), (*to).clone());
            self.named.insert(from.clone());
            let action =
                Action::HandOver { addresses: addresses.clone(), from: from.clone(), to: to.clone() };
            let step = self.push(&to, action, needs);
            self.taken.entry(from).or_default().push(step);
        }
    }

    fn release(&mut self, tunnel: &Name, addresses: &BTreeSet<SocketAddr>, needs: Vec<usize>) -> usize {
        let action = Action::Release { tunnel: tunnel.clone(), addresses: addresses.clone() };
        let step = self.push(tunnel, action, needs);
        self.taken.entry(tunnel.clone()).or_default().push(step);
        step
    }

    /// Says which step frees which address.
    fn release_contested(&mut self, moves: &Moves<'_>) -> Claims<usize> {
        let mut freed = Claims::new();
        for (tunnel, addresses) in &moves.contested {
            let step = self.release(tunnel, addresses, Vec::new());
            for address in addresses {
                freed.add(*address, step);
            }
        }
        freed
    }

    /// Ports that are found come last: one may well be named by another tunnel, if that is not bound yet.
    fn bind(&mut self, desired: &BTreeMap<Name, Spec>, moves: &Moves<'_>, freed: &Claims<usize>) {
        let listens = moves
            .bound
            .iter()
            .filter_map(|(tunnel, addresses)| Some((*tunnel, desired.get(*tunnel)?.listen, addresses)));
        let rank = |(tunnel, listen, _): &(&Name, Listen, _)| match desired.get(*tunnel) {
            _ if listen.port() == 0 => 2,
            Some(spec) if spec.takes_next() => 1,
            Some(_) | None => 0,
        };
        let mut listens: Vec<_> = listens.collect();
        listens.sort_by_key(rank);
        for (tunnel, listen, addresses) in listens {
            let mut needs: BTreeSet<usize> = self.added.get(tunnel).copied().into_iter().collect();
            needs.extend(addresses.iter().flat_map(|address| freed.overlapping(address)));
            let action = Action::Bind { tunnel: tunnel.clone(), listen, addresses: addresses.clone() };
            let step = self.push(tunnel, action, needs.into_iter().collect());
            self.bound.insert(tunnel.clone(), step);
        }
    }

    /// What nobody wants is kept until what replaces it is bound, unless others could reach it and are not to any more.
    fn release_rest(&mut self, desired: &BTreeMap<Name, Spec>, moves: &Moves<'_>) {
        for (tunnel, addresses) in &moves.rest {
            let withdrawn = desired.get(*tunnel).is_some_and(|spec| spec.listen.is_loopback());
            let (exposed, kept): (BTreeSet<_>, BTreeSet<_>) =
                addresses.iter().partition(|address| withdrawn && !is_loopback(address));
            let needs: Vec<usize> = self.bound.get(*tunnel).copied().into_iter().collect();
            for (addresses, needs) in [(exposed, Vec::new()), (kept, needs)] {
                if !addresses.is_empty() {
                    self.release(tunnel, &addresses, needs);
                }
            }
        }
    }

    fn remove(&mut self, actual: &Actual, desired: &BTreeMap<Name, Spec>) {
        for tunnel in actual.tunnels.keys().filter(|name| !desired.contains_key(*name)) {
            let needs = self.taken.remove(tunnel).unwrap_or_default();
            self.push(tunnel, Action::Remove { tunnel: tunnel.clone() }, needs);
        }
    }
}
