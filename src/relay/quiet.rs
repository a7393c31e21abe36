//! How long nothing has passed, of a connection that is closed for that.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// The time since the last byte.
pub(super) struct Quiet {
    limit: Duration,
    since: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl Quiet {
    /// Quiet from now on; `None` where any length of it is fine.
    pub(super) fn new(limit: Duration) -> Option<Self> {
        let of = |limit| Self { limit, since: Instant::now(), sleep: Box::pin(sleep(limit)) };
        (!limit.is_zero()).then_some(limit).map(of)
    }

    /// Something has passed. The timer is left as it is: to set it anew for every byte would cost more than to find now
    /// and then that it has come too early.
    pub(super) fn broken(&mut self) {
        self.since = Instant::now();
    }

    /// Ready when it was quiet for too long.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.sleep.as_mut().poll(cx));
            let due = self.since + self.limit;
            if due <= Instant::now() {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(due);
        }
    }
}
