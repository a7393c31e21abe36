//! What has to be done so that the live set matches the declared set: a plain function of the two.
//!
//! It promises that carrying out the steps in order reaches what is desired, that no address has two owners on the way,
//! that what is unchanged is not named, and that a move never gives up the old address before the new one is bound,
//! unless the two cannot be bound at once. It refuses to carry anything out, and to ask anybody anything: what it
//! should know has to stand in [`Actual`].
//!
//! The steps come in this order:
//!
//! ```text
//! Add, Change          records only
//! HandOver             an address that another tunnel is to own stays bound, only its owner changes
//! Release              what stands in the way of a bind
//! Bind                 fixed ports, those that may be the next, then free ones; needs the releases that free its addresses
//! Release              the rest; needs the bind of its tunnel
//! Remove               needs all that its tunnel gave away
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::model::{
    Behaviour, Desired, Identity, Limits, Listen, Locator, Name, OnPortTaken, Port, ResourceId, Target,
    Tunnel,
};

mod claims;
mod steps;
mod words;

pub use steps::between;
pub use words::{Line, Mark};

/// The way to a port on a target: tunnels with equal paths share what is known about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path {
    /// The bastion.
    pub bastion: ResourceId,
    /// Who asks for sessions on it.
    pub identity: Identity,
    /// What is behind it.
    pub locator: Locator,
    /// The port there.
    pub port: Port,
}

/// All that a tunnel is, apart from its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Where it listens.
    pub listen: Listen,
    /// Whether the port there was chosen for it, so that another one will do as well.
    pub auto: bool,
    /// The target's name in the file.
    pub target: Name,
    /// The bastion's name in the file.
    pub route: Name,
    /// The way to the port.
    pub path: Path,
    /// How much of the bastion is used at once.
    pub limits: Limits,
    /// How its connections are treated.
    pub behaviour: Behaviour,
    /// Variables for programs that use it.
    pub env: BTreeMap<String, String>,
}

impl Spec {
    /// Whether the port after its own will do where that is taken.
    pub fn takes_next(&self) -> bool {
        self.listen.port() != 0 && (self.auto || self.behaviour.on_port_taken == OnPortTaken::Next)
    }
}

/// Addresses that were bound together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// What they were bound for.
    pub listen: Listen,
    /// The addresses, with their real ports.
    pub addresses: BTreeSet<SocketAddr>,
}

/// A tunnel that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// What it is to be. Whether it listens there is said by `bound` alone.
    pub spec: Spec,
    /// What it owns: nothing yet, one set, or two while a move is not finished.
    pub bound: Vec<Bound>,
}

/// What runs now.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Actual {
    /// Tunnels by name. No two of them own addresses that overlap.
    pub tunnels: BTreeMap<Name, Live>,
    /// Whether this machine has `::1`.
    pub ipv6_loopback: bool,
}

/// How much of a tunnel changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Where it leads: old connections follow `drain`, and readiness starts anew.
    Path,
    /// Anything else; connections are untouched. That it listens elsewhere is brought about by other steps.
    Behaviour,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A record of a new tunnel, without a listener.
    Add {
        /// The tunnel.
        tunnel: Name,
        /// What it is to be.
        spec: Spec,
    },
    /// Addresses stay bound; their new owner holds them for its own `listen`.
    HandOver {
        /// Which.
        addresses: BTreeSet<SocketAddr>,
        /// Their owner so far.
        from: Name,
        /// Their owner from now on.
        to: Name,
    },
    /// Addresses are let go.
    Release {
        /// Their owner.
        tunnel: Name,
        /// Which.
        addresses: BTreeSet<SocketAddr>,
    },
    /// Addresses are bound, all or none. Port 0: one free port for all of them. Where the tunnel takes the next port and
    /// one of them is taken, all that its `listen` means on the next port.
    Bind {
        /// Their owner to be.
        tunnel: Name,
        /// What they are bound for.
        listen: Listen,
        /// Those that it does not own yet.
        addresses: Vec<SocketAddr>,
    },
    /// The tunnel's record changes.
    Change {
        /// The tunnel.
        tunnel: Name,
        /// What it is to be.
        spec: Spec,
        /// How much of it that changes.
        what: Change,
    },
    /// The tunnel's record ends. By then it owns no address.
    Remove {
        /// The tunnel.
        tunnel: Name,
    },
}

/// One thing to do, and what must have been done before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What to do.
    pub action: Action,
    /// The steps, by index, all earlier, without which it is skipped: one of them failed or was skipped itself.
    pub needs: Vec<usize>,
}

/// What is to be done, in order.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<Step>,
    /// How many tunnels stay exactly as they are.
    pub unchanged: usize,
    lines: Vec<Line>,
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The plan as a person reads it: a line for each tunnel that is named, by name, and one for all others.
    pub fn words(&self) -> Vec<Line> {
        let mut lines = self.lines.clone();
        if self.unchanged > 0 || lines.is_empty() {
            lines.push(Line::unchanged(self.unchanged));
        }
        lines
    }
}

/// The tunnels to run: those that are chosen, each with all that it needs from elsewhere in the file.
pub fn specs(desired: &Desired, chosen: impl Fn(&Name, &Tunnel) -> bool) -> BTreeMap<Name, Spec> {
    let chosen = desired.tunnels.iter().filter(|(name, tunnel)| chosen(name, tunnel));
    // The configuration has checked that every name it uses is declared.
    chosen.filter_map(|(name, tunnel)| Some((name.clone(), spec(desired, tunnel)?))).collect()
}

fn spec(desired: &Desired, tunnel: &Tunnel) -> Option<Spec> {
    let Target { bastion: route, locator } = desired.targets.get(&tunnel.target)?;
    let bastion = desired.bastions.get(route)?;
    Some(Spec {
        listen: tunnel.listen,
        auto: tunnel.auto,
        target: tunnel.target.clone(),
        route: route.clone(),
        path: Path {
            bastion: bastion.id.clone(),
            identity: bastion.identity.clone(),
            locator: locator.clone(),
            port: tunnel.port,
        },
        limits: bastion.limits,
        behaviour: tunnel.behaviour.clone(),
        env: tunnel.env.clone(),
    })
}

#[cfg(test)]
mod tests;
