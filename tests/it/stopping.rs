//! Signals: what `up` says, what local programs see, and that no session is left behind.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::env::{Running, TestEnv, check_no_token};
use crate::pattern::Check;
use crate::process::PATIENCE;
use crate::server::Server;

/// Three connections that have carried something each.
async fn live(up: &Running) -> Vec<TcpStream> {
    let address = up.address("echo").await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"x").await.unwrap();
        assert_eq!(timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap(), b'x');
        streams.push(stream);
    }
    streams
}

async fn room() -> (TestEnv, Server, Running) {
    let env = TestEnv::new();
    let server = Server::echo().await;
    env.forward("echo", 7, server.address, "");
    let up = env.up(&["-vv"]);
    (env, server, up)
}

async fn stopping(up: &Running) -> String {
    up.wait_line(|line| line.starts_with("Stopping: "), "that it stops").await
}

fn check_end(env: &TestEnv, said: &str) {
    assert!(said.contains("Stopped; every session is deleted"), "{said}");
    assert_eq!(env.check_sessions().opened, 4);
    check_no_token(said);
}

#[tokio::test]
async fn an_interrupt_gives_live_connections_their_time_and_ends_with_130() {
    let (env, _server, up) = room().await;
    let streams = live(&up).await;
    let begun = Instant::now();
    up.interrupt();
    let line = stopping(&up).await;
    assert!(line.contains("3 of `echo`") && line.contains("5 s"), "{line}");
    let (code, said) = up.wait().await;
    assert_eq!(code, 130, "{said}");
    assert!(begun.elapsed() >= Duration::from_secs(5), "they did not get their time");
    for mut stream in streams {
        // Cut off, not ended: the local program must not take this for the whole answer.
        let end = timeout(PATIENCE, stream.read(&mut [0])).await.unwrap();
        assert!(end.is_err(), "the local program was told a proper end");
    }
    check_end(&env, &said);
}

#[tokio::test]
async fn connections_go_on_while_it_stops_and_it_waits_no_longer_than_for_the_last() {
    let (env, _server, up) = room().await;
    let mut streams = live(&up).await;
    let begun = Instant::now();
    up.interrupt();
    stopping(&up).await;
    for stream in &mut streams {
        stream.write_all(b"y").await.unwrap();
        assert_eq!(timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap(), b'y');
    }
    drop(streams);
    let (code, said) = up.wait().await;
    assert_eq!(code, 130, "{said}");
    // Elsewhere a program that is gone looks like one that waits for an answer.
    if cfg!(target_os = "linux") {
        assert!(begun.elapsed() < Duration::from_secs(5), "it waited for nobody");
    }
    check_end(&env, &said);
}

#[tokio::test]
async fn a_second_signal_stops_at_once() {
    let (env, _server, up) = room().await;
    let streams = live(&up).await;
    let begun = Instant::now();
    up.interrupt();
    stopping(&up).await;
    up.interrupt();
    let (code, said) = up.wait().await;
    assert_eq!(code, 130, "{said}");
    assert!(begun.elapsed() < Duration::from_secs(4), "after {:?}", begun.elapsed());
    drop(streams);
    check_end(&env, &said);
}

/// Another terminal stops it.
async fn down(env: &TestEnv, flags: &[&str]) {
    let output = env.run(&[&["down"], flags].concat()).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("Stopped"), "{said}");
}

#[tokio::test]
async fn down_gives_live_connections_their_time_and_deletes_every_session() {
    let (env, _server, up) = room().await;
    let streams = live(&up).await;
    let begun = Instant::now();
    down(&env, &[]).await;
    assert!(begun.elapsed() >= Duration::from_secs(5), "they did not get their time");
    let (code, said) = up.wait().await;
    assert_eq!(code, 0, "{said}");
    drop(streams);
    check_end(&env, &said);
}

#[tokio::test]
async fn down_now_gives_no_time_and_deletes_every_session_all_the_same() {
    let (env, _server, up) = room().await;
    let streams = live(&up).await;
    let begun = Instant::now();
    down(&env, &["--now"]).await;
    assert!(begun.elapsed() < Duration::from_secs(4), "after {:?}", begun.elapsed());
    let (code, said) = up.wait().await;
    assert_eq!(code, 0, "{said}");
    for mut stream in streams {
        let end = timeout(PATIENCE, stream.read(&mut [0])).await.unwrap();
        assert!(end.is_err(), "the local program was told a proper end");
    }
    check_end(&env, &said);
}

#[tokio::test]
async fn sigterm_stops_and_is_no_failure() {
    let (env, _server, up) = room().await;
    let streams = live(&up).await;
    up.terminate();
    stopping(&up).await;
    drop(streams);
    let (code, said) = up.wait().await;
    assert_eq!(code, 0, "{said}");
    check_end(&env, &said);
}

#[tokio::test]
async fn a_terminal_that_is_closed_stops_it_as_sigterm_does() {
    let env = TestEnv::new();
    let server = Server::echo().await;
    env.forward("echo", 7, server.address, "");
    // Whoever runs these tests may have had the signal ignored, and `up` would take that over.
    let mut command = if cfg!(target_os = "linux") {
        let mut command = env.command("env");
        command.args(["--default-signal=HUP", env!("CARGO_BIN_EXE_bastion")]);
        command
    } else {
        env.bastion(&[])
    };
    command.args(["up", "-vv"]);
    let up = env.run_command(command);
    let streams = live(&up).await;
    up.hang_up();
    stopping(&up).await;
    drop(streams);
    let (code, said) = up.wait().await;
    assert_eq!(code, 0, "{said}");
    check_end(&env, &said);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn who_is_started_to_outlive_the_terminal_does() {
    let env = TestEnv::new();
    let server = Server::echo().await;
    env.forward("echo", 7, server.address, "");
    let mut command = env.command("nohup");
    command.arg(env!("CARGO_BIN_EXE_bastion")).arg("up");
    let up = env.run_command(command);
    up.address("echo").await;
    up.hang_up();
    let status = env.run(&["wait"]).await;
    assert_eq!(status.status.code(), Some(0));
    up.stop().await;
}

/// Stops it while the exchange that proves the tunnel is under way, and is answered only after so long.
async fn stopped_in_an_exchange(answered_after: &str) -> (TestEnv, String) {
    let env = TestEnv::new();
    let server = Server::echo().await;
    env.forward("echo", 7, server.address, &format!("setup_delay = \"{answered_after}\""));
    let up = env.up(&["-vv"]);
    // The gateway is named, and asked at once.
    env.wait_requests("ARM's answer", |all| all.iter().any(|r| r["kind"] == "arm").then_some(())).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    up.interrupt();
    let (code, said) = up.wait().await;
    assert_eq!(code, 130, "{said}");
    check_no_token(&said);
    (env, said)
}

#[tokio::test]
async fn an_exchange_that_is_answered_in_time_leaves_nothing_behind() {
    let (env, said) = stopped_in_an_exchange("4s").await;
    assert!(said.contains("Stopped; every session is deleted"), "{said}");
    assert_eq!(env.check_sessions().opened, 1);
}

#[tokio::test]
async fn an_exchange_that_is_not_answered_is_no_session_that_is_deleted() {
    let (_env, said) = stopped_in_an_exchange("20s").await;
    assert!(!said.contains("every session is deleted"), "{said}");
    assert!(said.contains("1 requests for a session were not answered in time"), "{said}");
}

#[tokio::test]
async fn an_interrupt_before_anything_is_ready_ends_as_well() {
    let env = TestEnv::new();
    let server = Server::echo().await;
    env.forward("echo", 7, server.address, "setup_delay = \"2s\"");
    let up = env.up(&[]);
    up.wait_line(|line| line.starts_with("Azure is emulated"), "the emulator").await;
    // The token exchange is under way; its session has to be deleted though nobody wants it any more.
    up.interrupt();
    let (code, said) = up.wait().await;
    assert_eq!(code, 130, "{said}");
    let sessions = env.sessions();
    assert_eq!((sessions.opened, &sessions.violations), (sessions.deleted, &vec![]), "{said}");
}

#[tokio::test]
async fn a_transfer_that_is_cut_off_is_right_up_to_there_and_reset() {
    let env = TestEnv::new();
    let server = Server::bytes().await;
    env.forward("bytes", 9000, server.address, "");
    let up = env.up(&["-vv"]);
    let address = up.address("bytes").await;
    let mut read = TcpStream::connect(address).await.unwrap();
    read.write_all(b"100000000000\n").await.unwrap();
    // The second one asks and never reads: nothing may wait for it.
    let mut stuck = TcpStream::connect(address).await.unwrap();
    stuck.write_all(b"100000000000\n").await.unwrap();
    let mut check = Check::default();
    let mut buffer = vec![0; 1 << 16];
    let mut interrupts = 0;
    let end = loop {
        match timeout(PATIENCE, read.read(&mut buffer)).await.unwrap() {
            Ok(0) => break Ok(()),
            Ok(read) => check.feed(&buffer[..read]),
            Err(error) => break Err(error.kind()),
        }
        if interrupts == 0 && check.len() > 8 << 20 {
            interrupts = 1;
            up.interrupt();
        } else if interrupts == 1
            && check.len() > 12 << 20
            && up.stderr().iter().any(|line| line.starts_with("Stopping: "))
        {
            interrupts = 2;
            up.interrupt();
        }
    };
    assert_eq!(end, Err(std::io::ErrorKind::ConnectionReset), "after {} bytes", check.len());
    let begun = Instant::now();
    let (code, said) = up.wait().await;
    assert_eq!(code, 130, "{said}");
    // What is owed to a program that takes none of it is given up after five seconds.
    assert!(begun.elapsed() < Duration::from_secs(8), "after {:?}", begun.elapsed());
    assert!(said.contains("2 of `bytes`") && said.contains("Stopped; every session is deleted"), "{said}");
    assert_eq!(env.check_sessions().opened, 3);
    check_no_token(&said);
    drop(stuck);
}
