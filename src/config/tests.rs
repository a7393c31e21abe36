//! What valid files lower to.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::model::{
    Bastion, BastionTraits, Behaviour, Cloud, Emulation, Endpoint, Fault, FaultAction, FaultPhase, Frames,
    Identity, Limits, Listen, Machine, Name, Port, ResourceId, Service, Sku, Target, Tunnel,
};

mod declared;
mod keys;
mod own;

const EMULATED: &str = "[azure]\ncloud = \"emulator\"\n";

fn layer(text: &str) -> [Layer<'_>; 1] {
    [Layer { kind: LayerKind::Workspace, path: "bastion.toml", text }]
}

fn loaded(text: &str) -> Desired {
    let source = Source {
        layers: &layer(text),
        default_name: "my shop",
        worktree: 0,
        variables: &Variables::default(),
        az: &AzCurrent::default(),
    };
    let Loaded { desired, diagnostics, .. } = load(&source);
    let words: String = diagnostics.iter().map(|diagnostic| diagnostic.render(&source, false)).collect();
    desired.unwrap_or_else(|| panic!("{words}"))
}

fn codes_of(text: &str) -> Vec<&'static str> {
    let source = Source {
        layers: &layer(text),
        default_name: "orders",
        worktree: 0,
        variables: &Variables::default(),
        az: &AzCurrent::default(),
    };
    load(&source).diagnostics.iter().map(|diagnostic| diagnostic.code).collect()
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn port(number: u16) -> Port {
    Port::new(number).unwrap()
}

fn id(kind: &str, name: &str) -> ResourceId {
    ResourceId::compose(Emulation::SUBSCRIPTION, Emulation::RESOURCE_GROUP, kind, name).unwrap()
}

#[test]
fn one_tunnel_lowers_to_all_its_defaults() {
    let desired = loaded(include_str!("../../tests/config/valid/one-tunnel.toml"));
    let bastion = id("Microsoft.Network/bastionHosts", "hub");
    let machine = Endpoint::Resource(id("Microsoft.Compute/virtualMachines", "vm-web"));
    let expected = Desired {
        workspace: name("my-shop"),
        cloud: Cloud::Emulator,
        bastions: BTreeMap::from([(
            name("hub"),
            Bastion { id: bastion.clone(), identity: Identity::default(), limits: Limits::default() },
        )]),
        targets: BTreeMap::from([(
            name("web"),
            Target { bastion: name("hub"), locator: machine.clone().into() },
        )]),
        tunnels: BTreeMap::from([(
            name("web"),
            Tunnel {
                listen: Listen::Localhost(8080),
                auto: false,
                target: name("web"),
                port: port(80),
                profiles: BTreeSet::new(),
                env: BTreeMap::new(),
                behaviour: Behaviour::default(),
            },
        )]),
        emulation: Emulation {
            bastions: vec![(bastion, BastionTraits::default())],
            machines: vec![Machine {
                ports: BTreeMap::from([(port(7), Service::Echo), (port(80), Service::Http)]),
                ..Machine::new(machine)
            }],
            ..Emulation::default()
        },
    };
    assert_eq!(desired, expected);
}

#[test]
fn the_emulators_table_is_lowered_whole() {
    let emulation = loaded(include_str!("../../tests/config/valid/emulator.toml")).emulation;
    let traits = BastionTraits {
        sku: Sku::Premium,
        enable_tunneling: None,
        enable_ip_connect: Some(false),
        dns_name: Some("evil.example/@x".to_owned()),
        max_sessions: 2,
        reader: false,
        private_only: true,
    };
    assert_eq!(emulation.bastions, [(id("Microsoft.Network/bastionHosts", "hub"), traits)]);
    assert_eq!(emulation.frames, Frames::Size(65536));
    assert_eq!(emulation.setup_delay, Duration::from_millis(700));
    assert_eq!(emulation.idle_limit, Duration::ZERO);
    assert_eq!(emulation.log, Some(PathBuf::from("requests.jsonl")));
    let web = emulation.machines.iter().find(|machine| {
        machine.endpoint == Endpoint::Resource(id("Microsoft.Compute/virtualMachines", "VM-WEB"))
    });
    assert_eq!(web.unwrap().otherwise, Some(Service::Http));
    assert!(web.unwrap().ports.is_empty(), "one service for every port leaves no defaults");
    let echo = Endpoint::Address(Ipv4Addr::new(10, 0, 0, 7));
    let echo = emulation.machines.iter().find(|machine| machine.endpoint == echo).unwrap();
    assert_eq!(echo.ports.get(&port(22)), Some(&Service::Tcp("127.0.0.1:22".parse().unwrap())));
    assert_eq!(echo.otherwise, Some(Service::Http));
    let url = "https://elsewhere.example/".to_owned();
    assert_eq!(
        emulation.faults,
        [
            Fault {
                phase: FaultPhase::Stream,
                action: FaultAction::Close(1011),
                after: 65536,
                times: 1,
                target: Some(Endpoint::Resource(id("Microsoft.Compute/virtualMachines", "vm-web"))),
            },
            Fault {
                phase: FaultPhase::Token,
                action: FaultAction::Redirect(307, url),
                after: 0,
                times: 0,
                target: Some(Endpoint::Address(Ipv4Addr::new(10, 0, 0, 7))),
            },
        ]
    );
}

#[test]
fn a_developer_bastion_has_no_switches_unless_it_is_given_some() {
    let developer = "[bastions.hub]\n[emulator.bastions.hub]\nsku = \"developer\"\n";
    let traits = |more: &str| {
        let emulation = loaded(&format!("{EMULATED}{developer}{more}")).emulation;
        emulation.bastions.into_iter().next().unwrap().1
    };
    assert_eq!(traits(""), BastionTraits::of(Sku::Developer));
    assert_eq!(traits("").enable_tunneling, None);
    assert_eq!(traits("enable_tunneling = true").enable_tunneling, Some(true));
}

#[test]
fn a_fault_tells_machines_of_one_name_apart() {
    let text = format!(
        "{EMULATED}[bastions.hub]\n[targets]\na = {{ vm = \"vm\" }}\nb = {{ vm = \"vm\", resource_group = \"rg-b\" }}\n\
         [[emulator.faults]]\nphase = \"token\"\ndo = \"401\"\ntarget = \"b\"\n"
    );
    let emulation = loaded(&text).emulation;
    let Some(Endpoint::Resource(id)) = &emulation.faults[0].target else { panic!("{:?}", emulation.faults) };
    assert_eq!((id.resource_group(), id.name()), ("rg-b", "vm"));
}

#[test]
fn every_fault_can_be_written() {
    use FaultAction as A;
    let emulation = loaded(include_str!("../../tests/config/valid/every-fault.toml")).emulation;
    let actions: Vec<_> = emulation.faults.into_iter().map(|fault| fault.action).collect();
    let seconds = Duration::from_secs;
    let expected = [
        A::Status(401),
        A::PlainStatus(401),
        A::EmptyStatus(503),
        A::Redirect(307, "https://x.example/".to_owned()),
        A::Malformed,
        A::Answer("user@pod.example".to_owned()),
        A::Delay(seconds(5)),
        A::Silence,
        A::Drop,
        A::CloseNotify,
        A::Reset,
        A::Close(0),
        A::HttpAfter101,
        A::Bare101,
        A::WrongAccept,
        A::ReservedBit,
        A::Masked,
        A::UnknownOpcode,
        A::Text,
        A::NoPong,
        A::Pings(seconds(2)),
        A::PlainStatus(403),
    ];
    assert_eq!(actions, expected);
}

#[test]
fn targets_and_bastions_keep_what_was_written() {
    let desired = loaded(include_str!("../../tests/config/valid/targets.toml"));
    let home = "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups";
    let bastion = |key: &str| desired.bastions[&name(key)].id.as_str().to_owned();
    assert_eq!(bastion("hub"), format!("{home}/rg-network/providers/Microsoft.Network/bastionHosts/bas-hub"));
    assert_eq!(
        bastion("spoke"),
        "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Network/bastionHosts/bas-spoke"
    );
    let target = |key: &str| {
        let locator = &desired.targets[&name(key)].locator;
        locator.id().map_or_else(|| locator.to_string(), |id| id.as_str().to_owned())
    };
    let compute = "providers/Microsoft.Compute";
    assert_eq!(target("web"), format!("{home}/rg-orders/{compute}/virtualMachines/vm-web"));
    assert_eq!(
        target("db"),
        format!("/subscriptions/s/resourceGroups/rg-db/{compute}/virtualMachines/vm-db")
    );
    assert_eq!(
        target("api"),
        format!("{home}/rg-orders/{compute}/virtualMachineScaleSets/vmss-api/virtualMachines/3")
    );
    assert_eq!(target("old"), "10.0.0.4");
    assert_eq!(
        target("set"),
        format!("/subscriptions/s/resourceGroups/rg/{compute}/virtualMachineScaleSets/set")
    );
    assert_eq!(desired.targets[&name("pool")].locator.to_string(), "any instance of pool");
    assert_eq!(desired.targets[&name("card")].locator.to_string(), "the machine of nic-card");
    for number in 1..=4 {
        let id = format!("/subscriptions/s/resourceGroups/rg/{compute}/virtualMachines/vm-{number}");
        assert_eq!(target(&format!("p{number}")), id);
    }
    assert_eq!(
        target("page"),
        format!("/subscriptions/s/resourceGroups/rg/{compute}/virtualMachines/vm-page")
    );
    assert_eq!(desired.targets[&name("db")].bastion, name("spoke"));
}

#[test]
fn listen_addresses_in_all_their_forms() {
    let desired = loaded(include_str!("../../tests/config/valid/listen-addresses.toml"));
    let listen = |key: &str| desired.tunnels[&name(key)].listen;
    let v4 = |last, port| Listen::Address(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), port);
    assert_eq!(listen("a"), Listen::Localhost(8080));
    assert_eq!(listen("b"), v4(2, 8080));
    assert_eq!(listen("c"), Listen::Address(IpAddr::V6(Ipv6Addr::LOCALHOST), 8081));
    assert_eq!(listen("d"), v4(1, 8081));
    assert_eq!(listen("e"), Listen::Localhost(8082));
    assert_eq!(listen("f"), Listen::Localhost(0));
    assert_eq!(listen("h"), v4(1, 0));
    assert_eq!(listen("i"), v4(3, 8080), "a mapped address is the IPv4 address");
    assert_eq!(listen("j"), Listen::Localhost(8083));
}

#[test]
fn defaults_reach_tunnels_that_do_not_say_otherwise() {
    let desired = loaded(&format!(
        "{EMULATED}[defaults]\nlisten_host = \"[::1]\"\nconnect_timeout = \"1h 30m\"\nkeepalive = \"0s\"\n[bastions.hub]\n\
         [targets]\nweb = {{ vm = \"vm\" }}\n[tunnels]\na = \"8080 -> web:80\"\n\
         [tunnels.web]\nlisten = 0\nport = 80\nconnect_timeout = \"500ms\"\nkeepalive = \"5 minutes\"\n"
    ));
    let a = &desired.tunnels[&name("a")];
    assert_eq!(a.listen, Listen::Address(Ipv6Addr::LOCALHOST.into(), 8080));
    assert_eq!(
        (a.behaviour.connect_timeout, a.behaviour.keepalive),
        (Duration::from_secs(5400), Duration::ZERO)
    );
    let web = &desired.tunnels[&name("web")];
    assert_eq!(web.target, name("web"), "the tunnel's own name");
    assert_eq!(
        (web.behaviour.connect_timeout, web.behaviour.keepalive),
        (Duration::from_millis(500), Duration::from_secs(300))
    );
}

#[test]
fn two_names_for_one_machine_are_one_machine() {
    let text = "[bastions.hub]\n[targets]\na = { vm = \"vm\" }\nb = { vm = \"VM\" }\n[emulator.targets]\nb = \"builtin:echo\"\n";
    let desired = loaded(&format!("{EMULATED}{text}"));
    assert_eq!(desired.targets.len(), 2);
    assert_eq!(desired.emulation.machines.len(), 1);
    assert_eq!(desired.emulation.machines[0].otherwise, Some(Service::Echo));
}

#[test]
fn a_workspace_without_a_usable_directory_name_still_has_one() {
    let named = |default_name| {
        let source = Source {
            layers: &layer(EMULATED),
            default_name,
            worktree: 0,
            variables: &Variables::default(),
            az: &AzCurrent::default(),
        };
        load(&source).desired.unwrap().workspace.as_str().to_owned()
    };
    assert_eq!(named("orders"), "orders");
    assert_eq!(named("Mon café"), "Mon-caf-");
    assert_eq!(named("  "), "workspace");
    assert_eq!(named(&"x".repeat(200)).len(), 63);
}

#[test]
fn a_refused_entry_is_still_declared() {
    let text = format!(
        "{EMULATED}[bastions.hub]\nmax_setups = 0\n[targets]\nweb = {{ vm = 5 }}\n[tunnels]\nweb = \"1 -> web:1\"\n"
    );
    assert_eq!(codes_of(&text), ["invalid-value", "wrong-type"], "one mistake, one diagnostic");
}

#[test]
fn an_escape_in_a_string_costs_the_exact_place_only() {
    let text = format!("{EMULATED}[tunnels]\nweb = \"8080 -\\u003e wbe:80\"\n");
    let source = Source {
        layers: &layer(&text),
        default_name: "orders",
        worktree: 0,
        variables: &Variables::default(),
        az: &AzCurrent::default(),
    };
    let found = load(&source).diagnostics;
    assert_eq!(&text[found[0].labels[0].range.clone()], "\"8080 -\\u003e wbe:80\"");
}
