//! A tunnel as it is between two edits, for the connections that it accepts meanwhile; and the books about them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::bell::Bell;
use super::paths::Way;
use crate::carrier::OpenOptions;
use crate::limit::Limit;
use crate::model::{Name, Wait};
use crate::plan::Spec;
use crate::relay::Counts;

/// A tunnel as it is between two edits.
#[derive(Debug)]
pub(super) struct Edition {
    pub(super) name: Name,
    pub(super) spec: Spec,
    /// Its way to the target.
    pub(super) way: Way,
    /// What is counted of the tunnel, whatever its edition.
    pub(super) tally: Arc<Tally>,
    /// Whom its connections belong to.
    pub(super) cohort: Arc<Cohort>,
    /// Where connections run.
    pub(super) tasks: TaskTracker,
    /// Cancelled when those that do not end are dropped.
    pub(super) abandon: CancellationToken,
}

impl Edition {
    /// What its streams are opened with.
    pub(super) fn open_options(&self) -> OpenOptions {
        OpenOptions {
            user_agent: user_agent(&self.name),
            keepalive: self.spec.behaviour.keepalive,
            waiting: None,
        }
    }
}

/// What appears in the bastion's audit log.
pub(super) fn user_agent(tunnel: &Name) -> String {
    format!("bastion/{} (tunnel {tunnel})", env!("CARGO_PKG_VERSION"))
}

/// The connections of a tunnel that go the same way, and end together when the tunnel goes another or is gone.
#[derive(Debug)]
pub(super) struct Cohort {
    number: u64,
    /// Cancelled when they have to end.
    pub(super) stop: CancellationToken,
    members: AtomicUsize,
    retired: AtomicBool,
    /// Rung when a cohort that takes no new members has none left.
    empty: Arc<Bell<u64>>,
}

/// One connection's place in its cohort.
#[derive(Debug)]
pub(super) struct Member(Arc<Cohort>);

impl Cohort {
    pub(super) fn new(number: u64, stop: CancellationToken, empty: &Arc<Bell<u64>>) -> Self {
        let (members, retired) = (AtomicUsize::new(0), AtomicBool::new(false));
        Self { number, stop, members, retired, empty: Arc::clone(empty) }
    }

    /// Which one it is.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// One more belongs to it.
    pub(super) fn join(self: &Arc<Self>) -> Member {
        self.members.fetch_add(1, Ordering::SeqCst);
        Member(Arc::clone(self))
    }

    /// New connections join another from now on. Says whether there is nobody left in it.
    pub(super) fn retire(&self) -> bool {
        self.retired.store(true, Ordering::SeqCst);
        self.members() == 0
    }

    pub(super) fn members(&self) -> usize {
        self.members.load(Ordering::SeqCst)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let last = self.0.members.fetch_sub(1, Ordering::SeqCst) == 1;
        if last && self.0.retired.load(Ordering::SeqCst) {
            self.0.empty.ring(self.0.number);
        }
    }
}

/// What is counted of a tunnel.
#[derive(Debug)]
pub(super) struct Tally {
    /// How many connections there may be.
    pub(super) limit: Limit,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    accepted: u64,
    live: BTreeMap<u64, Arc<Counts>>,
    waiting: BTreeMap<Wait, usize>,
    /// Bytes of connections that have ended.
    past: (u64, u64),
}

/// What `status` tells of a tally.
#[derive(Debug, Default)]
pub(super) struct Sums {
    pub(super) connections: usize,
    pub(super) waiting: Vec<(Wait, usize)>,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
}

/// One connection in the books, until it is dropped.
#[derive(Debug)]
pub(super) struct Entry {
    tally: Arc<Tally>,
    number: u64,
    waiting: Option<Wait>,
}

impl Tally {
    pub(super) fn new(max_connections: usize) -> Self {
        Self { limit: Limit::new(max_connections), book: Mutex::default() }
    }

    /// A connection was accepted. The first one has the number 1.
    pub(super) fn enter(self: &Arc<Self>) -> Entry {
        let mut book = self.book();
        book.accepted += 1;
        Entry { tally: Arc::clone(self), number: book.accepted, waiting: None }
    }

    /// How many wait for this.
    pub(super) fn waiting(&self, wait: Wait) -> usize {
        self.book().waiting.get(&wait).copied().unwrap_or_default()
    }

    pub(super) fn sums(&self) -> Sums {
        let book = self.book();
        let (mut bytes_in, mut bytes_out) = book.past;
        for counts in book.live.values() {
            bytes_in += counts.up.load(Ordering::Relaxed);
            bytes_out += counts.down.load(Ordering::Relaxed);
        }
        let waiting = book.waiting.iter().map(|(wait, count)| (*wait, *count));
        Sums { connections: book.live.len(), waiting: waiting.collect(), bytes_in, bytes_out }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// The connection's number within its tunnel.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// It waits for this now.
    pub(super) fn wait(&mut self, wait: Wait) {
        let mut book = self.tally.book();
        book.leave(self.waiting.replace(wait));
        *book.waiting.entry(wait).or_default() += 1;
    }

    /// It is connected, and these count its bytes.
    pub(super) fn live(&mut self, counts: Arc<Counts>) {
        let mut book = self.tally.book();
        book.leave(self.waiting.take());
        book.live.insert(self.number, counts);
    }
}

impl Book {
    fn leave(&mut self, wait: Option<Wait>) {
        let Some(wait) = wait else { return };
        if let Some(count) = self.waiting.get_mut(&wait) {
            *count -= 1;
            if *count == 0 {
                self.waiting.remove(&wait);
            }
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut book = self.tally.book();
        book.leave(self.waiting.take());
        if let Some(counts) = book.live.remove(&self.number) {
            book.past.0 += counts.up.load(Ordering::Relaxed);
            book.past.1 += counts.down.load(Ordering::Relaxed);
        }
    }
}
