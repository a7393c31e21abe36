//! Tries in a row that failed, and how long to wait before the next one.

use std::time::Duration;

use crate::backoff::Backoff;
use crate::model::Disposition;

/// The first wait while only an edit or a person can mend it, and the longest.
const BLOCKED: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(600));

/// How often something has failed in a row.
#[derive(Clone, Debug)]
pub(super) struct Tries {
    failures: u32,
    limits: (Duration, Duration),
    passing: Backoff,
    blocked: Backoff,
}

impl Tries {
    /// None so far. Waits after failures that may pass by themselves keep to these limits.
    pub(super) fn new(limits: (Duration, Duration)) -> Self {
        Self {
            failures: 0,
            limits,
            passing: Backoff::new(limits.0, limits.1),
            blocked: Backoff::new(BLOCKED.0, BLOCKED.1),
        }
    }

    /// How many.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// One more failed. How long to wait.
    pub(super) fn failed(&mut self, disposition: Disposition, dice: f64) -> Duration {
        self.failures = self.failures.saturating_add(1);
        match disposition {
            Disposition::Retry => self.passing.next(dice),
            Disposition::RetryAfter(least) => self.passing.next(dice).max(least),
            // There is no crowd to spread, and a person counts on the minute.
            Disposition::Blocked(_) => self.blocked.next(1.0),
        }
    }

    /// It works.
    pub(super) fn worked(&mut self) {
        *self = Self::new(self.limits);
    }

    /// Something changed that makes the waits so far meaningless; the failures remain.
    pub(super) fn forget_waits(&mut self) {
        *self = Self { failures: self.failures, ..Self::new(self.limits) };
    }

    /// Other limits. Equal ones change nothing.
    pub(super) fn limit(&mut self, limits: (Duration, Duration)) {
        if self.limits != limits {
            self.limits = limits;
            self.forget_waits();
        }
    }
}
