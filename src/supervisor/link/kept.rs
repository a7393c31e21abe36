//! The sessions that a way keeps ready, and who may have them.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::FutureExt as _;
use tokio::time::Instant;

use super::Link;
use crate::carrier::{Break, ByteStream, Carrier as _, Closing, OpenOptions, Received};
use crate::model::{Locator, Port};
use crate::supervisor::warm::{Kept, What};

impl Link {
    /// Keeps so many ready. Says when the oldest of them is of no use any more.
    pub(super) async fn keep(
        &self,
        target: &Locator,
        port: Port,
        options: &OpenOptions,
        wanted: usize,
    ) -> Option<Instant> {
        let place = (target.clone(), port);
        loop {
            let (kept, oldest) = self.pool.tidy(&place);
            if kept >= wanted {
                return oldest;
            }
            // What fails here fails for the next connection too, which has somebody who wants to know.
            let Ok((resolved, destination)) = self.destination(target, port).await else { return oldest };
            let prepared = resolved.gateway.prepare(&destination, &*self.reader.tokens, options).await;
            let Ok(Some(prepared)) = prepared else { return oldest };
            let what = if options.prewarm_dial {
                let Ok(stream) = resolved.gateway.resume(prepared, options).await else { return oldest };
                What::Stream(Box::new(stream))
            } else {
                What::Session(prepared)
            };
            self.pool.put(&place, Kept::new(Arc::clone(&resolved.gateway), what));
        }
    }

    /// A stream from what is kept, if there is something that is of use still.
    pub(super) async fn resumed(
        &self,
        target: &Locator,
        port: Port,
        options: &OpenOptions,
    ) -> Option<Box<dyn ByteStream>> {
        let place = (target.clone(), port);
        loop {
            let Kept { gateway, what, .. } = self.pool.take(&place)?;
            let now = self.read(None).await.ok()?;
            if !Arc::ptr_eq(&gateway, &now.gateway) {
                continue;
            }
            match what {
                What::Stream(stream) => {
                    if let Some(stream) = Looked::at(stream) {
                        return Some(Box::new(stream));
                    }
                }
                What::Session(prepared) => match gateway.resume(prepared, options).await {
                    Ok(stream) => return Some(Box::new(stream)),
                    Err(error) => {
                        let bastion = self.bastion.name();
                        tracing::debug!(bastion, %error, "a session that was kept is of no use");
                        // The next one may be no better, and somebody waits.
                        return None;
                    }
                },
            }
        }
    }

    /// Where all sessions are taken that there may be, those that are kept are for whoever needs one now.
    pub(super) fn give_way(&self) {
        let most = self.books().limits.sessions;
        if most != 0 && self.usage().sessions >= most {
            self.pool.give_way();
        }
    }
}

/// A stream that was looked at, with what was seen.
struct Looked<S> {
    seen: Option<Bytes>,
    stream: S,
}

impl<S: ByteStream> Looked<S> {
    /// `None`: it is at its end.
    fn at(mut stream: S) -> Option<Self> {
        let seen = match poll_fn(|cx| stream.poll_recv(cx)).now_or_never() {
            None => None,
            // The target has spoken first.
            Some(Received::Data(bytes)) => Some(bytes),
            Some(Received::End { .. } | Received::Broken(_)) => return None,
        };
        Some(Self { seen, stream })
    }
}

impl<S: ByteStream> ByteStream for Looked<S> {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
        match self.seen.take() {
            Some(seen) => Poll::Ready(Received::Data(seen)),
            None => self.stream.poll_recv(cx),
        }
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Break>> {
        self.stream.poll_ready(cx)
    }

    fn send(&mut self, bytes: Bytes) -> Result<(), Break> {
        self.stream.send(bytes)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Break>> {
        self.stream.poll_flush(cx)
    }

    fn poll_settled(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        self.stream.poll_settled(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>, why: Closing) -> Poll<()> {
        self.stream.poll_close(cx, why)
    }
}
