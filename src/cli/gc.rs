//! `bastion gc`: what killed instances left behind, here and in Azure, and its end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::azure::Realm;
use super::settings::Settings;
use super::{ExitStatus, Failure, Format, journal, load};
use crate::gateway::{NotDeleted, sweep};
use crate::instance::{self, Abandoned, Found, Left, Owner, Places};
use crate::model::{chain, printable};
use crate::sys::clock;
use crate::ui::{Printer, count, safe_json};

/// How long the deletions in one cloud may take.
const LONGEST: Duration = Duration::from_secs(30);
/// The longest text from elsewhere that is shown.
const SHOWN: usize = 400;

/// Remove what killed instances left behind, here and in Azure
///
/// Of every workspace: the files of instances that do not run, and the sessions that nobody deletes any more. What
/// belongs to an instance that runs is left alone. It needs no sign-in.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// Say what there is, and remove nothing
    #[arg(long)]
    dry_run: bool,
}

/// Whose something is.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Home {
    workspace: Option<String>,
    environment: Option<String>,
    tunnel: bool,
}

/// A file that was left, and why it stays if it does.
struct Piece {
    home: Home,
    path: PathBuf,
    stays: Option<String>,
}

/// A session that was left.
struct Case {
    home: Home,
    journal: usize,
    id: u64,
    left: Arc<Left>,
    outcome: Outcome,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Found,
    Deleted,
    /// It cannot be deleted now; it stays in the journal.
    Kept(String),
    /// What is written down is no session that may be asked for: it is written down no longer.
    Refused(String),
}

/// All of it.
#[derive(Default)]
struct Report {
    dry_run: bool,
    pieces: Vec<Piece>,
    cases: Vec<Case>,
    in_use: usize,
    /// What cannot be looked at or tidied up.
    problems: Vec<String>,
}

pub(super) async fn run(
    arguments: &Arguments,
    settings: &Settings,
    format: Format,
    printer: Printer,
) -> Result<ExitStatus, Failure> {
    // A mistake in it is told before anything is done.
    load::network(settings, printer, "nothing was removed")?;
    let places = settings.places();
    let mut report = Report { dry_run: arguments.dry_run, ..Report::default() };
    here(&places, &mut report);
    in_azure(&places, settings, printer, &mut report).await?;
    match format {
        Format::Text => report.say(printer),
        Format::Json => {
            printer.data(&safe_json(&report.json().to_string()));
        }
    }
    Ok(if report.is_clean() { ExitStatus::Done } else { ExitStatus::Failed })
}

/// The files of instances that do not run.
fn here(places: &Places, report: &mut Report) {
    let (stale, refused) = match instance::stale(places, !report.dry_run) {
        Ok(found) => found,
        Err(error) => {
            report.problems.push(format!("looking for files of instances: {error}"));
            return;
        }
    };
    for (path, error) in refused {
        report.problems.push(format!("`{}`: {error}", load::shown(&path)));
    }
    for instance in stale {
        let home = instance.owner().map(Home::of).unwrap_or_default();
        let files = instance.files().to_vec();
        let stay: BTreeMap<PathBuf, String> = if report.dry_run {
            BTreeMap::new()
        } else {
            instance.remove().into_iter().map(|(path, error)| (path, error.to_string())).collect()
        };
        report.pieces.extend(files.into_iter().map(|path| {
            let stays = stay.get(&path).cloned();
            Piece { home: home.clone(), path, stays }
        }));
    }
}

/// The sessions that no living instance has written down.
async fn in_azure(
    places: &Places,
    settings: &Settings,
    printer: Printer,
    report: &mut Report,
) -> Result<(), Failure> {
    let found = instance::abandoned(places, clock::now())
        .map_err(|error| Failure::from_error(ExitStatus::Failed, &error))?;
    let mut journals: Vec<Abandoned> = Vec::new();
    for found in found {
        match found {
            Found::Abandoned(abandoned) => journals.push(*abandoned),
            Found::Held(_) => report.in_use += 1,
            Found::Refused(path, error) => {
                report.problems.push(format!("`{}`: {error}", load::shown(&path)));
            }
        }
    }
    for (journal, abandoned) in journals.iter().enumerate() {
        let home = Home::of_journal(abandoned);
        if abandoned.garbage() > 0 {
            let lines = count(abandoned.garbage(), "line");
            report.problems.push(format!("`{}`: {lines} could not be read", load::shown(abandoned.path())));
        }
        report.cases.extend(abandoned.left().into_iter().map(|(id, left)| Case {
            home: home.clone(),
            journal,
            id,
            left,
            outcome: Outcome::Found,
        }));
    }
    if report.dry_run {
        return Ok(());
    }
    let words: BTreeSet<String> = report.cases.iter().map(|case| case.left.cloud.clone()).collect();
    for word in words {
        delete(&word, settings, printer, &mut report.cases).await;
    }
    for (number, abandoned) in journals.into_iter().enumerate() {
        let kept = report.cases.iter().filter(|case| {
            case.journal == number && matches!(case.outcome, Outcome::Kept(_) | Outcome::Found)
        });
        let kept = kept.map(|case| case.id).collect();
        let path = load::shown(abandoned.path());
        if let Err(error) = abandoned.keep(&kept) {
            report.problems.push(format!("`{path}` cannot be written, so it will be tried again: {error}"));
        }
    }
    Ok(())
}

/// Deletes all that is in one Azure.
async fn delete(word: &str, settings: &Settings, printer: Printer, cases: &mut [Case]) {
    let way = Realm::find(word, settings, printer).and_then(|(realm, network)| {
        let http = network.http().map_err(|error| Failure::from_error(ExitStatus::Failed, &error))?;
        Ok((realm, http))
    });
    let mine = cases.iter_mut().filter(|case| case.left.cloud == word);
    let (realm, http) = match way {
        Ok(way) => way,
        Err(failure) => {
            mine.for_each(|case| case.outcome = Outcome::Kept(failure.what().to_owned()));
            return;
        }
    };
    let mut mine: Vec<&mut Case> = mine.collect();
    let mut remnants = Vec::new();
    for (number, case) in (0_u64..).zip(&mut mine) {
        match journal::read(&case.left, &realm) {
            Ok(remnant) => remnants.push((number, remnant)),
            Err(why) => case.outcome = Outcome::Refused(why),
        }
    }
    let told = |number: u64, deleted: Result<(), NotDeleted>| {
        let case = usize::try_from(number).ok().and_then(|number| mine.get_mut(number));
        if let Some(case) = case {
            case.outcome = match deleted {
                Ok(()) => Outcome::Deleted,
                Err(error) => Outcome::Kept(chain(&error)),
            };
        }
    };
    sweep(&http, remnants, Instant::now() + LONGEST, told).await;
}

impl Home {
    fn of(owner: &Owner) -> Self {
        let workspace = Some(owner.path().to_string_lossy().into_owned());
        Self { workspace, environment: owner.environment.clone(), tunnel: false }
    }

    fn of_journal(journal: &Abandoned) -> Self {
        let workspace = journal.workspace().map(str::to_owned);
        Self { tunnel: workspace.is_none(), workspace, environment: journal.environment().map(str::to_owned) }
    }

    fn shown(&self) -> String {
        match (&self.workspace, &self.environment) {
            (Some(workspace), None) => printable(workspace, SHOWN),
            (Some(workspace), Some(environment)) => {
                format!("{} in the environment `{}`", printable(workspace, SHOWN), printable(environment, 63))
            }
            (None, _) if self.tunnel => "`bastion tunnel`".to_owned(),
            (None, _) => "an instance that nobody knows".to_owned(),
        }
    }
}

impl Report {
    /// Whether nothing is left that should be gone.
    fn is_clean(&self) -> bool {
        let gone = |case: &Case| matches!(case.outcome, Outcome::Found | Outcome::Deleted);
        self.problems.is_empty()
            && self.pieces.iter().all(|piece| piece.stays.is_none())
            && self.cases.iter().all(gone)
    }

    fn say(&self, printer: Printer) {
        let mut lines = BTreeMap::new();
        for Piece { home, path, stays } in &self.pieces {
            let what = match stays {
                Some(why) => format!("`{}` stays: {}", load::shown(path), printable(why, SHOWN)),
                None if self.dry_run => "would be removed".to_owned(),
                None => "removed".to_owned(),
            };
            *lines.entry((home, "file", what)).or_insert(0) += 1;
        }
        for Case { home, outcome, .. } in &self.cases {
            let what = match outcome {
                Outcome::Found => "would be deleted in Azure".to_owned(),
                Outcome::Deleted => "deleted in Azure".to_owned(),
                Outcome::Kept(why) => format!("not deleted: {}; kept for another try", printable(why, SHOWN)),
                Outcome::Refused(why) => {
                    format!("not asked for, and written down no longer: {}", printable(why, SHOWN))
                }
            };
            *lines.entry((home, "session", what)).or_insert(0) += 1;
        }
        for ((home, one, what), number) in &lines {
            printer.data(&format!("{}: {} {what}", home.shown(), count(*number, one)));
        }
        for problem in &self.problems {
            printer.warn(&format!("{} [journal]", printable(problem, SHOWN)));
        }
        if lines.is_empty() && self.problems.is_empty() {
            printer.say("Nothing was left behind");
        }
        if self.in_use > 0 {
            let what = count(self.in_use, "journal");
            printer.say(&format!("Left alone: {what} of what runs"));
        }
    }

    fn json(&self) -> Value {
        let files = self.pieces.iter().map(|Piece { home, path, stays }| {
            json!({
                "path": path.to_string_lossy(),
                "workspace": home.workspace,
                "environment": home.environment,
                "removed": !self.dry_run && stays.is_none(),
                "reason": stays,
            })
        });
        let sessions = self.cases.iter().map(|Case { home, left, outcome, .. }| {
            let (word, reason) = match outcome {
                Outcome::Found => ("found", None),
                Outcome::Deleted => ("deleted", None),
                Outcome::Kept(why) => ("kept", Some(why)),
                Outcome::Refused(why) => ("refused", Some(why)),
            };
            json!({
                "workspace": home.workspace,
                "environment": home.environment,
                "cloud": left.cloud.split(' ').next(),
                "gateway": left.host,
                "outcome": word,
                "reason": reason,
            })
        });
        json!({
            "version": 1,
            "dry_run": self.dry_run,
            "files": files.collect::<Vec<_>>(),
            "sessions": sessions.collect::<Vec<_>>(),
            "in_use": self.in_use,
            "problems": self.problems,
        })
    }
}
