//! The commands and a real instance together: what one terminal does to what another one started.

use std::process::Output;

use bastion::instance::list;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::env::{Running, TestEnv};
use crate::process::PATIENCE;
use crate::reload::places;

const WORKSPACE: &str = r#"
[azure]
cloud = "emulator"
[bastions.hub]
[targets]
web = { vm = "vm-web" }
[tunnels]
page = "0 -> web:80"
echo = { listen = "${BASTION_PORT:-0}", target = "web", port = 7, env = { ECHO_ADDR = "{addr}" } }
heap = { listen = 0, target = "web", port = 80, profiles = ["debug"] }
[emulator]
log = "requests.jsonl"
"#;

fn env() -> TestEnv {
    let env = TestEnv::new();
    env.workspace(WORKSPACE);
    env
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim_end().to_owned()
}

/// Runs a command that has to end like this.
async fn ends(env: &TestEnv, arguments: &[&str], code: i32) -> Output {
    let output = env.run(arguments).await;
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}\n{}", out(&output), err(&output));
    output
}

async fn status(env: &TestEnv) -> Value {
    let output = ends(env, &["status", "--format", "json"], 0).await;
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The names of the tunnels that there are.
async fn names(env: &TestEnv) -> Vec<String> {
    let status = status(env).await;
    status["tunnels"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap().to_owned()).collect()
}

/// Waits until the status is so.
async fn until(env: &TestEnv, is_it: impl Fn(&Value) -> bool) {
    let asking = async {
        while !is_it(&status(env).await) {
            tokio::time::sleep(crate::env::POLL).await;
        }
    };
    if timeout(PATIENCE, asking).await.is_err() {
        panic!("{}", status(env).await);
    }
}

async fn is_ready(up: &Running) {
    up.wait_line(|line| line.starts_with("Everything is ready"), "that all is ready").await;
}

#[tokio::test]
async fn scripts_wait_ask_and_stop() {
    let env = env();
    // In the order of `bastion up & bastion wait`, where nobody knows who is first.
    let up = env.up(&[]);
    ends(&env, &["wait"], 0).await;
    let port = out(&ends(&env, &["port", "echo"], 0).await);
    let mut stream = TcpStream::connect(&port).await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    let mut back = [0; 5];
    timeout(PATIENCE, stream.read_exact(&mut back)).await.unwrap().unwrap();
    let status = status(&env).await;
    let echo = &status["tunnels"][0];
    assert_eq!(
        (&echo["name"], &echo["state"], &echo["connections"]),
        (&"echo".into(), &"ready".into(), &1.into())
    );
    assert_eq!((&echo["bytes_in"], &echo["bytes_out"]), (&5.into(), &5.into()));
    assert_eq!(echo["env"]["ECHO_ADDR"], port.as_str());
    assert_eq!(out(&ends(&env, &["plan"], 0).await), "= 2 unchanged");
    drop(stream);
    // One of them, then all.
    ends(&env, &["down", "pa*"], 0).await;
    assert_eq!(names(&env).await, ["echo"]);
    ends(&env, &["port", "page"], 1).await;
    ends(&env, &["wait", "page"], 1).await;
    ends(&env, &["wait", "echo"], 0).await;
    ends(&env, &["down"], 0).await;
    let (code, said) = up.wait().await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("`bastion down` stops it\nStopped; every session is deleted"), "{said}");
    env.check_sessions();
    assert_eq!(list(&places(&env.home())).unwrap(), []);
    assert_eq!(err(&ends(&env, &["down"], 0).await), "Nothing runs for bastion.toml");
}

#[tokio::test]
async fn a_second_up_attaches_and_adds() {
    let env = env();
    let first = env.up(&["page"]);
    is_ready(&first).await;
    assert_eq!(names(&env).await, ["page"]);
    let second = env.up(&["--profile", "debug"]);
    is_ready(&second).await;
    assert_eq!(names(&env).await, ["echo", "heap", "page"]);
    let third = env.start(&["up", "--format", "json", "echo"]);
    is_ready(&third).await;
    // Whoever leaves takes nothing along.
    second.interrupt();
    let (code, said) = second.wait().await;
    assert_eq!(code, 130, "{said}");
    assert!(said.contains("attached to it\nIt starts 2 more tunnels\n"), "{said}");
    assert!(said.contains("Left; the tunnels stay up"), "{said}");
    assert_eq!(names(&env).await.len(), 3);
    // Who stays hears of the end, and of what came before it.
    ends(&env, &["down", "heap"], 0).await;
    let line = third.wait_data(|line| line.contains(r#""stopped""#), "the end of `heap`").await;
    let event: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (&event["event"], &event["tunnel"], &event["state"]),
        (&"state".into(), &"heap".into(), &"stopped".into())
    );
    ends(&env, &["down"], 0).await;
    let (code, said) = third.wait().await;
    assert_eq!(code, 0, "{said}");
    assert!(said.ends_with("The instance has stopped"), "{said}");
    assert_eq!(first.wait().await.0, 0);
    env.check_sessions();
}

#[tokio::test]
async fn ten_at_the_same_instant_are_one() {
    let env = env();
    let all: Vec<Running> = (0..10).map(|_| env.up(&[])).collect();
    for up in &all {
        is_ready(up).await;
    }
    assert_eq!(list(&places(&env.home())).unwrap().len(), 1);
    ends(&env, &["down"], 0).await;
    let mut own = 0;
    for up in all {
        let (code, said) = up.wait().await;
        assert_eq!(code, 0, "{said}");
        own += usize::from(said.contains("every session is deleted"));
    }
    assert_eq!(own, 1);
    env.check_sessions();
}

#[tokio::test]
async fn one_that_was_killed_leaves_nothing_in_the_way() {
    let env = env();
    for _ in 0..3 {
        let mut up = env.up(&[]);
        is_ready(&up).await;
        up.kill();
        assert_eq!(up.wait().await.0, -1);
        assert!(err(&ends(&env, &["status"], 0).await).contains("Nothing runs"));
    }
    let up = env.up(&[]);
    is_ready(&up).await;
    assert_eq!(names(&env).await, ["echo", "page"]);
    up.stop().await;
}

#[tokio::test]
async fn one_that_is_ending_is_waited_for() {
    let env = env();
    let first = env.up(&[]);
    is_ready(&first).await;
    let port = out(&ends(&env, &["port", "echo"], 0).await);
    let mut open = TcpStream::connect(&port).await.unwrap();
    open.write_all(b"x").await.unwrap();
    timeout(PATIENCE, open.read_u8()).await.unwrap().unwrap();
    first.terminate();
    first.wait_line(|line| line.starts_with("Stopping"), "that it waits").await;
    // It still holds the instance, and takes nothing new.
    let second = env.up(&[]);
    drop(open);
    assert_eq!(first.wait().await.0, 0);
    is_ready(&second).await;
    second.stop().await;
}

#[tokio::test]
async fn other_variables_come_with_a_reload() {
    let env = env();
    let up = env.up(&[]);
    is_ready(&up).await;
    let before = out(&ends(&env, &["port", "echo"], 0).await);
    let free = crate::reload::free_port();
    let with = |value: String| {
        let mut command = env.bastion(&["reload"]);
        command.env("BASTION_PORT", value);
        command
    };
    let output = crate::process::output(with(free.to_string()), PATIENCE).await;
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert_eq!(out(&ends(&env, &["port", "echo"], 0).await), format!("127.0.0.1:{free}"));
    assert_ne!(before, format!("127.0.0.1:{free}"));
    // A value that makes no sense changes nothing, and is said with its place.
    let output = crate::process::output(with("many".to_owned()), PATIENCE).await;
    assert_eq!(output.status.code(), Some(2), "{}", err(&output));
    assert!(err(&output).contains("--> bastion.toml:"), "{}", err(&output));
    assert_eq!(out(&ends(&env, &["port", "echo"], 0).await), format!("127.0.0.1:{free}"));
    // An edit is read with the variables that held before.
    env.workspace(&WORKSPACE.replace("page = \"0 -> web:80\"\n", ""));
    up.wait_line(|line| line.starts_with("stopped"), "the edit").await;
    assert_eq!(out(&ends(&env, &["port", "echo"], 0).await), format!("127.0.0.1:{free}"));
    up.stop().await;
}

#[tokio::test]
async fn waiting_ends_as_soon_as_only_a_person_can_help() {
    let env = TestEnv::new();
    let fault = |status: &str| {
        let faults = format!("[[emulator.faults]]\nphase = \"token\"\ndo = \"{status}\"\ntimes = 0\n");
        format!("{WORKSPACE}{faults}")
    };
    for (status, code, word) in [("401", 3, "sign-in"), ("403", 3, "denied"), ("404", 1, "not-found")] {
        env.workspace(&fault(status));
        let up = env.up(&[]);
        let output = ends(&env, &["wait"], code).await;
        assert!(err(&output).contains(&format!("[{word}]")), "{}", err(&output));
        up.stop().await;
    }
    env.workspace(&fault("503"));
    let up = env.up(&[]);
    let output = ends(&env, &["wait", "--timeout", "1s"], 4).await;
    assert!(err(&output).contains("[gateway-busy]"), "{}", err(&output));
    up.stop().await;
}

#[tokio::test]
async fn a_file_that_is_gone_does_not_hide_what_runs() {
    let env = env();
    let up = env.up(&[]);
    is_ready(&up).await;
    std::fs::remove_file(env.path("bastion.toml")).unwrap();
    up.wait_line(|line| line.contains("everything stays as it was"), "what it makes of that").await;
    let output = ends(&env, &["status"], 0).await;
    assert!(out(&output).contains("there is no such file"), "{}", out(&output));
    assert_eq!(names(&env).await, ["echo", "page"]);
    ends(&env, &["port", "echo"], 0).await;
    ends(&env, &["down"], 0).await;
    assert_eq!(up.wait().await.0, 0);
    env.check_sessions();
}

#[tokio::test]
async fn what_last_went_wrong_is_remembered_while_all_is_well_again() {
    let env = TestEnv::new();
    env.workspace(&format!("{WORKSPACE}[[emulator.faults]]\nphase = \"stream\"\ndo = \"drop\"\nafter = 5\n"));
    let up = env.up(&["echo"]);
    is_ready(&up).await;
    assert_eq!(status(&env).await["tunnels"][0]["last_error"], Value::Null);
    let port = out(&ends(&env, &["port", "echo"], 0).await);
    let mut stream = TcpStream::connect(&port).await.unwrap();
    stream.write_all(b"hello world").await.unwrap();
    let mut back = Vec::new();
    assert!(timeout(PATIENCE, stream.read_to_end(&mut back)).await.unwrap().is_err(), "it is cut off");
    let status = status(&env).await;
    let echo = &status["tunnels"][0];
    assert_eq!(
        (&echo["state"], &echo["last_error"]["code"]),
        (&"ready".into(), &"gateway-cut".into()),
        "{echo}"
    );
    up.stop().await;
}

#[tokio::test]
async fn what_an_edit_mends_is_tried_at_once() {
    let env = TestEnv::new();
    let hub = "[bastions.hub]\n";
    for broken in [
        WORKSPACE.to_owned() + "[emulator.bastions.hub]\nenable_tunneling = false\n",
        WORKSPACE.to_owned() + "[emulator.bastions.hub]\nsku = \"Basic\"\n",
        WORKSPACE.replace(hub, "[bastions.hub]\nresource_group = \"rg-2\"\n"),
    ] {
        // The last of them is well, but makes another bastion of the same name; its host is new when it comes back.
        env.workspace(WORKSPACE);
        let up = env.up(&[]);
        ends(&env, &["wait"], 0).await;
        env.workspace(&broken);
        let generation = |status: &Value| status["generation"].as_u64().unwrap();
        until(&env, |status| generation(status) == 2).await;
        env.run(&["wait", "--timeout", "5s"]).await;
        env.workspace(WORKSPACE);
        until(&env, |status| generation(status) == 3).await;
        let all_ready =
            |status: &Value| status["tunnels"].as_array().unwrap().iter().all(|t| t["state"] == "ready");
        until(&env, all_ready).await;
        up.stop().await;
    }
}

#[tokio::test]
async fn who_waits_has_a_taken_port_tried_again() {
    let env = TestEnv::new();
    let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = other.local_addr().unwrap().port();
    env.workspace(&WORKSPACE.replace("page = \"0 ->", &format!("page = \"{port} ->")));
    let up = env.up(&[]);
    ends(&env, &["wait"], 5).await;
    drop(other);
    ends(&env, &["wait"], 0).await;
    up.stop().await;
}

#[tokio::test]
async fn commands_mean_the_nearest_instance_though_its_file_is_gone() {
    let env = env();
    let inner = env.path("inner");
    std::fs::create_dir(&inner).unwrap();
    std::fs::write(inner.join("bastion.toml"), WORKSPACE.replace("log = \"requests.jsonl\"\n", "")).unwrap();
    let within = |arguments: &[&str]| {
        let mut command = env.bastion(arguments);
        command.current_dir(&inner);
        command
    };
    let outer_up = env.up(&[]);
    let inner_up = env.run_command(within(&["up"]));
    is_ready(&outer_up).await;
    is_ready(&inner_up).await;
    let port = crate::process::output(within(&["port", "echo"]), PATIENCE).await;
    std::fs::remove_file(inner.join("bastion.toml")).unwrap();
    let after = crate::process::output(within(&["port", "echo"]), PATIENCE).await;
    assert_eq!(out(&after), out(&port));
    assert_eq!(crate::process::output(within(&["down"]), PATIENCE).await.status.code(), Some(0));
    assert_eq!(inner_up.wait().await.0, 0);
    assert_eq!(names(&env).await, ["echo", "page"], "the outer one goes on");
    outer_up.stop().await;
}

#[tokio::test]
async fn a_socket_or_a_lock_that_somebody_removes_is_put_back() {
    let env = env();
    let up = env.up(&[]);
    is_ready(&up).await;
    let listed = || list(&places(&env.home())).unwrap();
    let owner = listed().remove(0);
    let reachable = async || {
        let asking = async {
            while names(&env).await.is_empty() {
                tokio::time::sleep(crate::env::POLL).await;
            }
        };
        timeout(PATIENCE, asking).await.expect("that it can be asked again");
    };
    std::fs::remove_file(&owner.socket).unwrap();
    reachable().await;
    // As a logout does that takes the whole directory.
    std::fs::remove_dir_all(places(&env.home()).runtime).unwrap();
    reachable().await;
    assert_eq!(listed().remove(0).pid, up.id());
    // There is still only one.
    let second = env.up(&[]);
    second.wait_line(|line| line.contains("attached to it"), "that it attaches").await;
    ends(&env, &["down"], 0).await;
    assert_eq!((up.wait().await.0, second.wait().await.0), (0, 0));
    env.check_sessions();
}

#[tokio::test]
async fn an_instance_that_is_stopped_in_its_tracks_keeps_nobody_longer_than_they_said() {
    let env = env();
    let up = env.up(&[]);
    is_ready(&up).await;
    up.signal(rustix::process::Signal::STOP);
    let asked = tokio::time::Instant::now();
    let output = ends(&env, &["wait", "--timeout", "1s"], 4).await;
    assert!(asked.elapsed() < std::time::Duration::from_secs(9), "{:?}", asked.elapsed());
    assert!(err(&output).contains(&format!("kill -CONT {}", up.id())), "{}", err(&output));
    up.signal(rustix::process::Signal::CONT);
    ends(&env, &["wait"], 0).await;
    up.stop().await;
}

#[tokio::test]
async fn a_gateway_that_says_nothing_is_not_answered_with_silence() {
    let env = TestEnv::new();
    env.workspace(&format!(
        "{WORKSPACE}[[emulator.faults]]\nphase = \"token\"\ndo = \"silence\"\ntimes = 0\n"
    ));
    let up = env.up(&[]);
    let line = up.wait_line(|line| line.starts_with("waiting "), "what it waits for").await;
    assert_eq!(line, "waiting  echo         the gateway of `hub` has not answered yet for web:7");
    up.interrupt();
    up.wait_line(|line| line.starts_with("Waiting for Azure to delete"), "what it waits for now").await;
    // Once more does not wait.
    up.interrupt();
    let (code, said) = up.wait().await;
    assert_eq!(code, 130, "{said}");
    assert!(said.contains("stopped at once"), "{said}");
}
