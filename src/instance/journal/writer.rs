//! The writer of a living journal: a thread of its own, so that a disk that is slow, full or gone stops no tunnel.
//!
//! What is in Azure now stands in memory; the file follows it. Lines are added to the file one batch at a time, and it is
//! written anew when they outweigh what they say, after a failure, and every hour, so that the lines of sessions in use
//! do not grow old.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use super::super::record::{JournalHead, Left, gone_line, granted_line};
use super::book::{Book, Line, seconds};

/// How much may be added to a file before it is written anew, besides twice what it says.
const SLACK: usize = 64 * 1024;
/// How much may wait for the disk before it is written anew instead.
const PENDING: usize = 256 * 1024;
/// How much a journal may say.
const MOST: usize = 4 * 1024 * 1024;
/// How often the lines of sessions in use are renewed.
const RENEWAL: Duration = Duration::from_hours(1);
/// What is written when the writer has ended.
pub(super) const ENDED: u64 = u64::MAX;

/// What is to be in the file, shared by the writer and those who tell it.
#[derive(Debug)]
pub(super) struct Desk {
    state: Mutex<State>,
    bell: Condvar,
    /// Up to which ticket all is in the file, or cannot be.
    pub(super) written: watch::Sender<u64>,
    clock: fn() -> SystemTime,
}

#[derive(Debug, Default)]
struct State {
    lines: BTreeMap<u64, Kept>,
    next: u64,
    size: usize,
    pending: Vec<u8>,
    ticket: u64,
    /// The file is to be written anew.
    anew: bool,
    /// It could not be written: half a line may stand at its end.
    broken: bool,
    closing: bool,
    told: bool,
}

#[derive(Clone, Debug)]
struct Kept {
    line: Line,
    /// Of this process, not of one before it.
    ours: bool,
}

/// What the writer does next.
enum Job {
    Add(Vec<u8>),
    Anew(BTreeMap<u64, Line>),
}

impl Desk {
    /// `lines`: what processes before this one have left.
    pub(super) fn new(lines: BTreeMap<u64, Line>, anew: bool, clock: fn() -> SystemTime) -> Self {
        let next = lines.last_key_value().map_or(0, |(id, _)| id.saturating_add(1));
        let size = lines.values().map(Line::size).sum();
        let lines = lines.into_iter().map(|(id, line)| (id, Kept { line, ours: false })).collect();
        let state = State { lines, next, size, anew, ..State::default() };
        Self { state: state.into(), bell: Condvar::new(), written: watch::Sender::new(0), clock }
    }

    /// What processes before this one have left.
    pub(super) fn inherited(&self) -> Vec<(u64, Arc<Left>)> {
        let state = self.state();
        let inherited = state.lines.iter().filter(|(_, kept)| !kept.ours);
        inherited.map(|(id, kept)| (*id, Arc::clone(&kept.line.left))).collect()
    }

    /// Notes a session. Gives its number, and the ticket to wait for.
    pub(super) fn granted(&self, left: Left) -> (u64, u64) {
        let at = seconds((self.clock)());
        let line = Line { at, left: Arc::new(left) };
        let mut state = self.state();
        let id = state.next;
        state.next = id.saturating_add(1);
        if state.size + line.size() > MOST {
            if !std::mem::replace(&mut state.told, true) {
                tracing::warn!(
                    "too many sessions to write down: what a killed `bastion` leaves of them, Azure ends by itself"
                );
            }
            return (id, 0);
        }
        state.size += line.size();
        let text = granted_line(id, at, &line.left);
        state.lines.insert(id, Kept { line, ours: true });
        (id, self.add(state, &text))
    }

    /// Takes a session out, which is deleted.
    pub(super) fn gone(&self, id: u64) {
        let mut state = self.state();
        if let Some(kept) = state.lines.remove(&id) {
            state.size = state.size.saturating_sub(kept.line.size());
            self.add(state, &gone_line(id));
        }
    }

    /// Has the writer end when all is written.
    pub(super) fn close(&self) {
        self.state().closing = true;
        self.bell.notify_one();
    }

    fn add(&self, mut state: MutexGuard<'_, State>, text: &[u8]) -> u64 {
        if state.pending.len() + text.len() > PENDING {
            // The disk is behind: what holds now says it all.
            state.pending.clear();
            state.anew = true;
        } else {
            state.pending.extend_from_slice(text);
        }
        state.ticket += 1;
        let ticket = state.ticket;
        drop(state);
        self.bell.notify_one();
        ticket
    }

    /// The next thing to do, up to which ticket it goes, and how much the file has to say then; none at the end.
    fn next(&self, book: &Book) -> Option<(Job, u64)> {
        let mut state = self.state();
        while !state.anew && state.pending.is_empty() {
            if state.closing && !state.broken {
                return None;
            }
            if state.closing {
                break;
            }
            let (back, waited) =
                self.bell.wait_timeout(state, RENEWAL).unwrap_or_else(PoisonError::into_inner);
            state = back;
            state.anew |= waited.timed_out() && !state.lines.is_empty();
        }
        let pending = std::mem::take(&mut state.pending);
        let anew = std::mem::take(&mut state.anew) | std::mem::take(&mut state.broken);
        if !anew && book.added + pending.len() <= SLACK + 2 * state.size {
            return Some((Job::Add(pending), state.ticket));
        }
        let now = (self.clock)();
        for kept in state.lines.values_mut().filter(|kept| kept.ours) {
            kept.line.at = seconds(now);
        }
        state.lines.retain(|_, kept| !kept.line.is_old(now));
        state.size = state.lines.values().map(|kept| kept.line.size()).sum();
        let lines = state.lines.iter().map(|(id, kept)| (*id, kept.line.clone())).collect();
        Some((Job::Anew(lines), state.ticket))
    }

    /// Follows what is told until the end. A file that says nothing then is removed.
    pub(super) fn write(&self, mut book: Book, head: &JournalHead) {
        while let Some((job, ticket)) = self.next(&book) {
            let done = match job {
                Job::Add(lines) => book.add(&lines),
                Job::Anew(lines) => book.rewrite(head, &lines),
            };
            if let Err(error) = done {
                self.failed(&book, &error);
            }
            // Also when it failed: nobody is kept waiting by a full disk.
            self.written.send_replace(ticket);
        }
        if self.state().lines.is_empty() {
            let path = book.path().to_owned();
            if let Err(error) = book.remove() {
                tracing::debug!(path = %path.display(), %error, "an empty journal could not be removed");
            }
        } else {
            // Let go before it is said: whoever hears of the end may want the file.
            drop(book);
        }
        self.written.send_replace(ENDED);
    }

    fn failed(&self, book: &Book, error: &io::Error) {
        let mut state = self.state();
        // Tried again with the next line; at the end there is none.
        state.broken = !state.closing;
        let told = std::mem::replace(&mut state.told, true);
        drop(state);
        if !told {
            let path = book.path().display();
            tracing::warn!(
                code = "journal",
                "writing down the sessions that are open, in `{path}`: {error}. Tunnels go on; what a killed `bastion` leaves of them, Azure ends by itself after a while"
            );
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
