//! `bastion check`: every mistake in the workspace's files, in every environment, without asking Azure.

use std::collections::BTreeSet;

use clap::Args;
use serde_json::{Value, json};

use super::load::{find, read, shown};
use super::settings::Settings;
use super::{ExitStatus, Failure, Format, refuse};
use crate::config::{Diagnostic, Loaded, Severity, Source};
use crate::model::{Desired, Name, printable};
use crate::ui::{Printer, count};
use crate::workspace::Workspace;

/// Check the workspace's files: every mistake in every environment
///
/// Nothing is started and Azure is not asked. `--format json` prints the mistakes for programs.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[arg(long, hide = true)]
    online: bool,
    /// With `--online`: opens a session on each path, to hold docs/conformance.md against Azure itself.
    #[arg(long, hide = true)]
    probe: bool,
}

/// What was found so far, each thing once, though it may stand in several environments.
struct Findings {
    format: Format,
    printer: Printer,
    seen: BTreeSet<String>,
    errors: usize,
    /// The files that have a mistake.
    paths: BTreeSet<String>,
    json: Vec<Value>,
}

pub(super) fn run(
    arguments: &Arguments,
    settings: &Settings,
    format: Format,
    printer: Printer,
) -> Result<ExitStatus, Failure> {
    refuse("check --online --probe", arguments.probe)?;
    refuse("check --online", arguments.online)?;
    let workspace = find(settings)?;
    let (seen, paths) = (BTreeSet::new(), BTreeSet::new());
    let mut findings = Findings { format, printer, seen, errors: 0, paths, json: Vec::new() };
    let mut fine = Vec::new();
    for environment in environments(&workspace)? {
        let workspace = workspace.with_environment(environment);
        if let Some(desired) = findings.check(&workspace, settings)? {
            fine.push(praise(&workspace, &desired));
        }
    }
    if format == Format::Json {
        printer.data(&json!({ "version": 1, "diagnostics": findings.json }).to_string());
    } else if findings.errors == 0 {
        fine.iter().all(|line| printer.data(line));
    }
    if findings.errors == 0 {
        return Ok(ExitStatus::Done);
    }
    if format == Format::Text {
        let paths: Vec<String> = findings.paths.into_iter().collect();
        printer.error(&format!("{} in {}", count(findings.errors, "mistake"), paths.join(", ")), None);
    }
    Ok(ExitStatus::Usage)
}

/// The one that is meant; or the file without any, and all that there are.
fn environments(workspace: &Workspace) -> Result<Vec<Option<Name>>, Failure> {
    if let Some(environment) = workspace.environment() {
        return Ok(vec![Some(environment.clone())]);
    }
    let all = workspace.environments().map_err(|error| {
        let directory = shown(workspace.directory());
        Failure::new(ExitStatus::Failed, format!("looking for environments in {directory}: {error}"))
    })?;
    Ok([None].into_iter().chain(all.into_iter().map(Some)).collect())
}

fn praise(workspace: &Workspace, desired: &Desired) -> String {
    let file = shown(workspace.shown());
    let name = match workspace.environment() {
        Some(environment) => format!("{file} in the environment `{environment}`"),
        None => file,
    };
    let tunnels = count(desired.tunnels.len(), "tunnel");
    format!("{name} is fine: {tunnels} through {}", count(desired.bastions.len(), "bastion"))
}

impl Findings {
    fn check(&mut self, workspace: &Workspace, settings: &Settings) -> Result<Option<Desired>, Failure> {
        let files = read(workspace)?;
        let environment = workspace.environment().map(Name::as_str);
        let variables = settings.variables(&files.mentioned(), environment);
        let Loaded { desired, diagnostics, warnings, .. } = files.load(&variables, settings.az());
        let layers = files.layers();
        let source = files.source(&layers, &variables, settings.az());
        for found in warnings.iter().chain(&diagnostics) {
            self.note(found, &source);
        }
        Ok(desired)
    }

    fn note(&mut self, found: &Diagnostic, source: &Source<'_>) {
        if !self.seen.insert(found.render(source, false)) {
            return;
        }
        if found.severity == Severity::Error {
            self.errors += 1;
            self.paths.insert(printable(found.path(source), 400));
        }
        if self.format == Format::Json {
            self.json.push(object(found, source));
        } else {
            self.printer.report(&found.render(source, self.printer.colors()));
            self.printer.report("");
        }
    }
}

fn object(found: &Diagnostic, source: &Source<'_>) -> Value {
    let place = found.place(source);
    let help: Vec<Value> = found
        .help
        .iter()
        .map(|help| json!({ "text": help.text, "replacement": help.edit.as_ref().map(|edit| &edit.text) }))
        .collect();
    json!({
        "code": found.code,
        "severity": found.severity.word(),
        "message": found.message,
        "path": place.path,
        "line": place.at.map(|(line, _)| line),
        "column": place.at.map(|(_, column)| column),
        "help": help,
    })
}
