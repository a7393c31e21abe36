//! The limit: the same way without Azure. One process copies local TCP into TLS 1.3, another takes TLS off again;
//! nothing is framed, asked for or deleted. Both are this program, started again under a hidden name.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, copy_bidirectional_with_sizes};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::Result;

/// The first argument of the two hidden commands.
pub(crate) const CLIENT: &str = "plain-client";
pub(crate) const SERVER: &str = "plain-server";
const BUFFER: usize = 64 * 1024;
const NAME: &str = "localhost";

/// Writes a certificate and its key for both sides.
pub(crate) fn write_certificate(directory: &Path) -> Result<()> {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed([NAME.to_owned()])?;
    std::fs::write(directory.join("certificate.der"), cert.der())?;
    Ok(std::fs::write(directory.join("key.der"), signing_key.serialize_der())?)
}

/// Serves a listener of a hidden command: `DIRECTORY TO [TO …]`, a listener for each `TO`, whose addresses are the
/// only line it prints.
pub(crate) async fn run(command: &str, mut arguments: impl Iterator<Item = String>) -> Result<()> {
    let directory = PathBuf::from(arguments.next().ok_or("no directory")?);
    let certificate = CertificateDer::from(std::fs::read(directory.join("certificate.der"))?);
    let side = if command == CLIENT {
        Side::Client(TlsConnector::from(Arc::new(client_config(certificate)?)))
    } else {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(std::fs::read(directory.join("key.der"))?));
        let config =
            ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()?
                .with_no_client_auth()
                .with_single_cert(vec![certificate], key)?;
        Side::Server(TlsAcceptor::from(Arc::new(config)))
    };
    let mut listening = JoinSet::new();
    let mut line = String::new();
    for to in arguments {
        let to: SocketAddr = to.parse()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        line.push_str(&format!("{} ", listener.local_addr()?));
        listening.spawn(listen(listener, side.clone(), to));
    }
    writeln!(std::io::stdout(), "{line}")?;
    while listening.join_next().await.is_some() {}
    Ok(())
}

/// A client that believes one certificate, or what that has signed.
pub(crate) fn client_config(certificate: CertificateDer<'static>) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

#[derive(Clone)]
enum Side {
    Client(TlsConnector),
    Server(TlsAcceptor),
}

async fn listen(listener: TcpListener, side: Side, to: SocketAddr) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => drop(connections.spawn(carry(stream, side.clone(), to))),
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn carry(stream: TcpStream, side: Side, to: SocketAddr) -> Result<()> {
    stream.set_nodelay(true)?;
    match side {
        Side::Client(connector) => {
            let far = TcpStream::connect(to).await?;
            far.set_nodelay(true)?;
            copy(stream, connector.connect(ServerName::try_from(NAME)?, far).await?).await
        }
        Side::Server(acceptor) => {
            let near = acceptor.accept(stream).await?;
            let far = TcpStream::connect(to).await?;
            far.set_nodelay(true)?;
            copy(near, far).await
        }
    }
}

async fn copy<A, B>(mut a: A, mut b: B) -> Result<()>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    copy_bidirectional_with_sizes(&mut a, &mut b, BUFFER, BUFFER).await?;
    a.shutdown().await?;
    Ok(())
}

/// What a TLS server at `address` agrees on with a client that offers what rustls offers by itself.
pub(crate) async fn agreed(
    address: SocketAddr,
    name: &str,
    certificate: CertificateDer<'static>,
) -> Result<String> {
    let connector = TlsConnector::from(Arc::new(client_config(certificate)?));
    let stream = TcpStream::connect(address).await?;
    let tls = connector.connect(ServerName::try_from(name.to_owned())?, stream).await?;
    let (_, session) = tls.get_ref();
    let suite = session.negotiated_cipher_suite().ok_or("no cipher")?.suite();
    let group = session.negotiated_key_exchange_group().ok_or("no key exchange")?.name();
    Ok(format!("{suite:?}, {group:?}"))
}

/// As [`agreed`], with the plain copy's server.
pub(crate) async fn agreed_plain(address: SocketAddr, directory: &Path) -> Result<String> {
    let certificate = CertificateDer::from(std::fs::read(directory.join("certificate.der"))?);
    agreed(address, NAME, certificate).await
}

/// As [`agreed`], with an emulator that is believed by its authority's PEM text.
pub(crate) async fn agreed_emulator(address: SocketAddr, authority: &str) -> Result<String> {
    agreed(address, "management.localhost", CertificateDer::from_pem_slice(authority.as_bytes())?).await
}
