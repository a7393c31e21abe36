//! Telling the local side how it ended: an end as an end, a break as a reset, and first every byte that is owed.

use std::future::poll_fn;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::{Outcome, Relay};
use crate::sys::socket;

/// How long the local side may take none of what is owed to it before it is given up.
const STUCK: Duration = Duration::from_secs(5);
/// How long a local side that still sends is listened to after the end, so that a reset does not overtake the last bytes.
const LINGER: Duration = Duration::from_secs(5);

impl Relay {
    /// Passes the outcome on to the local side. Bounded in time as long as the local side does not read.
    pub async fn finish(mut self, outcome: &Outcome) {
        let orderly = match outcome {
            Outcome::RemoteEnd { .. } | Outcome::LocalEnd => true,
            Outcome::Broken(_) | Outcome::Stopped => false,
            Outcome::LocalReset(_) => return,
        };
        match (self.deliver_rest().await, orderly) {
            (true, true) => self.end().await,
            (true, false) => self.reset_when_sent().await,
            // It has had its time: what the kernel still holds has no better prospects.
            (false, _) => self.reset(),
        }
    }

    /// Whether everything that is owed was written.
    async fn deliver_rest(&mut self) -> bool {
        while !self.queue.is_empty() {
            match timeout(STUCK, poll_fn(|cx| self.poll_write_queue(cx))).await {
                Ok(Ok(written)) => self.delivered(written),
                Ok(Err(_)) | Err(_) => return false,
            }
        }
        true
    }

    /// Ends the local connection as the remote ended. What the local side still sends has nowhere to go.
    async fn end(mut self) {
        if self.local.shutdown().await.is_err() {
            return;
        }
        let mut discarded = [0; 4096];
        let until_it_ends = async { while !matches!(self.local.read(&mut discarded).await, Ok(0) | Err(_)) {} };
        drop(timeout(LINGER, until_it_ends).await);
    }

    /// Resets the local connection, after the kernel has sent what it holds.
    async fn reset_when_sent(self) {
        if let Ok(Ok(())) | Err(_) = timeout(STUCK, socket::sent(&self.local)).await {
            self.reset();
        }
    }

    fn reset(self) {
        if let Err(error) = self.local.set_zero_linger() {
            tracing::debug!(%error, "a broken connection could not be reset");
        }
    }
}
