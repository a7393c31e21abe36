//! What the two ways of a WebSocket know of each other: what has passed, and what is still to be said to the client.

use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::frame::Breach;

/// What passes from the way up to the way down, which alone writes to the client.
#[derive(Clone, Debug)]
pub(super) enum Control {
    Pong(Vec<u8>),
    /// The client closed; the echo is due.
    Close(u16),
    Breach(Breach),
}

/// What has passed, and what either way must know of the other.
#[derive(Debug)]
pub(super) struct Traffic {
    begun: Instant,
    /// When the last frame came or went, in milliseconds after the beginning.
    last: AtomicU64,
    pub(super) up: AtomicU64,
    pub(super) down: AtomicU64,
    /// Messages above the advised size.
    pub(super) large: AtomicU64,
    pub(super) close_sent: AtomicBool,
    /// `CLOSED | code` once the client has closed.
    pub(super) client_closed: AtomicU32,
    pub(super) target_broken: AtomicBool,
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            last: AtomicU64::default(),
            up: AtomicU64::default(),
            down: AtomicU64::default(),
            large: AtomicU64::default(),
            close_sent: AtomicBool::default(),
            client_closed: AtomicU32::default(),
            target_broken: AtomicBool::default(),
        }
    }
}

impl Traffic {
    /// A frame came or went.
    pub(super) fn touch(&self) {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    /// Waits until no frame has come or gone for this long; where that is nothing, for ever.
    pub(super) async fn idle(&self, limit: Duration) {
        if limit.is_zero() {
            return pending().await;
        }
        loop {
            let last = self.last.load(Ordering::Relaxed);
            match self.begun.checked_add(Duration::from_millis(last).saturating_add(limit)) {
                Some(then) => sleep_until(then).await,
                None => return pending().await,
            }
            if self.last.load(Ordering::Relaxed) == last {
                return;
            }
        }
    }
}

/// Marks [`Traffic::client_closed`] as set, whatever the code.
pub(super) const CLOSED: u32 = 0x1_0000;
