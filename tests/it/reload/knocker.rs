//! Programs that connect all the time, so that a port that is let go for a moment shows.

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Duration, interval};
use tokio_util::sync::CancellationToken;

use super::{connect, greeted, greeting};

/// Connects to a port again and again. Not once may it be refused, and each time somebody answers.
pub(super) struct Knocker {
    stop: CancellationToken,
    task: JoinSet<usize>,
}

impl Knocker {
    pub(super) fn start(port: u16) -> Self {
        let (stop, mut task) = (CancellationToken::new(), JoinSet::new());
        let until = stop.clone();
        task.spawn(async move {
            let mut pace = interval(Duration::from_millis(2));
            let mut knocked = 0;
            while !until.is_cancelled() {
                pace.tick().await;
                let mut stream = connect(port).await.expect("the port is never let go");
                greeting(&mut stream).await.expect("an answer");
                knocked += 1;
            }
            knocked
        });
        Self { stop, task }
    }

    pub(super) async fn end(mut self) {
        self.stop.cancel();
        let knocked = self.task.join_next().await.unwrap().unwrap();
        println!("never refused in {knocked} connections");
        assert!(knocked > 5, "only {knocked} connections");
    }
}

/// A connection to a server that is known to have been reached.
pub(super) async fn reach(port: u16, server: &str) -> TcpStream {
    let (stream, name) = greeted(port).await.unwrap();
    assert_eq!(name, server);
    stream
}
