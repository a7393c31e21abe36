//! The HTTP/1.1 client for ARM and for the token exchange. It follows no redirect and repeats no request by itself.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use rustls::ClientConfig;

use super::proxy::{Hop, Proxy, ProxyError};
use super::resolve::Resolver;

/// How long a TCP and TLS connection may take.
const CONNECT: Duration = Duration::from_secs(15);
/// How the HTTP client begins what it says of a proxy.
const TUNNEL: &str = "tunnel error: ";
/// How much of an answer is read; what is longer is not an answer we know.
const MAX_BODY: usize = 1 << 20;

/// An HTTP/1.1 client with a connection pool.
#[derive(Clone, Debug)]
pub struct Http {
    client: reqwest::Client,
    /// What its requests go through.
    proxy: Option<Proxy>,
    user_agent: String,
}

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
    /// The proxy on the way did not let us through: nothing was sent.
    #[error("going through the proxy {proxy}")]
    Proxy {
        /// The proxy, without its credentials.
        proxy: String,
        /// What it said.
        #[source]
        source: ProxyError,
    },
    /// The request was sent, at least in part, and no whole answer came.
    #[error("waiting for the answer")]
    Exchange(#[source] Cause),
    /// The answer is larger than any that is expected.
    #[error("the answer is longer than {} MiB", .0 >> 20)]
    TooLong(usize),
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
    untrusted: bool,
}

impl Cause {
    fn of(error: reqwest::Error) -> Self {
        let error = error.without_url();
        let mut deepest: &dyn std::error::Error = &error;
        let mut io = None;
        while let Some(source) = deepest.source() {
            io = source.downcast_ref::<io::Error>().map(innermost).or(io);
            deepest = source;
        }
        let kind = io.map(io::Error::kind);
        let text = match kind {
            Some(io::ErrorKind::UnexpectedEof) => "it hung up without answering".to_owned(),
            _ => deepest.to_string(),
        };
        Self { text, kind, untrusted: io.is_some_and(is_untrusted) }
    }
}

/// The error within an error: each layer of the client wraps it once more.
fn innermost(error: &io::Error) -> &io::Error {
    error.get_ref().and_then(|inner| inner.downcast_ref::<io::Error>()).map_or(error, innermost)
}

/// Whether a certificate was refused: not believed, for another name, or out of date.
pub(super) fn is_untrusted(error: &io::Error) -> bool {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(tls, Some(rustls::Error::InvalidCertificate(_)))
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
        let client = builder.build().map_err(|error| HttpError::Client(Cause::of(error)))?;
        Ok(Self { client, proxy: proxy.cloned(), user_agent: user_agent.to_owned() })
    }

    /// Sends a request and reads the whole answer, within `limit`.
    ///
    /// # Errors
    /// Tells 'nothing was sent' from 'no answer came', because only the first may be repeated blindly.
    pub async fn send(&self, request: reqwest::Request, limit: Duration) -> Result<Answer, HttpError> {
        self.send_for(request, limit, MAX_BODY).await
    }

    /// The same, for an answer of at most so many bytes.
    ///
    /// # Errors
    /// See [`send`](Self::send).
    pub async fn send_for(
        &self,
        request: reqwest::Request,
        limit: Duration,
        most: usize,
    ) -> Result<Answer, HttpError> {
        let host = request.url().host_str().unwrap_or_default().to_owned();
        let port = request.url().port_or_known_default().unwrap_or(443);
        let hop = self.proxy.as_ref().and_then(|proxy| proxy.for_host(&host, port));
        let exchange = async {
            let failed = |error: reqwest::Error| {
                let connecting = error.is_connect();
                let cause = Cause::of(error);
                if connecting { HttpError::Connect(cause) } else { HttpError::Exchange(cause) }
            };
            let mut response = match (self.client.execute(request).await, &hop) {
                (Ok(response), _) => response,
                (Err(error), Some(hop)) if error.is_connect() => {
                    let Some(failure) = Tunnel::of(&error, hop) else { return Err(failed(error)) };
                    let source = self.refusal(failure, hop, &host, port).await;
                    return Err(HttpError::Proxy { proxy: hop.to_string(), source });
                }
                (Err(error), _) => return Err(failed(error)),
            };
            let (status, headers) = (response.status().as_u16(), std::mem::take(response.headers_mut()));
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(failed)? {
                if body.len() + chunk.len() > most {
                    return Err(HttpError::TooLong(most));
                }
                body.extend_from_slice(&chunk);
            }
            Ok(Answer { status, headers, body })
        };
        tokio::time::timeout(limit, exchange).await.unwrap_or(Err(HttpError::Timeout(limit)))
    }

    /// Why there is no tunnel through a proxy, if that is what failed. Where the client does not tell, the proxy is asked
    /// once more.
    async fn refusal(&self, failure: Tunnel, hop: &Hop, host: &str, port: u16) -> ProxyError {
        match failure {
            Tunnel::Failed(error) => error,
            Tunnel::Untold => super::through(hop, host, port, CONNECT, &self.user_agent)
                .await
                .err()
                .unwrap_or(ProxyError::NotHttp),
        }
    }
}

/// What the HTTP client tells of a proxy that did not let it through.
enum Tunnel {
    Failed(ProxyError),
    /// That there was a refusal, but not which.
    Untold,
}

impl Tunnel {
    /// Its own errors have texts and no more.
    fn of(error: &reqwest::Error, hop: &Hop) -> Option<Self> {
        let first: &dyn std::error::Error = error;
        let chain: Vec<_> = std::iter::successors(Some(first), |error| error.source()).collect();
        let text =
            chain.iter().find_map(|error| error.to_string().strip_prefix(TUNNEL).map(str::to_owned))?;
        let broken = || {
            let deepest = chain.last().map(ToString::to_string).unwrap_or_default();
            let kind = chain
                .iter()
                .find_map(|error| error.downcast_ref::<io::Error>())
                .map(|error| innermost(error).kind());
            io::Error::new(kind.unwrap_or(io::ErrorKind::Other), deepest)
        };
        Some(match text.as_str() {
            "proxy authorization required" => Self::Failed(hop.refused(407)),
            "failed to create underlying connection" => Self::Failed(ProxyError::Unreachable(broken())),
            "unsuccessful" => Self::Untold,
            _ => Self::Failed(ProxyError::Io(broken())),
        })
    }
}

impl HttpError {
    /// The failure of a request that could not even be put together.
    pub fn unsendable(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::Client(Cause { text: error.to_string(), kind: None, untrusted: false })
    }

    /// What a proxy on the way said, where it is the proxy's failure.
    pub fn proxy(&self) -> Option<&ProxyError> {
        match self {
            Self::Proxy { source, .. } => Some(source),
            Self::Client(_) | Self::Connect(_) | Self::Exchange(_) | Self::TooLong(_) | Self::Timeout(_) => {
                None
            }
        }
    }

    /// Whether the other side's certificate was refused.
    pub fn is_untrusted(&self) -> bool {
        match self {
            Self::Connect(cause) | Self::Exchange(cause) => cause.untrusted,
            Self::Client(_) | Self::Proxy { .. } | Self::TooLong(_) | Self::Timeout(_) => false,
        }
    }

    /// Whether the other side's certificate, or its TLS, was refused.
    pub fn is_tls(&self) -> bool {
        match self {
            Self::Connect(cause) | Self::Exchange(cause) => cause.kind == Some(io::ErrorKind::InvalidData),
            Self::Client(_) | Self::Proxy { .. } | Self::TooLong(_) | Self::Timeout(_) => false,
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
