//! HTTP proxies: who goes through one, and how (CONNECT, with Basic credentials).

use std::fmt;
use std::io;
use std::sync::Arc;

use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The proxy and who goes round it, as HTTPS_PROXY and NO_PROXY say.
#[derive(Clone)]
pub struct Proxy {
    url: String,
    no_proxy: String,
    rules: Arc<Matcher>,
}

/// Why a proxy was of no help.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// Not a URL of the form `http://[user:password@]host[:port]`.
    #[error("HTTPS_PROXY is not of the form http://[USER:PASSWORD@]HOST[:PORT]")]
    Address,
    /// The connection to it broke.
    #[error("talking to it")]
    Io(#[source] io::Error),
    /// It answered with something other than 200.
    #[error("it answered HTTP {0}{hint}", hint = if *.0 == 407 { ": it wants a user name and a password in HTTPS_PROXY" } else { "" })]
    Refused(u16),
    /// It answered with something that is not HTTP.
    #[error("its answer is not HTTP")]
    NotHttp,
}

impl Proxy {
    /// Takes the values of HTTPS_PROXY and NO_PROXY.
    ///
    /// # Errors
    /// When the URL is not one of an HTTP proxy.
    pub fn new(url: &str, no_proxy: &str) -> Result<Self, ProxyError> {
        let rules = Matcher::builder().https(url.to_owned()).no(no_proxy.to_owned()).build();
        let proxy = Self { url: url.to_owned(), no_proxy: no_proxy.to_owned(), rules: Arc::new(rules) };
        // NO_PROXY may cover any name, so ask with rules that have none.
        let bare = Matcher::builder().https(url.to_owned()).build();
        let usable = bare
            .intercept(&http::Uri::from_static("https://azure.invalid/"))
            .is_some_and(|hop| hop.uri().scheme_str() == Some("http") && hop.uri().host().is_some());
        if usable { Ok(proxy) } else { Err(ProxyError::Address) }
    }

    /// The same rules for the HTTP client.
    pub(super) fn for_client(&self) -> Result<reqwest::Proxy, reqwest::Error> {
        Ok(reqwest::Proxy::https(&self.url)?.no_proxy(reqwest::NoProxy::from_string(&self.no_proxy)))
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
            (Ok(httparse::Status::Complete(_)), Some(code)) => Err(ProxyError::Refused(code)),
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
