//! One pass: what should run is compared with what runs, the difference is carried out, and what came of it is shown.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::time::Instant;

use super::Supervisor;
use super::board::Row;
use super::edition::Tally;
use super::handle::Applied;
use super::live::{Live, Tunnel};
use super::paths::Place;
use crate::lifecycle::{Listener, TunnelState, tunnel_state};
use crate::model::{Listen, Name, State};
use crate::plan::{self, Action, Mark, Plan};

/// How a step went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    Failed,
    /// A step that it needs was not done.
    Skipped,
}

/// What came of a pass.
#[derive(Default)]
pub(super) struct Pass {
    pub(super) applied: Applied,
    /// Tunnels that were withheld before.
    gone: Vec<Name>,
}

impl Supervisor {
    /// Brings about what should run, and shows what came of it.
    pub(super) async fn reconcile(&mut self, why: &'static str) {
        let pass = self.pass(why).await;
        self.publish(pass);
    }

    /// Brings about what should run. A pass reports and never fails: what could not be done is tried again.
    pub(super) async fn pass(&mut self, why: &'static str) -> Pass {
        let Some(declared) = self.declared.as_ref().filter(|_| self.stopping.is_none()) else {
            return Pass::default();
        };
        let begun = Instant::now();
        let (mut specs, withheld) = self.wanted.of(declared);
        self.live.keep_chosen(&mut specs);
        let before: BTreeSet<Name> = self.live.tunnels.keys().cloned().collect();
        let plan = plan::between(&self.live.actual(), &specs);
        let tunnels = declared.desired.tunnels.values();
        self.live.reserved = tunnels.map(|tunnel| tunnel.listen.port()).collect();
        let outcomes = self.live.carry_out(&plan).await;
        self.live.name_holders(&*self.source).await;
        self.remember_ports().await;
        self.live.make_room();
        let gone = std::mem::replace(&mut self.withheld, withheld).into_keys().collect();
        let started = self.live.tunnels.keys().filter(|name| !before.contains(*name)).cloned().collect();
        if !plan.is_empty() {
            let not_done = outcomes.iter().filter(|outcome| **outcome != Outcome::Done).count();
            tracing::info!(
                why,
                generation = self.generation,
                unchanged = plan.unchanged,
                steps = outcomes.len(),
                not_done,
                ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
                "the declared set was carried out"
            );
        }
        Pass { applied: self.applied(&plan, started), gone }
    }

    /// Shows what came of a pass.
    pub(super) fn publish(&self, pass: Pass) -> Applied {
        let names = self.board.names().into_iter().chain(pass.gone);
        let names: BTreeSet<Name> =
            names.chain(self.live.tunnels.keys().chain(self.withheld.keys()).cloned()).collect();
        self.show(names.iter());
        self.board.bastions(self.live.routes.usage());
        pass.applied
    }

    /// What is answered about a plan.
    pub(super) fn applied(&self, plan: &Plan, started: Vec<Name>) -> Applied {
        let lines = plan.words();
        let changes = lines.iter().filter(|line| line.mark != Mark::Unchanged).count();
        Applied { generation: self.generation, started, lines, changes }
    }

    /// Puts tunnels on the board as they are now.
    pub(super) fn show<'a>(&self, names: impl Iterator<Item = &'a Name>) {
        let now = Instant::now().into_std();
        for name in names {
            match self.row(name) {
                Some(row) => self.board.put(name, row, now),
                None => self.board.remove(name, now, (self.clock)()),
            }
        }
    }

    fn row(&self, name: &Name) -> Option<Row> {
        if let Some(tunnel) = self.live.tunnels.get(name) {
            let path = self.live.routes.state(&Place::of(&tunnel.edition.spec));
            let listener = self.live.listener(tunnel);
            return Some(self.row_of(tunnel_state(&listener, &path), &tunnel.edition, tunnel.addresses()));
        }
        if self.withheld.contains_key(name) {
            return self.withheld_row(name);
        }
        let old = self.live.draining.iter().find(|old| old.name == *name)?;
        Some(self.row_of(still(State::Draining), &old.edition, Vec::new()))
    }

    fn row_of(&self, state: TunnelState, edition: &super::edition::Edition, listen: Vec<SocketAddr>) -> Row {
        let spec = &edition.spec;
        Row {
            state,
            listen,
            target: format!("{}:{}", spec.target, spec.path.port),
            route: spec.route.to_string(),
            env: spec.env.clone(),
            tally: Arc::clone(&edition.tally),
            since: (self.clock)(),
        }
    }

    /// A tunnel that its user has not allowed.
    fn withheld_row(&self, name: &Name) -> Option<Row> {
        let desired = &self.declared.as_ref()?.desired;
        let tunnel = desired.tunnels.get(name)?;
        let target = desired.targets.get(&tunnel.target)?;
        let state = TunnelState { reason: self.withheld.get(name).cloned(), ..still(State::Blocked) };
        Some(Row {
            state,
            listen: Vec::new(),
            target: format!("{}:{}", tunnel.target, tunnel.port),
            route: target.bastion.to_string(),
            env: tunnel.env.clone(),
            tally: Arc::new(Tally::new(0)),
            since: (self.clock)(),
        })
    }

    /// The last connections of cohorts have ended.
    pub(super) fn emptied(&mut self, cohorts: &BTreeSet<u64>) {
        let (done, rest) = std::mem::take(&mut self.live.draining)
            .into_iter()
            .partition(|old| cohorts.contains(&old.edition.cohort.number()));
        self.live.draining = rest;
        let done: Vec<super::live::Draining> = done;
        self.show(done.iter().map(|old| &old.name));
    }

    /// When something has to be done that nobody tells of.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let unbound = self.live.tunnels.values().filter_map(|tunnel| Some(tunnel.unbound.as_ref()?.at));
        let drained = self.live.draining.iter().filter_map(|old| old.until);
        unbound.chain(drained).chain(self.stopping).min()
    }

    pub(super) async fn due(&mut self) {
        let now = Instant::now();
        for old in &mut self.live.draining {
            if old.until.is_some_and(|until| until <= now) {
                old.until = None;
                old.edition.cohort.stop.cancel();
            }
        }
        let unbound = |tunnel: &Tunnel| tunnel.unbound.as_ref().is_some_and(|unbound| unbound.at <= now);
        if self.live.tunnels.values().any(unbound) {
            self.reconcile("address").await;
        }
    }
}

/// A state that nothing is tried in.
fn still(state: State) -> TunnelState {
    TunnelState { state, reason: None, attempt: 0, next_retry: None, verified: false, target_verified: false }
}

impl Live {
    /// Carries out the steps, in order; those whose needs were not met are skipped.
    async fn carry_out(&mut self, plan: &Plan) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(plan.steps.len());
        let mut released = Vec::new();
        for step in &plan.steps {
            let met = step.needs.iter().all(|need| outcomes.get(*need) == Some(&Outcome::Done));
            if let Action::Release { tunnel, addresses } = &step.action
                && met
            {
                let held = self.tunnels.get(tunnel).map(|tunnel| tunnel.holds(addresses)).unwrap_or_default();
                released.extend(held.into_iter().map(|(listen, addresses)| (tunnel, listen, addresses)));
            }
            let outcome = if met { self.step(&step.action).await } else { Outcome::Skipped };
            if let (Action::Bind { tunnel, .. }, Outcome::Failed) = (&step.action, outcome) {
                // What it has let go for that, such as 127.0.0.1 for 0.0.0.0, is better than nothing; but what others
                // could reach stays closed.
                let own = |(owner, listen, _): &&(&Name, Listen, _)| *owner == tunnel && listen.is_loopback();
                for (_, listen, addresses) in released.iter().filter(own) {
                    self.take_back(tunnel, *listen, addresses).await;
                }
            }
            outcomes.push(outcome);
        }
        outcomes
    }

    async fn step(&mut self, action: &Action) -> Outcome {
        match action {
            Action::Add { tunnel, spec } => self.add(tunnel, spec.clone()).await,
            Action::Change { tunnel, spec, what } => self.change(tunnel, spec.clone(), *what).await,
            Action::HandOver { addresses, from, to } => self.hand_over(from, to, addresses),
            Action::Release { tunnel, addresses } => self.release(tunnel, addresses).await,
            Action::Bind { tunnel, listen, addresses } => {
                if !self.bind(tunnel, *listen, addresses).await {
                    return Outcome::Failed;
                }
            }
            Action::Remove { tunnel } => {
                let drain = self.tunnels.get(tunnel).map(|t| t.edition.spec.behaviour.drain);
                self.remove(tunnel, drain.filter(|drain| !drain.is_zero())).await;
            }
        }
        Outcome::Done
    }

    /// Whether a tunnel listens where it should, and if not, why.
    fn listener(&self, tunnel: &Tunnel) -> Listener {
        let listen = tunnel.edition.spec.listen;
        let owned = |address: &SocketAddr| tunnel.bound.iter().any(|b| b.listeners.contains_key(address));
        let found = tunnel.bound.iter().find(|bound| bound.listen == listen);
        let complete = listen.addresses(self.ipv6_loopback).iter().all(owned);
        match &tunnel.unbound {
            _ if complete || found.is_some() && (listen.port() == 0 || tunnel.edition.spec.auto) => {
                Listener::Bound
            }
            _ if let Some(taken) = found.and_then(|bound| bound.instead.as_ref()) => {
                Listener::Elsewhere(taken.reason.clone())
            }
            None => Listener::Unbound,
            Some(unbound) if tunnel.bound.is_empty() => Listener::Blocked {
                reason: unbound.taken.reason.clone(),
                next_retry: Some(unbound.at.into_std()),
            },
            Some(unbound) => Listener::Elsewhere(unbound.taken.reason.clone()),
        }
    }

    /// Connections of tunnels that take no new ones, by tunnel.
    pub(super) fn going_on(&self, which: impl Fn(&Name) -> bool) -> Vec<(Name, usize)> {
        let mut all = std::collections::BTreeMap::<Name, usize>::new();
        for old in self.draining.iter().filter(|old| which(&old.name)) {
            *all.entry(old.name.clone()).or_default() += old.edition.cohort.members();
        }
        all.into_iter().filter(|(_, count)| *count > 0).collect()
    }
}

impl Tunnel {
    /// Which of these addresses it owns, and for what they were bound.
    fn holds(&self, addresses: &BTreeSet<SocketAddr>) -> Vec<(Listen, Vec<SocketAddr>)> {
        let held = |bound: &super::live::Bound| {
            let held = bound.listeners.keys().filter(|address| addresses.contains(*address));
            let held: Vec<SocketAddr> = held.copied().collect();
            (!held.is_empty()).then_some((bound.listen, held))
        };
        self.bound.iter().filter_map(held).collect()
    }

    /// Its addresses, IPv4 first.
    fn addresses(&self) -> Vec<SocketAddr> {
        let mut all: Vec<_> = self.bound.iter().flat_map(|bound| bound.listeners.keys().copied()).collect();
        all.sort();
        all
    }
}
