//! How what was begun went, and what that says about the bastion and the path.

use std::time::Duration;

use super::{Moment, Route};
use crate::lifecycle::outage::{Outage, Retry, Seen};
use crate::lifecycle::{Failure, Scope};
use crate::model::Disposition;

impl<K: Ord + Clone> Route<K> {
    pub(super) fn resolved(&mut self, result: Result<(), Failure>, moment: &mut Moment<'_, K>) {
        self.resolving = false;
        let own = self.land(&Retry::Resolve);
        match result {
            Ok(()) => self.named(own, moment),
            // The question was asked before it worked again, and what works needs no Resource Manager.
            Err(_) if self.outage.is_none() && self.known => {}
            Err(failure) if own || self.outage.is_none() => {
                self.bastion_failed(failure, Seen::Resolving, moment);
            }
            Err(_) => {}
        }
    }

    /// Resource Manager has named the gateway, perhaps as the route's `own` try.
    fn named(&mut self, own: bool, moment: &mut Moment<'_, K>) {
        let first = !std::mem::replace(&mut self.known, true);
        match &self.outage {
            None if first => self.open(moment),
            Some(outage) if own => match outage.seen {
                Seen::Resolving => {
                    self.tries.worked();
                    self.end_outage(None, moment);
                }
                // That the gateway has a name does not show that it works.
                Seen::Using if self.any_probe() => self.try_with_probe(moment),
                Seen::Using => self.end_outage(None, moment),
            },
            Some(_) | None => {}
        }
    }

    /// The route's own try has ended, if it was this one.
    fn land(&mut self, retry: &Retry<K>) -> bool {
        match &mut self.outage {
            Some(outage) if outage.flight.as_ref() == Some(retry) => {
                outage.flight = None;
                true
            }
            Some(_) | None => false,
        }
    }

    pub(super) fn probed(&mut self, path: &K, result: Result<(), Failure>, moment: &mut Moment<'_, K>) {
        self.left.remove(path);
        let Some(record) = self.paths.get_mut(path) else { return };
        record.probing = false;
        // It was asked in a former life.
        if record.asleep {
            return;
        }
        let reaches_target = record.options.probe.reaches_target();
        if result.is_ok() {
            record.answered();
        }
        let own = self.land(&Retry::Probe(path.clone()));
        match result {
            Ok(()) => self.works(path, moment),
            Err(failure) if own && failure.scope == Scope::Bastion => {
                self.bastion_failed(failure, Seen::Using, moment);
            }
            Err(failure) => {
                // Somebody behind the bastion did not answer: so the bastion did.
                if own {
                    self.bastion_works(Some(path), moment);
                }
                let unanswered = reaches_target
                    && failure.scope == Scope::Target
                    && failure.disposition == Disposition::Retry;
                self.path_failed(path, failure, moment);
                if let Some(record) = self.paths.get_mut(path).filter(|_| unanswered) {
                    record.not_answered(moment.now);
                }
            }
        }
    }

    pub(super) fn set_up(&mut self, path: &K, result: Result<(), Failure>, moment: &mut Moment<'_, K>) {
        let Some(record) = self.paths.get_mut(path).filter(|record| self.known || record.asleep) else {
            return;
        };
        // The first connection of a lazy path has found the gateway by itself, or else the route is to do so now.
        if std::mem::take(&mut record.asleep) && result.is_ok() && !std::mem::replace(&mut self.known, true) {
            self.open(moment);
        }
        self.touched.insert(path.clone());
        let Some(record) = self.paths.get_mut(path) else { return };
        record.unfit = matches!(&result, Err(failure) if failure.scope == Scope::Target);
        match result {
            // A session says nothing about a target that did not answer.
            Ok(()) if record.unanswered => self.bastion_works(None, moment),
            Ok(()) => self.works(path, moment),
            Err(failure) => self.path_failed(path, failure, moment),
        }
    }

    /// A path works, and so does its bastion.
    fn works(&mut self, path: &K, moment: &mut Moment<'_, K>) {
        if !self.known {
            return;
        }
        self.bastion_works(Some(path), moment);
        if let Some(record) = self.paths.get_mut(path) {
            record.succeeded(moment.now);
            self.touched.insert(path.clone());
        }
    }

    fn bastion_works(&mut self, shown_by: Option<&K>, moment: &mut Moment<'_, K>) {
        self.tries.worked();
        self.end_outage(shown_by, moment);
    }

    /// Something on a path failed that was not the route's own try.
    fn path_failed(&mut self, path: &K, failure: Failure, moment: &mut Moment<'_, K>) {
        match (failure.scope, &mut self.outage) {
            (Scope::Bastion, Some(outage)) => {
                outage.again(failure, moment.now, &mut self.tries);
                self.touch_all();
            }
            (Scope::Bastion, None) => self.bastion_failed(failure, Seen::Using, moment),
            (Scope::Target, _) => {
                if let Some(record) = self.paths.get_mut(path) {
                    record.failed(failure, moment.now, moment.dice);
                    self.touched.insert(path.clone());
                }
            }
        }
    }

    pub(super) fn bastion_failed(&mut self, failure: Failure, seen: Seen, moment: &mut Moment<'_, K>) {
        if self.outage.is_none() {
            self.tries.limit(self.quickest());
        }
        self.outage = Some(Outage::new(failure, seen, moment.now, &mut self.tries, (moment.dice)()));
        self.touch_all();
    }

    /// The waits of the route: those of the path that wants to wait least.
    fn quickest(&self) -> (Duration, Duration) {
        let limits = self.paths.values().map(|record| record.options.backoff);
        limits.reduce(|one, other| (one.0.min(other.0), one.1.min(other.1))).unwrap_or_default()
    }

    /// The bastion works again. Every path but the one that has shown it is looked at.
    fn end_outage(&mut self, shown_by: Option<&K>, moment: &mut Moment<'_, K>) {
        let Some(outage) = self.outage.take() else { return };
        for (path, record) in self.paths.iter_mut().filter(|(path, _)| Some(*path) != shown_by) {
            let at = if outage.asked { moment.now } else { moment.soon() };
            record.reopen(at, moment.now, Some(&outage.reason));
            self.touched.insert(path.clone());
        }
    }

    /// The bastion is known at last, at the first go.
    fn open(&mut self, moment: &Moment<'_, K>) {
        for record in self.paths.values_mut() {
            record.reopen(moment.now, moment.now, None);
        }
        self.touch_all();
    }
}
