//! What a job of GitHub Actions shows in place of a secret: the statement of GitHub about it.

use std::fmt;
use std::time::Duration;

use azure_core::error::ErrorKind;
use azure_core::http::ClientMethodOptions;
use azure_core::{Error, Result};
use azure_identity::ClientAssertion;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Method, Request, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use crate::model::chain;
use crate::net::Http;

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

#[derive(Deserialize)]
struct Statement {
    value: String,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl ClientAssertion for Job {
    async fn secret(&self, _options: Option<ClientMethodOptions<'_>>) -> Result<String> {
        let unusable =
            |_| Error::with_message(ErrorKind::Credential, "ACTIONS_ID_TOKEN_REQUEST_URL is not a URL");
        let mut url = Url::parse(&self.url).map_err(unusable)?;
        url.query_pairs_mut().append_pair("audience", AUDIENCE);
        let mut request = Request::new(Method::GET, url);
        let mut bearer =
            HeaderValue::from_str(&format!("Bearer {}", self.token.expose_secret())).map_err(|_| {
                Error::with_message(ErrorKind::Credential, "ACTIONS_ID_TOKEN_REQUEST_TOKEN is not a token")
            })?;
        bearer.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, bearer);
        let answer = self.http.send(request, LIMIT).await.map_err(|error| {
            let text = format!("asking GitHub about this job: {}", chain(&error));
            Error::with_error(ErrorKind::Io, error, text)
        })?;
        if answer.status != 200 {
            let text = format!("asking GitHub about this job: HTTP {}", answer.status);
            let kind = if answer.status >= 500 { ErrorKind::Io } else { ErrorKind::Credential };
            return Err(Error::with_message(kind, text));
        }
        let statement: Statement = serde_json::from_slice(&answer.body).map_err(|_hidden| {
            Error::with_message(ErrorKind::Credential, "GitHub's answer about this job has no statement")
        })?;
        Ok(statement.value)
    }
}
