//! What `down` says, and that it returns when all is gone, not before.

use std::time::UNIX_EPOCH;

use bastion::control::{Answer, Refused, Request};
use bastion::instance::{Identity, Lock};
use bastion::model::{self, State};

use super::said_of;
use super::stage::{Stage, WORKSPACE, directory, places, ready};

#[tokio::test]
async fn nothing_runs() {
    insta::assert_snapshot!(said_of(WORKSPACE, &["down"]).await, @r"
    exit 0
    ----- err
    Nothing runs for bastion.toml
    ");
    insta::assert_snapshot!(said_of(WORKSPACE, &["down", "page", "o*"]).await, @r"
    exit 0
    ----- err
    Nothing runs for bastion.toml
    ");
    insta::assert_snapshot!(said_of(WORKSPACE, &["down", "pgae"]).await, @r"
    exit 2
    ----- err
    error: there is no tunnel `pgae` in this workspace [unknown-tunnel]
    hint: did you mean `page`?
    ");
    insta::assert_snapshot!(said_of(WORKSPACE, &["down", "-f", "elsewhere.toml"]).await, @r"
    exit 2
    ----- err
    error: reading elsewhere.toml: there is no such file
    ");
}

#[tokio::test]
async fn the_whole_instance() {
    let mut stage = Stage::answering(vec![ready("page", 8080)], |_| {
        Ok(Answer::Stopping { waiting: vec![("page".to_owned(), 2), ("a\u{1b}".to_owned(), 1)], whole: true })
    });
    let down = stage.env.start(&["down"]);
    assert_eq!(stage.asked(1).await, [Request::Down { tunnels: Vec::new(), now: false }]);
    let waits = |line: &str| line.starts_with("Waiting for connections");
    down.wait_line(waits, "whom it waits for").await;
    stage.falls_silent().await;
    // Its process has not ended: who starts another one now is refused.
    let ended =
        tokio::time::timeout(std::time::Duration::from_millis(300), down.wait_line(|l| l == "Stopped", ""));
    assert!(ended.await.is_err(), "it returned too early");
    stage.end().await;
    let (code, said) = down.wait().await;
    insta::assert_snapshot!(format!("exit {code}\n{said}"), @r"
    exit 0
    Waiting for connections still open: 2 of `page`, 1 of `a␛`; they have 5 s
    Stopped
    ");
}

#[tokio::test]
async fn at_once() {
    let mut stage = Stage::new(vec![ready("page", 8080)]);
    let down = stage.env.start(&["down", "--now"]);
    assert_eq!(stage.asked(1).await, [Request::Down { tunnels: Vec::new(), now: true }]);
    stage.end().await;
    assert_eq!(down.wait().await, (0, "Stopped".to_owned()));
}

#[tokio::test]
async fn connections_that_get_no_time_are_not_waited_for() {
    let mut stage = Stage::answering(vec![ready("page", 8080)], |_| {
        Ok(Answer::Stopping { waiting: vec![("page".to_owned(), 2)], whole: true })
    });
    let down = stage.env.start(&["down", "--now"]);
    stage.asked(1).await;
    stage.end().await;
    let said = "Resetting connections still open: 2 of `page`\nStopped";
    assert_eq!(down.wait().await, (0, said.to_owned()));
}

#[tokio::test]
async fn another_one_that_starts_at_once_is_not_waited_for() {
    let mut stage = Stage::new(vec![ready("page", 8080)]);
    let down = stage.env.start(&["down"]);
    stage.asked(1).await;
    stage.end().await;
    let directory = directory(&stage.env);
    let identity = Identity { directory, file: "bastion.toml".into(), environment: None };
    // It says it began at another time; its process is this one again.
    let _next = Lock::claim(&places(&stage.env), &identity, UNIX_EPOCH).unwrap();
    assert_eq!(down.wait().await, (0, "Stopped".to_owned()));
}

#[tokio::test]
async fn some_tunnels() {
    let stage = Stage::answering(vec![ready("page", 8080), ready("orders", 5432)], |_| {
        Ok(Answer::Stopping { waiting: vec![("page".to_owned(), 1)], whole: false })
    });
    let down = stage.env.start(&["down", "p*", "debug"]);
    assert_eq!(stage.asked(1).await, [Request::Down { tunnels: vec!["p*".to_owned()], now: false }]);
    let draining = model::TunnelStatus { state: State::Draining, connections: 1, ..ready("page", 8080) };
    stage.happens(draining);
    down.wait_line(|line| line.starts_with("Waiting"), "whom it waits for").await;
    stage.declares(vec![ready("orders", 5432)]);
    let (code, said) = down.wait().await;
    insta::assert_snapshot!(format!("exit {code}\n{said}"), @r"
    exit 0
    `debug` does not run
    Waiting for connections still open: 1 of `page`; they have 5 s
    Stopped
    ");
}

#[tokio::test]
async fn a_tunnel_that_is_stopped_is_down() {
    let stage = Stage::new(vec![ready("page", 8080), ready("orders", 5432)]);
    let down = stage.env.start(&["down", "page"]);
    stage.asked(1).await;
    stage.happens(model::TunnelStatus { state: State::Stopped, listen: Vec::new(), ..ready("page", 0) });
    assert_eq!(down.wait().await, (0, "Stopped".to_owned()));
}

#[tokio::test]
async fn the_last_tunnel_takes_the_instance_with_it() {
    let mut stage = Stage::new(vec![ready("page", 8080)]);
    let down = stage.env.start(&["down", "page"]);
    stage.asked(1).await;
    stage.end().await;
    assert_eq!(down.wait().await, (0, "Stopped".to_owned()));
}

#[tokio::test]
async fn mistakes_and_refusals() {
    let stage = Stage::answering(vec![ready("page", 8080)], |_| {
        Err(Refused::new("internal", "it cannot\u{1b}", Some("try again")))
    });
    insta::assert_snapshot!(stage.said(&["down", "pgae"]).await, @r"
    exit 2
    ----- err
    error: there is no tunnel `pgae` in this workspace [unknown-tunnel]
    hint: did you mean `page`?
    ");
    insta::assert_snapshot!(stage.said(&["down", "page"]).await, @r"
    exit 1
    ----- err
    error: it cannot␛ [internal]
    hint: try again
    ");
    insta::assert_snapshot!(stage.said(&["down"]).await, @r"
    exit 1
    ----- err
    error: it cannot␛ [internal]
    hint: try again
    ");
}
