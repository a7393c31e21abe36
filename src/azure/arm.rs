//! Reads from Azure Resource Manager.

use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Method, Request, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use std::time::Duration;

use super::bastion_host::{BastionHost, ReadError};
use super::challenge::Challenge;
use crate::model::{Blocked, Disposition, PortRule, ResourceId, printable};
use crate::net::{Http, HttpError, ProxyError, UNTRUSTED};

/// The API version of bastion reads that other clients are known to use with success.
const API_VERSION: &str = "2024-05-01";
/// How long one read may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Where a cloud's control plane is, and what it may name as a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cloud {
    /// ARM's host, with a port where it is not 443.
    pub resource_manager: String,
    /// Whether a gateway may have a port of its own.
    pub gateway_ports: PortRule,
}

/// Azure Resource Manager of one cloud.
#[derive(Clone, Debug)]
pub struct Arm {
    cloud: Cloud,
    http: Http,
}

/// A read that failed. `Display` says what we were doing; the source says what happened.
#[derive(Debug, thiserror::Error)]
pub enum ArmError {
    /// No answer.
    #[error("reading the bastion `{bastion}` from Azure Resource Manager")]
    Send {
        /// The bastion's name.
        bastion: String,
        /// Why.
        #[source]
        source: HttpError,
    },
    /// An answer other than 200.
    #[error(
        "reading the bastion `{bastion}` from Azure Resource Manager: HTTP {status}{}",
        said(code, message)
    )]
    Refused {
        /// The bastion's name.
        bastion: String,
        /// The HTTP status.
        status: u16,
        /// ARM's `error.code`.
        code: String,
        /// ARM's `error.message`.
        message: String,
        /// When ARM asks to be asked again.
        retry_after: Option<Duration>,
        /// What it says of the token, with a 401.
        challenge: Option<Box<Challenge>>,
    },
    /// An answer that does not describe a bastion we could use.
    #[error("reading what Azure Resource Manager says of the bastion `{bastion}`")]
    Answer {
        /// The bastion's name.
        bastion: String,
        /// What is wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

#[derive(Default, Deserialize)]
struct ErrorAnswer {
    #[serde(default)]
    error: ErrorBody,
}

#[derive(Default, Deserialize)]
struct ErrorBody {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl Arm {
    /// Reads by these rules from this cloud.
    pub fn new(cloud: Cloud, http: Http) -> Self {
        Self { cloud, http }
    }

    /// What ARM says about a bastion.
    ///
    /// # Errors
    /// Says what ARM answered; the error knows whether another try makes sense.
    pub async fn bastion(&self, id: &ResourceId, token: &SecretString) -> Result<BastionHost, ArmError> {
        let bastion = || id.name().to_owned();
        let url = format!("https://{}{id}?api-version={API_VERSION}", self.cloud.resource_manager);
        let unusable = |source| ArmError::Answer { bastion: bastion(), source };
        let mut request =
            Request::new(Method::GET, Url::parse(&url).map_err(|error| unusable(error.into()))?);
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()))
            .map_err(|error| unusable(error.into()))?;
        bearer.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, bearer);
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        let sent = self.http.send(request, LIMIT).await;
        let answer = sent.map_err(|source| ArmError::Send { bastion: bastion(), source })?;
        if answer.status != 200 {
            let said: ErrorAnswer = serde_json::from_slice(&answer.body).unwrap_or_default();
            let header = answer.headers.get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
            let challenge =
                (answer.status == 401).then(|| Box::new(Challenge::read(header, &said.error.code)));
            return Err(ArmError::Refused {
                challenge,
                bastion: bastion(),
                status: answer.status,
                code: printable(&said.error.code, 300),
                message: printable(&said.error.message, 300),
                retry_after: answer.retry_after(),
            });
        }
        BastionHost::read(&answer.body, self.cloud.gateway_ports)
            .map_err(|error: ReadError| unusable(error.into()))
    }
}

impl ArmError {
    /// The stable code of this class of failure.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Send { source: HttpError::TooLong, .. } | Self::Answer { .. } => "arm-answer",
            Self::Send { source, .. } if source.is_untrusted() => "untrusted-certificate",
            Self::Send { source, .. } => source.proxy().map_or("arm-unreachable", ProxyError::code),
            Self::Refused { status: 401, .. } => "sign-in",
            Self::Refused { status: 403, .. } => "denied",
            Self::Refused { status: 404, .. } => "not-found",
            Self::Refused { .. } => "arm-error",
        }
    }

    /// What it says of a token that it does not take.
    pub fn challenge(&self) -> Option<&Challenge> {
        match self {
            Self::Refused { challenge, .. } => challenge.as_deref(),
            Self::Send { .. } | Self::Answer { .. } => None,
        }
    }

    /// What to do about it.
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Send { source: HttpError::TooLong, .. } | Self::Answer { .. } => {
                Disposition::Blocked(Blocked::Answer)
            }
            Self::Send { source, .. } if source.proxy().is_some_and(ProxyError::is_lasting) => {
                Disposition::Blocked(Blocked::Denied)
            }
            Self::Send { source, .. } if source.is_untrusted() => Disposition::Blocked(Blocked::Answer),
            Self::Send { .. } => Disposition::Retry,
            Self::Refused { status, retry_after, .. } => match (*status, retry_after) {
                (401, _) => Disposition::Blocked(Blocked::SignIn),
                (403, _) => Disposition::Blocked(Blocked::Denied),
                (404, _) => Disposition::Blocked(Blocked::NotFound),
                (408 | 429 | 500..=599, Some(after)) => Disposition::RetryAfter(*after),
                (408 | 429 | 500..=599, None) => Disposition::Retry,
                _ => Disposition::Blocked(Blocked::Answer),
            },
        }
    }

    /// The likeliest cause and what mends it, where we know one.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Refused { status: 401, .. } => {
                Some("sign in again, with an account of the bastion's tenant".to_owned())
            }
            Self::Refused { status: 403, bastion, .. } => {
                Some(format!("the account needs Reader on the bastion `{bastion}`"))
            }
            Self::Refused { status: 404, .. } => {
                Some("check the bastion's name, resource group and subscription in bastion.toml".to_owned())
            }
            Self::Answer { .. } => Some(
                "a token goes only to a bare DNS name that ARM answered; is a proxy on the way?".to_owned(),
            ),
            Self::Send { source, .. } if source.is_tls() => Some(UNTRUSTED.to_owned()),
            Self::Send { source, .. } => source.proxy().map(|proxy| proxy.hint().to_owned()),
            Self::Refused { .. } => None,
        }
    }
}

fn said(code: &str, message: &str) -> String {
    match (code.is_empty(), message.is_empty()) {
        (true, true) => String::new(),
        (false, true) => format!(", {code}"),
        (true, false) => format!(", \"{message}\""),
        (false, false) => format!(", {code}: \"{message}\""),
    }
}
