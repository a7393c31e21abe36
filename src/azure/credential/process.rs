//! Runs az and azd, and ends them when nobody waits for them any more.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::process::Output;
use std::sync::Arc;

use azure_core::credentials::TokenCredential;
use azure_identity::{
    AzureCliCredential, AzureCliCredentialOptions, AzureDeveloperCliCredential,
    AzureDeveloperCliCredentialOptions, Executor,
};
use tokio::process::Command;

use crate::sys::process;

/// The library starts a program and lets it run on when its answer is no longer wanted; this does not.
struct Runner {
    path: Option<OsString>,
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
        process::output(command).await
    }
}

/// The Azure CLI, asked for a tenant.
pub(super) fn az(
    tenant: Option<&str>,
    path: Option<&OsString>,
) -> azure_core::Result<Arc<dyn TokenCredential>> {
    let executor: Arc<dyn Executor> = Arc::new(Runner { path: path.cloned() });
    let (tenant_id, executor) = (tenant.map(str::to_owned), Some(executor));
    let options = AzureCliCredentialOptions { tenant_id, executor, ..Default::default() };
    let credential: Arc<dyn TokenCredential> = AzureCliCredential::new(Some(options))?;
    Ok(credential)
}

/// The Azure Developer CLI, asked for a tenant.
pub(super) fn azd(
    tenant: Option<&str>,
    path: Option<&OsString>,
) -> azure_core::Result<Arc<dyn TokenCredential>> {
    let executor: Arc<dyn Executor> = Arc::new(Runner { path: path.cloned() });
    let (tenant_id, executor) = (tenant.map(str::to_owned), Some(executor));
    let options = AzureDeveloperCliCredentialOptions { tenant_id, executor };
    let credential: Arc<dyn TokenCredential> = AzureDeveloperCliCredential::new(Some(options))?;
    Ok(credential)
}
