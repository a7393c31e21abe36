//! `nc -N`: the local program has said all it has to say long before the answer comes.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::time::sleep;

use super::{TRANSFER, found, require};
use crate::env::TestEnv;
use crate::pattern::{self, Check};
use crate::process::succeed;
use crate::server::Server;

const ANSWER: usize = 5 << 20;

/// Answers a line after a while with 5 MiB, and ends.
async fn slow() -> Server {
    Server::start(|mut stream| async move {
        while stream.read_u8().await.unwrap() != b'\n' {}
        // Not to let something settle: this server is slow.
        sleep(Duration::from_millis(300)).await;
        stream.write_all(&pattern::bytes(0, ANSWER)).await.unwrap();
    })
    .await
}

fn netcat(env: &TestEnv, address: SocketAddr, request: &str) -> Command {
    std::fs::write(env.path("request"), request).unwrap();
    let mut nc = env.command(found("nc"));
    nc.args(["-N", &address.ip().to_string(), &address.port().to_string()]);
    nc.stdin(Stdio::from(std::fs::File::open(env.path("request")).unwrap()));
    nc
}

#[tokio::test]
async fn the_whole_answer_arrives_after_the_request_has_ended() {
    if !require("nc -N", &["nc"]) {
        return;
    }
    let env = TestEnv::new();
    let server = slow().await;
    env.forward("slow", 9000, server.address, "");
    let up = env.up(&["-vv"]);
    for address in up.addresses("slow").await {
        let answer = succeed(netcat(&env, address, "what is it?\n"), TRANSFER).await;
        let mut check = Check::default();
        check.feed(&answer);
        assert_eq!(check.len(), ANSWER as u64);
    }
    env.finish(up).await;
}

#[tokio::test]
async fn a_silent_request_that_ends_is_answered_by_a_server_that_speaks_first() {
    if !require("nc -N", &["nc"]) {
        return;
    }
    let env = TestEnv::new();
    let server = Server::start(|mut stream| async move {
        sleep(Duration::from_millis(300)).await;
        stream.write_all(b"220 ready when you are\r\n").await.unwrap();
    })
    .await;
    env.forward("greeter", 9000, server.address, "");
    let up = env.up(&[]);
    let answer = succeed(netcat(&env, up.address("greeter").await, ""), TRANSFER).await;
    assert_eq!(String::from_utf8_lossy(&answer), "220 ready when you are\r\n");
    env.finish(up).await;
}
