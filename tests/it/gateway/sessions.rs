//! Each connection has a session of its own, and what belongs to one is never mixed with another's.

use std::collections::BTreeSet;
use std::time::Duration;

use bastion::carrier::Received;
use bastion::emulator::EntryKind;
use bastion::model::{FaultAction as A, FaultPhase};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::stage::{
    ECHO, OWN, PATIENCE, Stage, close, desired, emulation, fault, machine_id, recv, send, target,
};
use bastion::model::Endpoint;

#[tokio::test]
async fn connections_at_once_have_sessions_of_their_own() {
    let stage = Stage::faulty(vec![]).await;
    let gateway = stage.gateway().await;
    let (a, b, c, d) = tokio::join!(
        stage.open(&gateway, ECHO),
        stage.open(&gateway, ECHO),
        stage.open(&gateway, ECHO),
        stage.open(&gateway, ECHO),
    );
    let mut streams = [a.unwrap(), b.unwrap(), c.unwrap(), d.unwrap()];
    for (number, stream) in streams.iter_mut().enumerate() {
        send(stream, format!("I am {number}").as_bytes()).await;
    }
    for (number, stream) in streams.iter_mut().enumerate() {
        let Received::Data(bytes) = recv(stream).await else { panic!("no bytes") };
        assert_eq!(bytes, format!("I am {number}").as_bytes());
    }
    let upgrades = stage.entries(EntryKind::Upgrade);
    let sessions: BTreeSet<_> = upgrades.iter().map(|e| e.session).collect();
    let nodes: BTreeSet<_> = upgrades.iter().map(|e| e.node.clone()).collect();
    assert_eq!((sessions.len(), nodes.len()), (4, 2), "{upgrades:#?}");
    for post in stage.entries(EntryKind::Token) {
        assert!(!post.form.iter().any(|(name, _)| name == "token"), "no session goes on from another");
    }

    // One ends: the others live, and theirs are the only sessions that are left.
    let [first, second, third, fourth] = &mut streams;
    close(first).await;
    send(second, b"still here").await;
    let Received::Data(bytes) = recv(second).await else { panic!("no bytes") };
    assert_eq!(bytes, "still here");
    for stream in [second, third, fourth] {
        close(stream).await;
    }
    drop(streams);
    stage.settled(4).await;
    // A wrong node, another's token, a token escaped twice or not at all: each would be a violation.
    stage.innocent();
}

#[tokio::test]
async fn the_end_of_one_connection_deletes_one_session() {
    let stage = Stage::faulty(vec![]).await;
    let tunnel = stage.tunnel(ECHO).await;
    let (mut one, mut other) = (tunnel.connect().await, tunnel.connect().await);
    for local in [&mut one, &mut other] {
        local.write_all(b"x").await.unwrap();
        assert_eq!(timeout(PATIENCE, local.read_u8()).await.unwrap().unwrap(), b'x');
    }
    drop(one);
    stage.until("one left", |c| (c.opened, c.deleted, c.streams) == (3, 2, 1)).await;
    other.write_all(b"y").await.unwrap();
    assert_eq!(timeout(PATIENCE, other.read_u8()).await.unwrap().unwrap(), b'y');
    drop(other);
    stage.settled(3).await;
    tunnel.stop().await;
    stage.innocent();
}

#[tokio::test]
async fn a_token_and_a_node_are_escaped_exactly_once() {
    // The emulator's websocketTokens hold `/`, `%2F` and `+`; each must arrive as it was issued.
    let stage = Stage::faulty(vec![]).await;
    let gateway = stage.gateway().await;
    for _ in 0..4 {
        drop(stage.open(&gateway, ECHO).await.unwrap());
    }
    stage.settled(4).await;
    for upgrade in stage.entries(EntryKind::Upgrade) {
        assert_eq!(upgrade.status, Some(101));
        let node = upgrade.node.clone().unwrap();
        assert!(upgrade.path.starts_with("/webtunnelv2/"), "{}", upgrade.path);
        assert!(upgrade.path.ends_with(&format!("?X-Node-Id={node}")), "{}", upgrade.path);
    }
    stage.innocent();
}

#[tokio::test]
async fn a_broken_websocket_is_never_replaced_under_a_live_connection() {
    let (address, _target) = target(|mut stream| async move {
        drop(stream.write_all(b"hello").await);
        drop(stream.read_u8().await);
    })
    .await;
    for action in [A::Reset, A::Drop, A::Close(1011), A::ReservedBit] {
        let stage = Stage::new(emulation(Some(address), vec![])).await;
        let tunnel = stage.tunnel(OWN).await;
        stage.emulator.inject(bastion::model::Fault { after: 3, ..fault(FaultPhase::Stream, action) });
        let (seen, end) = timeout(PATIENCE, super::stage::drain(tunnel.connect().await)).await.unwrap();
        assert!(b"hel".starts_with(&seen) || seen == b"hel", "{seen:?}");
        assert_eq!(end, super::stage::End::Reset);
        stage.settled(2).await;
        assert_eq!(stage.entries(EntryKind::Upgrade).len(), 1);
        tunnel.stop().await;
    }
}

#[tokio::test]
async fn tunnels_listen_on_loopback_only() {
    let stage = Stage::faulty(vec![]).await;
    let mut desired = desired(Endpoint::Resource(machine_id()), ECHO, Duration::from_secs(5));
    desired.workspace = bastion::model::Name::new("loopback").unwrap();
    let tunnel = stage.tunnel_with(&desired).await;
    assert!(bastion::model::is_loopback(&tunnel.address), "{}", tunnel.address);
    tunnel.stop().await;
}
