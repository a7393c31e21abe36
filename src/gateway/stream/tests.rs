//! The stream over an in-memory connection, with a hand-made gateway at the other end, in paused time.
#![expect(clippy::wildcard_enum_match_arm, reason = "a test expects one variant and shows any other")]

use std::future::poll_fn;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::timeout;

use super::*;

const S: Duration = Duration::from_secs(1);

async fn open(keepalive: Duration) -> (GatewayStream<DuplexStream>, DuplexStream) {
    let (ours, theirs) = duplex(1 << 20);
    (GatewayStream::new(ours, Vec::new(), keepalive, None).await, theirs)
}

async fn recv(stream: &mut GatewayStream<DuplexStream>) -> Received {
    timeout(S * 10_000, poll_fn(|cx| stream.poll_recv(cx))).await.expect("something is received")
}

async fn data(stream: &mut GatewayStream<DuplexStream>) -> Vec<u8> {
    match recv(stream).await {
        Received::Data(bytes) => bytes.to_vec(),
        other => panic!("{other:?} in place of data"),
    }
}

async fn broken(stream: &mut GatewayStream<DuplexStream>) -> Break {
    match recv(stream).await {
        Received::Broken(what) => what,
        other => panic!("{other:?} in place of a break"),
    }
}

async fn send(stream: &mut GatewayStream<DuplexStream>, bytes: &[u8]) {
    poll_fn(|cx| stream.poll_ready(cx)).await.unwrap();
    stream.send(Bytes::copy_from_slice(bytes)).unwrap();
    poll_fn(|cx| stream.poll_flush(cx)).await.unwrap();
}

/// Reads one client frame: opcode and unmasked payload.
async fn frame(gateway: &mut DuplexStream) -> (u8, Vec<u8>) {
    let (first, second) = (gateway.read_u8().await.unwrap(), gateway.read_u8().await.unwrap());
    assert!(first & 0x80 != 0, "never fragmented");
    assert!(first & 0x70 == 0 && second & 0x80 != 0, "no extensions, masked");
    let length = match second & 0x7f {
        126 => usize::from(gateway.read_u16().await.unwrap()),
        127 => panic!("longer than any message of ours"),
        short => usize::from(short),
    };
    let mut mask = [0; 4];
    gateway.read_exact(&mut mask).await.unwrap();
    let mut payload = vec![0; length];
    gateway.read_exact(&mut payload).await.unwrap();
    payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    (first & 0x0f, payload)
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_goes_out_in_whole_messages_of_at_most_4096_bytes() {
    let (mut stream, mut gateway) = open(Duration::ZERO).await;
    let sent: Vec<u8> = (0..100_000u32).map(|i| u8::try_from(i % 251).unwrap()).collect();
    send(&mut stream, &sent).await;
    let mut got = Vec::new();
    while got.len() < sent.len() {
        let (opcode, payload) = frame(&mut gateway).await;
        assert!(opcode == 2 && (1..=4096).contains(&payload.len()));
        got.extend(payload);
    }
    assert_eq!(got, sent);
}

#[tokio::test(start_paused = true)]
async fn fragments_pings_text_and_empty_messages_are_one_stream_of_bytes() {
    let (mut stream, mut gateway) = open(Duration::ZERO).await;
    gateway
        .write_all(b"\x02\x01a\x89\x02hi\x00\x01b\x80\x01c\x82\x00\x81\x01d\x82\x01e\x88\x02\x03\xe8")
        .await
        .unwrap();
    let mut got = Vec::new();
    let end = loop {
        match recv(&mut stream).await {
            Received::Data(bytes) => got.extend_from_slice(&bytes),
            other => break other,
        }
    };
    assert_eq!(got, b"abcde");
    assert!(matches!(end, Received::End { clean: true }), "{end:?}");
    assert_eq!(frame(&mut gateway).await, (10, b"hi".to_vec()), "the pong went out by itself");
}

#[tokio::test(start_paused = true)]
async fn ends_and_breaks_are_told_apart() {
    // Close 1000, close without a code, and the end of the connection between messages.
    for (bytes, clean) in
        [(&b"\x88\x02\x03\xe8"[..], true), (b"\x88\x00", true), (b"", false), (b"\x82\x01x", false)]
    {
        let (mut stream, mut gateway) = open(Duration::ZERO).await;
        gateway.write_all(bytes).await.unwrap();
        drop(gateway);
        if bytes.first() == Some(&0x82) {
            assert_eq!(data(&mut stream).await, b"x");
        }
        match recv(&mut stream).await {
            Received::End { clean: was } => assert_eq!(was, clean, "{bytes:?}"),
            other => panic!("{other:?} after {bytes:?}"),
        }
    }
    for (bytes, code) in [
        (&b"\x88\x02\x03\xf3"[..], "gateway-close"),
        (b"\x88\x06\x03\xf1busy", "gateway-close"),
        (b"\x82\x05hel", "gateway-cut"),
        (b"\x02\x01a", "gateway-cut"),
        (b"\x82", "gateway-cut"),
        (b"\x02\x01a\x88\x02\x03\xe8", "gateway-cut"),
        (b"\xc2\x01a", "gateway-protocol"),
        (b"\x82\x81mask?", "gateway-protocol"),
        (b"\x83\x01a", "gateway-protocol"),
        (b"\x8b\x01a", "gateway-protocol"),
        (b"\x80\x01a", "gateway-protocol"),
        (b"\x09\x01a", "gateway-protocol"),
        (b"\x81\x02\xff\xfe", "gateway-protocol"),
    ] {
        let (mut stream, mut gateway) = open(Duration::ZERO).await;
        gateway.write_all(bytes).await.unwrap();
        drop(gateway);
        let what = broken(&mut stream).await;
        assert_eq!(what.code, code, "{bytes:?}: {what}");
        assert!(what.unsent.is_none(), "{bytes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_http_answer_gives_back_what_was_sent() {
    let (mut stream, mut gateway) = open(Duration::ZERO).await;
    send(&mut stream, b"GET / HTTP/1.0\r\n\r\n").await;
    gateway.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n<html>").await.unwrap();
    let what = broken(&mut stream).await;
    assert_eq!(what.code, "gateway-node");
    assert_eq!(what.to_string(), "a node of the bastion answered HTTP 400 in place of the first frame");
    assert_eq!(what.unsent.unwrap(), b"GET / HTTP/1.0\r\n\r\n");
}

#[tokio::test(start_paused = true)]
async fn more_than_64_kib_is_not_kept_and_a_first_frame_ends_keeping() {
    let (mut stream, mut gateway) = open(Duration::ZERO).await;
    send(&mut stream, &[1; MAX_KEPT]).await;
    assert_eq!(stream.kept.as_ref().map(Vec::len), Some(MAX_KEPT));
    send(&mut stream, b"x").await;
    assert!(stream.kept.is_none());
    gateway.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    assert!(broken(&mut stream).await.unsent.is_none());

    let (mut stream, mut gateway) = open(Duration::ZERO).await;
    send(&mut stream, b"x").await;
    gateway.write_all(b"\x82\x01y").await.unwrap();
    data(&mut stream).await;
    assert!(stream.kept.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_stops_answering_is_noticed_and_a_quiet_one_is_not() {
    let (mut stream, mut gateway) = open(S * 30).await;
    let start = Instant::now();
    let answering = async {
        for _ in 0..5 {
            let (opcode, payload) = frame(&mut gateway).await;
            assert_eq!(opcode, 9);
            gateway.write_all(&[0x8a, u8::try_from(payload.len()).unwrap()]).await.unwrap();
            gateway.write_all(&payload).await.unwrap();
        }
        // From here on nobody answers.
        std::future::pending::<()>().await;
    };
    let what = tokio::select! { what = broken(&mut stream) => what, () = answering => unreachable!() };
    assert_eq!(what.code, "gateway-silent");
    assert_eq!(start.elapsed().as_secs(), 5 * 30 + 90);

    let (mut stream, gateway) = open(S * 30).await;
    let hours = timeout(S * 7200, poll_fn(|cx| stream.poll_recv(cx))).await;
    assert!(hours.is_err(), "a gateway that never answered pings is not dead: {hours:?}");
    drop(gateway);
}

/// Answers one ping: from now on the link's silence means something.
async fn answered(stream: &mut GatewayStream<DuplexStream>, gateway: &mut DuplexStream) {
    let answering = async {
        assert_eq!(frame(gateway).await.0, 9);
        gateway.write_all(&[0x8a, 0]).await.unwrap();
        tokio::time::sleep(S / 1000).await;
    };
    tokio::select! { what = recv(stream) => panic!("{what:?}"), () = answering => {} }
}

#[tokio::test(start_paused = true)]
async fn a_process_that_was_stopped_asks_before_it_believes_a_link_dead() {
    for (keepalive, stopped) in [(S / 2, S * 5), (S * 30, S * 120)] {
        let (mut stream, mut gateway) = open(keepalive).await;
        answered(&mut stream, &mut gateway).await;
        // Nobody polls: SIGSTOP, or a laptop that sleeps.
        tokio::time::sleep(stopped).await;
        let answering = async {
            loop {
                let (opcode, payload) = frame(&mut gateway).await;
                assert_eq!(opcode, 9);
                gateway.write_all(&[0x8a, u8::try_from(payload.len()).unwrap()]).await.unwrap();
                gateway.write_all(&payload).await.unwrap();
            }
        };
        let quiet = timeout(keepalive * 20, poll_fn(|cx| stream.poll_recv(cx)));
        tokio::select! {
            quiet = quiet => assert!(quiet.is_err(), "after {stopped:?}: {quiet:?}"),
            () = answering => unreachable!(),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_ping_that_could_not_be_sent_is_no_ping_without_an_answer() {
    let (ours, mut gateway) = duplex(16 * 1024);
    let mut stream = GatewayStream::new(ours, Vec::new(), S * 30, None).await;
    answered(&mut stream, &mut gateway).await;
    // The target stops reading: the gateway takes nothing, and has nothing to say.
    for _ in 0..2 {
        stream.send(Bytes::from(vec![7; 60_000])).unwrap();
    }
    let stuck = poll_fn(|cx| {
        drop(stream.poll_ready(cx));
        stream.poll_recv(cx)
    });
    let stuck = timeout(S * 600, stuck).await;
    assert!(stuck.is_err(), "{stuck:?}");
    let reading = async {
        let mut all = Vec::new();
        while all.len() < 120_000 {
            match frame(&mut gateway).await {
                (2, payload) => all.extend(payload),
                (9, _) => gateway.write_all(&[0x8a, 0]).await.unwrap(),
                other => panic!("{other:?}"),
            }
        }
        all
    };
    let going_on = poll_fn(|cx| {
        drop(stream.poll_flush(cx));
        stream.poll_recv(cx)
    });
    let all = tokio::select! { what = going_on => panic!("{what:?}"), all = reading => all };
    assert_eq!(all, vec![7; 120_000]);
}

#[tokio::test(start_paused = true)]
async fn our_goodbye_is_close_1000_and_bounded() {
    let (mut stream, mut gateway) = open(Duration::ZERO).await;
    let start = Instant::now();
    send(&mut stream, b"last").await;
    poll_fn(|cx| stream.poll_close(cx, Closing::Done)).await;
    assert_eq!(frame(&mut gateway).await, (2, b"last".to_vec()));
    assert_eq!(frame(&mut gateway).await, (9, b"end".to_vec()), "its answer says that all was taken");
    assert_eq!(frame(&mut gateway).await, (8, b"\x03\xe8".to_vec()));
    assert!(start.elapsed() <= FAREWELL, "a gateway that does not answer holds nobody up");

    let (mut stream, mut gateway) = open(Duration::ZERO).await;
    gateway.write_all(b"\x88\x02\x03\xe8").await.unwrap();
    recv(&mut stream).await;
    poll_fn(|cx| stream.poll_close(cx, Closing::Done)).await;
    assert_eq!(frame(&mut gateway).await, (8, b"\x03\xe8".to_vec()), "the gateway's close is answered");
}
