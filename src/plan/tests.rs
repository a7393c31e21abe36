//! Examples of plans, as one would draw them.

use std::collections::BTreeMap;

use super::*;
use crate::model::{Endpoint, ResourceId};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A tunnel, as `LISTEN -> TARGET`.
fn spec(text: &str) -> Spec {
    let (listen, target) = text.split_once(" -> ").unwrap();
    let (host, port) = listen.rsplit_once(':').unwrap();
    let port = port.parse().unwrap();
    let id = |kind, name| ResourceId::compose("s", "rg", kind, name).unwrap();
    Spec {
        listen: match host {
            "localhost" => Listen::Localhost(port),
            ip => Listen::Address(ip.parse().unwrap(), port),
        },
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
        behaviour: Behaviour::default(),
        env: BTreeMap::new(),
    }
}

fn file(tunnels: &[(&str, &str)]) -> BTreeMap<Name, Spec> {
    tunnels.iter().map(|(tunnel, text)| (name(tunnel), spec(text))).collect()
}

/// What runs when a file was carried out. Free ports are from 40000 on, in the order of names.
fn running(tunnels: &[(&str, &str)]) -> Actual {
    let mut actual = Actual { tunnels: BTreeMap::new(), ipv6_loopback: true };
    for (free, (tunnel, spec)) in (40_000..).zip(file(tunnels)) {
        let listen = spec.listen;
        let addresses = listen.addresses(true).into_iter().map(|mut address| {
            if address.port() == 0 {
                address.set_port(free);
            }
            address
        });
        let bound = vec![Bound { listen, addresses: addresses.collect() }];
        actual.tunnels.insert(tunnel, Live { spec, bound });
    }
    actual
}

fn words(plan: &Plan) -> Vec<String> {
    plan.words().iter().map(ToString::to_string).collect()
}

/// The steps in short, without those about records.
fn steps(plan: &Plan) -> Vec<String> {
    let list = |all: Vec<String>| all.join(" ");
    let shown = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Add { .. } | Action::Change { .. } => None,
        Action::Remove { tunnel } => Some(format!("remove {tunnel}")),
        Action::HandOver { addresses, from, to } => {
            Some(format!("{from} to {to}: {}", list(addresses.iter().map(ToString::to_string).collect())))
        }
        Action::Release { tunnel, addresses } => {
            Some(format!("{tunnel} releases {}", list(addresses.iter().map(ToString::to_string).collect())))
        }
        Action::Bind { tunnel, addresses, .. } => {
            Some(format!("{tunnel} binds {}", list(addresses.iter().map(ToString::to_string).collect())))
        }
    });
    shown.collect()
}

fn between_files(before: &[(&str, &str)], after: &[(&str, &str)]) -> Plan {
    between(&running(before), &file(after))
}

#[test]
fn one_port_moves() {
    let before = [("admin", "localhost:8080 -> vm"), ("db", "localhost:5432 -> orders")];
    let plan = between_files(&before, &[("admin", "localhost:8081 -> vm"), before[1]]);
    assert_eq!(
        steps(&plan),
        ["admin binds 127.0.0.1:8081 [::1]:8081", "admin releases 127.0.0.1:8080 [::1]:8080"]
    );
    assert_eq!(plan.steps.last().map(|step| step.needs.clone()), Some(vec![1]), "after the bind");
    assert_eq!(
        words(&plan),
        ["~ admin  listens on localhost:8081 instead of localhost:8080", "= 1 unchanged"]
    );
}

#[test]
fn the_same_is_nothing() {
    let file = [("db", "localhost:5432 -> orders"), ("any", "localhost:0 -> vm")];
    let plan = between_files(&file, &file);
    assert!(plan.is_empty());
    assert_eq!(words(&plan), ["= 2 unchanged"]);
    assert_eq!(words(&between_files(&[], &[])), ["= 0 unchanged"]);
}

#[test]
fn tunnels_come_and_go() {
    let plan = between_files(&[("old", "127.0.0.1:1 -> vm")], &[("db", "localhost:5432 -> orders")]);
    assert_eq!(
        steps(&plan),
        ["db binds 127.0.0.1:5432 [::1]:5432", "old releases 127.0.0.1:1", "remove old"]
    );
    assert_eq!(words(&plan), ["+ db  localhost:5432 -> orders:22 through hub", "- old"]);
}

#[test]
fn two_swap_ports_and_no_socket_is_touched() {
    let plan = between_files(
        &[("a", "127.0.0.1:80 -> x"), ("b", "127.0.0.1:81 -> y")],
        &[("a", "127.0.0.1:81 -> x"), ("b", "127.0.0.1:80 -> y")],
    );
    assert_eq!(steps(&plan), ["a to b: 127.0.0.1:80", "b to a: 127.0.0.1:81"]);
    assert_eq!(
        words(&plan),
        [
            "~ a  listens on 127.0.0.1:81 instead of 127.0.0.1:80",
            "~ b  listens on 127.0.0.1:80 instead of 127.0.0.1:81"
        ]
    );
}

#[test]
fn a_chain_of_moves_binds_one_port() {
    let plan = between_files(
        &[("a", "127.0.0.1:80 -> x"), ("b", "127.0.0.1:81 -> y"), ("c", "127.0.0.1:82 -> z")],
        &[("a", "127.0.0.1:81 -> x"), ("b", "127.0.0.1:82 -> y"), ("c", "127.0.0.1:83 -> z")],
    );
    assert_eq!(
        steps(&plan),
        ["b to a: 127.0.0.1:81", "c to b: 127.0.0.1:82", "c binds 127.0.0.1:83", "a releases 127.0.0.1:80"]
    );
}

#[test]
fn three_in_a_circle_bind_nothing() {
    let plan = between_files(
        &[("a", "127.0.0.1:80 -> x"), ("b", "127.0.0.1:81 -> y"), ("c", "127.0.0.1:82 -> z")],
        &[("a", "127.0.0.1:81 -> x"), ("b", "127.0.0.1:82 -> y"), ("c", "127.0.0.1:80 -> z")],
    );
    assert_eq!(steps(&plan), ["a to c: 127.0.0.1:80", "b to a: 127.0.0.1:81", "c to b: 127.0.0.1:82"]);
}

#[test]
fn a_rename_keeps_the_listener() {
    let plan = between_files(&[("db", "127.0.0.1:5432 -> x")], &[("orders", "127.0.0.1:5432 -> x")]);
    assert_eq!(steps(&plan), ["db to orders: 127.0.0.1:5432", "remove db"]);
    assert_eq!(words(&plan), ["~ orders  was db, keeps 127.0.0.1:5432"]);
    let plan = between_files(&[("db", "localhost:0 -> x")], &[("orders", "localhost:0 -> x")]);
    assert_eq!(steps(&plan), ["db to orders: 127.0.0.1:40000 [::1]:40000", "remove db"]);
}

#[test]
fn another_tunnel_on_the_port_is_no_rename() {
    let plan = between_files(&[("db", "127.0.0.1:80 -> x")], &[("web", "127.0.0.1:80 -> y")]);
    assert_eq!(steps(&plan), ["db to web: 127.0.0.1:80", "remove db"]);
    assert_eq!(words(&plan), ["- db", "+ web  127.0.0.1:80 -> y:22 through hub"]);
}

#[test]
fn narrower_and_wider() {
    let (both, one) = ([("a", "localhost:80 -> x")], [("a", "127.0.0.1:80 -> x")]);
    assert_eq!(steps(&between_files(&both, &one)), ["a releases [::1]:80"]);
    assert_eq!(steps(&between_files(&one, &both)), ["a binds [::1]:80"]);
    let all = [("a", "0.0.0.0:80 -> x")];
    // What overlaps cannot be bound at once: here alone the old goes first.
    let plan = between_files(&one, &all);
    assert_eq!(steps(&plan), ["a releases 127.0.0.1:80", "a binds 0.0.0.0:80"]);
    assert_eq!(plan.steps.last().map(|step| step.needs.clone()), Some(vec![1]));
    assert_eq!(words(&plan), ["~ a  listens on 0.0.0.0:80 instead of 127.0.0.1:80"]);
}

#[test]
fn a_free_port_gives_way_to_who_names_it() {
    let before = [("any", "127.0.0.1:0 -> x")];
    let plan = between_files(&before, &[before[0], ("web", "127.0.0.1:40000 -> y")]);
    assert_eq!(steps(&plan), ["any to web: 127.0.0.1:40000", "any binds 127.0.0.1:0"]);
    assert_eq!(words(&plan)[0], "~ any  listens on another free port");
}

#[test]
fn free_ports_are_bound_after_those_that_are_named() {
    let plan = between_files(&[], &[("any", "127.0.0.1:0 -> x"), ("web", "127.0.0.1:80 -> y")]);
    assert_eq!(steps(&plan), ["web binds 127.0.0.1:80", "any binds 127.0.0.1:0"]);
}

#[test]
fn the_next_port_is_kept_until_somebody_names_it_or_the_file_names_another() {
    let next = |text: &str| {
        let mut spec = spec(text);
        spec.behaviour.on_port_taken = OnPortTaken::Next;
        spec
    };
    let mut actual = running(&[("a", "127.0.0.1:81 -> x")]);
    let live = actual.tunnels.get_mut(&name("a")).unwrap();
    live.spec = next("127.0.0.1:80 -> x");
    live.bound[0].listen = live.spec.listen;
    let with = |tunnel: &str, spec: Spec| BTreeMap::from([(name(tunnel), spec)]);
    let same = with("a", next("127.0.0.1:80 -> x"));
    assert!(between(&actual, &same).is_empty());
    // Under another name it is the same.
    let plan = between(&actual, &with("b", next("127.0.0.1:80 -> x")));
    assert_eq!(steps(&plan), ["a to b: 127.0.0.1:81", "remove a"]);
    let mut named = same.clone();
    named.extend(file(&[("b", "127.0.0.1:81 -> y")]));
    let plan = between(&actual, &named);
    assert_eq!(steps(&plan), ["a to b: 127.0.0.1:81", "a binds 127.0.0.1:80"]);
    assert_eq!(words(&plan)[0], "~ a  listens on 127.0.0.1:80 instead of port 81");
    let plan = between(&actual, &with("a", next("127.0.0.1:90 -> x")));
    assert_eq!(steps(&plan), ["a binds 127.0.0.1:90", "a releases 127.0.0.1:81"]);
    let plan = between(&actual, &file(&[("a", "127.0.0.1:80 -> x")]));
    assert_eq!(steps(&plan), ["a binds 127.0.0.1:80", "a releases 127.0.0.1:81"]);
    assert_eq!(
        words(&plan),
        ["~ a  listens on 127.0.0.1:80 instead of port 81; on_port_taken fail instead of next"]
    );
    let plan = between(&Actual::default(), &same);
    assert_eq!(words(&plan), ["+ a  127.0.0.1:80 or the next free port -> x:22 through hub"]);
}

#[test]
fn a_port_that_was_taken_is_asked_for_again() {
    let mut actual = running(&[("a", "127.0.0.1:80 -> x"), ("b", "127.0.0.1:90 -> y")]);
    let desired = file(&[("a", "127.0.0.1:81 -> x"), ("b", "127.0.0.1:90 -> y")]);
    // The first time, the record changed and the bind failed.
    actual.tunnels.get_mut(&name("a")).unwrap().spec = desired[&name("a")].clone();
    let plan = between(&actual, &desired);
    assert_eq!(steps(&plan), ["a binds 127.0.0.1:81", "a releases 127.0.0.1:80"]);
    assert_eq!(words(&plan), ["~ a  listens on 127.0.0.1:81 instead of 127.0.0.1:80", "= 1 unchanged"]);
    actual.tunnels.get_mut(&name("a")).unwrap().bound.clear();
    let plan = between(&actual, &desired);
    assert_eq!(words(&plan)[0], "~ a  listens on 127.0.0.1:81, which it does not so far");
}

#[test]
fn what_changes_besides_the_listener() {
    let before = running(&[("a", "127.0.0.1:80 -> x")]);
    let change = |edit: &dyn Fn(&mut Spec)| {
        let mut spec = spec("127.0.0.1:80 -> x");
        edit(&mut spec);
        let plan = between(&before, &BTreeMap::from([(name("a"), spec)]));
        let [Step { action: Action::Change { what, .. }, .. }] = plan.steps[..] else { panic!("{plan:#?}") };
        (what, words(&plan).remove(0))
    };
    let elsewhere = spec("127.0.0.1:80 -> y");
    let retarget =
        |spec: &mut Spec| (spec.target, spec.path) = (elsewhere.target.clone(), elsewhere.path.clone());
    assert_eq!(change(&retarget), (Change::Path, "~ a  leads to y:22 instead of x:22".to_owned()));
    assert_eq!(
        change(&|spec| spec.path.locator = Endpoint::Address([10, 0, 0, 4].into()).into()),
        (Change::Path, "~ a  x is 10.0.0.4 instead of x".to_owned())
    );
    assert_eq!(
        change(&|spec| spec.path.identity.tenant = Some("t".to_owned())),
        (Change::Path, "~ a  signs in to hub as another".to_owned())
    );
    assert_eq!(
        change(&|spec| spec.behaviour.on_outage = crate::model::OnOutage::Refuse),
        (Change::Behaviour, "~ a  on_outage refuse instead of hold".to_owned())
    );
    assert_eq!(
        change(&|spec| {
            spec.behaviour.drain = std::time::Duration::from_secs(5);
            spec.limits.sessions = 3;
        }),
        (Change::Behaviour, "~ a  max_sessions 3 instead of 0; drain 5s instead of 0s".to_owned())
    );
    assert_eq!(
        change(&|spec| spec.env.extend([("URL".to_owned(), "secret".to_owned())])),
        (Change::Behaviour, "~ a  other env".to_owned())
    );
}
