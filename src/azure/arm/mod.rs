//! Reads from Azure Resource Manager.

use std::collections::BTreeSet;

use azure_core::http::headers::{
    ACCEPT, AUTHORIZATION, CLIENT_REQUEST_ID, HeaderName, Headers, WWW_AUTHENTICATE,
};
use azure_core::http::{Context, Method, Pipeline, PipelineSendOptions, Request, Url};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::bastion_host::BastionHost;
use super::challenge::Challenge;
use super::compute::{self, Instance, Machine, ScaleSet};
use super::transport;
use crate::model::{PortRule, ResourceId, printable};
use crate::net::{Http, HttpError};

mod error;
mod patience;

pub use error::{ArmError, Subject};

use error::Unlike;

/// The API version of reads of bastions and network interfaces that other clients are known to use with success.
const NETWORK: &str = "2024-05-01";
/// The same for machines and scale sets: the first that lists the instances of a set with their states.
const COMPUTE: &str = "2024-07-01";
const BASTIONS: &str = "Microsoft.Network/bastionHosts";
/// The ID under which Azure keeps what belongs to a request.
const CORRELATION: HeaderName = HeaderName::from_static("x-ms-correlation-request-id");
/// Has a machine say whether it runs.
const VIEW: (&str, &str) = ("$expand", "instanceView");
/// How many pages a list may have. The largest scale sets have 1000 instances, 50 and more a page.
const PAGES: usize = 200;

/// What is escaped in a query: all that could mean something there.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

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
    pipeline: Pipeline,
}

/// An answer of ARM's.
struct Answer {
    status: u16,
    headers: Headers,
    body: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    value: Vec<serde_json::Value>,
    #[serde(default)]
    next_link: Option<String>,
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
    pub fn new(cloud: Cloud, http: &Http) -> Self {
        Self { cloud, pipeline: transport::pipeline(http) }
    }

    /// What ARM says about a bastion.
    ///
    /// # Errors
    /// Says what ARM answered; the error knows whether another try makes sense. So for all reads.
    pub async fn bastion(&self, id: &ResourceId, token: &SecretString) -> Result<BastionHost, ArmError> {
        let subject = Subject::Bastion(id.clone());
        let body = self.read(&subject, NETWORK, &[], token).await?;
        BastionHost::read(&body, self.cloud.gateway_ports, id).map_err(|error| subject.unlike(error))
    }

    /// The bastions that the account sees in the subscription of one that it does not find.
    ///
    /// # Errors
    /// See [`bastion`](Self::bastion).
    pub async fn bastions_beside(
        &self,
        id: &ResourceId,
        token: &SecretString,
    ) -> Result<Vec<ResourceId>, ArmError> {
        let subject = Subject::Bastion(id.clone());
        let path = format!("/subscriptions/{}/providers/{BASTIONS}", id.subscription());
        let first = self.url(&path, NETWORK, &[]).map_err(|error| subject.unlike(error))?;
        let all = self.list(&subject, first, token).await?;
        let id = |value: &serde_json::Value| ResourceId::parse(value.get("id")?.as_str()?).ok();
        Ok(all.iter().filter_map(id).filter(|id| id.is_type(BASTIONS)).collect())
    }

    /// What ARM says about a virtual machine or an instance of a scale set.
    ///
    /// # Errors
    /// See [`bastion`](Self::bastion).
    pub async fn machine(&self, id: &ResourceId, token: &SecretString) -> Result<Machine, ArmError> {
        let subject = Subject::Machine(id.clone());
        let body = self.read(&subject, COMPUTE, &[VIEW], token).await?;
        Machine::read(&body).map_err(|error| subject.unlike(error))
    }

    /// The machine that a network interface is attached to, if it is.
    ///
    /// # Errors
    /// See [`bastion`](Self::bastion).
    pub async fn interface(
        &self,
        id: &ResourceId,
        token: &SecretString,
    ) -> Result<Option<ResourceId>, ArmError> {
        let subject = Subject::Interface(id.clone());
        let body = self.read(&subject, NETWORK, &[], token).await?;
        compute::read_interface(&body).map_err(|error| subject.unlike(error))
    }

    /// All instances of a scale set, whichever way it is orchestrated.
    ///
    /// # Errors
    /// See [`bastion`](Self::bastion).
    pub async fn instances(&self, set: &ResourceId, token: &SecretString) -> Result<Vec<Instance>, ArmError> {
        let subject = Subject::ScaleSet(set.clone());
        let body = self.read(&subject, COMPUTE, &[], token).await?;
        let orchestrated = ScaleSet::read(&body).map_err(|error| subject.unlike(error))?;
        let (path, filter) = orchestrated.instances_of(set);
        let mut query = vec![VIEW];
        if let Some(filter) = &filter {
            query.push(("$filter", filter));
        }
        let first = self.url(&path, COMPUTE, &query).map_err(|error| subject.unlike(error))?;
        let all = self.list(&subject, first, token).await?;
        all.iter()
            .map(|value| Instance::read(value, orchestrated).map_err(|error| subject.unlike(error)))
            .collect()
    }

    /// All elements of a list, page after page, each where the one before it says it is.
    async fn list(
        &self,
        subject: &Subject,
        first: Url,
        token: &SecretString,
    ) -> Result<Vec<serde_json::Value>, ArmError> {
        let mut all = Vec::new();
        let mut seen = BTreeSet::new();
        let mut next = Some(first);
        for _ in 0..PAGES {
            let Some(url) = next.take() else { return Ok(all) };
            if !seen.insert(url.to_string()) {
                return Err(subject.unlike(Unlike::Endless));
            }
            let body = self.get(subject, url, token).await?;
            let page: Page = serde_json::from_slice(&body).map_err(|_hidden| subject.unlike(Unlike::List))?;
            all.extend(page.value);
            // Azure ends a list with an empty link, too.
            if let Some(link) = page.next_link.filter(|link| !link.is_empty()) {
                next = Some(self.own(&link).map_err(|error| subject.unlike(error))?);
            }
        }
        if next.is_none() { Ok(all) } else { Err(subject.unlike(Unlike::Endless)) }
    }

    /// A link that ARM gave, if it leads to ARM itself: the token goes with it.
    fn own(&self, link: &str) -> Result<Url, Unlike> {
        let foreign = || Unlike::Foreign(printable(link, 200));
        let url = Url::parse(link).map_err(|_hidden| foreign())?;
        let home = self.url("/", NETWORK, &[])?;
        let bare = url.username().is_empty() && url.password().is_none();
        if bare && url.origin() == home.origin() { Ok(url) } else { Err(foreign()) }
    }

    fn url(&self, path: &str, version: &str, query: &[(&str, &str)]) -> Result<Url, Unlike> {
        let mut url = format!("https://{}{path}?api-version={version}", self.cloud.resource_manager);
        for (name, value) in query {
            // A space is %20: not everybody takes the plus of forms for one.
            url.push_str(&format!("&{name}={}", utf8_percent_encode(value, QUERY)));
        }
        Url::parse(&url).map_err(|_hidden| Unlike::Address(url))
    }

    async fn read(
        &self,
        subject: &Subject,
        version: &str,
        query: &[(&str, &str)],
        token: &SecretString,
    ) -> Result<Vec<u8>, ArmError> {
        let url = self.url(subject.id().as_str(), version, query).map_err(|error| subject.unlike(error))?;
        self.get(subject, url, token).await
    }

    /// The body of a 200.
    async fn get(&self, subject: &Subject, url: Url, token: &SecretString) -> Result<Vec<u8>, ArmError> {
        let mut request = Request::new(url, Method::Get);
        request.insert_header(AUTHORIZATION, format!("Bearer {}", token.expose_secret()));
        request.insert_header(ACCEPT, "application/json");
        let answer = self.send(request).await;
        let answer =
            answer.map_err(|source| ArmError::Send { subject: Box::new(subject.clone()), source })?;
        if answer.status == 200 {
            return Ok(answer.body);
        }
        let said: ErrorAnswer = serde_json::from_slice(&answer.body).unwrap_or_default();
        let header = answer.headers.get_optional_str(&WWW_AUTHENTICATE);
        let challenge = (answer.status == 401).then(|| Box::new(Challenge::read(header, &said.error.code)));
        Err(ArmError::Refused {
            subject: Box::new(subject.clone()),
            status: answer.status,
            code: printable(&said.error.code, 300),
            message: printable(&said.error.message, 300),
            retry_after: patience::retry_after(&answer.headers),
            challenge,
        })
    }

    async fn send(&self, mut request: Request) -> Result<Answer, HttpError> {
        let unchecked = PipelineSendOptions { skip_checks: true, ..PipelineSendOptions::default() };
        let answer = self.pipeline.send(&Context::new(), &mut request, Some(unchecked)).await;
        let answer = answer.map_err(|error| {
            // Ours comes back as it was; what is not ours is about a request that could not be put together.
            error.into_downcast::<HttpError>().unwrap_or_else(|error| HttpError::unsendable(&error))
        })?;
        let (status, headers, body) = answer.deconstruct();
        // For a ticket to Microsoft: who asks them about a request has to name it.
        tracing::debug!(
            path = request.url().path(),
            status = u16::from(status),
            client_request_id = request.headers().get_optional_str(&CLIENT_REQUEST_ID),
            correlation_request_id = headers.get_optional_str(&CORRELATION),
            "asked Azure Resource Manager"
        );
        Ok(Answer { status: status.into(), headers, body: AsRef::<[u8]>::as_ref(&body).to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arm(resource_manager: &str) -> Arm {
        let network = crate::net::Network::new(&crate::net::Trust::System(Vec::new()), None, "test").unwrap();
        let cloud =
            Cloud { resource_manager: resource_manager.to_owned(), gateway_ports: PortRule::Forbidden };
        Arm::new(cloud, &network.http().unwrap())
    }

    #[test]
    fn a_link_is_followed_to_arm_itself_and_nowhere_else() {
        let azure = arm("management.azure.com");
        let page = "/subscriptions/s/x?api-version=2024-07-01&%24skiptoken=a%2Bb";
        let link = format!("https://management.azure.com{page}");
        assert_eq!(azure.own(&link).unwrap().as_str(), link, "verbatim");
        assert!(azure.own(&format!("https://MANAGEMENT.azure.com:443{page}")).is_ok());
        let lab = arm("management.lab.example:8443");
        assert!(lab.own(&format!("https://management.lab.example:8443{page}")).is_ok());
        for foreign in [
            "https://evil.example/subscriptions",
            "http://management.azure.com/subscriptions",
            "https://management.azure.com:8443/subscriptions",
            "https://management.azure.com@evil.example/subscriptions",
            "https://user@management.azure.com/subscriptions",
            "https://management.azure.com.evil.example/",
            "//evil.example/",
            "/subscriptions",
            "",
        ] {
            let error = azure.own(foreign).unwrap_err();
            assert!(matches!(error, Unlike::Foreign(_)), "{foreign}");
        }
        assert!(lab.own(&format!("https://management.lab.example{page}")).is_err());
    }
}
