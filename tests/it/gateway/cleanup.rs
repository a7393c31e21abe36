//! Every session is deleted, whatever becomes of its deletion, and stopping is bounded.

use std::time::Duration;

use bastion::emulator::EntryKind;
use bastion::model::{FaultAction as A, FaultPhase};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};

use super::stage::{
    ECHO, End, OWN, PATIENCE, Running, Stage, always, drain, emulation, fault, pattern, sending, target,
};

/// Live connections that have said something through the tunnel.
async fn live(tunnel: &Running, number: usize) -> Vec<tokio::net::TcpStream> {
    let mut all = Vec::new();
    for _ in 0..number {
        let mut local = tunnel.connect().await;
        local.write_all(b"x").await.unwrap();
        timeout(PATIENCE, local.read_u8()).await.unwrap().unwrap();
        all.push(local);
    }
    all
}

#[tokio::test]
async fn a_session_is_deleted_at_its_own_node_after_its_websocket() {
    let stage = Stage::faulty(vec![]).await;
    let gateway = stage.gateway().await;
    for _ in 0..3 {
        let mut stream = stage.open(&gateway, ECHO).await.unwrap();
        super::stage::close(&mut stream).await;
    }
    stage.settled(3).await;
    for entry in stage.entries(EntryKind::Delete) {
        assert_eq!(entry.status, Some(204));
        let granted =
            stage.entries(EntryKind::Token).into_iter().find(|e| e.session == entry.session).unwrap();
        assert_eq!(entry.node, granted.node);
        let header = entry.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("x-node-id")).cloned();
        assert_eq!(header.map(|(_, value)| value), granted.node);
        let header = |name: &str| entry.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
        assert!(!header("authorization") && !header("cookie"));
    }
    // It is the end of the WebSocket that is told first.
    for stream in stage.seen(EntryKind::Stream, 3).await {
        assert!(stream.end.as_ref().is_some_and(|end| end.contains("client closed 1000")), "{stream:#?}");
    }
    stage.innocent();
}

#[tokio::test]
async fn gone_already_is_as_good_as_deleted() {
    for action in [A::Status(404), A::EmptyStatus(404), A::EmptyStatus(200), A::EmptyStatus(204)] {
        let stage = Stage::faulty(vec![fault(FaultPhase::Delete, action)]).await;
        let gateway = stage.gateway().await;
        drop(stage.open(&gateway, ECHO).await.unwrap());
        assert_eq!(gateway.settle(Instant::now() + PATIENCE).await.sessions, 0);
        assert_eq!(gateway.sessions(), (1, 1));
        assert_eq!(stage.entries(EntryKind::Delete).len(), 1, "asked once");
    }
}

#[tokio::test]
async fn a_failed_deletion_is_tried_once_more_and_again_at_the_exit() {
    for action in [A::Status(500), A::PlainStatus(502), A::Drop, A::Reset, A::EmptyStatus(403)] {
        let stage = Stage::faulty(vec![fault(FaultPhase::Delete, action.clone())]).await;
        let gateway = stage.gateway().await;
        drop(stage.open(&gateway, ECHO).await.unwrap());
        stage.settled(1).await;
        assert_eq!(stage.entries(EntryKind::Delete).len(), 2, "{action:?}");

        let stage = Stage::faulty(vec![
            fault(FaultPhase::Delete, action.clone()),
            fault(FaultPhase::Delete, action.clone()),
        ])
        .await;
        let gateway = stage.gateway().await;
        drop(stage.open(&gateway, ECHO).await.unwrap());
        stage.seen(EntryKind::Delete, 2).await;
        assert_eq!(stage.counts().deleted, 0);
        assert_eq!(gateway.settle(Instant::now() + PATIENCE).await.sessions, 0, "{action:?}");
        stage.settled(1).await;
        assert_eq!(stage.entries(EntryKind::Delete).len(), 3, "{action:?}");
    }
}

#[tokio::test]
async fn a_redirected_deletion_goes_nowhere_else() {
    let stranger = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let elsewhere = format!("https://localhost:{}/", stranger.local_addr().unwrap().port());
    let stage = Stage::faulty(vec![always(FaultPhase::Delete, A::Redirect(307, elsewhere))]).await;
    let gateway = stage.gateway().await;
    drop(stage.open(&gateway, ECHO).await.unwrap());
    assert_eq!(gateway.settle(Instant::now() + PATIENCE).await.sessions, 1, "it says what is left behind");
    assert!(timeout(Duration::from_millis(1), stranger.accept()).await.is_err(), "the stranger was called");
}

#[tokio::test]
async fn a_mistake_of_ours_in_a_connections_task_deletes_its_session() {
    let stage = Stage::faulty(vec![]).await;
    let gateway = stage.gateway().await;
    let stream = stage.open(&gateway, ECHO).await.unwrap();
    let mut task = tokio::task::JoinSet::new();
    task.spawn(async move {
        let _stream = stream;
        panic!("as this test wants it");
    });
    assert!(task.join_next().await.unwrap().unwrap_err().is_panic());
    stage.settled(1).await;
    assert_eq!(gateway.settle(Instant::now() + PATIENCE).await, bastion::carrier::Remains::default());
}

#[tokio::test]
async fn stopping_deletes_all_sessions_at_once() {
    let stage = Stage::faulty(vec![]).await;
    let tunnel = stage.tunnel(ECHO).await;
    let locals = live(&tunnel, 12).await;
    // Each deletion takes its time; twelve in a row would take twelve seconds.
    for _ in 0..12 {
        stage.emulator.inject(fault(FaultPhase::Delete, A::Delay(Duration::from_secs(1))));
    }
    let started = Instant::now();
    tunnel.stop().await;
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    stage.settled(13).await;
    for local in locals {
        assert_eq!(timeout(PATIENCE, drain(local)).await.unwrap(), (vec![], End::Reset));
    }
    stage.innocent();
}

#[tokio::test]
async fn stopping_is_bounded_whatever_becomes_of_the_deletions() {
    let stops = |action: A| async move {
        let stage = Stage::faulty(vec![]).await;
        let tunnel = stage.tunnel(ECHO).await;
        let locals = live(&tunnel, 3).await;
        stage.emulator.inject(always(FaultPhase::Delete, action.clone()));
        let started = Instant::now();
        let left = tunnel.supervised.stop().await;
        // All that can be said is which deletions were answered; it is no reason to stay.
        assert_eq!(left.sessions, 3, "{action:?}");
        assert!(started.elapsed() < Duration::from_secs(13), "{action:?}: {:?}", started.elapsed());
        drop(locals);
    };
    tokio::join!(stops(A::Silence), stops(A::Delay(Duration::from_secs(30))), stops(A::Status(500)));
}

#[tokio::test]
async fn stopping_cuts_off_a_gateway_that_takes_nothing_and_deletes_its_session() {
    let (address, _target) = target(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let stage = Stage::new(emulation(Some(address), vec![])).await;
    let tunnel = stage.tunnel(OWN).await;
    let mut local = tunnel.connect().await;
    let bytes = vec![1; 64 * 1024];
    // Until nobody takes any more.
    while timeout(Duration::from_millis(700), local.write_all(&bytes)).await.is_ok() {}
    let started = Instant::now();
    assert_eq!(tunnel.supervised.stop().await, bastion::carrier::Remains::default());
    // Waiting for it to take what it owes would take more.
    assert!(started.elapsed() < Duration::from_secs(9), "{:?}", started.elapsed());
    stage.settled(2).await;
}

#[tokio::test]
async fn a_program_that_reads_too_late_sees_a_reset_and_no_early_end() {
    let bytes = std::sync::Arc::new(pattern(32 << 20));
    let (address, _target) = sending(std::sync::Arc::clone(&bytes)).await;
    let stage = Stage::new(emulation(Some(address), vec![])).await;
    let tunnel = stage.tunnel(OWN).await;
    let local = tunnel.connect().await;
    stage.until("a WebSocket", |c| c.streams == 1).await;
    // The local program does not read, and the tunnel is stopped over it.
    assert_eq!(tunnel.supervised.stop().await, bastion::carrier::Remains::default());
    let (seen, end) = timeout(PATIENCE, drain(local)).await.unwrap();
    assert!(seen.len() < bytes.len() && seen == bytes[..seen.len()], "{} bytes", seen.len());
    assert_eq!(end, End::Reset, "half of it must not look like all of it");
    stage.settled(2).await;
}
