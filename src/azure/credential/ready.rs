//! One credential of a kind, ready to be asked: what it needs is there, or it says what is missing.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use azure_core::credentials::{Secret, TokenCredential};
use azure_core::error::ErrorKind;
use azure_identity::{
    AzurePipelinesCredential, AzurePipelinesCredentialOptions, ClientAssertionCredential,
    ClientAssertionCredentialOptions, ClientSecretCredential, ClientSecretCredentialOptions,
    WorkloadIdentityCredential, WorkloadIdentityCredentialOptions,
};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::timeout;

use super::answer::NoToken;
use super::assertion::Certificate;
use super::commands::scope;
use super::flaw::{Flaw, SignInError, is_passing, see};
use super::github::{Job, JobError};
use super::process::mute;
use super::{Asking, Credential, Environment, Granted, managed, process, transport};
use crate::model::{CredentialKind, Identity, chain};
use crate::net::{Http, HttpError};

/// How long any source may take: az can be slow, but not this slow.
const LIMIT: Duration = Duration::from_secs(60);

/// What every credential is made of.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) http: Http,
    /// `https://login…`, without a path.
    pub(crate) authority: String,
    pub(crate) environment: Environment,
    pub(crate) clock: fn() -> SystemTime,
}

/// A credential of one kind.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(super) kind: CredentialKind,
    pub(super) identity: Identity,
    pub(super) ground: Arc<Ground>,
}

/// The tenant and the application that sign in.
struct Application {
    tenant: String,
    client_id: String,
}

impl Ready {
    pub(in crate::azure) fn new(kind: CredentialKind, identity: &Identity, ground: &Arc<Ground>) -> Self {
        Self { kind, identity: identity.clone(), ground: Arc::clone(ground) }
    }

    fn environment(&self) -> &Environment {
        &self.ground.environment
    }

    /// What this credential is known by is not set.
    fn missing(&self, what: &str) -> SignInError {
        SignInError::new(self.kind, Flaw::Unset, format!("{what} is not set"))
            .way_out(format!("set {what}, or choose another `credential`"))
    }

    /// Something else that it needs is not set, so that it is there by half.
    fn lacking(&self, what: &str) -> SignInError {
        SignInError { flaw: Flaw::Absent, ..self.missing(what) }
    }

    /// The tenant and the application: the file's word first, for several may stand in it.
    fn application(&self) -> Result<Application, SignInError> {
        let (wanted, environment) = (&self.identity, self.environment());
        let tenant = wanted.tenant.clone().or_else(|| environment.tenant.clone());
        let client_id = wanted.client_id.clone().or_else(|| environment.client_id.clone());
        Ok(Application {
            tenant: tenant.ok_or_else(|| self.lacking("AZURE_TENANT_ID"))?,
            client_id: client_id.ok_or_else(|| self.lacking("AZURE_CLIENT_ID"))?,
        })
    }

    /// The library's credential, made anew: theirs remember tokens, and one that was refused is of no use.
    async fn theirs(&self) -> Result<Arc<dyn TokenCredential>, SignInError> {
        let (tenant, environment) = (self.identity.tenant.as_deref(), self.environment());
        let made = match self.kind {
            CredentialKind::AzureCli => process::az(tenant, environment),
            CredentialKind::AzureDeveloperCli => process::azd(tenant, environment),
            CredentialKind::ManagedIdentity => {
                managed::is_there(self.environment().identity_endpoint).await?;
                let client_id = self.identity.client_id.as_deref().or(environment.client_id.as_deref());
                Ok(managed::identity(client_id).map_err(|error| {
                    SignInError::new(self.kind, Flaw::Secret, chain(&error))
                        .way_out("`credential = \"azure-cli\"` where there is an az, as in Cloud Shell")
                })?)
            }
            CredentialKind::WorkloadIdentity => self.workload()?,
            CredentialKind::Github => self.github()?,
            CredentialKind::AzurePipelines => self.pipelines()?,
            CredentialKind::ClientSecret => self.secret()?,
            CredentialKind::ClientCertificate => self.certificate()?,
            CredentialKind::Auto | CredentialKind::Login | CredentialKind::Broker => {
                return Err(self.not_yet());
            }
        };
        made.map_err(|error| SignInError::new(self.kind, Flaw::Secret, chain(&error)))
    }

    fn not_yet(&self) -> SignInError {
        SignInError::new(self.kind, Flaw::NotYet, "this credential is not supported yet")
            .way_out("`credential = \"azure-cli\"` after `az login`, or `auto`")
    }

    fn secret(&self) -> Result<Made, SignInError> {
        let secret = self.environment().client_secret.as_ref();
        let secret = secret.ok_or_else(|| self.missing("AZURE_CLIENT_SECRET"))?;
        let Application { tenant, client_id } = self.application()?;
        let mut options = ClientSecretCredentialOptions::default();
        options.client_options = transport::options(&self.ground.http, &self.ground.authority);
        let secret = Secret::new(secret.expose_secret().to_owned());
        let made = ClientSecretCredential::new(&tenant, client_id, secret, Some(options));
        Ok(made.map(|made| made as Arc<dyn TokenCredential>))
    }

    fn certificate(&self) -> Result<Made, SignInError> {
        let path = self.environment().client_certificate.as_deref();
        let path = path.ok_or_else(|| self.missing("AZURE_CLIENT_CERTIFICATE_PATH"))?;
        let Application { tenant, client_id } = self.application()?;
        let endpoint = format!("{}/{tenant}/oauth2/v2.0/token", self.ground.authority.trim_end_matches('/'));
        let certificate = Certificate::read(path, &client_id, endpoint, self.ground.clock)
            .map_err(|error| self.file(path, &chain(&error)))?;
        let made = ClientAssertionCredential::new(tenant, client_id, certificate, Some(self.assertion()));
        Ok(made.map(|made| made as Arc<dyn TokenCredential>))
    }

    fn github(&self) -> Result<Made, SignInError> {
        let Some((url, token)) = self.environment().github.clone() else {
            let what = "ACTIONS_ID_TOKEN_REQUEST_URL";
            return Err(self.missing(what).way_out("give the job `permissions: { id-token: write }`"));
        };
        let Application { tenant, client_id } = self.application()?;
        let job = Job { url, token, http: self.ground.http.clone() };
        let made = ClientAssertionCredential::new(tenant, client_id, job, Some(self.assertion()));
        Ok(made.map(|made| made as Arc<dyn TokenCredential>))
    }

    fn workload(&self) -> Result<Made, SignInError> {
        let path = self.environment().federated_token_file.clone();
        let path = path.ok_or_else(|| self.missing("AZURE_FEDERATED_TOKEN_FILE"))?;
        let Application { tenant, client_id } = self.application()?;
        let options = WorkloadIdentityCredentialOptions {
            credential_options: self.assertion(),
            tenant_id: Some(tenant),
            client_id: Some(client_id),
            token_file_path: Some(path),
        };
        // It reads the file now, and what is made here is asked once.
        let made = WorkloadIdentityCredential::new(Some(options)).map_err(|error| {
            SignInError::new(self.kind, Flaw::Secret, chain(&error)).way_out(
                "name the file that Kubernetes writes the pod's token to in AZURE_FEDERATED_TOKEN_FILE",
            )
        })?;
        Ok(Ok(made))
    }

    fn pipelines(&self) -> Result<Made, SignInError> {
        let Some(task) = self.environment().pipelines.clone() else {
            return Err(self.missing("AZURESUBSCRIPTION_SERVICE_CONNECTION_ID"));
        };
        // A step has it only where its author says so.
        let token = task.access_token.ok_or_else(|| {
            let way_out = "map `SYSTEM_ACCESSTOKEN: $(System.AccessToken)` in the step's `env`";
            self.lacking("SYSTEM_ACCESSTOKEN").way_out(way_out)
        })?;
        if !task.request_uri {
            return Err(self.lacking("SYSTEM_OIDCREQUESTURI"));
        }
        let tenant = self.identity.tenant.clone().or(task.tenant);
        let client_id = self.identity.client_id.clone().or(task.client_id);
        let tenant = tenant.ok_or_else(|| self.lacking("AZURESUBSCRIPTION_TENANT_ID"))?;
        let client_id = client_id.ok_or_else(|| self.lacking("AZURESUBSCRIPTION_CLIENT_ID"))?;
        let options = AzurePipelinesCredentialOptions { credential_options: self.assertion() };
        let token = Secret::new(token.expose_secret().to_owned());
        let connection = &task.service_connection;
        let made = AzurePipelinesCredential::new(tenant, client_id, connection, token, Some(options));
        Ok(made.map(|made| made as Arc<dyn TokenCredential>))
    }

    fn assertion(&self) -> ClientAssertionCredentialOptions {
        let mut options = ClientAssertionCredentialOptions::default();
        options.client_options = transport::options(&self.ground.http, &self.ground.authority);
        options
    }

    fn file(&self, path: &Path, what: &str) -> SignInError {
        let text = format!("AZURE_CLIENT_CERTIFICATE_PATH names {}: {what}", path.display());
        SignInError::new(self.kind, Flaw::Secret, text).way_out(
            "name a PEM file with the application's certificate and its RSA key, without a password, in \
             AZURE_CLIENT_CERTIFICATE_PATH",
        )
    }

    async fn ask(&self, audience: &str) -> Result<Granted, SignInError> {
        let theirs = self.theirs().await?;
        let wanted = scope(audience);
        let asked = timeout(LIMIT, theirs.get_token(&[&wanted], None)).await;
        let answer = asked.map_err(|_elapsed| {
            SignInError::new(self.kind, Flaw::Passing, format!("no answer within {} s", LIMIT.as_secs()))
        })?;
        let token = answer.map_err(|error| self.failure(&error, audience))?;
        let text = token.token.secret();
        // It goes into a header, as it is.
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(self.no_token());
        }
        Ok(Granted {
            token: SecretString::from(text),
            expires: SystemTime::from(token.expires_on),
            by: self.kind,
            passed: Vec::new(),
        })
    }

    /// What was given as one is no token. What it is instead is not told.
    fn no_token(&self) -> SignInError {
        let (who, flaw) = match self.kind {
            CredentialKind::AzureCli => ("az", Flaw::Unclear),
            CredentialKind::AzureDeveloperCli => ("azd", Flaw::Unclear),
            CredentialKind::ManagedIdentity => ("the metadata service", Flaw::Secret),
            CredentialKind::Auto
            | CredentialKind::AzurePipelines
            | CredentialKind::Broker
            | CredentialKind::ClientCertificate
            | CredentialKind::ClientSecret
            | CredentialKind::Github
            | CredentialKind::Login
            | CredentialKind::WorkloadIdentity => ("the sign-in service", Flaw::Secret),
        };
        SignInError::new(self.kind, flaw, format!("{who} gave something that is no token"))
    }

    fn failure(&self, error: &azure_core::Error, audience: &str) -> SignInError {
        let tenant = self.identity.tenant.as_deref();
        let understood = SignInError::said(self.kind, &error.to_string(), tenant, audience);
        if let Some(job) = causes(error).find_map(|cause| cause.downcast_ref::<JobError>()) {
            // Nobody asked Entra yet: what it would say is not what is meant.
            let error = SignInError::new(self.kind, job.flaw(), understood.what);
            return match (job, job.way_out()) {
                (JobError::Exchange(unanswered), _) => error.unanswered(unanswered),
                (_, Some(way_out)) => error.way_out(way_out),
                (_, None) => error,
            };
        }
        if let Some(program) = causes(error).find_map(mute) {
            let (flaw, way_out) = if program.cannot_run() {
                (Flaw::Unfit, "install it anew, or choose another `credential`")
            } else {
                (Flaw::Unclear, see(self.kind))
            };
            return SignInError::new(self.kind, flaw, program.to_string()).way_out(way_out);
        }
        if let Some(unanswered) = causes(error).find_map(|cause| cause.downcast_ref::<HttpError>()) {
            return understood.unanswered(unanswered);
        }
        if let Some(no) = causes(error).find_map(|cause| cause.downcast_ref::<NoToken>()) {
            return understood.refused(no);
        }
        let answer = causes(error).find_map(|cause| {
            let kind = cause.downcast_ref::<azure_core::Error>()?.kind();
            let ErrorKind::HttpResponse { status, raw_response, .. } = kind else { return None };
            Some((u16::from(*status), raw_response.as_ref().map(|raw| raw.body().as_ref())))
        });
        let understood = match answer {
            Some((status, body)) => understood.of_metadata(status, body.unwrap_or_default()),
            None => understood,
        };
        if answer.is_some_and(|(status, _)| is_passing(status)) || is_of_network(error) {
            // What a network or a busy server did is not mended by signing in, whatever its words are.
            return SignInError::new(self.kind, Flaw::Passing, understood.what);
        }
        match causes(error).find_map(|cause| cause.downcast_ref::<serde_json::Error>()) {
            Some(json) => understood.not_json(json.line(), json.column()),
            None => understood,
        }
    }
}

type Made = azure_core::Result<Arc<dyn TokenCredential>>;

impl Credential for Ready {
    fn token<'a>(&'a self, audience: &'a str) -> Asking<'a> {
        Box::pin(self.ask(audience))
    }
}

/// An error and what is below it.
fn causes<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

/// Whether a failure is one of the network.
fn is_of_network(error: &azure_core::Error) -> bool {
    causes(error).any(|cause| cause.is::<reqwest::Error>())
}
