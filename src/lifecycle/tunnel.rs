//! The state of a tunnel: a plain function of its listener and its path.

use std::time::Instant;

use super::PathState;
use crate::model::{Reason, State};

/// Where a tunnel listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listener {
    /// It is not bound yet.
    Unbound,
    /// It is bound where the file says.
    Bound,
    /// It is bound where it was before, or on the next port, and not where the file says.
    Elsewhere(Reason),
    /// It is not bound, and an edit or a person has to mend that: a port is taken, a grant is missing.
    Blocked {
        /// What is in the way.
        reason: Reason,
        /// When it is tried again all the same.
        next_retry: Option<Instant>,
    },
}

/// What `status` says of a tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelState {
    /// Its state.
    pub state: State,
    /// Why it is not ready; or, when it is, what of the file could not be done.
    pub reason: Option<Reason>,
    /// How many tries have failed in a row.
    pub attempt: u32,
    /// When the next one comes.
    pub next_retry: Option<Instant>,
    /// Whether its path was proven, not only assumed.
    pub verified: bool,
    /// Whether the target itself has answered.
    pub target_verified: bool,
}

/// The state of a tunnel that is to run.
pub fn tunnel_state(listener: &Listener, path: &PathState) -> TunnelState {
    let of_path = path_state(path);
    match listener {
        Listener::Bound => of_path,
        Listener::Unbound => TunnelState {
            state: if of_path.state == State::Ready { State::Connecting } else { of_path.state },
            ..of_path
        },
        // A path that does not work is worse than a port that did not move.
        Listener::Elsewhere(reason) => {
            TunnelState { reason: of_path.reason.or_else(|| Some(reason.clone())), ..of_path }
        }
        Listener::Blocked { reason, next_retry } => TunnelState {
            state: State::Blocked,
            reason: Some(reason.clone()),
            next_retry: *next_retry,
            ..of_path
        },
    }
}

fn path_state(path: &PathState) -> TunnelState {
    let (reason, attempt, next_retry) = match path {
        PathState::Pending | PathState::Resolving | PathState::Ready { .. } => (None, 0, None),
        PathState::Connecting { attempt, next_retry, reason } => (reason.clone(), *attempt, *next_retry),
        PathState::Degraded { attempt, next_retry, reason } => (Some(reason.clone()), *attempt, *next_retry),
        PathState::Blocked { next_retry, reason } => (Some(reason.clone()), 0, Some(*next_retry)),
    };
    let (verified, target_verified) = match path {
        PathState::Ready { verified, target } => (*verified, *target),
        PathState::Pending
        | PathState::Resolving
        | PathState::Connecting { .. }
        | PathState::Degraded { .. }
        | PathState::Blocked { .. } => (false, false),
    };
    TunnelState { state: path.state(), reason, attempt, next_retry, verified, target_verified }
}
