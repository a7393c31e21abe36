//! `bastion config`: what the layers come to together, and where each value came from.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::{Value as Json, json};

use super::declaration::WORKTREE_OFFSET;
use super::load::{Checked, checked_in, find};
use super::settings::Settings;
use super::{ExitStatus, Failure, Format};
use crate::config::{Origin, Value, defaults_of, listen_key};
use crate::ui::{self, Printer};

/// Show the merged, resolved workspace, with where each value came from
///
/// Keys that no file sets are shown with what holds for them. `--format json` prints the same for programs.
#[derive(Args, Debug)]
pub(super) struct Arguments {}

pub(super) fn run(settings: &Settings, format: Format, printer: Printer) -> Result<ExitStatus, Failure> {
    let workspace = find(settings)?;
    let Checked { desired, values, .. } = checked_in(&workspace, settings, printer, "nothing is shown")?;
    let unsaid = defaults_of(&desired).into_iter().map(|(key, text)| {
        let value = Value { key: key.clone(), text, origin: Origin::Default, place: None };
        (key, value)
    });
    let mut all: BTreeMap<String, Value> = unsaid.collect();
    // What a file says stands as it says it.
    all.extend(values.into_iter().map(|value| (value.key.clone(), value)));
    // Which one that is, a file cannot say.
    for (name, tunnel) in desired.tunnels.iter().filter(|(_, tunnel)| tunnel.auto) {
        if let Some(value) = all.get_mut(&listen_key(name)) {
            value.text = format!("{} # {}", value.text, tunnel.listen);
        }
    }
    let worktree = workspace.worktree();
    if let Some(value) = all.get_mut(WORKTREE_OFFSET).filter(|_| worktree != 0) {
        value.text = format!("{} # this git worktree has the number {worktree}", value.text);
    }
    // An empty table says nothing where what holds in it stands below.
    let below =
        |key: &str| all.keys().any(|other| other.strip_prefix(key).is_some_and(|rest| rest.starts_with('.')));
    let said = all.values().filter(|value| value.text != "{}" || !below(&value.key));
    let all: Vec<Value> = said.cloned().collect();
    let text = match format {
        Format::Text => ui::values(&all, ui::terminal_width()),
        Format::Json => {
            let values: Vec<Json> = all.iter().map(object).collect();
            json!({ "version": 1, "workspace": desired.workspace.as_str(), "values": values }).to_string()
        }
    };
    // Whoever stops reading has read enough.
    printer.data(text.trim_end());
    Ok(ExitStatus::Done)
}

fn object(value: &Value) -> Json {
    let Value { key, text, origin, place: _ } = value;
    let (path, line, variables) = match origin {
        Origin::File { path, line, variables } => (Some(path), Some(line), variables.as_slice()),
        Origin::Default | Origin::Az => (None, None, [].as_slice()),
    };
    let from = match origin {
        Origin::File { .. } => "file",
        Origin::Az => "az",
        Origin::Default => "default",
    };
    json!({ "key": key, "value": text, "from": from, "path": path, "line": line, "variables": variables })
}
