//! A tunnel's local addresses, bound as one.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::{TcpListener, TcpStream};

use super::Reason;
use crate::model::Listen;

/// How often a free port is asked for that is free on both loopback addresses.
const TRIES: usize = 16;

/// The set of addresses that a tunnel owns.
#[derive(Debug)]
pub(super) struct Listeners {
    first: TcpListener,
    second: Option<TcpListener>,
}

/// Why a tunnel does not listen.
#[derive(Debug, thiserror::Error)]
#[error("listening on {address}")]
pub struct ListenError {
    address: SocketAddr,
    #[source]
    source: io::Error,
}

impl Listeners {
    /// Binds all of them, or none. What is taken on one is taken.
    pub(super) async fn bind(listen: Listen) -> Result<Self, ListenError> {
        match listen {
            Listen::Address(ip, port) => {
                Ok(Self { first: bind(SocketAddr::new(ip, port)).await?, second: None })
            }
            Listen::Localhost(0) => {
                let mut last = None;
                for _ in 0..TRIES {
                    match Self::localhost(0).await {
                        Err(error) if error.is_taken() => last = Some(error),
                        bound => return bound,
                    }
                }
                Err(last.unwrap_or_else(|| ListenError {
                    address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
                    source: io::ErrorKind::AddrInUse.into(),
                }))
            }
            Listen::Localhost(port) => Self::localhost(port).await,
        }
    }

    async fn localhost(port: u16) -> Result<Self, ListenError> {
        let first = bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)).await?;
        let port = first.local_addr().map_or(port, |address| address.port());
        let second = match bind(SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), port)).await {
            Ok(second) => Some(second),
            Err(error) if error.is_taken() => return Err(error),
            // A machine without IPv6 on its loopback says so in several ways.
            Err(_) => None,
        };
        Ok(Self { first, second })
    }

    /// The addresses, with the ports that were chosen.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        [Some(&self.first), self.second.as_ref()]
            .into_iter()
            .flatten()
            .filter_map(|l| l.local_addr().ok())
            .collect()
    }

    /// The next connection on any of them. Cancel-safe.
    pub(super) async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let second = async {
            match &self.second {
                Some(second) => second.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            accepted = self.first.accept() => accepted,
            accepted = second => accepted,
        }
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).await.map_err(|source| ListenError { address, source })
}

impl ListenError {
    /// Whether another program has the address.
    pub(super) fn is_taken(&self) -> bool {
        self.source.kind() == io::ErrorKind::AddrInUse
    }

    /// Code, words and hint. What the system calls an error is said plainly where we know what it means.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the system's list of errors is open")]
    pub(super) fn reason(&self) -> Reason {
        let (code, what, hint) = match self.source.kind() {
            io::ErrorKind::AddrInUse => (
                "port-taken",
                "another program listens there",
                "stop that program, or choose another local port (0 takes any free one)",
            ),
            // Windows keeps ranges of ports for itself (Hyper-V, WSL) and says the same of them.
            io::ErrorKind::PermissionDenied if self.address.port() >= 1024 => (
                "port-reserved",
                "the system keeps this port for itself",
                "choose another local port; on Windows `netsh int ipv4 show excludedportrange tcp` lists the kept ones",
            ),
            io::ErrorKind::PermissionDenied => (
                "port-privileged",
                "ports below 1024 need a right that this user lacks",
                "choose a local port above 1023",
            ),
            io::ErrorKind::AddrNotAvailable => {
                ("address-unknown", "this machine does not have this address", "use `localhost` or 127.0.0.1")
            }
            _ => return Reason::of(self, "listen", Some("choose another local address or port".to_owned())),
        };
        Reason { code: code.into(), what: format!("{self}: {what}"), hint: Some(hint.to_owned()) }
    }
}
