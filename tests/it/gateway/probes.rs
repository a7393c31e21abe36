//! Probes of a target through a gateway: one that refuses, stays silent, speaks first, speaks TLS or HTTP.

use std::sync::Arc;
use std::time::Duration;

use bastion::model::Probe;
use bastion::probe::ask;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::stage::{HTTP, OWN, Stage, close, destination, emulation, options, target};

/// Nothing listens there.
const NOTHING: u16 = 81;

/// What came of a probe: `shown`, or a code and words.
async fn probe(stage: &Stage, kind: &Probe, to: u16, silent: bool) -> String {
    let gateway = stage.gateway().await;
    let mut stream = gateway.open(&destination(to), &*stage.tokens, &options()).await.unwrap();
    if silent {
        stage.until("a WebSocket", |counts| counts.streams == 1).await;
        tokio::time::pause();
    }
    let shown = ask(kind, &mut stream, &format!("port {to} of vm-one")).await;
    if silent {
        tokio::time::resume();
    }
    if !shown.broken {
        close(&mut stream).await;
    }
    drop(stream);
    stage.until("no session", |counts| counts.streams == 0 && counts.live == 0).await;
    shown.result.map_or_else(|reason| format!("{}: {}", reason.code, reason.what), |()| "shown".to_owned())
}

async fn with<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> (Stage, tokio::task::JoinSet<()>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let (address, tasks) = target(serve).await;
    (Stage::new(emulation(Some(address), vec![])).await, tasks)
}

fn http(path: &str) -> Probe {
    Probe::Http(path.into())
}

#[tokio::test]
async fn a_target_that_refuses_is_told_of_by_every_probe() {
    let stage = Stage::faulty(vec![]).await;
    for kind in [Probe::Connect, Probe::Banner, Probe::Tls, http("/")] {
        let came = probe(&stage, &kind, NOTHING, false).await;
        assert!(
            came.starts_with("target-refused: the connection to port 81 of vm-one was refused"),
            "{kind}: {came}"
        );
    }
}

#[tokio::test]
async fn a_target_that_says_nothing_takes_connections_and_answers_nobody() {
    let (stage, _target) = with(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    for (kind, came) in [
        (Probe::Connect, "shown"),
        (Probe::Banner, "target-silent: not one byte came from port 9000 of vm-one in 10 s"),
        (Probe::Tls, "target-silent: port 9000 of vm-one did not answer in 10 s"),
        (http("/"), "target-silent: port 9000 of vm-one did not answer in 10 s"),
    ] {
        assert_eq!(probe(&stage, &kind, OWN, true).await, came, "{kind}");
    }
}

#[tokio::test]
async fn a_target_that_speaks_first() {
    let (stage, _target) = with(|mut stream| async move {
        stream.write_all(b"SSH-2.0-test\r\n").await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    for (kind, came) in [
        (Probe::Connect, "shown"),
        (Probe::Banner, "shown"),
        (
            Probe::Tls,
            "probe-failed: port 9000 of vm-one answered the TLS ClientHello with something that is not TLS",
        ),
        (http("/"), "probe-failed: port 9000 of vm-one answered with something that is not HTTP/1.1"),
    ] {
        assert_eq!(probe(&stage, &kind, OWN, false).await, came, "{kind}");
    }
}

#[tokio::test]
async fn a_target_that_speaks_tls_with_a_certificate_that_nobody_believes() {
    let signed = rcgen::generate_simple_self_signed(["elsewhere.example".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signed.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![signed.cert.der().clone()], key.clone_key())
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (stage, _target) = with(move |stream| {
            let acceptor = acceptor.clone();
            async move {
                // Who probes goes away in the middle of it.
                let _unfinished = acceptor.accept(stream).await;
            }
        })
        .await;
        assert_eq!(probe(&stage, &Probe::Tls, OWN, false).await, "shown");
        assert_eq!(probe(&stage, &http("/"), OWN, false).await.split(':').next(), Some("probe-failed"));
    }
}

#[tokio::test]
async fn a_page_answers_and_a_failing_server_does_not() {
    let stage = Stage::faulty(vec![]).await;
    for path in ["/", "/no/such/page"] {
        assert_eq!(probe(&stage, &http(path), HTTP, false).await, "shown", "{path}");
    }
    let (stage, _target) = with(|mut stream| async move {
        stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        // Whoever asked has time to ask.
        tokio::time::sleep(Duration::from_secs(5)).await;
    })
    .await;
    let came = probe(&stage, &http("/health"), OWN, false).await;
    assert_eq!(came, "probe-failed: port 9000 of vm-one answered with HTTP status 503");
}
