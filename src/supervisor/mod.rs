//! Keeps the declared tunnels up: one task a tunnel, one link a bastion, and the end of all of them.
//!
//! Here Azure's control plane and the gateway's data plane meet. It prints nothing: what happens is an [`Event`].

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::azure::Arm;
use crate::gateway::{AccessTokens, Remains};
use crate::model::{Desired, Name, chain};
use crate::net::Network;

mod connection;
mod link;
mod listen;
mod tunnel;

pub use crate::model::Reason;
use link::Link;
pub use link::RouteError;
pub use listen::ListenError;
use tunnel::Tunnel;

/// How long sessions may take to be deleted at the end.
const DELETION: Duration = Duration::from_secs(10);
/// How long connections may take to tell both sides that they end.
const GOODBYE: Duration = Duration::from_secs(3);

/// What a supervisor needs of the world.
#[derive(Clone)]
pub struct Surroundings {
    /// The control plane.
    pub arm: Arm,
    /// Where access tokens come from.
    pub tokens: Arc<dyn AccessTokens>,
    /// How connections are made.
    pub network: Network,
}

impl std::fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surroundings").field("arm", &self.arm).finish_non_exhaustive()
    }
}

/// What a tunnel has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The tunnel.
    pub tunnel: Name,
    /// Its new state.
    pub state: State,
}

/// A tunnel's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Its path failed, and is tried again.
    Connecting {
        /// How many tries have failed.
        attempt: u32,
        /// When the next one comes.
        next_retry: Duration,
        /// What happened.
        reason: Reason,
    },
    /// It listens, its bastion is known, and a session was granted.
    Ready {
        /// The addresses it owns.
        addresses: Vec<SocketAddr>,
    },
    /// Only an edit or a person can mend it; it is looked at again from time to time all the same.
    Blocked {
        /// When that is.
        next_retry: Duration,
        /// What is in the way.
        reason: Reason,
    },
}

/// The running tunnels.
#[derive(Debug)]
pub struct Supervisor {
    tunnels: JoinSet<()>,
    links: BTreeMap<Name, Arc<Link>>,
    stop: Stop,
    live: Arc<tunnel::Live>,
}

/// The two stages of stopping.
#[derive(Clone, Debug, Default)]
struct Stop {
    /// Nothing new is accepted.
    accepting: CancellationToken,
    /// Connections are ended.
    connections: CancellationToken,
}

impl Supervisor {
    /// Starts every tunnel. Events are to be read, or the tunnels wait.
    pub fn start(desired: &Desired, surroundings: &Surroundings, events: &mpsc::Sender<Event>) -> Self {
        let links: BTreeMap<_, _> = desired
            .bastions
            .iter()
            .map(|(name, bastion)| (name.clone(), Arc::new(Link::new(bastion.clone(), surroundings.clone()))))
            .collect();
        let (stop, live) = (Stop::default(), Arc::new(tunnel::Live::default()));
        let mut tunnels = JoinSet::new();
        for (name, declared) in &desired.tunnels {
            // The configuration has checked that every name it uses is declared.
            let Some(target) = desired.targets.get(&declared.target) else { continue };
            let Some(link) = links.get(&target.bastion) else { continue };
            let tunnel = Tunnel {
                name: name.clone(),
                declared: declared.clone(),
                endpoint: target.endpoint.clone(),
                link: Arc::clone(link),
                events: events.clone(),
                stop: stop.clone(),
                live: Arc::clone(&live),
            };
            tunnels.spawn(tunnel.keep());
        }
        Self { tunnels, links, stop, live }
    }

    /// Stops accepting. Connections go on until [`finish`](Self::finish).
    pub fn stop_accepting(&self) {
        self.stop.accepting.cancel();
    }

    /// Live connections by tunnel.
    pub fn connections(&self) -> BTreeMap<Name, usize> {
        self.live.by_tunnel()
    }

    /// Waits until no connection is left, however long that takes.
    pub async fn idle(&self) {
        self.live.none().await;
    }

    /// Ends what is left, and deletes every session in bounded time. Says what is left behind in Azure.
    pub async fn finish(mut self) -> Remains {
        self.stop.accepting.cancel();
        self.stop.connections.cancel();
        let deadline = Instant::now() + DELETION;
        let ended = async { while self.tunnels.join_next().await.is_some() {} };
        if tokio::time::timeout(GOODBYE, ended).await.is_err() {
            // Whoever is still talking to a gateway that does not listen is cut off; its session is deleted all the same.
            self.tunnels.abort_all();
        }
        let mut settling = JoinSet::new();
        for link in self.links.into_values() {
            settling.spawn(async move { link.settle(deadline).await });
        }
        let mut left = Remains::default();
        while let Some(settled) = settling.join_next().await {
            left += settled.unwrap_or_default();
        }
        left
    }
}

impl Reason {
    fn of(error: &(dyn std::error::Error + 'static), code: &'static str, hint: Option<String>) -> Self {
        Self { code: code.into(), what: chain(error), hint }
    }
}
