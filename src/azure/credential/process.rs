//! Runs az and azd, and ends them when nobody waits for them any more.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::process::{ExitStatus, Output};
use std::sync::Arc;

use azure_core::credentials::TokenCredential;
use azure_identity::{
    AzureCliCredential, AzureCliCredentialOptions, AzureDeveloperCliCredential,
    AzureDeveloperCliCredentialOptions, Executor,
};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::process::Command;

use super::Environment;
use crate::model::printable;
use crate::sys::process;

/// The library starts a program and lets it run on when its answer is no longer wanted; this does not.
struct Runner {
    name: &'static str,
    path: Option<OsString>,
    more: Vec<(&'static str, SecretString)>,
}

/// A program that says nothing that could be understood.
#[derive(Debug, thiserror::Error)]
pub(super) enum Mute {
    /// It is there, and something that it needs is not.
    #[error("{name} is there and cannot run: {why}")]
    CannotRun {
        /// The program.
        name: &'static str,
        /// What the system says.
        why: String,
    },
    /// It failed without a word.
    #[error("{name} failed and said nothing ({status})")]
    Failed {
        /// The program.
        name: &'static str,
        /// How it ended.
        status: ExitStatus,
    },
    /// It did not fail, and said nothing either.
    #[error("{0} answered nothing")]
    Nothing(&'static str),
}

impl Mute {
    /// Whether it will not run the next time either.
    pub(super) fn cannot_run(&self) -> bool {
        matches!(self, Self::CannotRun { .. })
    }
}

/// What a program did not say, if that is what an error is about.
pub(super) fn mute<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Mute> {
    error.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref()
}

impl Runner {
    fn new(name: &'static str, environment: &Environment) -> Self {
        Self { name, path: environment.path.clone(), more: environment.for_programs.clone() }
    }

    /// The library would read what is not there.
    fn understood(&self, mut output: Output) -> Result<Output, Mute> {
        let blank = |text: &[u8]| text.iter().all(u8::is_ascii_whitespace);
        let (name, status) = (self.name, output.status);
        if status.success() {
            if let Some(rest) = output.stdout.strip_prefix(b"\xef\xbb\xbf") {
                output.stdout = rest.to_vec();
            }
            return if blank(&output.stdout) { Err(Mute::Nothing(name)) } else { Ok(output) };
        }
        if blank(&output.stderr) {
            return Err(Mute::Failed { name, status });
        }
        // A shell says so of what is not there, and a script of what it is to be run by.
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if status.code() == Some(127)
            && !said.contains(&format!("{name}: not found"))
            && !said.contains(&format!("{name}: command not found"))
        {
            let why = printable(said.lines().find(|line| !line.trim().is_empty()).unwrap_or_default(), 200);
            return Err(Mute::CannotRun { name, why });
        }
        Ok(output)
    }
}

impl fmt::Debug for Runner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runner").finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl Executor for Runner {
    async fn run(&self, program: &OsStr, args: &[&OsStr]) -> io::Result<Output> {
        let mut command = Command::new(program);
        // Its words must be those that are understood here.
        command.args(args).env("AZURE_CORE_NO_COLOR", "true");
        if let Some(path) = &self.path {
            command.env("PATH", path);
        }
        for (variable, value) in &self.more {
            command.env(variable, value.expose_secret());
        }
        let output = process::output(command).await?;
        self.understood(output).map_err(io::Error::other)
    }
}

/// The Azure CLI, asked for a tenant.
pub(super) fn az(
    tenant: Option<&str>,
    environment: &Environment,
) -> azure_core::Result<Arc<dyn TokenCredential>> {
    let executor: Arc<dyn Executor> = Arc::new(Runner::new("az", environment));
    let (tenant_id, executor) = (tenant.map(str::to_owned), Some(executor));
    let options = AzureCliCredentialOptions { tenant_id, executor, ..Default::default() };
    let credential: Arc<dyn TokenCredential> = AzureCliCredential::new(Some(options))?;
    Ok(credential)
}

/// The Azure Developer CLI, asked for a tenant.
pub(super) fn azd(
    tenant: Option<&str>,
    environment: &Environment,
) -> azure_core::Result<Arc<dyn TokenCredential>> {
    let executor: Arc<dyn Executor> = Arc::new(Runner::new("azd", environment));
    let (tenant_id, executor) = (tenant.map(str::to_owned), Some(executor));
    let options = AzureDeveloperCliCredentialOptions { tenant_id, executor };
    let credential: Arc<dyn TokenCredential> = AzureDeveloperCliCredential::new(Some(options))?;
    Ok(credential)
}
