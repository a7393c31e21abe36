//! How many sessions of ours a bastion has at once, and who waits for what.

use std::sync::Arc;

use bastion::carrier::OpenOptions;
use bastion::emulator::EntryKind;
use bastion::gateway::Gateway;
use bastion::model::{BastionTraits, FaultAction as A, FaultPhase, Limits, Wait};
use tokio::sync::watch;
use tokio::time::timeout;

use super::stage::{ECHO, PATIENCE, Stage, destination, emulation, fault, options};

fn limits(sessions: usize) -> Limits {
    Limits { sessions, ..Limits::default() }
}

async fn limited(stage: &Stage, sessions: usize) -> Gateway {
    let host = stage.read().await.unwrap().gateway;
    Gateway::new(host, stage.network.clone(), limits(sessions)).unwrap()
}

#[tokio::test]
async fn above_max_sessions_connections_wait_until_a_session_is_deleted() {
    // The bastion refuses a second session, so a wait that ends too early is a refusal.
    let mut emulation = emulation(None, vec![]);
    for (_, traits) in &mut emulation.bastions {
        *traits = BastionTraits { max_sessions: 1, ..traits.clone() };
    }
    let stage = Stage::new(emulation).await;
    let gateway = limited(&stage, 1).await;
    let first = stage.open(&gateway, ECHO).await.unwrap();
    assert_eq!(gateway.counts(), 1);

    let (waiting, mut told) = watch::channel(Wait::Path);
    let watched = OpenOptions { waiting: Some(waiting), ..options() };
    let (destination, tokens) = (destination(ECHO), Arc::clone(&stage.tokens));
    let second = gateway.open(&destination, &*tokens, &watched);
    tokio::pin!(second);
    tokio::select! {
        biased;
        _ = &mut second => panic!("it did not wait"),
        wait = told.wait_for(|wait| *wait == Wait::Sessions) => drop(wait.unwrap()),
    }
    assert_eq!(stage.entries(EntryKind::Token).len(), 1, "nothing is asked while it waits");

    // A probe waits in the same line, behind.
    let third = gateway.probe(&destination, &*tokens, &watched);
    drop(first);
    let opened = timeout(PATIENCE, &mut second).await.unwrap().unwrap();
    assert_eq!(*told.borrow(), Wait::SetUp);
    drop(opened);
    timeout(PATIENCE, third).await.unwrap().unwrap();
    stage.settled(3).await;
    assert_eq!(gateway.settle(tokio::time::Instant::now() + PATIENCE).await, Default::default());
    assert_eq!(gateway.counts(), 0);
    stage.innocent();
}

#[tokio::test]
async fn a_changed_limit_lets_those_in_who_wait() {
    let stage = Stage::faulty(vec![]).await;
    let gateway = limited(&stage, 1).await;
    let first = stage.open(&gateway, ECHO).await.unwrap();
    let mut second = Box::pin(stage.open(&gateway, ECHO));
    assert!(futures_util::poll!(&mut second).is_pending());
    gateway.set_limits(limits(0));
    let second = timeout(PATIENCE, second).await.unwrap().unwrap();
    assert_eq!(gateway.counts(), 2);
    gateway.set_limits(limits(1));
    drop((first, second));
    stage.settled(2).await;
    drop(timeout(PATIENCE, stage.open(&gateway, ECHO)).await.unwrap().unwrap());
    stage.settled(3).await;
}

#[tokio::test]
async fn a_session_that_was_not_granted_or_cannot_be_deleted_takes_no_place() {
    let stage = Stage::faulty(vec![
        fault(FaultPhase::Token, A::Status(403)),
        fault(FaultPhase::Delete, A::Status(500)),
        fault(FaultPhase::Delete, A::Status(500)),
    ])
    .await;
    let gateway = limited(&stage, 1).await;
    stage.open(&gateway, ECHO).await.unwrap_err();
    drop(timeout(PATIENCE, stage.open(&gateway, ECHO)).await.unwrap().unwrap());
    drop(timeout(PATIENCE, stage.open(&gateway, ECHO)).await.unwrap().unwrap());
    stage.seen(EntryKind::Delete, 3).await;
    assert_eq!(gateway.settle(tokio::time::Instant::now() + PATIENCE).await, Default::default());
    stage.settled(2).await;
}

#[tokio::test]
async fn a_full_bastion_is_said_to_be_full_and_tried_again() {
    let mut emulation = emulation(None, vec![]);
    for (_, traits) in &mut emulation.bastions {
        traits.max_sessions = 1;
    }
    let stage = Stage::new(emulation).await;
    let gateway = limited(&stage, 0).await;
    let held = stage.open(&gateway, ECHO).await.unwrap();
    let error = stage.open(&gateway, ECHO).await.unwrap_err();
    assert_eq!((error.code(), error.is_full(), error.concerns_bastion()), ("gateway-busy", true, true));
    assert_eq!(error.disposition(), bastion::model::Disposition::Retry);
    drop(held);
    stage.settled(1).await;
}
