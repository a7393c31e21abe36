//! What is known of one path, apart from its route.

use std::time::Instant;

use super::tries::Tries;
use super::{Failure, PROOF, PathOptions, PathState};
use crate::model::{Disposition, Probe, Reason};

/// A path.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) options: PathOptions,
    pub(super) tries: Tries,
    pub(super) health: Health,
    pub(super) due: Due,
    /// It had no connection yet, and nothing is to be asked for it before.
    pub(super) asleep: bool,
    /// A probe is in flight.
    pub(super) probing: bool,
    /// A connection is held until the path is back.
    pub(super) waiting: bool,
    /// It was ready at least once.
    pub(super) worked: bool,
    /// The last set-up of a connection failed: that a probe passes does not make up for it.
    pub(super) unfit: bool,
    /// The target itself has answered, and nothing has failed since.
    heard: bool,
    /// The target did not answer a probe: that a connection is set up does not make up for it.
    pub(super) unanswered: bool,
    /// When it was last shown to work.
    proven: Option<Instant>,
    /// The state that was last told.
    pub(super) shown: PathState,
}

/// How a path is.
#[derive(Debug)]
pub(super) enum Health {
    /// Not tried yet.
    Untried,
    /// It works.
    Fine { verified: bool },
    /// It does not.
    Failed {
        reason: Reason,
        blocked: bool,
        /// When it is or was to be tried again.
        retry: Instant,
    },
}

/// When the next try is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// None is to come by itself.
    Never,
    /// Put off only so that not all come at once: a connection that waits may have it now.
    Spread(Instant),
    /// After a failure: nothing but a person or a success shortens it.
    Backoff(Instant),
    /// After a failure of the target, which is not to be asked all the time; but a connection that waits may have the
    /// try that much sooner.
    Paced { at: Instant, sooner: Instant },
}

impl Due {
    /// When it is due after a failure.
    fn armed(self) -> Option<Instant> {
        match self {
            Self::Never | Self::Spread(_) => None,
            Self::Backoff(at) | Self::Paced { at, .. } => Some(at),
        }
    }

    pub(super) fn at(self) -> Option<Instant> {
        match self {
            Self::Never => None,
            Self::Spread(at) | Self::Backoff(at) | Self::Paced { at, .. } => Some(at),
        }
    }
}

impl Record {
    pub(super) fn new(options: PathOptions, probing: bool) -> Self {
        Self {
            tries: Tries::new(options.backoff),
            health: Health::Untried,
            due: Due::Never,
            asleep: options.lazy,
            options,
            probing,
            waiting: false,
            worked: false,
            unfit: false,
            heard: false,
            unanswered: false,
            proven: None,
            shown: PathState::Pending,
        }
    }

    /// Its state as long as its bastion is known and works.
    pub(super) fn state(&self) -> PathState {
        let (attempt, next_retry) = (self.tries.failures(), self.due.at());
        match &self.health {
            _ if self.asleep => PathState::Ready { verified: false, target: false },
            Health::Untried => PathState::Connecting { attempt, next_retry, reason: None },
            Health::Fine { verified } => PathState::Ready { verified: *verified, target: self.heard },
            Health::Failed { reason, blocked: true, retry } => {
                PathState::Blocked { next_retry: *retry, reason: reason.clone() }
            }
            Health::Failed { reason, .. } => self.broken(attempt, next_retry, reason),
        }
    }

    /// Its state while something does not work, which may pass by itself.
    pub(super) fn broken(&self, attempt: u32, next_retry: Option<Instant>, reason: &Reason) -> PathState {
        if self.worked {
            PathState::Degraded { attempt, next_retry, reason: reason.clone() }
        } else {
            PathState::Connecting { attempt, next_retry, reason: Some(reason.clone()) }
        }
    }

    pub(super) fn is_blocked(&self) -> bool {
        matches!(self.health, Health::Failed { blocked: true, .. })
    }

    /// It was shown to work.
    pub(super) fn succeeded(&mut self, now: Instant) {
        if !self.unfit {
            self.tries.worked();
        }
        self.health = Health::Fine { verified: true };
        self.due = Due::Never;
        self.worked = true;
        self.proven = Some(now);
    }

    /// It counts as working: there is nothing to show.
    pub(super) fn assume(&mut self) {
        self.health = Health::Fine { verified: false };
        self.due = Due::Never;
        self.worked = true;
    }

    /// It is tried as soon as may be.
    pub(super) fn put_off(&mut self, until: Instant) {
        self.due = Due::Spread(until);
        if let Health::Failed { retry, .. } = &mut self.health {
            *retry = until;
        }
    }

    /// It was found not to work.
    pub(super) fn failed(&mut self, failure: Failure, now: Instant, dice: &mut dyn FnMut() -> f64) {
        let blocked = matches!(failure.disposition, Disposition::Blocked(_));
        self.heard = false;
        if let Some(armed) = self.due.armed()
            && (!blocked || self.is_blocked())
        {
            // Connections in flight fail in a row: one failure is enough.
            return self.wait_longer(armed, failure.disposition, now);
        }
        let under_way = self.probing && !matches!(self.health, Health::Fine { .. });
        if under_way {
            // What is under way will tell; until then only the reason is news.
            let blocked = blocked || self.is_blocked();
            let retry = self.due.at().unwrap_or(now);
            self.health = Health::Failed { reason: failure.reason, blocked, retry };
        } else {
            let retry = now + self.tries.failed(failure.disposition, dice());
            self.health = Health::Failed { reason: failure.reason, blocked, retry };
            self.due = Due::Backoff(retry);
        }
    }

    /// A probe has passed.
    pub(super) fn answered(&mut self) {
        self.unanswered = false;
        self.heard = self.options.probe.hears_target();
    }

    /// A probe has failed at the target, as may pass by itself. Who runs it would not want to be asked all the time.
    pub(super) fn not_answered(&mut self, now: Instant) {
        self.unanswered = true;
        if let (Due::Backoff(sooner), false) = (self.due, self.waiting) {
            let at = sooner.max(now + PROOF);
            self.due = Due::Paced { at, sooner };
            if let Health::Failed { retry, .. } = &mut self.health {
                *retry = at;
            }
        }
    }

    /// A connection waits for it.
    pub(super) fn wait_for(&mut self, now: Instant) {
        match self.due {
            Due::Spread(_) => self.put_off(now),
            Due::Paced { sooner, .. } => {
                self.due = Due::Backoff(sooner.max(now));
                if let Health::Failed { retry, .. } = &mut self.health {
                    *retry = sooner.max(now);
                }
            }
            Due::Never | Due::Backoff(_) => {}
        }
    }

    fn wait_longer(&mut self, armed: Instant, disposition: Disposition, now: Instant) {
        if let Disposition::RetryAfter(least) = disposition {
            let until = armed.max(now + least);
            self.due = Due::Backoff(until);
            if let Health::Failed { retry, .. } = &mut self.health {
                *retry = until;
            }
        }
    }

    /// The outage is over, or the bastion is known at last: what stands there is tried again, except what is being
    /// tried and what has a wait of its own.
    pub(super) fn reopen(&mut self, until: Instant, now: Instant, reason: Option<&Reason>) {
        if self.asleep || self.due.armed().is_some_and(|at| at > now) {
            return;
        }
        if self.options.probe == Probe::None {
            return self.assume();
        }
        if let (Health::Fine { .. }, Some(reason)) = (&self.health, reason) {
            self.health = Health::Failed { reason: reason.clone(), blocked: false, retry: until };
            self.heard = false;
        }
        if self.probing {
            self.due = Due::Never;
        } else {
            self.put_off(if self.waiting { now } else { until });
        }
    }

    /// Waits are over, for a person or because the machine woke. What works, or is being tried, is left alone.
    pub(super) fn hurry(&mut self, until: Instant, now: Instant) {
        self.tries.forget_waits();
        let until = if self.waiting { now } else { until };
        if let Some(at) = self.due.at() {
            self.put_off(until.min(at));
        }
    }

    /// It is tried again because of a person: until that has failed, it is not blocked.
    pub(super) fn unblock(&mut self) {
        if let Health::Failed { blocked, .. } = &mut self.health {
            *blocked = false;
        }
    }

    /// Whether somebody who asks now should have it proven.
    pub(super) fn wants_proof(&self, now: Instant) -> bool {
        let fresh = self.proven.is_some_and(|proven| now.duration_since(proven) < PROOF);
        let unheard = self.options.probe.hears_target() && !self.heard;
        matches!(self.health, Health::Fine { .. })
            && self.options.probe != Probe::None
            && !self.probing
            && (!fresh || unheard)
    }
}
