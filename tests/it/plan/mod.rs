//! Properties of the planner, held against a machine that is simulated apart from it.

mod machine;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use bastion::model::{Behaviour, Endpoint, Identity, Limits, Listen, Name, OnPortTaken, Port, ResourceId};
use bastion::plan::{Action, Actual, Bound, Live, Path, Plan, Spec, between};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use machine::{Machine, Outcome, addresses, clash};

type Desired = BTreeMap<Name, Spec>;

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
const HOSTS: [&str; 6] = ["localhost", "127.0.0.1", "::1", "127.0.0.2", "0.0.0.0", "::"];
const PORTS: [u16; 5] = [0, 80, 81, 82, 83];

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn listen(host: &str, port: u16) -> Listen {
    host.parse().map_or(Listen::Localhost(port), |ip| Listen::Address(ip, port))
}

fn spec(listen: Listen, target: &str, drain: u64) -> Spec {
    let id = |kind, name| ResourceId::compose("s", "rg", kind, name).unwrap();
    Spec {
        listen,
        auto: false,
        target: name(target),
        route: name("hub"),
        path: Path {
            bastion: id("Microsoft.Network/bastionHosts", "hub"),
            identity: Identity::default(),
            locator: Endpoint::Resource(id("Microsoft.Compute/virtualMachines", target)).into(),
            port: Port::new(22).unwrap(),
        },
        limits: Limits::default(),
        behaviour: Behaviour { drain: Duration::from_secs(drain), ..Behaviour::default() },
        env: BTreeMap::new(),
    }
}

/// Tunnels of which no two clash, as the configuration sees to: whoever comes late and clashes is left out.
fn settle(tunnels: Vec<(&str, Spec)>) -> Desired {
    let mut desired = Desired::new();
    for (tunnel, spec) in tunnels {
        let free = addresses(spec.listen, true).into_iter().all(|address| {
            let others = desired.iter().filter(|(other, _)| other.as_str() != tunnel);
            let mut taken = others.flat_map(|(_, other): (_, &Spec)| addresses(other.listen, true));
            address.port() == 0 || !taken.any(|other| clash(address, other))
        });
        if free {
            desired.insert(name(tunnel), spec);
        }
    }
    desired
}

fn any_spec() -> impl Strategy<Value = Spec> {
    let hosts = prop_oneof![3 => Just("localhost"), 2 => select(&HOSTS[..])];
    let listens = (hosts, select(&PORTS[..])).prop_map(|(host, port)| listen(host, port));
    let taken = prop_oneof![2 => Just(OnPortTaken::Fail), 1 => Just(OnPortTaken::Next)];
    (listens, select(&["x", "y"][..]), 0..2_u64, taken).prop_map(|(listen, target, drain, on_port_taken)| {
        let mut spec = spec(listen, target, drain);
        spec.behaviour.on_port_taken = on_port_taken;
        spec
    })
}

/// What a file says, and then says instead: a fresh start, or the same with names, listens or targets shuffled.
fn any_desired() -> impl Strategy<Value = Desired> {
    vec((select(&NAMES[..]), any_spec()), 0..8).prop_map(settle)
}

fn edited(before: &Desired) -> impl Strategy<Value = Desired> + use<> {
    let all: Vec<(Name, Spec)> = before.clone().into_iter().collect();
    let count = all.len();
    let kept = subsequence(all.clone(), 0..=count);
    let names = Just(all.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>()).prop_shuffle();
    let renamed = names.prop_map(move |names| {
        names.into_iter().zip(all.iter().map(|(_, spec)| spec.clone())).collect::<Desired>()
    });
    prop_oneof![
        2 => any_desired(),
        2 => renamed,
        3 => (kept, vec((select(&NAMES[..]), any_spec()), 0..3)).prop_map(|(kept, new)| {
            let kept = kept.iter().map(|(name, spec)| (name.as_str(), spec.clone()));
            settle(kept.chain(new).collect())
        }),
    ]
}

fn any_foreign() -> impl Strategy<Value = BTreeSet<SocketAddr>> {
    let address = (select(&HOSTS[1..4]), select(&PORTS[1..]));
    btree_set(address.prop_map(|(ip, port)| SocketAddr::new(ip.parse().unwrap(), port)), 0..3)
}

/// A machine on which some files were applied one after another, among other programs that held ports meanwhile.
fn any_machine() -> impl Strategy<Value = (Machine, Desired)> {
    let edits = vec((any_desired(), any_foreign()), 1..3);
    (edits, any::<bool>()).prop_map(|(edits, ipv6_loopback)| {
        let mut machine = Machine::new(ipv6_loopback);
        let mut last = Desired::new();
        for (desired, foreign) in edits {
            machine.foreign = foreign;
            machine.foreign.retain(|taken| !machine.sockets.keys().any(|bound| clash(*taken, *bound)));
            machine.run(&between(&machine.actual(), &desired));
            last = desired;
        }
        machine.foreign.clear();
        (machine, last)
    })
}

/// A machine, and what it is to run next.
fn any_case() -> impl Strategy<Value = (Machine, Desired)> {
    any_machine().prop_flat_map(|(machine, last)| (Just(machine), edited(&last)))
}

fn named(plan: &Plan) -> BTreeSet<Name> {
    let names = plan.steps.iter().flat_map(|step| match &step.action {
        Action::Add { tunnel, .. }
        | Action::Release { tunnel, .. }
        | Action::Bind { tunnel, .. }
        | Action::Change { tunnel, .. }
        | Action::Remove { tunnel } => vec![tunnel.clone()],
        Action::HandOver { from, to, .. } => vec![from.clone(), to.clone()],
    });
    names.collect()
}

/// Tunnels that an edit does not concern: equal, listening where they should, in nobody's way.
fn unconcerned(machine: &Machine, desired: &Desired) -> BTreeSet<Name> {
    let wished: Vec<(&Name, SocketAddr)> = desired
        .iter()
        .flat_map(|(name, spec)| {
            addresses(spec.listen, machine.ipv6_loopback).into_iter().map(move |a| (name, a))
        })
        .collect();
    let concerned = |name: &Name| {
        machine
            .owned(name)
            .iter()
            .any(|own| wished.iter().any(|(who, wish)| *who != name && clash(*own, *wish)))
    };
    let same = |(name, spec): &(&Name, &Spec)| {
        let live = machine.tunnels.get(*name);
        live.is_some_and(|live| live.spec == **spec && live.bound.iter().all(|b| b.listen == spec.listen))
            && machine.listens(name, spec)
            && !concerned(name)
    };
    desired.iter().filter(same).map(|(name, _)| name.clone()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    /// The machine itself refuses addresses with two owners, at every step.
    #[test]
    fn a_plan_reaches_what_is_desired((mut machine, desired) in any_case()) {
        machine.run(&between(&machine.actual(), &desired));
        prop_assert_eq!(machine.is(&desired), Ok(()));
        let again = between(&machine.actual(), &desired);
        prop_assert!(again.is_empty(), "{:#?}", again);
        prop_assert_eq!(again.unchanged, desired.len());
    }

    #[test]
    fn what_an_edit_does_not_concern_is_not_named((mut machine, desired) in any_case()) {
        let (plan, untouched) = (between(&machine.actual(), &desired), unconcerned(&machine, &desired));
        let named = named(&plan);
        prop_assert!(untouched.is_disjoint(&named), "{:?} of {:#?}", untouched, plan);
        let left_alone = desired.keys().filter(|name| !named.contains(*name)).count();
        prop_assert_eq!(plan.unchanged, left_alone);
        let before = machine.sockets.clone();
        machine.run(&plan);
        for (address, socket) in before.iter().filter(|(_, socket)| untouched.contains(&socket.owner)) {
            prop_assert_eq!(machine.sockets.get(address), Some(socket));
        }
    }

    /// Rename, swap, move, retarget: a socket that somebody is to have stays the same socket.
    #[test]
    fn an_address_that_is_wanted_is_never_bound_anew(
        (mut machine, desired) in any_case(),
        foreign in any_foreign(),
    ) {
        let before = machine.sockets.clone();
        machine.foreign = foreign;
        machine.run(&between(&machine.actual(), &desired));
        let fixed = |spec: &Spec| {
            spec.listen.port() != 0 && spec.behaviour.on_port_taken == OnPortTaken::Fail
        };
        for (name, spec) in desired.iter().filter(|(_, spec)| fixed(spec)) {
            for address in addresses(spec.listen, machine.ipv6_loopback) {
                if let Some(socket) = before.get(&address) {
                    let now = machine.sockets.get(&address);
                    prop_assert_eq!(now.map(|s| (s.serial, &s.owner)), Some((socket.serial, name)));
                }
            }
        }
    }

    #[test]
    fn faults_cost_only_what_they_must((mut machine, desired) in any_case(), foreign in any_foreign()) {
        let before = machine.clone();
        machine.foreign = foreign;
        let plan = between(&machine.actual(), &desired);
        let outcomes = machine.run(&plan);
        let mut failed = BTreeSet::new();
        // What others could reach and are not to reach any more.
        let withdrawn = |tunnel: &Name, old: &SocketAddr| {
            let now = desired.get(tunnel).map(|spec| addresses(spec.listen, true)).unwrap_or_default();
            !old.ip().is_loopback() && !now.is_empty() && now.iter().all(|address| address.ip().is_loopback())
        };
        for (step, outcome) in plan.steps.iter().zip(&outcomes) {
            match (&step.action, outcome) {
                (Action::Bind { tunnel, .. }, Outcome::Failed) => { failed.insert(tunnel.clone()); }
                (Action::Release { tunnel, .. }, Outcome::Skipped) => prop_assert!(failed.contains(tunnel)),
                (Action::Release { tunnel, addresses }, Outcome::Done) => {
                    prop_assert!(!failed.contains(tunnel) || addresses.iter().all(|old| withdrawn(tunnel, old)));
                }
                (_, outcome) => prop_assert_eq!(*outcome, Outcome::Done),
            }
        }
        // What nobody wishes for, not even in part, stays with a tunnel that could not move, unless it was withdrawn.
        let wished: Vec<_> =
            desired.values().flat_map(|s| addresses(s.listen, machine.ipv6_loopback)).collect();
        for tunnel in &failed {
            for old in before.owned(tunnel).iter().filter(|old| !wished.iter().any(|w| clash(**old, *w))) {
                let kept = before.sockets.get(old).filter(|_| !withdrawn(tunnel, old));
                prop_assert_eq!(machine.sockets.get(old), kept);
            }
        }
        // Once the fault is gone, the rest is done.
        machine.foreign.clear();
        machine.run(&between(&machine.actual(), &desired));
        prop_assert_eq!(machine.is(&desired), Ok(()));
    }

    #[test]
    fn the_order_of_the_file_does_not_matter(
        (machine, desired) in any_case(),
        seed in vec(any::<u32>(), 8),
    ) {
        let mut shuffled: Vec<(u32, (Name, Spec))> = seed.into_iter().zip(desired.clone()).collect();
        shuffled.sort_by_key(|(key, _)| *key);
        let shuffled: Desired = shuffled.into_iter().map(|(_, tunnel)| tunnel).collect();
        prop_assert_eq!(between(&machine.actual(), &shuffled), between(&machine.actual(), &desired));
    }

    /// A line for each tunnel that is named, and for no other.
    #[test]
    fn the_words_name_what_the_steps_name((machine, desired) in any_case()) {
        let plan = between(&machine.actual(), &desired);
        let lines = plan.words();
        let told: BTreeSet<Name> = lines.iter().filter_map(|line| line.tunnel.clone()).collect();
        let named = named(&plan);
        prop_assert!(told.is_subset(&named), "{:?} {:#?}", lines, plan);
        for name in named.difference(&told) {
            let renamed = lines.iter().any(|line| line.words.starts_with(&format!("was {name},")));
            prop_assert!(renamed, "{} in {:?} {:#?}", name, lines, plan);
        }
    }
}

#[test]
fn one_edit_among_five_thousand_is_one_move() {
    let tunnels = (0..5_000_u16).map(|i| {
        let host = ["localhost".to_owned(), format!("127.1.{}.{}", i / 250, i % 250)];
        // Half of them share a port, on addresses of their own.
        let listen = if i % 2 == 0 { listen(&host[0], 10_000 + i) } else { listen(&host[1], 5432) };
        (name(&format!("t{i}")), spec(listen, "x", 0))
    });
    let mut desired: Desired = tunnels.collect();
    let mut actual = Actual { tunnels: BTreeMap::new(), ipv6_loopback: true };
    let all = between(&actual, &desired);
    assert_eq!(all.steps.len(), 10_000, "an addition and a bind each");
    for (name, spec) in &desired {
        let bound =
            Bound { listen: spec.listen, addresses: addresses(spec.listen, true).into_iter().collect() };
        actual.tunnels.insert(name.clone(), Live { spec: spec.clone(), bound: vec![bound] });
    }
    assert!(between(&actual, &desired).is_empty());
    desired.get_mut(&name("t40")).unwrap().listen = listen("localhost", 9_999);
    let plan = between(&actual, &desired);
    assert_eq!((plan.steps.len(), plan.unchanged), (3, 4_999), "{plan:#?}");
    assert_eq!(named(&plan), BTreeSet::from([name("t40")]));
}
