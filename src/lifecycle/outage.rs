//! A failure that concerns the whole bastion: one wait, one try, for all paths.

use std::time::Instant;

use super::Failure;
use super::tries::Tries;
use crate::model::{Disposition, Reason};

/// What does not work, and what is done about it.
#[derive(Debug)]
pub(super) struct Outage<K> {
    pub(super) reason: Reason,
    pub(super) blocked: bool,
    /// When it is or was to be tried again.
    pub(super) at: Instant,
    /// The try that is under way.
    pub(super) flight: Option<Retry<K>>,
    /// Where it was last seen.
    pub(super) seen: Seen,
    /// A person did something, and looks on: what works again is shown at once.
    pub(super) asked: bool,
}

/// The one try of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Retry<K> {
    Resolve,
    Probe(K),
}

/// Where a failure of the whole bastion was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Resource Manager did not name the gateway.
    Resolving,
    /// The gateway, or the sign-in to it, failed.
    Using,
}

impl<K> Outage<K> {
    pub(super) fn new(failure: Failure, seen: Seen, now: Instant, tries: &mut Tries, dice: f64) -> Self {
        let at = now + tries.failed(failure.disposition, dice);
        let blocked = matches!(failure.disposition, Disposition::Blocked(_));
        Self { reason: failure.reason, blocked, at, flight: None, seen, asked: false }
    }

    /// A failure that is not the result of this outage's own try: of connections and probes that were in flight when it
    /// began, or that are in flight beside the try. They neither shorten the wait nor lengthen the ladder.
    pub(super) fn again(&mut self, failure: Failure, now: Instant, tries: &mut Tries) {
        let blocked = matches!(failure.disposition, Disposition::Blocked(_));
        if self.flight.is_some() {
            (self.reason, self.blocked) = (failure.reason, self.blocked || blocked);
        } else if blocked && !self.blocked {
            self.at = now + tries.failed(failure.disposition, 1.0);
            (self.reason, self.blocked) = (failure.reason, true);
        } else if let Disposition::RetryAfter(least) = failure.disposition {
            self.at = self.at.max(now + least);
        }
    }

    /// Whether to ask Resource Manager at the next try, rather than to probe.
    ///
    /// A gateway that has failed twice may have another address by now. When Resource Manager cannot be reached
    /// either, the gateway that is known is tried again: the one may come back without the other.
    pub(super) fn should_resolve(&self, failures: u32) -> bool {
        match self.seen {
            Seen::Resolving => self.blocked,
            Seen::Using => failures >= 2,
        }
    }
}
