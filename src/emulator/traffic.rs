//! What the two ways of a WebSocket know of each other: what has passed, and what is still to be said to the client.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};

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
#[derive(Debug, Default)]
pub(super) struct Traffic {
    pub(super) up: AtomicU64,
    pub(super) down: AtomicU64,
    /// Messages above the advised size.
    pub(super) large: AtomicU64,
    pub(super) close_sent: AtomicBool,
    /// `CLOSED | code` once the client has closed.
    pub(super) client_closed: AtomicU32,
    pub(super) target_broken: AtomicBool,
}

/// Marks [`Traffic::client_closed`] as set, whatever the code.
pub(super) const CLOSED: u32 = 0x1_0000;
