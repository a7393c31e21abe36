//! How credentials of Azure's library reach who signs in: Entra, and endpoints on this machine.

use std::sync::Arc;
use std::time::Duration;

use azure_core::cloud::{CloudConfiguration, CustomConfiguration};
use azure_core::error::ErrorKind;
use azure_core::http::{AsyncRawResponse, ClientOptions, HttpClient, Request, StatusCode};
use azure_core::{Error, Result};
use reqwest::Url;

use super::answer;
use super::flaw::is_passing;
use crate::azure::transport::{self, LIMIT, response, translated};
use crate::net::Http;

/// Our HTTP client, as it asks an authority.
#[derive(Debug)]
struct Authority {
    http: Http,
    /// Where one signs in, with its path.
    url: String,
}

/// A client for endpoints on this machine or its hypervisor: no TLS, no proxy, no redirect.
#[derive(Debug)]
struct Near(reqwest::Client);

impl Near {
    fn new(connect: Duration) -> std::result::Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .connect_timeout(connect)
            .timeout(LIMIT)
            .build()?;
        Ok(Self(client))
    }
}

#[async_trait::async_trait]
impl HttpClient for Authority {
    async fn execute_request(&self, request: &Request) -> Result<AsyncRawResponse> {
        let mut request = translated(request)?;
        if let Some(url) = below(&self.url, request.url()) {
            *request.url_mut() = url;
        }
        let host = host(request.url());
        let asks_for_token = is_token_request(&self.url, request.url());
        let answer = self.http.send(request, LIMIT).await.map_err(|error| {
            let text = format!("asking {host}: {}", crate::model::chain(&error));
            Error::with_error(ErrorKind::Io, error, text)
        })?;
        if asks_for_token {
            let body = answer::token(&answer).map_err(|no| {
                let text = no.to_string();
                Error::with_error(ErrorKind::Credential, no, text)
            })?;
            return Ok(response(answer.status, &answer.headers, body));
        }
        if is_passing(answer.status) && !is_json(&answer.body) {
            // The library would read it, and tell of that and not of the status.
            let (status, error_code) = (StatusCode::from(answer.status), None);
            let kind = ErrorKind::HttpResponse { status, error_code, raw_response: None };
            return Err(Error::with_message(kind, format!("it answered HTTP {}", answer.status)));
        }
        Ok(response(answer.status, &answer.headers, answer.body))
    }
}

#[async_trait::async_trait]
impl HttpClient for Near {
    async fn execute_request(&self, request: &Request) -> Result<AsyncRawResponse> {
        let failed = |error: reqwest::Error| {
            let error = error.without_url();
            let text = crate::model::chain(&error);
            Error::with_error(ErrorKind::Io, error, text)
        };
        let answer = self.0.execute(translated(request)?).await.map_err(failed)?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = answer.bytes().await.map_err(failed)?;
        Ok(response(status, &headers, body.to_vec()))
    }
}

fn is_json(body: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok()
}

/// Whether a request is one for a token: Azure Pipelines are asked by the same client for something else.
fn is_token_request(authority: &str, url: &Url) -> bool {
    let same = Url::parse(authority).is_ok_and(|authority| authority.origin() == url.origin());
    same && url.path().ends_with("/oauth2/v2.0/token")
}

/// A URL's host, with its port where that is not the usual one.
fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Where a request to an authority goes that has a path: the library leaves that out.
fn below(authority: &str, url: &Url) -> Option<Url> {
    let authority = Url::parse(authority).ok()?;
    let path = authority.path().trim_end_matches('/');
    let mut below = url.clone();
    below.set_path(&format!("{path}{}", url.path()));
    (!path.is_empty() && authority.origin() == url.origin()).then_some(below)
}

/// What a credential of the library is told: our client, this authority, no tries of its own.
pub(super) fn options(http: &Http, authority: &str) -> ClientOptions {
    let client = Authority { http: http.clone(), url: authority.to_owned() };
    let mut options = transport::options(Arc::new(client));
    let mut cloud = CustomConfiguration::default();
    authority.clone_into(&mut cloud.authority_host);
    options.cloud = Some(Arc::new(CloudConfiguration::Custom(cloud)));
    options
}

/// The same for a managed identity, which is asked on this machine.
pub(super) fn near(connect: Duration) -> std::result::Result<ClientOptions, reqwest::Error> {
    Ok(transport::options(Arc::new(Near::new(connect)?)))
}

#[cfg(test)]
mod tests {
    use azure_core::http::Method;

    use super::*;

    #[test]
    fn an_authoritys_path_is_kept_and_nobody_elses_is_changed() {
        let url = "https://login.example/t/oauth2?x=1".parse().unwrap();
        let rows = [
            ("https://login.example/adfs", Some("https://login.example/adfs/t/oauth2?x=1")),
            ("https://login.example/adfs/", Some("https://login.example/adfs/t/oauth2?x=1")),
            ("https://login.example", None),
            ("https://login.example/", None),
            ("https://login.example:8443/adfs", None),
            ("https://other.example/adfs", None),
        ];
        for (authority, expected) in rows {
            assert_eq!(below(authority, &url).as_ref().map(Url::as_str), expected);
        }
    }

    /// A queue that is full: the kernel says nothing to whoever comes, as a network does where there is nobody.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn whoever_does_not_accept_is_given_up_in_time() {
        use socket2::{Domain, Socket, Type};

        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let _first = std::net::TcpStream::connect(address).unwrap();
        let near = Near::new(Duration::from_millis(100)).unwrap();
        let request = Request::new(format!("http://{address}/").parse().unwrap(), Method::Get);
        let began = tokio::time::Instant::now();
        let error = near.execute_request(&request).await.unwrap_err();
        assert!(began.elapsed() < LIMIT / 3, "{:?}: {error}", began.elapsed());
        assert_eq!(error.kind(), &ErrorKind::Io);
    }
}
