//! The seam between what opens a byte stream to a remote and what copies bytes through it.
//!
//! A [`Carrier`] opens streams; whether it is a gateway or a hop behind one, it does not tell. A [`ByteStream`] is polled by one task. It hands over what it receives uncopied, and takes what it is
//! given without keeping it: how deep the route beneath it is, it does not tell.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::model::{Failure, Limits, Locator, Port, Wait};

/// What a carrier does, some time.
pub type Carrying<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What can open byte streams to remotes, all through one bastion under one identity.
pub trait Carrier: Send + Sync {
    /// Finds out anew what it has to know before it can open anything.
    fn resolve(&self) -> Carrying<'_, Result<(), Failure>>;

    /// Shows that a stream to this port would be granted, without opening one.
    fn probe<'a>(
        &'a self,
        target: &'a Locator,
        port: Port,
        options: &'a OpenOptions,
    ) -> Carrying<'a, Result<(), Failure>>;

    /// Opens a stream to this port. Cancelling it leaves nothing behind.
    fn open<'a>(
        &'a self,
        target: &'a Locator,
        port: Port,
        options: &'a OpenOptions,
    ) -> Carrying<'a, Result<Box<dyn ByteStream>, Failure>>;

    /// Sees to it that so many streams to this port can be opened quicker than usual, as far as that takes nothing from
    /// anybody. Says when it is to be looked at again; `None`: nothing is kept.
    fn warm<'a>(
        &'a self,
        _target: &'a Locator,
        _port: Port,
        _options: &'a OpenOptions,
        _wanted: usize,
    ) -> Carrying<'a, Option<Instant>> {
        Box::pin(std::future::ready(None))
    }

    /// Lets go what is kept for that.
    fn cool(&self, _target: &Locator, _port: Port) {}

    /// What it knows may have changed: a person did something. What it would refuse for that reason it finds out anew.
    fn doubt(&self);

    /// How much of it may be used at once from now on. What is open stays.
    fn set_limits(&self, limits: Limits);

    /// How much of it is used.
    fn usage(&self) -> Usage;

    /// Waits until nothing that it opened is left in Azure, at most until the deadline. Says what is left behind.
    fn settle(&self, deadline: Instant) -> Carrying<'_, Remains>;
}

/// What a stream is opened with.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// Sent as `User-Agent`: it appears in the bastion's audit log.
    pub user_agent: String,
    /// A ping after this much quiet; zero: none.
    pub keepalive: Duration,
    /// How many are kept ready while the path is used.
    pub prewarm: usize,
    /// Whether those are open streams, which the target sees, and not only the right to open one.
    pub prewarm_dial: bool,
    /// Told what the opening waits for, as that changes: [`Wait::Sessions`], then [`Wait::SetUp`].
    pub waiting: Option<watch::Sender<Wait>>,
}

/// How much of a carrier is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// The bastion's SKU, once it is known.
    pub sku: Option<String>,
    /// Sessions of ours that are open, being opened or being deleted.
    pub sessions: usize,
}

/// What is left behind in Azure when time is up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remains {
    /// Sessions that could not be deleted.
    pub sessions: u64,
    /// Requests for a session that were not answered: each may still be granted, and nobody is there to delete it.
    pub requests: u64,
}

impl std::ops::AddAssign for Remains {
    fn add_assign(&mut self, other: Self) {
        self.sessions += other.sessions;
        self.requests += other.requests;
    }
}

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

impl<T: ByteStream + ?Sized> ByteStream for Box<T> {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
        (**self).poll_recv(cx)
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Break>> {
        (**self).poll_ready(cx)
    }

    fn send(&mut self, bytes: Bytes) -> Result<(), Break> {
        (**self).send(bytes)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Break>> {
        (**self).poll_flush(cx)
    }

    fn poll_settled(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        (**self).poll_settled(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>, why: Closing) -> Poll<()> {
        (**self).poll_close(cx, why)
    }
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
