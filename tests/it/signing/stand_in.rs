//! A service that vouches for whom it knows: HTTP on a free port, with and without TLS. It writes down what it is asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::server::Server;

/// A request, read whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// Method and target.
    pub(super) line: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// A service that runs until this is dropped.
pub(super) struct StandIn {
    /// Where it is, without a path.
    pub(super) origin: String,
    /// What a client has to believe, where it speaks TLS.
    pub(super) ca_pem: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    _server: Server,
}

impl Asked {
    /// The one value of a header.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut all = self.headers.iter().filter(|(known, _)| known == name);
        let (_, value) = all.next()?;
        all.next().is_none().then_some(value)
    }

    /// A field of its form.
    pub(super) fn field(&self, name: &str) -> Option<String> {
        let mut all = form_urlencoded::parse(&self.body).filter(|(known, _)| known == name);
        all.next().map(|(_, value)| value.into_owned())
    }
}

/// What a service answers: a status and a body.
type Answer = dyn Fn(&Asked) -> (u16, String) + Send + Sync;

impl StandIn {
    /// One with TLS, at `localhost`.
    pub(super) async fn tls(answer: impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static) -> Self {
        let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(signed.signing_key.serialize_der().into());
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![signed.cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (answer, asked) = (Arc::new(answer), Arc::default());
        let book = Arc::clone(&asked);
        let server = Server::start(move |tcp| {
            let (acceptor, answer, book) = (acceptor.clone(), Arc::clone(&answer), Arc::clone(&book));
            async move {
                // Whoever does not believe it hangs up.
                if let Ok(tls) = acceptor.accept(tcp).await {
                    serve(tls, &*answer, &book).await;
                }
            }
        })
        .await;
        Self::new("https://localhost", signed.cert.pem(), asked, server)
    }

    /// One without, for what is on the same machine.
    pub(super) async fn plain(answer: impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static) -> Self {
        let (answer, asked) = (Arc::new(answer), Arc::default());
        let book = Arc::clone(&asked);
        let server = Server::start(move |tcp| {
            let (answer, book) = (Arc::clone(&answer), Arc::clone(&book));
            async move { serve(tcp, &*answer, &book).await }
        })
        .await;
        Self::new("http://127.0.0.1", String::new(), asked, server)
    }

    fn new(host: &str, ca_pem: String, asked: Arc<Mutex<Vec<Asked>>>, server: Server) -> Self {
        let SocketAddr::V4(address) = server.address else { panic!("{}", server.address) };
        Self { origin: format!("{host}:{}", address.port()), ca_pem, asked, _server: server }
    }

    /// What it was asked so far.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

/// Answers one request, and hangs up.
async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, answer: &Answer, book: &Mutex<Vec<Asked>>) {
    let mut stream = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let split = |line: &String| {
        let (name, value) = line.split_once(':').unwrap();
        (name.to_ascii_lowercase(), value.trim().to_owned())
    };
    let (line, _version) = lines[0].rsplit_once(' ').unwrap();
    let headers = lines[1..].iter().map(split).collect();
    let mut asked = Asked { line: line.to_owned(), headers, body: Vec::new() };
    let length = asked.header("content-length").map_or(0, |length| length.parse().unwrap());
    asked.body = vec![0; length];
    stream.read_exact(&mut asked.body).await.unwrap();
    let (status, body) = answer(&asked);
    book.lock().unwrap().push(asked);
    let head =
        format!("HTTP/1.1 {status} Said\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    // A client that has all it wants may be gone.
    drop(stream.shutdown().await);
}
