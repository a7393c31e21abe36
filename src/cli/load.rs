//! Finding and loading the workspace, with every mistake in it shown.

use std::collections::BTreeSet;

use super::settings::Settings;
use super::{ExitStatus, Failure};
use crate::config::Loaded;
use crate::model::{Desired, Name, printable};
use crate::ui::Printer;
use crate::workspace::{FindError, Where, Workspace};

/// Finds the workspace that the flags and the environment mean.
pub(super) fn find(settings: &Settings) -> Result<Workspace, Failure> {
    let environment = settings.environment.as_deref().map(environment).transpose()?;
    let place = Where {
        file: settings.file.clone(),
        environment,
        home: settings.home.clone(),
        user_config: settings.user_config.clone(),
    };
    Workspace::find(&place).map_err(|error| {
        let status = match error {
            FindError::CurrentDirectory(_) => ExitStatus::Failed,
            FindError::None { .. } | FindError::Foreign { .. } | FindError::Local => ExitStatus::Usage,
        };
        with_hint(Failure::new(status, error.to_string()), error.hint())
    })
}

/// Finds, reads and checks the workspace's files; every mistake in them is shown.
pub(super) fn load(settings: &Settings, printer: Printer) -> Result<Desired, Failure> {
    let files = find(settings)?.read().map_err(|error| {
        with_hint(Failure::new(ExitStatus::Usage, error.to_string()), error.hint().as_deref())
    })?;
    let variables = settings.variables(&files.mentioned());
    let Loaded { desired, diagnostics, warnings, values: _ } = files.load(&variables);
    let layers = files.layers();
    let source = files.source(&layers, &variables);
    for diagnostic in warnings.iter().chain(&diagnostics) {
        printer.report(&diagnostic.render(&source, printer.colors()));
        printer.report("");
    }
    desired.ok_or_else(|| {
        let mistakes = match diagnostics.len() {
            1 => "1 mistake".to_owned(),
            number => format!("{number} mistakes"),
        };
        let paths: BTreeSet<&str> = diagnostics.iter().map(|found| found.path(&source)).collect();
        let what = match (paths.len(), paths.first()) {
            (1, Some(path)) => printable(path, 400),
            _ => format!("{} with its layers", printable(&files.workspace().shown().to_string_lossy(), 400)),
        };
        Failure::new(ExitStatus::Usage, format!("{what} has {mistakes}; nothing was started"))
    })
}

fn environment(text: &str) -> Result<Name, Failure> {
    Name::new(text).map_err(|error| {
        let what = format!("`{}` cannot be the name of an environment: {error}", text.escape_debug());
        Failure::new(ExitStatus::Usage, what).hint("`--env` and BASTION_ENV name one")
    })
}

fn with_hint(failure: Failure, hint: Option<&str>) -> Failure {
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
