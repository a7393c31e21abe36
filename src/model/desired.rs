//! What a workspace asks for, after every check: no spans, no options that had to be there.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::{Emulation, Name, Port, ResourceId};

/// The declared set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// The workspace's name.
    pub workspace: Name,
    /// Which Azure it lives in.
    pub cloud: Cloud,
    /// Bastions by the name that targets use.
    pub bastions: BTreeMap<Name, Bastion>,
    /// Targets by the name that tunnels use.
    pub targets: BTreeMap<Name, Target>,
    /// Tunnels by name.
    pub tunnels: BTreeMap<Name, Tunnel>,
    /// What the embedded emulator serves when the cloud is [`Cloud::Emulator`].
    pub emulation: Emulation,
}

/// Which Azure a workspace lives in. The real clouds arrive with sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cloud {
    /// The emulator: embedded, or the running one that the user named. It only ever sees its own throw-away token.
    Emulator,
}

/// An Azure Bastion host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bastion {
    /// Its resource ID.
    pub id: ResourceId,
    /// How many set-ups may be in flight through it at once; further ones wait their turn.
    pub max_setups: usize,
}

/// Something reachable through a bastion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The bastion it is reached through.
    pub bastion: Name,
    /// What the gateway connects to.
    pub endpoint: Endpoint,
}

/// What the gateway connects to, as the token exchange names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A resource with a network card of its own: a virtual machine or a scale set instance.
    Resource(ResourceId),
    /// An address that the bastion can route to (IP-based connection, IPv4 only).
    Address(Ipv4Addr),
}

impl fmt::Display for Endpoint {
    /// The resource's own name, or the address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resource(id) => f.write_str(id.name()),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// One declared mapping: a local listener, and the target and port it leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// Where it listens.
    pub listen: Listen,
    /// The target's name.
    pub target: Name,
    /// The port on the target.
    pub port: Port,
    /// How long one connection may take to be set up, retries included.
    pub connect_timeout: Duration,
    /// A ping on a session that was quiet both ways for this long; zero: never.
    pub keepalive: Duration,
}

/// The set of local addresses that a tunnel owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// 127.0.0.1 and, where the machine has it, ::1, on one port (0: any free one).
    Localhost(u16),
    /// One loopback address and port (0: any free one).
    Address(IpAddr, u16),
}
