//! One route, a bastion under one identity, and the paths on it: what state they are in, and what is tried next, when.
//!
//! A plain function of what happened and when. It asks no clock and does nothing: it returns what is to be done, and
//! is told how that went. It never has two resolutions or two probes of one path in flight, and a path that is not
//! ready is always being tried, or has its next try armed.
//!
//! ```text
//!             Resolve ok           probe or set-up ok
//!  Resolving ───────────▶ Connecting ───────────▶ Ready ──┐ failure
//!      │                    ▲   │ failure          ▲      ▼
//!      │ failure    timer:  │   ▼                  │   Degraded ◀─┐
//!      └──────────▶ Connecting with a wait         └──────┤       │ failure: a longer wait
//!                                                         └───────┘
//!  Any of them is Blocked after a failure that only an edit or a person can mend, and is tried again all the same.
//! ```
//!
//! A lazy path sleeps until its first connection: it counts as working, and nothing is asked for its sake. How that
//! connection went wakes it for good.
//!
//! A failure of the whole bastion is an *outage*: the paths wait, and the route has one try for all of them. When it
//! succeeds the paths are probed again, spread over three seconds. A failure of a target concerns its path alone.

use std::time::{Duration, Instant};

use crate::model::{Locator, Port, Probe, Reason, State};

mod outage;
mod path;
mod route;
mod tries;
mod tunnel;

pub use crate::model::{Failure, Scope};
pub use route::Route;
pub use tunnel::{Listener, TunnelState, tunnel_state};

/// Tries after an outage, or after a wake, begin within this time, so that they do not all come at once.
const SPREAD: Duration = Duration::from_secs(3);
/// How long what a probe has shown is good for: a path that was proven is not proven again before. Nor is a target asked
/// again before that after it has failed, as long as nobody waits for it.
const PROOF: Duration = Duration::from_secs(60);

/// A path of a route, where nothing more is needed to tell them apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// What is behind the bastion.
    pub locator: Locator,
    /// The port there.
    pub port: Port,
    /// What is to be shown of it: those who want another thing shown have a path of their own.
    pub probe: Probe,
}

/// How a path is treated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathOptions {
    /// What has to be shown before it is ready.
    pub probe: Probe,
    /// Nothing is asked for it before its first connection: until then it sleeps, and counts as working.
    pub lazy: bool,
    /// The first wait after a failure that may pass by itself, and the longest.
    pub backoff: (Duration, Duration),
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input<K> {
    /// A path is needed. For one that is there already: its options are these now.
    Add {
        /// The path.
        path: K,
        /// How it is treated.
        options: PathOptions,
    },
    /// Other options for a path that is there. What is armed stays armed; one that sleeps and is not to any more is
    /// tried.
    Update {
        /// The path.
        path: K,
        /// How it is treated.
        options: PathOptions,
    },
    /// A path is needed no longer. What is in flight for it goes on, and its result is still to be told.
    Remove(K),
    /// How a resolution went.
    Resolved(Result<(), Failure>),
    /// How a probe went.
    Probed {
        /// The path.
        path: K,
        /// How it went.
        result: Result<(), Failure>,
    },
    /// How the set-up of a connection went.
    SetUp {
        /// The path.
        path: K,
        /// How it went.
        result: Result<(), Failure>,
    },
    /// Whether a connection is held until the path is back.
    Waiting {
        /// The path.
        path: K,
        /// Whether one is.
        waiting: bool,
    },
    /// The time that [`Route::timer`] named has come.
    Timer,
    /// Try now, even what is blocked: a person asked, something was edited, somebody signed in. `None`: everything.
    Retry(Option<K>),
    /// The machine slept, or its clock jumped: try now what waits.
    Wake,
    /// Somebody wants to know: a path that is ready is proven again, unless it was within the last minute.
    Prove(K),
    /// What did the work panicked. Nothing is in flight any more.
    Crashed(Reason),
}

/// Something to do. It is in flight until its result is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action<K> {
    /// Ask Resource Manager for the bastion, anew.
    Resolve,
    /// Show that the path works.
    Probe(K),
}

/// What is known of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathState {
    /// Nothing was tried yet.
    Pending,
    /// Resource Manager is being asked for the bastion, for the first time.
    Resolving,
    /// It has not worked so far.
    Connecting {
        /// How many tries have failed in a row.
        attempt: u32,
        /// When the next one comes; `None`: it is under way.
        next_retry: Option<Instant>,
        /// Why the last one failed.
        reason: Option<Reason>,
    },
    /// It works.
    Ready {
        /// Whether that was shown, not only assumed.
        verified: bool,
        /// Whether the target itself has answered.
        target: bool,
    },
    /// It worked before, and does not now.
    Degraded {
        /// How many tries have failed in a row.
        attempt: u32,
        /// When the next one comes; `None`: it is under way.
        next_retry: Option<Instant>,
        /// Why the last one failed.
        reason: Reason,
    },
    /// Only an edit or a person can mend it.
    Blocked {
        /// When it is looked at again all the same; in the past: it is being looked at.
        next_retry: Instant,
        /// What is in the way.
        reason: Reason,
    },
}

impl PathState {
    /// The state that a tunnel on this path has when its listener is bound.
    pub fn state(&self) -> State {
        match self {
            Self::Pending => State::Pending,
            Self::Resolving => State::Resolving,
            Self::Connecting { .. } => State::Connecting,
            Self::Ready { .. } => State::Ready,
            Self::Degraded { .. } => State::Degraded,
            Self::Blocked { .. } => State::Blocked,
        }
    }
}

#[cfg(test)]
mod tests;
