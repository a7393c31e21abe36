//! The laws about what code may contain, by where it stands.

use crate::rust::{self, Token};
use crate::tree::{Breach, Law};

pub(crate) const PURE: Law = Law {
    rule: "model, config, plan, lifecycle, backoff, gateway/wire.rs and gateway/boundary.rs do no I/O, ask no clock, log nothing and are not async",
    reason: "what decides is a plain function of its arguments: its tests need no runtime, no waiting and no files. A value that is missing belongs in the arguments",
};

pub(crate) const SERDE: Law = Law {
    rule: "Serialize and Deserialize occur only in config/raw.rs, control, gateway/wire.rs, instance/record.rs, azure and emulator",
    reason: "what is written on a wire or in a file is converted at the edge, so that no rename inside changes what others read",
};

pub(crate) const SPAWN: Law = Law {
    rule: "tasks and threads are started only in supervisor, relay, gateway/ledger.rs, control/server.rs, watch, emulator, instance/journal, cli/listening.rs and ui/terminal.rs",
    reason: "every task belongs to a set that its room owns and awaits: nothing outlives its owner, and no session is forgotten",
};

pub(crate) const PLATFORM: Law = Law {
    rule: "cfg for unix, windows or target_os, std::os and the runtime's unix and windows modules occur only in src/sys",
    reason: "what differs between systems is in one place, where someone who builds on another system finds all of it",
};

pub(crate) const DOCS: Law = Law {
    rule: "every file of src/ opens with a `//!` comment",
    reason: "the first thing a reader learns of a file is what it promises and what it refuses",
};

pub(crate) const LENGTH: Law = Law {
    rule: "no file of src/ is longer than 400 lines",
    reason: "a file is read in one sitting; a longer one holds two things",
};

pub(crate) const UNFINISHED: Law = Law {
    rule: "no todo!, unimplemented! or dbg! in any Rust file",
    reason: "what is not built yet is refused by name, with a message; it never panics",
};

const PURE_PLACES: [&str; 7] =
    ["model", "config", "plan", "lifecycle", "backoff", "gateway/wire", "gateway/boundary"];
const WIRE_PLACES: [&str; 6] =
    ["config/raw", "control", "gateway/wire", "instance/record", "azure", "emulator"];
const SPAWN_PLACES: [&str; 11] = [
    "supervisor",
    "relay",
    "gateway/ledger",
    "azure/tokens",
    "control/server",
    "watch",
    "emulator",
    "instance/journal",
    "cli/listening",
    "sys/process",
    "ui/terminal",
];
const LONGEST: usize = 400;

/// Words and paths that no pure room contains. A path's last part may go on (`Tcp` is also `TcpStream`).
const IMPURE: [&str; 14] = [
    "async",
    "await",
    "tokio",
    "tracing",
    "println",
    "eprintln",
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "std::net::Tcp",
    "std::net::Udp",
    "Instant::now",
    "SystemTime::now",
];
const SPAWNS: [&str; 5] = ["spawn", "spawn_blocking", "spawn_local", "spawn_on", "spawn_local_on"];
const SYSTEMS: [&str; 4] = ["unix", "windows", "target_os", "target_family"];
const SYSTEM_PATHS: [&str; 6] = [
    "std::os",
    "tokio::net::unix",
    "tokio::net::windows",
    "tokio::signal::unix",
    "tokio::signal::windows",
    "tokio::net::Unix",
];

/// Whether a file is one of the places: `wire` is `wire.rs` and everything in `wire/`.
fn within(path: &str, places: &[&str]) -> bool {
    places.iter().any(|place| {
        let rest = path.strip_prefix("src/").and_then(|p| p.strip_prefix(place));
        rest.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
    })
}

/// Whether `path` contains `pattern`, whose last part may be the beginning of a longer name.
fn contains(path: &[String], pattern: &str) -> bool {
    let parts: Vec<&str> = pattern.split("::").collect();
    path.windows(parts.len()).any(|window| {
        let mut pairs = window.iter().zip(&parts).rev();
        let last = pairs.next().is_some_and(|(have, want)| match parts.len() {
            1 | 2 => have == want,
            _ => have.starts_with(want),
        });
        last && pairs.all(|(have, want)| have == want)
    })
}

fn find_paths(path: &str, tokens: &[Token], patterns: &[&str]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for used in rust::paths(tokens) {
        let hit = patterns.iter().find(|pattern| contains(&used.segments, pattern));
        breaches.extend(hit.map(|pattern| Breach::new(path, used.line, format!("`{pattern}`"))));
    }
    breaches
}

pub(crate) fn impure(path: &str, text: &str) -> Vec<Breach> {
    if !within(path, &PURE_PLACES) {
        return Vec::new();
    }
    find_paths(path, &rust::production(path, text), &IMPURE)
}

pub(crate) fn serde(path: &str, text: &str) -> Vec<Breach> {
    if within(path, &WIRE_PLACES) {
        return Vec::new();
    }
    let tokens = rust::production(path, text);
    let wire = tokens.iter().filter(|t| t.text.starts_with("Serialize") || t.text.starts_with("Deserialize"));
    wire.map(|t| Breach::new(path, t.line, format!("`{}`", t.text))).collect()
}

pub(crate) fn spawn(path: &str, text: &str) -> Vec<Breach> {
    if within(path, &SPAWN_PLACES) {
        return Vec::new();
    }
    let tokens = rust::production(path, text);
    let spawns = tokens.iter().filter(|t| SPAWNS.contains(&t.text.as_str()));
    spawns.map(|t| Breach::new(path, t.line, format!("`{}`", t.text))).collect()
}

pub(crate) fn platform(path: &str, text: &str) -> Vec<Breach> {
    if within(path, &["sys"]) {
        return Vec::new();
    }
    let tokens = rust::production(path, text);
    let mut breaches = find_paths(path, &tokens, &SYSTEM_PATHS);
    let mut rest = tokens.as_slice();
    while let [token, after @ ..] = rest {
        rest = after;
        if token.text != "cfg" && token.text != "cfg_attr" {
            continue;
        }
        // `cfg!(…)` has a mark between; a condition of these words ends with its line's `]` or `)`.
        let condition =
            after.iter().skip_while(|t| t.text == "!").take_while(|t| t.text != "]" && t.text != "{");
        let system = condition.take(24).find(|t| SYSTEMS.contains(&t.text.as_str()));
        breaches.extend(system.map(|t| Breach::new(path, t.line, format!("cfg of `{}`", t.text))));
    }
    breaches
}

pub(crate) fn undocumented(path: &str, text: &str) -> Vec<Breach> {
    let opening = text.trim_start_matches('\u{feff}').trim_start();
    if opening.starts_with("//!") || opening.starts_with("#![doc") {
        return Vec::new();
    }
    vec![Breach::new(path, 1, "no `//!` at the top")]
}

pub(crate) fn too_long(path: &str, text: &str) -> Vec<Breach> {
    match text.lines().count() {
        0..=LONGEST => Vec::new(),
        lines => vec![Breach::new(path, 0, format!("{lines} lines"))],
    }
}

pub(crate) fn unfinished(path: &str, text: &str) -> Vec<Breach> {
    let tokens = rust::tokens(text);
    let calls = tokens.windows(2).filter_map(|pair| match pair {
        [word, mark] if mark.text == "!" => Some(word),
        _ => None,
    });
    calls
        .filter(|t| ["todo", "unimplemented", "dbg"].contains(&t.text.as_str()))
        .map(|t| Breach::new(path, t.line, format!("`{}!`", t.text)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_impure_word_is_seen() {
        for text in [
            "async fn f() {}",
            "use tokio::time;",
            "use std::{fs, path::Path};",
            "fn f() { std::fs::read(p); }",
            "use std::net::{IpAddr, TcpStream};",
            "let now = std::time::Instant::now();",
            "let now = SystemTime::now();",
            "tracing::info!(\"x\");",
            "println!(\"x\");",
        ] {
            assert_eq!(impure("src/config/lower.rs", text).len(), 1, "{text}");
            assert_eq!(impure("src/backoff.rs", text).len(), 1, "{text}");
            assert_eq!(impure("src/gateway/wire.rs", text).len(), 1, "{text}");
            assert_eq!(impure("src/gateway/mod.rs", text), [], "{text}");
        }
    }

    #[test]
    fn pure_code_may_speak_of_impure_things() {
        let text = "//! No tokio, no Instant::now.\n/* async */ fn f(now: Instant, a: IpAddr) { g(\"tokio::spawn\") }\n\
                    #[cfg(test)]\nmod tests { use std::fs; }\nuse std::net::IpAddr; use std::time::Instant;";
        assert_eq!(impure("src/model/mod.rs", text), []);
        assert_eq!(impure("src/config/tests.rs", "use std::fs;"), []);
    }

    #[test]
    fn a_wire_type_inside_is_seen() {
        let text = "#[derive(Debug, serde::Serialize)]\nstruct X;";
        assert_eq!(serde("src/model/mod.rs", text), [Breach::new("src/model/mod.rs", 1, "`Serialize`")]);
        assert_eq!(serde("src/gateway/ledger.rs", "use serde::Deserialize;").len(), 1);
        assert_eq!(serde("src/config/raw.rs", text), []);
        assert_eq!(serde("src/azure/arm.rs", text), []);
    }

    #[test]
    fn a_task_without_an_owner_is_seen() {
        let text = "fn f(set: &mut JoinSet<()>) {\n    set.spawn(g());\n}";
        assert_eq!(spawn("src/gateway/mod.rs", text), [Breach::new("src/gateway/mod.rs", 2, "`spawn`")]);
        assert_eq!(spawn("src/cli/mod.rs", "tokio::task::spawn_blocking(f)").len(), 1);
        assert_eq!(spawn("src/gateway/ledger.rs", text), []);
        assert_eq!(spawn("src/relay/mod.rs", text), []);
        assert_eq!(spawn("src/ui/mod.rs", "// spawn\nfn respawn() {}"), []);
    }

    #[test]
    fn platform_code_outside_sys_is_seen() {
        for text in [
            "#[cfg(unix)]\nfn f() {}",
            "#[cfg(not(windows))] fn f() {}",
            "#[cfg(all(feature = \"x\", target_os = \"linux\"))] mod m;",
            "if cfg!(windows) { g() }",
            "use std::os::fd::AsRawFd;",
            "use tokio::signal::unix::{signal, SignalKind};",
            "use tokio::net::UnixListener;",
        ] {
            assert!(!platform("src/cli/mod.rs", text).is_empty(), "{text}");
            assert_eq!(platform("src/sys/mod.rs", text), [], "{text}");
        }
        let text = "#[cfg(feature = \"x\")] fn f() { unix() }\n// cfg(unix)\nlet x = \"cfg(windows)\";";
        assert_eq!(platform("src/cli/mod.rs", text), []);
    }

    #[test]
    fn a_file_without_a_promise_is_seen() {
        assert_eq!(undocumented("src/a.rs", "use x;\n//! late").len(), 1);
        assert_eq!(undocumented("src/a.rs", "// not a doc\n").len(), 1);
        assert_eq!(undocumented("src/a.rs", "//! It promises.\n"), []);
        assert_eq!(undocumented("src/lib.rs", "#![doc = include_str!(\"../ARCHITECTURE.md\")]"), []);
    }

    #[test]
    fn a_long_file_is_seen() {
        assert_eq!(too_long("src/a.rs", &"\n".repeat(401)).len(), 1);
        assert_eq!(too_long("src/a.rs", &"\n".repeat(400)), []);
    }

    #[test]
    fn unfinished_code_is_seen() {
        for word in ["todo", "unimplemented", "dbg"] {
            assert_eq!(unfinished("tests/x.rs", &format!("fn f() {{ {word}!() }}")).len(), 1, "{word}");
        }
        assert_eq!(unfinished("src/x.rs", "// todo!()\nlet x = \"dbg!(x)\"; let todo = !y;"), []);
    }
}
