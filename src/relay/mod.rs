//! Copies bytes between one local connection and one remote stream, both ways, in one task.
//!
//! It promises: bytes keep their order, none is added, and none is lost without the local side being told by a
//! reset. Memory is bounded: a local side that does not read stops the remote one. It does not know who opened
//! the streams, and it never reconnects: what may be taken up again is handed back to the caller.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use crate::carrier::{Break, ByteStream, Closing, Received};
use crate::sys::socket;

use quiet::Quiet;

mod finish;
mod quiet;
mod upload;

/// How much is read ahead of a local side that does not keep up.
const AHEAD: usize = 256 * 1024;
/// How many messages are read ahead: tiny ones weigh more than their bytes.
const AHEAD_MESSAGES: usize = 1024;
/// While the local side is stuck, this much more is taken this often: a gateway gives a client up that takes nothing
/// for 20 s, and the kernels on the way pass on that room was made only when it is a good part of their buffers (a third
/// of the sender's, which may have 4 MiB). Pings that stand behind data are answered by it, too …
const SIP: (usize, Duration) = (256 * 1024, Duration::from_secs(2));
/// … up to this much; then the gateway is left to its own limits.
const AHEAD_AT_MOST: usize = 4 << 20;
/// After the local side has finished sending, how long the remote may be silent before we end.
const GRACE: Duration = Duration::from_secs(30);

/// The bytes of one connection, for whoever wants to know while it lives.
#[derive(Debug, Default)]
pub struct Counts {
    /// Bytes from the local side to the remote.
    pub up: AtomicU64,
    /// Bytes from the remote to the local side.
    pub down: AtomicU64,
}

/// How a relay came to its end.
#[derive(Debug)]
pub enum Outcome {
    /// The remote ended; all it sent is to be delivered, then an end.
    RemoteEnd {
        /// Whether it said goodbye properly.
        clean: bool,
    },
    /// The local side finished, and the remote had nothing more to say, or nobody was there to hear it.
    LocalEnd,
    /// The local side was reset.
    LocalReset(io::Error),
    /// The remote stream broke.
    Broken(Break),
    /// Not one byte passed for as long as may be.
    Idle,
    /// It has lasted for as long as it may.
    Expired,
    /// We were told to stop.
    Stopped,
}

/// One local connection on its way through a relay.
pub struct Relay {
    /// Shared only with the watch for its reset, while the relay runs.
    local: Arc<TcpStream>,
    /// The local side was told an end; without that, it is told a reset.
    ended: bool,
    /// The local side took nothing of what it is owed at the end, for too long.
    stuck: bool,
    counts: Arc<Counts>,
    /// From the remote, for the local side.
    queue: VecDeque<Bytes>,
    queued: usize,
    /// The local side has finished sending.
    local_ended: bool,
    /// The caller has been told so.
    local_end_told: bool,
    /// Something was given to the remote that it has not sent yet.
    unflushed: bool,
    /// The remote takes no more, but may still have something for us.
    send_broken: Option<Break>,
    /// How much may be queued at present.
    ahead: usize,
    /// While the local side is stuck: when more may be taken.
    sip: Option<Pin<Box<Sleep>>>,
    /// After the local side's end: how long the remote may still be silent.
    grace: Option<Pin<Box<Sleep>>>,
    /// How long no byte may pass; zero: for ever.
    idle_close: Duration,
    quiet: Option<Quiet>,
    /// The remote has said that it took everything: from then on its silence counts.
    settled: bool,
}

impl fmt::Debug for Relay {
    /// Without the bytes: they are someone's data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay")
            .field("local", &self.local)
            .field("queued", &self.queued)
            .finish_non_exhaustive()
    }
}

enum Step {
    LocalEnded,
    Over(Outcome),
}

impl Relay {
    /// Takes over an accepted connection.
    pub fn new(local: TcpStream, counts: Arc<Counts>) -> Self {
        Self {
            local: Arc::new(local),
            ended: false,
            stuck: false,
            counts,
            queue: VecDeque::new(),
            queued: 0,
            ahead: AHEAD,
            local_ended: false,
            local_end_told: false,
            unflushed: false,
            send_broken: None,
            sip: None,
            grace: None,
            settled: false,
            idle_close: Duration::ZERO,
            quiet: None,
        }
    }

    /// It is over when no byte has passed for so long; zero: never.
    pub fn set_idle_close(&mut self, limit: Duration) {
        self.idle_close = limit;
    }

    /// The local connection.
    pub fn local(&self) -> &TcpStream {
        &self.local
    }

    /// Copies until one side ends or breaks. `unsent` goes first: it was taken from the local side before, for a
    /// stream that never came to life.
    ///
    /// May be called again with another stream after a break that gave back what was unsent.
    pub async fn run<R: ByteStream>(&mut self, remote: &mut R, unsent: Option<Vec<u8>>) -> Outcome {
        (self.send_broken, self.grace, self.settled) = (None, None, false);
        (self.sip, self.ahead, self.quiet) = (None, AHEAD, Quiet::new(self.idle_close));
        if let Some(unsent) = unsent {
            let ready = poll_fn(|cx| remote.poll_ready(cx)).await;
            if let Err(broken) = ready.and_then(|()| remote.send(unsent.into())) {
                return Outcome::Broken(broken);
            }
            self.unflushed = true;
        }
        // A remote that takes nothing keeps us from reading, and so from seeing a reset; after the local side's end we
        // do not read at all.
        let local = Arc::clone(&self.local);
        let reset = || Step::Over(Outcome::LocalReset(io::ErrorKind::ConnectionReset.into()));
        if !self.local_end_told {
            let step = tokio::select! {
                biased;
                step = poll_fn(|cx| self.poll_step(cx, remote)) => step,
                () = socket::reset(&local) => reset(),
            };
            match step {
                Step::Over(outcome) => return outcome,
                Step::LocalEnded => {}
            }
        }
        let (ours, theirs) = (self.local.local_addr(), self.local.peer_addr());
        let deserted = async {
            match (ours, theirs) {
                (Ok(ours), Ok(theirs)) => socket::peer_gone(ours, theirs).await,
                _ => std::future::pending().await,
            }
        };
        let step = tokio::select! {
            biased;
            step = poll_fn(|cx| self.poll_step(cx, remote)) => step,
            () = socket::reset(&local) => reset(),
            () = deserted => Step::LocalEnded,
        };
        match step {
            Step::Over(outcome) => outcome,
            Step::LocalEnded => Outcome::LocalEnd,
        }
    }

    /// Moves whatever can be moved. Ready when one of the sides is done.
    fn poll_step<R: ByteStream>(&mut self, cx: &mut Context<'_>, remote: &mut R) -> Poll<Step> {
        loop {
            let mut moved = match self.poll_receive(cx, remote) {
                Ok(some) => some,
                Err(outcome) => return Poll::Ready(Step::Over(outcome)),
            };
            match (self.poll_deliver(cx), self.poll_upload(cx, remote)) {
                (Ok(down), Ok(up)) => moved |= down | up,
                (Err(error), _) | (_, Err(error)) => {
                    return Poll::Ready(Step::Over(Outcome::LocalReset(error)));
                }
            }
            if let Some(quiet) = self.quiet.as_mut().filter(|_| moved) {
                quiet.broken();
            }
            if !moved && !self.poll_sip(cx) {
                break;
            }
        }
        if let Some(broken) = self.send_broken.take_if(|_| self.queue.is_empty()) {
            return Poll::Ready(Step::Over(Outcome::Broken(broken)));
        }
        if self.quiet.as_mut().is_some_and(|quiet| quiet.poll(cx).is_ready()) {
            return Poll::Ready(Step::Over(Outcome::Idle));
        }
        if !self.local_ended || self.unflushed {
            return Poll::Pending;
        }
        if !self.local_end_told {
            self.local_end_told = true;
            return Poll::Ready(Step::LocalEnded);
        }
        self.poll_grace(cx, remote).map(|()| Step::Over(Outcome::LocalEnd))
    }

    /// Takes what the remote has, as far ahead of the local side as is allowed. Says whether there was anything.
    fn poll_receive<R: ByteStream>(&mut self, cx: &mut Context<'_>, remote: &mut R) -> Result<bool, Outcome> {
        let mut some = false;
        while self.below_limit() {
            match remote.poll_recv(cx) {
                Poll::Pending => break,
                Poll::Ready(Received::Data(bytes)) => {
                    some = true;
                    self.queued += bytes.len();
                    self.queue.push_back(bytes);
                }
                Poll::Ready(Received::End { clean }) => return Err(Outcome::RemoteEnd { clean }),
                Poll::Ready(Received::Broken(broken)) => return Err(Outcome::Broken(broken)),
            }
        }
        if some {
            // The grace after the local side's end begins anew with each sign of the remote.
            self.grace = None;
        }
        Ok(some)
    }

    fn below_limit(&self) -> bool {
        self.queued < self.ahead && self.queue.len() < AHEAD_MESSAGES * self.ahead.div_ceil(AHEAD)
    }

    /// Writes what is queued to the local side, many messages at once. Says whether anything went.
    fn poll_deliver(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut some = false;
        while !self.queue.is_empty() {
            match self.poll_write_queue(cx) {
                Poll::Pending => break,
                Poll::Ready(written) => {
                    self.delivered(written?);
                    some = true;
                }
            }
        }
        Ok(some)
    }

    fn poll_write_queue(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut slices = [io::IoSlice::new(&[]); 64];
        let mut used = 0;
        for (slice, bytes) in slices.iter_mut().zip(&self.queue) {
            *slice = io::IoSlice::new(bytes);
            used += 1;
        }
        let slices = slices.get(..used).unwrap_or_default();
        loop {
            ready!(self.local.poll_write_ready(cx))?;
            match self.local.try_write_vectored(slices) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn delivered(&mut self, mut written: usize) {
        self.counts.down.fetch_add(written as u64, Ordering::Relaxed);
        self.queued -= written;
        while let Some(front) = self.queue.front_mut().filter(|_| written > 0) {
            let part = written.min(front.len());
            front.advance(part);
            written -= part;
            if front.is_empty() {
                self.queue.pop_front();
            }
        }
    }

    /// For a local side that is stuck: whether it is time to take more than before.
    fn poll_sip(&mut self, cx: &mut Context<'_>) -> bool {
        if self.queued < AHEAD {
            self.ahead = AHEAD;
        }
        if self.below_limit() || self.ahead >= AHEAD_AT_MOST {
            self.sip = None;
            return false;
        }
        let (size, pause) = SIP;
        let sip = self.sip.get_or_insert_with(|| Box::pin(tokio::time::sleep(pause)));
        let due = sip.as_mut().poll(cx).is_ready();
        if due {
            self.ahead = AHEAD_AT_MOST.min(self.ahead + size);
            self.sip = None;
        }
        due
    }

    /// After the local side's end: whether the remote has been silent for long enough.
    fn poll_grace<R: ByteStream>(&mut self, cx: &mut Context<'_>, remote: &mut R) -> Poll<()> {
        // An answer can only be expected to what has arrived.
        if ready!(remote.poll_settled(cx)) && !std::mem::replace(&mut self.settled, true) {
            self.grace = None;
        }
        loop {
            let grace = self.grace.get_or_insert_with(|| Box::pin(tokio::time::sleep(GRACE)));
            ready!(grace.as_mut().poll(cx));
            if self.queue.is_empty() {
                return Poll::Ready(());
            }
            // It is not the remote that keeps us waiting.
            grace.as_mut().reset(Instant::now() + GRACE);
        }
    }
}

/// Ends a remote stream from our side, in bounded time.
pub async fn close<R: ByteStream>(remote: &mut R, why: Closing) {
    poll_fn(|cx| remote.poll_close(cx, why)).await;
}

#[cfg(test)]
mod tests;
