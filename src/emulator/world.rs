//! What is true in the simulated Azure: which bastions and machines exist, and everything that connections share.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::access::{AccessTokens, guid};
use super::faults::FaultPlan;
use super::http::Response;
use super::log::{Journal, RequestEntry};
use super::sessions::Sessions;
use crate::model::{
    BastionTraits, Emulation, Endpoint, FaultAction, FaultPhase, Frames, Machine, ResourceId, Service,
};

/// Shared by all connections of one emulator.
pub(super) struct World {
    pub(super) port: u16,
    pub(super) bastions: Vec<SimulatedBastion>,
    pub(super) machines: Vec<Machine>,
    pub(super) frames: Frames,
    pub(super) setup_delay: Duration,
    pub(super) limits: Limits,
    pub(super) tokens: AccessTokens,
    pub(super) sessions: Sessions,
    pub(super) faults: FaultPlan,
    pub(super) journal: Journal,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
}

/// A bastion and the data-plane host that only ARM tells.
pub(super) struct SimulatedBastion {
    pub(super) id: ResourceId,
    pub(super) traits: BastionTraits,
    /// `bst-{guid}.bastion.localhost`, without the port.
    pub(super) host: String,
}

/// How long the emulator has patience.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// A websocketToken is good for this long (G18).
    pub(super) ticket: Duration,
    /// A client that reads nothing for this long is dropped (G29).
    pub(super) stall: Duration,
    /// How long a close frame's answer is waited for.
    pub(super) closing: Duration,
    /// How long a TLS handshake may take.
    pub(super) handshake: Duration,
    /// How long a connection may be idle between requests, and take to send one.
    pub(super) request: Duration,
    /// How long a target may take to accept.
    pub(super) connect: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            ticket: Duration::from_secs(60),
            stall: Duration::from_secs(20),
            closing: Duration::from_secs(5),
            handshake: Duration::from_secs(15),
            request: Duration::from_secs(120),
            connect: Duration::from_secs(10),
        }
    }
}

/// What the emulator does about a request.
pub(super) struct Verdict {
    pub(super) entry: RequestEntry,
    pub(super) reply: Reply,
    /// How much later.
    pub(super) delay: Duration,
}

/// The visible half of a [`Verdict`].
pub(super) enum Reply {
    Answer(Response),
    Cut(Cut),
    Upgrade(Box<super::upgrade::Upgrade>),
}

/// How a connection ends instead of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// It does not end: it says nothing any more.
    Silence,
    /// FIN without close_notify.
    Drop,
    /// RST.
    Reset,
}

impl Verdict {
    pub(super) fn answer(entry: RequestEntry, response: Response) -> Self {
        Self { entry, reply: Reply::Answer(response), delay: Duration::ZERO }
    }

    pub(super) fn reply(entry: RequestEntry, reply: Reply) -> Self {
        Self { entry, reply, delay: Duration::ZERO }
    }

    pub(super) fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

impl World {
    pub(super) fn new(emulation: Emulation, parts: Parts) -> Self {
        let bastions = emulation
            .bastions
            .into_iter()
            .map(|(id, traits)| SimulatedBastion {
                id,
                traits,
                host: format!("bst-{}.bastion.localhost", guid()),
            })
            .collect();
        let Parts { port, limits, tokens, journal } = parts;
        Self {
            port,
            bastions,
            machines: emulation.machines,
            frames: emulation.frames,
            setup_delay: emulation.setup_delay,
            limits,
            tokens,
            sessions: Sessions::new(limits.ticket),
            faults: FaultPlan::new(emulation.faults),
            journal,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Writes an entry down, with the violations in it.
    pub(super) async fn record(&self, entry: RequestEntry) {
        self.sessions.note(&entry.violations, &entry.warnings);
        self.journal.record(entry, &self.tokens).await;
    }

    /// Which bastion's data plane a `Host` header means.
    pub(super) fn bastion_at(&self, host: &str) -> Option<usize> {
        self.bastions.iter().position(|bastion| {
            let own = self.is_host(host, &bastion.host);
            own || bastion.traits.dns_name.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(host))
        })
    }

    /// Whether a `Host` header means this name at our port.
    pub(super) fn is_host(&self, host: &str, name: &str) -> bool {
        let (host, port) = host.rsplit_once(':').unwrap_or((host, "443"));
        host.eq_ignore_ascii_case(name) && port == self.port.to_string()
    }

    /// The machine that a resource ID or an address names.
    pub(super) fn machine(&self, endpoint: &Endpoint) -> Option<usize> {
        self.machines.iter().position(|machine| machine.endpoint == *endpoint)
    }

    /// What listens on a machine's port; `None`: nothing, it refuses.
    pub(super) fn service(&self, machine: usize, port: u16) -> Option<&Service> {
        let machine = self.machines.get(machine)?;
        let listed = machine.ports.iter().find(|(p, _)| p.get() == port).map(|(_, service)| service);
        listed.or(machine.otherwise.as_ref())
    }

    /// Strikes with a fault where one is due, and notes it in the entry.
    pub(super) fn strike(
        &self,
        phase: FaultPhase,
        target: &str,
        entry: &mut RequestEntry,
    ) -> Option<FaultAction> {
        let action = self.faults.strike(phase, target)?;
        entry.fault = Some(format!("{action:?}"));
        Some(action)
    }
}

/// What a world is made of besides its [`Emulation`].
pub(super) struct Parts {
    pub(super) port: u16,
    pub(super) limits: Limits,
    pub(super) tokens: AccessTokens,
    pub(super) journal: Journal,
}
