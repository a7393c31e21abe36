//! What a job of GitHub Actions shows in place of a secret: the statement of GitHub about it.

use std::fmt;
use std::time::Duration;

use azure_core::Error;
use azure_core::error::ErrorKind;
use azure_core::http::ClientMethodOptions;
use azure_identity::ClientAssertion;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Method, Request, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::flaw::{Flaw, is_passing};
use crate::model::chain;
use crate::net::{Http, HttpError};

/// How long GitHub may take.
const LIMIT: Duration = Duration::from_secs(20);
/// For whom the statement is: Entra takes no other.
const AUDIENCE: &str = "api://AzureADTokenExchange";

/// A job, as GitHub identifies it.
pub(super) struct Job {
    pub(super) url: String,
    pub(super) token: SecretString,
    pub(super) http: Http,
}

/// Why GitHub says nothing about a job. Nothing in it is secret.
#[derive(Debug, thiserror::Error)]
pub(super) enum JobError {
    /// The job's token goes to nobody but GitHub, and to nobody in the clear.
    #[error("ACTIONS_ID_TOKEN_REQUEST_URL is not an https URL")]
    Url,
    #[error("ACTIONS_ID_TOKEN_REQUEST_TOKEN is not a token")]
    Token,
    #[error("asking GitHub about this job")]
    Exchange(#[source] HttpError),
    #[error("asking GitHub about this job: HTTP {0}")]
    Status(u16),
    #[error("asking GitHub about this job: its answer has no statement in it")]
    NoStatement,
}

impl JobError {
    /// What kind of failure it is.
    pub(super) fn flaw(&self) -> Flaw {
        match self {
            Self::Exchange(_) => Flaw::Passing,
            Self::Status(status) if is_passing(*status) => Flaw::Passing,
            Self::Url | Self::Token | Self::Status(_) | Self::NoStatement => Flaw::Secret,
        }
    }

    /// What mends it.
    pub(super) fn way_out(&self) -> Option<&'static str> {
        match self {
            Self::Url | Self::Token | Self::NoStatement => Some(
                "leave ACTIONS_ID_TOKEN_REQUEST_URL and ACTIONS_ID_TOKEN_REQUEST_TOKEN as GitHub sets them",
            ),
            Self::Status(status) if !is_passing(*status) => Some(
                "give the job `permissions: { id-token: write }`; what GitHub set in ACTIONS_ID_TOKEN_REQUEST_TOKEN \
                 is good for that one job while it runs",
            ),
            Self::Exchange(_) | Self::Status(_) => None,
        }
    }
}

#[derive(Deserialize)]
struct Statement {
    value: String,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").finish_non_exhaustive()
    }
}

impl Job {
    async fn statement(&self) -> Result<String, JobError> {
        let url = Url::parse(&self.url).ok().filter(|url| url.scheme() == "https");
        let mut url = url.ok_or(JobError::Url)?;
        url.query_pairs_mut().append_pair("audience", AUDIENCE);
        let mut request = Request::new(Method::GET, url);
        let bearer = HeaderValue::from_str(&format!("Bearer {}", self.token.expose_secret()));
        let mut bearer = bearer.map_err(|_hidden| JobError::Token)?;
        bearer.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, bearer);
        let answer = self.http.send(request, LIMIT).await.map_err(JobError::Exchange)?;
        if answer.status != 200 {
            return Err(JobError::Status(answer.status));
        }
        let statement: Result<Statement, _> = serde_json::from_slice(&answer.body);
        let statement = statement.map_err(|_hidden| JobError::NoStatement)?.value;
        // Whatever it is, it is sent on to Entra, which says less clearly that it is none.
        if statement.split('.').count() == 3 { Ok(statement) } else { Err(JobError::NoStatement) }
    }
}

#[async_trait::async_trait]
impl ClientAssertion for Job {
    async fn secret(&self, _options: Option<ClientMethodOptions<'_>>) -> azure_core::Result<String> {
        self.statement().await.map_err(|error| {
            let text = chain(&error);
            Error::with_error(ErrorKind::Credential, error, text)
        })
    }
}
