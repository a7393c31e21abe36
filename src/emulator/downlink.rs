//! From the target to the client: plain bytes in, frames out, and the one place that writes to the client.
//!
//! Control frames of the way up come here through a bounded channel, so frames are never interleaved. Faults strike
//! here, after exactly the bytes that they name.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::ending::{Cut, Leave};
use super::faults::Pending;
use super::frame::{self, Breach};
use super::framing::Framing;
use super::traffic::{Control, Traffic};
use super::world::World;
use crate::model::{Endpoint, FaultAction};

/// How the way down ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DownEnd {
    /// A close frame has been sent.
    Closed(String),
    /// Likewise, over a broken rule: what the client says from there on is not read.
    Refused(String),
    /// The client read nothing for too long (G29).
    Stalled,
    /// The client cannot be written to.
    Lost,
    /// A fault that ends connections.
    Fault(String, Leave),
}

/// The way down.
pub(super) struct Downlink<'a, R, W> {
    pub(super) client: W,
    pub(super) target: R,
    pub(super) control: mpsc::Receiver<Control>,
    pub(super) deleted: CancellationToken,
    pub(super) traffic: &'a Traffic,
    pub(super) world: &'a World,
    pub(super) faults: StreamFaults<'a>,
    pub(super) framing: Framing,
    /// Frames that are ready to be written.
    pub(super) out: Vec<u8>,
    /// What the client did wrong, for the log.
    pub(super) breach: Option<Breach>,
}

/// What goes wrong in one stream.
pub(super) struct StreamFaults<'a> {
    world: &'a World,
    target: &'a Endpoint,
    changes: watch::Receiver<u64>,
    had: BTreeSet<usize>,
    pending: Option<Pending>,
    pub(super) struck: Vec<String>,
    no_pong: bool,
    pings: Option<(Duration, Instant)>,
}

/// What woke the way down.
enum Wake {
    Deleted,
    Control(Option<Control>),
    Faults,
    Ping,
    /// Bytes wait for company no longer.
    Flush,
    Read(io::Result<usize>),
}

impl<'a> StreamFaults<'a> {
    pub(super) fn new(world: &'a World, target: &'a Endpoint) -> Self {
        let changes = world.faults.changes();
        let (had, struck) = (BTreeSet::new(), Vec::new());
        let pending = world.faults.pending(target, &had);
        Self { world, target, changes, had, pending, struck, no_pong: false, pings: None }
    }

    /// The fault that is due after `sent` bytes.
    fn due(&mut self, sent: u64) -> Option<FaultAction> {
        while let Some(pending) = self.pending.filter(|p| p.after <= sent) {
            let action = self.world.faults.claim(pending, &mut self.had);
            self.pending = self.world.faults.pending(self.target, &self.had);
            if let Some(action) = action {
                self.struck.push(format!("{action:?}"));
                return Some(action);
            }
        }
        None
    }

    fn refresh(&mut self) {
        self.pending = self.world.faults.pending(self.target, &self.had);
    }
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Downlink<'_, R, W> {
    /// Carries bytes until one side ends it.
    pub(super) async fn run(&mut self) -> DownEnd {
        loop {
            if let Err(end) = self.strike().await {
                return end;
            }
            let step = match self.wake().await {
                Wake::Deleted => self.close(1002, "the session was deleted").await,
                Wake::Control(control) => self.control(control).await,
                Wake::Faults => {
                    self.faults.refresh();
                    Ok(())
                }
                Wake::Ping => self.ping().await,
                Wake::Flush => self.emit(true).await,
                Wake::Read(Ok(0)) => self.target_ended().await,
                Wake::Read(Ok(n)) => {
                    self.framing.filled(n);
                    self.emit(false).await
                }
                Wake::Read(Err(_)) => match self.emit(true).await {
                    Ok(()) => self.close(1011, "the target reset the connection").await,
                    end => end,
                },
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    async fn wake(&mut self) -> Wake {
        let ping = self.faults.pings.map(|(_, next)| next);
        let flush = self.framing.flush_at();
        tokio::select! {
            biased;
            () = self.deleted.cancelled() => Wake::Deleted,
            control = self.control.recv() => Wake::Control(control),
            Ok(()) = self.faults.changes.changed() => Wake::Faults,
            () = sleep_until(ping.unwrap_or_else(Instant::now)), if ping.is_some() => Wake::Ping,
            read = self.target.read(self.framing.space()) => Wake::Read(read),
            () = sleep_until(flush.unwrap_or_else(Instant::now)), if flush.is_some() => Wake::Flush,
        }
    }

    /// Frames what the target sent, up to the next fault, and writes it.
    async fn emit(&mut self, all: bool) -> Result<(), DownEnd> {
        loop {
            let sent = self.traffic.down.load(Ordering::Relaxed);
            let limit = self.faults.pending.map(|p| p.after.saturating_sub(sent));
            let (bytes, cut) = self.framing.frame(&mut self.out, limit, all);
            if !self.out.is_empty() {
                self.write().await?;
            }
            self.traffic.down.fetch_add(bytes, Ordering::Relaxed);
            if !cut {
                return Ok(());
            }
            self.strike().await?;
        }
    }

    async fn target_ended(&mut self) -> Result<(), DownEnd> {
        self.emit(true).await?;
        if self.traffic.target_broken.load(Ordering::Relaxed) {
            return self.close(1011, "the target broke the connection").await;
        }
        self.close(1000, "").await
    }

    async fn control(&mut self, control: Option<Control>) -> Result<(), DownEnd> {
        match control {
            Some(Control::Pong(_)) if self.faults.no_pong => Ok(()),
            Some(Control::Pong(payload)) => {
                frame::put(&mut self.out, frame::PONG, &payload);
                self.write().await
            }
            Some(Control::Close(code)) => self.close(code, "").await,
            Some(Control::Breach(breach)) => {
                let breach = self.breach.insert(breach);
                let (code, reason) = (breach.code, breach.reason.clone());
                self.close(code, &reason).await.map_err(|end| match end {
                    DownEnd::Closed(what) => DownEnd::Refused(what),
                    DownEnd::Refused(_) | DownEnd::Stalled | DownEnd::Lost | DownEnd::Fault(..) => end,
                })
            }
            None => Err(DownEnd::Lost),
        }
    }

    async fn ping(&mut self) -> Result<(), DownEnd> {
        if let Some((every, next)) = &mut self.faults.pings {
            *next = Instant::now() + *every;
        }
        frame::put(&mut self.out, frame::PING, b"emulator");
        self.write().await
    }

    /// Every fault that is due here.
    async fn strike(&mut self) -> Result<(), DownEnd> {
        while let Some(action) = self.faults.due(self.traffic.down.load(Ordering::Relaxed)) {
            match action {
                FaultAction::Silence => return Err(self.silence().await),
                FaultAction::Drop => return Err(fault(&action, Leave::Cut(Cut::Drop))),
                FaultAction::Reset => return Err(fault(&action, Leave::Cut(Cut::Reset))),
                FaultAction::CloseNotify => return Err(fault(&action, Leave::Part)),
                FaultAction::Close(code) => self.close(code, "fault").await?,
                FaultAction::ReservedBit => self.spoil(frame::BINARY | 0x40, b"fault").await?,
                FaultAction::UnknownOpcode => self.spoil(0x83, b"fault").await?,
                FaultAction::Masked => {
                    // A mask of zeros: all of it as it should be, but for the bit.
                    self.out.extend_from_slice(&[frame::BINARY, 0x85, 0, 0, 0, 0]);
                    self.out.extend_from_slice(b"fault");
                    self.write().await?;
                }
                FaultAction::Text => self.framing.as_text(),
                FaultAction::NoPong => self.faults.no_pong = true,
                FaultAction::Pings(every) => self.faults.pings = Some((every, Instant::now() + every)),
                FaultAction::Status(_)
                | FaultAction::PlainStatus(_)
                | FaultAction::EmptyStatus(_)
                | FaultAction::Redirect(..)
                | FaultAction::Malformed
                | FaultAction::Answer(_)
                | FaultAction::Delay(_)
                | FaultAction::HttpAfter101
                | FaultAction::Bare101
                | FaultAction::WrongAccept => {}
            }
        }
        Ok(())
    }

    async fn spoil(&mut self, first: u8, payload: &[u8]) -> Result<(), DownEnd> {
        frame::put(&mut self.out, first, payload);
        self.write().await
    }

    /// Says nothing any more, until there is nobody to say it to.
    async fn silence(&mut self) -> DownEnd {
        loop {
            tokio::select! {
                () = self.deleted.cancelled() => return fault(&FaultAction::Silence, Leave::Cut(Cut::Drop)),
                control = self.control.recv() => if control.is_none() {
                    return DownEnd::Lost;
                },
            }
        }
    }

    /// Sends a close frame: always an end.
    async fn close(&mut self, code: u16, reason: &str) -> Result<(), DownEnd> {
        frame::put_close(&mut self.out, code, reason);
        self.write().await?;
        self.traffic.close_sent.store(true, Ordering::Relaxed);
        let code = if code == 0 { "without a code".to_owned() } else { code.to_string() };
        Err(DownEnd::Closed(if reason.is_empty() {
            format!("close {code}")
        } else {
            format!("close {code} ({reason})")
        }))
    }

    /// Writes what is ready. A client that takes nothing for too long is given up (G29).
    async fn write(&mut self) -> Result<(), DownEnd> {
        let patience = self.world.limits.stall;
        let mut written = 0;
        while let Some(rest) = self.out.get(written..).filter(|rest| !rest.is_empty()) {
            match timeout(patience, self.client.write(rest)).await {
                Ok(Ok(n)) if n > 0 => written += n,
                Ok(_) => return Err(DownEnd::Lost),
                Err(_) => return Err(DownEnd::Stalled),
            }
        }
        self.out.clear();
        match timeout(patience, self.client.flush()).await {
            Ok(Ok(())) => {
                self.traffic.touch();
                Ok(())
            }
            Ok(Err(_)) => Err(DownEnd::Lost),
            Err(_) => Err(DownEnd::Stalled),
        }
    }
}

fn fault(action: &FaultAction, leave: Leave) -> DownEnd {
    DownEnd::Fault(format!("fault: {action:?}"), leave)
}
