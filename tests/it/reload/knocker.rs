//! Programs that connect all the time, so that a port that is let go for a moment shows.

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Duration, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::{PATIENCE, connect, greeted, greeting};

/// Connects to a port again and again. Not once may it be refused, and each time somebody answers.
pub(super) struct Knocker {
    knocked: watch::Receiver<usize>,
    stop: CancellationToken,
    task: JoinSet<()>,
}

impl Knocker {
    pub(super) fn start(port: u16) -> Self {
        let (count, knocked) = watch::channel(0);
        let (stop, mut task) = (CancellationToken::new(), JoinSet::new());
        let until = stop.clone();
        task.spawn(async move {
            let mut pace = interval(Duration::from_millis(2));
            while !until.is_cancelled() {
                pace.tick().await;
                let mut stream = connect(port).await.expect("the port is never let go");
                greeting(&mut stream).await.expect("an answer");
                count.send_modify(|count| *count += 1);
            }
        });
        Self { knocked, stop, task }
    }

    /// Knocks a few times more, and ends.
    pub(super) async fn end(mut self) {
        let now = *self.knocked.borrow();
        // An error is the task's end: why is told below.
        drop(timeout(PATIENCE, self.knocked.wait_for(|knocked| *knocked > now + 5)).await);
        self.stop.cancel();
        timeout(PATIENCE, self.task.join_next()).await.expect("its end").unwrap().unwrap();
        let knocked = *self.knocked.borrow();
        println!("never refused in {knocked} connections");
        assert!(knocked > now + 5, "only {knocked} connections");
    }
}

/// A connection to a server that is known to have been reached.
pub(super) async fn reach(port: u16, server: &str) -> TcpStream {
    let (stream, name) = greeted(port).await.unwrap();
    assert_eq!(name, server);
    stream
}
