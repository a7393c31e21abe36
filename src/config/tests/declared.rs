//! What the keys of behaviour, exposure, identity and place lower to.

use super::*;
use crate::model::{CredentialKind, OnOutage, OnPortTaken, Probe};

const WEB: &str = "[bastions.hub]\n[targets]\nweb = { vm = \"vm\" }\n";

fn tunnel(text: &str, of: &str) -> Tunnel {
    loaded(&format!("{EMULATED}{text}")).tunnels.remove(&name(of)).unwrap()
}

#[test]
fn behaviour_comes_from_the_tunnel_then_the_defaults_then_nowhere() {
    let desired = loaded(include_str!("../../../tests/config/valid/behaviour.toml"));
    let behaviour = |of: &str| desired.tunnels[&name(of)].behaviour.clone();
    let seconds = Duration::from_secs;
    let defaults = Behaviour {
        idle_close: seconds(1800),
        max_lifetime: seconds(8 * 3600),
        drain: seconds(300),
        on_outage: OnOutage::Refuse,
        max_connections: 100,
        probe: Probe::None,
        lazy: true,
        prewarm: 3,
        prewarm_dial: true,
        backoff: (seconds(1), seconds(10)),
        on_port_taken: OnPortTaken::Next,
        ..Behaviour::default()
    };
    assert_eq!(behaviour("a"), defaults);
    let own = Behaviour { backoff: (seconds(1), seconds(3600)), ..Behaviour::default() };
    assert_eq!(behaviour("web"), own, "the first wait is that of the defaults");
    let probe = Probe::Http("/health?deep=1".into());
    assert_eq!(behaviour("b"), Behaviour { probe, backoff: (seconds(10), seconds(10)), ..defaults });
}

#[test]
fn a_bastion_has_its_own_identity_or_that_of_azure() {
    let desired = loaded(include_str!("../../../tests/config/valid/public.toml"));
    assert_eq!(desired.cloud, Cloud::Public);
    let hub = &desired.bastions[&name("hub")];
    let azure = Identity {
        tenant: Some("contoso.onmicrosoft.com".to_owned()),
        credential: CredentialKind::AzureCli,
        client_id: None,
    };
    assert_eq!((&hub.identity, hub.limits), (&azure, Limits::default()));
    let spoke = &desired.bastions[&name("spoke")];
    let own = Identity {
        tenant: Some("66666666-7777-8888-9999-000000000000".to_owned()),
        credential: CredentialKind::ManagedIdentity,
        client_id: Some("aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee".to_owned()),
    };
    assert_eq!((&spoke.identity, spoke.limits), (&own, Limits { sessions: 20, setups: 4 }));
}

#[test]
fn every_cloud_has_its_word() {
    let ids = include_str!("../../../tests/config/valid/only-resource-ids.toml");
    let cloud = |word: &str| loaded(&ids.replace("china", word)).cloud;
    assert_eq!(cloud("china"), Cloud::China);
    assert_eq!(cloud("us-government"), Cloud::UsGovernment);
    assert_eq!(cloud("public"), Cloud::Public);
    assert_eq!(cloud("emulator"), Cloud::Emulator);
    assert_eq!(loaded(&ids.replace("cloud = \"china\"", "")).cloud, Cloud::Public);
}

#[test]
fn an_offset_moves_fixed_ports_only() {
    let desired = loaded(include_str!("../../../tests/config/valid/port-offset.toml"));
    let listen = |of: &str| desired.tunnels[&name(of)].listen.to_string();
    let all = ["a", "b", "c", "d", "e", "f"].map(listen);
    let expected = [
        "localhost:9080",
        "127.0.0.1:9081",
        "localhost:0",
        "localhost:7080",
        "[::1]:65535",
        "localhost:14080",
    ];
    assert_eq!(all, expected);
}

#[test]
fn what_is_exposed_listens_where_it_says() {
    let desired = loaded(include_str!("../../../tests/config/valid/exposed.toml"));
    let listen = |of: &str| desired.tunnels[&name(of)].listen.to_string();
    let all = ["a", "b", "c", "d", "e", "f", "g"].map(listen);
    let expected = [
        "localhost:8080",
        "0.0.0.0:8081",
        "[::]:8082",
        "192.168.1.5:8083",
        "127.0.0.1:8084",
        "0.0.0.0:0",
        "10.0.0.4:8080",
    ];
    assert_eq!(all, expected);
}

#[test]
fn profiles_and_variables_are_kept() {
    let desired = loaded(include_str!("../../../tests/config/valid/profiles-and-env.toml"));
    let db = &desired.tunnels[&name("db")];
    assert_eq!(db.profiles, BTreeSet::from([name("ci.nightly"), name("debug")]));
    assert_eq!(db.env["DATABASE_URL"], "postgres://app@{addr}/orders");
    assert_eq!(db.env.len(), 4);
    let every = &desired.tunnels[&name("every")];
    assert_eq!((every.profiles.len(), every.env.len()), (0, 0));
}

#[test]
fn a_tunnel_that_is_not_enabled_is_not_declared() {
    let desired = loaded(include_str!("../../../tests/config/valid/disabled.toml"));
    let names: Vec<&str> = desired.tunnels.keys().map(Name::as_str).collect();
    assert_eq!(names, ["again", "on"]);
}

#[test]
fn a_short_form_is_exposed_by_a_layer_that_says_so() {
    let short = format!("{EMULATED}{WEB}[tunnels]\nweb = \"0.0.0.0:8080 -> web:80\"\n");
    let layers = |local: &'static str| {
        let loaded = load(&Source {
            layers: &[
                Layer { kind: LayerKind::Workspace, path: "bastion.toml", text: &short },
                Layer { kind: LayerKind::Local, path: "bastion.local.toml", text: local },
            ],
            default_name: "orders",
            worktree: 0,
            variables: &Variables::default(),
            az: &AzCurrent::default(),
        });
        let codes: Vec<_> = loaded.diagnostics.iter().map(|diagnostic| diagnostic.code).collect();
        (codes, loaded.desired.map(|desired| desired.tunnels[&name("web")].listen.to_string()))
    };
    assert_eq!(layers(""), (vec!["expose"], None));
    assert_eq!(layers("tunnels.web.expose = true"), (vec![], Some("0.0.0.0:8080".to_owned())));
}

#[test]
fn variables_may_fill_what_is_no_string() {
    let text = format!(
        "{EMULATED}{WEB}[tunnels.web]\nlisten = 0\nport = \"${{BASTION_PORT}}\"\nexpose = \"${{BASTION_NO:-false}}\"\n\
         max_connections = \"${{BASTION_MOST:-5}}\"\nprobe = \"${{BASTION_PROBE:-none}}\"\n"
    );
    let variables = [("BASTION_PORT".to_owned(), "80".to_owned())].into_iter().collect();
    let source = Source {
        layers: &layer(&text),
        default_name: "orders",
        worktree: 0,
        variables: &variables,
        az: &AzCurrent::default(),
    };
    let Tunnel { port: found, behaviour, .. } =
        load(&source).desired.unwrap().tunnels.remove(&name("web")).unwrap();
    assert_eq!((found, behaviour.max_connections, behaviour.probe), (port(80), 5, Probe::None));
}

#[test]
fn defaults_are_told_as_a_file_would_say_them() {
    let text = format!("{EMULATED}{WEB}[tunnels.\"we.b\"]\nlisten = 0\ntarget = \"web\"\nport = 80\n");
    let all = defaults_of(&loaded(&text));
    let told: BTreeMap<&str, &str> = all.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(told.len(), all.len(), "a key is told twice");
    assert_eq!(told["name"], "\"my-shop\"");
    assert_eq!(told["azure.cloud"], "\"emulator\"");
    assert_eq!(told["bastions.hub.max_setups"], "32");
    assert_eq!(told["bastions.hub.credential"], "\"auto\"");
    assert_eq!(told["targets.web.bastion"], "\"hub\"");
    assert_eq!(told["tunnels.\"we.b\".connect_timeout"], "\"20s\"");
    assert_eq!(told["tunnels.\"we.b\".backoff.initial"], "\"800ms\"");
    // Written into the file they change nothing.
    let mut again = text.clone();
    let own = |(key, value): &(String, String)| {
        let rest = key.strip_prefix("tunnels.\"we.b\".").filter(|key| *key != "target")?;
        Some(format!("{rest} = {value}\n"))
    };
    again.extend(all.iter().filter_map(own));
    assert_eq!(loaded(&again), loaded(&text));
    let long = Duration::from_millis(5_400_500);
    let text = format!("{EMULATED}{WEB}[tunnels.web]\nlisten = 0\nport = 80\ndrain = \"1h 30m 500ms\"\n");
    let all = defaults_of(&loaded(&text));
    let drain = &all.iter().find(|(key, _)| key == "tunnels.web.drain").unwrap().1;
    let again = text.replace("\"1h 30m 500ms\"", drain);
    assert_eq!(tunnel(&again.replace(EMULATED, ""), "web").behaviour.drain, long, "{drain}");
}

#[test]
fn every_probe_has_its_word() {
    let probe = |word: &str| {
        let text = format!("{WEB}[tunnels.web]\nlisten = 1\nport = 80\nprobe = \"{word}\"\n");
        tunnel(&text, "web").behaviour.probe
    };
    for word in ["session", "none", "connect", "banner", "tls", "http:/", "http:/a%20b?c=d&e"] {
        assert_eq!(probe(word).to_string(), word);
    }
    for wrong in
        ["http:", "http:health", "http://host/path", "http:/a b", "http:/a#b", "http:/ä", "https:/a", "ssh"]
    {
        let text = format!("{EMULATED}{WEB}[tunnels.web]\nlisten = 1\nport = 80\nprobe = \"{wrong}\"\n");
        let found = codes_of(&text);
        let expected = if wrong == "ssh" { "not-supported-yet" } else { "invalid-value" };
        assert_eq!(found, [expected], "{wrong}");
    }
}

#[test]
fn a_port_that_nobody_names_is_ours_to_choose() {
    let tunnels = loaded(include_str!("../../../tests/config/valid/auto.toml")).tunnels;
    assert_eq!(tunnels.len(), 3);
    for tunnel in tunnels.values() {
        assert_eq!((tunnel.listen, tunnel.auto), (Listen::Localhost(0), true));
    }
    let host = "[defaults]\nlisten_host = \"127.0.0.2\"\n[tunnels]\na = { target = \"web\", port = 80 }\n";
    let listen = tunnel(&format!("{WEB}{host}"), "a").listen;
    assert_eq!(listen, Listen::Address([127, 0, 0, 2].into(), 0));
}

#[test]
fn a_linked_worktree_has_ports_of_its_own() {
    let text = format!(
        "{EMULATED}{WEB}[defaults]\nport_offset = 1\nworktree_offset = 20000\n[tunnels]\na = \"8080 -> web:80\"\n\
         b = {{ listen = \"127.0.0.1:9090\", target = \"web\", port = 80, port_offset = 0 }}\n\
         c = \"0 -> web:80\"\nd = \"auto -> web:80\"\n"
    );
    let layers = [Layer { kind: LayerKind::Workspace, path: "bastion.toml", text: &text }];
    let variables = Variables::default();
    let in_worktree = |worktree| Source {
        layers: &layers,
        default_name: "orders",
        worktree,
        variables: &variables,
        az: &AzCurrent::SignedOut,
    };
    let ports = |worktree| -> Vec<u16> {
        let tunnels = load(&in_worktree(worktree)).desired.unwrap().tunnels;
        tunnels.values().map(|tunnel| tunnel.listen.port()).collect()
    };
    assert_eq!(ports(0), [8_081, 9_090, 0, 0]);
    assert_eq!(ports(2), [48_081, 49_090, 0, 0]);
    let source = in_worktree(3);
    let wrong: Vec<String> =
        load(&source).diagnostics.iter().map(|found| found.render(&source, false)).collect();
    assert_eq!(wrong.len(), 2);
    insta::assert_snapshot!(wrong[0], @r#"
    error[port-out-of-range]: in the git worktree with the number 3 this is port 68081, which is out of range
      --> bastion.toml:10:6
       |
     7 | port_offset = 1
       |               - added to it
     8 | worktree_offset = 20000
       |                   ----- added to it 3 times
     9 | [tunnels]
    10 | a = "8080 -> web:80"
       |      ^^^^ ports here are 1 to 65535
    "#);
}
