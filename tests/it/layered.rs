//! The corpus of workspaces of several files.
//!
//! Each directory in `tests/config/layers` holds a `bastion.toml`, and where they are needed a `user.toml` (the user's
//! own configuration), a `bastion.ENV.toml`, a `bastion.local.toml`, `variables` of the environment, and `az`: what az says is
//! its current subscription, ID, name, tenant and cloud, a line each. `stderr` beside
//! them is what loading says, nothing for a workspace without mistakes; `values` is what holds in the end, and where it
//! came from. `UPDATE=1` rewrites both.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use bastion::config::{self, Layer, LayerKind, Loaded, Source, Variables};
use bastion::model::{AzCurrent, AzSubscription};

/// A workspace of several files.
pub(crate) struct Case {
    pub(crate) path: PathBuf,
    /// Kind, name and text, in the order of the layers.
    files: Vec<(LayerKind, String, String)>,
    variables: Variables,
    az: AzCurrent,
}

pub(crate) fn cases() -> Vec<Case> {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/layers");
    let mut cases: Vec<_> = fs::read_dir(all).unwrap().map(|entry| case(&entry.unwrap().path())).collect();
    cases.sort_by(|a, b| a.path.cmp(&b.path));
    cases
}

fn case(path: &Path) -> Case {
    let mut files = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let kind = match name.as_str() {
            "user.toml" => LayerKind::User,
            "bastion.toml" => LayerKind::Workspace,
            "bastion.local.toml" => LayerKind::Local,
            "stderr" | "values" | "variables" | "az" => continue,
            environment => {
                assert!(environment.starts_with("bastion."), "{environment}");
                LayerKind::Environment
            }
        };
        let text = fs::read_to_string(path.join(&name)).unwrap();
        files.push((kind, name, text));
    }
    files.sort();
    let variables = fs::read_to_string(path.join("variables")).unwrap_or_default();
    let variables = variables.lines().map(|line| line.split_once('=').unwrap());
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let az = fs::read_to_string(path.join("az")).ok().map_or(AzCurrent::SignedOut, |az| {
        let az: Vec<&str> = az.lines().collect();
        AzCurrent::Is(AzSubscription::new(az[0], az[1], Some(az[2]), az[3]).unwrap())
    });
    Case { path: path.to_owned(), files, variables, az }
}

impl Case {
    /// Loads it, and renders what it says.
    pub(crate) fn load<'a>(&'a self) -> (Loaded, String) {
        let layer = |(kind, path, text): &'a (LayerKind, String, String)| Layer { kind: *kind, path, text };
        let layers: Vec<_> = self.files.iter().map(layer).collect();
        let source = Source {
            layers: &layers,
            default_name: "orders",
            worktree: 0,
            variables: &self.variables,
            az: &self.az,
        };
        let loaded = config::load(&source);
        let found = loaded.warnings.iter().chain(&loaded.diagnostics);
        let said: Vec<_> = found.map(|found| found.render(&source, false)).collect();
        (loaded, said.join("\n"))
    }
}

#[test]
fn every_workspace_of_several_files_says_what_stands_beside_it() {
    let cases = cases();
    assert!(cases.len() >= 9, "{} cases", cases.len());
    let update = std::env::vars_os().any(|(name, value)| name == "UPDATE" && value == "1");
    let mut wrong = Vec::new();
    for case in cases {
        let (loaded, said) = case.load();
        assert_eq!(loaded.desired.is_some(), loaded.diagnostics.is_empty());
        let line = |value: &config::Value| format!("{} = {}  # {}\n", value.key, value.text, value.origin);
        let values: String = loaded.values.iter().map(line).collect();
        for (name, actual) in [("stderr", said), ("values", values)] {
            let beside = case.path.join(name);
            if update {
                fs::write(&beside, &actual).unwrap();
            } else if fs::read_to_string(&beside).unwrap_or_default().replace("\r\n", "\n") != actual {
                wrong.push(format!("{} should hold:\n{actual}", beside.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "UPDATE=1 rewrites\n{}", wrong.join("\n"));
}

#[test]
fn what_a_workspace_names_is_shown_as_toml_that_says_the_same() {
    for case in cases() {
        for value in case.load().0.values {
            let read: toml::Table = toml::from_str(&format!("{} = {}", value.key, value.text)).unwrap();
            assert_eq!(read.len(), 1, "{value:?}");
        }
    }
}

/// The codes that these workspaces show.
pub(crate) fn codes() -> BTreeSet<&'static str> {
    let loaded = cases().into_iter().map(|case| case.load().0);
    let found = loaded.flat_map(|loaded| loaded.diagnostics.into_iter().chain(loaded.warnings));
    found.map(|found| found.code).collect()
}

#[test]
fn a_tunnel_that_is_taken_out_is_gone_until_a_later_layer_brings_it_back() {
    let case = cases().into_iter().find(|case| case.path.ends_with("taken-out")).unwrap();
    let tunnels = case.load().0.desired.unwrap().tunnels;
    let names: Vec<_> = tunnels.keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["b", "c"], "and nobody listens where the one that is gone did");
}
