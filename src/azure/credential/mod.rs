//! Credentials: how an access token is had, and why one could not be.
//!
//! Azure's own library does the talking; what it is told stands in [`Environment`], and it reaches the network only by
//! the rules of [`Http`](crate::net::Http). A credential here keeps nothing: every question asks its source anew, and
//! what is remembered is remembered in [`tokens`](super::tokens), by our clock and our rules.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::SystemTime;

use secrecy::SecretString;

use crate::model::CredentialKind;

mod answer;
mod assertion;
mod auto;
mod commands;
mod flaw;
mod github;
mod managed;
mod process;
mod ready;
mod transport;
mod way;

pub use flaw::{Flaw, SignInError};

pub(super) use auto::Auto;
pub(super) use commands::{az_login, azd_login};
pub(super) use ready::{Ground, Ready};

/// What a credential does, some time.
pub type Asking<'a> = Pin<Box<dyn Future<Output = Result<Granted, SignInError>> + Send + 'a>>;

/// What can get access tokens.
pub trait Credential: Send + Sync {
    /// A token for an audience, from its source. Cancelling it ends what was started for it.
    fn token<'a>(&'a self, audience: &'a str) -> Asking<'a>;

    /// Somebody may have signed in, or out.
    fn reconsider(&self) {}
}

/// An access token.
#[derive(Clone)]
pub struct Granted {
    /// The token itself.
    pub token: SecretString,
    /// Until when it is good, by the wall clock.
    pub expires: SystemTime,
    /// The credential that gave it.
    pub by: CredentialKind,
    /// Those that were asked before it in vain, in order.
    pub passed: Vec<PassedOver>,
}

impl fmt::Debug for Granted {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Granted")
            .field("by", &self.by)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// A credential that `auto` went past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOver {
    /// Which.
    pub credential: CredentialKind,
    /// What kind of failure it was.
    pub flaw: Flaw,
    /// Why.
    pub why: String,
}

/// What the environment says about signing in: the usual variables, read where the environment is read. It cannot be
/// printed, for some of it is secret.
#[derive(Clone, Default)]
pub struct Environment {
    /// `AZURE_TENANT_ID`.
    pub tenant: Option<String>,
    /// `AZURE_CLIENT_ID`.
    pub client_id: Option<String>,
    /// `AZURE_CLIENT_SECRET`.
    pub client_secret: Option<SecretString>,
    /// `AZURE_CLIENT_CERTIFICATE_PATH`: a PEM file with a certificate and its RSA key.
    pub client_certificate: Option<PathBuf>,
    /// `AZURE_FEDERATED_TOKEN_FILE`.
    pub federated_token_file: Option<PathBuf>,
    /// `AZURE_AUTHORITY_HOST`, which goes over the authority of the public cloud.
    pub authority_host: Option<String>,
    /// Whether `IDENTITY_ENDPOINT` or `MSI_ENDPOINT` is set: there is a managed identity.
    pub identity_endpoint: bool,
    /// `ACTIONS_ID_TOKEN_REQUEST_URL` and `ACTIONS_ID_TOKEN_REQUEST_TOKEN`, which a job with `id-token: write` has.
    pub github: Option<(String, SecretString)>,
    /// What a task of Azure Pipelines has.
    pub pipelines: Option<Pipelines>,
    /// Where az keeps its profile: `AZURE_CONFIG_DIR`, or `.azure` at home.
    pub az_profile: Option<PathBuf>,
    /// Where azd keeps its own: `AZD_CONFIG_DIR`, or `.azd` at home.
    pub azd_profile: Option<PathBuf>,
    /// `PATH`, in which az and azd are looked for; none: as this process has it.
    pub path: Option<OsString>,
    /// What az and azd find in their environment besides: the way to Azure that this program was told and they were not.
    pub for_programs: Vec<(&'static str, SecretString)>,
}

/// What a task of Azure Pipelines signs in with.
#[derive(Clone)]
pub struct Pipelines {
    /// `AZURESUBSCRIPTION_SERVICE_CONNECTION_ID`.
    pub service_connection: String,
    /// `SYSTEM_ACCESSTOKEN`.
    pub access_token: Option<SecretString>,
    /// Whether `SYSTEM_OIDCREQUESTURI` is set, which Azure's library reads by itself.
    pub request_uri: bool,
    /// `AZURESUBSCRIPTION_TENANT_ID`.
    pub tenant: Option<String>,
    /// `AZURESUBSCRIPTION_CLIENT_ID`.
    pub client_id: Option<String>,
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").finish_non_exhaustive()
    }
}

impl fmt::Debug for Pipelines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipelines").finish_non_exhaustive()
    }
}

impl Environment {
    /// The files of az's profile, and of azd's, that change when somebody signs in or out.
    pub(super) fn profile_files(&self) -> Vec<PathBuf> {
        // The token cache is encrypted on some systems, and named otherwise there.
        let names = ["azureProfile.json", "msal_token_cache.json", "msal_token_cache.bin"];
        let az = self.az_profile.iter().flat_map(|directory| names.map(|name| directory.join(name)));
        // Who is signed in; azd's token cache also changes whenever a token is asked for.
        let azd = self.azd_profile.iter().map(|directory| directory.join("auth.json"));
        az.chain(azd).collect()
    }
}

/// The word of the file format for a credential.
pub fn credential_word(kind: CredentialKind) -> &'static str {
    CredentialKind::ALL.iter().find(|(_, known)| *known == kind).map_or("auto", |(word, _)| word)
}
