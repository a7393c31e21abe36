//! How the target's bytes are cut into messages: pure, and never more in memory than one buffer.

use std::time::Duration;

use tokio::time::Instant;

use super::frame::{self, MESSAGE_LIMIT};
use crate::model::Frames;

/// The target's bytes that have not become frames yet, and the way to make them.
pub(super) struct Framing {
    mode: Frames,
    text: bool,
    buffer: Vec<u8>,
    filled: usize,
    /// When the first byte that waits came, and the last.
    waiting: Option<(Instant, Instant)>,
    messages: u64,
}

impl Framing {
    pub(super) fn new(mode: Frames) -> Self {
        let most = match mode {
            Frames::Natural | Frames::Fragments => READ,
            Frames::Size(n) => READ.max(n),
        };
        Self { mode, text: false, buffer: vec![0; most], filled: 0, waiting: None, messages: 0 }
    }

    /// From here on messages are text where they can be.
    pub(super) fn as_text(&mut self) {
        self.text = true;
    }

    /// Where the next bytes go; never empty between calls to [`Self::frame`].
    pub(super) fn space(&mut self) -> &mut [u8] {
        self.buffer.get_mut(self.filled..).unwrap_or_default()
    }

    pub(super) fn filled(&mut self, n: usize) {
        self.filled += n;
    }

    /// When bytes that wait for company go without.
    pub(super) fn flush_at(&self) -> Option<Instant> {
        self.waiting.map(|(first, last)| (last + COMPANY).min(first + COMPANY_AT_MOST))
    }

    /// Makes frames of at most `limit` bytes. Answers how many bytes those are, and whether the limit was reached.
    ///
    /// `all`: also of those that would rather wait for more.
    pub(super) fn frame(&mut self, out: &mut Vec<u8>, limit: Option<u64>, all: bool) -> (u64, bool) {
        let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let ready = self.filled.min(limit);
        let cut = self.filled >= limit;
        let data = self.buffer.get(..ready).unwrap_or_default();
        let mut used = 0;
        match self.mode {
            Frames::Natural => {
                for message in data.chunks(MESSAGE_LIMIT) {
                    used += put(out, self.text, message);
                }
            }
            Frames::Size(size) => {
                for message in data.chunks(size.max(1)) {
                    if message.len() == size || all || cut {
                        used += put(out, self.text, message);
                    }
                }
            }
            Frames::Fragments => {
                for message in data.chunks(MESSAGE_LIMIT) {
                    self.messages = self.messages.wrapping_add(1);
                    used += fragments(out, self.text, message, self.messages);
                }
            }
        }
        self.buffer.copy_within(used..self.filled, 0);
        self.filled -= used;
        self.waiting = match (self.filled, self.waiting) {
            (0, _) => None,
            (_, Some((first, _))) if used == 0 => Some((first, Instant::now())),
            _ => Some((Instant::now(), Instant::now())),
        };
        (u64::try_from(used).unwrap_or(0), cut)
    }
}

fn put(out: &mut Vec<u8>, text: bool, message: &[u8]) -> usize {
    let first = if text && message.is_ascii() { frame::TEXT } else { frame::BINARY };
    frame::put(out, first, message);
    message.len()
}

/// One message in up to three frames, a ping among them; after every third, a message of nothing.
fn fragments(out: &mut Vec<u8>, text: bool, message: &[u8], number: u64) -> usize {
    let third = message.len().div_ceil(3);
    let (begin, rest) = message.split_at(third);
    let (middle, end) = rest.split_at(third.min(rest.len()));
    let first = if text && message.is_ascii() { frame::TEXT_BEGIN } else { frame::BINARY_BEGIN };
    frame::put(out, first, begin);
    frame::put(out, frame::PING, &number.to_be_bytes());
    frame::put(out, frame::CONTINUE, middle);
    frame::put(out, frame::CONTINUE_END, end);
    if number.is_multiple_of(3) {
        frame::put(out, frame::BINARY, &[]);
    }
    message.len()
}

/// How much is read from a target at once.
const READ: usize = 64 * 1024;
/// How long bytes wait for the next ones.
const COMPANY: Duration = Duration::from_millis(3);
/// How long they wait at most.
const COMPANY_AT_MOST: Duration = Duration::from_millis(50);
