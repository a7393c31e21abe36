//! The task behind one tunnel: bind, prove the path, accept, and look after the connections.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use super::connection::Connection;
use super::link::Link;
use super::listen::Listeners;
use super::{Event, Reason, State, Stop};
use crate::backoff::Backoff;
use crate::gateway::OpenOptions;
use crate::model::{Endpoint, Name, Tunnel as Declared};
use crate::sys::socket;

/// The first wait after a failure that may pass by itself, and the longest.
pub(super) const BACKOFF: (Duration, Duration) = (Duration::from_millis(800), Duration::from_secs(30));
/// The first wait before a blocked tunnel is looked at again, and the longest.
const BLOCKED: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(600));

/// A tunnel and what it needs.
pub(super) struct Tunnel {
    pub(super) name: Name,
    pub(super) declared: Declared,
    pub(super) endpoint: Endpoint,
    pub(super) link: Arc<Link>,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) stop: Stop,
    pub(super) live: Arc<Live>,
}

/// The live connections of all tunnels.
#[derive(Debug, Default)]
pub(super) struct Live {
    count: Mutex<BTreeMap<Name, usize>>,
    changed: Notify,
}

/// Doubling waits for what only a person can mend: regular, because nobody competes.
struct Patience(Duration);

impl Tunnel {
    /// Runs until it is told to stop. A mistake of ours in it takes no other tunnel down, and it is started again.
    pub(super) async fn keep(self) {
        let tunnel = Arc::new(self);
        let mut patience = Patience(BACKOFF.1);
        while let Err(panic) = AssertUnwindSafe(Arc::clone(&tunnel).run()).catch_unwind().await {
            drop(panic);
            tracing::error!(tunnel = %tunnel.name, "the tunnel ended by a mistake of ours; please report it");
            let next_retry = patience.next();
            let what = "the tunnel ended by a mistake of ours, and is started again".to_owned();
            let reason = Reason {
                code: "internal".into(),
                what,
                hint: Some("please report it, with what `-vv` says".to_owned()),
            };
            tunnel.tell(State::Blocked { next_retry, reason }).await;
            if tunnel.stop.accepting.run_until_cancelled(tokio::time::sleep(next_retry)).await.is_none() {
                return;
            }
        }
    }

    async fn run(self: Arc<Self>) {
        let (accepting, tunnel) = (self.stop.accepting.clone(), self);
        let Some(Some(listeners)) = accepting.run_until_cancelled(tunnel.bind()).await else { return };
        let mut connections = JoinSet::new();
        let prove = tunnel.prove(&listeners);
        let accept = tunnel.accept(&listeners, &mut connections);
        accepting.run_until_cancelled(async { tokio::join!(prove, accept) }).await;
        // From here on the addresses are free again.
        drop(listeners);
        while let Some(ended) = connections.join_next().await {
            tunnel.reap(ended);
        }
    }

    /// Binds, and while the address is taken, looks again from time to time.
    async fn bind(&self) -> Option<Listeners> {
        let mut patience = Patience(BLOCKED.0);
        loop {
            match Listeners::bind(self.declared.listen).await {
                Ok(listeners) => return Some(listeners),
                Err(error) => {
                    let next_retry = patience.next();
                    self.tell(State::Blocked { next_retry, reason: error.reason() }).await;
                    tokio::time::sleep(next_retry).await;
                }
            }
        }
    }

    /// Has a session granted once; until that works, tells why it does not.
    async fn prove(&self, listeners: &Listeners) {
        let mut backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
        let mut patience = Patience(BLOCKED.0);
        let options = self.open_options();
        loop {
            let Err(error) = self.link.probe(&self.endpoint, self.declared.port, &options).await else {
                break;
            };
            let reason: Reason = error.reason();
            let next_retry = if error.is_blocked() {
                let next_retry = patience.next();
                self.tell(State::Blocked { next_retry, reason }).await;
                next_retry
            } else {
                let next_retry = backoff.next(rand::random()).max(error.retry_after().unwrap_or_default());
                self.tell(State::Connecting { attempt: backoff.failures(), next_retry, reason }).await;
                next_retry
            };
            tokio::time::sleep(next_retry).await;
        }
        self.tell(State::Ready { addresses: listeners.addresses() }).await;
    }

    /// Accepts connections for ever. It never waits for the network.
    async fn accept(self: &Arc<Self>, listeners: &Listeners, connections: &mut JoinSet<()>) {
        let (mut number, mut starved) = (0_u64, false);
        loop {
            tokio::select! {
                Some(ended) = connections.join_next() => self.reap(ended),
                accepted = listeners.accept() => match accepted {
                    Ok((stream, _)) => {
                        number += 1;
                        starved = false;
                        if let Err(error) = socket::prepare_accepted(&stream) {
                            tracing::debug!(tunnel = %self.name, %error, "a connection was gone before it was accepted");
                            continue;
                        }
                        let guard = Live::enter(&self.live, &self.name);
                        let connection = Connection { tunnel: Arc::clone(self), number };
                        connections.spawn(async move {
                            connection.serve(stream).await;
                            drop(guard);
                        });
                    }
                    // It passes when connections end; there is no event for that.
                    Err(error) => {
                        if !std::mem::replace(&mut starved, true) {
                            tracing::warn!(
                                tunnel = %self.name, %error,
                                "connections cannot be accepted and wait; too many files are open (`ulimit -n`)"
                            );
                        }
                        tokio::time::sleep(Duration::from_millis(200)).await;
                    }
                },
            }
        }
    }

    fn reap(&self, ended: Result<(), tokio::task::JoinError>) {
        if let Err(error) = ended
            && error.is_panic()
        {
            tracing::error!(tunnel = %self.name, %error, "a connection ended by a mistake of ours; please report it");
        }
    }

    /// What its streams are opened with.
    pub(super) fn open_options(&self) -> OpenOptions {
        OpenOptions {
            user_agent: format!("bastion/{} (tunnel {})", env!("CARGO_PKG_VERSION"), self.name),
            keepalive: self.declared.behaviour.keepalive,
            waiting: None,
        }
    }

    async fn tell(&self, state: State) {
        // Nobody listens any more only when the program ends.
        drop(self.events.send(Event { tunnel: self.name.clone(), state }).await);
    }
}

impl Patience {
    fn next(&mut self) -> Duration {
        let now = self.0;
        self.0 = (now * 2).min(BLOCKED.1);
        now
    }
}

/// One live connection, until it is dropped.
pub(super) struct LiveGuard {
    live: Arc<Live>,
    tunnel: Name,
}

impl Live {
    fn enter(live: &Arc<Self>, tunnel: &Name) -> LiveGuard {
        *live.lock().entry(tunnel.clone()).or_default() += 1;
        LiveGuard { live: Arc::clone(live), tunnel: tunnel.clone() }
    }

    pub(super) fn by_tunnel(&self) -> BTreeMap<Name, usize> {
        self.lock().clone()
    }

    /// Waits until there is none.
    pub(super) async fn none(&self) {
        loop {
            let changed = self.changed.notified();
            if self.lock().is_empty() {
                return;
            }
            changed.await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Name, usize>> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for LiveGuard {
    fn drop(&mut self) {
        let mut count = self.live.lock();
        if let Some(number) = count.get_mut(&self.tunnel) {
            *number -= 1;
            if *number == 0 {
                count.remove(&self.tunnel);
            }
        }
        drop(count);
        self.live.changed.notify_waiters();
    }
}
