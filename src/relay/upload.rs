//! The way from the local side to the remote.

use std::cell::RefCell;
use std::io;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::{BufMut as _, BytesMut};

use super::Relay;
use crate::carrier::ByteStream;

/// How much is read from the local side at once.
const READ: usize = 64 * 1024;

thread_local! {
    /// One read buffer a thread, not a connection: a remote takes what it is given at once, so the memory is free
    /// again when the poll ends, and a thousand idle connections hold none.
    static SCRATCH: RefCell<BytesMut> = RefCell::new(BytesMut::new());
}

impl Relay {
    /// Gives the remote what the local side has. Sends at the latest when the local side has nothing more.
    /// Says whether anything was taken.
    pub(super) fn poll_upload<R: ByteStream>(
        &mut self,
        cx: &mut Context<'_>,
        remote: &mut R,
    ) -> io::Result<bool> {
        let mut some = false;
        while !self.local_ended && self.send_broken.is_none() {
            match remote.poll_ready(cx) {
                Poll::Pending => return Ok(some),
                Poll::Ready(Err(broken)) => self.send_broken = Some(broken),
                Poll::Ready(Ok(())) => match SCRATCH.with_borrow_mut(|scratch| self.poll_read(cx, scratch)) {
                    Poll::Pending => break,
                    Poll::Ready(read) => {
                        some = true;
                        let bytes = read?;
                        if bytes.is_empty() {
                            self.local_ended = true;
                        } else {
                            self.counts.up.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                            self.unflushed = true;
                            self.send_broken = remote.send(bytes.freeze()).err();
                        }
                    }
                },
            }
        }
        if self.unflushed && self.send_broken.is_none() {
            match remote.poll_flush(cx) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(broken)) => self.send_broken = Some(broken),
            }
        }
        Ok(some)
    }

    /// Some bytes, or none at the end.
    fn poll_read(&self, cx: &mut Context<'_>, scratch: &mut BytesMut) -> Poll<io::Result<BytesMut>> {
        loop {
            std::task::ready!(self.local.poll_read_ready(cx))?;
            scratch.reserve(READ);
            match self.local.try_read_buf(&mut scratch.limit(READ)) {
                Ok(_) => return Poll::Ready(Ok(scratch.split())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}
