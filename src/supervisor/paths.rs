//! The paths of one route, as everybody sees them: the route's task tells their states, connections wait on them, and
//! the task hears who waits.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, oneshot, watch};

use super::bell::Bell;
use crate::carrier::{Carrier, OpenOptions};
use crate::lifecycle::{Failure, Key, PathOptions, PathState};
use crate::model::{Identity, Probe, ResourceId};
use crate::plan::{Path, Spec};

/// What makes a route that one and no other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RouteKey {
    pub(super) bastion: ResourceId,
    pub(super) identity: Identity,
}

impl RouteKey {
    /// The route of a path.
    pub(super) fn of(path: &Path) -> Self {
        Self { bastion: path.bastion.clone(), identity: path.identity.clone() }
    }
}

/// A path, and what is to be shown of it: who wants the same uses what was found out for another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) path: Path,
    pub(super) probe: Probe,
}

impl Place {
    /// That of a tunnel.
    pub(super) fn of(spec: &Spec) -> Self {
        Self { path: spec.path.clone(), probe: spec.behaviour.probe.clone() }
    }

    /// Its name within its route.
    pub(super) fn key(&self) -> Key {
        let Path { locator, port, .. } = &self.path;
        Key { locator: locator.clone(), port: *port, probe: self.probe.clone() }
    }
}

/// The paths of one route.
#[derive(Debug)]
pub(super) struct Paths {
    route: RouteKey,
    states: Mutex<BTreeMap<Key, State>>,
    /// Rung for the loop when the state of a path has changed.
    news: Arc<Bell<Place>>,
    /// Rung for the route's task when it may have changed whether a connection waits.
    held: Bell<Key>,
}

#[derive(Debug)]
struct State {
    told: watch::Sender<PathState>,
    holds: usize,
}

impl Paths {
    pub(super) fn new(route: RouteKey, news: &Arc<Bell<Place>>) -> Self {
        Self { route, states: Mutex::default(), news: Arc::clone(news), held: Bell::new() }
    }

    /// A path is needed from now on.
    pub(super) fn add(&self, path: &Key) -> watch::Receiver<PathState> {
        let new = || State { told: watch::Sender::new(PathState::Pending), holds: 0 };
        self.states().entry(path.clone()).or_insert_with(new).told.subscribe()
    }

    /// A path is needed no longer: who waits for it hears that.
    pub(super) fn remove(&self, path: &Key) {
        self.states().remove(path);
    }

    /// What is known of a path.
    pub(super) fn state(&self, path: &Key) -> PathState {
        self.states().get(path).map_or(PathState::Pending, |state| state.told.borrow().clone())
    }

    /// A path has come to this.
    pub(super) fn set(&self, path: &Key, now: PathState) {
        if let Some(state) = self.states().get(path) {
            state.told.send_replace(now);
        }
        self.news.ring(self.whole(path));
    }

    /// Paths for which somebody began or ceased to wait. Cancel-safe.
    pub(super) async fn heard(&self) -> BTreeSet<Key> {
        self.held.heard().await
    }

    /// Whether a connection waits for a path.
    pub(super) fn holds(&self, path: &Key) -> bool {
        self.states().get(path).is_some_and(|state| state.holds > 0)
    }

    fn whole(&self, key: &Key) -> Place {
        let RouteKey { bastion, identity } = self.route.clone();
        let Key { locator, port, probe } = key.clone();
        Place { path: Path { bastion, identity, locator, port }, probe }
    }

    fn hold(&self, path: &Key, change: impl Fn(usize) -> usize) {
        if let Some(state) = self.states().get_mut(path) {
            state.holds = change(state.holds);
        }
        self.held.ring(path.clone());
    }

    fn states(&self) -> MutexGuard<'_, BTreeMap<Key, State>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something for the route's task.
#[derive(Debug)]
pub(super) enum Message {
    /// A path is needed, or is needed in another way.
    Add { path: Key, options: PathOptions, open: OpenOptions },
    /// Other options for a path that is there.
    Update { path: Key, options: PathOptions, open: OpenOptions },
    /// A path is needed no longer.
    Remove(Key),
    /// How the set-up of a connection went. Answered when the path's state takes it into account.
    SetUp { path: Key, result: Result<(), Failure>, noted: oneshot::Sender<()> },
    /// A path is to be proven. Answered when that is done.
    Prove { path: Key, proven: oneshot::Sender<()> },
    /// What waits is tried now: all of it, because a person did something.
    Retry,
    /// What waits is tried now, because the machine slept.
    Wake,
}

/// The way of a tunnel: the path as its connections use it.
#[derive(Clone)]
pub(super) struct Way {
    pub(super) key: Key,
    pub(super) carrier: Arc<dyn Carrier>,
    pub(super) paths: Arc<Paths>,
    pub(super) messages: mpsc::Sender<Message>,
    /// What is known of the path; closed when it is needed no longer.
    pub(super) state: watch::Receiver<PathState>,
}

/// A connection waits for a path, until this is dropped.
pub(super) struct Hold {
    path: Key,
    paths: Arc<Paths>,
}

impl Way {
    /// Somebody waits for the path.
    pub(super) fn hold(&self) -> Hold {
        self.paths.hold(&self.key, |holds| holds + 1);
        Hold { path: self.key.clone(), paths: Arc::clone(&self.paths) }
    }

    /// Tells how a set-up went. When this returns, the path's state takes it into account.
    pub(super) async fn set_up(&self, result: Result<(), Failure>) {
        let (noted, wait) = oneshot::channel();
        let message = Message::SetUp { path: self.key.clone(), result, noted };
        // A task that is gone has told of the failure that ended it.
        if self.messages.send(message).await.is_ok() {
            let _gone = wait.await;
        }
    }
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Way").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.paths.hold(&self.path, |holds| holds.saturating_sub(1));
    }
}
