//! The table of keys against what is read, what is shown and what is written about it.

use super::super::keys::{ALL, AZURE, BACKOFF, Key, Keys, Kind, ROOT, USER_ONLY};
use super::*;
use crate::model::CredentialKind;

/// Values of every type, as TOML has them.
const VALUES: [(&str, &str); 7] = [
    ("string", "\"x\""),
    ("number", "1"),
    ("boolean", "true"),
    ("fraction", "1.5"),
    ("date", "1979-05-27"),
    ("array", "[1979-05-27]"),
    ("table", "{}"),
];

fn accepts(kind: &Kind, value: &str) -> bool {
    match kind {
        Kind::Text | Kind::Name | Kind::Pattern(_) | Kind::Words(_) | Kind::Credential | Kind::Duration => {
            value == "string"
        }
        Kind::Number(_) => value == "number",
        Kind::Flag => value == "boolean",
        Kind::Either(kinds) => kinds.iter().any(|kind| accepts(kind, value)),
        // The array above holds what no array of ours does.
        Kind::List(_) => false,
        Kind::Table(_) | Kind::Named(..) => value == "table",
    }
}

/// A file in which a table of this kind holds a key with this value.
fn file(keys: &Keys, key: &str, value: &str) -> String {
    let table = match keys.place {
        "the top of the file" => return format!("{key} = {value}\n"),
        "backoff" => "[defaults.backoff]",
        "[bastions.NAME]" => "[bastions.x]",
        "[targets]" => "[targets.x]",
        "[tunnels.NAME]" => "[tunnels.x]",
        "[emulator.bastions.NAME]" => "[emulator.bastions.x]",
        place => place,
    };
    // Elsewhere, what is missing would be a mistake of its own.
    let cloud = if keys.place == AZURE.place { "" } else { "azure.cloud = \"emulator\"\n" };
    format!("{cloud}{table}\n{key} = {value}\n")
}

#[test]
fn every_key_takes_the_types_that_the_table_says() {
    for keys in ALL {
        for key in keys.known {
            for (kind, value) in VALUES {
                // What an instance or a fault's size takes as a string is refused for what it says, or later.
                let odd = (key.name == "instance" && kind == "string") || keys.place == ROOT.place;
                if odd && key.name != "name" {
                    continue;
                }
                let wrong = codes_of(&file(keys, key.name, value)).contains(&"wrong-type");
                assert_eq!(!wrong, accepts(&key.takes, kind), "{} in {}: a {kind}", key.name, keys.place);
            }
        }
    }
}

#[test]
fn keys_of_later_versions_are_refused_by_name() {
    for keys in ALL {
        assert!(keys.known.iter().all(|key| !keys.later.contains(&key.name)), "{}", keys.place);
        for key in keys.later {
            let found = codes_of(&file(keys, key, "1"));
            assert!(found.contains(&"not-supported-yet"), "{key} in {}: {found:?}", keys.place);
            assert!(!found.contains(&"unknown-key"), "{key} in {}: {found:?}", keys.place);
        }
    }
}

/// The words of a key that takes one of several, and a file that says them.
#[test]
fn every_word_of_the_table_is_taken_and_no_other() {
    let mut all = Vec::new();
    for keys in ALL {
        for key in keys.known {
            if let Kind::Words(words) | Kind::Either([Kind::Words(words), Kind::Name | Kind::Pattern(_)]) =
                &key.takes
            {
                all.extend(words.iter().map(|word| (*keys, key, *word)));
            }
            if let Kind::Credential = &key.takes {
                let built = CredentialKind::ALL.iter().filter(|(_, kind)| kind.is_built());
                all.extend(built.map(|(word, _)| (*keys, key, *word)));
            }
        }
    }
    assert!(all.len() > 30, "{}", all.len());
    let refused = |keys: &Keys, key: &Key, word: &str| {
        let found = codes_of(&file(keys, key.name, &format!("\"{word}\"")));
        ["invalid-value", "unknown-cloud", "not-supported-yet"].iter().any(|code| found.contains(code))
    };
    for (keys, key, word) in all {
        assert!(!refused(keys, key, word), "{word} for {}", key.name);
        assert!(refused(keys, key, "frobnicate"), "{}", key.name);
    }
}

#[test]
fn the_limits_of_numbers_are_those_of_the_table() {
    for keys in ALL {
        for key in keys.known {
            let Kind::Number(limits) = &key.takes else { continue };
            let (least, most) = (*limits.start(), *limits.end());
            let refused = |number: i64| {
                let found = codes_of(&file(keys, key.name, &number.to_string()));
                found.contains(&"invalid-value") || found.contains(&"port-out-of-range")
            };
            let place = keys.place;
            // An instance belongs to a scale set; alone it is looked at no further.
            if key.name == "instance" {
                continue;
            }
            assert!(!refused(least) && !refused(most), "{} in {place}", key.name);
            assert!(refused(least - 1), "{} in {place}", key.name);
            assert!(most == i64::MAX || refused(most + 1), "{} in {place}", key.name);
        }
    }
}

/// The part of the reference about a table: from its heading to the next one.
fn section<'a>(reference: &'a str, keys: &Keys) -> &'a str {
    let heading = match keys.place {
        "the top of the file" => "Top level",
        "[tunnels.NAME]" => "`[tunnels]`",
        "backoff" => "`backoff`",
        place => &format!("`{place}`"),
    };
    let at = ["\n## ", "\n### "]
        .iter()
        .find_map(|level| reference.find(&format!("{level}{heading}\n")))
        .unwrap_or_else(|| panic!("no section {heading}"));
    let rest = &reference[at + 1..];
    let end = ["\n## ", "\n### "].iter().filter_map(|level| rest.find(level)).min();
    &rest[..end.unwrap_or(rest.len())]
}

#[test]
fn the_reference_has_every_key_in_its_place() {
    let reference = include_str!("../../../docs/configuration.md");
    for keys in ALL {
        for key in keys.known {
            // The tables of the top have sections of their own.
            let has_keys = matches!(key.takes, Kind::Table(_) | Kind::Named(..) | Kind::List(_));
            // Tables have sections of their own.
            let written = if keys.place == ROOT.place && has_keys {
                reference.contains(&format!("\n## `[{}", key.name))
            } else if keys.place == "[emulator]" && has_keys {
                reference.contains(&format!("[emulator.{}", key.name))
            } else {
                let cells = section(reference, keys).lines().filter(|line| line.starts_with("| `"));
                let mut names = cells.filter_map(|row| row.split('|').nth(1));
                names.any(|names| names.contains(&format!("`{}`", key.name)))
            };
            assert!(written, "{} of {}: no reference", key.name, keys.place);
        }
        for key in keys.later.iter().chain(USER_ONLY) {
            assert!(reference.contains(&format!("`{key}`")), "{key} of {}: no reference", keys.place);
        }
    }
    for (code, meaning) in CODES {
        assert!(reference.contains(&format!("| `{code}` | {meaning} |")), "{code}");
    }
}

/// The dotted paths of all keys.
fn paths(at: &str, value: &toml::Value, all: &mut Vec<String>) {
    for (key, value) in value.as_table().into_iter().flatten() {
        all.push(format!("{at}{key}"));
        paths(&format!("{at}{key}."), value, all);
    }
    value.as_array().into_iter().flatten().for_each(|item| paths(at, item, all));
}

#[test]
fn the_example_sets_every_key() {
    let example = include_str!("../../../bastion.toml.example");
    let desired = loaded(example);
    assert!(!desired.tunnels.is_empty());
    let mut set = Vec::new();
    paths("", &toml::Value::Table(example.parse().unwrap()), &mut set);
    for keys in ALL {
        let table = match keys.place {
            "the top of the file" => "",
            place => place.trim_matches(['[', ']']).split('.').next().unwrap_or_default(),
        };
        for key in keys.known {
            let here = |path: &&String| {
                let in_table = keys.place == BACKOFF.place || path.starts_with(table);
                in_table && path.split('.').any(|part| part == key.name)
            };
            assert!(
                set.iter().any(|path| here(&path)),
                "{} of {} is not in the example",
                key.name,
                keys.place
            );
        }
    }
}

#[test]
fn the_schema_says_what_the_table_says() {
    let schema: serde_json::Value = serde_json::from_str(&schema()).unwrap();
    assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
    let tunnel = &schema["properties"]["tunnels"]["additionalProperties"]["anyOf"];
    let long = tunnel.as_array().unwrap().iter().find(|form| form["type"] == "object").unwrap();
    let keys: Vec<&String> = long["properties"].as_object().unwrap().keys().collect();
    for built in ["listen", "profiles", "expose", "env", "backoff"] {
        assert!(keys.iter().any(|key| *key == built), "{built}");
    }
    assert!(!keys.iter().any(|key| *key == "via"), "a key of a later version");
    assert_eq!(long["additionalProperties"], false);
    for key in long["properties"].as_object().unwrap().values() {
        assert!(key["description"].as_str().is_some_and(|words| words.ends_with('.')), "{key}");
    }
}
