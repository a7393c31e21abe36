//! All routes, and who uses which path of them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Dialer;
use super::bell::Bell;
use super::board::Usage;
use super::edition::user_agent;
use super::paths::{Message, Paths, Place, RouteKey, Way};
use super::route::{Crash, Inbox, Task, inbox, mistake};
use crate::backoff::Backoff;
use crate::carrier::{Carrier, OpenOptions, Remains};
use crate::lifecycle::{PathOptions, PathState};
use crate::model::{Bastion, Behaviour, Limits, Name};
use crate::plan::Spec;

/// The first wait before a route that ended by a mistake of ours is tried again, and the longest.
const MISTAKE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// All routes that were ever used: one that is not used at the moment tries nothing and holds little.
pub(super) struct Routes {
    dialer: Arc<dyn Dialer>,
    map: BTreeMap<RouteKey, Route>,
    users: BTreeMap<Place, BTreeMap<Name, User>>,
    tasks: JoinSet<()>,
    /// Which task is whose.
    keys: BTreeMap<Id, RouteKey>,
    stop: CancellationToken,
    /// Rung when the state of a path has changed.
    pub(super) news: Arc<Bell<Place>>,
}

/// A route, and what reaches its task.
struct Route {
    carrier: Arc<dyn Carrier>,
    paths: Arc<Paths>,
    messages: mpsc::Sender<Message>,
    inbox: Inbox,
    crashes: Backoff,
}

/// What a tunnel wants of a path.
struct User {
    route: Name,
    limits: Limits,
    behaviour: Behaviour,
}

impl Routes {
    pub(super) fn new(dialer: Arc<dyn Dialer>) -> Self {
        Self {
            dialer,
            map: BTreeMap::new(),
            users: BTreeMap::new(),
            tasks: JoinSet::new(),
            keys: BTreeMap::new(),
            stop: CancellationToken::new(),
            news: Arc::new(Bell::new()),
        }
    }

    /// A tunnel uses a path from now on, or uses it in another way.
    pub(super) async fn enter(&mut self, name: &Name, spec: &Spec) -> Way {
        let user = User { route: spec.route.clone(), limits: spec.limits, behaviour: spec.behaviour.clone() };
        let place = Place::of(spec);
        let (key, path) = (RouteKey::of(&spec.path), place.key());
        let known = self.users.entry(place.clone()).or_default().insert(name.clone(), user).is_some();
        let wanted = self.wanted(&place);
        let route = match self.map.entry(key) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let RouteKey { bastion, identity } = entry.key().clone();
                let bastion = Bastion { id: bastion, identity, limits: spec.limits };
                let (messages, inbox) = inbox();
                let paths = Arc::new(Paths::new(entry.key().clone(), &self.news));
                let carrier = self.dialer.carrier(&bastion);
                let crashes = Backoff::new(MISTAKE.0, MISTAKE.1);
                let route = Route { carrier, paths, messages, inbox, crashes };
                let task = self.tasks.spawn(route.task(&self.stop).run(Vec::new(), None));
                self.keys.insert(task.id(), entry.key().clone());
                entry.insert(route)
            }
        };
        route.carrier.set_limits(spec.limits);
        let way = Way {
            key: path.clone(),
            carrier: Arc::clone(&route.carrier),
            paths: Arc::clone(&route.paths),
            messages: route.messages.clone(),
            state: route.paths.add(&path),
        };
        if let Some((options, open)) = wanted {
            let message = if known {
                Message::Update { path, options, open }
            } else {
                Message::Add { path, options, open }
            };
            tell(&way.messages, message).await;
        }
        way
    }

    /// A tunnel uses a path no longer.
    pub(super) async fn leave(&mut self, name: &Name, place: &Place) {
        let Entry::Occupied(mut users) = self.users.entry(place.clone()) else { return };
        users.get_mut().remove(name);
        let gone = users.get().is_empty();
        if gone {
            users.remove();
        }
        let wanted = self.wanted(place);
        let Some(route) = self.map.get(&RouteKey::of(&place.path)) else { return };
        let path = place.key();
        let message = match wanted {
            Some((options, open)) => Message::Update { path, options, open },
            None => {
                route.paths.remove(&path);
                Message::Remove(path)
            }
        };
        tell(&route.messages, message).await;
    }

    /// The tunnels that use a path.
    pub(super) fn users(&self, place: &Place) -> Vec<Name> {
        self.users.get(place).map(|users| users.keys().cloned().collect()).unwrap_or_default()
    }

    /// What is known of a path.
    pub(super) fn state(&self, place: &Place) -> PathState {
        let route = self.map.get(&RouteKey::of(&place.path));
        route.map_or(PathState::Pending, |route| route.paths.state(&place.key()))
    }

    /// Tells all routes something.
    pub(super) async fn tell_all(&self, message: fn() -> Message) {
        for route in self.map.values() {
            tell(&route.messages, message()).await;
        }
    }

    /// Has a path proven. What is returned is heard, or broken, when that is done.
    pub(super) async fn prove(&self, place: &Place) -> Option<oneshot::Receiver<()>> {
        let route = self.map.get(&RouteKey::of(&place.path))?;
        let (proven, wait) = oneshot::channel();
        tell(&route.messages, Message::Prove { path: place.key(), proven }).await;
        Some(wait)
    }

    /// The bastions in use, by their names in the file.
    pub(super) fn usage(&self) -> Vec<Usage> {
        let mut usage = BTreeMap::new();
        for (place, users) in &self.users {
            let Some(route) = self.map.get(&RouteKey::of(&place.path)) else { continue };
            for user in users.values() {
                usage.entry(user.route.clone()).or_insert_with(|| Usage {
                    name: user.route.clone(),
                    carrier: Arc::clone(&route.carrier),
                    max_sessions: user.limits.sessions,
                });
            }
        }
        usage.into_values().collect()
    }

    /// The next task that has ended by a mistake of ours. Cancel-safe.
    pub(super) async fn ended(&mut self) -> JoinError {
        loop {
            match self.tasks.join_next_with_id().await {
                Some(Err(error)) if error.is_panic() => return error,
                Some(Err(error)) => drop(self.keys.remove(&error.id())),
                Some(Ok((id, ()))) => drop(self.keys.remove(&id)),
                None => std::future::pending().await,
            }
        }
    }

    /// Starts the task anew that ended so.
    pub(super) fn restart(&mut self, error: &JoinError) {
        let Some(key) = self.keys.remove(&error.id()) else { return };
        let places = self.users.keys().filter(|place| RouteKey::of(&place.path) == key);
        let known =
            places.filter_map(|place| self.wanted(place).map(|(options, open)| (place.key(), options, open)));
        let known = known.collect();
        let Some(route) = self.map.get_mut(&key) else { return };
        let wait = route.crashes.next(1.0);
        tracing::error!(
            bastion = key.bastion.name(), %error,
            "a route ended by a mistake of ours and is started again in {} s; please report it", wait.as_secs()
        );
        let crash = Crash { reason: mistake(), wait };
        let task = self.tasks.spawn(route.task(&self.stop).run(known, Some(crash)));
        self.keys.insert(task.id(), key);
    }

    /// Ends all tasks, and waits until nothing is left in Azure, at most until the deadline.
    pub(super) async fn settle(mut self, deadline: Instant) -> Remains {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
        let mut settling = JoinSet::new();
        for route in self.map.into_values() {
            settling.spawn(async move { route.carrier.settle(deadline).await });
        }
        let mut left = Remains::default();
        while let Some(settled) = settling.join_next().await {
            left += settled.unwrap_or_default();
        }
        left
    }

    /// How a path is treated that several tunnels may use: as the one that wants most wants it.
    fn wanted(&self, place: &Place) -> Option<(PathOptions, OpenOptions)> {
        let users = self.users.get(place)?;
        let (name, first) = users.first_key_value()?;
        let behaviours = || users.values().map(|user| &user.behaviour);
        let probe = place.probe.clone();
        let backoff =
            behaviours().map(|b| b.backoff).reduce(|one, other| (one.0.min(other.0), one.1.min(other.1)))?;
        let lazy = behaviours().all(|b| b.lazy);
        let prewarm = behaviours().map(|b| b.prewarm).max().unwrap_or_default();
        let prewarm_dial = behaviours().any(|b| b.prewarm_dial);
        let keepalive = first.behaviour.keepalive;
        let open =
            OpenOptions { user_agent: user_agent(name), keepalive, prewarm, prewarm_dial, waiting: None };
        Some((PathOptions { probe, lazy, backoff }, open))
    }
}

impl Route {
    fn task(&self, stop: &CancellationToken) -> Task {
        Task {
            carrier: Arc::clone(&self.carrier),
            paths: Arc::clone(&self.paths),
            inbox: Arc::clone(&self.inbox),
            stop: stop.clone(),
        }
    }
}

async fn tell(messages: &mpsc::Sender<Message>, message: Message) {
    // The other end is kept as long as the route is.
    let _kept = messages.send(message).await;
}
