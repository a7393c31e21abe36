//! What `wait` comes to: every ending with its words and its exit code.

use std::time::UNIX_EPOCH;

use bastion::control::{Answer, Refused, Request};
use bastion::model::{self, State};

use super::stage::{Stage, WORKSPACE, ill, ready};
use super::{said, said_of};
use crate::env::TestEnv;

/// Long enough for everything that comes, too short for a person.
const SHORT: &[&str] = &["wait", "--timeout", "300ms"];

#[tokio::test]
async fn ready_at_once() {
    let stage = Stage::new(vec![ready("page", 8080), ready("orders", 5432)]);
    assert_eq!(stage.said(&["wait"]).await, "exit 0\n----- err\n2 tunnels are ready");
    assert_eq!(stage.said(&["wait", "p?ge"]).await, "exit 0\n----- err\n1 tunnel is ready");
    let tunnels = vec!["p?ge".to_owned()];
    assert_eq!(stage.asked(2).await, [Request::Prove { tunnels: Vec::new() }, Request::Prove { tunnels }]);
    assert_eq!(stage.said(&["wait", "--timeout", "0s"]).await, "exit 0\n----- err\n2 tunnels are ready");
}

#[tokio::test]
async fn ready_after_a_while() {
    let stage = Stage::new(vec![ill("page", State::Connecting, "gateway-busy"), ready("orders", 5432)]);
    stage.proves(false);
    let wait = stage.env.start(&["wait"]);
    stage.asked(1).await;
    stage.happens(ill("page", State::Degraded, "gateway-busy"));
    stage.proves(true);
    stage.happens(ready("page", 8080));
    assert_eq!(wait.wait().await, (0, "2 tunnels are ready".to_owned()));
}

#[tokio::test]
async fn a_proof_that_takes_too_long() {
    let stage = Stage::new(vec![ill("page", State::Connecting, "gateway-busy"), ready("orders", 5432)]);
    stage.proves(false);
    insta::assert_snapshot!(stage.said(SHORT).await, @r"
    exit 4
    ----- err
    waiting  page         the gateway bst refused a session: HTTP 503 [gateway-busy]; trying now
    hint: mend it
    error: 1 of 2 tunnels is not ready after 0.3 s
    ");
    // Only what is meant counts.
    insta::assert_snapshot!(stage.said(&[SHORT, &["orders"]].concat()).await, @r"
    exit 0
    ----- err
    1 tunnel is ready
    ");
}

#[tokio::test]
async fn blocked_is_told_at_once() {
    for (code, status) in [("needs-allow", 1), ("denied", 3), ("port-taken", 5)] {
        let stage = Stage::new(vec![ill("page", State::Blocked, code), ready("orders", 5432)]);
        let said = stage.said(&["wait"]).await;
        assert!(
            said.starts_with(&format!("exit {status}\n")) && said.contains(&format!("[{code}]")),
            "{said}"
        );
    }
    let stage = Stage::new(vec![ill("page", State::Blocked, "denied"), ready("orders", 5432)]);
    insta::assert_snapshot!(stage.said(&["wait"]).await, @r"
    exit 3
    ----- err
    blocked  page         the gateway bst refused a session: HTTP 503 [denied]
    hint: mend it
    error: 1 of 2 tunnels is blocked
    ");
    insta::assert_snapshot!(stage.said(&["-q", "wait"]).await, @r"
    exit 3
    ----- err
    error: 1 of 2 tunnels is blocked
    ");
}

#[tokio::test]
async fn blocked_and_slow() {
    let stage = Stage::new(vec![
        ill("page", State::Blocked, "sign-in"),
        ill("orders", State::Connecting, "gateway-unreachable"),
        ready("web", 80),
    ]);
    insta::assert_snapshot!(stage.said(SHORT).await, @r"
    exit 3
    ----- err
    blocked  page         the gateway bst refused a session: HTTP 503 [sign-in]
    hint: mend it
    waiting  orders       the gateway bst refused a session: HTTP 503 [gateway-unreachable]; trying now
    hint: mend it
    error: 1 of 3 tunnels is blocked, 1 is not ready after 0.3 s
    ");
}

#[tokio::test]
async fn for_programs() {
    let page = model::TunnelStatus { since: UNIX_EPOCH, ..ill("page", State::Blocked, "denied") };
    let stage = Stage::new(vec![page]);
    insta::assert_snapshot!(stage.said(&["wait", "--format", "json"]).await, @r#"
    exit 3
    ----- out
    {"version":1,"workspace":"shop","env":null,"instance":{"program":"VERSION","pid":PID,"directory":"WORK","file":"bastion.toml","started":"1970-01-01T00:00:00.000Z"},"generation":1,"tunnels":[{"name":"page","state":"blocked","code":"denied","reason":"the gateway bst refused a session: HTTP 503","hint":"mend it","attempt":0,"next_retry":null,"listen":[],"target":"web:80","route":"hub","verified":true,"target_verified":false,"connections":0,"waiting":[],"bytes_in":0,"bytes_out":0,"rate_in":0,"rate_out":0,"last_error":null,"since":"1970-01-01T00:00:00.000Z","env":{}}],"bastions":[{"name":"hub","sku":"Standard","sessions":2,"max_sessions":0}]}
    ----- err
    blocked  page         the gateway bst refused a session: HTTP 503 [denied]
    hint: mend it
    error: 1 of 1 tunnel is blocked
    "#);
    insta::assert_snapshot!(said_of(WORKSPACE, &[SHORT, &["--format", "json"]].concat()).await, @r#"
    exit 4
    ----- out
    {"version":1,"workspace":"shop","env":null,"instance":null,"generation":0,"tunnels":[],"bastions":[]}
    ----- err
    error: nothing runs for bastion.toml after 0.3 s [not-running]
    hint: `bastion up` starts it
    "#);
}

#[tokio::test]
async fn names() {
    let stage = Stage::new(vec![ready("page", 8080)]);
    insta::assert_snapshot!(stage.said(&["wait", "pgae"]).await, @r"
    exit 2
    ----- err
    error: there is no tunnel `pgae` in this workspace [unknown-tunnel]
    hint: did you mean `page`?
    ");
    insta::assert_snapshot!(stage.said(&["wait", "debug"]).await, @r"
    exit 1
    ----- err
    error: tunnel `debug` does not run [not-running]
    hint: `bastion up debug` starts it
    ");
    insta::assert_snapshot!(stage.said(&["wait", "--timeout", "20"]).await, @r"
    exit 2
    ----- err
    error: invalid value '20' for '--timeout <DURATION>': the unit is missing

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(stage.said(&["wait", "--timeout", "soon"]).await, @r#"
    exit 2
    ----- err
    error: invalid value 'soon' for '--timeout <DURATION>': not a duration; durations look like "500ms", "20s", "5m" or "1h 30m"

    For more information, try '--help'.
    "#);
}

#[tokio::test]
async fn no_tunnel_is_no_success() {
    let ending = model::TunnelStatus { state: State::Draining, ..ready("page", 8080) };
    let stage = Stage::new(vec![ending]);
    insta::assert_snapshot!(stage.said(&["wait"]).await, @r"
    exit 1
    ----- err
    error: no tunnel runs [not-running]
    hint: `bastion status` shows what there is; `bastion up TUNNEL` starts one
    ");
    stage.declares(Vec::new());
    assert_eq!(stage.said(&["wait"]).await, stage.said(SHORT).await);
}

#[tokio::test]
async fn one_that_reads_its_files_yet_is_waited_for() {
    let stage = Stage::new(Vec::new());
    stage.change(|status| status.generation = 0);
    let wait = stage.env.start(&["wait", "page"]);
    stage.heard().await;
    stage.declares(vec![ready("page", 8080)]);
    assert_eq!(wait.wait().await, (0, "1 tunnel is ready".to_owned()));
}

#[tokio::test]
async fn an_instance_that_is_not_there_yet() {
    let env = TestEnv::new();
    env.workspace(WORKSPACE);
    let wait = env.start(&["wait"]);
    wait.wait_line(|line| line == "Waiting for `bastion up`", "that it waits").await;
    let _stage = Stage::beside(env, None, vec![ready("page", 8080)], |_| Ok(Answer::Done));
    let (code, said) = wait.wait().await;
    assert_eq!((code, said.lines().last()), (0, Some("1 tunnel is ready")), "{said}");
}

#[tokio::test]
async fn an_instance_that_never_comes() {
    insta::assert_snapshot!(said_of(WORKSPACE, SHORT).await, @r"
    exit 4
    ----- err
    error: nothing runs for bastion.toml after 0.3 s [not-running]
    hint: `bastion up` starts it
    ");
    insta::assert_snapshot!(said(SHORT).await, @r"
    exit 2
    ----- err
    error: there is no bastion.toml in WORK or in the directories above it
    hint: `-f FILE` names one; `bastion tunnel` needs none
    ");
    insta::assert_snapshot!(said_of(WORKSPACE, &[SHORT, &["-f", "elsewhere.toml"]].concat()).await, @r"
    exit 2
    ----- err
    error: reading elsewhere.toml: there is no such file
    ");
}

#[tokio::test]
async fn an_instance_that_ends_meanwhile() {
    for proves in [false, true] {
        let mut stage = Stage::new(vec![ill("page", State::Connecting, "gateway-busy")]);
        stage.proves(proves);
        let wait = stage.env.start(&["wait"]);
        stage.asked(1).await;
        stage.end().await;
        let (code, said) = wait.wait().await;
        assert_eq!(code, 1, "{said}");
        insta::allow_duplicates! {
            insta::assert_snapshot!(said, @r"
            error: what ran for bastion.toml ended meanwhile [not-running]
            hint: `bastion up` starts it again
            ");
        }
    }
}

#[tokio::test]
async fn another_release() {
    let stage = Stage::answering(vec![ready("page", 8080)], |_| {
        let what =
            "the running instance is bastion 9.0.0, whose interface is edition 9; it was asked for `v1`";
        Err(Refused::new("version-skew", what, Some("`bastion down` stops it")))
    });
    insta::assert_snapshot!(stage.said(&["wait"]).await, @r"
    exit 1
    ----- err
    error: the running instance is bastion 9.0.0, whose interface is edition 9; it was asked for `v1` [version-skew]
    hint: `bastion down` stops it
    ");
}
