//! Which bastions and machines exist, as one value: a request sees one edition of it from beginning to end, and a
//! declaration that changed makes the next.

use std::sync::Arc;
use std::time::Duration;

use super::access::guid;
use crate::model::{BastionTraits, Emulation, Endpoint, Frames, Machine, ResourceId, Service};

/// One edition of what exists.
#[derive(Default)]
pub(super) struct Terrain {
    /// What ARM knows.
    pub(super) bastions: Vec<Arc<SimulatedBastion>>,
    /// Bastions that are declared no more, as long as they hold sessions: these can still be deleted.
    retired: Vec<Arc<SimulatedBastion>>,
    pub(super) machines: Vec<Machine>,
    pub(super) loose_interfaces: Vec<ResourceId>,
    pub(super) frames: Frames,
    pub(super) setup_delay: Duration,
    pub(super) idle_limit: Duration,
    /// How many bastions there ever were.
    numbered: usize,
}

/// A bastion and the data-plane host that only ARM tells.
#[derive(Clone)]
pub(super) struct SimulatedBastion {
    /// What its sessions are counted under; never given twice.
    pub(super) number: usize,
    pub(super) id: ResourceId,
    pub(super) traits: BastionTraits,
    /// `bst-{guid}.bastion.localhost`, for Developer `pod-{guid}.bastion.localhost`; without the port.
    pub(super) host: String,
}

impl SimulatedBastion {
    fn new(number: usize, id: ResourceId, traits: BastionTraits) -> Self {
        let kind = if traits.sku.is_shared() { "pod" } else { "bst" };
        Self { number, id, traits, host: format!("{kind}-{}.bastion.localhost", guid()) }
    }

    /// Whether it is one of the shared ones: reached through the broker, for machines only, on two ports.
    pub(super) fn is_developer(&self) -> bool {
        self.traits.sku.is_shared()
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

impl Terrain {
    /// The edition after this one. A bastion that stays keeps its host; one that goes stays reachable while it is in
    /// use, but gives no more sessions.
    pub(super) fn next(&self, emulation: &Emulation, in_use: impl Fn(usize) -> bool) -> Self {
        let mut numbered = self.numbered;
        let mut old: Vec<Arc<SimulatedBastion>> =
            self.bastions.iter().chain(&self.retired).cloned().collect();
        let mut bastions = Vec::new();
        for (id, traits) in &emulation.bastions {
            // To or from the shared kind, it is another bastion with the same name.
            let developer = traits.sku.is_shared();
            let stays =
                old.iter().position(|bastion| bastion.id == *id && bastion.is_developer() == developer);
            bastions.push(Arc::new(match stays {
                Some(at) => SimulatedBastion { traits: traits.clone(), ..(*old.remove(at)).clone() },
                None => {
                    numbered += 1;
                    SimulatedBastion::new(numbered, id.clone(), traits.clone())
                }
            }));
        }
        old.retain(|bastion| in_use(bastion.number));
        Self {
            bastions,
            retired: old,
            machines: emulation.machines.clone(),
            loose_interfaces: emulation.loose_interfaces.clone(),
            frames: emulation.frames,
            setup_delay: emulation.setup_delay,
            idle_limit: emulation.idle_limit,
            numbered,
        }
    }

    /// The edition after this one, in which every shared bastion is served by another pod. The old ones stay reachable
    /// while they are in use, but give no more sessions.
    pub(super) fn moved(&self, in_use: impl Fn(usize) -> bool) -> Self {
        let mut numbered = self.numbered;
        let mut retired = self.retired.clone();
        let mut bastions = self.bastions.clone();
        for bastion in bastions.iter_mut().filter(|bastion| bastion.is_developer()) {
            numbered += 1;
            let pod = SimulatedBastion::new(numbered, bastion.id.clone(), bastion.traits.clone());
            retired.push(std::mem::replace(bastion, Arc::new(pod)));
        }
        retired.retain(|bastion| in_use(bastion.number));
        let (machines, loose_interfaces) = (self.machines.clone(), self.loose_interfaces.clone());
        let Self { frames, setup_delay, idle_limit, .. } = *self;
        Self { bastions, retired, machines, loose_interfaces, frames, setup_delay, idle_limit, numbered }
    }

    /// Which bastion's data plane a `Host` header means.
    pub(super) fn bastion_at(&self, host: &str, port: u16) -> Option<&Arc<SimulatedBastion>> {
        let called = |bastion: &&Arc<SimulatedBastion>| !bastion.is_developer() && bastion.is_called(host);
        let is = |bastion: &&Arc<SimulatedBastion>| is_host(host, &bastion.host, port);
        let declared = self.bastions.iter().find(|bastion| is(bastion) || called(bastion));
        declared.or_else(|| self.retired.iter().find(|bastion| is(bastion) || called(bastion)))
    }

    /// Whether a bastion exists, and is not only reachable for what it still holds.
    pub(super) fn knows(&self, bastion: &SimulatedBastion) -> bool {
        self.bastions.iter().any(|known| known.number == bastion.number)
    }

    /// Whether a `Host` header means the broker of the Developer bastions, of which there is one for all.
    pub(super) fn is_broker(&self, host: &str, port: u16) -> bool {
        let mut developers = self.bastions.iter().filter(|bastion| bastion.is_developer()).peekable();
        developers.peek().is_some()
            && (is_host(host, BROKER, port) || developers.any(|bastion| bastion.is_called(host)))
    }

    /// The machine that a resource ID or an address names.
    pub(super) fn machine(&self, endpoint: &Endpoint) -> Option<&Machine> {
        self.machines.iter().find(|machine| machine.endpoint == *endpoint)
    }

    /// What listens on a machine's port; `None`: nothing, it refuses.
    pub(super) fn service(&self, endpoint: &Endpoint, port: u16) -> Option<&Service> {
        let machine = self.machine(endpoint)?;
        let listed = machine.ports.iter().find(|(p, _)| p.get() == port).map(|(_, service)| service);
        listed.or(machine.otherwise.as_ref())
    }
}

/// Whether a `Host` header means this name at this port.
pub(super) fn is_host(host: &str, name: &str, port: u16) -> bool {
    let (host, at) = host.rsplit_once(':').unwrap_or((host, "443"));
    host.eq_ignore_ascii_case(name) && at == port.to_string()
}

/// The regional broker of the Developer SKU.
pub(super) const BROKER: &str = "omnibrain.bastion.localhost";
