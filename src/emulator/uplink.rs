//! From the client to the target: strict frames in, plain bytes out.
//!
//! Whole frames are unmasked where they lie and moved together, so that many small messages become one write.

use std::io;
use std::sync::atomic::Ordering;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;

use super::frame::{Breach, Head, Kind, MESSAGE_ADVICE, READ_BUFFER, unmask};
use super::traffic::{CLOSED, Control, Traffic};

/// How the client's side ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum UpEnd {
    /// It answered our close frame, or closed and then hung up.
    Closed,
    /// It hung up without a close frame.
    Gone(&'static str),
}

/// The way up.
pub(super) struct Uplink<R, W> {
    pub(super) client: R,
    pub(super) target: W,
    pub(super) control: mpsc::Sender<Control>,
}

/// What one filling of the buffer held.
struct Batch {
    /// Bytes of the buffer that are done with.
    used: usize,
    /// Payload, moved to the front of the buffer.
    payload: usize,
    large: u64,
    event: Option<Event>,
}

enum Event {
    Close(Vec<u8>),
    Ping(Vec<u8>),
    Breach(Breach),
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Uplink<R, W> {
    /// Carries bytes until the client is gone, or has closed in answer to us. `early` came with the upgrade.
    pub(super) async fn run(&mut self, early: &[u8], traffic: &Traffic) -> UpEnd {
        let mut buffer = vec![0; READ_BUFFER.max(early.len())];
        for (to, from) in buffer.iter_mut().zip(early) {
            *to = *from;
        }
        let mut filled = early.len();
        loop {
            let batch = digest(buffer.get_mut(..filled).unwrap_or_default());
            if batch.used > 0 {
                traffic.touch();
            }
            if batch.large > 0 {
                traffic.large.fetch_add(batch.large, Ordering::Relaxed);
            }
            if let Some(payload) = buffer.get(..batch.payload).filter(|p| !p.is_empty()) {
                self.deliver(payload, traffic).await;
            }
            buffer.copy_within(batch.used..filled, 0);
            filled -= batch.used;
            match batch.event {
                // What is left in the buffer is not yet a frame.
                None => {}
                Some(Event::Ping(payload)) => {
                    self.tell(Control::Pong(payload)).await;
                    continue;
                }
                Some(Event::Close(payload)) => return self.closed(&payload, &mut buffer, traffic).await,
                Some(Event::Breach(breach)) => {
                    self.tell(Control::Breach(breach)).await;
                    return self.discard(&mut buffer).await;
                }
            }
            match self.client.read(buffer.get_mut(filled..).unwrap_or_default()).await {
                Ok(n) if n > 0 => filled += n,
                end => return gone(&end),
            }
        }
    }

    /// Writes to the target; one that is broken takes nothing more, and the way down says so.
    async fn deliver(&mut self, payload: &[u8], traffic: &Traffic) {
        if traffic.target_broken.load(Ordering::Relaxed) {
            return;
        }
        match self.target.write_all(payload).await {
            Ok(()) => {
                traffic.up.fetch_add(u64::try_from(payload.len()).unwrap_or(0), Ordering::Relaxed);
            }
            Err(_) => traffic.target_broken.store(true, Ordering::Relaxed),
        }
    }

    /// The client has closed. An orderly end is passed on to the target as one, behind every byte.
    async fn closed(&mut self, payload: &[u8], buffer: &mut [u8], traffic: &Traffic) -> UpEnd {
        let code = payload.first_chunk::<2>().map_or(0, |code| u16::from_be_bytes(*code));
        traffic.client_closed.store(CLOSED | u32::from(code), Ordering::Relaxed);
        if matches!(code, 0 | 1000 | 1001) {
            // A target that is gone has ended already.
            let _gone = self.target.shutdown().await;
        }
        if traffic.close_sent.load(Ordering::Relaxed) {
            return UpEnd::Closed;
        }
        self.tell(Control::Close(code)).await;
        self.discard(buffer).await;
        UpEnd::Closed
    }

    async fn tell(&self, control: Control) {
        // Without a way down there is nobody left to answer the client.
        let _gone = self.control.send(control).await;
    }

    async fn discard(&mut self, buffer: &mut [u8]) -> UpEnd {
        loop {
            match self.client.read(buffer).await {
                Ok(n) if n > 0 => {}
                end => return gone(&end),
            }
        }
    }
}

fn gone(end: &io::Result<usize>) -> UpEnd {
    UpEnd::Gone(match end {
        Ok(_) => "TLS close_notify without a close frame",
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => "FIN without a close frame",
        Err(_) => "reset",
    })
}

/// Reads frames from the front until one of them asks for something, or there is no whole one left.
fn digest(bytes: &mut [u8]) -> Batch {
    let mut batch = Batch { used: 0, payload: 0, large: 0, event: None };
    while batch.event.is_none() {
        let head = match Head::read(bytes.get(batch.used..).unwrap_or_default()) {
            Ok(Some(head)) => head,
            Ok(None) => break,
            Err(breach) => {
                batch.event = Some(Event::Breach(breach));
                break;
            }
        };
        let from = batch.used + head.size;
        let Some(payload) = bytes.get_mut(from..from + head.payload) else { break };
        unmask(payload, head.mask);
        match head.kind {
            Kind::Binary => {
                batch.large += u64::from(head.payload > MESSAGE_ADVICE);
                bytes.copy_within(from..from + head.payload, batch.payload);
                batch.payload += head.payload;
            }
            Kind::Ping => batch.event = Some(Event::Ping(payload.to_vec())),
            Kind::Close => batch.event = Some(Event::Close(payload.to_vec())),
            Kind::Pong => {}
        }
        batch.used = from + head.payload;
    }
    batch
}
