//! What `status` says: of what runs, of what does not, and of what another release runs.

use std::time::UNIX_EPOCH;

use bastion::model::{self, State};

use super::stage::{Stage, WORKSPACE, ill, ready};
use super::{said, said_of, words};
use crate::env::TestEnv;

#[tokio::test]
async fn nothing_runs() {
    insta::assert_snapshot!(said_of(WORKSPACE, &["status"]).await, @r"
    exit 0
    ----- err
    Nothing runs for bastion.toml; `bastion up` starts it
    ");
    insta::assert_snapshot!(said_of(WORKSPACE, &["ps", "page"]).await, @r"
    exit 0
    ----- err
    Nothing runs for bastion.toml; `bastion up` starts it
    ");
    insta::assert_snapshot!(said_of(WORKSPACE, &["status", "--format", "json"]).await, @r#"
    exit 0
    ----- out
    {"version":1,"workspace":"shop","env":null,"instance":null,"generation":0,"tunnels":[],"bastions":[]}
    "#);
    insta::assert_snapshot!(said_of(WORKSPACE, &["status", "pgae"]).await, @r"
    exit 2
    ----- err
    error: there is no tunnel `pgae` in this workspace [unknown-tunnel]
    hint: did you mean `page`?
    ");
    // What the file says does not matter, for it is not asked.
    insta::assert_snapshot!(said_of("[tunnels", &["status"]).await, @r"
    exit 0
    ----- err
    Nothing runs for bastion.toml; `bastion up` starts it
    ");
}

#[tokio::test]
async fn nothing_can_run() {
    insta::assert_snapshot!(said(&["status"]).await, @r"
    exit 2
    ----- err
    error: there is no bastion.toml in WORK or in the directories above it
    hint: `-f FILE` names one; `bastion tunnel` needs none
    ");
    insta::assert_snapshot!(said(&["status", "-f", "elsewhere.toml"]).await, @r"
    exit 2
    ----- err
    error: reading elsewhere.toml: there is no such file
    ");
    insta::assert_snapshot!(said_of(WORKSPACE, &["status", "--env", "prod"]).await, @r"
    exit 2
    ----- err
    error: there is no environment `prod`: bastion.prod.toml does not exist
    hint: this workspace has no environments; a file of that name would make one
    ");
    insta::assert_snapshot!(said_of(WORKSPACE, &["status", "d["]).await, @r"
    exit 2
    ----- err
    error: `d[` is not a pattern: its `[` has no `]`
    ");
}

#[tokio::test]
async fn a_link_that_leads_nowhere_is_the_file_all_the_same() {
    let env = TestEnv::new();
    std::os::unix::fs::symlink("gone.toml", env.work().join("bastion.toml")).unwrap();
    insta::assert_snapshot!(words(&env, &env.run(&["check"]).await), @r"
    exit 2
    ----- err
    error: reading bastion.toml: there is no such file
    ");
    let stage = Stage::new(vec![ready("page", 8080)]);
    let file = stage.env.work().join("bastion.toml");
    // In a circle.
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("bastion.toml", &file).unwrap();
    assert!(stage.said(&["status"]).await.contains("page    ready"));
    let said = words(&stage.env, &stage.env.run(&["check"]).await);
    assert!(said.contains("error: reading bastion.toml: ") && !said.contains("another user"), "{said}");
}

#[tokio::test]
async fn what_runs() {
    let stage = Stage::new(vec![ready("page", 8080), ill("orders", State::Blocked, "denied")]);
    insta::assert_snapshot!(stage.said(&["status"]).await, @r"
    exit 0
    ----- out
    TUNNEL  STATE    LISTEN                      TARGET              CONNS  IN/OUT     SINCE
    page    ready    127.0.0.1:8080, [::1]:8080  web:80 through hub  0      0 B / 0 B  3 min
    orders  blocked  -                           web:80 through hub  0      0 B / 0 B  3 min
      the gateway bst refused a session: HTTP 503 [denied]
      hint: mend it

    bastion hub, Standard: 2 sessions open
    ");
    assert_eq!(stage.said(&["ps"]).await, stage.said(&["status", "--format", "text"]).await);
    insta::assert_snapshot!(stage.said(&["status", "p*"]).await, @r"
    exit 0
    ----- out
    TUNNEL  STATE  LISTEN                      TARGET              CONNS  IN/OUT     SINCE
    page    ready  127.0.0.1:8080, [::1]:8080  web:80 through hub  0      0 B / 0 B  3 min

    bastion hub, Standard: 2 sessions open
    ");
    insta::assert_snapshot!(stage.said(&["status", "debug"]).await, @r"
    exit 0
    ----- err
    `debug` does not run; `bastion up debug` starts it
    ");
    insta::assert_snapshot!(stage.said(&["status", "page", "oders"]).await, @r"
    exit 2
    ----- err
    error: there is no tunnel `oders` in this workspace [unknown-tunnel]
    hint: did you mean `orders`?
    ");
}

#[tokio::test]
async fn for_programs() {
    let page = model::TunnelStatus { since: UNIX_EPOCH, ..ready("page", 8080) };
    let stage = Stage::new(vec![page, ready("orders", 5432)]);
    insta::assert_snapshot!(stage.said(&["status", "--format", "json", "page"]).await, @r#"
    exit 0
    ----- out
    {"version":1,"workspace":"shop","env":null,"instance":{"program":"VERSION","pid":PID,"directory":"WORK","file":"bastion.toml","started":"1970-01-01T00:00:00.000Z"},"generation":1,"tunnels":[{"name":"page","state":"ready","code":null,"reason":null,"hint":null,"attempt":0,"next_retry":null,"listen":["127.0.0.1:8080","[::1]:8080"],"target":"web:80","route":"hub","verified":true,"target_verified":false,"connections":0,"waiting":[],"bytes_in":0,"bytes_out":0,"rate_in":0,"rate_out":0,"last_error":null,"since":"1970-01-01T00:00:00.000Z","env":{}}],"bastions":[{"name":"hub","sku":"Standard","sessions":2,"max_sessions":0}]}
    "#);
}

#[tokio::test]
async fn what_it_says_reaches_no_terminal_raw() {
    let hostile = |text: &str| format!("{text}\u{1b}]0;pwned\u{7}\u{9b}2J\u{202e}");
    let mut tunnel = ill("page", State::Blocked, "denied");
    let reason = tunnel.reason.as_mut().unwrap();
    (reason.what, reason.hint, reason.code) =
        (hostile("what"), Some(hostile("hint")), hostile("code").into());
    (tunnel.target, tunnel.route) = (hostile("target"), hostile("route"));
    tunnel.env = [(hostile("A"), hostile("B"))].into();
    let stage = Stage::new(vec![tunnel]);
    stage.change(|status| {
        status.rejected = Some(hostile("report\n"));
        status.bastions[0].sku = Some(hostile("sku"));
    });
    for arguments in [&["status"][..], &["status", "--format", "json"], &["port", "page"], &["wait"]] {
        let output = stage.env.run(arguments).await;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        assert!(said.contains("pwned"), "{arguments:?}: {said}");
        let obeyed = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
        assert!(!said.contains(obeyed), "{arguments:?}: {said:?}");
    }
}

#[tokio::test]
async fn a_file_that_was_removed_hides_nothing() {
    let mut stage = Stage::new(vec![ready("page", 8080)]);
    std::fs::remove_file(stage.env.path("bastion.toml")).unwrap();
    let below = stage.env.path("below");
    std::fs::create_dir(&below).unwrap();
    let mut command = stage.env.bastion(&["status"]);
    command.current_dir(&below);
    let output = crate::process::output(command, crate::process::PATIENCE).await;
    insta::assert_snapshot!(stage.words(&output), @r"
    exit 0
    ----- out
    TUNNEL  STATE  LISTEN                      TARGET              CONNS  IN/OUT     SINCE
    page    ready  127.0.0.1:8080, [::1]:8080  web:80 through hub  0      0 B / 0 B  3 min

    bastion hub, Standard: 2 sessions open
    ");
    // It is the one without an environment.
    insta::assert_snapshot!(stage.said(&["status", "--env", "prod"]).await, @r"
    exit 2
    ----- err
    error: there is no bastion.toml in WORK or in the directories above it
    hint: `-f FILE` names one; `bastion tunnel` needs none
    ");
    stage.end().await;
    insta::assert_snapshot!(stage.said(&["status"]).await, @r"
    exit 2
    ----- err
    error: there is no bastion.toml in WORK or in the directories above it
    hint: `-f FILE` names one; `bastion tunnel` needs none
    ");
}

#[tokio::test]
async fn each_environment_has_its_own() {
    let env = TestEnv::new();
    env.workspace(WORKSPACE);
    std::fs::write(env.path("bastion.prod.toml"), "").unwrap();
    let stage = Stage::beside(env, Some("prod"), vec![ready("page", 8080)], |_| panic!("nothing is asked"));
    insta::assert_snapshot!(stage.said(&["status"]).await, @r"
    exit 0
    ----- err
    Nothing runs for bastion.toml; `bastion up` starts it
    ");
    insta::assert_snapshot!(stage.said(&["status", "--env", "prod"]).await, @r"
    exit 0
    ----- out
    TUNNEL  STATE  LISTEN                      TARGET              CONNS  IN/OUT     SINCE
    page    ready  127.0.0.1:8080, [::1]:8080  web:80 through hub  0      0 B / 0 B  3 min

    bastion hub, Standard: 2 sessions open
    ");
    let mut command = stage.env.bastion(&["port", "page"]);
    command.env("BASTION_ENV", "prod");
    let output = crate::process::output(command, crate::process::PATIENCE).await;
    assert_eq!(words(&stage.env, &output), "exit 0\n----- out\n127.0.0.1:8080");
}

#[tokio::test]
async fn one_that_does_not_listen_is_told_of() {
    let mut stage = Stage::new(Vec::new());
    stage.falls_silent().await;
    insta::assert_snapshot!(stage.said(&["status"]).await, @r"
    exit 0
    ----- err
    process PID is starting or ending for bastion.toml, and does not listen
    ");
    insta::assert_snapshot!(stage.said(&["port", "page"]).await, @r"
    exit 1
    ----- err
    error: process PID is starting or ending for bastion.toml, and does not listen [not-running]
    hint: try again in a moment
    ");
}

#[tokio::test]
async fn a_socket_that_cannot_be_reached_is_not_nothing() {
    let env = TestEnv::new();
    env.workspace(WORKSPACE);
    let state = env.work().parent().unwrap().join("home/.local/state/bastion");
    std::fs::create_dir_all(&state).unwrap();
    std::fs::write(state.join("run"), "no directory").unwrap();
    for arguments in [&["status"][..], &["down"], &["plan"], &["wait"], &["port", "page"], &["reload"]] {
        let said = words(&env, &env.run(arguments).await);
        let start = "exit 1\n----- err\nerror: asking the running instance at `";
        assert!(said.starts_with(start) && said.lines().count() == 3, "{arguments:?}: {said}");
    }
}

#[tokio::test]
async fn another_runtime_directory_has_other_instances() {
    let stage = Stage::new(vec![ready("page", 8080)]);
    let run = stage.env.path("run");
    std::fs::create_dir(&run).unwrap();
    let mut command = stage.env.bastion(&["status"]);
    command.env("XDG_RUNTIME_DIR", &run);
    let output = crate::process::output(command, crate::process::PATIENCE).await;
    assert!(words(&stage.env, &output).contains("Nothing runs for bastion.toml"), "{output:?}");
}
