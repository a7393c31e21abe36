//! Probes against a target that does what a script says, in paused time.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use tokio::time::Instant;

use super::*;
use crate::carrier::Closing;

/// A target that says this, and then nothing more.
struct Scripted {
    says: VecDeque<Received>,
    heard: Vec<u8>,
}

impl ByteStream for Scripted {
    fn poll_recv(&mut self, _: &mut Context<'_>) -> Poll<Received> {
        self.says.pop_front().map_or(Poll::Pending, Poll::Ready)
    }

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Break>> {
        Poll::Ready(Ok(()))
    }

    fn send(&mut self, bytes: Bytes) -> Result<(), Break> {
        self.heard.extend_from_slice(&bytes);
        Ok(())
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Break>> {
        Poll::Ready(Ok(()))
    }

    fn poll_settled(&mut self, _: &mut Context<'_>) -> Poll<bool> {
        Poll::Ready(true)
    }

    fn poll_close(&mut self, _: &mut Context<'_>, _: Closing) -> Poll<()> {
        Poll::Ready(())
    }
}

fn says(bytes: &[u8]) -> Received {
    Received::Data(Bytes::copy_from_slice(bytes))
}

fn ended() -> Received {
    Received::End { clean: true }
}

fn broken(code: &'static str) -> Received {
    Received::Broken(Break::new(code, "it broke"))
}

fn http() -> Probe {
    Probe::Http("/health".into())
}

struct Came {
    /// The code of what is wrong, or `shown`.
    code: String,
    what: String,
    broken: bool,
    seconds: u64,
    heard: Vec<u8>,
}

async fn probe(probe: &Probe, says: impl IntoIterator<Item = Received>) -> Came {
    let mut stream = Scripted { says: says.into_iter().collect(), heard: Vec::new() };
    let begun = Instant::now();
    let Shown { result, broken } = ask(probe, &mut stream, "port 22 of vm").await;
    let seconds = begun.elapsed().as_secs();
    let (code, what) = match result {
        Ok(()) => ("shown".to_owned(), String::new()),
        Err(reason) => (reason.code.into_owned(), reason.what),
    };
    Came { code, what, broken, seconds, heard: stream.heard }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_nobody_minds_for_a_moment_is_taken() {
    let came = probe(&Probe::Connect, []).await;
    assert_eq!((&*came.code, came.seconds, came.heard.len()), ("shown", 1, 0));
    let came = probe(&Probe::Connect, [says(b"hello")]).await;
    assert_eq!((&*came.code, came.seconds), ("shown", 0));
    for (gone, code, is_broken) in [
        (ended(), "target-refused", false),
        (broken("gateway-close"), "target-refused", true),
        (broken("gateway-cut"), "gateway-cut", true),
    ] {
        let came = probe(&Probe::Connect, [gone]).await;
        assert_eq!((&*came.code, came.broken), (code, is_broken));
    }
}

#[tokio::test(start_paused = true)]
async fn a_banner_is_any_byte_in_time() {
    let came = probe(&Probe::Banner, [says(b"S")]).await;
    assert_eq!((&*came.code, came.seconds, came.heard.len()), ("shown", 0, 0));
    let came = probe(&Probe::Banner, []).await;
    assert_eq!((&*came.code, came.seconds, came.broken), ("target-silent", 10, false));
    assert_eq!(came.what, "not one byte came from port 22 of vm in 10 s");
    let came = probe(&Probe::Banner, [broken("gateway-close")]).await;
    assert_eq!(came.what, "the connection to port 22 of vm was refused: it broke");
}

#[tokio::test(start_paused = true)]
async fn tls_is_a_server_hello() {
    let hello = [22, 3, 3, 0, 90, 2, 0, 0, 86];
    for cut in 1..hello.len() {
        let (one, two) = hello.split_at(cut);
        let came = probe(&Probe::Tls, [says(one), says(two)]).await;
        assert_eq!(came.code, "shown", "{}", came.what);
        assert_eq!(came.heard[..2], [22, 3], "a handshake record");
        assert_eq!(came.heard[5], 1, "a ClientHello");
        let name = b"127.0.0.1".as_slice();
        assert!(!came.heard.windows(name.len()).any(|part| part == name), "no host's name");
    }
    for (answer, what) in [
        (&[21, 3, 3, 0, 2, 2, 40][..], "answered the TLS ClientHello with the alert 40"),
        (b"SSH-2.0-OpenSSH", "answered the TLS ClientHello with something that is not TLS"),
        (&[22, 3, 3, 0, 9, 11], "answered the TLS ClientHello with something that is not TLS"),
    ] {
        let came = probe(&Probe::Tls, [says(answer)]).await;
        assert_eq!((&*came.code, came.what), ("probe-failed", format!("port 22 of vm {what}")));
    }
    assert_eq!(probe(&Probe::Tls, []).await.code, "target-silent");
    assert_eq!(probe(&Probe::Tls, [ended()]).await.code, "target-refused");
    let came = probe(&Probe::Tls, [says(&hello[..3]), ended()]).await;
    assert_eq!(came.what, "port 22 of vm began an answer and did not end it");
    assert_eq!(probe(&Probe::Tls, [says(&hello[..3])]).await.code, "target-silent");
}

#[tokio::test(start_paused = true)]
async fn http_is_any_status_below_500() {
    for answer in ["HTTP/1.1 200 OK\r\n", "HTTP/1.0 302 Found\r\n", "HTTP/1.1 401 \r\n", "HTTP/1.1 404\r\n"] {
        let came = probe(&http(), answer.bytes().map(|byte| says(&[byte]))).await;
        assert_eq!(came.code, "shown", "{answer}: {}", came.what);
        let asked = String::from_utf8(came.heard).unwrap();
        assert!(asked.starts_with("GET /health HTTP/1.1\r\nHost: localhost\r\n"), "{asked}");
        assert!(asked.ends_with("\r\nConnection: close\r\n\r\n"), "{asked}");
    }
    for (answer, what) in [
        ("HTTP/1.1 500 Oh\r\n", "answered with HTTP status 500"),
        ("HTTP/1.1 503 Later", "answered with HTTP status 503"),
        ("HTTP/1.1 200OK       ", "answered with a first line that HTTP/1.1 does not have"),
        ("HTTP/2 200 OK", "answered with something that is not HTTP/1.1"),
        ("SSH", "answered with something that is not HTTP/1.1"),
    ] {
        let came = probe(&http(), [says(answer.as_bytes())]).await;
        assert_eq!((&*came.code, came.what), ("probe-failed", format!("port 22 of vm {what}")), "{answer}");
    }
    assert_eq!(probe(&http(), [says(b"HTTP/1.1 20")]).await.code, "target-silent");
}
