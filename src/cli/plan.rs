//! `bastion plan`: what the files as they are now would change, or start.

use clap::Args;
use serde_json::json;

use super::load::{Checked, checked_in, find};
use super::pick::{by_default, warn_of_profiles};
use super::running::{Meant, ask};
use super::settings::Settings;
use super::{ExitStatus, Failure, Format};
use crate::control::{Answer, Request};
use crate::instance::Grants;
use crate::model::{printable, safe_char};
use crate::plan::{Actual, Mark, between, specs};
use crate::sys::socket;
use crate::ui::{self, Printer};

/// The longest line of an instance that is shown.
const LONGEST: usize = 1000;

/// Say what the files as they are now would change
///
/// Beside a running instance: what `bastion reload` would do. Otherwise: what `bastion up` would start. `+` is new,
/// `~` changes, `-` ends, `=` stays, `!` waits for your `bastion allow`. Nothing is changed. `--format json` prints
/// the same for programs.
#[derive(Args, Debug)]
pub(super) struct Arguments {}

pub(super) async fn run(
    settings: &Settings,
    format: Format,
    printer: Printer,
) -> Result<ExitStatus, Failure> {
    let meant = Meant::find(settings)?;
    let (lines, changes) = match meant.client().await? {
        Some(client) => {
            let request = Request::Plan { variables: meant.variables(settings), az: settings.az().clone() };
            match ask(&client, request).await.map_err(|error| Failure::from_client(&error))? {
                Answer::Plan { lines, changes } => (safe(&lines), changes),
                Answer::Applied { .. } | Answer::Stopping { .. } | Answer::Done => (Vec::new(), 0),
            }
        }
        None if meant.holder().is_some() => return Err(meant.not_running()),
        None => from_nothing(settings, printer)?,
    };
    match format {
        Format::Json => {
            let document = json!({ "version": 1, "changes": changes, "lines": lines });
            printer.data(&ui::safe_json(&document.to_string()));
        }
        // Whoever stops reading has read enough.
        Format::Text => drop(lines.iter().all(|line| printer.data(line))),
    }
    Ok(ExitStatus::Done)
}

/// Lines of an instance, as they can be shown.
pub(super) fn safe(lines: &[String]) -> Vec<String> {
    lines.iter().map(|line| printable(line, LONGEST)).collect()
}

/// What `up` would do, and how many changes that is.
fn from_nothing(settings: &Settings, printer: Printer) -> Result<(Vec<String>, usize), Failure> {
    let workspace = find(settings)?;
    let Checked { desired, .. } = checked_in(&workspace, settings, printer, "there is no plan")?;
    warn_of_profiles(&desired, &settings.profiles, printer);
    let chosen = specs(&desired, |_, tunnel| by_default(tunnel, &settings.profiles));
    let actual = Actual { ipv6_loopback: socket::has_ipv6_loopback(), ..Actual::default() };
    let words = between(&actual, &chosen).words();
    let changes = words.iter().filter(|line| line.mark != Mark::Unchanged).count();
    let mut lines: Vec<String> = words.iter().map(ToString::to_string).collect();
    let grants = Grants::load(&settings.places(), workspace.file());
    if let Some(problem) = grants.problem() {
        printer.warn(&printable(problem, LONGEST));
    }
    let wanted = desired.grants_wanted().into_iter();
    let missing: Vec<String> = wanted
        .filter(|(name, grant)| chosen.contains_key(name) && !grants.contains(grant))
        .map(|(name, grant)| {
            let what: String = grant.what.chars().map(safe_char).collect();
            format!("! {name}  needs your permission ({}): {what}", grant.kind.word())
        })
        .collect();
    if !missing.is_empty() {
        printer.hint("`bastion allow` gives it; until then such a tunnel is blocked");
    }
    lines.extend(missing);
    Ok((lines, changes))
}
