//! The WebSocket's opening: what is offered, what is believed, and what a failure costs.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bastion::emulator::EntryKind;
use bastion::model::Disposition;
use bastion::model::{Fault, FaultAction as A, FaultPhase};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::stage::{
    ECHO, End, OWN, PATIENCE, Stage, drain, emulation, fault, pattern, receive, send, target,
};

fn times(action: A, times: u32) -> Fault {
    Fault { times, ..fault(FaultPhase::Upgrade, action) }
}

#[tokio::test]
async fn an_upgrade_offers_nothing_and_says_who_asks() {
    let stage = Stage::faulty(vec![]).await;
    let gateway = stage.gateway().await;
    drop(stage.open(&gateway, ECHO).await.unwrap());
    stage.settled(1).await;
    let upgrade = stage.entries(EntryKind::Upgrade).remove(0);
    let names: Vec<String> = upgrade.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    let expected =
        ["host", "upgrade", "connection", "sec-websocket-key", "sec-websocket-version", "user-agent"];
    assert_eq!(names, expected);
    let agent = upgrade.headers.iter().find(|(name, _)| name == "User-Agent").map(|(_, v)| v.as_str());
    assert_eq!(agent, Some("bastion/test (tunnel one)"));
    stage.innocent();
}

#[tokio::test]
async fn what_is_no_upgrade_is_refused_and_its_session_deleted() {
    for (action, code, words) in [
        (A::WrongAccept, "gateway-answer", "Sec-WebSocket-Accept"),
        (A::Status(400), "gateway-upgrade", "HTTP 400 in place of 101"),
        (A::Status(404), "gateway-upgrade", "HTTP 404 in place of 101"),
        (A::PlainStatus(502), "gateway-upgrade", "HTTP 502 in place of 101"),
        (A::EmptyStatus(503), "gateway-upgrade", "HTTP 503 in place of 101"),
        (A::EmptyStatus(200), "gateway-upgrade", "HTTP 200 in place of 101"),
        (A::Drop, "gateway-unreachable", "broke before it answered"),
        (A::Reset, "gateway-unreachable", "broke before it answered"),
    ] {
        let stage = Stage::faulty(vec![times(action.clone(), 1)]).await;
        let gateway = stage.gateway().await;
        let error = stage.open(&gateway, ECHO).await.err().unwrap();
        let text = format!(
            "{error}: {}",
            std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default()
        );
        assert!(text.contains(words), "{action:?}: {text}");
        assert_eq!((error.code(), error.disposition()), (code, Disposition::Retry), "{action:?}");
        stage.settled(1).await;
        stage.innocent();
    }
}

#[tokio::test]
async fn a_bare_101_with_the_right_key_is_an_upgrade() {
    let stage = Stage::faulty(vec![times(A::Bare101, 1)]).await;
    let gateway = stage.gateway().await;
    let mut stream = stage.open(&gateway, ECHO).await.unwrap();
    send(&mut stream, b"hello").await;
    let received = super::stage::recv(&mut stream).await;
    assert!(matches!(received, bastion::carrier::Received::Data(bytes) if bytes == "hello"));
}

#[tokio::test]
async fn a_failed_upgrade_is_tried_again_with_a_new_session() {
    for action in [A::WrongAccept, A::Status(400), A::Reset] {
        let stage = Stage::faulty(vec![]).await;
        let tunnel = stage.tunnel(ECHO).await;
        stage.emulator.inject(times(action, 2));
        let mut local = tunnel.connect().await;
        local.write_all(b"hello").await.unwrap();
        let mut answer = [0; 5];
        timeout(PATIENCE, local.read_exact(&mut answer)).await.unwrap().unwrap();
        assert_eq!(&answer, b"hello");
        drop(local);
        // The proof, two failures, each with a proof that it works again, and the one that worked; no websocketToken was
        // dialled twice.
        stage.settled(6).await;
        stage.innocent();
        tunnel.stop().await;
    }
}

#[tokio::test]
async fn a_redirected_upgrade_goes_nowhere_else() {
    let stranger = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let elsewhere = format!("https://localhost:{}/", stranger.local_addr().unwrap().port());
    let stage = Stage::faulty(vec![times(A::Redirect(307, elsewhere), 1)]).await;
    let gateway = stage.gateway().await;
    let error = stage.open(&gateway, ECHO).await.err().unwrap();
    assert_eq!(error.code(), "gateway-upgrade");
    stage.settled(1).await;
    assert!(timeout(Duration::from_millis(1), stranger.accept()).await.is_err(), "the stranger was called");
}

#[tokio::test]
async fn an_http_answer_where_a_frame_belongs_is_told_as_what_it_is() {
    let stage = Stage::faulty(vec![times(A::HttpAfter101, 1)]).await;
    let gateway = stage.gateway().await;
    let mut stream = stage.open(&gateway, ECHO).await.unwrap();
    send(&mut stream, b"hello").await;
    let (bytes, end) = receive(&mut stream).await;
    let broken = end.unwrap_err();
    assert_eq!(bytes, b"");
    assert_eq!(broken.code, "gateway-node");
    assert_eq!(broken.what, "a node of the bastion answered HTTP 400 in place of the first frame");
    assert_eq!(broken.unsent.as_deref(), Some(&b"hello"[..]));
    drop(stream);
    stage.settled(1).await;
}

/// A target that takes so many bytes, remembers what each of its connections sent, and ends.
async fn listening(
    size: usize,
) -> (std::net::SocketAddr, tokio::task::JoinSet<()>, Arc<Mutex<Vec<Vec<u8>>>>) {
    let heard: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let notes = Arc::clone(&heard);
    let (address, tasks) = target(move |mut stream| {
        let notes = Arc::clone(&notes);
        async move {
            let mut all = vec![0; size];
            if let Err(error) = stream.read_exact(&mut all).await {
                all = error.to_string().into_bytes();
            }
            drop(stream.write_all(b"heard").await);
            drop(stream.shutdown().await);
            // Whatever comes beyond would be too much.
            drop(stream.read_to_end(&mut all).await);
            notes.lock().unwrap().push(all);
        }
    })
    .await;
    (address, tasks, heard)
}

#[tokio::test]
async fn what_was_kept_is_sent_again_exactly_once() {
    for (size, failures) in [(0, 1), (1, 3), (10 * 1024, 2), (64 * 1024, 3)] {
        let (address, _target, heard) = listening(size).await;
        let stage = Stage::new(emulation(Some(address), vec![])).await;
        let tunnel = stage.tunnel(OWN).await;
        stage.emulator.inject(times(A::HttpAfter101, failures));
        let bytes = pattern(size);
        let mut local = tunnel.connect().await;
        local.write_all(&bytes).await.unwrap();
        let seen = timeout(PATIENCE, drain(local)).await.unwrap();
        assert_eq!(seen, (b"heard".to_vec(), End::Eof), "{size} bytes, {failures} failures");
        stage.settled(u64::from(failures) + 2).await;
        tunnel.stop().await;
        // What the target got, over all of its connections, is what was sent, once.
        let met = async {
            while heard.lock().unwrap().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, met).await.unwrap();
        assert!(*heard.lock().unwrap() == [bytes], "{size} bytes, {failures} failures");
        stage.innocent();
    }
}

#[tokio::test]
async fn three_replacements_are_enough() {
    let (address, _target, heard) = listening(5).await;
    let stage = Stage::new(emulation(Some(address), vec![])).await;
    let tunnel = stage.tunnel(OWN).await;
    stage.emulator.inject(times(A::HttpAfter101, 0));
    let mut local = tunnel.connect().await;
    local.write_all(b"hello").await.unwrap();
    assert_eq!(timeout(PATIENCE, drain(local)).await.unwrap(), (vec![], End::Reset));
    // The proof, the first, and three more.
    stage.settled(5).await;
    assert!(heard.lock().unwrap().is_empty());
    tunnel.stop().await;
    stage.innocent();
}

#[tokio::test]
async fn more_than_64_kib_is_not_sent_again() {
    let (address, _target, heard) = listening(5).await;
    let stage = Stage::new(emulation(Some(address), vec![])).await;
    let gateway = stage.gateway().await;
    stage.emulator.inject(times(A::HttpAfter101, 1));
    let mut stream = stage.open(&gateway, OWN).await.unwrap();
    let bytes = pattern(64 * 1024 + 1);
    for piece in bytes.chunks(4096) {
        // The page may break the connection while there still is something to send.
        let ready =
            std::future::poll_fn(|cx| bastion::carrier::ByteStream::poll_ready(&mut stream, cx)).await;
        if ready.is_ok() {
            drop(bastion::carrier::ByteStream::send(&mut stream, piece.to_vec().into()));
        }
    }
    let (_, end) = receive(&mut stream).await;
    let broken = end.unwrap_err();
    assert!(broken.unsent.is_none(), "{broken:?}");
    drop(stream);
    stage.settled(1).await;
    assert!(heard.lock().unwrap().is_empty());
}
