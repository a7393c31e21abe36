//! OpenSSH through a tunnel: commands, copies both ways, host keys.

use std::process::Stdio;

use super::sshd::Sshd;
use super::{HEAVY, TRANSFER, require};
use crate::env::TestEnv;
use crate::pattern;
use crate::process::{PATIENCE, output, succeed};

const COPY: u64 = 256 << 20;

#[tokio::test]
async fn a_remote_command_runs_and_its_exit_code_comes_back() {
    if !require("a remote command", &["sshd", "ssh", "ssh-keygen"]) {
        return;
    }
    let env = TestEnv::new();
    let sshd = Sshd::start(&env).await;
    env.forward("ssh", 22, sshd.address, "");
    let up = env.up(&["-vv"]);
    let port = up.address("ssh").await.port();
    let done = output(sshd.ssh(&env, port, "echo here; echo there >&2; exit 7"), PATIENCE).await;
    assert_eq!(done.status.code(), Some(7), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(String::from_utf8_lossy(&done.stdout), "here\n");
    assert_eq!(String::from_utf8_lossy(&done.stderr), "there\n");
    // Standard input of the local program ends, and the remote one sees that end.
    let input = env.path("input");
    pattern::write(&input, 5 << 20);
    let mut count = sshd.ssh(&env, port, "cat | wc -c");
    count.stdin(Stdio::from(std::fs::File::open(&input).unwrap()));
    assert_eq!(String::from_utf8_lossy(&succeed(count, PATIENCE).await).trim(), (5 << 20).to_string());
    env.finish(up).await;
}

#[tokio::test]
async fn host_keys_are_checked_by_the_name_of_the_machine() {
    if !require("host keys", &["sshd", "ssh", "ssh-keygen"]) {
        return;
    }
    let env = TestEnv::new();
    let sshd = Sshd::start(&env).await;
    env.forward("ssh", 22, sshd.address, "");
    let up = env.up(&[]);
    let port = up.address("ssh").await.port();
    succeed(sshd.ssh(&env, port, "true"), PATIENCE).await;
    // A later option does not count, so the changed key is put where the right one was.
    std::fs::rename(env.path("changed_hosts"), env.path("known_hosts")).unwrap();
    let refused = output(sshd.ssh(&env, port, "true"), PATIENCE).await;
    assert_eq!(refused.status.code(), Some(255));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("Host key verification failed"), "{said}");
    env.finish(up).await;
}

#[tokio::test]
async fn scp_copies_256_mib_both_ways() {
    if !require("scp", &["sshd", "ssh", "scp", "ssh-keygen"]) {
        return;
    }
    let _alone = HEAVY.lock().await;
    let env = TestEnv::new();
    let sshd = Sshd::start(&env).await;
    env.forward("ssh", 22, sshd.address, "");
    let up = env.up(&[]);
    let port = up.address("ssh").await.port();
    pattern::write(&env.path("here"), COPY);
    succeed(sshd.scp(&env, port, "here", ":there"), TRANSFER).await;
    pattern::check_file(&env.path("there"), COPY);
    succeed(sshd.scp(&env, port, ":there", "back"), TRANSFER).await;
    pattern::check_file(&env.path("back"), COPY);
    env.finish(up).await;
}

#[tokio::test]
async fn sftp_puts_and_gets() {
    if !require("sftp", &["sshd", "ssh", "sftp", "ssh-keygen"]) {
        return;
    }
    const SIZE: u64 = (16 << 20) + 1234;
    let env = TestEnv::new();
    let sshd = Sshd::start(&env).await;
    env.forward("ssh", 22, sshd.address, "");
    let up = env.up(&[]);
    let port = up.address("ssh").await.port();
    pattern::write(&env.path("here"), SIZE);
    let at = |name: &str| env.path(name).display().to_string();
    let batch = format!("put {} {}\nget {} {}\n", at("here"), at("there"), at("there"), at("back"));
    std::fs::write(env.path("batch"), batch).unwrap();
    let mut sftp = env.command(super::found("sftp"));
    sftp.args(["-q", "-b"]).arg(env.path("batch")).args(Sshd::options(&env, "-P", port));
    sftp.arg(format!("{}@127.0.0.1", sshd.user));
    succeed(sftp, TRANSFER).await;
    pattern::check_file(&env.path("there"), SIZE);
    pattern::check_file(&env.path("back"), SIZE);
    env.finish(up).await;
}
