//! The machine itself: what happened comes in, what is to be done goes out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::outage::{Outage, Retry, Seen};
use super::path::Record;
use super::tries::Tries;
use super::{Action, Failure, Input, PathOptions, PathState, SPREAD, Scope};
use crate::model::{Disposition, Reason};

mod begin;
mod results;

/// A route and the paths on it.
#[derive(Debug)]
pub struct Route<K> {
    paths: BTreeMap<K, Record>,
    /// Resource Manager has named the gateway.
    known: bool,
    /// A resolution is in flight.
    resolving: bool,
    /// Failures of the whole bastion.
    tries: Tries,
    outage: Option<Outage<K>>,
    /// Paths that were removed while a probe of theirs was in flight.
    left: BTreeSet<K>,
    /// Paths whose state may have changed.
    touched: BTreeSet<K>,
}

/// What a step knows besides the machine.
struct Moment<'a, K> {
    now: Instant,
    dice: &'a mut dyn FnMut() -> f64,
    actions: Vec<Action<K>>,
}

impl<K> Moment<'_, K> {
    /// Some time within the next three seconds.
    fn soon(&mut self) -> Instant {
        self.now + SPREAD.mul_f64((self.dice)().clamp(0.0, 1.0))
    }
}

impl<K: Ord + Clone> Default for Route<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Ord + Clone> Route<K> {
    /// A route without paths: nothing is tried.
    pub fn new() -> Self {
        Self {
            paths: BTreeMap::new(),
            known: false,
            resolving: false,
            tries: Tries::new((Duration::ZERO, Duration::ZERO)),
            outage: None,
            left: BTreeSet::new(),
            touched: BTreeSet::new(),
        }
    }

    /// Takes in what happened. Whatever is due by `now` is begun. `dice` gives numbers in `0.0..1.0`.
    pub fn step(&mut self, input: Input<K>, now: Instant, dice: &mut dyn FnMut() -> f64) -> Vec<Action<K>> {
        let mut moment = Moment { now, dice, actions: Vec::new() };
        match input {
            Input::Add { path, options } => self.add(path, options, &mut moment),
            Input::Update { path, options } => self.update(&path, options, moment.now),
            Input::Remove(path) => self.remove(&path, now),
            Input::Resolved(result) => self.resolved(result, &mut moment),
            Input::Probed { path, result } => self.probed(&path, result, &mut moment),
            Input::SetUp { path, result } => self.set_up(&path, result, &mut moment),
            Input::Waiting { path, waiting } => self.waiting(&path, waiting, now),
            Input::Timer => {}
            Input::Retry(path) => self.retry(path.as_ref(), now),
            Input::Wake => self.wake(&mut moment),
            Input::Prove(path) => self.prove(&path, &mut moment),
            Input::Crashed(reason) => self.crashed(reason, &mut moment),
        }
        self.begin_what_is_due(&mut moment);
        moment.actions
    }

    /// The paths whose state has changed since the last call. What was removed is not among them.
    pub fn take_changed(&mut self) -> Vec<K> {
        let mut changed = Vec::new();
        for path in std::mem::take(&mut self.touched) {
            let state = self.path(&path);
            let Some(record) = self.paths.get_mut(&path) else { continue };
            if record.shown != state {
                record.shown = state;
                changed.push(path);
            }
        }
        changed
    }

    /// Whether something is in flight that will tell of a path.
    pub fn is_trying(&self, path: &K) -> bool {
        let route = self.resolving || self.outage.as_ref().is_some_and(|outage| outage.flight.is_some());
        self.paths.get(path).is_some_and(|record| !record.asleep && (record.probing || route))
    }

    /// When [`Input::Timer`] is wanted next.
    pub fn timer(&self) -> Option<Instant> {
        if !self.is_used() {
            return None;
        }
        match &self.outage {
            Some(outage) => outage.flight.is_none().then_some(outage.at),
            // A resolution is in flight; nothing else can be begun.
            None if !self.known => None,
            None => self.paths.values().filter_map(|record| record.due.at()).min(),
        }
    }

    /// The state of a path; [`PathState::Pending`] when there is none such.
    pub fn path(&self, path: &K) -> PathState {
        let Some(record) = self.paths.get(path) else { return PathState::Pending };
        match &self.outage {
            _ if record.asleep => record.state(),
            Some(outage) if outage.blocked => {
                PathState::Blocked { next_retry: outage.at, reason: outage.reason.clone() }
            }
            Some(_) if record.is_blocked() => record.state(),
            Some(outage) => {
                let next_retry = outage.flight.is_none().then_some(outage.at);
                record.broken(self.tries.failures(), next_retry, &outage.reason)
            }
            None if !self.known => PathState::Resolving,
            None => record.state(),
        }
    }

    fn touch_all(&mut self) {
        self.touched.extend(self.paths.keys().cloned());
    }

    fn add(&mut self, path: K, options: PathOptions, moment: &mut Moment<'_, K>) {
        if self.paths.contains_key(&path) {
            self.update(&path, options, moment.now);
            return self.prove(&path, moment);
        }
        let mut record = Record::new(options, self.left.remove(&path));
        if self.known && self.outage.is_none() {
            record.reopen(moment.now, moment.now, None);
        }
        self.touched.insert(path.clone());
        self.paths.insert(path, record);
    }

    fn update(&mut self, path: &K, options: PathOptions, now: Instant) {
        let Some(record) = self.paths.get_mut(path) else { return };
        record.tries.limit(options.backoff);
        record.unanswered &= options.probe.reaches_target();
        record.options = options;
        if record.asleep && !record.options.lazy {
            record.asleep = false;
            if self.known && self.outage.is_none() {
                record.reopen(now, now, None);
            }
            self.touched.insert(path.clone());
        }
    }

    fn remove(&mut self, path: &K, now: Instant) {
        let Some(record) = self.paths.remove(path) else { return };
        self.touched.remove(path);
        if record.probing {
            self.left.insert(path.clone());
        }
        // The route's try was made with this path: another one has to do.
        if let Some(outage) = &mut self.outage
            && outage.flight.as_ref() == Some(&Retry::Probe(path.clone()))
        {
            outage.flight = None;
            outage.at = now;
        }
    }

    fn waiting(&mut self, path: &K, waiting: bool, now: Instant) {
        let Some(record) = self.paths.get_mut(path) else { return };
        record.waiting = waiting;
        if waiting {
            record.wait_for(now);
            self.touched.insert(path.clone());
        }
    }

    fn retry(&mut self, path: Option<&K>, now: Instant) {
        if let Some(outage) = &mut self.outage {
            self.tries.forget_waits();
            outage.blocked = false;
            outage.asked = true;
            outage.at = now;
        }
        for (_, record) in self.paths.iter_mut().filter(|(key, _)| path.is_none_or(|path| path == *key)) {
            record.unblock();
            record.hurry(now, now);
        }
        self.touch_all();
    }

    fn wake(&mut self, moment: &mut Moment<'_, K>) {
        let anyone = self.paths.values().any(|record| record.waiting);
        if let Some(outage) = &mut self.outage {
            self.tries.forget_waits();
            outage.at = outage.at.min(if anyone { moment.now } else { moment.soon() });
        }
        for record in self.paths.values_mut() {
            record.hurry(moment.soon(), moment.now);
        }
        self.touch_all();
    }

    fn prove(&mut self, path: &K, moment: &mut Moment<'_, K>) {
        let Some(record) = self.paths.get_mut(path) else { return };
        if self.known && self.outage.is_none() && record.wants_proof(moment.now) {
            record.probing = true;
            moment.actions.push(Action::Probe(path.clone()));
        }
    }

    fn crashed(&mut self, reason: Reason, moment: &mut Moment<'_, K>) {
        self.resolving = false;
        self.left.clear();
        for record in self.paths.values_mut() {
            record.probing = false;
        }
        let armed = self.outage.as_mut().is_some_and(|outage| outage.flight.take().is_none());
        if !armed && self.is_used() {
            let failure = Failure { scope: Scope::Bastion, disposition: Disposition::Retry, reason };
            self.bastion_failed(failure, Seen::Using, moment);
        }
    }
}
