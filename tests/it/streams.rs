//! Many connections, and every way in which the gateway cuts bytes into messages: byte for byte, both ways.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::env::TestEnv;
use crate::pattern::{self, Check};
use crate::process::PATIENCE;
use crate::server::Server;

/// How long a whole transfer may take, other tests beside it.
const LONG: Duration = Duration::from_secs(120);

/// Sends the pattern and reads it back at the same time. (A WebSocket has no half-close, so the server would not see an
/// end of ours while we wait for its own.)
pub(crate) async fn echo(mut stream: TcpStream, len: u64) {
    let (mut from, mut to) = stream.split();
    let send = async {
        let mut at = 0;
        while at < len {
            let part = usize::try_from((len - at).min(100_003)).unwrap();
            to.write_all(&pattern::bytes(at, part)).await.unwrap();
            at += part as u64;
        }
    };
    let receive = async {
        let mut check = Check::default();
        let mut buffer = vec![0; 1 << 16];
        while check.len() < len {
            let read = from.read(&mut buffer).await.unwrap();
            assert_ne!(read, 0, "the end came after {} of {len} bytes", check.len());
            check.feed(&buffer[..read]);
        }
        assert_eq!(check.len(), len);
    };
    timeout(LONG, async { tokio::join!(send, receive) }).await.unwrap();
}

/// Asks for so many bytes and reads until the end.
async fn download(mut stream: TcpStream, len: u64) {
    stream.write_all(format!("{len}\n").as_bytes()).await.unwrap();
    let mut check = Check::default();
    let mut buffer = vec![0; 1 << 16];
    let all = async {
        while let read @ 1.. = stream.read(&mut buffer).await.unwrap() {
            check.feed(&buffer[..read]);
        }
    };
    timeout(LONG, all).await.unwrap();
    assert_eq!(check.len(), len, "the end came early");
}

async fn connect(address: SocketAddr) -> TcpStream {
    timeout(PATIENCE, TcpStream::connect(address)).await.unwrap().unwrap()
}

#[tokio::test]
async fn sixty_connections_at_once_carry_a_mebibyte_each_way() {
    const CONNECTIONS: usize = 60;
    let env = TestEnv::new();
    let server = Server::echo().await;
    env.forward("echo", 7, server.address, "");
    let up = env.up(&["-vv"]);
    let addresses = up.addresses("echo").await;
    let all = Arc::new(Barrier::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    for number in 0..CONNECTIONS {
        let (address, all) = (addresses[number % addresses.len()], Arc::clone(&all));
        connections.spawn(async move {
            let mut stream = connect(address).await;
            // All the way to the server and back, before anyone goes on.
            stream.write_all(b"?").await.unwrap();
            assert_eq!(timeout(LONG, stream.read_u8()).await.unwrap().unwrap(), b'?');
            timeout(LONG, all.wait()).await.unwrap();
            echo(stream, 1 << 20).await;
        });
    }
    drop(connections.join_all().await);
    env.finish(up).await;
    assert_eq!(env.most_streams_at_once(), CONNECTIONS);
    assert_eq!(env.sessions().opened, CONNECTIONS + 1, "one each, and one for the proof that the path works");
}

#[tokio::test]
async fn a_thousand_short_connections_ten_at_a_time_never_fail() {
    const EACH: usize = 100;
    let env = TestEnv::new();
    let server = Server::lines().await;
    env.forward("echo", 7, server.address, "");
    let up = env.up(&[]);
    let address = up.address("echo").await;
    let mut workers = JoinSet::new();
    for worker in 0..10 {
        workers.spawn(async move {
            for number in 0..EACH {
                let bye = if number % 2 == 0 { "bye" } else { "" };
                let line = format!("line {number} of {worker} {bye}\n");
                let mut stream = connect(address).await;
                stream.write_all(line.as_bytes()).await.unwrap();
                let mut answer = vec![0; line.len()];
                timeout(PATIENCE, stream.read_exact(&mut answer)).await.unwrap().unwrap();
                assert_eq!(answer, line.as_bytes());
                // The server ends every other one; from the rest the program just goes.
                if number % 2 == 0 {
                    assert_eq!(timeout(PATIENCE, stream.read(&mut [0])).await.unwrap().unwrap(), 0);
                }
            }
        });
    }
    drop(timeout(LONG, workers.join_all()).await.unwrap());
    let said = env.finish(up).await;
    assert_eq!(env.sessions().opened, 10 * EACH + 1);
    assert!(!said.contains("WARN") && !said.contains("ERROR") && !said.contains("waiting"), "{said}");
}

/// The gateway cuts its bytes like this; everything arrives all the same, down alone and both ways at once.
async fn framed(frames: &str, len: u64) {
    for echoing in [false, true] {
        let env = TestEnv::new();
        let server = if echoing { Server::echo().await } else { Server::bytes().await };
        env.forward("framed", 9000, server.address, &format!("frames = \"{frames}\""));
        let up = env.up(&[]);
        let stream = connect(up.address("framed").await).await;
        if echoing {
            echo(stream, len).await;
        } else {
            download(stream, len).await;
        }
        env.finish(up).await;
    }
}

#[tokio::test]
async fn frames_of_one_byte_lose_nothing() {
    framed("1 B", 256 << 10).await;
}

#[tokio::test]
async fn frames_of_64_kib_lose_nothing() {
    framed("64 KiB", 8 << 20).await;
}

#[tokio::test]
async fn frames_of_1_mib_lose_nothing() {
    framed("1 MiB", 8 << 20).await;
}

#[tokio::test]
async fn frames_of_4_mib_lose_nothing() {
    framed("4 MiB", 12 << 20).await;
}

#[tokio::test]
async fn a_message_too_large_to_hold_is_a_break_and_no_end() {
    let env = TestEnv::new();
    let server = Server::bytes().await;
    env.forward("framed", 9000, server.address, "frames = \"16 MiB\"");
    let up = env.up(&[]);
    let mut stream = connect(up.address("framed").await).await;
    stream.write_all(b"33554432\n").await.unwrap();
    let mut all = Vec::new();
    let end = timeout(LONG, stream.read_to_end(&mut all)).await.unwrap();
    assert_eq!(
        end.map_err(|error| error.kind()),
        Err(std::io::ErrorKind::ConnectionReset),
        "{} bytes",
        all.len()
    );
    Check::default().feed(&all);
    up.wait_line(|line| line.contains("WARN") && line.contains("reset"), "the reason of the break").await;
    env.finish(up).await;
}

#[tokio::test]
async fn natural_frames_lose_nothing() {
    framed("natural", 8 << 20).await;
}

#[tokio::test]
async fn fragments_with_pings_between_lose_nothing() {
    framed("fragments", 8 << 20).await;
}

#[tokio::test]
async fn a_slow_reader_gets_everything_before_the_end() {
    let env = TestEnv::new();
    let server = Server::bytes().await;
    env.forward("bytes", 9000, server.address, "");
    let up = env.up(&[]);
    let address = up.address("bytes").await;
    let mut readers = JoinSet::new();
    // Buffers on the way hold a few MiB: in some of these the end comes while the last bytes still wait for room.
    for size in (1..=32).map(|quarters| quarters << 18) {
        readers.spawn(async move {
            let mut stream = connect(address).await;
            stream.write_all(format!("{size}\n").as_bytes()).await.unwrap();
            let (mut check, mut buffer) = (Check::default(), vec![0; 16 << 10]);
            let slow = Instant::now() + Duration::from_secs(12);
            loop {
                match timeout(PATIENCE, stream.read(&mut buffer)).await.unwrap() {
                    Ok(0) => break,
                    Ok(read) => check.feed(&buffer[..read]),
                    Err(error) => return Err((size, check.len(), error.kind())),
                }
                if Instant::now() < slow {
                    sleep(Duration::from_millis(250)).await;
                }
            }
            assert_eq!(check.len(), size, "the end came early");
            Ok(())
        });
    }
    let cut_off: Vec<_> = readers.join_all().await.into_iter().filter_map(Result::err).collect();
    assert!(cut_off.is_empty(), "cut off although they read: {cut_off:?}");
    env.finish(up).await;
}
