//! Where values come from, and how they are written.

use crate::config::{Layer, LayerKind, Source, Value, Variables, load};
use crate::model::AzCurrent;

fn values(layers: &[Layer<'_>], variables: &Variables) -> Vec<Value> {
    load(&Source { layers, default_name: "orders", worktree: 0, variables, az: &AzCurrent::default() }).values
}

#[test]
fn a_value_names_the_line_that_it_came_from() {
    let layers = [
        Layer {
            kind: LayerKind::User,
            path: "/home/me/config.toml",
            text: "\n[defaults]\nkeepalive = \"1s\"\n",
        },
        Layer {
            kind: LayerKind::Workspace,
            path: "bastion.toml",
            text: "name = \"a\"\r\nazure.cloud = '''\nx'''",
        },
        Layer {
            kind: LayerKind::Local,
            path: "bastion.local.toml",
            text: "# one\n# two\nname = \"${BASTION_A:-b}${USER}${USER}\"\n",
        },
    ];
    let variables = [("USER".to_owned(), "me".to_owned())].into_iter().collect();
    let values = values(&layers, &variables);
    let shown: Vec<_> =
        values.iter().map(|value| format!("{} = {} ({})", value.key, value.text, value.origin)).collect();
    assert_eq!(
        shown,
        [
            "defaults.keepalive = \"1s\" (/home/me/config.toml:3)",
            "name = \"bmeme\" (bastion.local.toml:3 with BASTION_A, USER)",
            "azure.cloud = \"x\" (bastion.toml:2)",
        ]
    );
    let place = values[2].place.clone().unwrap();
    let whole: Vec<&str> = layers.iter().map(|layer| layer.text).collect();
    assert_eq!(&whole.join("\n")[place], "'''\nx'''");
}

#[test]
fn values_are_written_as_toml_and_steer_no_terminal() {
    let text = "a = 0x1F\nb = 1_000\nc = [1.5, true, 1979-05-27, { d = 'x', \"e f\" = {} }]\ng = \"\\u001b\\\"\\\\\\n\\u202e\"\n\"h.i\" = {}\n";
    let layers = [Layer { kind: LayerKind::Workspace, path: "\u{1b}", text }];
    let shown: Vec<_> = values(&layers, &Variables::default())
        .iter()
        .map(|value| format!("{} = {}", value.key, value.text))
        .collect();
    assert_eq!(
        shown,
        [
            "a = 0x1F",
            "b = 1000",
            "c = [1.5, true, 1979-05-27, { d = \"x\", \"e f\" = {} }]",
            "g = \"\\u001B\\\"\\\\\\n\\u202E\"",
            "\"h.i\" = {}",
        ]
    );
    let origin = values(&layers, &Variables::default())[0].origin.to_string();
    assert!(!origin.contains('\u{1b}'), "{origin:?}");
}
