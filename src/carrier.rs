//! The seam between what opens a byte stream to a remote and what copies bytes through it.
//!
//! A [`ByteStream`] is polled by one task. It hands over what it receives uncopied, and takes what it is
//! given without keeping it: how deep the route beneath it is, it does not tell.

use std::fmt;
use std::task::{Context, Poll};

use bytes::Bytes;

/// A two-way stream of bytes to a remote, with an end that is not a break.
pub trait ByteStream: Send {
    /// The next bytes, the end, or a break. After either of the last two it is not called again.
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Received>;

    /// Whether [`send`](Self::send) may be called.
    ///
    /// # Errors
    /// When the stream is broken for sending.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Break>>;

    /// Takes bytes for sending, after `poll_ready` was ready; they leave with the next flush at the latest.
    ///
    /// # Errors
    /// When the stream is broken for sending.
    fn send(&mut self, bytes: Bytes) -> Result<(), Break>;

    /// Sends all that was taken.
    ///
    /// # Errors
    /// When the stream is broken for sending.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Break>>;

    /// Ready when the other end has taken everything that was sent: with `true` when it said so, with `false` when it
    /// was given its time and may never say so. [`poll_recv`](Self::poll_recv) is polled beside it.
    fn poll_settled(&mut self, cx: &mut Context<'_>) -> Poll<bool>;

    /// Ends the stream from our side. The rest is the stream's own business and bounded in time.
    fn poll_close(&mut self, cx: &mut Context<'_>, why: Closing) -> Poll<()>;
}

/// What [`ByteStream::poll_recv`] has for its caller.
#[derive(Debug)]
pub enum Received {
    /// Bytes, never none.
    Data(Bytes),
    /// The remote ended: every byte it sent has been handed over.
    End {
        /// With a proper goodbye, or just with the end of the encrypted connection (logged as `end-unclean`).
        clean: bool,
    },
    /// The stream broke: bytes may be missing.
    Broken(Break),
}

/// Why we end a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// All is said.
    Done,
    /// The local side is gone, or we were told to stop: the remote must not take this for a proper end.
    Abandoned,
}

/// How a stream broke.
pub struct Break {
    /// What happened, for people.
    pub what: String,
    /// The stable code of this class of failure.
    pub code: &'static str,
    /// When the stream never came to life and all that was sent into it is still here: that, to be sent through another.
    pub unsent: Option<Vec<u8>>,
}

impl Break {
    /// A break after which nothing can be taken up again.
    pub fn new(code: &'static str, what: impl Into<String>) -> Self {
        Self { what: what.into(), code, unsent: None }
    }
}

impl fmt::Debug for Break {
    /// Without the bytes: they are someone's data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unsent = self.unsent.as_ref().map(Vec::len);
        f.debug_struct("Break")
            .field("code", &self.code)
            .field("what", &self.what)
            .field("unsent", &unsent)
            .finish()
    }
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}
