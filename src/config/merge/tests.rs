//! Which layer wins, for every key and every choice.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::select;

use crate::config::{Layer, LayerKind, Loaded, Source, Variables, load};
use crate::model::AzCurrent;

const KINDS: [LayerKind; 4] =
    [LayerKind::User, LayerKind::Workspace, LayerKind::Environment, LayerKind::Local];

fn loaded(layers: &[(LayerKind, &str)]) -> Loaded {
    let layers: Vec<_> =
        layers.iter().map(|(kind, text)| Layer { kind: *kind, path: "bastion.toml", text }).collect();
    load(&Source {
        layers: &layers,
        default_name: "orders",
        worktree: 0,
        variables: &Variables::default(),
        az: &AzCurrent::default(),
    })
}

/// What holds in the end, by key.
fn values(layers: &[(LayerKind, &str)]) -> BTreeMap<String, String> {
    loaded(layers).values.into_iter().map(|value| (value.key, value.text)).collect()
}

/// Which layer a key's value comes from, when these have it.
fn winner(table: &str, key: &str, kinds: &[LayerKind]) -> String {
    let texts: Vec<String> = kinds.iter().map(|kind| format!("[{table}]\n{key} = \"{kind:?}\"\n")).collect();
    let layers: Vec<_> = kinds.iter().copied().zip(texts.iter().map(String::as_str)).collect();
    values(&layers)[&format!("{table}.{key}")].clone()
}

#[test]
fn of_any_two_layers_the_later_one_wins() {
    for (index, low) in KINDS.iter().enumerate() {
        for high in &KINDS[index + 1..] {
            assert_eq!(winner("defaults", "keepalive", &[*low, *high]), format!("\"{high:?}\""));
            if *low != LayerKind::User {
                assert_eq!(winner("azure", "resource_group", &[*low, *high]), format!("\"{high:?}\""));
                assert_eq!(winner("tunnels.x", "listen", &[*low, *high]), format!("\"{high:?}\""));
            }
        }
    }
}

#[test]
fn a_persons_credential_goes_over_the_workspaces_and_only_the_personal_layer_over_it() {
    use LayerKind::{Environment, Local, User, Workspace};
    for key in ["credential", "client_id"] {
        assert_eq!(winner("azure", key, &[User, Workspace]), "\"User\"");
        assert_eq!(winner("azure", key, &[User, Environment]), "\"User\"");
        assert_eq!(winner("azure", key, &[User, Workspace, Environment]), "\"User\"");
        assert_eq!(winner("azure", key, &[User, Local]), "\"Local\"");
        assert_eq!(winner("azure", key, &[User, Workspace, Environment, Local]), "\"Local\"");
    }
}

/// The keys that are left of an entry when one layer goes over another.
fn left(table: &str, base: &str, over: &str) -> Vec<String> {
    let (base, over) = (format!("[{table}.x]\n{base}"), format!("[{table}.x]\n{over}"));
    let all = values(&[(LayerKind::Workspace, &base), (LayerKind::Local, &over)]);
    let prefix = format!("{table}.x.");
    all.keys().filter_map(|key| key.strip_prefix(&prefix)).map(str::to_owned).collect()
}

#[test]
fn members_of_a_choice_exclude_each_other_across_layers() {
    let id = "id = 'i'";
    assert_eq!(
        left("bastions", "name = 'n'\nresource_group = 'r'\nmax_setups = 1", id),
        ["id", "max_setups"]
    );
    assert_eq!(left("bastions", id, "name = 'n'"), ["name"]);
    assert_eq!(left("bastions", id, "subscription = 's'"), ["subscription"]);
    assert_eq!(left("bastions", id, "max_setups = 1"), ["id", "max_setups"]);
    assert_eq!(left("bastions", "name = 'n'", "resource_group = 'r'"), ["name", "resource_group"]);

    let members = ["id = 'i'", "vm = 'v'", "vmss = 's'", "aks = 'a'", "ip = '10.0.0.4'", "via = 'h'"];
    for base in members {
        for over in members {
            let key = over.split(' ').next().unwrap();
            assert_eq!(left("targets", &format!("{base}\nbastion = 'b'"), over), {
                let mut keys = vec!["bastion", key];
                keys.sort_unstable();
                keys
            });
        }
    }
    assert_eq!(left("targets", "vm = 'v'\nresource_group = 'r'", "ip = '10.0.0.4'"), ["ip"]);
    assert_eq!(left("targets", "vm = 'v'\nresource_group = 'r'", "vmss = 's'"), ["resource_group", "vmss"]);
    assert_eq!(left("targets", "vmss = 's'\ninstance = 3", "vm = 'v'"), ["vm"]);
    assert_eq!(left("targets", "vmss = 's'\ninstance = 3", "vmss = 't'"), ["instance", "vmss"]);
    assert_eq!(left("targets", "vmss = 's'", "instance = 3"), ["instance", "vmss"]);
    assert_eq!(left("targets", "via = 'h'\nhost = 'a'", "vm = 'v'"), ["vm"]);
    assert_eq!(left("targets", "via = 'h'\nhost = 'a'", "host = 'b'"), ["host", "via"]);

    assert_eq!(left("tunnels", "target = 't'\nport = 1", "via = 'h'\nhost = 'a'"), ["host", "port", "via"]);
    assert_eq!(left("tunnels", "via = 'h'\nhost = 'a'\nport = 1", "target = 't'"), ["port", "target"]);
}

#[test]
fn two_members_in_one_layer_stay_and_are_refused() {
    let base = "[azure]\ncloud = \"emulator\"\n[bastions.hub]\n[targets]\nx = { id = 'i' }\n";
    let over = "[targets]\nx = { vm = 'v', ip = '10.0.0.4' }\n";
    let loaded = loaded(&[(LayerKind::Workspace, base), (LayerKind::Local, over)]);
    let codes: Vec<_> = loaded.diagnostics.iter().map(|found| found.code).collect();
    assert_eq!(codes, ["conflicting-keys"]);
}

#[test]
fn tables_merge_and_all_else_replaces() {
    let base = "[a.b]\nc = [1, 2]\nd = { e = 1, f = 2 }\ng = 1\n";
    let over = "[a]\nb = { c = [3], d = { f = 4 }, g = { h = 5 } }\n";
    let all = values(&[(LayerKind::Workspace, base), (LayerKind::Local, over)]);
    let all: Vec<_> = all.iter().map(|(key, text)| format!("{key} = {text}")).collect();
    assert_eq!(all, ["a.b.c = [3]", "a.b.d.e = 1", "a.b.d.f = 4", "a.b.g.h = 5"]);
}

#[test]
fn short_forms_expand_before_they_merge() {
    let short = "[tunnels]\nx = ' 8080 ->  web:80 '\n";
    let expect = |layers: &[(LayerKind, &str)], expected: &[&str]| {
        let all: Vec<_> = values(layers).iter().map(|(key, text)| format!("{key} = {text}")).collect();
        assert_eq!(all, expected);
    };
    let whole = ["tunnels.x.listen = 8080", "tunnels.x.port = 80", "tunnels.x.target = \"web\""];
    expect(&[(LayerKind::Workspace, short)], &whole);
    let long = "[tunnels.x]\nlisten = 9090\nkeepalive = '1s'\n";
    expect(
        &[(LayerKind::Workspace, short), (LayerKind::Local, long)],
        &["tunnels.x.keepalive = \"1s\"", "tunnels.x.listen = 9090", whole[1], whole[2]],
    );
    expect(
        &[(LayerKind::Workspace, long), (LayerKind::Local, short)],
        &["tunnels.x.keepalive = \"1s\"", whole[0], whole[1], whole[2]],
    );
    for odd in ["8080", "8080 -> web", "8080 -> :80", "8080 -> a -> b:1", "8080 => web:80", "1 -> web:http"] {
        let text = format!("[tunnels]\nx = '{odd}'\n");
        expect(&[(LayerKind::Workspace, &text)], &[&format!("tunnels.x = \"{odd}\"")]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    /// A map is the model: who writes last is read.
    #[test]
    fn any_layers_hold_what_was_written_last(
        written in prop::collection::vec((0..4_usize, select(vec!["a", "b.c", "b.d", "b.e.f", "g"]), 0..9_u8), 0..20)
    ) {
        let mut texts = vec![String::new(); 4];
        let mut model = BTreeMap::new();
        for (layer, kind) in KINDS.iter().enumerate() {
            let mut own = BTreeMap::new();
            own.extend(written.iter().filter(|(at, ..)| *at == layer).map(|(_, key, value)| (*key, *value)));
            for (key, value) in own {
                texts[layer].push_str(&format!("defaults.{key} = {value}\n"));
                model.insert(format!("defaults.{key}"), value.to_string());
            }
            prop_assert_eq!(KINDS[layer], *kind);
        }
        let layers: Vec<_> = KINDS.iter().copied().zip(texts.iter().map(String::as_str)).collect();
        prop_assert_eq!(values(&layers), model);
    }
}
