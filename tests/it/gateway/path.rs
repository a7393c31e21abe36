//! How bytes leave the machine: proxies, certificate authorities, and what is refused before a byte is sent.

use std::io::Write as _;
use std::sync::{Arc, Mutex};

use bastion::emulator::{Emulator, EntryKind};
use bastion::net::{Proxy, ProxyError, Trust};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::stage::{ECHO, Stage, close, emulation, reason, recv, send};
use bastion::model::{Disposition, Endpoint};

type Asked = Arc<Mutex<Vec<String>>>;

/// A proxy that speaks CONNECT and nothing else, wants these credentials, and writes down the heads it gets.
async fn proxy(credentials: &'static str) -> (u16, JoinSet<()>, Asked) {
    proxy_on(TcpListener::bind("127.0.0.1:0").await.unwrap(), credentials)
}

fn proxy_on(listener: TcpListener, credentials: &'static str) -> (u16, JoinSet<()>, Asked) {
    let asked: Asked = Arc::default();
    let heads = Arc::clone(&asked);
    let port = listener.local_addr().unwrap().port();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let heads = Arc::clone(&heads);
            connections.spawn(async move { connect(stream, credentials, heads).await.unwrap_or_default() });
        }
    });
    (port, tasks, asked)
}

async fn connect(stream: TcpStream, credentials: &str, heads: Asked) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await? == 0 {
            return Ok(());
        }
    }
    heads.lock().unwrap().push(head.clone());
    let authorized = head.lines().any(|line| {
        line.split_once(": ").is_some_and(|(name, value)| {
            name.eq_ignore_ascii_case("proxy-authorization") && value == credentials
        })
    });
    if !authorized {
        return stream
            .write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n")
            .await;
    }
    let to = head.split(' ').nth(1).unwrap_or_default();
    let port = to.rsplit(':').next().unwrap_or_default();
    let mut upstream = TcpStream::connect(format!("127.0.0.1:{port}")).await?;
    stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    let (mut from, mut to) = tokio::io::split(stream);
    let (mut back, mut up) = upstream.split();
    let (down, _) = tokio::join!(tokio::io::copy(&mut back, &mut to), tokio::io::copy(&mut from, &mut up));
    down.map(drop)
}

const REFUSED: &str = "it answered HTTP 407: it does not accept the user name and password it was given";

/// `user:secret`
const GOOD: &str = "Basic dXNlcjpzZWNyZXQ=";

#[tokio::test]
async fn rest_and_websocket_go_through_the_proxy_with_credentials() {
    let (port, _proxy, asked) = proxy(GOOD).await;
    let rules = Proxy::new(&format!("http://user:secret@127.0.0.1:{port}"), "").unwrap();
    let stage = Stage::through(emulation(None, vec![]), Some(rules)).await;
    let gateway = stage.gateway().await;
    let mut stream = stage.open(&gateway, ECHO).await.unwrap();
    send(&mut stream, b"through").await;
    assert!(matches!(recv(&mut stream).await, bastion::carrier::Received::Data(b) if b == "through"));
    close(&mut stream).await;
    drop(stream);
    stage.settled(1).await;
    stage.innocent();

    let heads = asked.lock().unwrap().clone();
    let host = stage.entries(EntryKind::Token)[0].host.clone();
    let lines: Vec<&str> = heads.iter().filter_map(|head| head.lines().next()).collect();
    let arm = format!("CONNECT {} HTTP/1.1", stage.emulator.endpoint().resource_manager);
    let gateway = format!("CONNECT {host} HTTP/1.1");
    // ARM; the token exchange (its connection serves the deletion too); the WebSocket.
    assert_eq!(lines, [&*arm, &*gateway, &*gateway]);
    assert!(heads.iter().all(|head| head.contains(GOOD)));
    // Nothing of ours is said to the proxy in the clear.
    assert!(heads.iter().all(|head| !head.contains("webtunnel") && !head.contains("aztoken")));
}

#[tokio::test]
async fn a_proxy_may_have_an_ipv6_address() {
    // Not every machine has one.
    let Ok(listener) = TcpListener::bind("[::1]:0").await else { return };
    let (port, _proxy, asked) = proxy_on(listener, GOOD);
    let rules = Proxy::new(&format!("http://user:secret@[::1]:{port}"), "").unwrap();
    let stage = Stage::through(emulation(None, vec![]), Some(rules)).await;
    let gateway = stage.gateway().await;
    let mut stream = stage.open(&gateway, ECHO).await.unwrap();
    close(&mut stream).await;
    drop(stream);
    stage.settled(1).await;
    assert_eq!(asked.lock().unwrap().len(), 3, "ARM, the token exchange, the WebSocket");
}

#[tokio::test]
async fn no_proxy_goes_round_it() {
    let (port, _proxy, asked) = proxy(GOOD).await;
    let rules = Proxy::new(&format!("http://user:secret@127.0.0.1:{port}"), "localhost").unwrap();
    let stage = Stage::through(emulation(None, vec![]), Some(rules)).await;
    let gateway = stage.gateway().await;
    drop(stage.open(&gateway, ECHO).await.unwrap());
    stage.settled(1).await;
    assert!(asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_proxy_that_wants_credentials_is_told_so_and_shows_none() {
    let (port, _proxy, _) = proxy(GOOD).await;
    let rules = Proxy::new(&format!("http://user:wrong-secret@127.0.0.1:{port}"), "").unwrap();
    let stage = Stage::through(emulation(None, vec![]), Some(rules)).await;
    let error = stage.read().await.unwrap_err();
    let text = chain(&error);
    assert_eq!(error.code(), "proxy-credentials");
    assert!(
        matches!(error.disposition(), Disposition::Blocked(_)),
        "a wrong password is not tried again and again"
    );
    assert!(text.contains(REFUSED), "{text}");
    assert!(!text.contains("wrong-secret") && !format!("{error:?}").contains("wrong-secret"), "{text}");

    // The WebSocket's way says the same.
    let dial = stage.network.connect_tls("bst.localhost", 443, super::stage::PATIENCE).await.unwrap_err();
    let text = chain(&dial);
    assert!(text.contains(REFUSED), "{text}");
    assert_eq!(dial.proxy().map(ProxyError::code), Some("proxy-credentials"));
    assert!(!text.contains("wrong-secret") && !format!("{dial:?}").contains("wrong-secret"), "{text}");
    assert!(stage.emulator.log().entries().is_empty());
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    bastion::model::chain(error)
}

#[tokio::test]
async fn an_authority_given_once_is_believed_by_rest_and_websocket() {
    let emulator = Emulator::start(emulation(None, vec![]), "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(emulator.endpoint().ca_pem.as_bytes()).unwrap();
    let trust = Trust::System(vec![file.path().to_owned()]);
    let stage = Stage::believing(emulator, &trust, None);
    let gateway = stage.gateway().await;
    let mut stream = stage.open(&gateway, ECHO).await.unwrap();
    close(&mut stream).await;
    drop(stream);
    stage.settled(1).await;
    stage.innocent();
}

#[tokio::test]
async fn a_certificate_of_someone_elses_is_refused_before_anything_is_sent() {
    let other = Emulator::start(emulation(None, vec![]), "127.0.0.1:0".parse().unwrap()).await.unwrap();
    for trust in [Trust::System(vec![]), Trust::Only(other.endpoint().ca_pem, vec![])] {
        let emulator =
            Emulator::start(emulation(None, vec![]), "127.0.0.1:0".parse().unwrap()).await.unwrap();
        let stage = Stage::believing(emulator, &trust, None);
        let state = stage.refusal(Endpoint::Address(super::stage::ADDRESS)).await;
        let (_, why) = reason(&state);
        assert_eq!(why.code, "untrusted-certificate");
        assert!(why.what.contains("certificate"), "{}", why.what);
        let address = stage.emulator.endpoint().address;
        let dial = stage.network.connect_tls("bst.localhost", address.port(), super::stage::PATIENCE).await;
        let text = chain(&dial.unwrap_err());
        assert!(text.contains("making a TLS connection") && text.contains("certificate"), "{text}");
        assert!(stage.emulator.log().entries().is_empty(), "a request arrived");
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let stage = Stage::faulty(vec![]).await;
    let port = stage.emulator.endpoint().address.port();
    // The emulator's certificate is good for its own names below localhost, not for this one.
    let dial = stage.network.connect_tls("bst.example.localhost", port, super::stage::PATIENCE).await;
    let text = chain(&dial.unwrap_err());
    assert!(text.contains("not valid for name"), "{text}");
}
