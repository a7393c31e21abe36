//! Which room may name which. The table here is the only one; `ARCHITECTURE.md` must show the same.

use std::collections::{BTreeMap, BTreeSet};

use crate::rust;
use crate::tree::{Breach, Law};

/// A room, and the rooms it may name. `main` is the binary; `lib.rs` may name none, it only declares them.
const TABLE: &[(&str, &[&str])] = &[
    ("main", &["cli"]),
    (
        "cli",
        &[
            "ui",
            "supervisor",
            "control",
            "instance",
            "watch",
            "workspace",
            "config",
            "plan",
            "emulator",
            "azure",
            "gateway",
            "net",
            "model",
            "sys",
        ],
    ),
    (
        "supervisor",
        &[
            "plan",
            "lifecycle",
            "relay",
            "probe",
            "gateway",
            "azure",
            "net",
            "carrier",
            "watch",
            "backoff",
            "limit",
            "model",
            "sys",
        ],
    ),
    ("control", &["model", "sys"]),
    ("instance", &["model", "sys"]),
    ("watch", &["sys"]),
    ("relay", &["carrier", "sys"]),
    ("probe", &["carrier", "model"]),
    ("gateway", &["net", "carrier", "limit", "model", "sys"]),
    ("azure", &["net", "model", "sys"]),
    ("net", &["sys"]),
    ("emulator", &["model", "sys"]),
    ("ui", &["config", "plan", "model"]),
    ("workspace", &["config", "model", "sys"]),
    ("config", &["model"]),
    ("plan", &["model"]),
    ("lifecycle", &["backoff", "model"]),
    ("carrier", &["model"]),
    ("model", &[]),
    ("backoff", &[]),
    ("limit", &[]),
    ("sys", &[]),
];

pub(crate) const LAW: Law = Law {
    rule: "a room names only the rooms that the table in tests/tidy/rooms.rs gives it, and `super::` stays inside its room",
    reason: "a one-way house can be read from the bottom up, and its parts can be tested alone; the emulator shares nothing with the client, so a mistake in one cannot hide the same mistake in the other",
};

pub(crate) const KNOWN: Law = Law {
    rule: "every file of src/ belongs to a room in the table of tests/tidy/rooms.rs",
    reason: "a new room is a decision: say what it may name before it names everything",
};

pub(crate) const CYCLES: Law = Law {
    rule: "no room depends on itself by way of others",
    reason: "rooms in a cycle are one room that is too large to understand",
};

pub(crate) const DRAWN: Law = Law {
    rule: "ARCHITECTURE.md shows the table of tests/tidy/rooms.rs, line by line",
    reason: "a drawing that may drift from the code is worse than none",
};

/// The room of a file: `src/relay/listener.rs` and `src/relay.rs` are in `relay`.
fn room(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("src/")?;
    Some(inside.split_once('/').map_or_else(|| inside.trim_end_matches(".rs"), |(room, _)| room))
}

fn allowed(room: &str) -> Option<&'static [&'static str]> {
    TABLE.iter().find(|(name, _)| *name == room).map(|(_, allowed)| *allowed)
}

/// How many modules a file is deep: 1 for a room's own file.
fn module_depth(path: &str) -> usize {
    path.trim_start_matches("src/").trim_end_matches(".rs").split('/').filter(|part| *part != "mod").count()
}

/// What a file names outside its own room, by line; `Err` holds a `super::` that leaves the room.
fn names(path: &str, text: &str) -> Vec<(usize, Result<String, String>)> {
    let Some(own) = room(path) else { return Vec::new() };
    let mut found = Vec::new();
    for used in rust::paths(&rust::production(path, text)) {
        let mut segments = used.segments.iter().map(String::as_str).skip_while(|s| *s == "self").peekable();
        let mut climbs = 0;
        while segments.next_if_eq(&"super").is_some() {
            climbs += 1;
        }
        if climbs > 0 {
            if climbs >= module_depth(path) + used.inline_depth && segments.peek().is_some() {
                found.push((used.line, Err(used.segments.join("::"))));
            }
            continue;
        }
        let root = segments.next();
        if root == Some("crate") || (own == "main" && root == Some("bastion")) {
            found.extend(segments.next().filter(|r| *r != own).map(|r| (used.line, Ok(r.to_owned()))));
        }
    }
    found
}

/// Everything a file names that the table does not give its room.
pub(crate) fn edges_outside_table(path: &str, text: &str) -> Vec<Breach> {
    let own = room(path).unwrap_or_default();
    let allowed = allowed(own).unwrap_or_default();
    let mut breaches = Vec::new();
    for (line, name) in names(path, text) {
        let what = match name {
            Err(path) => format!("`{path}` climbs out of `{own}`"),
            Ok(room) if self::allowed(&room).is_none() => format!("`{own}` names `{room}`, which is no room"),
            Ok(room) if !allowed.contains(&room.as_str()) => format!("`{own}` names `{room}`"),
            Ok(_) => continue,
        };
        breaches.push(Breach::new(path, line, what));
    }
    breaches
}

/// A file whose room is not in the table.
pub(crate) fn unknown(path: &str) -> Option<Breach> {
    let room = room(path)?;
    (room != "lib" && allowed(room).is_none())
        .then(|| Breach::new(path, 0, format!("`{room}` is not in the table")))
}

/// The rooms that reach themselves through what files really name.
pub(crate) fn cycles<'a>(files: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<Breach> {
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, text) in files {
        let named = names(path, text).into_iter().filter_map(|(_, name)| name.ok());
        edges.entry(room(path).unwrap_or_default().to_owned()).or_default().extend(named);
    }
    // Take away every room that names nothing that is left, until none goes: what stays hangs on a cycle.
    loop {
        let left: BTreeSet<String> = edges.keys().cloned().collect();
        let before = edges.len();
        edges.retain(|_, named| named.iter().any(|room| left.contains(room)));
        if edges.len() == before {
            break;
        }
    }
    if edges.is_empty() {
        return Vec::new();
    }
    let rooms: Vec<&str> = edges.keys().map(String::as_str).collect();
    vec![Breach::new("src", 0, format!("on a cycle, or leading to one: {}", rooms.join(", ")))]
}

/// The table as `ARCHITECTURE.md` must show it.
fn table_lines() -> impl Iterator<Item = String> {
    TABLE.iter().map(|(room, allowed)| match allowed {
        [] => format!("{room:<11}→ nothing of ours"),
        some => format!("{room:<11}→ {}", some.join(", ")),
    })
}

/// Lines of the table that the text lacks.
pub(crate) fn drawn(architecture: &str) -> Vec<Breach> {
    table_lines()
        .filter(|line| !architecture.lines().any(|shown| shown == line))
        .map(|line| Breach::new("ARCHITECTURE.md", 0, format!("lacks the line `{line}`")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(path: &str, text: &str) -> Option<String> {
        edges_outside_table(path, text).into_iter().next().map(|b| b.what)
    }

    #[test]
    fn an_edge_outside_the_table_is_seen() {
        let fires = |path, text| first(path, text).unwrap_or_default();
        assert_eq!(fires("src/emulator/mod.rs", "use crate::gateway::wire;"), "`emulator` names `gateway`");
        assert_eq!(fires("src/azure/arm.rs", "fn f() { crate::gateway::x() }"), "`azure` names `gateway`");
        assert_eq!(fires("src/model/mod.rs", "use crate::{config::X};"), "`model` names `config`");
        assert_eq!(
            fires("src/carrier.rs", "use super::azure::X;"),
            "`super::azure::X` climbs out of `carrier`"
        );
        assert_eq!(
            fires("src/relay/mod.rs", "use super::carrier;"),
            "`super::carrier` climbs out of `relay`"
        );
        assert_eq!(
            fires("src/relay/a.rs", "use super::super::*;"),
            "`super::super::*` climbs out of `relay`"
        );
        assert_eq!(
            fires("src/relay/a.rs", "use crate::helpers::x;"),
            "`relay` names `helpers`, which is no room"
        );
        assert_eq!(fires("src/main.rs", "use bastion::azure;"), "`main` names `azure`");
        assert_eq!(fires("src/lib.rs", "pub use crate::model::Name;"), "`lib` names `model`");
    }

    #[test]
    fn edges_of_the_table_comments_and_tests_are_left_alone() {
        assert_eq!(first("src/main.rs", "use bastion::cli;"), None);
        assert_eq!(
            first(
                "src/relay/a.rs",
                "//! crate::azure\nuse crate::carrier::C; use super::b; use crate::relay::x;"
            ),
            None
        );
        assert_eq!(first("src/relay/mod.rs", "pub(super) fn f() {}\nmod m { use super::x; }"), None);
        assert_eq!(first("src/supervisor/tests.rs", "use crate::emulator::E;"), None);
        assert_eq!(first("src/relay/mod.rs", "#[cfg(test)]\nmod tests { use crate::emulator::E; }"), None);
    }

    #[test]
    fn a_room_outside_the_table_is_seen() {
        assert_eq!(unknown("src/helpers/mod.rs").map(|b| b.what).unwrap(), "`helpers` is not in the table");
        assert_eq!(unknown("src/utils.rs").map(|b| b.path).unwrap(), "src/utils.rs");
        assert_eq!(unknown("src/lib.rs"), None);
        assert_eq!(unknown("src/carrier.rs"), None);
    }

    #[test]
    fn a_cycle_is_seen() {
        let a = ("src/config/mod.rs", "use crate::ui::X;");
        let b = ("src/ui/mod.rs", "use crate::config::X;");
        assert_eq!(cycles([a, b].into_iter()).len(), 1);
        assert_eq!(cycles([b, ("src/config/mod.rs", "")].into_iter()), []);
    }

    #[test]
    fn the_table_is_closed_and_runs_one_way() {
        let mut seen: Vec<&str> = Vec::new();
        for (room, names) in TABLE.iter().rev() {
            for name in *names {
                assert!(seen.contains(name), "`{room}` may name `{name}`, which stands above it or nowhere");
            }
            seen.push(room);
        }
    }

    #[test]
    fn a_missing_line_of_the_drawing_is_seen() {
        let whole: Vec<String> = table_lines().collect();
        assert_eq!(drawn(&whole.join("\n")), []);
        assert_eq!(drawn("main → everything").len(), TABLE.len());
    }
}
