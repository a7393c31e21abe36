//! What only the user's own configuration holds.

use super::super::keys::{CLOUD, Kind, NETWORK, PERSONAL, USER, USER_ONLY};
use super::super::user_schema;
use super::*;
use crate::model::{CloudDefinition, NetworkRules, ProxyRule, ProxyUrl};

const EXAMPLE: &str = include_str!("../../../examples/config.toml");
const REFERENCE: &str = include_str!("../../../docs/configuration.md");

/// A workspace in this cloud, under this configuration of the user's own.
fn under(own: &str, cloud: &str) -> Loaded {
    let text = format!("[azure]\ncloud = \"{cloud}\"\nsubscription = \"s\"\nresource_group = \"g\"\n");
    let layers = [
        Layer { kind: LayerKind::User, path: "config.toml", text: own },
        Layer { kind: LayerKind::Workspace, path: "bastion.toml", text: &text },
    ];
    load(&Source {
        layers: &layers,
        default_name: "orders",
        worktree: 0,
        variables: &Variables::default(),
        az: &AzCurrent::default(),
    })
}

#[test]
fn a_workspace_names_a_cloud_and_the_user_says_what_it_is() {
    let own = "[clouds.lab]\nresource_manager = \"https://ARM.lab.example:8443/\"\n\
               authority = \"https://login.lab.example/adfs/\"\nca_file = \"lab.pem\"\n";
    let desired = under(own, "lab").desired.unwrap();
    assert_eq!(desired.cloud.name(), "lab");
    let expected = CloudDefinition {
        name: name("lab"),
        resource_manager: "arm.lab.example:8443".to_owned(),
        authority: "https://login.lab.example/adfs".to_owned(),
        audience: "https://arm.lab.example:8443".to_owned(),
        ca_file: Some("lab.pem".into()),
    };
    assert_eq!(desired.cloud, Cloud::Defined(Box::new(expected)));
    // Others do not see it, and it is not guessed.
    assert_eq!(under("", "lab").diagnostics[0].code, "unknown-cloud");
}

#[test]
fn the_network_is_the_users() {
    assert_eq!(under("", "public").network, NetworkRules::default());
    let own = "[network]\nproxy = \"none\"\nno_proxy = [\"a\", \".b\"]\nca_file = \"x.pem\"\n";
    let rules = under(own, "public").network;
    let expected = NetworkRules {
        proxy: ProxyRule::Direct,
        no_proxy: Some("a,.b".to_owned()),
        ca_file: Some("x.pem".into()),
    };
    assert_eq!(rules, expected);
    assert_eq!(under("network.proxy = \"system\"", "public").network.proxy, ProxyRule::System);
    let url = "http://me:secret@proxy:3128";
    let rules = under(&format!("[network]\nproxy = \"{url}\"\nno_proxy = \"\"\n"), "public").network;
    assert_eq!(rules.proxy, ProxyRule::Through(ProxyUrl::new(url)));
    assert_eq!(rules.no_proxy.as_deref(), Some(""), "nothing, whatever NO_PROXY says");
    assert!(!format!("{rules:?}").contains("secret"), "{rules:?}");
}

#[test]
fn no_mistake_shows_a_proxys_password() {
    for own in [
        "[network]\nproxy = \"http://me:hunter2@pro xy\"\n",
        "[network]\nproxy = \"me:hunter2@proxy\"\n",
        "[network]\nproxi = \"http://me:hunter2@proxy\"\n",
        "network = { proxy = \"https://me:hunter2@proxy\" }\n",
        "[network]\nproxy = http://me:hunter2@proxy\n",
        "[network]\nproxy = [\"http://me:hunter2@proxy\"]\n",
        "[clouds.lab]\nresource_manager = \"http://management.lab.example\"\nauthority = \"https://me:hunter2@lab\"\n",
    ] {
        let text = "[azure]\ncloud = \"emulator\"\n";
        let layers = [
            Layer { kind: LayerKind::User, path: "config.toml", text: own },
            Layer { kind: LayerKind::Workspace, path: "bastion.toml", text },
        ];
        let source = Source {
            layers: &layers,
            default_name: "orders",
            worktree: 0,
            variables: &Variables::default(),
            az: &AzCurrent::default(),
        };
        let Loaded { diagnostics, values, .. } = load(&source);
        assert!(!diagnostics.is_empty(), "{own}");
        for found in diagnostics {
            assert!(!found.render(&source, false).contains("hunter2"), "{}", found.render(&source, false));
            assert!(!format!("{found:?}").contains("hunter2"), "{found:?}");
        }
        let shown = values.iter().find(|value| value.key == "network.proxy");
        assert!(!shown.is_some_and(|value| value.text.contains("hunter2")), "{shown:?}");
    }
}

#[test]
fn a_mistake_of_the_user_refuses_every_workspace() {
    assert!(under("[network]\nproxy = \"ftp://x\"\n", "emulator").desired.is_none());
}

#[test]
fn the_example_of_an_own_configuration_sets_every_key() {
    let loaded = under(EXAMPLE, "lab");
    assert_eq!(loaded.diagnostics, []);
    let table: toml::Table = EXAMPLE.parse().unwrap();
    for key in USER.known {
        assert!(table.contains_key(key.name), "{}", key.name);
    }
    for (keys, at) in
        [(&CLOUD, &table["clouds"]["lab"]), (&NETWORK, &table["network"]), (&PERSONAL, &table["azure"])]
    {
        for key in keys.known {
            assert!(at.get(key.name).is_some(), "{} of {}", key.name, keys.place);
        }
    }
}

#[test]
fn the_reference_has_every_key_of_an_own_configuration() {
    for keys in [&CLOUD, &NETWORK] {
        let heading = format!("\n### `{}`\n", keys.place);
        let at = REFERENCE.find(&heading).unwrap_or_else(|| panic!("no section {}", keys.place));
        let rest = &REFERENCE[at + heading.len()..];
        let section =
            &rest[..rest.find("\n## ").into_iter().chain(rest.find("\n### ")).min().unwrap_or(rest.len())];
        for key in keys.known {
            assert!(section.contains(&format!("| `{}` |", key.name)), "{} of {}", key.name, keys.place);
        }
    }
}

#[test]
fn the_schema_of_an_own_configuration_says_what_the_table_says() {
    let schema: serde_json::Value = serde_json::from_str(&user_schema()).unwrap();
    let cloud = &schema["properties"]["clouds"]["additionalProperties"];
    let keys: Vec<&str> = cloud["properties"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys.len(), CLOUD.known.len(), "{keys:?}");
    assert!(schema["properties"].get("tunnels").is_none() && schema["properties"].get("peers").is_none());
    assert_eq!(schema["properties"]["network"]["additionalProperties"], false);
    // What no workspace may hold is here or comes later, and the words of `proxy` are taken.
    for key in USER_ONLY {
        assert!(USER.get(key).is_some() || USER.later.contains(key), "{key}");
    }
    let Some(Kind::Either([Kind::Words(words), _])) = NETWORK.get("proxy").map(|key| &key.takes) else {
        panic!("proxy takes words or a URL")
    };
    for word in *words {
        assert_eq!(under(&format!("network.proxy = \"{word}\""), "emulator").diagnostics, [], "{word}");
    }
}
