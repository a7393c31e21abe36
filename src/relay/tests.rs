//! The relay between a real local connection and a scripted remote.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::*;

const S: Duration = Duration::from_secs(1);

/// A remote that says what it is told to, and remembers what it is told.
struct Scripted {
    says: mpsc::Receiver<Received>,
    hears: mpsc::UnboundedSender<Bytes>,
    /// How much was taken from it.
    taken: Arc<AtomicU64>,
    closed: Option<Closing>,
}

impl ByteStream for Scripted {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
        let Some(said) = ready!(self.says.poll_recv(cx)) else { return Poll::Pending };
        if let Received::Data(bytes) = &said {
            self.taken.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
        Poll::Ready(said)
    }

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Break>> {
        Poll::Ready(Ok(()))
    }

    fn send(&mut self, bytes: Bytes) -> Result<(), Break> {
        self.hears.send(Bytes::copy_from_slice(&bytes)).map_err(|_| Break::new("test", "nobody listens"))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Break>> {
        Poll::Ready(Ok(()))
    }

    fn poll_settled(&mut self, _: &mut Context<'_>) -> Poll<bool> {
        Poll::Ready(true)
    }

    fn poll_close(&mut self, _: &mut Context<'_>, why: Closing) -> Poll<()> {
        self.closed = Some(why);
        Poll::Ready(())
    }
}

struct Stage {
    program: TcpStream,
    relay: Relay,
    remote: Scripted,
    says: mpsc::Sender<Received>,
    heard: mpsc::UnboundedReceiver<Bytes>,
    taken: Arc<AtomicU64>,
}

#[expect(clippy::disallowed_methods, reason = "a test's ear may be as long as it likes")]
async fn stage() -> Stage {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let program = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (local, _) = listener.accept().await.unwrap();
    let (says, script) = mpsc::channel(100_000);
    let (hears, heard) = mpsc::unbounded_channel();
    let taken = Arc::new(AtomicU64::new(0));
    let remote = Scripted { says: script, hears, taken: Arc::clone(&taken), closed: None };
    Stage { program, relay: Relay::new(local, Arc::default()), remote, says, heard, taken }
}

fn data(length: usize) -> Received {
    Received::Data(Bytes::from(vec![7; length]))
}

/// Reads to the end: how many bytes, and how it ended.
async fn read_all(mut program: TcpStream) -> (usize, Result<(), io::ErrorKind>) {
    let (mut total, mut buffer) = (0, vec![0; 64 * 1024]);
    loop {
        match program.read(&mut buffer).await {
            Ok(0) => return (total, Ok(())),
            Ok(n) => total += n,
            Err(error) => return (total, Err(error.kind())),
        }
    }
}

async fn run_and_finish(mut relay: Relay, mut remote: Scripted) -> Outcome {
    let outcome = relay.run(&mut remote, None).await;
    relay.finish(&outcome).await;
    outcome
}

#[tokio::test]
async fn an_end_comes_after_every_byte() {
    let Stage { program, relay, remote, says, heard: _heard, .. } = stage().await;
    for _ in 0..500 {
        says.send(data(8192)).await.unwrap();
    }
    says.send(Received::End { clean: true }).await.unwrap();
    let (outcome, read) = tokio::join!(run_and_finish(relay, remote), read_all(program));
    assert!(matches!(outcome, Outcome::RemoteEnd { clean: true }));
    assert_eq!(read, (500 * 8192, Ok(())));
}

#[tokio::test]
async fn a_break_is_a_reset_after_every_byte() {
    for messages in [0, 1, 500] {
        let Stage { program, relay, remote, says, heard: _heard, .. } = stage().await;
        for _ in 0..messages {
            says.send(data(8192)).await.unwrap();
        }
        says.send(Received::Broken(Break::new("test", "it broke"))).await.unwrap();
        let (_, read) = tokio::join!(run_and_finish(relay, remote), read_all(program));
        assert_eq!(read, (messages * 8192, Err(io::ErrorKind::ConnectionReset)), "{messages}");
    }
}

#[tokio::test(start_paused = true)]
async fn after_the_local_fin_the_answer_still_comes_and_silence_ends_it() {
    let Stage { mut program, mut relay, mut remote, says, mut heard, .. } = stage().await;
    program.write_all(b"question").await.unwrap();
    program.shutdown().await.unwrap();
    let start = Instant::now();
    let answering = async {
        assert_eq!(heard.recv().await.unwrap(), "question");
        for _ in 0..3 {
            tokio::time::sleep(S * 29).await;
            says.send(data(10)).await.unwrap();
        }
        std::future::pending::<()>().await;
    };
    let outcome = tokio::select! { outcome = relay.run(&mut remote, None) => outcome, () = answering => unreachable!() };
    assert!(matches!(outcome, Outcome::LocalEnd), "{outcome:?}");
    assert_eq!(start.elapsed().as_secs(), 3 * 29 + 30);
    relay.finish(&outcome).await;
    assert_eq!(read_all(program).await, (30, Ok(())));
}

#[tokio::test(start_paused = true)]
async fn a_replacement_has_all_of_the_grace() {
    let Stage { mut program, mut relay, mut remote, says, mut heard, .. } = stage().await;
    program.write_all(b"question").await.unwrap();
    program.shutdown().await.unwrap();
    let first = async {
        assert_eq!(heard.recv().await.unwrap(), "question");
        tokio::time::sleep(S * 20).await;
        let broken = Break { unsent: Some(b"question".to_vec()), ..Break::new("test", "no stream") };
        says.send(Received::Broken(broken)).await.unwrap();
        std::future::pending::<()>().await;
    };
    let outcome =
        tokio::select! { outcome = relay.run(&mut remote, None) => outcome, () = first => unreachable!() };
    let Outcome::Broken(broken) = outcome else { panic!("{outcome:?}") };
    // The next stream is there only when the first one would have had its time.
    tokio::time::sleep(S * 12).await;
    let second = async {
        assert_eq!(heard.recv().await.unwrap(), "question");
        tokio::time::sleep(S * 29).await;
        says.send(data(10)).await.unwrap();
        says.send(Received::End { clean: true }).await.unwrap();
        std::future::pending::<()>().await;
    };
    let again = relay.run(&mut remote, broken.unsent);
    let outcome = tokio::select! { outcome = again => outcome, () = second => unreachable!() };
    assert!(matches!(outcome, Outcome::RemoteEnd { clean: true }), "{outcome:?}");
    relay.finish(&outcome).await;
    assert_eq!(read_all(program).await, (10, Ok(())));
}

#[tokio::test]
async fn nobody_waits_for_a_program_that_is_gone() {
    let Stage { mut program, mut relay, mut remote, says: _says, mut heard, .. } = stage().await;
    program.write_all(b"fire and forget").await.unwrap();
    drop(program);
    if cfg!(target_os = "linux") {
        let outcome = timeout(S * 10, relay.run(&mut remote, None)).await.expect("far less than the grace");
        assert!(matches!(outcome, Outcome::LocalEnd), "{outcome:?}");
        assert_eq!(heard.recv().await.unwrap(), "fire and forget");
    }
}

#[tokio::test]
async fn a_local_reset_is_told_from_an_end() {
    let Stage { program, mut relay, mut remote, says: _says, heard: _heard, .. } = stage().await;
    program.set_zero_linger().unwrap();
    drop(program);
    let outcome = timeout(S * 10, relay.run(&mut remote, None)).await.unwrap();
    assert!(matches!(outcome, Outcome::LocalReset(_)), "{outcome:?}");
}

#[tokio::test]
async fn what_was_unsent_goes_first() {
    let Stage { mut program, mut relay, mut remote, says, mut heard, .. } = stage().await;
    program.write_all(b" second").await.unwrap();
    let hearing = async {
        let mut all = Vec::new();
        while all.len() < 12 {
            all.extend_from_slice(&heard.recv().await.unwrap());
        }
        says.send(Received::End { clean: false }).await.unwrap();
        all
    };
    let (outcome, all) = tokio::join!(relay.run(&mut remote, Some(b"first".to_vec())), hearing);
    assert!(matches!(outcome, Outcome::RemoteEnd { clean: false }));
    assert_eq!(all, b"first second");
}

#[tokio::test(start_paused = true)]
async fn a_local_side_that_does_not_read_stops_the_remote_but_for_a_sip() {
    let Stage { program, mut relay, mut remote, says, heard: _heard, taken } = stage().await;
    for _ in 0..20_000 {
        says.send(data(8192)).await.unwrap();
    }
    let observe = async {
        // The kernel's buffers and ours fill; then there is a sip every two seconds.
        tokio::time::sleep(S).await;
        let first = taken.load(Ordering::Relaxed);
        assert!(first < 20_000 * 8192, "it stops");
        tokio::time::sleep(S * 10).await;
        let later = taken.load(Ordering::Relaxed);
        assert_eq!((later - first) / SIP.0 as u64, 5, "one every two seconds");
        tokio::time::sleep(S * 7200).await;
        let at_last = taken.load(Ordering::Relaxed);
        assert!(at_last - first <= (AHEAD_AT_MOST + 8192) as u64, "bounded for good");
    };
    tokio::select! { outcome = relay.run(&mut remote, None) => panic!("{outcome:?}"), () = observe => {} }
    drop(program);
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_idle_when_no_byte_passes_either_way_and_that_is_a_reset() {
    let Stage { mut program, mut relay, mut remote, says, mut heard, .. } = stage().await;
    relay.set_idle_close(S * 10);
    let start = Instant::now();
    let talking = async {
        for _ in 0..3 {
            tokio::time::sleep(S * 9).await;
            program.write_all(b"up").await.unwrap();
            assert_eq!(heard.recv().await.unwrap(), "up");
            tokio::time::sleep(S * 9).await;
            says.send(data(10)).await.unwrap();
        }
        std::future::pending::<()>().await;
    };
    let outcome =
        tokio::select! { outcome = relay.run(&mut remote, None) => outcome, () = talking => unreachable!() };
    assert!(matches!(outcome, Outcome::Idle), "{outcome:?}");
    assert_eq!(start.elapsed().as_secs(), 6 * 9 + 10);
    relay.finish(&outcome).await;
    assert_eq!(read_all(program).await, (30, Err(io::ErrorKind::ConnectionReset)));
}

#[tokio::test(start_paused = true)]
async fn who_has_finished_sending_is_idle_too_when_the_answer_stays_away_for_so_long() {
    let Stage { mut program, mut relay, mut remote, says: _says, heard: _heard, .. } = stage().await;
    relay.set_idle_close(S * 10);
    program.shutdown().await.unwrap();
    let start = Instant::now();
    let outcome = relay.run(&mut remote, None).await;
    assert!(matches!(outcome, Outcome::Idle), "{outcome:?}");
    assert_eq!(start.elapsed().as_secs(), 10, "less than the grace");
}
