//! How bytes leave this machine: one trust store, one set of proxy rules and one resolver for REST and WebSocket alike.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::sys::socket;

use proxy::Hop;

mod http;
mod proxy;
mod resolve;
mod trust;

pub use http::{Answer, Cause, Http, HttpError};
pub use proxy::{Proxy, ProxyError};
pub use trust::{Trust, TrustError, check_authorities};

/// What to do where a certificate is refused: most often somebody on the way has put in their own.
pub const UNTRUSTED: &str = "if a proxy on the way replaces certificates, name its authority's PEM file in BASTION_CA_FILE, or as `ca_file` in `[network]` of your own configuration";

/// Everything that decides how connections are made.
#[derive(Clone, Debug)]
pub struct Network {
    tls: Arc<ClientConfig>,
    proxy: Option<Proxy>,
    user_agent: String,
}

/// Why no encrypted connection came about.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The name has no address.
    #[error("looking up {host}")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        #[source]
        source: io::Error,
    },
    /// TCP was refused, unreachable or timed out.
    #[error("connecting to {host} port {port}")]
    Connect {
        /// The name.
        host: String,
        /// The port.
        port: u16,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The proxy did not let us through.
    #[error("going through the proxy {proxy}")]
    Proxy {
        /// The proxy, without its credentials.
        proxy: String,
        /// What it said.
        #[source]
        source: ProxyError,
    },
    /// The certificate or the handshake was refused.
    #[error("making a TLS connection to {host}")]
    Tls {
        /// The name.
        host: String,
        /// What rustls said.
        #[source]
        source: io::Error,
    },
    /// It took too long.
    #[error("{host} did not answer within {} s", limit.as_secs())]
    Timeout {
        /// The name.
        host: String,
        /// How long we waited.
        limit: Duration,
    },
}

impl DialError {
    /// Whether the other side's certificate was refused.
    pub fn is_untrusted(&self) -> bool {
        match self {
            Self::Tls { source, .. } => http::is_untrusted(source),
            Self::Resolve { .. } | Self::Connect { .. } | Self::Proxy { .. } | Self::Timeout { .. } => false,
        }
    }

    /// What a proxy on the way said, where it is the proxy's failure.
    pub fn proxy(&self) -> Option<&ProxyError> {
        match self {
            Self::Proxy { source, .. } => Some(source),
            Self::Resolve { .. } | Self::Connect { .. } | Self::Tls { .. } | Self::Timeout { .. } => None,
        }
    }
}

impl Network {
    /// Puts the rules together. `user_agent` is sent on every request.
    ///
    /// # Errors
    /// When the trust store cannot be read.
    pub fn new(trust: &Trust, proxy: Option<Proxy>, user_agent: &str) -> Result<Self, TrustError> {
        Ok(Self { tls: Arc::new(trust.client_config()?), proxy, user_agent: user_agent.to_owned() })
    }

    /// An HTTP/1.1 client by these rules.
    ///
    /// # Errors
    /// When the proxy's address is of no use to the client.
    pub fn http(&self) -> Result<Http, HttpError> {
        Http::new(Arc::clone(&self.tls), self.proxy.as_ref(), &self.user_agent)
    }

    /// Opens an encrypted connection by these rules. Cancel-safe: an unfinished connection is closed.
    ///
    /// # Errors
    /// Says which step failed.
    pub async fn connect_tls(
        &self,
        host: &str,
        port: u16,
        limit: Duration,
    ) -> Result<TlsStream<TcpStream>, DialError> {
        let dial = async {
            let tcp = match self.proxy.as_ref().and_then(|proxy| proxy.for_host(host, port)) {
                Some(hop) => {
                    let refused = |source| DialError::Proxy { proxy: hop.to_string(), source };
                    through(&hop, host, port, limit, &self.user_agent).await.map_err(refused)?
                }
                None => connect_tcp(host, port, limit).await?,
            };
            let failed = |source| DialError::Tls { host: host.to_owned(), source };
            let name = rustls::pki_types::ServerName::try_from(host.to_owned())
                .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
            TlsConnector::from(Arc::clone(&self.tls)).connect(name, tcp).await.map_err(failed)
        };
        tokio::time::timeout(limit, dial)
            .await
            .unwrap_or_else(|_elapsed| Err(DialError::Timeout { host: host.to_owned(), limit }))
    }
}

/// A connection to a host through a proxy.
async fn through(
    hop: &Hop,
    host: &str,
    port: u16,
    limit: Duration,
    user_agent: &str,
) -> Result<TcpStream, ProxyError> {
    let (proxy_host, proxy_port) = hop.address();
    let unreachable = |error| {
        ProxyError::Unreachable(match error {
            DialError::Resolve { source, .. } | DialError::Connect { source, .. } => source,
            error @ (DialError::Proxy { .. } | DialError::Tls { .. } | DialError::Timeout { .. }) => {
                io::Error::other(error)
            }
        })
    };
    let mut tcp = connect_tcp(proxy_host, proxy_port, limit).await.map_err(unreachable)?;
    hop.connect_through(&mut tcp, host, port, user_agent).await?;
    Ok(tcp)
}

/// Tries each address of a name in turn, with its share of the time: one that leads nowhere must not use up all of it.
async fn connect_tcp(host: &str, port: u16, limit: Duration) -> Result<TcpStream, DialError> {
    let unresolved = |source| DialError::Resolve { host: host.to_owned(), source };
    let addresses = resolve::lookup(host, port).await.map_err(unresolved)?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let share = limit / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    for address in addresses {
        let connect = tokio::time::timeout(share, TcpStream::connect(address)).await;
        match connect.unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into())) {
            Ok(stream) => {
                let unusable = |source| DialError::Connect { host: host.to_owned(), port, source };
                socket::prepare_outgoing(&stream).map_err(unusable)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(DialError::Connect { host: host.to_owned(), port, source: last })
}
