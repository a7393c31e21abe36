//! Each first fault as a user meets it: what the local program sees, what is said about it, and that no session stays.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::env::{TestEnv, check_no_token};

const PATIENCE: Duration = Duration::from_secs(15);

fn workspace(faults: &[&str]) -> String {
    let mut text = r#"
[azure]
cloud = "emulator"
[bastions.hub]
[targets]
web = { vm = "vm-web" }
[tunnels.echo]
listen = 0
target = "web"
port = 7
connect_timeout = "3s"
[tunnels.nothing]
listen = 0
target = "web"
port = 81
connect_timeout = "3s"
[emulator]
log = "requests.jsonl"
"#
    .to_owned();
    for fault in faults {
        text.push_str(&format!("[[emulator.faults]]\n{fault}\n"));
    }
    text
}

/// What a local program saw of the echo of these bytes: how many came back, and whether the end was one.
async fn echo(address: std::net::SocketAddr, bytes: &[u8]) -> (usize, &'static str) {
    let mut stream = match TcpStream::connect(address).await {
        Ok(stream) => stream,
        // It was reset before it was noticed that it is there.
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return (0, "reset"),
        Err(error) => panic!("{error}"),
    };
    if stream.write_all(bytes).await.is_err() {
        // It was reset before it could say anything.
        return (0, "reset");
    }
    let mut back = Vec::new();
    let end = match timeout(PATIENCE, stream.read_to_end(&mut back)).await.expect("an end in time") {
        Ok(_) => "end",
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => "reset",
        Err(error) => panic!("{error}"),
    };
    assert!(bytes.starts_with(&back), "wrong bytes: {back:?}");
    (back.len(), end)
}

/// The lines that a log has about one connection, without what differs from run to run.
fn told(said: &str) -> String {
    let lines = said.lines().filter(|line| line.contains(" connection="));
    let lines = lines.map(|line| line.split_once('Z').map_or(line, |(_time, rest)| rest.trim_start()));
    let mut text = lines.collect::<Vec<_>>().join("\n");
    while let Some((before, after)) = text.split_once("bst-") {
        let rest =
            after.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ':'));
        text = format!("{before}GATEWAY {}", rest.trim_start());
    }
    text
}

/// One connection to the echo under a fault that strikes streams: (what came back, log lines).
async fn stream_fault(action: &str, after: u64, bytes: &[u8]) -> (usize, &'static str, String) {
    let env = TestEnv::new();
    let fault = format!("phase = \"stream\"\ndo = \"{action}\"\nafter = {after}");
    env.workspace(&workspace(&[&fault]));
    let up = env.up(&["-v", "echo"]);
    let seen = echo(up.address("echo").await, bytes).await;
    let said = env.finish(up).await;
    (seen.0, seen.1, told(&said))
}

#[tokio::test]
async fn dropped_after_some_bytes() {
    let (bytes, end, said) = stream_fault("drop", 5, b"hello world").await;
    assert_eq!((bytes, end), (5, "reset"));
    insta::assert_snapshot!(said, @r#"WARN the connection to the gateway ended without a goodbye; the local program sees a reset tunnel=echo connection=1 up=11 down=5 code="gateway-cut""#);
}

#[tokio::test]
async fn reset_after_some_bytes() {
    let (bytes, end, said) = stream_fault("reset", 5, b"hello world").await;
    assert!(bytes <= 5);
    assert_eq!(end, "reset");
    let said = said.replace(&format!("down={bytes}"), "down=N");
    insta::assert_snapshot!(said, @r#"WARN the connection to the gateway was reset; the local program sees a reset tunnel=echo connection=1 up=11 down=N code="gateway-reset""#);
}

#[tokio::test]
async fn closed_with_a_code() {
    let (bytes, end, said) = stream_fault("close:1011", 5, b"hello world").await;
    assert_eq!((bytes, end), (5, "reset"));
    insta::assert_snapshot!(said, @r#"WARN the gateway closed with 1011 ("fault"); the local program sees a reset tunnel=echo connection=1 up=11 down=5 code="gateway-close""#);
    let (bytes, end, said) = stream_fault("close:1000", 5, b"hello world").await;
    assert_eq!((bytes, end, &*said), (5, "end", ""));
    let (bytes, end, said) = stream_fault("close-notify", 5, b"hello world").await;
    assert_eq!((bytes, end), (5, "end"));
    insta::assert_snapshot!(said, @r#"INFO the gateway ended without a close frame tunnel=echo connection=1 up=11 down=5 code="end-unclean""#);
}

#[tokio::test]
async fn a_refused_port() {
    let env = TestEnv::new();
    env.workspace(&workspace(&[]));
    let up = env.up(&["-v", "nothing"]);
    assert_eq!(echo(up.address("nothing").await, b"").await, (0, "reset"));
    insta::assert_snapshot!(told(&env.finish(up).await), @r#"WARN the gateway closed with 1011 ("the target refused the connection"); the local program sees a reset tunnel=nothing connection=1 up=0 down=0 code="gateway-close""#);
}

#[tokio::test]
async fn silence_is_ended_by_whoever_gives_up_first() {
    let env = TestEnv::new();
    env.workspace(&workspace(&["phase = \"stream\"\ndo = \"silence\"\nafter = 5"]));
    let up = env.up(&["-v", "echo"]);
    let mut stream = TcpStream::connect(up.address("echo").await).await.unwrap();
    stream.write_all(b"hello world").await.unwrap();
    let mut back = [0; 5];
    timeout(PATIENCE, stream.read_exact(&mut back)).await.unwrap().unwrap();
    let more = timeout(Duration::from_millis(300), stream.read_u8()).await;
    assert!(more.is_err(), "nothing more, and no end: {more:?}");
    drop(stream);
    insta::assert_snapshot!(told(&env.finish(up).await), @"");
}

/// The tunnel is up, and then one session is refused; the proof of the tunnel had one before.
async fn token_fault(actions: &[&str]) -> (usize, &'static str, String) {
    let env = TestEnv::new();
    env.workspace(&workspace(&[]));
    // Faults strike in order from the first exchange on, so the proof gets an answer that is no fault: a delay.
    let mut faults = vec!["phase = \"token\"\ndo = \"delay:1ms\"".to_owned()];
    faults.extend(actions.iter().map(|action| format!("phase = \"token\"\n{action}")));
    env.workspace(&workspace(&faults.iter().map(String::as_str).collect::<Vec<_>>()));
    let up = env.up(&["-v", "echo"]);
    let (bytes, end) = echo(up.address("echo").await, b"").await;
    (bytes, end, told(&env.finish(up).await))
}

#[tokio::test]
async fn a_session_refused_for_good() {
    let (bytes, end, said) = token_fault(&["do = \"403\""]).await;
    assert_eq!((bytes, end), (0, "reset"));
    insta::assert_snapshot!(said, @r#"WARN the gateway GATEWAY refused a session: HTTP 403, "The client with object id '00000000-0000-4000-8000-0000000e0003' does not have authorization to perform action 'Microsoft.Network/bastionHosts/read' over the requested scope or the scope is invalid. If access was recently granted, please refresh your credentials." tunnel=echo connection=1 code="denied" hint="the account can read the bastion, the machine `vm-web` and its network interface; what may be missing is Reader on their virtual network, or a few minutes since it was granted""#);
    let (bytes, end, said) = token_fault(&["do = \"401\"\ntimes = 2"]).await;
    assert_eq!((bytes, end), (0, "reset"));
    insta::assert_snapshot!(said, @r#"WARN the gateway GATEWAY refused a session: HTTP 401, "Unauthorized" tunnel=echo connection=1 code="sign-in" hint="a fresh access token was refused too: sign in again, with an account of the bastion's tenant""#);
    let (bytes, end, said) = token_fault(&["do = \"redirect:307:https://localhost:1/\""]).await;
    assert_eq!((bytes, end), (0, "reset"));
    insta::assert_snapshot!(said, @r#"WARN the gateway GATEWAY refused a session: HTTP 307 tunnel=echo connection=1 code="gateway-redirect" hint="a redirect is not followed, because the request carries an access token; is a captive portal or proxy on the way?""#);
}

#[tokio::test]
async fn a_session_refused_for_the_time_being() {
    let (bytes, end, said) = token_fault(&["do = \"500\"\ntimes = 0"]).await;
    assert_eq!((bytes, end), (0, "reset"), "held, and reset when its time was up");
    // How often it was tried is a matter of luck.
    let held = "a session was refused; held";
    let lines: Vec<&str> = said.lines().collect();
    let (last, before) = lines.split_last().unwrap();
    assert!(before.iter().all(|line| line.contains("held, trying again")), "{held}: {said}");
    insta::assert_snapshot!(last, @r#"WARN the gateway GATEWAY refused a session: HTTP 500, "Unexpected internal error" tunnel=echo connection=1 code="gateway-error""#);
}

#[tokio::test]
async fn one_401_is_mended_by_a_fresh_token_and_said_to_nobody() {
    let env = TestEnv::new();
    env.workspace(&workspace(&["phase = \"token\"\ndo = \"401\""]));
    let up = env.up(&["-v", "echo"]);
    up.address("echo").await;
    assert_eq!(told(&env.finish(up).await), "");
}

#[tokio::test]
async fn at_the_highest_verbosity_no_token_is_shown() {
    let env = TestEnv::new();
    env.workspace(&workspace(&[
        "phase = \"token\"\ndo = \"delay:1ms\"",
        "phase = \"token\"\ndo = \"500\"",
        "phase = \"token\"\ndo = \"malformed\"",
        "phase = \"upgrade\"\ndo = \"400\"",
        "phase = \"upgrade\"\ndo = \"wrong-accept\"",
        "phase = \"upgrade\"\ndo = \"http-after-101\"",
        "phase = \"stream\"\ndo = \"reset\"\nafter = 1",
        "phase = \"delete\"\ndo = \"500\"",
    ]));
    let emulator = env.emulator(&[]).await;
    let token = emulator.token();
    let up = env.start_on(&emulator, &["-vv", "up", "echo"]);
    let address = up.address("echo").await;
    for _ in 0..4 {
        echo_or_reset(address).await;
    }
    let said = env.finish(up).await;
    check_no_token(&said);
    assert!(!said.contains(&token) && !said.contains("webtunnelv2"), "{said}");
    // Nor does the emulator write one down.
    let log = std::fs::read_to_string(env.path("requests.jsonl")).unwrap();
    assert!(!log.contains(&token) && !log.contains("aztoken\",\"ey"), "the log holds a token");
    check_no_token(&emulator.into_running().stop().await);
}

async fn echo_or_reset(address: std::net::SocketAddr) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    drop(stream.write_all(b"hello").await);
    let mut back = [0; 5];
    let read = timeout(PATIENCE, stream.read_exact(&mut back)).await.expect("bytes or an end in time");
    assert!(read.is_err() || &back == b"hello");
}
