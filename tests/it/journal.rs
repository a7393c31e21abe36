//! The journal of sessions, by the whole program: written while a session is open, gone with it, and used by the next one
//! when its process was killed.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use bastion::model::Emulation;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use crate::env::{EmulatorProcess, POLL, Running, TestEnv, check_no_token};
use crate::process::PATIENCE;
use crate::reload::places;
use crate::server::Server;

/// A workspace with an echo behind an emulator of its own.
struct Room {
    env: TestEnv,
    _server: Server,
    emulator: EmulatorProcess,
}

impl Room {
    async fn new(emulator: &str) -> Self {
        let (env, server) = (TestEnv::new(), Server::echo().await);
        env.forward("echo", 7, server.address, emulator);
        let emulator = env.emulator(&[]).await;
        Self { env, _server: server, emulator }
    }

    fn up(&self) -> Running {
        self.env.start_on(&self.emulator, &["up"])
    }

    /// The lines of the only journal; none when there is none.
    fn journal(&self) -> Option<(PathBuf, Vec<Value>)> {
        let directory = places(&self.env.home()).state.join("sessions");
        let mut files: Vec<PathBuf> = directory.read_dir().ok()?.map(|entry| entry.unwrap().path()).collect();
        let path = files.pop()?;
        assert!(files.is_empty(), "{path:?}, {files:?}");
        let text = std::fs::read_to_string(&path).unwrap();
        Some((path, text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()))
    }

    /// Sessions that are open in the emulator, by its log.
    fn open(&self) -> usize {
        let sessions = self.env.sessions();
        sessions.opened - sessions.deleted
    }

    async fn until(&self, what: &str, is_it: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_it(self) {
            assert!(Instant::now() < deadline, "not {what}: {:?}", self.env.sessions());
            sleep(POLL).await;
        }
    }

    /// One connection that has carried something, and nothing else open.
    async fn one(&self, up: &Running) -> TcpStream {
        let stream = echoing(up).await;
        self.until("one session", |room| room.open() == 1).await;
        stream
    }
}

async fn echoing(up: &Running) -> TcpStream {
    let mut stream = TcpStream::connect(up.address("echo").await).await.unwrap();
    stream.write_all(b"x").await.unwrap();
    assert_eq!(timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap(), b'x');
    stream
}

async fn killed(mut running: Running) -> String {
    running.kill();
    let (code, said) = running.wait().await;
    assert_eq!(code, -1, "{said}");
    said
}

#[tokio::test]
async fn it_holds_what_a_deletion_needs_and_only_as_long() {
    let room = Room::new("").await;
    let up = room.up();
    let stream = room.one(&up).await;
    let (path, lines) = room.journal().unwrap();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    assert!(std::fs::File::open(&path).unwrap().try_lock().is_err(), "nobody holds it");
    let keys = |line: &Value| line.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&lines[0]), ["version", "workspace", "environment"]);
    let granted: Vec<&Value> = lines.iter().filter(|line| line["authToken"].is_string()).collect();
    for line in &granted {
        assert_eq!(keys(line), ["id", "at", "cloud", "host", "nodeId", "authToken"]);
        assert_eq!(line["authToken"].as_str().unwrap().len(), 64);
    }
    // The probe, which is deleted, and the connection.
    assert_eq!(granted.len(), 2);
    assert!(!std::fs::read_to_string(&path).unwrap().contains(&room.emulator.token()));
    drop(stream);
    room.until("nothing open", |room| room.open() == 0).await;
    check_no_token(&up.stop().await);
    assert_eq!(room.journal(), None);
}

#[tokio::test]
async fn what_a_killed_up_left_the_next_deletes_beside_its_tunnels() {
    // Each deletion takes its time, and the tunnels do not wait for it.
    let faults = "[[emulator.faults]]\nphase = \"delete\"\ndo = \"delay:2s\"\ntimes = 0";
    let room = Room::new(faults).await;
    let up = room.up();
    let _stream = room.one(&up).await;
    killed(up).await;
    assert_eq!(room.open(), 1);
    let up = room.up();
    drop(echoing(&up).await);
    let waiting = !up.stderr().iter().any(|line| line.starts_with("Deleted "));
    assert!(waiting, "a tunnel waited for the deletion");
    let line = up.wait_line(|line| line.starts_with("Deleted "), "what it deleted").await;
    assert_eq!(line, "Deleted 1 session that a `bastion` before this one left in Azure");
    check_no_token(&up.stop().await);
    assert_eq!((room.open(), room.journal()), (0, None));
    for request in room.env.requests().iter().filter(|request| request["kind"] == "delete") {
        let headers = request["headers"].to_string().to_lowercase();
        assert!(headers.contains("x-node-id") && !headers.contains("authorization"), "{headers}");
    }
    assert_eq!(room.env.sessions().violations, [""; 0]);
}

#[tokio::test]
async fn what_cannot_be_deleted_stays_for_the_next_one() {
    let room = Room::new("").await;
    let up = room.up();
    let _stream = room.one(&up).await;
    killed(up).await;
    // A gateway that says nothing good: the file says the same host, and nobody listens there.
    let (path, _) = room.journal().unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let host = text.split("\"host\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    std::fs::write(&path, text.replace(&host, "nobody.localhost:1")).unwrap();
    let up = room.up();
    let line = up.wait_line(|line| line.contains("could not be deleted"), "that it failed").await;
    assert!(line.contains("1 of 1 session that a `bastion` before this one left in Azure"), "{line}");
    assert!(line.ends_with("the next one, or `bastion gc`, tries again [journal]"), "{line}");
    up.stop().await;
    let (path, lines) = room.journal().unwrap();
    assert_eq!(lines.len(), 2);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("nobody.localhost:1", &host)).unwrap();
    let up = room.up();
    up.wait_line(|line| line.starts_with("Deleted 1 session "), "what it deleted").await;
    up.stop().await;
    assert_eq!((room.open(), room.journal()), (0, None));
}

#[tokio::test]
async fn what_an_impatient_stop_left_the_next_one_deletes() {
    // The first deletion is not answered.
    let room = Room::new("[[emulator.faults]]\nphase = \"delete\"\ndo = \"silence\"").await;
    let text = std::fs::read_to_string(room.env.path("bastion.toml")).unwrap();
    room.env.workspace(&text.replace("port = 7\n", "port = 7\nprobe = \"none\"\n"));
    let up = room.up();
    let _stream = echoing(&up).await;
    up.interrupt();
    up.wait_line(|line| line.starts_with("Stopping: "), "that it stops").await;
    for _ in 0..2 {
        up.interrupt();
        // Two at the same moment are one.
        sleep(Duration::from_millis(700)).await;
    }
    let (code, said) = up.wait().await;
    assert!(code == 130 && said.contains("stopped at once"), "{code}: {said}");
    assert_eq!(room.open(), 1);
    let up = room.up();
    up.wait_line(|line| line.starts_with("Deleted 1 session "), "what it deleted").await;
    up.stop().await;
    assert_eq!((room.open(), room.journal()), (0, None));
}

#[tokio::test]
async fn hostile_lines_are_asked_of_nobody() {
    let room = Room::new("").await;
    let up = room.up();
    let _stream = room.one(&up).await;
    killed(up).await;
    let stranger = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = stranger.local_addr().unwrap().port();
    let (path, lines) = room.journal().unwrap();
    let real = lines.iter().rfind(|line| line["authToken"].is_string()).unwrap();
    let mut text = std::fs::read_to_string(&path).unwrap();
    let mut id = 1_000;
    let mut add = |change: &dyn Fn(&mut Value)| {
        let mut line = real.clone();
        line["id"] = id.into();
        id += 1;
        change(&mut line);
        text.push_str(&format!("{line}\n"));
    };
    for host in [
        &*format!("127.0.0.1:{port}"),
        &format!("[::1]:{port}"),
        &format!("user@localhost:{port}"),
        &format!("localhost:{port}/x"),
        &format!("localhost:{port}\r\nX: y"),
        &format!("127.1:{port}"),
        "",
    ] {
        add(&|line| line["host"] = host.into());
    }
    add(&|line| line["nodeId"] = "n\r\nX: y".into());
    add(&|line| line["authToken"] = "a\u{1b}[2Jb".into());
    add(&|line| line["authToken"] = "".into());
    std::fs::write(&path, text).unwrap();
    let up = room.up();
    up.wait_line(|line| line.starts_with("Deleted 1 session "), "the deletion of the real one").await;
    let said = up.stop().await;
    assert_eq!(
        said.lines().filter(|line| line.contains("wrote down what is no session")).count(),
        10,
        "{said}"
    );
    assert!(!said.contains('\u{1b}') && !said.contains('\r'), "{said:?}");
    check_no_token(&said);
    assert!(timeout(Duration::from_millis(1), stranger.accept()).await.is_err(), "a stranger was called");
    // Nobody tries them again.
    assert_eq!((room.open(), room.journal()), (0, None));
}

#[tokio::test]
async fn a_gateway_of_azures_own_has_no_port() {
    let room = Room::new("").await;
    let up = room.up();
    let _stream = room.one(&up).await;
    killed(up).await;
    let (path, lines) = room.journal().unwrap();
    let cloud = lines[1]["cloud"].as_str().unwrap().to_owned();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace(&cloud, "public")).unwrap();
    let output = room.env.run(&["gc"]).await;
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(out.contains("written down no longer") && out.contains("a port may not stand in it"), "{out}");
    assert_eq!((output.status.code(), room.open(), room.journal()), (Some(1), 1, None));
}

fn tunnel(room: &Room) -> Running {
    let group = Emulation::RESOURCE_GROUP;
    let id = format!(
        "/subscriptions/{}/resourceGroups/{group}/providers/Microsoft.Compute/virtualMachines/vm-echo",
        Emulation::SUBSCRIPTION
    );
    let arguments = [
        "tunnel",
        "--cloud",
        "emulator",
        "-n",
        "hub",
        "-g",
        group,
        "--resource-port",
        "7",
        "--target-resource-id",
        &id,
    ];
    room.env.start_on(&room.emulator, &arguments)
}

async fn connected(tunnel: &Running) -> TcpStream {
    let line = tunnel.wait_line(|line| line.starts_with("Tunnel is ready"), "its port").await;
    let port: u16 = line.rsplit(' ').next().unwrap().parse().unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(b"x").await.unwrap();
    assert_eq!(timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap(), b'x');
    stream
}

#[tokio::test]
async fn tunnels_without_a_workspace_have_theirs() {
    let room = Room::new("").await;
    let (one, two) = (tunnel(&room), tunnel(&room));
    let (_first, mut second) = (connected(&one).await, connected(&two).await);
    room.until("two sessions", |room| room.open() == 2).await;
    killed(one).await;
    // The other one lives, and its journal is its own.
    let three = tunnel(&room);
    three.wait_line(|line| line.starts_with("Deleted 1 session "), "what it deleted").await;
    // Its own proof may just be under way.
    room.until("the other one's session", |room| room.open() == 1).await;
    second.write_all(b"y").await.unwrap();
    assert_eq!(timeout(PATIENCE, second.read_u8()).await.unwrap().unwrap(), b'y');
    drop(second);
    three.stop().await;
    two.stop().await;
    assert_eq!((room.open(), room.journal()), (0, None));
}

#[tokio::test]
async fn an_emulator_that_ends_with_it_needs_none() {
    let env = TestEnv::new();
    let server = Server::echo().await;
    env.forward("echo", 7, server.address, "");
    let up = env.up(&[]);
    let _stream = echoing(&up).await;
    assert!(!places(&env.home()).state.join("sessions").exists());
    up.stop().await;
}

#[tokio::test]
async fn a_full_disk_is_told_once_and_stops_no_tunnel() {
    let room = Room::new("").await;
    // No file may grow beyond a KiB: the lock's fit, the journal does not for long.
    let mut command: Command = room.env.command("bash");
    command.args(["-c", "ulimit -f 1; trap '' XFSZ; exec \"$0\" up", env!("CARGO_BIN_EXE_bastion")]);
    command.env("BASTION_EMULATOR", room.emulator.endpoint());
    let up = room.env.run_command(command);
    let mut streams = Vec::new();
    for _ in 0..12 {
        streams.push(echoing(&up).await);
    }
    drop(streams);
    room.until("nothing open", |room| room.open() == 0).await;
    let said = up.stop().await;
    let told = said.lines().filter(|line| line.contains("writing down the sessions that are open")).count();
    assert_eq!(told, 1, "{said}");
    assert_eq!(room.env.check_sessions().opened, 13);
}

#[tokio::test]
async fn a_directory_that_is_not_safe_is_told_and_stops_no_tunnel() {
    let room = Room::new("").await;
    let directory = places(&room.env.home()).state.join("sessions");
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::set_permissions(directory.parent().unwrap(), std::fs::Permissions::from_mode(0o700)).unwrap();
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o777)).unwrap();
    let up = room.up();
    drop(room.one(&up).await);
    let said = up.stop().await;
    assert!(said.contains("cannot be written down") && said.contains("chmod 700"), "{said}");
    assert_eq!((room.open(), directory.read_dir().unwrap().count()), (0, 0));
}
