//! The harness itself: what every other test relies on.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::env::{TestEnv, check_no_token};

const WORKSPACE: &str = r#"
[azure]
cloud = "emulator"
[bastions.hub]
[targets]
web = { vm = "vm-web" }
[tunnels.echo]
listen = 0
target = "web"
port = 7
[emulator]
log = "requests.jsonl"
"#;

async fn echoes(address: std::net::SocketAddr) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    let mut answer = [0; 5];
    timeout(Duration::from_secs(30), stream.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"hello");
}

#[tokio::test]
async fn a_tunnel_comes_up_echoes_and_goes() {
    let env = TestEnv::new();
    env.workspace(WORKSPACE);
    let up = env.up(&["-vv"]);
    for address in up.addresses("echo").await {
        echoes(address).await;
    }
    assert!(!up.stderr().is_empty() && up.id() > 0);
    env.finish(up).await;
}

#[tokio::test]
async fn an_emulator_of_its_own_serves_up_and_tunnel() {
    let env = TestEnv::new();
    env.workspace(WORKSPACE);
    let emulator = env.emulator(&[]).await;
    let token = emulator.token();
    let up = env.start_on(&emulator, &["-vv", "up"]);
    echoes(up.address("echo").await).await;
    let id = "/subscriptions/00000000-0000-4000-8000-0000000e0001/resourceGroups/rg-emulator/providers\
              /Microsoft.Compute/virtualMachines/vm-web";
    let options = [
        "--name",
        "hub",
        "--resource-group",
        "rg-emulator",
        "--target-resource-id",
        id,
        "--resource-port",
        "7",
    ];
    let tunnel = env.start_on(&emulator, &[&["-vv", "tunnel"], &options[..]].concat());
    let ready = |line: &str| line.starts_with("Tunnel is ready, connect on port ");
    let line = tunnel.wait_line(ready, "the tunnel").await;
    let port: u16 = line.rsplit_once(' ').unwrap().1.parse().unwrap();
    echoes(([127, 0, 0, 1], port).into()).await;
    let said = format!("{}\n{}", tunnel.stop().await, env.finish(up).await);
    let said = format!("{said}\n{}", emulator.into_running().stop().await);
    let sessions = env.check_sessions();
    check_no_token(&said);
    assert!(!said.contains(&token));
    // Elsewhere it was killed, and had no last words.
    if cfg!(unix) {
        let counts = format!("Sessions: {0} opened, {0} deleted, 0 left", sessions.opened);
        assert!(said.contains(&counts), "{said}");
    }
}

#[tokio::test]
async fn a_killed_program_is_reported_as_such() {
    let env = TestEnv::new();
    env.workspace(WORKSPACE);
    let mut up = env.up(&[]);
    up.address("echo").await;
    up.kill();
    assert_ne!(up.wait().await.0, 0);
}

#[tokio::test]
async fn commands_that_end_are_run_to_their_end() {
    let output = TestEnv::new().run(&["up"]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("bastion.toml"));
}

#[test]
fn a_token_is_seen() {
    check_no_token("ready web 127.0.0.1:1 -> /subscriptions/00000000-0000-4000-8000-0000000e0001/x");
    for token in ["t=eyJhbGciOiJSUzI1NiJ9.x", "/api/tokens/0123456789abcdef0123", "/0123456789abcdef%2F"] {
        assert!(std::panic::catch_unwind(|| check_no_token(token)).is_err(), "{token}");
    }
}
