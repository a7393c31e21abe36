//! A machine's sockets, and a supervisor that does what a plan says: the oracle. It shares no code with the planner.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use bastion::model::{Listen, Name, OnPortTaken};
use bastion::plan::{Action, Actual, Bound, Live, Plan, Spec};

/// How a step went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    Failed,
    Skipped,
}

/// A bound socket: which one it is, and whose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Socket {
    pub(crate) serial: u64,
    pub(crate) owner: Name,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Machine {
    pub(crate) sockets: BTreeMap<SocketAddr, Socket>,
    pub(crate) tunnels: BTreeMap<Name, Live>,
    /// Held by programs that are not ours.
    pub(crate) foreign: BTreeSet<SocketAddr>,
    pub(crate) ipv6_loopback: bool,
    serial: u64,
}

/// Whether an operating system refuses the one while the other is bound.
pub(crate) fn clash(one: SocketAddr, other: SocketAddr) -> bool {
    let everywhere = |ip: IpAddr| match ip {
        IpAddr::V4(v4) => v4.octets() == [0; 4],
        IpAddr::V6(v6) => v6.segments() == [0; 8],
    };
    one.port() == other.port() && (one.ip() == other.ip() || everywhere(one.ip()) || everywhere(other.ip()))
}

/// The addresses of a `listen`, spelled out once more.
pub(crate) fn addresses(listen: Listen, ipv6_loopback: bool) -> Vec<SocketAddr> {
    match listen {
        Listen::Localhost(port) if ipv6_loopback => {
            vec![SocketAddr::from(([127, 0, 0, 1], port)), SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port))]
        }
        Listen::Localhost(port) => vec![SocketAddr::from(([127, 0, 0, 1], port))],
        Listen::Address(ip, port) => vec![SocketAddr::new(ip, port)],
    }
}

impl Machine {
    pub(crate) fn new(ipv6_loopback: bool) -> Self {
        Self { ipv6_loopback, ..Self::default() }
    }

    pub(crate) fn actual(&self) -> Actual {
        Actual { tunnels: self.tunnels.clone(), ipv6_loopback: self.ipv6_loopback }
    }

    pub(crate) fn owned(&self, tunnel: &Name) -> BTreeSet<SocketAddr> {
        self.sockets
            .iter()
            .filter(|(_, socket)| socket.owner == *tunnel)
            .map(|(address, _)| *address)
            .collect()
    }

    /// Carries out a plan. Panics when a step asks for what no machine or no supervisor could do.
    pub(crate) fn run(&mut self, plan: &Plan) -> Vec<Outcome> {
        let mut outcomes: Vec<Outcome> = Vec::new();
        for (index, step) in plan.steps.iter().enumerate() {
            assert!(step.needs.iter().all(|need| *need < index), "step {index} needs a later one: {plan:#?}");
            let skipped = step.needs.iter().any(|need| outcomes[*need] != Outcome::Done);
            outcomes.push(if skipped { Outcome::Skipped } else { self.carry_out(&step.action) });
            self.check_books();
        }
        outcomes
    }

    fn carry_out(&mut self, action: &Action) -> Outcome {
        match action {
            Action::Add { tunnel, spec } => {
                let live = Live { spec: spec.clone(), bound: Vec::new() };
                assert!(self.tunnels.insert(tunnel.clone(), live).is_none(), "{tunnel} was there");
            }
            Action::Change { tunnel, spec, .. } => {
                let live = self.tunnels.get_mut(tunnel).expect("a change of a tunnel that is there");
                assert_ne!(live.spec, *spec, "a change that changes nothing");
                live.spec = spec.clone();
            }
            Action::HandOver { addresses, from, to } => {
                assert_ne!(from, to);
                self.let_go(from, addresses, Some(to));
                let listen = self.tunnels[to].spec.listen;
                self.note(to, listen, addresses.iter().copied());
            }
            Action::Release { tunnel, addresses } => self.let_go(tunnel, addresses, None),
            Action::Bind { tunnel, listen, addresses } => return self.bind(tunnel, *listen, addresses),
            Action::Remove { tunnel } => {
                assert!(self.owned(tunnel).is_empty(), "{tunnel} still owns addresses");
                assert!(self.tunnels.remove(tunnel).is_some(), "{tunnel} was not there");
            }
        }
        Outcome::Done
    }

    fn bind(&mut self, tunnel: &Name, listen: Listen, addresses: &[SocketAddr]) -> Outcome {
        assert!(self.tunnels.contains_key(tunnel), "{tunnel} is not there");
        assert!(!addresses.is_empty(), "a bind of nothing");
        let Some(addresses) = self.real(addresses).or_else(|| self.next(tunnel, listen)) else {
            return Outcome::Failed;
        };
        for address in &addresses {
            let twice = self.sockets.iter().find(|(bound, _)| clash(**bound, *address));
            assert!(twice.is_none(), "{tunnel} binds {address}, and there is {twice:?}");
        }
        for address in &addresses {
            self.serial += 1;
            let socket = Socket { serial: self.serial, owner: tunnel.clone() };
            self.sockets.insert(*address, socket);
        }
        self.note(tunnel, listen, addresses.into_iter());
        Outcome::Done
    }

    /// The addresses with real ports, unless a program that is not ours has one of them. Free ports are taken from where
    /// fixed ones are wished for, so that they get in each other's way.
    fn real(&self, addresses: &[SocketAddr]) -> Option<Vec<SocketAddr>> {
        let at = |port: u16| addresses.iter().map(|a| SocketAddr::new(a.ip(), port)).collect::<Vec<_>>();
        let foreign = |address: &SocketAddr| self.foreign.iter().any(|taken| clash(*taken, *address));
        if addresses.iter().any(|address| address.port() != 0) {
            return (!addresses.iter().any(foreign)).then(|| addresses.to_vec());
        }
        let free = |address: &SocketAddr| {
            !foreign(address) && !self.sockets.keys().any(|bound| clash(*bound, *address))
        };
        (80..=u16::MAX).map(at).find(|all| all.iter().all(free))
    }

    /// All that a `listen` means, on the first port after its own that is free and that no tunnel names, where that will
    /// do. What the tunnel has of its own port is let go.
    fn next(&mut self, tunnel: &Name, listen: Listen) -> Option<Vec<SocketAddr>> {
        let takes_next = |spec: &Spec| spec.behaviour.on_port_taken == OnPortTaken::Next;
        if listen.port() == 0 || !takes_next(&self.tunnels[tunnel].spec) {
            return None;
        }
        let named: BTreeSet<u16> = self.tunnels.values().map(|live| live.spec.listen.port()).collect();
        let free = |address: &SocketAddr| {
            let taken = self.foreign.iter().chain(self.sockets.keys());
            !named.contains(&address.port()) && !taken.into_iter().any(|other| clash(*other, *address))
        };
        let at = |port: u16| {
            let all = addresses(listen, self.ipv6_loopback).into_iter();
            all.map(|a| SocketAddr::new(a.ip(), port)).collect::<Vec<_>>()
        };
        let found = (listen.port() + 1..=u16::MAX).map(at).find(|all| all.iter().all(free))?;
        let own: BTreeSet<_> = addresses(listen, self.ipv6_loopback).into_iter().collect();
        let own: BTreeSet<_> = own.intersection(&self.owned(tunnel)).copied().collect();
        if !own.is_empty() {
            self.let_go(tunnel, &own, None);
        }
        Some(found)
    }

    fn let_go(&mut self, tunnel: &Name, addresses: &BTreeSet<SocketAddr>, heir: Option<&Name>) {
        assert!(!addresses.is_empty(), "nothing is let go");
        for address in addresses {
            let mut socket = self.sockets.remove(address).expect("an address that is bound");
            assert_eq!(socket.owner, *tunnel, "{address} is another's");
            if let Some(heir) = heir {
                assert!(self.tunnels.contains_key(heir), "{heir} is not there");
                socket.owner = heir.clone();
                self.sockets.insert(*address, socket);
            }
        }
        let live = self.tunnels.get_mut(tunnel).expect("an owner that is there");
        for bound in &mut live.bound {
            bound.addresses.retain(|address| !addresses.contains(address));
        }
        live.bound.retain(|bound| !bound.addresses.is_empty());
    }

    fn note(&mut self, tunnel: &Name, listen: Listen, addresses: impl Iterator<Item = SocketAddr>) {
        let live = self.tunnels.get_mut(tunnel).expect("an owner that is there");
        live.bound.push(Bound { listen, addresses: addresses.collect() });
    }

    /// What the records say is what is bound.
    fn check_books(&self) {
        for (name, live) in &self.tunnels {
            let noted: BTreeSet<_> = live.bound.iter().flat_map(|b| b.addresses.iter().copied()).collect();
            assert_eq!(noted, self.owned(name), "{name}");
        }
        assert!(self.sockets.values().all(|socket| self.tunnels.contains_key(&socket.owner)));
    }

    /// Whether exactly what is desired runs, each where it should.
    pub(crate) fn is(&self, desired: &BTreeMap<Name, Spec>) -> Result<(), String> {
        let specs: BTreeMap<_, _> =
            self.tunnels.iter().map(|(n, live)| (n.clone(), live.spec.clone())).collect();
        if specs != *desired {
            return Err(format!("{:?} runs", specs.keys()));
        }
        match desired.iter().find(|(name, spec)| !self.listens(name, spec)) {
            Some((name, spec)) => Err(format!("{name} has {:?} and wants {}", self.owned(name), spec.listen)),
            None => Ok(()),
        }
    }

    /// Whether a tunnel owns just what it should.
    pub(crate) fn listens(&self, name: &Name, spec: &Spec) -> bool {
        let (owned, wanted) = (self.owned(name), addresses(spec.listen, self.ipv6_loopback));
        let takes_next = spec.behaviour.on_port_taken == OnPortTaken::Next;
        if spec.listen.port() != 0 && !takes_next {
            return owned == wanted.into_iter().collect();
        }
        let ips = |all: Vec<SocketAddr>| all.into_iter().map(|a| a.ip()).collect::<BTreeSet<_>>();
        let ports: BTreeSet<u16> = owned.iter().map(SocketAddr::port).collect();
        ports.len() == 1 && ips(owned.into_iter().collect()) == ips(wanted)
    }
}
