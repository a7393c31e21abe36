//! The services of simulated machines, the log, starting and stopping.

use std::time::Duration;

use super::client::*;
use super::socket::*;
use crate::emulator::{Emulator, EmulatorError, EntryKind};
use crate::model::{Emulation, FaultAction, FaultPhase, Frames};

/// One HTTP request through a tunnel; the answer's head and body.
async fn get(site: &Site, line: &str, headers: &str) -> (String, Vec<u8>) {
    let (_, mut socket) = site.dial(HTTP).await;
    socket
        .data(
            format!("{line} HTTP/1.1\r\nHost: localhost:9999\r\nConnection: close\r\n{headers}\r\n")
                .as_bytes(),
        )
        .await;
    let mut bytes = Vec::new();
    while let Event::Frame(0x82, payload) = socket.next().await {
        bytes.extend(payload);
    }
    let head = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    let body = bytes.split_off(head);
    (String::from_utf8(bytes).unwrap(), body)
}

#[tokio::test]
async fn the_page_tells_the_way() {
    let site = Site::start().await;
    let (head, body) = get(&site, "GET /", "Accept: text/html,*/*\r\n").await;
    let page = String::from_utf8(body).unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("text/html"), "{head}");
    for part in
        ["vm-web", "port 80", "session 1", "10.0.1.", "localhost:9999", "<!doctype html>", "color-scheme"]
    {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("{{") && !page.contains("src="), "self-contained");
    let (head, body) = get(&site, "GET /", "Accept: */*\r\n").await;
    let text = String::from_utf8(body).unwrap();
    assert!(head.contains("text/plain"), "{head}");
    assert!(text.contains("curl localhost:9999/bytes/10MiB -o /dev/null") && !text.contains('<'), "{text}");
}

#[tokio::test]
async fn the_page_believes_no_markup() {
    let site = Site::start().await;
    let (_, mut socket) = site.dial(HTTP).await;
    socket.data(b"GET / HTTP/1.1\r\nHost: <script>\r\nAccept: text/html\r\nConnection: close\r\n\r\n").await;
    assert!(!String::from_utf8_lossy(&socket.bytes(3000).await).contains("<script"));
}

#[tokio::test]
async fn the_server_serves_bytes_heads_and_nothing_else() {
    let site = Site::start().await;
    let (head, body) = get(&site, "GET /bytes/1KiB", "").await;
    assert!(head.contains("Content-Length: 1024\r\n"), "{head}");
    assert!(body == (0..=250).cycle().take(1024).collect::<Vec<u8>>());
    let (head, body) = get(&site, "HEAD /bytes/10GiB", "").await;
    assert!(head.contains("Content-Length: 10737418240\r\n") && body.is_empty(), "{head}");
    let (head, body) = get(&site, "HEAD /", "").await;
    assert!(head.starts_with("HTTP/1.1 200") && body.is_empty());
    assert!(get(&site, "GET /healthz", "").await.0.starts_with("HTTP/1.1 200"));
    assert!(get(&site, "GET /bytes/1XiB", "").await.0.starts_with("HTTP/1.1 404"));
    assert!(get(&site, "POST /", "").await.0.starts_with("HTTP/1.1 405"));
    let (_, who) = get(&site, "GET /whoami", "").await;
    assert!(String::from_utf8(who).unwrap().contains("machine vm-web\n"));
}

#[tokio::test]
async fn the_log_has_everything_but_tokens() {
    let path = std::env::temp_dir().join(format!("emulator-log-{}", crate::emulator::access::guid()));
    let site = Site::with(Emulation { log: Some(path.clone()), ..emulation(None) }).await;
    site.read_bastion().await;
    let (session, mut socket) = site.dial(ECHO).await;
    // A client that puts the access token where no token belongs.
    let stray = format!("X-Node-Id: {}", site.endpoint.token);
    site.ask(&site.gateway, "GET /api/x", &[&stray], "").await;
    socket.data(b"hello").await;
    socket.bytes(5).await;
    socket.close(1000).await;
    socket.closed().await;
    site.delete(&session).await;
    let log = site.emulator.log().clone();
    assert!(log.wait_for(|entries| entries.len() >= 6, WITHIN).await, "{:#?}", log.entries());
    let kinds: Vec<EntryKind> = log.entries().iter().map(|e| e.kind).collect();
    for kind in [EntryKind::Arm, EntryKind::Token, EntryKind::Upgrade, EntryKind::Stream, EntryKind::Delete] {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
    let token = log.entries().into_iter().find(|e| e.kind == EntryKind::Token).unwrap();
    assert!(token.form.contains(&("resourceId".to_owned(), vm_id().to_string())));
    assert!(token.form.contains(&("aztoken".to_owned(), "…".to_owned())));
    assert_eq!((token.status, token.session, token.node), (Some(200), Some(1), Some(session.node.clone())));

    let secret = site.endpoint.token.clone();
    let in_memory = format!("{:?}", log.entries());
    site.emulator.stop().await;
    let file = std::fs::read_to_string(&path).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    std::fs::remove_file(&path).unwrap();
    assert_eq!(file.lines().count(), log.entries().len());
    for line in file.lines() {
        let json: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(json["time"].as_str().unwrap().ends_with('Z'), "{line}");
    }
    assert!(file.contains("\"end\":\"close 1000; client closed 1000\""), "{file}");
    for secret in [secret, session.auth, escape(&session.websocket), session.websocket] {
        assert!(!file.contains(&secret) && !in_memory.contains(&secret));
    }
}

#[tokio::test]
async fn waiting_for_an_entry_has_an_end() {
    let site = Site::start().await;
    assert!(!site.emulator.log().wait_for(|entries| !entries.is_empty(), Duration::from_millis(10)).await);
    let log = site.emulator.log().clone();
    let (there, _) = tokio::join!(log.wait_for(|e| e.len() == 1, WITHIN), site.read_bastion());
    assert!(there);
}

#[tokio::test]
async fn what_cannot_be_is_refused_at_the_start() {
    let any = "127.0.0.1:0".parse().unwrap();
    let faults =
        vec![fault(FaultPhase::Arm, FaultAction::Delay(WITHIN)), fault(FaultPhase::Arm, FaultAction::Text)];
    let error = Emulator::start(Emulation { faults, ..emulation(None) }, any).await.unwrap_err();
    assert!(matches!(error, EmulatorError::Fault { number: 2, .. }), "{error}");
    let error =
        Emulator::start(Emulation { frames: Frames::Size(0), ..emulation(None) }, any).await.unwrap_err();
    assert!(matches!(error, EmulatorError::MessageSize(0)), "{error}");
    let site = Site::start().await;
    let error = Emulator::start(emulation(None), site.endpoint.address).await.unwrap_err();
    assert!(matches!(error, EmulatorError::Listen { .. }), "{error}");
    site.emulator.inject(fault(FaultPhase::Token, FaultAction::Close(1000)));
    assert_eq!(site.emulator.sessions().warnings.len(), 1);
}

#[tokio::test]
async fn stopping_ends_every_connection() {
    let site = Site::start().await;
    let (_, mut socket) = site.dial(ECHO).await;
    socket.data(b"x").await;
    socket.bytes(1).await;
    assert_eq!(site.emulator.sessions().streams, 1);
    let log = site.emulator.log().clone();
    let address = site.endpoint.address;
    site.emulator.stop().await;
    assert_eq!(log.entries().last().unwrap().end.as_deref(), Some("the emulator stopped"));
    assert!(!matches!(socket.next().await, Event::Frame(..)));
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn dropping_it_stops_it() {
    let site = Site::start().await;
    let (_, mut socket) = site.dial(ECHO).await;
    drop(site);
    assert!(!matches!(socket.next().await, Event::Frame(..)));
}
