//! Why a command did not do what it was asked, and the exit status that says so to scripts.

use super::ExitStatus;
use crate::control::Refused;
use crate::control::client::ClientError;
use crate::model::{chain, printable};
use crate::ui::{Printer, safe_lines};

/// The longest text of an instance that is shown on a line.
const LONGEST: usize = 1000;

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) status: ExitStatus,
    what: String,
    hint: Option<String>,
    /// What is shown before it: mistakes that another process found in the files.
    report: Option<String>,
}

impl Failure {
    pub(super) fn new(status: ExitStatus, what: impl Into<String>) -> Self {
        Self { status, what: what.into(), hint: None, report: None }
    }

    pub(super) fn from_error(status: ExitStatus, error: &(dyn std::error::Error + 'static)) -> Self {
        Self::new(status, chain(error))
    }

    /// That a running instance did not do or did not answer something. Its words are made safe to show.
    pub(super) fn from_client(error: &ClientError) -> Self {
        match error {
            ClientError::Refused(refused) => Self::refused(refused),
            ClientError::Io(..)
            | ClientError::Broken(_)
            | ClientError::NotUnderstood(_)
            | ClientError::TooLong
            | ClientError::Silent => Self::new(ExitStatus::Failed, printable(&error.to_string(), LONGEST)),
        }
    }

    pub(super) fn refused(refused: &Refused) -> Self {
        let Refused { code, what, hint, report } = refused;
        let status = if report.is_some() { ExitStatus::Usage } else { ExitStatus::of_code(code) };
        let what = printable(what, LONGEST);
        let what = if code.is_empty() { what } else { format!("{what} [{}]", printable(code, 60)) };
        Self {
            status,
            what,
            hint: hint.as_ref().map(|hint| printable(hint, LONGEST)),
            report: report.as_deref().map(safe_lines),
        }
    }

    /// The same for scripts to tell apart in another way.
    pub(super) fn status(self, status: ExitStatus) -> Self {
        Self { status, ..self }
    }

    pub(super) fn hint(mut self, hint: &str) -> Self {
        self.hint = Some(hint.to_owned());
        self
    }

    /// What happened, for where it is a part of something larger.
    pub(super) fn what(&self) -> &str {
        &self.what
    }

    /// Says it.
    pub(super) fn tell(&self, printer: Printer) {
        if let Some(report) = &self.report {
            printer.report(report);
            printer.report("");
        }
        printer.error(&self.what, self.hint.as_deref());
    }
}

impl ExitStatus {
    /// What a failure of this class is to scripts.
    pub(super) fn of_code(code: &str) -> Self {
        match code {
            "rejected" | "unknown-tunnel" => Self::Usage,
            "sign-in" | "denied" => Self::SignIn,
            "port-taken" => Self::InTheWay,
            _ => Self::Failed,
        }
    }
}
