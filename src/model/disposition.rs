//! What a failure asks for. Nothing else in the program decides whether to try again.

use std::time::Duration;

use super::Reason;

/// What to do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// It may pass by itself.
    Retry,
    /// It may pass by itself, and the other side said when.
    RetryAfter(Duration),
    /// Only an edit or a person can mend it.
    Blocked(Blocked),
}

/// What has to happen before a blocked thing can work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// Someone signs in.
    SignIn,
    /// Someone grants a right.
    Denied,
    /// A resource appears, or its name is corrected.
    NotFound,
    /// A property or the SKU of the bastion is changed.
    Unfit,
    /// Azure's answers change: we do not understand them, or do not trust them.
    Answer,
}

/// Whom a failure concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every path through the bastion.
    Bastion,
    /// This path only.
    Target,
}

/// Why something did not work, and what that asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Whom it concerns. Of a resolution: always the bastion.
    pub scope: Scope,
    /// What to do about it.
    pub disposition: Disposition,
    /// What to tell.
    pub reason: Reason,
}
