//! Telling the local side how it ended: an end as an end, a break as a reset, and first every byte that is owed.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Outcome, Relay};
use crate::sys::socket;

/// How long the local side may take none of what is owed to it before it is given up.
const STUCK: Duration = Duration::from_secs(5);
/// How soon most of it is taken.
const AT_ONCE: Duration = Duration::from_millis(50);
/// How long a local side that still sends is listened to after the end, so that a reset does not overtake the last bytes.
const LINGER: Duration = Duration::from_secs(5);

impl Relay {
    /// Passes the outcome on to the local side. Bounded in time as long as the local side does not read.
    pub async fn finish(mut self, outcome: &Outcome) {
        let orderly = match outcome {
            Outcome::RemoteEnd { .. } | Outcome::LocalEnd => true,
            // Neither side has said that it is done.
            Outcome::Broken(_) | Outcome::Idle | Outcome::Expired => false,
            // It had its time: what is cut off is reset at once, as the relay is dropped.
            Outcome::Stopped | Outcome::LocalReset(_) => return,
        };
        self.deliver().await;
        if self.queue.is_empty() && orderly {
            self.end().await;
        } else {
            self.reset().await;
        }
    }

    /// Writes what the local side is owed, unless it was seen before that it takes no more. What then is not counted as
    /// delivered never will be.
    pub async fn deliver(&mut self) {
        while !self.queue.is_empty() && !self.stuck {
            let local = Arc::clone(&self.local);
            match while_it_reads(&local, poll_fn(|cx| self.poll_write_queue(cx))).await {
                Some(Ok(written)) => self.delivered(written),
                Some(Err(_)) | None => self.stuck = true,
            }
        }
    }

    /// Ends the local connection as the remote ended. What the local side still sends has nowhere to go.
    async fn end(mut self) {
        // Nobody else has it any more: the relay does not run.
        let Some(local) = Arc::get_mut(&mut self.local) else { return };
        if local.shutdown().await.is_err() {
            return;
        }
        self.ended = true;
        let mut discarded = [0; 4096];
        let until_it_ends = async { while !matches!(local.read(&mut discarded).await, Ok(0) | Err(_)) {} };
        drop(timeout(LINGER, until_it_ends).await);
    }

    /// Resets the local connection, after the kernel has sent what it holds; where no more is taken, it would be asked
    /// in vain.
    async fn reset(self) {
        if !self.stuck {
            while_it_reads(&self.local, socket::sent(&self.local)).await;
        }
    }
}

/// Waits as long as the local program takes something within [`STUCK`] each time, however slowly. `None`: it does not.
///
/// Where the system cannot tell, all of it has to be done in that time.
async fn while_it_reads<T>(local: &TcpStream, work: impl Future<Output = T>) -> Option<T> {
    tokio::pin!(work);
    // Mostly it is done at once, and the system need not be asked.
    if let Ok(done) = timeout(AT_ONCE, &mut work).await {
        return Some(done);
    }
    let mut unread = socket::unread(local).await;
    loop {
        if let Ok(done) = timeout(STUCK - AT_ONCE, &mut work).await {
            return Some(done);
        }
        // Room is only reported when a good part of the kernel's buffers is free: a slow program can take longer than
        // that without being stuck.
        let now = socket::unread(local).await;
        if now.zip(unread).is_none_or(|(now, before)| now >= before) {
            return None;
        }
        unread = now;
    }
}

impl Drop for Relay {
    /// What was not ended in order is reset, whatever kept it from its end: a program must not take half for all.
    fn drop(&mut self) {
        if !self.ended
            && let Err(error) = self.local.set_zero_linger()
        {
            tracing::debug!(%error, "a broken connection could not be reset");
        }
    }
}
