//! The HTTP/1.1 client for ARM and for the token exchange. It follows no redirect and repeats no request by itself.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use rustls::ClientConfig;

use super::proxy::Proxy;
use super::resolve::Resolver;

/// How long a TCP and TLS connection may take.
const CONNECT: Duration = Duration::from_secs(15);
/// How much of an answer is read; what is longer is not an answer we know.
const MAX_BODY: usize = 1 << 20;

/// An HTTP/1.1 client with a connection pool.
#[derive(Clone, Debug)]
pub struct Http(reqwest::Client);

/// An answer, whatever its status.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, whole.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The client could not be made.
    #[error("setting up the HTTP client")]
    Client(#[source] Cause),
    /// The connection could not be made: nothing was sent.
    #[error("connecting")]
    Connect(#[source] Cause),
    /// The request was sent, at least in part, and no whole answer came.
    #[error("waiting for the answer")]
    Exchange(#[source] Cause),
    /// The answer is larger than any that is expected.
    #[error("the answer is longer than 1 MiB")]
    TooLong,
    /// No answer in time.
    #[error("no answer within {} s", .0.as_secs())]
    Timeout(Duration),
}

/// What happened at the bottom: the client's own layers above it say nothing to a person.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{text}")]
pub struct Cause {
    text: String,
    kind: Option<io::ErrorKind>,
}

impl Cause {
    fn of(error: reqwest::Error) -> Self {
        let error = error.without_url();
        let mut deepest: &dyn std::error::Error = &error;
        let mut kind = None;
        while let Some(source) = deepest.source() {
            kind = source.downcast_ref::<io::Error>().map(io::Error::kind).or(kind);
            deepest = source;
        }
        let text = match kind {
            Some(io::ErrorKind::UnexpectedEof) => "it hung up without answering".to_owned(),
            _ => deepest.to_string(),
        };
        Self { text, kind }
    }
}

impl Http {
    pub(super) fn new(
        tls: Arc<ClientConfig>,
        proxy: Option<&Proxy>,
        user_agent: &str,
    ) -> Result<Self, HttpError> {
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(Arc::unwrap_or_clone(tls))
            .http1_only()
            .https_only(true)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .dns_resolver(Resolver)
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .referer(false)
            .user_agent(user_agent);
        if let Some(proxy) = proxy {
            builder = builder.proxy(proxy.for_client().map_err(|error| HttpError::Client(Cause::of(error)))?);
        }
        Ok(Self(builder.build().map_err(|error| HttpError::Client(Cause::of(error)))?))
    }

    /// Sends a request and reads the whole answer, within `limit`.
    ///
    /// # Errors
    /// Tells 'nothing was sent' from 'no answer came', because only the first may be repeated blindly.
    pub async fn send(&self, request: reqwest::Request, limit: Duration) -> Result<Answer, HttpError> {
        let exchange = async {
            let failed = |error: reqwest::Error| {
                let connecting = error.is_connect();
                let cause = Cause::of(error);
                if connecting { HttpError::Connect(cause) } else { HttpError::Exchange(cause) }
            };
            let mut response = self.0.execute(request).await.map_err(failed)?;
            let (status, headers) = (response.status().as_u16(), std::mem::take(response.headers_mut()));
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(failed)? {
                if body.len() + chunk.len() > MAX_BODY {
                    return Err(HttpError::TooLong);
                }
                body.extend_from_slice(&chunk);
            }
            Ok(Answer { status, headers, body })
        };
        tokio::time::timeout(limit, exchange).await.unwrap_or(Err(HttpError::Timeout(limit)))
    }
}

impl HttpError {
    /// Whether the other side's certificate, or its TLS, was refused.
    pub fn is_tls(&self) -> bool {
        match self {
            Self::Connect(cause) | Self::Exchange(cause) => cause.kind == Some(io::ErrorKind::InvalidData),
            Self::Client(_) | Self::TooLong | Self::Timeout(_) => false,
        }
    }
}

impl Answer {
    /// `Retry-After` in whole seconds, where the server sent it so, never more than five minutes.
    pub fn retry_after(&self) -> Option<Duration> {
        let seconds: u64 = self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
        Some(Duration::from_secs(seconds.min(300)))
    }
}
