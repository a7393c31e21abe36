//! A look at the gateway's bytes on their way to the WebSocket library: what the first ones are, and whether the
//! last ones ended a message.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::boundary::Boundary;
use super::wire;

/// How far beyond a frame is read: enough to see the next one's length. The library moves whatever it has of a next
/// frame into new memory each time it hands one out, so the less it has the better …
const NEXT_HEADER: usize = 10;
/// … but many small frames are better read at once.
const SMALL: usize = 4096;

/// A stream that knows where messages end, and that refuses an HTTP answer in place of the first frame.
#[derive(Debug)]
pub(super) struct Tap<S> {
    inner: S,
    /// Bytes that were read before the WebSocket began; `first` is decided over them.
    early: Vec<u8>,
    /// Whether the first bytes have been judged.
    judged: bool,
    boundary: Boundary,
}

/// The first frame was an HTTP answer.
#[derive(Debug, thiserror::Error)]
#[error("an HTTP answer in place of the first frame")]
pub(super) struct HttpInPlaceOfFrame {
    /// Its status, where the first bytes told it.
    pub(super) status: Option<u16>,
}

impl<S> Tap<S> {
    /// `early` is what arrived behind the head of the upgrade.
    pub(super) fn new(inner: S, early: Vec<u8>) -> Self {
        Self { inner, early, judged: false, boundary: Boundary::default() }
    }

    /// Whether everything that was read so far was whole messages.
    pub(super) fn between_messages(&self) -> bool {
        self.boundary.between_messages()
    }
}

impl<S: AsyncRead + Unpin> Tap<S> {
    /// Reads until the first bytes can be told from an HTTP answer, or until the stream ends.
    fn poll_judge(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match wire::is_http(&self.early) {
                Some(true) => {
                    let found = HttpInPlaceOfFrame { status: wire::status_of(&self.early) };
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, found)));
                }
                Some(false) => return Poll::Ready(Ok(())),
                None => {
                    let mut space = [0; 512];
                    let mut buffer = ReadBuf::new(&mut space);
                    ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buffer))?;
                    if buffer.filled().is_empty() {
                        return Poll::Ready(Ok(()));
                    }
                    self.early.extend_from_slice(buffer.filled());
                }
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tap<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.judged {
            ready!(this.poll_judge(cx))?;
            this.judged = true;
        }
        let most =
            this.boundary.rest_of_frame().saturating_add(NEXT_HEADER).max(SMALL).min(buffer.remaining());
        let mut space = ReadBuf::new(buffer.initialize_unfilled_to(most));
        if this.early.is_empty() {
            ready!(Pin::new(&mut this.inner).poll_read(cx, &mut space))?;
        } else {
            let take = this.early.len().min(space.remaining());
            space.put_slice(this.early.get(..take).unwrap_or_default());
            this.early.drain(..take);
        }
        this.boundary.feed(space.filled());
        let read = space.filled().len();
        buffer.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tap<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
