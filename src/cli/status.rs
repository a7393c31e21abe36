//! `bastion status`: what holds of every tunnel now.

use clap::Args;

use super::pick::{self, Picked};
use super::running::Meant;
use super::settings::Settings;
use super::{ExitStatus, Failure, Format, refuse};
use crate::control::{self, VERSION};
use crate::model::{self, Name, Pattern};
use crate::sys::clock;
use crate::ui::{self, Printer};

/// Show each tunnel with its state, its addresses and what is wrong
///
/// It says what the running instance says, whatever its version. `--format json` prints it for programs, in the form
/// of `bastion schema status`. That nothing runs is no failure: `bastion wait` is for scripts that need more.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// Tunnels by name or quoted pattern; all when none is given
    #[arg(value_name = "TUNNEL")]
    tunnels: Vec<String>,
    #[arg(long, hide = true)]
    all: bool,
    #[arg(long, hide = true)]
    watch: bool,
    #[arg(long, hide = true)]
    short: bool,
}

pub(super) async fn run(
    arguments: Arguments,
    settings: &Settings,
    format: Format,
    printer: Printer,
) -> Result<ExitStatus, Failure> {
    refuse("status --all", arguments.all)?;
    refuse("status --watch", arguments.watch)?;
    refuse("status --short", arguments.short)?;
    let patterns = pick::patterns(&arguments.tunnels)?;
    let meant = Meant::find(settings)?;
    let Some(client) = meant.client().await? else {
        meant.exists()?;
        pick::pick(patterns, &[], || meant.declared(settings))?;
        match format {
            Format::Json => document(&nothing(&meant, settings), printer),
            Format::Text => printer.say(&meant.nothing()),
        }
        return Ok(ExitStatus::Done);
    };
    let mut status = client.status().await.map_err(|error| Failure::from_client(&error))?;
    // Of what another release says, this one passes on what it knows, in its own form.
    status.version = VERSION;
    let now = clock::now();
    let names: Vec<Name> =
        status.clone().into_model(now).tunnels.into_iter().map(|tunnel| tunnel.name).collect();
    let all = patterns.is_empty();
    let Picked { running, idle } = pick::pick(patterns, &names, || meant.declared(settings))?;
    for pattern in &idle {
        printer.say(&format!("`{pattern}` does not run; `bastion up {pattern}` starts it"));
    }
    if !all {
        keep(&mut status, &names, &running);
    }
    match format {
        Format::Json => document(&status, printer),
        Format::Text if !all && running.is_empty() => {}
        Format::Text => {
            let status = status.into_model(now);
            // Whoever stops reading has read enough.
            printer.data(ui::status(&status, now, ui::terminal_width()).trim_end());
        }
    }
    Ok(ExitStatus::Done)
}

/// Keeps the tunnels that are meant; the names stand in the same order.
fn keep(status: &mut control::Status, names: &[Name], patterns: &[Pattern]) {
    let mut meant = names.iter().map(|name| patterns.iter().any(|pattern| pattern.matches(name)));
    status.tunnels.retain(|_| meant.next().unwrap_or(false));
}

/// Prints a status for programs.
pub(super) fn document(status: &control::Status, printer: Printer) {
    // Only a map whose keys are no texts cannot be written, and there is none.
    let text = serde_json::to_string(status).unwrap_or_default();
    printer.data(&ui::safe_json(&text));
}

/// What holds when no instance runs.
pub(super) fn nothing(meant: &Meant, settings: &Settings) -> control::Status {
    let name = meant.desired(settings).map(|desired| desired.workspace.to_string());
    control::Status {
        version: VERSION,
        workspace: name.unwrap_or_else(|| meant.directory_name()),
        env: meant.environment().map(Name::to_string),
        ..control::Status::default()
    }
}

/// The tunnels of a status that are meant: by a pattern, or all that are not ending.
pub(super) fn meant_by(patterns: &[Pattern], status: &control::Status) -> Vec<model::TunnelStatus> {
    use model::State;
    let mut tunnels = status.clone().into_model(clock::now()).tunnels;
    tunnels.retain(|tunnel| match tunnel.state {
        State::Draining | State::Stopped => patterns.iter().any(|pattern| pattern.matches(&tunnel.name)),
        State::Pending
        | State::Resolving
        | State::Connecting
        | State::Ready
        | State::Degraded
        | State::Blocked => pick::is_meant(patterns, &tunnel.name),
    });
    tunnels
}
