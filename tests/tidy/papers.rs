//! The laws about everything that is not code: the manifest, the papers, the scripts.

use crate::tree::{Breach, Law};

pub(crate) const MACHINE: Law = Law {
    rule: "no file names a place on the machine it was written on",
    reason: "the repository works, and reads the same, wherever it is cloned",
};

pub(crate) const REASONS: Law = Law {
    rule: "every dependency in Cargo.toml has a comment above it that says what it is for",
    reason: "a dependency is a decision; whoever wants to remove or replace one must know what it decided",
};

pub(crate) const COMMANDS: Law = Law {
    rule: "README.md shows two commands to type, and .ci/run runs exactly those",
    reason: "the first thing a stranger types is the thing that is tested",
};

pub(crate) const SHOWN: Law = Law {
    rule: "the first `toml` block of README.md is examples/quickstart/bastion.toml, comments and spacing aside",
    reason: "what the reader is shown first is what the command below it runs",
};

pub(crate) const CHANGELOG: Law = Law {
    rule: "CHANGELOG.md has a section `## [Unreleased]`",
    reason: "each change adds its line for users when it is made, not from memory at a release",
};

pub(crate) const LINKS: Law = Law {
    rule: "relative links in Markdown files lead to files that exist",
    reason: "a reader who follows a link finds what it promised",
};

pub(crate) const PROOFS: Law = Law {
    rule: "every test that docs/conformance.md names exists",
    reason: "a promise whose proof was renamed or removed is a promise that nobody keeps",
};

/// Put together here, so that this file does not name them.
const MACHINE_PATHS: [&str; 2] = [concat!("/wo", "rk/"), concat!("/fa", "rm/")];
/// The two commands of the README, in its order.
const README_COMMANDS: [&str; 2] =
    ["cargo run --locked -- up -f examples/quickstart/bastion.toml", "cargo test --locked"];

pub(crate) fn machine_paths(path: &str, text: &str) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for place in MACHINE_PATHS {
            let absolute = line.match_indices(place).any(|(at, _)| {
                let before = line.get(..at).and_then(|start| start.chars().next_back());
                !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '~' | '}'))
            });
            if absolute {
                breaches.push(Breach::new(path, number + 1, format!("`{place}`")));
            }
        }
    }
    breaches
}

pub(crate) fn reasons(path: &str, text: &str) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let (mut in_table, mut brackets, mut above) = (false, 0_i32, "");
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if brackets == 0 && line.starts_with('[') {
            in_table = line.trim_end_matches(']').ends_with("dependencies");
            if line.contains("dependencies.") && !above.starts_with('#') {
                breaches.push(Breach::new(path, number + 1, line));
            }
        } else if in_table
            && brackets == 0
            && !line.is_empty()
            && !line.starts_with('#')
            && !above.starts_with('#')
        {
            let name = line.split(['=', '.', ' ']).next().unwrap_or(line);
            breaches.push(Breach::new(path, number + 1, format!("`{name}` has no reason above it")));
        }
        if in_table && !line.starts_with('#') {
            let count = |mark| i32::try_from(line.matches(mark).count()).unwrap_or(0);
            brackets += count('[') - count(']');
            brackets = if line.starts_with('[') && line.ends_with(']') { 0 } else { brackets };
        }
        above = line;
    }
    breaches
}

/// The lines of fenced blocks for a shell, each with its number.
fn shell_lines(markdown: &str) -> Vec<(usize, &str)> {
    let mut fence: Option<bool> = None;
    let mut lines = Vec::new();
    for (number, line) in markdown.lines().enumerate() {
        match (line.trim().strip_prefix("```"), fence) {
            (Some(kind), None) => fence = Some(matches!(kind.trim(), "sh" | "bash" | "shell" | "console")),
            (Some(_), Some(_)) => fence = None,
            (None, Some(true)) => lines.push((number + 1, line.trim())),
            (None, _) => {}
        }
    }
    lines
}

pub(crate) fn commands(readme: &str, ci: &str) -> Vec<Breach> {
    let shown: Vec<(usize, &str)> =
        shell_lines(readme).into_iter().filter(|(_, line)| line.starts_with("cargo ")).collect();
    let mut breaches = Vec::new();
    for (position, command) in README_COMMANDS.into_iter().enumerate() {
        match shown.get(position) {
            Some((_, line)) if *line == command => {}
            Some((number, line)) => {
                breaches.push(Breach::new("README.md", *number, format!("`{line}`, not `{command}`")));
            }
            None => breaches.push(Breach::new("README.md", 0, format!("does not show `{command}`"))),
        }
        // In the script a command stands as the whole value of a quoted variable, which is what it runs.
        let quoted = format!("='{command}'");
        if !ci.lines().any(|line| line.ends_with(&quoted)) {
            breaches.push(Breach::new(".ci/run", 0, format!("does not hold `NAME{quoted}`")));
        }
    }
    breaches
}

/// The lines that say something to a reader of TOML: no comments, no empty lines, spaces made one.
fn said(toml: &str) -> Vec<String> {
    // Good enough for an example: no string in it holds a `#`.
    let lines = toml.lines().map(|line| line.split('#').next().unwrap_or_default());
    lines
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|line| !line.is_empty())
        .collect()
}

pub(crate) fn shown(readme: &str, example: &str) -> Vec<Breach> {
    let block = readme.split_once("```toml\n").and_then(|(_, rest)| rest.split_once("```"));
    let (shown, run) = (said(block.map_or("", |(block, _)| block)), said(example));
    if shown == run && !run.is_empty() {
        return Vec::new();
    }
    let differing =
        run.iter().find(|line| !shown.contains(line)).or_else(|| shown.iter().find(|l| !run.contains(l)));
    let what = differing
        .map_or_else(|| "another order, or nothing".to_owned(), |line| format!("`{line}` is in one only"));
    vec![Breach::new("README.md", 0, what)]
}

pub(crate) fn changelog(text: &str) -> Vec<Breach> {
    if text.lines().any(|line| line.trim_end() == "## [Unreleased]") {
        return Vec::new();
    }
    vec![Breach::new("CHANGELOG.md", 0, "no such section, or no such file")]
}

/// Tests stand in the table as `room::file::name_of_test`; `exists` is asked for `name_of_test`.
pub(crate) fn proofs(path: &str, text: &str, exists: impl Fn(&str) -> bool) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| line.starts_with("| ")) {
        let named = line.split('`').skip(1).step_by(2).filter_map(|code| code.rsplit_once("::"));
        let lost = named.filter(|(_, test)| !test.is_empty() && !exists(test));
        breaches.extend(lost.map(|(_, test)| Breach::new(path, number + 1, format!("`{test}`"))));
    }
    breaches
}

pub(crate) fn links(path: &str, text: &str, exists: impl Fn(&str) -> bool) -> Vec<Breach> {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut breaches = Vec::new();
    let mut fenced = false;
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        for target in targets(&outside_code(line)) {
            let target = target.split(['#', ' ']).next().unwrap_or_default();
            if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let resolved = resolve(folder, target);
            if !resolved.as_deref().is_some_and(&exists) {
                breaches.push(Breach::new(path, number + 1, format!("`{target}` does not exist")));
            }
        }
    }
    breaches
}

/// A line without what stands between backticks.
fn outside_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join("`")
}

/// What a line links to: `](target)` and `[name]: target`.
fn targets(line: &str) -> Vec<&str> {
    let mut found: Vec<&str> =
        line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target).collect();
    let definition =
        line.strip_prefix('[').and_then(|rest| rest.split_once("]: ")).map(|(_, target)| target.trim());
    found.extend(definition);
    found
}

/// A path relative to a folder, from the root; none when it leaves the repository.
fn resolve(folder: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(target.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_a_machine_is_seen() {
        for place in MACHINE_PATHS {
            let text = format!("fine\nsee {place}x and file://{place}y");
            assert_eq!(machine_paths("a.md", &text), [Breach::new("a.md", 2, format!("`{place}`"))]);
            assert_eq!(
                machine_paths("a.md", &format!("~{place}x, $HOME{place}x, \"${{HOME}}{place}x\"")),
                []
            );
        }
    }

    #[test]
    fn a_dependency_without_a_reason_is_seen() {
        let text = "[package]\nname = \"x\"\n[dependencies]\n# why\na = \"1\"\nb = { version = \"1\", features = [\n\"x\",\n] }\n\
                    [target.'cfg(unix)'.dependencies]\nc = \"1\"\n[dev-dependencies.d]\nversion = \"1\"\n[features]\nx = []\n";
        let found: Vec<usize> = reasons("Cargo.toml", text).into_iter().map(|b| b.line).collect();
        assert_eq!(found, [6, 10, 11]);
        assert_eq!(
            reasons(
                "Cargo.toml",
                "[dependencies]\n# why\na = { version = \"1\", features = [\n  \"x\",\n] }\n"
            ),
            []
        );
    }

    #[test]
    fn proofs_that_are_gone_are_seen() {
        let table =
            "`a::b::not_a_row`\n| 1 | promise | `a::here`, `a::b::gone` | no |\n| 2 | `X-Node-Id` | | no |\n";
        assert_eq!(proofs("c.md", table, |test| test == "here"), [Breach::new("c.md", 2, "`gone`")]);
    }

    #[test]
    fn commands_that_drift_are_seen() {
        let [up, test] = README_COMMANDS;
        let readme = format!("```toml\ncargo nothing\n```\n```sh\n{up}\n```\n```sh\ncurl x\n{test}\n```\n");
        let ci = format!("quickstart='{up}'\ntests='{test}'\n");
        assert_eq!(commands(&readme, &ci), []);
        assert_eq!(commands(&readme.replace(" --locked", ""), &ci).len(), 2);
        assert_eq!(commands(&readme, &ci.replace("--locked", "--locked --lib")).len(), 2);
        assert_eq!(commands("", "").len(), 4);
    }

    #[test]
    fn an_example_that_is_not_the_one_shown_is_seen() {
        let readme = "x\n```toml\n[a]\nb  = 1  # note\n```\n```toml\nc = 2\n```\n";
        assert_eq!(shown(readme, "# file\n\n[a]\nb = 1\n"), []);
        assert_eq!(shown(readme, "[a]\nb = 2\n").len(), 1);
        assert_eq!(shown(readme, "b = 1\n[a]\n").len(), 1);
        assert_eq!(shown("", "").len(), 1);
    }

    #[test]
    fn a_changelog_without_room_for_the_next_line_is_seen() {
        assert_eq!(changelog("# Changelog\n## [1.0.0]\n").len(), 1);
        assert_eq!(changelog("# Changelog\n\n## [Unreleased]\n"), []);
    }

    #[test]
    fn a_dead_link_is_seen() {
        let exists = |path: &str| ["docs/a.md", "README.md"].contains(&path);
        let text = "[a](a.md#part) [up](../README.md) [web](https://x.y) [here](#x) `[code](gone.md)`\n\
                    ```\n[fenced](gone.md)\n```\n[dead](gone.md)\n[out](../../x)\n[name]: nowhere.md\n";
        let found: Vec<usize> = links("docs/b.md", text, exists).into_iter().map(|b| b.line).collect();
        assert_eq!(found, [5, 6, 7]);
    }
}
