//! How streams end: G29, G32, G33, half-close, resets, and both ways at once.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::client::*;
use super::socket::*;
use crate::emulator::EntryKind;
use crate::emulator::world::Limits;
use crate::model::{Emulation, Frames, Port, Service};

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// A client and a real server behind the tunnel.
async fn joined() -> (Site, Socket, TcpStream) {
    let listener = listener().await;
    let site = Site::framed(Frames::Natural, Some(listener.local_addr().unwrap())).await;
    let (_, socket) = site.dial(TCP).await;
    let (server, _) = timeout(WITHIN, listener.accept()).await.unwrap().unwrap();
    (site, socket, server)
}

async fn end(site: &Site) -> String {
    site.entry(|e| e.kind == EntryKind::Stream).await.end.unwrap()
}

#[tokio::test]
async fn the_targets_end_comes_after_all_of_its_bytes() {
    let (site, mut socket, mut server) = joined().await;
    let bytes: Vec<u8> = (0..300_000u32).map(|n| n.to_le_bytes()[1]).collect();
    let sent = bytes.clone();
    let serve = async move {
        server.write_all(&sent).await.unwrap();
        server.shutdown().await.unwrap();
        server
    };
    let (server, received) = tokio::join!(serve, socket.bytes(bytes.len()));
    assert!(received == bytes);
    assert_eq!(socket.closed().await, 1000);
    socket.close(1000).await;
    assert_eq!(socket.next().await, Event::Notify);
    assert_eq!(end(&site).await, "close 1000; client closed 1000");
    drop(server);
}

#[tokio::test]
async fn an_orderly_close_is_a_fin_behind_every_byte() {
    let listener = listener().await;
    // Small, so that most bytes are still with the emulator when the client is gone.
    socket2::SockRef::from(&listener).set_recv_buffer_size(4096).unwrap();
    let site = Site::framed(Frames::Natural, Some(listener.local_addr().unwrap())).await;
    let (_, mut socket) = site.dial(TCP).await;
    let (mut server, _) = timeout(WITHIN, listener.accept()).await.unwrap().unwrap();
    // What the target says and nobody reads must not turn the FIN into a reset.
    server.write_all(&[1; 1000]).await.unwrap();
    for _ in 0..20 {
        socket.data(&[7; 4096]).await;
    }
    socket.close(1000).await;
    // The stream is over before the target reads the first byte: all of them still arrive, and then the end.
    let entry = site.entry(|e| e.kind == EntryKind::Stream).await;
    assert_eq!(entry.bytes_up, 20 * 4096);
    let mut received = Vec::new();
    timeout(WITHIN, server.read_to_end(&mut received)).await.unwrap().unwrap();
    assert_eq!(received.len(), 20 * 4096);
}

#[tokio::test]
async fn a_client_that_vanishes_is_a_reset_to_the_target() {
    let (site, mut socket, mut server) = joined().await;
    socket.data(b"x").await;
    server.read_exact(&mut [0]).await.unwrap();
    socket.tls.get_ref().0.set_zero_linger().unwrap();
    drop(socket);
    let error = timeout(WITHIN, server.read(&mut [0])).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(end(&site).await, "client gone: reset");
}

#[tokio::test]
async fn hanging_up_without_a_close_frame_is_no_end() {
    let (site, mut socket, mut server) = joined().await;
    socket.tls.shutdown().await.unwrap();
    let error = timeout(WITHIN, server.read(&mut [0])).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert!(end(&site).await.contains("close_notify"));
}

#[tokio::test]
async fn a_target_that_resets_is_told() {
    let (site, mut socket, server) = joined().await;
    server.set_zero_linger().unwrap();
    drop(server);
    assert_eq!(socket.closed().await, 1011);
    socket.close(1011).await;
    assert!(end(&site).await.starts_with("close 1011"));
}

#[tokio::test]
async fn g32_a_target_that_refuses_is_told_after_the_upgrade() {
    let listener = listener().await;
    let refusing = listener.local_addr().unwrap();
    drop(listener);
    let site = Site::framed(Frames::Natural, Some(refusing)).await;
    for port in [CLOSED, TCP] {
        let (_, mut socket) = site.dial(port).await;
        assert_eq!(socket.closed().await, 1011);
        socket.data(b"late").await;
        socket.close(1011).await;
        assert_eq!(socket.next().await, Event::Notify);
    }
    assert!(end(&site).await.contains("refused"));
    assert_eq!(site.emulator.sessions().live, 2, "a session lives until it is deleted");
}

#[tokio::test]
async fn ports_without_a_service_of_their_own_share_one() {
    let mut emulation = emulation(None);
    emulation.machines[0].otherwise = Some(Service::Echo);
    assert!(!emulation.machines[0].ports.contains_key(&Port::new(CLOSED).unwrap()));
    let site = Site::with(emulation).await;
    let (_, mut socket) = site.dial(CLOSED).await;
    socket.data(b"x").await;
    assert_eq!(socket.bytes(1).await, b"x");
}

#[tokio::test]
async fn g33_deleting_a_session_closes_its_websocket() {
    let site = Site::start().await;
    let (session, mut socket) = site.dial(ECHO).await;
    let (other, mut bystander) = site.dial(ECHO).await;
    assert_eq!(site.emulator.sessions().streams, 2);
    assert_eq!(site.delete(&session).await.status, 204);
    assert_eq!(socket.closed().await, 1002);
    bystander.data(b"x").await;
    assert_eq!(bystander.bytes(1).await, b"x");
    assert_eq!(site.emulator.sessions().live, 1);
    bystander.close(1000).await;
    assert_eq!(bystander.closed().await, 1000);
    site.entry(|e| e.kind == EntryKind::Stream && e.session == Some(2)).await;
    assert_eq!(site.emulator.sessions().live, 1, "a close frame deletes nothing");
    site.delete(&other).await;
    assert_eq!(site.emulator.sessions().live, 0);
}

#[tokio::test]
async fn a_session_deleted_in_the_middle_is_a_break_for_the_target() {
    let listener = listener().await;
    let limits = Limits { closing: Duration::from_millis(50), ..Limits::default() };
    let site = Site::within(emulation(Some(listener.local_addr().unwrap())), limits).await;
    let (session, _socket) = site.dial(TCP).await;
    let (mut server, _) = timeout(WITHIN, listener.accept()).await.unwrap().unwrap();
    site.delete(&session).await;
    assert!(site.emulator.wait_for_sessions(|counts| counts.live == 0 && counts.streams == 0, WITHIN).await);
    let error = timeout(WITHIN, server.read(&mut [0])).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn an_upgrade_that_comes_after_its_deletion_is_no_mistake() {
    let site = Site::start().await;
    let session = site.session(ECHO).await;
    assert_eq!(site.delete(&session).await.status, 204);
    assert_eq!(site.upgrade(&url(&session), &WEBSOCKET).await.0.status, 404);
    let counts = site.emulator.sessions();
    assert_eq!((counts.violations.len(), counts.warnings.len()), (0, 1), "{counts:?}");
    // One that was used up before is one.
    let (used, _socket) = site.dial(ECHO).await;
    assert_eq!(site.delete(&used).await.status, 204);
    assert_eq!(site.upgrade(&url(&used), &WEBSOCKET).await.0.status, 404);
    site.violated("G19").await;
}

#[tokio::test]
async fn g29_a_client_that_reads_nothing_is_dropped() {
    let limits = Limits { stall: Duration::from_millis(200), ..Limits::default() };
    let site = Site::within(emulation(None), limits).await;
    let (_, mut socket) = site.dial(HTTP).await;
    socket.data(b"GET /bytes/1GiB HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(end(&site).await, "the client read nothing for too long");
    let last = loop {
        match socket.next().await {
            Event::Frame(0x82, _) => {}
            other @ (Event::Frame(..) | Event::Notify | Event::Fin | Event::Reset) => break other,
        }
    };
    assert!(matches!(last, Event::Fin | Event::Reset), "{last:?}");
}

#[tokio::test]
async fn bytes_go_both_ways_at_once() {
    let site = Site::start().await;
    let (_, mut socket) = site.dial(ECHO).await;
    let Socket { tls, buffer } = &mut socket;
    assert!(buffer.is_empty());
    let (mut from, mut to) = tokio::io::split(tls);
    let chunk: Vec<u8> = (0..4096u32).map(|n| n.to_le_bytes()[0]).collect();
    let frame = masked(0x82, &chunk);
    let count = 512;
    let send = async {
        for _ in 0..count {
            to.write_all(&frame).await.unwrap();
        }
        to.flush().await.unwrap();
    };
    let receive = async {
        let (mut bytes, mut payload) = (Vec::new(), 0);
        while payload < count * 4096 {
            assert!(from.read_buf(&mut bytes).await.unwrap() > 0);
            while let Some(size) = whole(&bytes) {
                payload += size - if size > 127 { 4 } else { 2 };
                bytes.drain(..size);
            }
        }
        payload
    };
    let ((), payload) =
        timeout(Duration::from_secs(20), async { tokio::join!(send, receive) }).await.unwrap();
    assert_eq!(payload, count * 4096);
}

/// The size of the frame at the front, if it is all there.
fn whole(bytes: &[u8]) -> Option<usize> {
    let size = match bytes.get(1)? {
        126 => 4 + usize::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?)),
        n => 2 + usize::from(*n),
    };
    (bytes.len() >= size).then_some(size)
}

#[tokio::test]
async fn a_target_that_reads_nothing_holds_up_the_client() {
    let listener = listener().await;
    let site = Site::with(Emulation::clone(&emulation(Some(listener.local_addr().unwrap())))).await;
    let (_, mut socket) = site.dial(TCP).await;
    let (mut server, _) = timeout(WITHIN, listener.accept()).await.unwrap().unwrap();
    let frame = masked(0x82, &[5; 4096]).repeat(16);
    let mut sent = 0usize;
    while timeout(Duration::from_millis(100), socket.tls.write_all(&frame)).await.is_ok() {
        sent += 1;
        assert!(sent < 4096, "256 MiB are somewhere");
    }
    // Bounded, and nothing lost: the target gets what the emulator counts.
    let mut sink = vec![0; 1 << 16];
    let mut received = 0;
    let receive = async {
        while received < sent * 16 * 4096 {
            received += timeout(WITHIN, server.read(&mut sink)).await.unwrap().unwrap();
            assert!(sink.iter().all(|b| matches!(b, 0 | 5)));
        }
    };
    let (flushed, ()) = tokio::join!(socket.tls.flush(), receive);
    flushed.unwrap();
}
