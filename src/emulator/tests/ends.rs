//! Ends that no side asked for: an idle flow that is forgotten (G30), a node that vanishes (G42).

use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use super::client::*;
use super::socket::*;
use crate::emulator::EntryKind;
use crate::model::{Emulation, FaultAction, FaultPhase};

const IDLE: Duration = Duration::from_millis(600);

async fn impatient() -> Site {
    Site::with(Emulation { idle_limit: IDLE, ..emulation(None) }).await
}

async fn forgotten(site: &Site) {
    let entry = site.entry(|entry| entry.kind == EntryKind::Stream).await;
    assert_eq!(entry.end.as_deref(), Some("no frame for 600ms: dropped without a word"));
}

#[tokio::test]
async fn g30_an_idle_stream_is_dropped_without_a_word() {
    let site = impatient().await;
    let (session, mut socket) = site.dial(ECHO).await;
    socket.data(b"x").await;
    assert_eq!(socket.bytes(1).await, b"x");
    forgotten(&site).await;
    assert_eq!((site.emulator.sessions().streams, site.emulator.sessions().live), (0, 1));
    // Neither byte nor pong, nor an answer to a close; but nothing says that it is over, either.
    socket.data(b"y").await;
    socket.send(0x89, b"p").await;
    socket.close(1000).await;
    assert!(timeout(Duration::from_millis(200), socket.next_forever()).await.is_err());
    assert_eq!(site.delete(&session).await.status, 204);
    assert_eq!(socket.next().await, Event::Reset);
    site.innocent();
}

#[tokio::test]
async fn g30_pings_keep_a_stream_alive_either_way() {
    let site = impatient().await;
    let (_, mut quiet) = site.dial(ECHO).await;
    for _ in 0..6 {
        sleep(IDLE / 4).await;
        quiet.send(0x89, b"p").await;
        assert_eq!(quiet.next().await, Event::Frame(0x8a, b"p".to_vec()));
    }
    quiet.data(b"x").await;
    assert_eq!(quiet.bytes(1).await, b"x");

    let site = impatient().await;
    site.emulator.inject(fault(FaultPhase::Stream, FaultAction::Pings(IDLE / 4)));
    let (_, mut pinged) = site.dial(ECHO).await;
    for _ in 0..6 {
        assert!(matches!(pinged.next().await, Event::Frame(0x89, _)));
    }
}

#[tokio::test]
async fn g30_the_target_learns_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let site = Site::with(Emulation { idle_limit: IDLE, ..emulation(Some(address)) }).await;
    let (_, _socket) = site.dial(TCP).await;
    let (mut target, _) = listener.accept().await.unwrap();
    let read = timeout(WITHIN, target.read(&mut [0; 8])).await.unwrap();
    assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    forgotten(&site).await;
}

#[tokio::test]
async fn g30_can_be_off_and_ends_with_the_emulator() {
    for idle_limit in [Duration::ZERO, Duration::MAX] {
        let site = Site::with(Emulation { idle_limit, ..emulation(None) }).await;
        let (_, mut socket) = site.dial(ECHO).await;
        assert!(timeout(IDLE / 4, socket.next_forever()).await.is_err());
        socket.data(b"x").await;
        assert_eq!(socket.bytes(1).await, b"x");
    }
    assert_eq!(Emulation::default().idle_limit, Duration::from_secs(240));

    let site = impatient().await;
    let (_, mut socket) = site.dial(ECHO).await;
    forgotten(&site).await;
    timeout(WITHIN, site.emulator.stop()).await.expect("a dead connection holds nobody up");
    assert!(!matches!(socket.next().await, Event::Frame(..)));
}

#[tokio::test]
async fn g42_a_node_takes_its_sessions_along() {
    let site = Site::start().await;
    let (lost, mut doomed) = site.dial(ECHO).await;
    let (kept, mut spared) = site.dial(ECHO).await;
    assert_ne!(lost.node, kept.node);
    let unused = site.session(ECHO).await;
    assert_eq!(unused.node, lost.node);

    site.emulator.vanish_node(&lost.node);
    assert_eq!(doomed.next().await, Event::Reset);
    let entry = site.entry(|entry| entry.kind == EntryKind::Stream).await;
    assert_eq!(entry.end.as_deref(), Some("the node vanished"));
    let counts = site.emulator.sessions();
    assert_eq!((counts.opened, counts.deleted, counts.lost, counts.live, counts.streams), (3, 0, 2, 1, 1));
    assert_eq!(site.upgrade(&url(&unused), &WEBSOCKET).await.0.status, 404);
    let answer = site.delete(&lost).await;
    assert_eq!((answer.status, answer.message().as_str()), (404, "No such token."));

    spared.data(b"x").await;
    assert_eq!(spared.bytes(1).await, b"x");
    let (first, second) = (site.session(ECHO).await, site.session(ECHO).await);
    let mut nodes = [first.node.as_str(), second.node.as_str()];
    nodes.sort_unstable();
    assert_eq!(nodes, [kept.node.as_str(), "10.0.1.6"], "two, one of them new");
    assert_eq!(site.delete(&kept).await.status, 204);
    assert_eq!(spared.closed().await, 1002);
}

#[tokio::test]
async fn g42_a_chained_call_finds_another_node() {
    let site = Site::start().await;
    let first = site.session(ECHO).await;
    site.emulator.vanish_node("10.9.9.9");
    assert_eq!(site.emulator.sessions().lost, 0);
    let noticed = site.emulator.wait_for_sessions(|counts| counts.lost == 1, WITHIN);
    let (noticed, ()) = tokio::join!(noticed, async { site.emulator.vanish_node(&first.node) });
    assert!(noticed);
    let node = format!("X-Node-Id: {}", first.node);
    let chained = site.form(ECHO, &[("token", &first.auth)]);
    let next = Session::of(&site.exchange(&chained, &[&node]).await);
    assert!(next.auth != first.auth && next.node != first.node, "{next:?}");
}
