//! The rules of the upgrade and of frames: G16–G28, G31.

use std::time::Duration;

use super::client::*;
use super::socket::*;
use crate::emulator::EntryKind;
use crate::emulator::world::Limits;
use crate::model::Frames;

#[tokio::test]
async fn a_right_upgrade_carries_bytes() {
    let site = Site::start().await;
    let (_, mut socket) = site.dial(ECHO).await;
    socket.data(b"hello").await;
    assert_eq!(socket.next().await, Event::Frame(0x82, b"hello".to_vec()));
    socket.close(1000).await;
    assert_eq!(socket.closed().await, 1000);
    assert_eq!(socket.next().await, Event::Notify);
    let entry = site.entry(|e| e.kind == EntryKind::Stream).await;
    assert_eq!((entry.bytes_up, entry.bytes_down, entry.session), (5, 5, Some(1)));
    site.innocent();
}

#[tokio::test]
async fn g16_only_the_websocket_token_and_the_new_path() {
    let site = Site::start().await;
    let session = site.session(ECHO).await;
    let path = format!("/webtunnelv2/{}?X-Node-Id={}", session.auth, session.node);
    assert_eq!(site.upgrade(&path, &WEBSOCKET).await.0.status, 404);
    site.violated("G16").await;
    let old = url(&session).replace("webtunnelv2", "webtunnel");
    assert_eq!(site.upgrade(&old, &WEBSOCKET).await.0.status, 404);
    assert_eq!(site.emulator.sessions().violations.len(), 2);
}

#[tokio::test]
async fn g17_the_node_stands_in_the_query() {
    let site = Site::start().await;
    for (from, to) in
        [("?X-Node-Id=10.0.1.", "?x-node-id=10.0.1."), ("10.0.1.", "10.0.2."), ("?X-Node-Id=", "?")]
    {
        let session = site.session(ECHO).await;
        let path = url(&session).replace(from, to);
        assert_eq!(site.upgrade(&path, &WEBSOCKET).await.0.status, 400, "{path}");
    }
    let session = site.session(ECHO).await;
    let path = url(&session);
    let path = path.split_once('?').unwrap().0;
    assert_eq!(site.upgrade(path, &WEBSOCKET).await.0.status, 400);
    assert_eq!(site.emulator.sessions().violations.len(), 4);
    site.violated("G17").await;
}

#[tokio::test]
async fn g18_a_websocket_token_is_good_once_and_soon() {
    let site = Site::start().await;
    let (session, _socket) = site.dial(ECHO).await;
    site.innocent();
    assert_eq!(site.upgrade(&url(&session), &WEBSOCKET).await.0.status, 404);
    site.violated("G18").await;

    let limits = Limits { ticket: Duration::ZERO, ..Limits::default() };
    let site = Site::within(emulation(None), limits).await;
    let session = site.session(ECHO).await;
    assert_eq!(site.upgrade(&url(&session), &WEBSOCKET).await.0.status, 404);
    site.violated("G18").await;
}

#[tokio::test]
async fn g19_the_token_is_escaped_exactly_once() {
    let site = Site::start().await;
    let session = site.session(ECHO).await;
    let twice = escape(&escape(&session.websocket));
    let but = |from: char, to: &str| session.websocket.replace(from, to);
    for segment in [session.websocket.clone(), twice, but('/', "%2F"), but('%', "%25")] {
        let path = format!("/webtunnelv2/{segment}?X-Node-Id={}", session.node);
        assert_eq!(site.upgrade(&path, &WEBSOCKET).await.0.status, 404, "{segment}");
    }
    site.violated("G19").await;
    site.open(&session).await;
}

#[tokio::test]
async fn g20_a_handshake_is_whole() {
    let site = Site::start().await;
    let session = site.session(ECHO).await;
    for (missing, header) in WEBSOCKET.into_iter().enumerate() {
        let headers: Vec<&str> =
            (0..).zip(WEBSOCKET).filter(|(n, _)| *n != missing).map(|(_, h)| h).collect();
        let (answer, _) = site.upgrade(&url(&session), &headers).await;
        assert_eq!(answer.status, if missing == 3 { 426 } else { 400 }, "without {header}");
        assert_eq!(answer.header("sec-websocket-version"), (missing == 3).then_some("13"));
    }
    let key = WEBSOCKET.map(|h| if h.contains("Key") { "Sec-WebSocket-Key: short" } else { h });
    assert_eq!(site.upgrade(&url(&session), &key).await.0.status, 400);
    let mut tls = site.tls(&site.gateway).await;
    write(&mut tls, &format!("GET {} HTTP/1.1\r\n{}\r\n\r\n", url(&session), WEBSOCKET.join("\r\n"))).await;
    assert_eq!(answer(&mut tls, &mut Vec::new()).await.unwrap().status, 400);
    site.violated("G20").await;
    // None of these spent the token.
    site.open(&session).await;
}

#[tokio::test]
async fn g21_g22_nothing_is_offered_on_the_upgrade() {
    let site = Site::start().await;
    for (rule, extra) in [
        ("G21", "Sec-WebSocket-Extensions: permessage-deflate"),
        ("G21", "Sec-WebSocket-Protocol: binary"),
        ("G22", "Authorization: Bearer x"),
        ("G22", "Cookie: a=b"),
    ] {
        let before = site.emulator.sessions().violations.len();
        let session = site.session(ECHO).await;
        let headers: Vec<&str> = WEBSOCKET.into_iter().chain([extra]).collect();
        let (answer, _socket) = site.upgrade(&url(&session), &headers).await;
        assert_eq!(answer.status, 101);
        assert_eq!(answer.header("sec-websocket-extensions"), None);
        assert_eq!(answer.header("sec-websocket-protocol"), None);
        let violations = site.emulator.sessions().violations;
        assert_eq!(violations.len(), before + 1);
        assert!(violations[before].starts_with(rule), "{violations:?}");
    }
}

#[tokio::test]
async fn g23_g24_g27_crooked_frames_end_the_connection() {
    let site = Site::start().await;
    let long_ping = masked(0x89, &[0; 126]);
    for (rule, code, bytes) in [
        ("G23", 1002, vec![0x82, 1, b'x']),
        ("G23", 1002, masked(0xc2, b"x")),
        ("G23", 1002, masked(0x83, b"x")),
        ("G23", 1002, masked(0x8b, b"x")),
        ("G23", 1002, masked(0x09, b"x")),
        ("G23", 1002, long_ping),
        ("G23", 1002, masked(0x88, b"x")),
        ("G24", 1002, masked(0x02, b"x")),
        ("G24", 1002, masked(0x80, b"x")),
        ("G27", 1003, masked(0x81, b"x")),
    ] {
        let (_, mut socket) = site.dial(ECHO).await;
        socket.raw(&bytes).await;
        assert_eq!(socket.closed().await, code, "{rule} {bytes:?}");
        let number = site.emulator.sessions().opened;
        socket.close(code).await;
        let entry = site.entry(|e| e.kind == EntryKind::Stream && e.session == Some(number)).await;
        assert!(entry.violations[0].starts_with(rule), "{entry:?}");
    }
}

#[tokio::test]
async fn g25_g26_messages_have_a_size() {
    let site = Site::start().await;
    let (_, mut socket) = site.dial(ECHO).await;
    let payload: Vec<u8> = (0..8192u32).map(|n| n.to_le_bytes()[0]).collect();
    for n in [4096, 4097, 8192] {
        socket.data(&payload[..n]).await;
        assert_eq!(socket.bytes(n).await, payload[..n]);
    }
    socket.close(1000).await;
    let entry = site.entry(|e| e.kind == EntryKind::Stream).await;
    assert_eq!(entry.warnings, ["G26: 2 messages of more than 4096 bytes"]);
    assert_eq!(site.emulator.sessions().warnings.len(), 1);
    site.innocent();

    let (_, mut socket) = site.dial(ECHO).await;
    socket.data(&[0; 8193]).await;
    match socket.next().await {
        Event::Frame(0x88, payload) => {
            assert_eq!(payload[..2], 1009u16.to_be_bytes());
            assert!(String::from_utf8_lossy(&payload).contains("Buffer size: [8192], Message size: [8193]"));
        }
        other @ (Event::Frame(..) | Event::Notify | Event::Fin | Event::Reset) => panic!("{other:?}"),
    }
    socket.close(1009).await;
    site.violated("G25").await;
}

#[tokio::test]
async fn g28_pings_are_answered_in_kind() {
    let site = Site::start().await;
    let (_, mut socket) = site.dial(ECHO).await;
    for payload in [b"".as_slice(), b"ping", &[7; 125]] {
        socket.send(0x89, payload).await;
        assert_eq!(socket.next().await, Event::Frame(0x8a, payload.to_vec()));
    }
    // A ping among data is answered, and a pong that nobody asked for is not.
    let bytes = [masked(0x82, b"a"), masked(0x8a, b"?"), masked(0x89, b"p"), masked(0x82, b"b")].concat();
    socket.raw(&bytes).await;
    let mut pongs = 0;
    let mut echoed = Vec::new();
    while pongs == 0 || echoed.len() < 2 {
        match socket.next().await {
            Event::Frame(0x8a, payload) if payload == b"p" => pongs += 1,
            Event::Frame(0x82, payload) => echoed.extend(payload),
            other @ (Event::Frame(..) | Event::Notify | Event::Fin | Event::Reset) => panic!("{other:?}"),
        }
    }
    assert_eq!((pongs, echoed.as_slice()), (1, b"ab".as_slice()));
}

#[tokio::test]
async fn frames_that_come_with_the_upgrade_or_in_pieces_are_whole() {
    let site = Site::start().await;
    let session = site.session(ECHO).await;
    let mut tls = site.tls(&site.gateway).await;
    let mut bytes = format!("GET {} HTTP/1.1\r\nHost: {}\r\n", url(&session), site.gateway).into_bytes();
    bytes.extend(format!("{}\r\n\r\n", WEBSOCKET.join("\r\n")).as_bytes());
    bytes.extend(masked(0x82, b"early"));
    write(&mut tls, std::str::from_utf8(&bytes).unwrap_or_default()).await;
    if std::str::from_utf8(&bytes).is_err() {
        tokio::io::AsyncWriteExt::write_all(&mut tls, &bytes).await.unwrap();
    }
    let mut buffer = Vec::new();
    assert_eq!(answer(&mut tls, &mut buffer).await.unwrap().status, 101);
    let mut socket = Socket { tls, buffer };
    assert_eq!(socket.bytes(5).await, b"early");
    for byte in masked(0x82, b"slow") {
        socket.raw(&[byte]).await;
    }
    assert_eq!(socket.bytes(4).await, b"slow");
}

/// Asks the page's server for bytes and gives the frames that they came in.
async fn download(frames: Frames, size: usize) -> Vec<(u8, usize)> {
    let site = Site::framed(frames, None).await;
    let (_, mut socket) = site.dial(HTTP).await;
    socket
        .data(format!("GET /bytes/{size} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())
        .await;
    let (mut seen, mut bytes) = (Vec::new(), Vec::new());
    loop {
        match socket.next().await {
            Event::Frame(0x88, payload) => {
                assert_eq!(payload, 1000u16.to_be_bytes());
                break;
            }
            Event::Frame(first, payload) => {
                seen.push((first, payload.len()));
                if first & 0x08 == 0 {
                    bytes.extend(payload);
                } else {
                    socket.send(0x8a, &payload).await;
                }
            }
            other @ (Event::Notify | Event::Fin | Event::Reset) => panic!("{other:?}"),
        }
    }
    let head = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    let expected: Vec<u8> = (0..=250).cycle().take(size).collect();
    assert!(bytes[head..] == expected, "every byte, in order");
    seen
}

#[tokio::test]
async fn g31_natural_messages_fit_the_gateways_buffer() {
    let seen = download(Frames::Natural, 1 << 20).await;
    assert!(seen.iter().all(|(first, size)| *first == 0x82 && *size <= 8192));
    assert!(seen.iter().any(|(_, size)| *size == 8192));
}

#[tokio::test]
async fn g31_messages_of_one_size() {
    for (size, total) in [(1, 3000), (32 * 1024, 1 << 20), (100_000, 1 << 20), (1 << 20, 3 << 20)] {
        let seen = download(Frames::Size(size), total).await;
        assert!(seen.iter().all(|(first, n)| *first == 0x82 && *n <= size), "{size}");
        assert!(seen.iter().filter(|(_, n)| *n == size).count() >= 2, "{size}: {seen:?}");
    }
}

#[tokio::test]
async fn g31_large_messages_do_not_hold_up_a_conversation() {
    let site = Site::framed(Frames::Size(1 << 20), None).await;
    let (_, mut socket) = site.dial(ECHO).await;
    for word in [b"one".as_slice(), b"two"] {
        socket.data(word).await;
        assert_eq!(socket.next().await, Event::Frame(0x82, word.to_vec()));
    }
}

#[tokio::test]
async fn g31_fragments_with_pings_and_nothing_in_between() {
    let seen = download(Frames::Fragments, 200_000).await;
    for kind in [0x02, 0x89, 0x00, 0x80] {
        assert!(seen.iter().any(|(first, _)| *first == kind), "{kind:x} in {seen:?}");
    }
    assert!(seen.contains(&(0x82, 0)), "an empty message");
}
