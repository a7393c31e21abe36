//! The end: what still goes on is cut off, and every session is deleted, in bounded time.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::Supervisor;
use crate::carrier::Remains;

/// How long sessions may take to be deleted at the end.
const DELETION: Duration = Duration::from_secs(10);
/// How long connections may take to tell both sides that they end.
const GOODBYE: Duration = Duration::from_secs(3);

impl Supervisor {
    /// Whether it was told to stop, and nothing goes on or may go on any more.
    pub(super) fn is_over(&self) -> bool {
        let now = Instant::now();
        self.stopping.is_some_and(|until| self.live.draining.is_empty() || until <= now)
    }

    pub(super) async fn finish(mut self) -> Remains {
        let deadline = Instant::now() + DELETION;
        self.live.cut.cancel();
        self.live.accepting.shutdown().await;
        self.live.connections.close();
        if timeout(GOODBYE, self.live.connections.wait()).await.is_err() {
            // Whoever is still talking to a gateway that does not listen is cut off; its session is deleted all the same.
            self.live.abandon.cancel();
            self.live.connections.wait().await;
        }
        self.live.routes.settle(deadline).await
    }
}
