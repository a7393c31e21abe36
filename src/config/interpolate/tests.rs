//! What becomes of strings, and that no text leads astray.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::config::{Layer, Loaded, Source, load};
use crate::model::AzCurrent;

fn variables(all: &[(&str, &str)]) -> Variables {
    all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The workspace's name, which is a string like any other, in a layer of this kind.
fn filled(kind: LayerKind, text: &str, variables: &Variables) -> Result<String, Vec<&'static str>> {
    let mut found = Vec::new();
    let mut named = Vec::new();
    let mut filling = Filling { kind, variables, room: MAX_BYTES, found: &mut found };
    let value = filling.text(text, Form::Escaped, &(0..0), &mut named);
    if let Value::Text(text, _) = value {
        return Ok(text);
    }
    let Value::Refused(unset) = value else { panic!("{value:?}") };
    Err(found.iter().chain(&unset).map(|found| found.code).collect())
}

#[test]
fn names_defaults_and_literals() {
    let set = variables(&[("BASTION_A", "a"), ("BASTION_EMPTY", ""), ("BASTION_NEST", "${BASTION_A} $${x}")]);
    for (text, expected) in [
        ("${BASTION_A}", "a"),
        ("<${BASTION_A}${BASTION_A}>", "<aa>"),
        ("${BASTION_A:-x}", "a"),
        ("${BASTION_B:-x y}", "x y"),
        ("${BASTION_B:-}", ""),
        ("${BASTION_B:-:-}", ":-"),
        ("${BASTION_EMPTY}", ""),
        ("${BASTION_EMPTY:-x}", "x"),
        ("$${BASTION_A}", "${BASTION_A}"),
        ("$$${BASTION_A}", "$${BASTION_A}"),
        ("$${${BASTION_A}}", "${a}"),
        ("${BASTION_NEST}", "${BASTION_A} $${x}"),
        ("$BASTION_A $ {} $$", "$BASTION_A $ {} $$"),
        ("ö${BASTION_A}ö", "öaö"),
    ] {
        assert_eq!(filled(LayerKind::Workspace, text, &set).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn what_is_no_variable_is_refused() {
    let none = Variables::default();
    for text in ["${", "${}", "${1}", "${A", "${A-x}", "${A:x}", "${A?}", "${ A}", "${Ä}", "${A:-${B}}"] {
        assert_eq!(filled(LayerKind::User, text, &none), Err(vec!["invalid-interpolation"]), "{text}");
    }
    let all = ["invalid-interpolation", "foreign-variable", "unset-variable"];
    assert_eq!(filled(LayerKind::Local, "${} ${PATH:-x} ${USER}", &none), Err(all.to_vec()));
}

#[test]
fn only_the_user_may_name_every_variable() {
    let set =
        variables(&[("PATH", "p"), ("BASTION_", "b"), ("bastion_x", "x"), ("AZURE_CLIENT_SECRET", "s")]);
    for (name, _) in [("PATH", ""), ("BASTION_", ""), ("bastion_x", ""), ("AZURE_CLIENT_SECRET", "")] {
        let text = format!("${{{name}}}");
        assert!(filled(LayerKind::User, &text, &set).is_ok(), "{name}");
        for kind in [LayerKind::Workspace, LayerKind::Environment, LayerKind::Local] {
            assert_eq!(filled(kind, &text, &set), Err(vec!["foreign-variable"]), "{name}");
        }
    }
    for name in ["BASTION_X", "AZURE_SUBSCRIPTION_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_ID", "USER", "HOME"] {
        let set = variables(&[(name, "value")]);
        assert_eq!(filled(LayerKind::Workspace, &format!("${{{name}}}"), &set).as_deref(), Ok("value"));
    }
}

#[test]
fn a_small_file_does_not_become_a_large_one() {
    let set = variables(&[("BASTION_A", &"x".repeat(MAX_BYTES / 2))]);
    assert!(filled(LayerKind::Workspace, "${BASTION_A}${BASTION_A}", &set).is_ok());
    let thrice = filled(LayerKind::Workspace, "${BASTION_A}${BASTION_A}${BASTION_A}", &set);
    assert_eq!(thrice, Err(vec!["too-large"]));
}

#[test]
fn a_file_mentions_what_its_strings_name() {
    let text = "# ${NO}\na = \"${A} ${B:-x} $${C} ${PATH\"\n[t]\nb = [\"\\u0024{D}\", { c = '${E}' }]\n\"${F}\" = 1\n= broken";
    let names: Vec<String> = mentioned(text).into_iter().collect();
    assert_eq!(names, ["A", "B", "D", "E"]);
}

#[test]
fn variables_do_not_show_their_values() {
    let set = variables(&[("BASTION_TOKEN", "hush")]);
    assert_eq!(format!("{set:?}"), "{\"BASTION_TOKEN\"}");
}

fn nearly() -> impl Strategy<Value = String> {
    let words = ["$", "${", "}", ":-", "BASTION_A", "PATH", "ö", " ", "\u{1b}", "x", "$${", "9", "->", ":80"];
    prop::collection::vec(select(words.to_vec()), 0..12).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn the_pieces_are_the_text(text in nearly()) {
        let mut end = 0;
        for piece in pieces(&text) {
            let range = match &piece {
                Piece::Text(range) | Piece::Malformed(range, _) => range.clone(),
                Piece::Variable { whole, name, default } => {
                    for part in [Some(name), default.as_ref()].into_iter().flatten() {
                        prop_assert!(whole.start < part.start && part.end < whole.end);
                        prop_assert!(text.get(part.clone()).is_some());
                    }
                    whole.clone()
                }
            };
            let gap = text.get(end..range.start).unwrap();
            prop_assert!(gap.is_empty() || gap == "$", "{gap:?} is lost");
            prop_assert!(text.get(range.clone()).is_some());
            end = range.end;
        }
        prop_assert_eq!(end, text.len());
    }

    #[test]
    fn no_string_panics_and_every_place_lies_inside(text in nearly(), other in nearly(), value in nearly()) {
        let base = format!("name = '{text}'\n[tunnels]\nweb = '{other}'\n[targets.web]\nvm = \"{text}\"\n");
        let local = format!("[tunnels]\nweb = {{ listen = '{text}' }}\n");
        let layers = [
            Layer { kind: LayerKind::User, path: "user", text: &format!("[defaults]\nkeepalive = '{other}'") },
            Layer { kind: LayerKind::Workspace, path: "base", text: &base },
            Layer { kind: LayerKind::Local, path: "local", text: &local },
        ];
        let set = variables(&[("BASTION_A", &value)]);
        let source = Source { layers: &layers, default_name: "orders", worktree: 0, variables: &set, az: &AzCurrent::default() };
        let Loaded { diagnostics, values, .. } = load(&source);
        let whole: Vec<&str> = layers.iter().map(|layer| layer.text).collect();
        let whole = whole.join("\n");
        for diagnostic in &diagnostics {
            for label in &diagnostic.labels {
                prop_assert!(whole.get(label.range.clone()).is_some(), "{:?}", diagnostic);
            }
            prop_assert!(diagnostic.render(&source, false).contains(diagnostic.code));
        }
        for value in values {
            let text = format!("{} = {}", value.key, value.text);
            prop_assert!(text.parse::<toml::Table>().is_ok(), "{}", text);
        }
    }
}
