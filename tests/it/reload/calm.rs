//! A program that knows nothing of any edit: it moves bytes without a pause, through a tunnel that no edit concerns.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::{Scene, greeted};
use crate::pattern::{self, Check};
use crate::process::PATIENCE;

/// One connection that is never idle. What is sent comes back, and every byte is compared.
pub(crate) struct Calm {
    port: u16,
    moved: watch::Receiver<u64>,
    stop: CancellationToken,
    task: JoinSet<()>,
}

const PIECE: usize = 16 << 10;

impl Calm {
    /// Begins on the tunnel `calm` of a scene, which leads to `three`, and which nothing else uses.
    pub(crate) async fn start(scene: &Scene) -> Self {
        let port = scene.port("calm").await;
        let (stream, name) = greeted(port).await.unwrap();
        assert_eq!(name, "three");
        let (moved, seen) = watch::channel(0);
        let (stop, mut task) = (CancellationToken::new(), JoinSet::new());
        task.spawn(carry(stream, moved, stop.clone()));
        let mut calm = Self { port, moved: seen, stop, task };
        calm.goes_on().await;
        calm
    }

    /// More bytes come through, from now on.
    pub(crate) async fn goes_on(&mut self) {
        let now = *self.moved.borrow_and_update();
        let more = self.moved.wait_for(|moved| *moved > now + 2 * PIECE as u64);
        drop(timeout(PATIENCE, more).await.expect("bytes still come through").unwrap());
    }

    /// It noticed nothing of all that: one connection, every byte, the same port, and no session besides its own.
    pub(crate) async fn end(mut self, scene: &Scene) {
        self.goes_on().await;
        assert_eq!(scene.port("calm").await, self.port);
        self.stop.cancel();
        timeout(PATIENCE, self.task.join_next()).await.expect("its end").unwrap().unwrap();
        assert_eq!(scene.sessions_of("vm-three"), 2, "its own, and one for the proof that the path works");
    }
}

async fn carry(mut stream: TcpStream, moved: watch::Sender<u64>, stop: CancellationToken) {
    let mut check = Check::default();
    let mut buffer = vec![0; PIECE];
    // Never idle, and not at the expense of everybody else.
    let mut pace = interval(Duration::from_millis(5));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let begun = Instant::now();
    while !stop.is_cancelled() {
        pace.tick().await;
        stream.write_all(&pattern::bytes(check.len(), PIECE)).await.unwrap();
        timeout(PATIENCE, stream.read_exact(&mut buffer)).await.expect("what was sent").unwrap();
        check.feed(&buffer);
        moved.send_replace(check.len());
    }
    println!("an unchanged tunnel carried {} KiB in {} ms", check.len() >> 10, begun.elapsed().as_millis());
}
