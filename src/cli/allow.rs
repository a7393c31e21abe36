//! `bastion allow`: what the files ask for and only their user can give.

use std::io::{BufRead as _, IsTerminal as _, Read as _};

use clap::Args;

use super::load::{Checked, checked_in, find};
use super::pick;
use super::settings::Settings;
use super::{ExitStatus, Failure};
use crate::instance::Grants;
use crate::model::{Grant, Name, printable, safe_char};
use crate::ui::Printer;

/// Allow what the files ask for and cannot give themselves
///
/// A tunnel that listens where other machines can reach it is blocked until you allow exactly that. Shows what is
/// asked for, asks you, and remembers it for this workspace; a running instance goes on with it by itself.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// Tunnels by name or quoted pattern; all of the file when none is given
    #[arg(value_name = "TUNNEL")]
    tunnels: Vec<String>,
    /// Allow without asking
    #[arg(short, long)]
    yes: bool,
}

pub(super) fn run(
    arguments: &Arguments,
    settings: &Settings,
    printer: Printer,
) -> Result<ExitStatus, Failure> {
    let patterns = pick::patterns(&arguments.tunnels)?;
    let workspace = find(settings)?;
    let Checked { desired, .. } = checked_in(&workspace, settings, printer, "nothing is allowed")?;
    pick::known(&patterns, desired.tunnels.keys())?;
    let mut grants = Grants::load(&settings.places(), workspace.file());
    if let Some(problem) = grants.problem() {
        printer.warn(&printable(problem, 1000));
    }
    let wanted: Vec<(Name, Grant)> = desired
        .grants_wanted()
        .into_iter()
        .filter(|(name, grant)| pick::is_meant(&patterns, name) && !grants.contains(grant))
        .collect();
    if wanted.is_empty() {
        printer.say("Nothing has to be allowed");
        return Ok(ExitStatus::Done);
    }
    for (_, grant) in &wanted {
        // All of it, for all of it is allowed.
        let what: String = grant.what.chars().map(safe_char).collect();
        printer.report(&format!("{}: {what}", grant.kind.word()));
    }
    if !arguments.yes {
        if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
            return Err(Failure::new(ExitStatus::Usage, "nobody can be asked, so nothing is allowed")
                .hint("`bastion allow` in a terminal asks; `--yes` allows without asking"));
        }
        printer.ask("Allow this? [y/N] ");
        if !is_yes(&answer(printer)) {
            return Err(Failure::new(ExitStatus::Failed, "nothing is allowed"));
        }
    }
    let given: Vec<Grant> = wanted.into_iter().map(|(_, grant)| grant).collect();
    grants
        .remember(&given)
        .map_err(|error| Failure::new(ExitStatus::Failed, printable(&error.to_string(), 1000)))?;
    printer.say("Allowed, for this workspace");
    Ok(ExitStatus::Done)
}

/// What is typed on the terminal, up to the end of the line.
fn answer(printer: Printer) -> String {
    let mut line = String::new();
    // Whoever types nothing that can be read has not said yes.
    let _unread = std::io::stdin().lock().take(100).read_line(&mut line);
    if !line.ends_with('\n') {
        // Ctrl-D leaves the cursor behind the question.
        printer.report("");
    }
    line
}

fn is_yes(answer: &str) -> bool {
    let answer = answer.trim();
    answer.eq_ignore_ascii_case("y") || answer.eq_ignore_ascii_case("yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        for yes in ["y\n", "Y", " yes\r\n", "YES"] {
            assert!(is_yes(yes), "{yes:?}");
        }
        for no in ["", "\n", "n", "no", "yess", "y n", "yep"] {
            assert!(!is_yes(no), "{no:?}");
        }
    }
}
