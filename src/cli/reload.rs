//! `bastion reload`: has the running instance read the files again.

use clap::Args;
use serde_json::json;

use super::plan::safe;
use super::running::{Meant, ask};
use super::settings::Settings;
use super::{ExitStatus, Failure, Format};
use crate::control::{Answer, Request};
use crate::ui::{self, Printer};

/// Have the running instance read the files and variables again
///
/// It watches the files itself; this is for variables, which it cannot watch, and for `--no-watch`. Says what changed.
/// Files with mistakes change nothing. `--format json` prints the same for programs.
#[derive(Args, Debug)]
pub(super) struct Arguments {}

pub(super) async fn run(
    settings: &Settings,
    format: Format,
    printer: Printer,
) -> Result<ExitStatus, Failure> {
    let meant = Meant::find(settings)?;
    let client = meant.running().await?;
    let request = Request::Reload { variables: meant.variables(settings), az: settings.az().clone() };
    let (generation, lines) =
        match ask(&client, request).await.map_err(|error| Failure::from_client(&error))? {
            Answer::Applied { generation, started: _, lines } => (Some(generation), safe(&lines)),
            Answer::Plan { lines, changes: _ } => (None, safe(&lines)),
            Answer::Stopping { .. } | Answer::Done => (None, Vec::new()),
        };
    match format {
        Format::Json => {
            let document = json!({ "version": 1, "generation": generation, "lines": lines });
            printer.data(&ui::safe_json(&document.to_string()));
        }
        Format::Text if lines.is_empty() => printer.say("The files were read again"),
        // Whoever stops reading has read enough.
        Format::Text => drop(lines.iter().all(|line| printer.data(line))),
    }
    Ok(ExitStatus::Done)
}
