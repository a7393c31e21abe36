//! A TLS ClientHello, and what counts as an answer to it. Nobody's certificate is looked at: the handshake goes no
//! further, and who uses the tunnel is its client, not we.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::{Verdict, reason};
use crate::model::Reason;

/// The kinds of a record.
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
/// The first byte of every version of TLS that there is.
const MAJOR: u8 = 3;
/// The kind of a handshake message; a HelloRetryRequest has the same.
const SERVER_HELLO: u8 = 2;

/// A ClientHello without a host's name: there is none that we know.
pub(super) fn client_hello() -> Result<Vec<u8>, Reason> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let hello = || {
        // Nobody is believed, and the handshake does not come that far.
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let nobody = ServerName::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST).into());
        let mut connection = ClientConnection::new(Arc::new(config), nobody)?;
        let mut hello = Vec::new();
        while connection.wants_write() {
            connection.write_tls(&mut hello).map_err(|error| rustls::Error::General(error.to_string()))?;
        }
        Ok(hello)
    };
    hello().map_err(|error: rustls::Error| {
        reason("probe-failed", format!("no TLS ClientHello could be made: {error}"), None)
    })
}

/// Whether this begins a ServerHello.
pub(super) fn judge(heard: &[u8]) -> Verdict {
    match heard {
        [HANDSHAKE, MAJOR, _, _, _, SERVER_HELLO, ..] => Verdict::Fits,
        [ALERT, MAJOR, _, _, _, _, code, ..] => Verdict::Differs(
            format!("answered the TLS ClientHello with the alert {code}"),
            Some(
                "it speaks TLS, and may insist on a host's name or on other ciphers; `probe = \"connect\"` asks for less",
            ),
        ),
        [] | [HANDSHAKE | ALERT] => Verdict::More,
        [HANDSHAKE, MAJOR, rest @ ..] if rest.len() < 4 => Verdict::More,
        [ALERT, MAJOR, rest @ ..] if rest.len() < 5 => Verdict::More,
        _ => Verdict::Differs("answered the TLS ClientHello with something that is not TLS".to_owned(), None),
    }
}
