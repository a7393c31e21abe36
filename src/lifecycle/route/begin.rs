//! What is due is begun: the one try of a route in an outage, or else the tries of its paths.

use super::{Moment, Route};
use crate::lifecycle::Action;
use crate::lifecycle::outage::Retry;
use crate::lifecycle::path::{Due, Record};
use crate::model::Probe;

impl<K: Ord + Clone> Route<K> {
    pub(super) fn any_probe(&self) -> bool {
        self.paths.values().any(Self::is_probed)
    }

    fn is_probed(record: &Record) -> bool {
        record.options.probe != Probe::None && !record.asleep
    }

    /// Whether there is anybody to try something for.
    pub(super) fn is_used(&self) -> bool {
        self.paths.values().any(|record| !record.asleep)
    }

    /// Everything whose time has come.
    pub(super) fn begin_what_is_due(&mut self, moment: &mut Moment<'_, K>) {
        if !self.is_used() {
            return;
        }
        match &self.outage {
            Some(outage) if outage.flight.is_none() && outage.at <= moment.now => self.try_route(moment),
            Some(_) => {}
            None if !self.known => self.resolve(moment),
            None => self.try_paths(moment),
        }
    }

    fn resolve(&mut self, moment: &mut Moment<'_, K>) {
        if !std::mem::replace(&mut self.resolving, true) {
            moment.actions.push(Action::Resolve);
        }
    }

    /// The one try of a route that does not work.
    fn try_route(&mut self, moment: &mut Moment<'_, K>) {
        let failures = self.tries.failures();
        let resolve = self.outage.as_ref().is_some_and(|outage| outage.should_resolve(failures));
        if self.known && !resolve && self.any_probe() {
            return self.try_with_probe(moment);
        }
        self.resolve(moment);
        self.fly(Retry::Resolve);
    }

    /// Probes the path that somebody waits for, or else the one that is likeliest to answer.
    pub(super) fn try_with_probe(&mut self, moment: &mut Moment<'_, K>) {
        let probed = self.paths.iter_mut().filter(|(_, record)| Self::is_probed(record));
        let best = probed.min_by_key(|(_, record)| (!record.waiting, record.tries.failures()));
        let Some((path, record)) = best else { return };
        let path = path.clone();
        record.due = Due::Never;
        if !std::mem::replace(&mut record.probing, true) {
            moment.actions.push(Action::Probe(path.clone()));
        }
        self.fly(Retry::Probe(path));
    }

    fn fly(&mut self, retry: Retry<K>) {
        if let Some(outage) = &mut self.outage {
            outage.flight = Some(retry);
        }
        self.touch_all();
    }

    /// The paths whose time has come, those that somebody waits for first.
    fn try_paths(&mut self, moment: &mut Moment<'_, K>) {
        let mut rest = Vec::new();
        for (path, record) in &mut self.paths {
            if record.due.at().is_none_or(|at| at > moment.now) {
                continue;
            }
            self.touched.insert(path.clone());
            if record.options.probe == Probe::None {
                record.assume();
                continue;
            }
            record.due = Due::Never;
            if std::mem::replace(&mut record.probing, true) {
                continue;
            }
            let action = Action::Probe(path.clone());
            if record.waiting { moment.actions.push(action) } else { rest.push(action) }
        }
        moment.actions.append(&mut rest);
    }
}
