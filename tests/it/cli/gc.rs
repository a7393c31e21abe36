//! `bastion gc`: what is left of those that were killed, here and in Azure.

use std::path::Path;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::env::{EmulatorProcess, Running, TestEnv, check_no_token};
use crate::process::{self, PATIENCE};
use crate::reload::places;
use crate::server::Server;

struct Room {
    env: TestEnv,
    _server: Server,
    emulator: EmulatorProcess,
}

impl Room {
    async fn new() -> Self {
        let (env, server) = (TestEnv::new(), Server::echo().await);
        env.forward("echo", 7, server.address, "");
        let emulator = env.emulator(&[]).await;
        Self { env, _server: server, emulator }
    }

    async fn up(&self) -> (Running, TcpStream) {
        let up = self.env.start_on(&self.emulator, &["up"]);
        let mut stream = TcpStream::connect(up.address("echo").await).await.unwrap();
        stream.write_all(b"x").await.unwrap();
        assert_eq!(timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap(), b'x');
        self.env.wait_requests("the probe's deletion", |_| (self.open() == 1).then_some(())).await;
        (up, stream)
    }

    /// One that was killed over an open connection.
    async fn killed(&self) {
        let (mut up, _stream) = self.up().await;
        up.kill();
        assert_eq!(up.wait().await.0, -1);
        assert_eq!(self.open(), 1);
    }

    fn open(&self) -> usize {
        let sessions = self.env.sessions();
        sessions.opened - sessions.deleted
    }

    /// What it says, with names for what differs from run to run.
    async fn gc(&self, emulator: bool, arguments: &[&str]) -> String {
        let mut command = self.env.bastion(&[&["gc"], arguments].concat());
        if emulator {
            command.env("BASTION_EMULATOR", self.emulator.endpoint());
        }
        let output = process::output(command, PATIENCE).await;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let mut said = format!("exit {}\n", output.status.code().unwrap());
        for (name, text) in [("out", text(&output.stdout)), ("err", text(&output.stderr))] {
            if !text.is_empty() {
                said.push_str(&format!("----- {name}\n{text}"));
            }
        }
        let work = std::fs::canonicalize(self.env.work()).unwrap();
        let root = work.parent().unwrap().to_str().unwrap().to_owned();
        said.replace(&root, "ROOT")
    }
}

/// Files below the state directory that belong to one instance or another.
fn files(env: &TestEnv) -> Vec<String> {
    let places = places(&env.home());
    let mut names = Vec::new();
    for directory in [places.runtime, places.state.join("sessions")] {
        for entry in directory.read_dir().into_iter().flatten() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            names.push(name.split_once('.').map_or(name.clone(), |(_, kind)| kind.to_owned()));
        }
    }
    names.sort();
    names
}

#[tokio::test]
async fn nothing() {
    let room = Room::new().await;
    insta::assert_snapshot!(room.gc(true, &[]).await, @r"
    exit 0
    ----- err
    Nothing was left behind
    ");
    insta::assert_snapshot!(room.gc(false, &["--format", "json"]).await, @r#"
    exit 0
    ----- out
    {"version":1,"dry_run":false,"files":[],"sessions":[],"in_use":0,"problems":[]}
    "#);
    assert_eq!(files(&room.env), [""; 0]);
}

#[tokio::test]
async fn what_a_killed_one_left() {
    let room = Room::new().await;
    room.killed().await;
    let before = files(&room.env);
    assert_eq!(before, ["0.journal", "json", "live", "lock", "sock"]);
    insta::assert_snapshot!(room.gc(true, &["--dry-run"]).await, @r"
    exit 0
    ----- out
    ROOT/work/bastion.toml: 4 files would be removed
    ROOT/work/bastion.toml: 1 session would be deleted in Azure
    ");
    assert_eq!((files(&room.env), room.open()), (before, 1));
    insta::assert_snapshot!(room.gc(true, &[]).await, @r"
    exit 0
    ----- out
    ROOT/work/bastion.toml: 4 files removed
    ROOT/work/bastion.toml: 1 session deleted in Azure
    ");
    assert_eq!((files(&room.env).len(), room.open()), (0, 0));
    // And all goes on as if nothing had been.
    let (up, stream) = room.up().await;
    drop(stream);
    up.stop().await;
}

#[tokio::test]
async fn for_programs() {
    let room = Room::new().await;
    room.killed().await;
    let key = key_in(&journal(&room.env));
    let said = room.gc(true, &["--format", "json"]).await;
    check_no_token(&said.replace(&key, "KEY"));
    let json: Value = serde_json::from_str(said.lines().nth(2).unwrap()).unwrap();
    assert_eq!(json["files"].as_array().unwrap().len(), 4);
    assert!(json["files"].as_array().unwrap().iter().all(|file| file["removed"] == true), "{json}");
    let session = &json["sessions"][0];
    assert_eq!(session["workspace"], "ROOT/work/bastion.toml");
    assert_eq!((&session["cloud"], &session["outcome"]), (&"emulator".into(), &"deleted".into()));
    assert!(session["gateway"].as_str().unwrap().contains("localhost:"), "{json}");
    let mut keys: Vec<&String> = session.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(keys, ["cloud", "environment", "gateway", "outcome", "reason", "workspace"]);
}

#[tokio::test]
async fn what_runs_is_left_alone() {
    let room = Room::new().await;
    let (up, mut stream) = room.up().await;
    insta::assert_snapshot!(room.gc(true, &[]).await, @r"
    exit 0
    ----- err
    Nothing was left behind
    Left alone: 1 journal of what runs
    ");
    stream.write_all(b"y").await.unwrap();
    assert_eq!(timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap(), b'y');
    drop(stream);
    assert!(room.env.run(&["status"]).await.status.success());
    up.stop().await;
    assert_eq!(room.open(), 0);
}

#[tokio::test]
async fn what_is_in_an_emulator_that_is_not_named_or_in_a_cloud_that_is_gone_is_kept() {
    let room = Room::new().await;
    room.killed().await;
    insta::assert_snapshot!(room.gc(false, &[]).await, @r"
    exit 1
    ----- out
    ROOT/work/bastion.toml: 4 files removed
    ROOT/work/bastion.toml: 1 session not deleted: it is in an emulator that BASTION_EMULATOR does not name; when that has ended, so has the session; kept for another try
    ");
    let journal = journal(&room.env);
    let text = std::fs::read_to_string(&journal).unwrap();
    let cloud = text.split("\"cloud\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    std::fs::write(&journal, text.replace(&cloud, "lab")).unwrap();
    insta::assert_snapshot!(room.gc(true, &[]).await, @r"
    exit 1
    ----- out
    ROOT/work/bastion.toml: 1 session not deleted: there is no cloud `lab` [unknown-cloud]; kept for another try
    ");
    std::fs::write(&journal, text).unwrap();
    insta::assert_snapshot!(room.gc(true, &[]).await, @r"
    exit 0
    ----- out
    ROOT/work/bastion.toml: 1 session deleted in Azure
    ");
    assert_eq!(files(&room.env), [""; 0]);
}

fn journal(env: &TestEnv) -> std::path::PathBuf {
    let mut all = places(&env.home()).state.join("sessions").read_dir().unwrap();
    all.next().unwrap().unwrap().path()
}

#[tokio::test]
async fn what_is_not_believed_is_told_and_left() {
    let room = Room::new().await;
    room.killed().await;
    let path = journal(&room.env);
    let mut text = std::fs::read_to_string(&path).unwrap();
    let line = text.lines().rfind(|line| line.contains("authToken")).unwrap().to_owned();
    let host = line.split("\"host\":\"").nth(1).unwrap().split('"').next().unwrap();
    // A line of somebody else's, and the last one cut off.
    text.push_str(&format!(
        "{}\n{}",
        line.replace(host, "10.0.0.1").replace("\"id\":", "\"id\":7"),
        &line[..40]
    ));
    std::fs::write(&path, text).unwrap();
    let linked = path.with_file_name("tunnel.0.journal");
    std::os::unix::fs::symlink(&path, &linked).unwrap();
    let said = room.gc(true, &[]).await.replace(&key_in(&path), "KEY");
    insta::assert_snapshot!(said, @r"
    exit 1
    ----- out
    ROOT/work/bastion.toml: 4 files removed
    ROOT/work/bastion.toml: 1 session deleted in Azure
    ROOT/work/bastion.toml: 1 session not asked for, and written down no longer: 10.0.0.1: its gateway is not one: it is an IP address, not a DNS name
    ----- err
    warning: `ROOT/home/.local/state/bastion/sessions/tunnel.0.journal`: it is not a plain file [journal]
    warning: `ROOT/home/.local/state/bastion/sessions/KEY.0.journal`: 1 line could not be read [journal]
    ");
    assert!(linked.symlink_metadata().is_ok() && room.open() == 0);
}

fn key_in(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().split('.').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_mistake_in_the_users_own_configuration_is_told_before_anything_is_done() {
    let room = Room::new().await;
    room.killed().await;
    let config = room.env.home().join(".config/bastion");
    std::fs::create_dir_all(&config).unwrap();
    std::fs::write(config.join("config.toml"), "[network]\nproxy = 1\n").unwrap();
    let said = room.gc(true, &[]).await;
    assert!(said.starts_with("exit 2\n") && said.contains("nothing was removed"), "{said}");
    assert_eq!((files(&room.env).len(), room.open()), (5, 1));
}
