//! Killed at any moment, under load, again and again: whatever was open in Azure is deleted by who comes after.
//!
//! What a killed process had cannot be asked any more, so the emulator's log has to say it. A session whose WebSocket was
//! opened had been granted, read and written down: it is deleted, without exception. One that was granted and never used
//! may have been granted to a process that was dead before it had read, or written down, the answer: that is believed of
//! those only that were granted just before it was killed, and of no more than could be under way.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use jiff::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::env::{POLL, TestEnv, check_no_token, inherited};
use crate::process::PATIENCE;
use crate::reload::places;
use crate::server::Server;

/// How many local programs there are.
const PROGRAMS: usize = 8;
/// How long an answer may be under way between the emulator and the journal. 10 ms is usual; on a machine that does much
/// besides, both wait for their turn.
const ON_THE_WAY: Duration = Duration::from_secs(2);

/// A session, as the log has it.
#[derive(Clone, Copy, Debug, Default)]
struct Session {
    granted: Timestamp,
    used: bool,
    deleted: bool,
}

/// A session that somebody knew: its number, what became of it, how long before a kill it was granted.
type Known = (u64, Session, Option<i128>);

/// A program that opens a connection, uses it for a moment, and opens the next.
async fn program(address: SocketAddr) {
    loop {
        let once = async {
            let mut stream = TcpStream::connect(address).await.ok()?;
            stream.write_all(b"x").await.ok()?;
            stream.read_u8().await.ok()?;
            sleep(Duration::from_millis(rand::random_range(0..60))).await;
            Some(())
        };
        if once.await.is_none() {
            sleep(Duration::from_millis(2)).await;
        }
    }
}

fn sessions(env: &TestEnv) -> BTreeMap<u64, Session> {
    let mut sessions: BTreeMap<u64, Session> = BTreeMap::new();
    for request in env.requests() {
        let Some(number) = request["session"].as_u64() else { continue };
        let session = sessions.entry(number).or_default();
        match (request["kind"].as_str().unwrap(), request["status"].as_u64()) {
            ("token", Some(200)) => session.granted = request["time"].as_str().unwrap().parse().unwrap(),
            ("upgrade", Some(101)) => session.used = true,
            ("delete", Some(204)) => session.deleted = true,
            _ => {}
        }
    }
    sessions
}

/// Sessions that are not deleted and that somebody knew; and how long (in ms) before a kill each of the others was granted,
/// which no process can have known.
fn left(env: &TestEnv, kills: &[Timestamp]) -> (Vec<Known>, Vec<i128>) {
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for (number, session) in sessions(env).into_iter().filter(|(_, session)| !session.deleted) {
        // The log's clock has milliseconds.
        let before = kills.iter().map(|kill| kill.duration_since(session.granted).as_millis());
        let before = before.filter(|before| *before >= -1).min();
        match before {
            Some(before) if !session.used && before <= ON_THE_WAY.as_millis() as i128 => unknown.push(before),
            _ => known.push((number, session, before)),
        }
    }
    (known, unknown)
}

#[tokio::test]
async fn whatever_was_open_when_it_was_killed_is_deleted_by_the_next() {
    let rounds = inherited("BASTION_CRASH_ROUNDS").map_or(10, |text| text.to_str().unwrap().parse().unwrap());
    let env = TestEnv::new();
    let server = Server::echo().await;
    env.forward("echo", 7, server.address, "");
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let text = std::fs::read_to_string(env.path("bastion.toml")).unwrap();
    env.workspace(&text.replace("listen = 0", &format!("listen = {port}")));
    let emulator = env.emulator(&[]).await;
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut programs = JoinSet::new();
    for _ in 0..PROGRAMS {
        programs.spawn(program(address));
    }
    let (mut kills, mut said) = (Vec::new(), String::new());
    for round in 0..rounds {
        let mut up = env.start_on(&emulator, &["up"]);
        // Mostly in the middle of things, sometimes before anything is ready.
        if round % 4 != 3 {
            assert_eq!(up.address("echo").await, address, "its port was lost");
        }
        sleep(Duration::from_millis(rand::random_range(0..400))).await;
        kills.push(Timestamp::try_from(bastion::sys::clock::now()).unwrap());
        up.kill();
        let (code, words) = up.wait().await;
        assert_eq!(code, -1, "{words}");
        said.push_str(&words);
    }
    let up = env.start_on(&emulator, &["up"]);
    assert_eq!(up.address("echo").await, address, "its port was lost");
    drop(programs);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (known, _) = left(&env, &kills);
        if known.is_empty() {
            break;
        }
        assert!(Instant::now() < deadline, "these are left: {known:#?}\n{said}");
        sleep(POLL).await;
    }
    said.push_str(&up.stop().await);
    check_no_token(&said);
    let (known, unknown) = left(&env, &kills);
    let all = sessions(&env);
    let used = all.values().filter(|session| session.used).count();
    println!(
        "{rounds} kills: {} sessions granted, {used} used, {} deleted; {} never known to who was killed, granted up to {} ms before",
        all.len(),
        all.len() - unknown.len(),
        unknown.len(),
        unknown.iter().max().unwrap_or(&0)
    );
    assert!(known.is_empty(), "these are left: {known:#?}");
    assert!(unknown.len() <= kills.len() * (PROGRAMS + 1), "lost on the way: {unknown:?}");
    assert!(used > 0 && said.contains("that a `bastion` before this one left in Azure"), "{said}");
    assert_eq!(env.sessions().violations, [""; 0]);

    // Nothing is left here either: no journal, no socket.
    let places = places(&env.home());
    let files = |directory: &std::path::Path| -> Vec<_> {
        directory.read_dir().into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
    };
    assert_eq!(files(&places.state.join("sessions")), [""; 0].map(std::path::PathBuf::from));
    let socket = |path: &std::path::PathBuf| path.extension().is_some_and(|kind| kind == "sock");
    assert!(!files(&places.runtime).iter().any(socket));
    // A listener that is gone refuses.
    let refused = timeout(PATIENCE, TcpStream::connect(address)).await.unwrap();
    assert!(refused.is_err(), "the port is still taken");
    // It would wait for the sessions that nobody knows.
    emulator.into_running().kill();
}
