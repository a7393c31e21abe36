//! A connection that is held while the path is down: asked for again and again, but not beyond its time.

use std::time::Duration;

use bastion::emulator::EntryKind;
use bastion::model::{Endpoint, FaultAction as A, FaultPhase};
use tokio::time::{Instant, timeout};

use super::stage::{ECHO, End, PATIENCE, Running, Stage, always, desired, drain, machine_id};

/// A tunnel whose connections are held for so long.
async fn tunnel(stage: &Stage, time: Duration) -> Running {
    stage.tunnel_with(&desired(Endpoint::Resource(machine_id()), ECHO, time)).await
}

/// Connects, and waits until that is given up, which is not before its time.
async fn given_up(tunnel: &Running, time: Duration) {
    let begun = Instant::now();
    let seen = timeout(PATIENCE, drain(tunnel.connect().await)).await.unwrap();
    assert_eq!(seen, (vec![], End::Reset));
    assert!(begun.elapsed() >= time, "after {:?}", begun.elapsed());
}

#[tokio::test]
async fn connections_that_are_held_are_not_each_asked_for_again_and_again() {
    let stage = Stage::faulty(vec![]).await;
    let time = Duration::from_secs(2);
    let tunnel = tunnel(&stage, time).await;
    stage.emulator.inject(always(FaultPhase::Token, A::Status(500)));
    let asked = || stage.entries(EntryKind::Token).len();
    let before = asked();
    tokio::join!(given_up(&tunnel, time), given_up(&tunnel, time), given_up(&tunnel, time));
    // One of them or all three, and from then on one probe for all of them.
    let by_then = asked() - before;
    assert!((2..=8).contains(&by_then), "{by_then} were asked for");
    tunnel.stop().await;
}

#[tokio::test]
async fn a_gateway_that_says_when_is_not_asked_before() {
    let stage = Stage::faulty(vec![]).await;
    // It says one second.
    let time = Duration::from_millis(900);
    let tunnel = tunnel(&stage, time).await;
    stage.emulator.inject(always(FaultPhase::Token, A::Status(429)));
    let before = stage.entries(EntryKind::Token).len();
    given_up(&tunnel, time).await;
    assert_eq!(stage.entries(EntryKind::Token).len(), before + 1);
    tunnel.stop().await;
}
