//! Uploads to a target that reads slowly, or not for a while: nothing is given up that only takes its time.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bastion::carrier::{ByteStream as _, Closing};
use bastion::relay::{self, Counts, Outcome, Relay};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::raw::{self, Frames, KEEPALIVE};
use super::stage::{End, OWN, PATIENCE, Stage, Stream, drain, emulation, hurry, pattern};

const MIB: usize = 1 << 20;
/// First bytes of frames, as the client sends them and as it is sent them.
const BYTES: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

/// What a gateway saw of an upload, and when.
struct Seen {
    bytes: Vec<u8>,
    last_byte: Instant,
    /// The ping that asks whether all of it has arrived.
    asked: Option<Instant>,
    close: Vec<u8>,
}

/// A gateway whose target takes so many bytes a second.
async fn slowly(gateway: &mut Frames, rate: usize) -> Seen {
    let mut seen = Seen { bytes: Vec::new(), last_byte: Instant::now(), asked: None, close: Vec::new() };
    loop {
        let (first, _, payload) = gateway.next().await;
        match first {
            BYTES => {
                sleep(
                    Duration::from_secs(1) * u32::try_from(payload.len()).unwrap()
                        / u32::try_from(rate).unwrap(),
                )
                .await;
                seen.bytes.extend(payload);
                seen.last_byte = Instant::now();
            }
            PING => {
                if payload == b"end" {
                    seen.asked = Some(Instant::now());
                }
                gateway.send(PONG, &payload).await;
            }
            CLOSE => {
                gateway.send(CLOSE, &payload).await;
                seen.close = payload;
                return seen;
            }
            other => panic!("a frame that begins with {other:#x}"),
        }
    }
}

/// `nc -N`: sends all of it and its end, and waits for the other one. When that came.
async fn upload(mut local: TcpStream, bytes: &[u8]) -> (End, Instant) {
    local.write_all(bytes).await.unwrap();
    local.shutdown().await.unwrap();
    let (back, end) = drain(local).await;
    assert_eq!(back, b"");
    (end, Instant::now())
}

#[tokio::test]
async fn an_upload_is_over_when_the_target_has_it_and_not_when_the_kernel_does() {
    // 51 s for the target; the kernels on the way hold all of it at once.
    let (bytes, rate) = (pattern(MIB), 20_000);
    let (mut stream, mut gateway, _tasks) = raw::opened(KEEPALIVE).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let program = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    let mut relay = Relay::new(accepted, Arc::new(Counts::default()));
    let relaying = async {
        let outcome = relay.run(&mut stream, None).await;
        assert!(matches!(outcome, Outcome::LocalEnd), "{outcome:?}");
        tokio::join!(relay.finish(&outcome), relay::close(&mut stream, Closing::Done));
    };
    // By then the link has answered a ping, and what it does not answer means something.
    let uploading = async {
        sleep(KEEPALIVE + Duration::from_secs(1)).await;
        upload(program, &bytes).await
    };
    let all = async { tokio::join!(uploading, slowly(&mut gateway, rate), relaying) };
    let ((end, ended), seen, ()) = tokio::select! {
        all = timeout(PATIENCE * 60, all) => all.expect("an end"),
        () = hurry(20) => unreachable!(),
    };
    assert!(seen.bytes == bytes, "{} bytes", seen.bytes.len());
    assert_eq!((end, &*seen.close), (End::Eof, &b"\x03\xe8"[..]));
    assert!(ended > seen.last_byte, "an end {:?} before the last byte", seen.last_byte - ended);
    // The target has all of it, and its time to answer begins only now.
    let asked = seen.asked.expect("a ping behind the last byte");
    assert!(asked >= seen.last_byte);
    let silence = ended - asked;
    assert!((29..=35).contains(&silence.as_secs()), "{silence:?}");
}

#[tokio::test]
async fn a_slow_target_gets_every_byte_and_then_an_end() {
    let bytes = pattern(4 * MIB);
    let listener = TcpSocket::new_v4().unwrap();
    listener.set_recv_buffer_size(32 * 1024).unwrap();
    listener.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = listener.listen(8).unwrap();
    let stage = Stage::new(emulation(Some(listener.local_addr().unwrap()), vec![])).await;
    let tunnel = stage.tunnel(OWN).await;
    let (sender, mut heard) = mpsc::channel(1);
    let target = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut all, mut buffer, mut last) = (Vec::new(), vec![0; 8192], Instant::now());
        loop {
            match stream.read(&mut buffer).await {
                Ok(0) => break sender.send((all, last, Ok(()))).await.unwrap(),
                Ok(n) => {
                    all.extend_from_slice(&buffer[..n]);
                    last = Instant::now();
                    sleep(Duration::from_secs(1) * u32::try_from(n).unwrap() / 300_000).await;
                }
                Err(error) => break sender.send((all, last, Err(error.kind()))).await.unwrap(),
            }
        }
    };
    let both = async { tokio::join!(upload(tunnel.connect().await, &bytes), target) };
    let ((end, ended), ()) = tokio::select! {
        both = timeout(PATIENCE * 60, both) => both.expect("an end"),
        () = hurry(20) => unreachable!(),
    };
    tokio::time::resume();
    let (all, last, target_end) = heard.recv().await.unwrap();
    assert!(all == bytes, "{} bytes, then {target_end:?}", all.len());
    assert_eq!((target_end, end), (Ok(()), End::Eof));
    assert!(ended > last, "an end {:?} before the last byte", last - ended);
    stage.settled(2).await;
    tunnel.stop().await;
    stage.innocent();
}

/// Sends all of it as fast as it is taken, and then goes on listening.
async fn pour(stream: &mut Stream, bytes: &[u8]) {
    let mut pieces = bytes.chunks(16 * 1024);
    std::future::poll_fn(|cx| -> Poll<()> {
        while let Poll::Ready(ready) = stream.poll_ready(cx) {
            ready.unwrap();
            let Some(piece) = pieces.next() else { break };
            stream.send(piece.to_vec().into()).unwrap();
        }
        if let Poll::Ready(flushed) = stream.poll_flush(cx) {
            flushed.unwrap();
        }
        match stream.poll_recv(cx) {
            Poll::Ready(received) => panic!("{received:?}"),
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
}

#[tokio::test]
async fn a_target_that_does_not_read_for_a_while_is_not_dead() {
    let (mut stream, mut gateway, _tasks) = raw::opened(Duration::from_millis(200)).await;
    let bytes = pattern(16 * MIB);
    // The link answers a ping, so from now on its silence means something …
    let answered = async {
        let (first, _, payload) = gateway.next().await;
        assert_eq!(first, PING);
        gateway.send(PONG, &payload).await;
    };
    tokio::select! {
        () = pour(&mut stream, b"") => unreachable!(),
        answered = timeout(PATIENCE, answered) => answered.unwrap(),
    }
    // … but not that of a gateway that can be asked nothing: ten intervals without room for a ping.
    let play = async {
        sleep(Duration::from_secs(2)).await;
        let mut all = Vec::with_capacity(bytes.len());
        while all.len() < bytes.len() {
            let (first, _, payload) = gateway.next().await;
            match first {
                BYTES => all.extend(payload),
                PING => gateway.send(PONG, &payload).await,
                other => panic!("a frame that begins with {other:#x}"),
            }
        }
        assert!(all == bytes);
    };
    tokio::select! {
        () = pour(&mut stream, &bytes) => unreachable!(),
        played = timeout(PATIENCE * 2, play) => played.unwrap(),
    }
}
