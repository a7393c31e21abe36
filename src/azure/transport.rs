//! How Azure's library reaches the network: by our rules, and without trying again by itself.
//!
//! Its own retries wait as long as a server says, a day if that says a day, and nobody sees them wait. What is tried
//! again, and when, is the route's business, which shows it.

use std::sync::Arc;
use std::time::Duration;

use azure_core::error::ErrorKind;
use azure_core::http::headers::Headers;
use azure_core::http::{
    AsyncRawResponse, Body, ClientOptions, HttpClient, Pipeline, Request, RetryOptions, StatusCode, Transport,
};
use azure_core::{Error, Result};
use reqwest::header::{HeaderName, HeaderValue, USER_AGENT};

use crate::net::{Http, HttpError};

/// How long one exchange may take.
pub(super) const LIMIT: Duration = Duration::from_secs(30);

/// The longest answer of ARM's: a page of a large scale set, with the state of each instance.
const LONGEST: usize = 16 << 20;

/// Our HTTP client, as the library wants one.
#[derive(Debug)]
struct Ours(Http);

#[async_trait::async_trait]
impl HttpClient for Ours {
    async fn execute_request(&self, request: &Request) -> Result<AsyncRawResponse> {
        let answer = self.0.send_for(translated(request)?, LIMIT, LONGEST).await.map_err(ours)?;
        Ok(response(answer.status, &answer.headers, answer.body))
    }
}

/// The way of a request to Resource Manager: an ID for each, a line in the log without secrets, our client.
pub(super) fn pipeline(http: &Http) -> Pipeline {
    let (name, version) = (Some(env!("CARGO_PKG_NAME")), Some(env!("CARGO_PKG_VERSION")));
    Pipeline::new(name, version, options(Arc::new(Ours(http.clone()))), Vec::new(), Vec::new(), None)
}

/// What the library is told: this client, and no tries of its own.
pub(super) fn options(client: Arc<dyn HttpClient>) -> ClientOptions {
    let (transport, retry) = (Some(Transport::new(client)), RetryOptions::none());
    ClientOptions { transport, retry, ..ClientOptions::default() }
}

/// Our error, within the library's.
fn ours(error: HttpError) -> Error {
    let text = crate::model::chain(&error);
    Error::with_error(ErrorKind::Io, error, text)
}

/// The library's request, as our client takes it.
pub(super) fn translated(request: &Request) -> Result<reqwest::Request> {
    let unusable = |error: &dyn std::fmt::Display| {
        Error::with_message(ErrorKind::DataConversion, format!("the request cannot be sent: {error}"))
    };
    let method = request.method().as_ref().parse::<reqwest::Method>().map_err(|error| unusable(&error))?;
    let mut ours = reqwest::Request::new(method, request.url().clone());
    for (name, value) in request.headers().iter() {
        let name = name.as_str().parse::<HeaderName>().map_err(|error| unusable(&error))?;
        // Who asks is ours to say: it is what an administrator reads in Azure's logs.
        if name == USER_AGENT {
            continue;
        }
        let mut value = HeaderValue::from_str(value.as_str()).map_err(|error| unusable(&error))?;
        // Which of them are secret is not for the library to know.
        value.set_sensitive(true);
        ours.headers_mut().insert(name, value);
    }
    match request.body() {
        Body::Bytes(bytes) if bytes.is_empty() => {}
        Body::Bytes(bytes) => *ours.body_mut() = Some(bytes.clone().into()),
        Body::SeekableStream(_) => return Err(unusable(&"a body of unknown length")),
    }
    Ok(ours)
}

/// An answer, as the library takes it.
pub(super) fn response(status: u16, headers: &reqwest::header::HeaderMap, body: Vec<u8>) -> AsyncRawResponse {
    let mut theirs = Headers::new();
    for name in headers.keys() {
        let all: Vec<&str> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
        theirs.insert(name.as_str().to_owned(), all.join(", "));
    }
    AsyncRawResponse::from_bytes(StatusCode::from(status), theirs, body)
}
