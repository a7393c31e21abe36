//! A session's WebSocket as a [`ByteStream`]: messages of at most 4096 bytes up, whatever comes down, and what its end means.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink as _, Stream as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::keepalive::{Due, Keepalive};
use super::ledger::Lease;
use super::meaning::meaning;
use super::tap::{HttpInPlaceOfFrame, Tap};
use super::wire::{MAX_KEPT, MAX_MESSAGE};
use crate::carrier::{Break, ByteStream, Closing, Received};
use crate::model::printable;

/// How long the gateway may take to answer a close frame when it never answered anything.
const FAREWELL: Duration = Duration::from_secs(30);
/// How long the gateway may take to answer a close frame once it has taken all that stands before it.
const REPLY: Duration = Duration::from_secs(2);
/// How long it may take for that, if it is known to answer; and how long sending what is left may take.
const TAKING: Duration = Duration::from_secs(300);
/// How long the answer to a ping behind the last bytes is waited for on a link that never answered one.
const UNKNOWN: Duration = Duration::from_secs(30);
/// What that ping carries, so that its answer is told from others.
const LAST: &[u8] = b"end";

/// The live WebSocket of one session. Dropping it ends the session.
pub struct GatewayStream<S> {
    socket: WebSocketStream<Tap<S>>,
    /// What was sent before the first frame arrived; `None` once it cannot be needed any more.
    kept: Option<Vec<u8>>,
    keepalive: Keepalive,
    timer: Pin<Box<Sleep>>,
    closing: CloseStep,
    taken: Taken,
    abandoned: bool,
    /// Last: the session is deleted after its socket is gone.
    _lease: Option<Lease>,
}

/// Whether the gateway has taken everything that was sent.
#[derive(Debug)]
enum Taken {
    /// Something was sent since it was last known.
    Unknown,
    /// A ping stands behind the last bytes; when to stop waiting for its answer, unless the link is known to answer.
    Asked(Pin<Box<Sleep>>),
    /// It has.
    All,
}

impl<S> std::fmt::Debug for GatewayStream<S> {
    /// Without the bytes: they are someone's data.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GatewayStream").field("closing", &self.closing).finish_non_exhaustive()
    }
}

/// How far the goodbye is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CloseStep {
    Open,
    Flushing,
    Replying,
    ShuttingDown,
    Closed,
}

impl<S: AsyncRead + AsyncWrite + Unpin> GatewayStream<S> {
    /// Takes over an upgraded connection; `early` is what came behind the head of the answer.
    pub(super) async fn new(
        connection: S,
        early: Vec<u8>,
        keepalive: Duration,
        lease: Option<Lease>,
    ) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(16 * 1024)
            .write_buffer_size(64 * 1024)
            // Without a limit there is no back-pressure.
            .max_write_buffer_size(1 << 20)
            .max_frame_size(Some(4 << 20))
            .max_message_size(Some(4 << 20));
        let now = Instant::now();
        Self {
            socket: WebSocketStream::from_raw_socket(Tap::new(connection, early), Role::Client, Some(config))
                .await,
            kept: Some(Vec::new()),
            keepalive: Keepalive::new(keepalive, now),
            timer: Box::pin(tokio::time::sleep_until(now)),
            closing: CloseStep::Open,
            taken: Taken::All,
            abandoned: false,
            _lease: lease,
        }
    }

    fn received(&mut self, message: Message) -> Option<Received> {
        self.kept = None;
        self.keepalive.heard(Instant::now());
        let bytes = match message {
            Message::Binary(bytes) => bytes,
            Message::Text(text) => Bytes::from(text),
            Message::Pong(payload) => {
                self.keepalive.answered();
                if payload.as_ref() == LAST && matches!(self.taken, Taken::Asked(_)) {
                    self.taken = Taken::All;
                }
                return None;
            }
            // The library answers pings; the answer leaves with the next poll.
            Message::Ping(_) | Message::Frame(_) => return None,
            Message::Close(frame) => return Some(self.closed(frame)),
        };
        // An empty message is no end of stream.
        (!bytes.is_empty()).then_some(Received::Data(bytes))
    }

    /// Close 1000 and close without a code are an end; every other code is a break.
    fn closed(&self, frame: Option<CloseFrame>) -> Received {
        match frame {
            // The library puts this in the place of a code that may not be sent.
            Some(CloseFrame { code: CloseCode::Protocol, reason }) if reason == "Protocol violation" => {
                Received::Broken(Break::new(
                    "gateway-close",
                    "the gateway closed with a code that may not be sent",
                ))
            }
            Some(CloseFrame { code, reason }) if code != CloseCode::Normal => {
                let reason = printable(&reason, 200);
                let reason = if reason.is_empty() { String::new() } else { format!(" (\"{reason}\")") };
                Received::Broken(Break::new(
                    "gateway-close",
                    format!("the gateway closed with {}{reason}", u16::from(code)),
                ))
            }
            _ if !self.socket.get_ref().between_messages() => Received::Broken(cut_short()),
            Some(_) | None => Received::End { clean: true },
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the library's errors are its own; what we do not know is a violation"
    )]
    fn failed(&mut self, error: Error) -> Received {
        match error {
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
                if self.socket.get_ref().between_messages() {
                    Received::End { clean: false }
                } else {
                    Received::Broken(cut_short())
                }
            }
            Error::Io(error) => Received::Broken(self.io_break(&error)),
            Error::Protocol(error) => Received::Broken(Break::new("gateway-protocol", meaning(&error))),
            Error::Capacity(CapacityError::MessageTooLong { size, max_size }) => {
                Received::Broken(Break::new(
                    "gateway-protocol",
                    format!(
                        "the gateway sent a message of {size} bytes; more than {max_size} are not accepted"
                    ),
                ))
            }
            Error::Utf8(_) => Received::Broken(Break::new(
                "gateway-protocol",
                "the gateway sent a text message that is not UTF-8",
            )),
            other => Received::Broken(Break::new("gateway-protocol", printable(&other.to_string(), 200))),
        }
    }

    fn io_break(&mut self, error: &io::Error) -> Break {
        if let Some(found) = error.get_ref().and_then(|inner| inner.downcast_ref::<HttpInPlaceOfFrame>()) {
            let status = found.status.map(|status| format!(" {status}")).unwrap_or_default();
            let what = format!("a node of the bastion answered HTTP{status} in place of the first frame");
            return Break { unsent: self.kept.take(), ..Break::new("gateway-node", what) };
        }
        let kind = error.kind();
        if kind == io::ErrorKind::UnexpectedEof {
            Break::new("gateway-cut", "the connection to the gateway ended without a goodbye")
        } else if kind == io::ErrorKind::ConnectionReset || kind == io::ErrorKind::BrokenPipe {
            Break::new("gateway-reset", "the connection to the gateway was reset")
        } else {
            Break::new("gateway-lost", format!("the connection to the gateway was lost: {error}"))
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the library's errors are its own; what we do not know is a violation"
    )]
    fn send_break(&mut self, error: Error) -> Break {
        match error {
            Error::Io(error) => self.io_break(&error),
            Error::Protocol(ProtocolError::SendAfterClosing)
            | Error::ConnectionClosed
            | Error::AlreadyClosed => Break::new("gateway-close", "the gateway has closed the session"),
            other => Break::new("gateway-protocol", printable(&other.to_string(), 200)),
        }
    }

    /// Pings a quiet link, and notices one that has stopped answering.
    fn poll_keepalive(&mut self, cx: &mut Context<'_>) -> Poll<Break> {
        loop {
            match self.keepalive.due(Instant::now()) {
                Due::Never => return Poll::Pending,
                Due::Dead => {
                    return Poll::Ready(Break::new(
                        "gateway-silent",
                        "the gateway has stopped answering pings, which it did before",
                    ));
                }
                Due::Ping => match self.poll_ping(cx) {
                    Poll::Ready(Ok(())) => self.keepalive.pinged(Instant::now()),
                    Poll::Ready(Err(broken)) => return Poll::Ready(broken),
                    Poll::Pending => self.keepalive.postponed(Instant::now()),
                },
                Due::At(deadline) => {
                    if self.timer.deadline() != deadline {
                        self.timer.as_mut().reset(deadline);
                    }
                    ready!(self.timer.as_mut().poll(cx));
                }
            }
        }
    }

    /// Sends a ping, if the link takes it.
    fn poll_ping(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Break>> {
        if let Err(error) = ready!(Pin::new(&mut self.socket).poll_ready(cx)) {
            return Poll::Ready(Err(self.send_break(error)));
        }
        if let Err(error) = Pin::new(&mut self.socket).start_send(Message::Ping(Bytes::new())) {
            return Poll::Ready(Err(self.send_break(error)));
        }
        Pin::new(&mut self.socket).poll_flush(cx).map_err(|error| self.send_break(error))
    }

    /// How long the gateway may take to answer our close frame: it answers when it has taken what stands before it.
    fn reply_limit(&self) -> Duration {
        match self.taken {
            Taken::All => REPLY,
            Taken::Unknown | Taken::Asked(_) if self.keepalive.answers() => TAKING,
            Taken::Unknown | Taken::Asked(_) => FAREWELL,
        }
    }

    /// The steps of a goodbye that have no time limit of their own.
    fn poll_farewell(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match self.closing {
                CloseStep::Open | CloseStep::Closed => return Poll::Ready(()),
                CloseStep::Flushing => match Pin::new(&mut self.socket).poll_flush(cx) {
                    Poll::Ready(Ok(())) => {
                        self.closing = CloseStep::Replying;
                        let limit = if self.abandoned { REPLY } else { self.reply_limit() };
                        self.timer.as_mut().reset(Instant::now() + limit);
                    }
                    Poll::Ready(Err(_)) => self.closing = CloseStep::Closed,
                    // A gateway that is kept from sending may not read either: what it has is taken, and nobody wants it.
                    Poll::Pending => match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
                        Some(Ok(Message::Close(_))) | None => self.closing = CloseStep::ShuttingDown,
                        Some(Ok(_)) => {}
                        Some(Err(_)) => self.closing = CloseStep::Closed,
                    },
                },
                CloseStep::Replying => match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
                    Some(Ok(Message::Close(_))) | None => self.closing = CloseStep::ShuttingDown,
                    Some(Ok(Message::Pong(payload))) if payload.as_ref() == LAST => {
                        self.timer.as_mut().reset(Instant::now() + REPLY);
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) => self.closing = CloseStep::Closed,
                },
                CloseStep::ShuttingDown => {
                    // The answer to the gateway's own close frame leaves here, then TLS says goodbye.
                    drop(ready!(Pin::new(&mut self.socket).poll_flush(cx)));
                    drop(ready!(Pin::new(self.socket.get_mut()).poll_shutdown(cx)));
                    self.closing = CloseStep::Closed;
                }
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> ByteStream for GatewayStream<S> {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
        loop {
            match Pin::new(&mut self.socket).poll_next(cx) {
                Poll::Ready(Some(Ok(message))) => {
                    if let Some(received) = self.received(message) {
                        return Poll::Ready(received);
                    }
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(self.failed(error)),
                Poll::Ready(None) => return Poll::Ready(Received::End { clean: true }),
                Poll::Pending => return self.poll_keepalive(cx).map(Received::Broken),
            }
        }
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Break>> {
        Pin::new(&mut self.socket).poll_ready(cx).map_err(|error| self.send_break(error))
    }

    fn send(&mut self, mut bytes: Bytes) -> Result<(), Break> {
        if let Some(kept) = &mut self.kept {
            if kept.len() + bytes.len() <= MAX_KEPT {
                kept.extend_from_slice(&bytes);
            } else {
                self.kept = None;
            }
        }
        self.keepalive.sent(Instant::now(), bytes.len());
        self.taken = Taken::Unknown;
        while !bytes.is_empty() {
            let message = Message::Binary(bytes.split_to(bytes.len().min(MAX_MESSAGE)));
            if let Err(error) = Pin::new(&mut self.socket).start_send(message) {
                return Err(self.send_break(error));
            }
        }
        Ok(())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Break>> {
        Pin::new(&mut self.socket).poll_flush(cx).map_err(|error| self.send_break(error))
    }

    fn poll_settled(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if matches!(self.taken, Taken::Unknown) {
            // A break shows itself where bytes are received.
            let ready = ready!(Pin::new(&mut self.socket).poll_ready(cx)).is_ok();
            let ping = Message::Ping(Bytes::from_static(LAST));
            if ready && Pin::new(&mut self.socket).start_send(ping).is_ok() {
                self.taken = Taken::Asked(Box::pin(tokio::time::sleep(UNKNOWN)));
            }
        }
        drop(ready!(Pin::new(&mut self.socket).poll_flush(cx)));
        match &mut self.taken {
            Taken::Asked(_) if self.keepalive.answers() => Poll::Pending,
            Taken::Asked(limit) => limit.as_mut().poll(cx).map(|()| false),
            Taken::Unknown => Poll::Ready(false),
            Taken::All => Poll::Ready(true),
        }
    }

    fn poll_close(&mut self, cx: &mut Context<'_>, why: Closing) -> Poll<()> {
        if self.closing == CloseStep::Open {
            // What an abandoned stream still holds is owed to nobody, and its session waits to be deleted.
            self.abandoned = why == Closing::Abandoned;
            let (code, limit) = match why {
                Closing::Done => (CloseCode::Normal, TAKING),
                // Not 1000, nor 1001, which a gateway may take for an orderly end.
                Closing::Abandoned => (CloseCode::Error, REPLY),
            };
            if matches!(self.taken, Taken::Unknown) && !self.abandoned {
                // Its answer says that all was taken, even where close frames are not answered.
                let ping = Message::Ping(Bytes::from_static(LAST));
                drop(Pin::new(&mut self.socket).start_send(ping));
            }
            let frame = CloseFrame { code, reason: "".into() };
            // An error means that the gateway closed first; then only the answer is left to send.
            self.closing = match Pin::new(&mut self.socket).start_send(Message::Close(Some(frame))) {
                Ok(()) => CloseStep::Flushing,
                Err(_) => CloseStep::ShuttingDown,
            };
            self.timer.as_mut().reset(Instant::now() + limit);
        }
        if self.poll_farewell(cx).is_pending() {
            ready!(self.timer.as_mut().poll(cx));
            self.closing = CloseStep::Closed;
        }
        Poll::Ready(())
    }
}

fn cut_short() -> Break {
    Break::new("gateway-cut", "the gateway ended in the middle of a message")
}

#[cfg(test)]
mod tests;
