//! What a workspace's files ask for and only its user can allow.

use super::{Desired, Endpoint, Listen, Locator, Name, OnPortTaken, Tunnel};

/// The kinds of things that need the user's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GrantKind {
    /// A tunnel listens where other machines can reach it.
    Expose,
}

impl GrantKind {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::Expose];

    /// The stable word, as `--allow` takes it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Expose => "expose",
        }
    }
}

/// One thing that a user allowed, or is asked to allow.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Grant {
    /// Its kind.
    pub kind: GrantKind,
    /// All that is allowed, in words for the user. Whatever of it changes, the words change, and have to be allowed anew.
    pub what: String,
}

impl Desired {
    /// What has to be allowed before a tunnel may take effect, with that tunnel's name.
    pub fn grants_wanted(&self) -> Vec<(Name, Grant)> {
        let exposed = self.tunnels.iter().filter(|(_, tunnel)| !tunnel.listen.is_loopback());
        exposed.map(|(name, tunnel)| (name.clone(), self.expose(name, tunnel))).collect()
    }

    fn expose(&self, name: &Name, tunnel: &Tunnel) -> Grant {
        let target = self.targets.get(&tunnel.target);
        // An address means something else behind another bastion, so the bastion belongs to what is allowed.
        let bastion = target.and_then(|target| self.bastions.get(&target.bastion));
        let place = match target.map(|target| &target.locator) {
            Some(Locator::Endpoint(Endpoint::Resource(id)) | Locator::Interface(id)) => id.to_string(),
            Some(Locator::Endpoint(Endpoint::Address(ip))) => ip.to_string(),
            Some(Locator::AnyInstance(set)) => format!("any instance of {set}"),
            None => format!("`{}`", tunnel.target),
        };
        let through = bastion.map_or_else(String::new, |bastion| format!(" through {}", bastion.id.as_str()));
        let listen = ListenWords(if tunnel.auto { tunnel.listen.at(0) } else { tunnel.listen });
        let port = tunnel.port;
        let next = match tunnel.behaviour.on_port_taken {
            _ if tunnel.auto => " on any port",
            OnPortTaken::Next if tunnel.listen.port() != 0 => " or the next free port",
            OnPortTaken::Next | OnPortTaken::Fail => "",
        };
        Grant {
            kind: GrantKind::Expose,
            what: format!(
                "tunnel `{name}` listens on {listen}{next} and leads to port {port} of {place}{through}"
            ),
        }
    }
}

/// An address to listen on, and what a wildcard means.
struct ListenWords(Listen);

impl std::fmt::Display for ListenWords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)?;
        match self.0 {
            Listen::Address(ip, _) if ip.is_unspecified() => f.write_str(" (every network of this machine)"),
            Listen::Address(..) | Listen::Localhost(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::model::{Bastion, Behaviour, Cloud, Emulation, Identity, Limits, Port, ResourceId, Target};

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn desired(listen: Listen, endpoint: Endpoint, bastion: &str, port: u16) -> Desired {
        let id = ResourceId::compose("s", "g", "Microsoft.Network/bastionHosts", bastion).unwrap();
        let tunnel = Tunnel {
            listen,
            auto: false,
            target: name("web"),
            port: Port::new(port).unwrap(),
            profiles: BTreeSet::new(),
            env: BTreeMap::new(),
            behaviour: Behaviour::default(),
        };
        Desired {
            workspace: name("w"),
            cloud: Cloud::Public,
            bastions: [(
                name("hub"),
                Bastion { id, identity: Identity::default(), limits: Limits::default() },
            )]
            .into(),
            targets: [(name("web"), Target { bastion: name("hub"), locator: endpoint.into() })].into(),
            tunnels: [(name("page"), tunnel)].into(),
            emulation: Emulation::default(),
        }
    }

    #[test]
    fn only_what_other_machines_can_reach_needs_a_grant() {
        let address = || Endpoint::Address(Ipv4Addr::new(10, 0, 0, 4));
        for (listen, wanted) in [
            (Listen::Localhost(80), false),
            (Listen::Address(IpAddr::from([127, 0, 0, 9]), 80), false),
            (Listen::Address("::1".parse().unwrap(), 80), false),
            (Listen::Address("::".parse().unwrap(), 80), true),
            (Listen::Address(IpAddr::from([192, 168, 0, 7]), 0), true),
        ] {
            let wants = desired(listen, address(), "b", 80).grants_wanted();
            assert_eq!(!wants.is_empty(), wanted, "{listen}");
        }
    }

    #[test]
    fn whatever_changes_has_to_be_allowed_anew() {
        let all = Listen::Address(IpAddr::from([0, 0, 0, 0]), 8080);
        let vm = |vm: &str| {
            let id = ResourceId::compose("s", "g", "Microsoft.Compute/virtualMachines", vm).unwrap();
            Endpoint::Resource(id)
        };
        let address = Endpoint::Address(Ipv4Addr::new(10, 0, 0, 4));
        let other = Listen::Address(IpAddr::from([0, 0, 0, 0]), 8081);
        let mut next = desired(all, vm("a"), "b", 80);
        for tunnel in next.tunnels.values_mut() {
            tunnel.behaviour.on_port_taken = OnPortTaken::Next;
        }
        let words: Vec<String> = [
            desired(all, vm("a"), "b", 80),
            desired(all, vm("c"), "b", 80),
            desired(all, vm("a"), "d", 80),
            desired(all, vm("a"), "b", 81),
            desired(other, vm("a"), "b", 80),
            desired(all, address, "b", 80),
            next,
        ]
        .iter()
        .flat_map(|desired| desired.grants_wanted().into_iter().map(|(_, grant)| grant.what))
        .collect();
        assert_eq!(words.iter().collect::<BTreeSet<_>>().len(), 7, "{words:#?}");
        assert_eq!(
            words.first().unwrap(),
            "tunnel `page` listens on 0.0.0.0:8080 (every network of this machine) and leads to port 80 of \
             /subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/a through \
             /subscriptions/s/resourceGroups/g/providers/Microsoft.Network/bastionHosts/b"
        );
        assert_eq!(desired(all, vm("a"), "b", 80).grants_wanted()[0].0, name("page"));
    }
}
