//! Who has a port that is taken, by name: a program, or another workspace with what stops it.

use std::fs;
use std::path::Path;

use tokio::net::TcpListener;

use crate::env::TestEnv;
use crate::process::{self, PATIENCE};
use crate::reload::{Servers, free_port};

/// Whether the system tells who has a port.
const TELLS: bool = cfg!(target_os = "linux");

/// The command of a hint.
fn command(line: &str) -> &str {
    line.split('`').nth(1).unwrap_or_default()
}

#[tokio::test]
async fn a_program_in_the_way_is_named_with_its_process() {
    let (env, servers) = (TestEnv::new(), Servers::start().await);
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = other.local_addr().unwrap().port();
    env.workspace(&servers.workspace(&format!("a = \"{port} -> one:7\"\n")));
    let up = env.up(&[]);
    let line = up.wait_line(|line| line.starts_with("blocked"), "a blocked tunnel").await;
    let us = format!("(process {}) listens there [port-taken]", std::process::id());
    assert_eq!(line.contains(&us), TELLS, "{line}");
    let status = env.run(&["status"]).await;
    let status = String::from_utf8(status.stdout).unwrap();
    assert_eq!(status.contains(&us), TELLS, "{status}");
    assert!(status.contains("choose another local port (0 takes any free one)"), "{status}");
    up.stop().await;
}

#[tokio::test]
async fn another_workspace_in_the_way_is_named_and_so_is_what_stops_it() {
    if !TELLS {
        return;
    }
    let (env, servers) = (TestEnv::new(), Servers::start().await);
    let port = free_port();
    // A name that a shell would take apart, and no name of its own.
    let theirs = env.path("my orders");
    fs::create_dir(&theirs).unwrap();
    let text = |more: &str, tunnel: &str| {
        format!("{more}{}", servers.workspace(&format!("{tunnel} = \"{port} -> one:7\"\n")))
    };
    fs::write(theirs.join("bastion.toml"), text("name = \"orders\"\n", "db")).unwrap();
    fs::write(theirs.join("bastion.test.toml"), "").unwrap();
    let mut command_there = env.bastion(&["up", "--env", "test"]);
    command_there.current_dir(&theirs);
    let first = env.run_command(command_there);
    first.address("db").await;

    env.workspace(&text("", "a"));
    let second = env.up(&[]);
    let line = second.wait_line(|line| line.starts_with("blocked"), "a blocked tunnel").await;
    let file = fs::canonicalize(&theirs).unwrap().join("bastion.toml");
    let named = format!(
        "tunnel `db` of the workspace `orders` ({}, environment test) (process {}) listens there [port-taken]",
        file.display(),
        first.id()
    );
    assert!(line.contains(&named), "{line}\n{named}");
    let said = env.run(&["status", "--format", "json"]).await;
    let status: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    let hint = status["tunnels"][0]["hint"].as_str().unwrap().to_owned();
    let down = command(&hint).to_owned();
    assert_eq!(down, format!("bastion down -f '{}' --env test db", file.display()));

    // The command does what is said of it.
    let mut shell = env.command(Path::new("sh"));
    shell.args(["-c", &down.replacen("bastion", env!("CARGO_BIN_EXE_bastion"), 1)]);
    let done = process::output(shell, PATIENCE).await;
    assert!(done.status.success(), "{done:?}");
    let reloaded = env.run(&["reload"]).await;
    assert!(reloaded.status.success(), "{reloaded:?}");
    second.address("a").await;
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn one_tunnel_without_a_file_is_told_who_has_its_port() {
    let env = TestEnv::new();
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = other.local_addr().unwrap().port().to_string();
    let said = env.run(&[crate::cli::TUNNEL, &["--port", &port]].concat()).await;
    assert_eq!(said.status.code(), Some(5));
    let said = String::from_utf8(said.stderr).unwrap();
    assert_eq!(said.contains(&format!("(process {}) listens there", std::process::id())), TELLS, "{said}");
}

/// Root has the right, so it is taken away from the program first.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_low_port_without_the_right_says_what_gives_it() {
    let (env, servers) = (TestEnv::new(), Servers::start().await);
    let first = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    let first = first.trim().parse::<u16>().unwrap_or(u16::MAX).min(1024);
    let root = rustix::process::geteuid().is_root();
    let is_free = |port: &u16| !root || std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let Some(low) = (1..first).rev().find(is_free) else {
        eprintln!("SKIPPED: every port is free for all here");
        return;
    };
    env.workspace(&servers.workspace(&format!("a = \"{low} -> one:7\"\n")));
    let mut command = env.bastion(&[]);
    if root {
        if env.command(Path::new("setpriv")).arg("--version").output().await.is_err() {
            eprintln!("SKIPPED: `setpriv` is not installed");
            return;
        }
        command = env.command(Path::new("setpriv"));
        command.args(["--inh-caps=-net_bind_service", "--bounding-set=-net_bind_service"]);
        command.arg(env!("CARGO_BIN_EXE_bastion"));
    }
    command.arg("up");
    let up = env.run_command(command);
    let line = up.wait_line(|line| line.starts_with("blocked"), "a blocked tunnel").await;
    assert!(
        line.contains("a port as low as this needs a right that this user lacks [port-privileged]"),
        "{line}"
    );
    let said = env.run(&["status", "--format", "json"]).await;
    let status: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    let hint = status["tunnels"][0]["hint"].as_str().unwrap();
    for remedy in [
        "`port_offset = 8000`",
        "`sudo setcap cap_net_bind_service=+ep '",
        &format!("`sudo sysctl net.ipv4.ip_unprivileged_port_start={low}`"),
    ] {
        assert!(hint.contains(remedy), "{hint}");
    }
    up.stop().await;
}
