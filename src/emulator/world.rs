//! What is true in the simulated Azure: which bastions and machines exist, and everything that connections share.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::access::{AccessTokens, guid};
use super::faults::FaultPlan;
use super::log::{Journal, RequestEntry};
use super::sessions::Sessions;
use crate::model::{
    BastionTraits, Emulation, Endpoint, FaultAction, FaultPhase, Frames, Machine, ResourceId, Service, Sku,
};

/// Shared by all connections of one emulator.
pub(super) struct World {
    pub(super) port: u16,
    pub(super) bastions: Vec<SimulatedBastion>,
    pub(super) machines: Vec<Machine>,
    pub(super) frames: Frames,
    pub(super) setup_delay: Duration,
    pub(super) idle_limit: Duration,
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
    /// `bst-{guid}.bastion.localhost`, for Developer `pod-{guid}.bastion.localhost`; without the port.
    pub(super) host: String,
}

impl SimulatedBastion {
    fn new(id: ResourceId, traits: BastionTraits) -> Self {
        let kind = if traits.sku == Sku::Developer { "pod" } else { "bst" };
        Self { id, traits, host: format!("{kind}-{}.bastion.localhost", guid()) }
    }

    /// Whether it is one of the shared ones: reached through the broker, for machines only, on two ports.
    pub(super) fn is_developer(&self) -> bool {
        self.traits.sku == Sku::Developer
    }

    /// `properties.dnsName`: of a Developer bastion, the broker's.
    pub(super) fn dns_name(&self, port: u16) -> String {
        let own = if self.is_developer() { BROKER } else { &self.host };
        self.traits.dns_name.clone().unwrap_or_else(|| format!("{own}:{port}"))
    }

    fn is_called(&self, host: &str) -> bool {
        self.traits.dns_name.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(host))
    }
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

impl World {
    pub(super) fn new(emulation: Emulation, parts: Parts) -> Self {
        let bastions =
            emulation.bastions.into_iter().map(|(id, traits)| SimulatedBastion::new(id, traits)).collect();
        let Parts { port, limits, tokens, journal } = parts;
        Self {
            port,
            bastions,
            machines: emulation.machines,
            frames: emulation.frames,
            setup_delay: emulation.setup_delay,
            idle_limit: emulation.idle_limit,
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
    pub(super) fn bastion_at(&self, host: &str) -> Option<(usize, &SimulatedBastion)> {
        self.bastions.iter().enumerate().find(|(_, bastion)| {
            self.is_host(host, &bastion.host) || (!bastion.is_developer() && bastion.is_called(host))
        })
    }

    /// Whether a `Host` header means the broker of the Developer bastions, of which there is one for all.
    pub(super) fn is_broker(&self, host: &str) -> bool {
        let mut developers = self.bastions.iter().filter(|bastion| bastion.is_developer()).peekable();
        developers.peek().is_some()
            && (self.is_host(host, BROKER) || developers.any(|bastion| bastion.is_called(host)))
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
        target: Option<&Endpoint>,
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

/// The regional broker of the Developer SKU.
pub(super) const BROKER: &str = "omnibrain.bastion.localhost";
