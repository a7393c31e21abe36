//! HTTP proxies: who goes through one, and how (CONNECT, with Basic credentials).

use std::fmt;
use std::io;
use std::sync::Arc;

use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The proxy and who goes round it, in the notation of HTTPS_PROXY and NO_PROXY.
#[derive(Clone)]
pub struct Proxy {
    url: SecretString,
    no_proxy: String,
    rules: Arc<Matcher>,
}

/// Why a proxy was of no help.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// Not a URL of the form `http://[user:password@]host[:port]`.
    #[error("it is not of the form http://[USER:PASSWORD@]HOST[:PORT]")]
    Address,
    /// There is no connection to it.
    #[error("it cannot be reached")]
    Unreachable(#[source] io::Error),
    /// The connection to it broke.
    #[error("talking to it")]
    Io(#[source] io::Error),
    /// It answered with something other than 200.
    #[error("it answered HTTP {status}{}", told(*status, *named))]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Whether a user name was sent.
        named: bool,
    },
    /// It answered with something that is not HTTP.
    #[error("its answer is not HTTP")]
    NotHttp,
}

fn told(status: u16, named: bool) -> &'static str {
    match (status, named) {
        (401 | 407, true) => ": it does not accept the user name and password it was given",
        (401 | 407, false) => ": it wants a user name and a password",
        (403, _) => ": it does not let us through",
        (500..=599, _) => ": it cannot reach that host",
        _ => "",
    }
}

impl ProxyError {
    /// The stable code of this class of failure.
    pub fn code(&self) -> &'static str {
        match self {
            // Some answer 401 where 407 belongs.
            Self::Refused { status: 401 | 407, .. } => "proxy-credentials",
            Self::Refused { .. } | Self::NotHttp | Self::Address => "proxy-refused",
            Self::Unreachable(_) | Self::Io(_) => "proxy-unreachable",
        }
    }

    /// Whether only a person can mend it. A wrong password is not tried again and again: that may lock an account.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::Refused { status, .. } => matches!(status, 401 | 403 | 405 | 407),
            Self::Address => true,
            Self::NotHttp | Self::Unreachable(_) | Self::Io(_) => false,
        }
    }

    /// What mends it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Refused { status: 401 | 407, .. } => {
                "put USER:PASSWORD@ before the host in HTTPS_PROXY, or in `proxy` of `[network]` in your own configuration; `@` is written %40, `:` %3A"
            }
            Self::Refused { .. } => {
                "it must let CONNECT through to port 443 of Azure's hosts; NO_PROXY names those that are reached without it"
            }
            Self::Address | Self::NotHttp | Self::Unreachable(_) | Self::Io(_) => {
                "is HTTPS_PROXY right, or `proxy` of `[network]` in your own configuration? NO_PROXY names hosts that are reached without it"
            }
        }
    }
}

impl Proxy {
    /// Takes what HTTPS_PROXY and NO_PROXY hold, or what stands for them.
    ///
    /// # Errors
    /// When the URL is not one of an HTTP proxy.
    pub fn new(url: &str, no_proxy: &str) -> Result<Self, ProxyError> {
        let rules = Matcher::builder().https(url.to_owned()).no(no_proxy.to_owned()).build();
        let proxy = Self { url: url.into(), no_proxy: no_proxy.to_owned(), rules: Arc::new(rules) };
        // NO_PROXY may cover any name, so ask with rules that have none.
        let bare = Matcher::builder().https(url.to_owned()).build();
        let usable = bare
            .intercept(&http::Uri::from_static("https://azure.invalid/"))
            .is_some_and(|hop| hop.uri().scheme_str() == Some("http") && hop.uri().host().is_some());
        if usable { Ok(proxy) } else { Err(ProxyError::Address) }
    }

    /// The same rules for the HTTP client.
    pub(super) fn for_client(&self) -> Result<reqwest::Proxy, reqwest::Error> {
        let proxy = reqwest::Proxy::https(self.url.expose_secret())?;
        Ok(proxy.no_proxy(reqwest::NoProxy::from_string(&self.no_proxy)))
    }

    /// The proxy that leads to a host, unless NO_PROXY names it.
    pub(super) fn for_host(&self, host: &str, port: u16) -> Option<Hop> {
        let uri = format!("https://{host}:{port}/").parse().ok()?;
        self.rules.intercept(&uri).map(Hop)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("no_proxy", &self.no_proxy).finish_non_exhaustive()
    }
}

/// One way through a proxy.
pub(super) struct Hop(Intercept);

impl Hop {
    pub(super) fn address(&self) -> (&str, u16) {
        let uri = self.0.uri();
        let host = uri.host().unwrap_or_default();
        // A URL writes an IPv6 address in brackets, a resolver wants none.
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        (host, uri.port_u16().unwrap_or(80))
    }

    /// The refusal of a status, as this way is told of it.
    pub(super) fn refused(&self, status: u16) -> ProxyError {
        ProxyError::Refused { status, named: self.0.basic_auth().is_some() }
    }

    /// Asks for a connection to `host:port`; not one byte of what follows the answer is read.
    pub(super) async fn connect_through(
        &self,
        stream: &mut TcpStream,
        host: &str,
        port: u16,
        user_agent: &str,
    ) -> Result<(), ProxyError> {
        let mut request =
            format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\nUser-Agent: {user_agent}\r\n")
                .into_bytes();
        if let Some(credentials) = self.0.basic_auth() {
            request.extend_from_slice(b"Proxy-Authorization: ");
            request.extend_from_slice(credentials.as_bytes());
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        stream.write_all(&request).await.map_err(ProxyError::Io)?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if head.len() >= 16 * 1024 {
                return Err(ProxyError::NotHttp);
            }
            head.push(stream.read_u8().await.map_err(ProxyError::Io)?);
        }
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut answer = httparse::Response::new(&mut headers);
        match (answer.parse(&head), answer.code) {
            (Ok(httparse::Status::Complete(_)), Some(200..=299)) => Ok(()),
            (Ok(httparse::Status::Complete(_)), Some(code)) => Err(self.refused(code)),
            _ => Err(ProxyError::NotHttp),
        }
    }
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, port) = self.address();
        write!(f, "{host}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_proxy_is_honoured_and_credentials_are_not_shown() {
        let proxy =
            Proxy::new("http://user:secret@proxy.example:3128", "localhost,.internal,10.0.0.0/8").unwrap();
        assert!(proxy.for_host("bst-1.bastion.azure.com", 443).is_some());
        assert!(proxy.for_host("x.internal", 443).is_none());
        assert!(proxy.for_host("10.1.2.3", 443).is_none());
        let hop = proxy.for_host("management.azure.com", 443).unwrap();
        assert_eq!(hop.to_string(), "proxy.example:3128");
        assert!(!format!("{proxy:?}").contains("secret"));
    }

    #[test]
    fn what_is_not_an_http_proxy_is_refused() {
        assert!(Proxy::new("socks5://proxy.example:1080", "").is_err());
        assert!(Proxy::new("://", "").is_err());
        assert!(Proxy::new("http://proxy.example", "*").is_ok());
    }
}
