//! Proxies on the way: one that passes bytes on, and one that replaces certificates. Each writes down what it is asked.

use std::io;
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// A proxy that knows CONNECT, and takes every name for this machine.
pub(crate) struct Detour {
    pub(crate) port: u16,
    seen: Arc<Seen>,
    _tasks: JoinSet<()>,
}

/// What passes through a proxy.
#[derive(Default)]
struct Seen {
    /// The heads of the requests to it.
    asked: Mutex<Vec<String>>,
    /// The first lines of what it could read, because it replaced the certificate.
    read: Mutex<Vec<String>>,
}

/// An authority that somebody has made for a proxy of theirs.
pub(crate) struct Interceptor {
    pub(crate) ca_pem: String,
    issuer: Issuer<'static, KeyPair>,
    /// Whom it believes itself.
    upstream: Arc<ClientConfig>,
}

impl Detour {
    pub(crate) async fn start(interceptor: Option<Interceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (seen, interceptor) = (Arc::<Seen>::default(), interceptor.map(Arc::new));
        let mut tasks = JoinSet::new();
        let shared = Arc::clone(&seen);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, interceptor) = (Arc::clone(&shared), interceptor.clone());
                // How a connection ends is for those at its ends.
                connections.spawn(async move { drop(pass(stream, interceptor.as_deref(), &seen).await) });
            }
        });
        Self { port, seen, _tasks: tasks }
    }

    /// The hosts it was asked for, in order.
    pub(crate) fn hosts(&self) -> Vec<String> {
        let line = |head: &String| head.split(' ').nth(1).unwrap_or_default().to_owned();
        self.asked().iter().map(line).collect()
    }

    /// The heads of the requests to it.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.seen.asked.lock().unwrap().clone()
    }

    /// The first lines of what it could read.
    pub(crate) fn read(&self) -> Vec<String> {
        self.seen.read.lock().unwrap().clone()
    }
}

impl Interceptor {
    /// One that believes this authority, as PEM.
    pub(crate) fn new(upstream_pem: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut ca = CertificateParams::default();
        ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let ca_pem = ca.self_signed(&key).unwrap().pem();
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(upstream_pem.as_bytes()) {
            roots.add(certificate.unwrap()).unwrap();
        }
        let upstream = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { ca_pem, issuer: Issuer::new(ca, key), upstream: Arc::new(upstream) }
    }

    /// A certificate of its own in a host's name.
    fn pretend(&self, host: &str) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

async fn pass(stream: TcpStream, interceptor: Option<&Interceptor>, seen: &Seen) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let to = head.split(' ').nth(1).unwrap_or_default().to_owned();
    seen.asked.lock().unwrap().push(head);
    let (host, port) = to.rsplit_once(':').unwrap_or_default();
    let upstream = TcpStream::connect(format!("127.0.0.1:{port}")).await?;
    stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    let Some(interceptor) = interceptor else { return both_ways(stream, upstream).await };
    let mut inside = BufReader::new(interceptor.pretend(host).accept(stream).await?);
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let mut upstream = TlsConnector::from(Arc::clone(&interceptor.upstream)).connect(name, upstream).await?;
    let mut first = String::new();
    inside.read_line(&mut first).await?;
    upstream.write_all(first.as_bytes()).await?;
    // What follows may hold a token; this proxy is an honest one.
    let word = first.split(['?', '\r']).next().unwrap_or_default().to_owned();
    seen.read.lock().unwrap().push(word);
    both_ways(inside, upstream).await
}

async fn both_ways(
    one: impl AsyncRead + AsyncWrite + Unpin,
    other: impl AsyncRead + AsyncWrite + Unpin,
) -> io::Result<()> {
    let (mut from, mut to) = tokio::io::split(one);
    let (mut back, mut up) = tokio::io::split(other);
    let there = copy(&mut from, &mut up);
    let here = copy(&mut back, &mut to);
    tokio::try_join!(there, here).map(drop)
}

async fn copy(from: &mut (impl AsyncRead + Unpin), to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        match from.read(&mut buffer).await? {
            0 => return to.shutdown().await,
            read => to.write_all(&buffer[..read]).await?,
        }
        // TLS keeps back what is not asked for.
        to.flush().await?;
    }
}
