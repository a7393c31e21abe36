//! The stream of bytes: whole frames up, whatever comes down, and bounded memory both ways.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bastion::carrier::{ByteStream as _, Received};
use bastion::emulator::EntryKind;
use bastion::model::{Fault, FaultAction as A, FaultPhase, Frames};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::time::{Instant, timeout};

use super::stage::{
    ECHO, End, OWN, PATIENCE, Stage, close, destination, drain, emulation, fault, options, pattern, receive,
    recv, send, target,
};

const MIB: usize = 1 << 20;

#[tokio::test]
async fn a_burst_goes_up_in_small_whole_messages() {
    let stage = Stage::faulty(vec![]).await;
    let gateway = stage.gateway().await;
    let mut stream = stage.open(&gateway, ECHO).await.unwrap();
    let bytes = pattern(MIB);
    let mut sent = 0;
    let mut back = Vec::new();
    while back.len() < bytes.len() {
        // All of it at once, as far as the stream takes it.
        std::future::poll_fn(|cx| {
            while sent < bytes.len() && stream.poll_ready(cx).is_ready() {
                let end = bytes.len().min(sent + 64 * 1024);
                stream.send(bytes[sent..end].to_vec().into()).unwrap();
                sent = end;
            }
            drop(stream.poll_flush(cx));
            match stream.poll_recv(cx) {
                std::task::Poll::Ready(Received::Data(bytes)) => {
                    back.extend_from_slice(&bytes);
                    std::task::Poll::Ready(())
                }
                std::task::Poll::Ready(end) => panic!("{end:?}"),
                std::task::Poll::Pending => std::task::Poll::Pending,
            }
        })
        .await;
    }
    assert!(back == bytes);
    close(&mut stream).await;
    drop(stream);
    stage.settled(1).await;
    // More than 4096 bytes would be a warning; fragments, masks, reserved bits and more than 8192 a violation.
    stage.innocent();
    let streams = stage.seen(EntryKind::Stream, 1).await;
    assert_eq!((streams[0].bytes_up, streams[0].bytes_down), (MIB as u64, MIB as u64));
}

#[tokio::test]
async fn messages_of_every_shape_are_one_stream_of_bytes() {
    for (frames, size) in [
        (Frames::Natural, MIB),
        (Frames::Size(1), 20_000),
        (Frames::Size(125), 100_000),
        (Frames::Size(126), 100_000),
        (Frames::Size(65_536), MIB),
        (Frames::Size(MIB), 3 * MIB + 5),
        (Frames::Fragments, MIB + 1),
    ] {
        let bytes = Arc::new(pattern(size));
        let (address, _target) = target({
            let bytes = Arc::clone(&bytes);
            move |mut stream| {
                let bytes = Arc::clone(&bytes);
                async move {
                    drop(stream.write_all(&bytes).await);
                }
            }
        })
        .await;
        let mut emulation = emulation(Some(address), vec![]);
        emulation.frames = frames;
        let stage = Stage::new(emulation).await;
        let tunnel = stage.tunnel(OWN).await;
        let (seen, end) = timeout(PATIENCE, drain(tunnel.connect().await)).await.unwrap();
        assert!(seen == *bytes, "{frames:?}: {} of {size} bytes", seen.len());
        assert_eq!(end, End::Eof, "{frames:?}");
        stage.settled(2).await;
        stage.innocent();
        tunnel.stop().await;
    }
}

#[tokio::test]
async fn text_is_bytes() {
    let stage = Stage::faulty(vec![fault(FaultPhase::Stream, A::Text)]).await;
    let gateway = stage.gateway().await;
    let mut stream = stage.open(&gateway, ECHO).await.unwrap();
    send(&mut stream, b"plain words").await;
    let Received::Data(bytes) = recv(&mut stream).await else { panic!("no bytes") };
    assert_eq!(bytes, "plain words");
}

#[tokio::test]
async fn crooked_frames_are_told_as_what_they_are() {
    for (action, words) in
        [(A::ReservedBit, "reserved bits"), (A::Masked, "masked frame"), (A::UnknownOpcode, "unknown type")]
    {
        let stage =
            Stage::faulty(vec![Fault { after: 4, ..fault(FaultPhase::Stream, action.clone()) }]).await;
        let gateway = stage.gateway().await;
        let mut stream = stage.open(&gateway, ECHO).await.unwrap();
        send(&mut stream, b"12345678").await;
        let (bytes, end) = receive(&mut stream).await;
        let broken = end.unwrap_err();
        assert_eq!(bytes, b"1234", "{action:?}: every byte before it, none of it");
        assert_eq!(broken.code, "gateway-protocol");
        assert!(broken.what.contains(words), "{action:?}: {broken}");
        drop(stream);
        stage.settled(1).await;
    }
}

#[tokio::test]
async fn sixty_four_mebibytes_arrive_as_they_were_sent_both_ways() {
    const SIZE: usize = 64 * MIB;
    let bytes = Arc::new(pattern(SIZE));
    let expected = Arc::clone(&bytes);
    let (address, _target) = target(move |mut stream| {
        let bytes = Arc::clone(&expected);
        async move {
            let (mut from, mut to) = stream.split();
            let up = async {
                let mut heard = vec![0; SIZE];
                from.read_exact(&mut heard).await.unwrap();
                heard == *bytes
            };
            let (same, sent) = tokio::join!(up, to.write_all(&bytes));
            sent.unwrap();
            to.write_all(if same { b"same" } else { b"DIFF" }).await.unwrap();
        }
    })
    .await;
    let stage = Stage::new(emulation(Some(address), vec![])).await;
    let tunnel = stage.tunnel(OWN).await;
    let mut local = tunnel.connect().await;
    let (mut from, mut to) = local.split();
    let mut back = Vec::with_capacity(SIZE + 4);
    let both = async { tokio::join!(to.write_all(&bytes), from.read_to_end(&mut back)) };
    let (sent, read) = timeout(PATIENCE * 6, both).await.expect("64 MiB in time");
    sent.unwrap();
    read.unwrap();
    assert_eq!(back.split_off(SIZE), b"same");
    assert!(back == *bytes);
    drop(local);
    stage.settled(2).await;
    stage.innocent();
    tunnel.stop().await;
}

/// A target that sends without end and counts what it could get rid of.
async fn fountain() -> (std::net::SocketAddr, tokio::task::JoinSet<()>, Arc<AtomicU64>) {
    let sent = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&sent);
    let (address, tasks) = target(move |mut stream| {
        let count = Arc::clone(&count);
        async move {
            let bytes = vec![7; 64 * 1024];
            while let Ok(n) = stream.write(&bytes).await {
                count.fetch_add(n as u64, Ordering::Relaxed);
            }
        }
    })
    .await;
    (address, tasks, sent)
}

/// Waits until a counter has not moved for a while; where it stands then.
async fn standstill(counter: &AtomicU64) -> u64 {
    let still = async {
        loop {
            let before = counter.load(Ordering::Relaxed);
            // Nobody takes anything for as long as it takes to be sure that this is no pause of a busy machine's.
            let mut pauses = 0;
            while counter.load(Ordering::Relaxed) == before && pauses < 6 {
                tokio::time::sleep(Duration::from_millis(300)).await;
                pauses += 1;
            }
            if before > 0 && counter.load(Ordering::Relaxed) == before {
                return before;
            }
        }
    };
    timeout(PATIENCE * 3, still).await.expect("it goes on without end")
}

#[tokio::test]
async fn a_local_program_that_does_not_read_stops_the_target() {
    let (address, _target, sent) = fountain().await;
    let stage = Stage::new(emulation(Some(address), vec![])).await;
    let tunnel = stage.tunnel(OWN).await;
    let mut local = tunnel.connect().await;
    let stands = standstill(&sent).await;
    // Kernel buffers of three connections, the emulator's and ours; not what the target has to give.
    assert!(stands < 64 << 20, "{stands} bytes were taken for a program that reads none");
    // It reads again, and the bytes come again.
    let mut some = vec![0; 8 * MIB];
    timeout(PATIENCE, local.read_exact(&mut some)).await.unwrap().unwrap();
    assert!(some.iter().all(|b| *b == 7));
    drop(local);
    stage.settled(2).await;
    tunnel.stop().await;
    stage.innocent();
}

#[tokio::test]
async fn a_target_that_does_not_read_stops_the_local_program() {
    let (address, _target) = target(|mut stream| async move {
        // It takes one byte, and then nothing until it is told to.
        drop(stream.read_u8().await);
        std::future::pending::<()>().await;
    })
    .await;
    let stage = Stage::new(emulation(Some(address), vec![])).await;
    let tunnel = stage.tunnel(OWN).await;
    let mut local = tunnel.connect().await;
    let sent = AtomicU64::new(0);
    let bytes = vec![1; 64 * 1024];
    let pour = async {
        while let Ok(n) = local.write(&bytes).await {
            sent.fetch_add(n as u64, Ordering::Relaxed);
        }
    };
    let stands = tokio::select! {
        () = pour => panic!("the connection ended"),
        stands = standstill(&sent) => stands,
    };
    assert!(stands < 64 << 20, "{stands} bytes were taken for a target that reads none");
    // The local program vanishes; nothing of this keeps the session alive.
    local.set_zero_linger().unwrap();
    drop(local);
    stage.settled(2).await;
    tunnel.stop().await;
}

#[tokio::test]
async fn a_quiet_link_is_asked_and_is_not_dead_for_being_quiet() {
    let (address, _target) = target(|mut stream| async move {
        let mut one = [0];
        while stream.read_exact(&mut one).await.is_ok() && stream.write_all(&one).await.is_ok() {}
    })
    .await;
    for faults in [vec![], vec![fault(FaultPhase::Stream, A::NoPong)]] {
        let stage = Stage::new(emulation(Some(address), faults)).await;
        let gateway = stage.gateway().await;
        let options = bastion::carrier::OpenOptions { keepalive: Duration::from_millis(100), ..options() };
        let mut stream = gateway.open(&destination(OWN), &*stage.tokens, &options).await.unwrap();
        // Ten intervals of silence, answered or never answered.
        let quiet = timeout(Duration::from_secs(1), std::future::poll_fn(|cx| stream.poll_recv(cx))).await;
        assert!(quiet.is_err(), "{quiet:?}");
        send(&mut stream, b"x").await;
        assert!(matches!(recv(&mut stream).await, Received::Data(bytes) if bytes == "x"));
        stage.innocent();
    }
}

#[tokio::test]
async fn a_link_that_stops_answering_is_dead() {
    let stage = Stage::faulty(vec![]).await;
    let gateway = stage.gateway().await;
    let options = bastion::carrier::OpenOptions { keepalive: Duration::from_millis(200), ..options() };
    let mut stream = gateway.open(&destination(ECHO), &*stage.tokens, &options).await.unwrap();
    // It answers a ping …
    let quiet = timeout(Duration::from_millis(500), std::future::poll_fn(|cx| stream.poll_recv(cx))).await;
    assert!(quiet.is_err(), "{quiet:?}");
    // … and then falls silent for good.
    stage.emulator.inject(fault(FaultPhase::Stream, A::Silence));
    let started = Instant::now();
    let Received::Broken(broken) = recv(&mut stream).await else { panic!("it lives") };
    assert_eq!(broken.code, "gateway-silent");
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    drop(stream);
    stage.settled(1).await;
}

#[tokio::test]
async fn a_slow_reader_outlives_the_gateways_patience() {
    // The gateway drops a client that takes nothing for 20 s: while the local side is stuck we still take a little.
    let (address, _target, _) = fountain().await;
    let stage = Stage::new(emulation(Some(address), vec![])).await;
    let tunnel = stage.tunnel(OWN).await;
    // Its buffer in the kernel stays small, whatever the system makes of others.
    let local = TcpSocket::new_v4().unwrap();
    local.set_recv_buffer_size(64 * 1024).unwrap();
    let mut local = local.connect(tunnel.address).await.unwrap();
    tokio::time::sleep(Duration::from_secs(26)).await;
    let mut some = vec![0; 16 * MIB];
    timeout(PATIENCE, local.read_exact(&mut some)).await.unwrap().unwrap();
    assert_eq!(stage.counts().streams, 1, "the gateway gave up: {:#?}", stage.entries(EntryKind::Stream));
    drop(local);
    stage.settled(2).await;
    tunnel.stop().await;
}
