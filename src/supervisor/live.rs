//! The tunnels that run, and the routes they use: what the loop owns, and how one step of a plan is carried out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Dialer;
use super::bell::Bell;
use super::edition::{Cohort, Edition, Tally};
use super::listen::{self, ListenError, Listener};
use super::paths::Place;
use super::routes::Routes;
use crate::backoff::Backoff;
use crate::limit::Limit;
use crate::model::{Listen, Name, Reason, overlap};
use crate::plan::{self, Spec};
use crate::sys::limits;

/// The first wait before an address that could not be bound is tried again, and the longest.
const REBIND: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(600));

/// How many ports are tried after one that is taken.
const NEXT: u16 = 1000;

/// Files that are kept back from connections: for other commands, Resource Manager, token exchanges and deletions.
const KEPT_FILES: usize = 64;
/// The files of a connection: its own, its WebSocket's, that of a deletion or a second try, and the two of the other side
/// when the emulator is in this process.
const FILES_EACH: usize = 5;

/// A tunnel that runs.
pub(super) struct Tunnel {
    pub(super) edition: Arc<Edition>,
    pub(super) bound: Vec<Bound>,
    /// Why it is not bound where it should be.
    pub(super) unbound: Option<Unbound>,
}

/// Addresses that were bound together.
pub(super) struct Bound {
    pub(super) listen: Listen,
    pub(super) listeners: BTreeMap<SocketAddr, Listener>,
    /// Why they are not those of `listen`: that port is taken, and the next one will do.
    pub(super) instead: Option<Taken>,
}

/// An address that another program has.
#[derive(Clone)]
pub(super) struct Taken {
    pub(super) reason: Reason,
    /// Which one, until it was looked up who that is.
    pub(super) unnamed: Option<SocketAddr>,
}

/// Why a tunnel is not bound where it should be, and when that is tried again.
pub(super) struct Unbound {
    pub(super) taken: Taken,
    pub(super) at: Instant,
    waits: Backoff,
}

/// Connections of a tunnel that goes another way now, or is gone.
pub(super) struct Draining {
    pub(super) name: Name,
    pub(super) edition: Arc<Edition>,
    /// When they are ended.
    pub(super) until: Option<Instant>,
}

/// Everything that runs.
pub(super) struct Live {
    pub(super) tunnels: BTreeMap<Name, Tunnel>,
    pub(super) draining: Vec<Draining>,
    pub(super) routes: Routes,
    pub(super) accepting: JoinSet<()>,
    pub(super) connections: TaskTracker,
    /// As many connections as there are files for.
    pub(super) room: Limit,
    /// Ends the connections.
    pub(super) cut: CancellationToken,
    /// Drops the connections that do not end.
    pub(super) abandon: CancellationToken,
    /// Rung when the last connection of a cohort has ended.
    pub(super) empty: Arc<Bell<u64>>,
    cohorts: u64,
    pub(super) ipv6_loopback: bool,
    /// Ports that the file names, whether their tunnels run or not: none of them is anybody's next one.
    pub(super) reserved: BTreeSet<u16>,
}

impl Live {
    pub(super) fn new(dialer: Arc<dyn Dialer>, ipv6_loopback: bool) -> Self {
        Self {
            tunnels: BTreeMap::new(),
            draining: Vec::new(),
            routes: Routes::new(dialer),
            accepting: JoinSet::new(),
            connections: TaskTracker::new(),
            room: Limit::new(0),
            cut: CancellationToken::new(),
            abandon: CancellationToken::new(),
            empty: Arc::new(Bell::new()),
            cohorts: 0,
            ipv6_loopback,
            reserved: BTreeSet::new(),
        }
    }

    /// What runs, as the planner wants it.
    pub(super) fn actual(&self) -> plan::Actual {
        let bound = |bound: &Bound| plan::Bound {
            listen: bound.listen,
            addresses: bound.listeners.keys().copied().collect(),
        };
        let live = |tunnel: &Tunnel| plan::Live {
            spec: tunnel.edition.spec.clone(),
            bound: tunnel.bound.iter().map(bound).collect(),
        };
        let tunnels = self.tunnels.iter().map(|(name, tunnel)| (name.clone(), live(tunnel)));
        plan::Actual { tunnels: tunnels.collect(), ipv6_loopback: self.ipv6_loopback }
    }

    /// A new tunnel, which does not listen yet.
    pub(super) async fn add(&mut self, name: &Name, spec: Spec) {
        // One of this name may be ending still: what is counted goes on.
        let before = self.draining.iter().find(|old| old.name == *name);
        let tally = before.map(|old| Arc::clone(&old.edition.tally));
        let tally = tally.unwrap_or_else(|| Arc::new(Tally::new(spec.behaviour.max_connections)));
        tally.limit.set(spec.behaviour.max_connections);
        let cohort = self.cohort();
        let way = self.routes.enter(name, &spec).await;
        let (tasks, abandon) = (self.connections.clone(), self.abandon.clone());
        let room = self.room.clone();
        let edition =
            Arc::new(Edition { name: name.clone(), spec, way, tally, cohort, room, tasks, abandon });
        self.tunnels.insert(name.clone(), Tunnel { edition, bound: Vec::new(), unbound: None });
    }

    /// A tunnel as it is to be from now on. Where its way changes, its connections are given the new `drain` from now.
    pub(super) async fn change(&mut self, name: &Name, spec: Spec, what: plan::Change) {
        let Some(old) = self.tunnels.get(name).map(|tunnel| Arc::clone(&tunnel.edition)) else { return };
        let (way, cohort) = match what {
            plan::Change::Behaviour => (self.routes.enter(name, &spec).await, Arc::clone(&old.cohort)),
            plan::Change::Path => {
                let way = self.routes.enter(name, &spec).await;
                (way, self.cohort())
            }
        };
        old.tally.limit.set(spec.behaviour.max_connections);
        // As the file has it now.
        let drain = spec.behaviour.drain;
        let edition = Arc::new(Edition {
            name: name.clone(),
            spec,
            way,
            tally: Arc::clone(&old.tally),
            cohort,
            room: old.room.clone(),
            tasks: old.tasks.clone(),
            abandon: old.abandon.clone(),
        });
        if let Some(tunnel) = self.tunnels.get_mut(name) {
            tunnel.edition = Arc::clone(&edition);
            tunnel.unbound = None;
            for listener in tunnel.bound.iter().flat_map(|bound| bound.listeners.values()) {
                listener.hand_over(Arc::clone(&edition));
            }
        }
        let left = Place::of(&old.spec);
        if left != Place::of(&edition.spec) {
            self.routes.leave(name, &left).await;
        }
        if what == plan::Change::Path {
            self.drain(old, (!drain.is_zero()).then_some(drain));
        }
    }

    /// Takes as many connections as there are files for, besides those that listen and what else has to be opened.
    pub(super) fn make_room(&self) {
        let Some(files) = limits::open_files() else { return };
        let listeners: usize =
            self.tunnels.values().flat_map(|tunnel| &tunnel.bound).map(|bound| bound.listeners.len()).sum();
        // Each listener has itself and one that it has accepted and cannot place.
        let spare = files.saturating_sub(KEPT_FILES + 2 * listeners);
        self.room.set((spare / FILES_EACH).max(1));
    }

    /// Begins to let go what tunnels hold that are all going to be removed: one by one, each would wait for its turn
    /// on another thread, and a thousand of them for a thousand turns.
    pub(super) fn close<'a>(&self, names: impl IntoIterator<Item = &'a Name>) {
        let tunnels = names.into_iter().filter_map(|name| self.tunnels.get(name));
        for bound in tunnels.flat_map(|tunnel| &tunnel.bound) {
            bound.listeners.values().for_each(Listener::close);
        }
    }

    /// A tunnel is gone; its connections are given so long, or as long as they like.
    pub(super) async fn remove(&mut self, name: &Name, drain: Option<Duration>) {
        let Some(tunnel) = self.tunnels.remove(name) else { return };
        for listener in tunnel.bound.into_iter().flat_map(|bound| bound.listeners.into_values()) {
            listener.release().await;
        }
        self.routes.leave(name, &Place::of(&tunnel.edition.spec)).await;
        self.drain(tunnel.edition, drain);
    }

    /// Binds addresses for a tunnel.
    pub(super) async fn bind(&mut self, name: &Name, listen: Listen, addresses: &[SocketAddr]) -> bool {
        let bound = match self.listen(name, listen, addresses).await {
            Err(error) if error.taken().is_some() => self.listen_next(name, listen, error).await,
            bound => bound,
        };
        let Some(tunnel) = self.tunnels.get_mut(name) else { return false };
        let before = tunnel.unbound.take();
        let Err(error) = bound else { return true };
        let now = Instant::now();
        // Whoever edits the file has not waited, and is not made to wait longer for it.
        let waits = before.filter(|unbound| unbound.at <= now).map(|unbound| unbound.waits);
        let mut waits = waits.unwrap_or_else(|| Backoff::new(REBIND.0, REBIND.1));
        // There is no crowd to spread, and a person counts on the minute.
        let at = now + waits.next(1.0);
        tunnel.unbound = Some(Unbound { taken: Taken::of(&error), at, waits });
        false
    }

    /// Binds addresses again that a tunnel has let go for others which it cannot have.
    pub(super) async fn take_back(&mut self, name: &Name, listen: Listen, addresses: &[SocketAddr]) {
        if let Err(error) = self.listen(name, listen, addresses).await {
            let reason = error.reason();
            tracing::warn!(tunnel = %name, code = &*reason.code, "what it had before is gone, too: {}", reason.what);
        }
    }

    async fn listen(
        &mut self,
        name: &Name,
        listen: Listen,
        addresses: &[SocketAddr],
    ) -> Result<(), ListenError> {
        let bound = listen::bind(addresses).await?;
        self.own(name, listen, bound, None);
        Ok(())
    }

    /// Binds the next port that is free, where the tunnel takes that; nothing of ours has it or is to have it.
    async fn listen_next(
        &mut self,
        name: &Name,
        listen: Listen,
        error: ListenError,
    ) -> Result<(), ListenError> {
        let takes_next = self.tunnels.get(name).is_some_and(|tunnel| tunnel.edition.spec.takes_next());
        let ports = if takes_next { NEXT } else { 0 };
        for port in (1..=ports).filter_map(|more| listen.port().checked_add(more)) {
            let addresses = listen.at(port).addresses(self.ipv6_loopback);
            if addresses.iter().any(|address| self.is_spoken_for(name, address)) {
                continue;
            }
            if let Ok(bound) = listen::bind(&addresses).await {
                self.own(name, listen, bound, Some(Taken::of(&error)));
                // What it has of its own port is of no use alone.
                let own = listen.addresses(self.ipv6_loopback).into_iter().collect();
                self.release(name, &own).await;
                return Ok(());
            }
        }
        Err(error)
    }

    /// Whether an address is that of another tunnel of ours, or is declared for one.
    fn is_spoken_for(&self, name: &Name, address: &SocketAddr) -> bool {
        self.reserved.contains(&address.port())
            || self.tunnels.iter().filter(|(other, _)| *other != name).any(|(_, other)| {
                other.bound.iter().flat_map(|bound| bound.listeners.keys()).any(|has| overlap(has, address))
            })
    }

    fn own(
        &mut self,
        name: &Name,
        listen: Listen,
        bound: BTreeMap<SocketAddr, TcpListener>,
        instead: Option<Taken>,
    ) {
        if let Some(tunnel) = self.tunnels.get_mut(name) {
            let start = |(address, listener)| {
                let owner = Arc::clone(&tunnel.edition);
                (address, Listener::start(listener, owner, &mut self.accepting))
            };
            let listeners = bound.into_iter().map(start).collect();
            tunnel.bound.push(Bound { listen, listeners, instead });
        }
    }

    /// Lets addresses go.
    pub(super) async fn release(&mut self, name: &Name, addresses: &BTreeSet<SocketAddr>) {
        for (_, listener) in self.take(name, addresses) {
            listener.release().await;
        }
    }

    /// Gives addresses to another tunnel. They stay bound.
    pub(super) fn hand_over(&mut self, from: &Name, to: &Name, addresses: &BTreeSet<SocketAddr>) {
        let has = |bound: &&Bound| bound.listeners.keys().any(|address| addresses.contains(address));
        let old = self.tunnels.get(from).and_then(|tunnel| tunnel.bound.iter().find(has));
        let instead = old.and_then(|bound| Some((bound.listen, bound.instead.clone()?)));
        let listeners = self.take(from, addresses);
        let Some(heir) = self.tunnels.get_mut(to) else { return };
        for listener in listeners.values() {
            listener.hand_over(Arc::clone(&heir.edition));
        }
        let listen = heir.edition.spec.listen;
        // A tunnel under another name has them for the same reason.
        let instead = instead.filter(|(old, _)| *old == listen).map(|(_, taken)| taken);
        heir.bound.push(Bound { listen, listeners, instead });
    }

    fn take(&mut self, name: &Name, addresses: &BTreeSet<SocketAddr>) -> BTreeMap<SocketAddr, Listener> {
        let mut taken = BTreeMap::new();
        if let Some(tunnel) = self.tunnels.get_mut(name) {
            for bound in &mut tunnel.bound {
                taken.extend(bound.listeners.extract_if(.., |address, _| addresses.contains(address)));
            }
            tunnel.bound.retain(|bound| !bound.listeners.is_empty());
        }
        taken
    }

    /// The connections of an edition that takes no new ones any more.
    fn drain(&mut self, edition: Arc<Edition>, drain: Option<Duration>) {
        if !edition.cohort.retire() {
            let until = drain.map(|drain| Instant::now() + drain);
            self.draining.push(Draining { name: edition.name.clone(), edition, until });
        }
    }

    fn cohort(&mut self) -> Arc<Cohort> {
        self.cohorts += 1;
        Arc::new(Cohort::new(self.cohorts, self.cut.child_token(), &self.empty))
    }
}

impl Taken {
    pub(super) fn of(error: &ListenError) -> Self {
        Self { reason: error.reason(), unnamed: error.taken() }
    }
}
