//! A tunnel as it is between two edits, for the connections that it accepts meanwhile; and the books about them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::bell::Bell;
use super::paths::Way;
use crate::carrier::OpenOptions;
use crate::limit::Limit;
use crate::model::{Held, Name, Reason, Wait};
use crate::plan::Spec;
use crate::relay::Counts;

/// How often a tunnel's refused connections are written down.
const SELDOM: Duration = Duration::from_secs(1);

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
    /// As many connections as there are files for, of all tunnels.
    pub(super) room: Limit,
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
            prewarm: self.spec.behaviour.prewarm,
            prewarm_dial: self.spec.behaviour.prewarm_dial,
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
    /// Those that wait, by number: what for, where they came to, where they come from.
    held: BTreeMap<u64, (Wait, Ends)>,
    /// Bytes of connections that have ended.
    past: (u64, u64),
    /// The bytes when they were last looked at, and how many a second there were until then.
    sample: (u64, u64),
    rate: (u64, u64),
    last_error: Option<(Instant, Reason)>,
    /// When a connection that was refused was last written down, and how many were not since.
    written: Option<Instant>,
    unwritten: u64,
}

/// The two ends of a local connection: ours, and the program's.
pub(super) type Ends = (SocketAddr, SocketAddr);

/// How many connections that wait are told of one by one.
const NAMED: usize = 8;

/// What `status` tells of a tally.
#[derive(Debug, Default)]
pub(super) struct Sums {
    pub(super) connections: usize,
    pub(super) waiting: Vec<(Wait, usize)>,
    pub(super) held: Vec<Held>,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) rate: (u64, u64),
    pub(super) last_error: Option<(Instant, Reason)>,
}

/// One connection in the books, until it is dropped.
#[derive(Debug)]
pub(super) struct Entry {
    tally: Arc<Tally>,
    number: u64,
    /// Not known of one that is gone already.
    ends: Option<Ends>,
    waiting: Option<Wait>,
}

impl Tally {
    pub(super) fn new(max_connections: usize) -> Self {
        Self { limit: Limit::new(max_connections), book: Mutex::default() }
    }

    /// A connection was accepted. The first one has the number 1.
    pub(super) fn enter(self: &Arc<Self>, ends: Option<Ends>) -> Entry {
        let mut book = self.book();
        book.accepted += 1;
        Entry { tally: Arc::clone(self), number: book.accepted, ends, waiting: None }
    }

    /// How many wait for this.
    pub(super) fn waiting(&self, wait: Wait) -> usize {
        self.book().waiting.get(&wait).copied().unwrap_or_default()
    }

    pub(super) fn sums(&self) -> Sums {
        let book = self.book();
        let (bytes_in, bytes_out) = book.bytes();
        let waiting = book.waiting.iter().map(|(wait, count)| (*wait, *count)).collect();
        let held = book.held.values().take(NAMED);
        let held = held.map(|(wait, (to, from))| Held { wait: *wait, to: *to, from: *from, program: None });
        let held = held.collect();
        let (rate, last_error) = (book.rate, book.last_error.clone());
        Sums { connections: book.live.len(), waiting, held, bytes_in, bytes_out, rate, last_error }
    }

    /// Looks at the bytes, so long after it did so before.
    pub(super) fn sample(&self, passed: Duration) {
        let mut book = self.book();
        let now = book.bytes();
        let before = std::mem::replace(&mut book.sample, now);
        let millis = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX).max(1);
        let rate = |now: u64, before: u64| now.saturating_sub(before).saturating_mul(1000) / millis;
        book.rate = (rate(now.0, before.0), rate(now.1, before.1));
    }

    /// A connection failed.
    pub(super) fn failed(&self, reason: Reason) {
        self.book().last_error = Some((Instant::now(), reason));
    }

    /// Whether a connection that is refused should be written down, after how many that were not: programs that connect
    /// again and again fill no log.
    pub(super) fn write_down(&self) -> Option<u64> {
        let (mut book, now) = (self.book(), Instant::now());
        if book.written.is_some_and(|written| now - written < SELDOM) {
            book.unwritten += 1;
            return None;
        }
        book.written = Some(now);
        Some(std::mem::take(&mut book.unwritten))
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// The same connection as one of another tunnel's.
    pub(super) fn of(&self, tally: &Arc<Tally>) -> Self {
        tally.enter(self.ends)
    }

    /// The connection's number within its tunnel.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// It waits for this now.
    pub(super) fn wait(&mut self, wait: Wait) {
        let mut book = self.tally.book();
        book.leave(self.number, self.waiting.replace(wait));
        *book.waiting.entry(wait).or_default() += 1;
        if let Some(ends) = self.ends {
            book.held.insert(self.number, (wait, ends));
        }
    }

    /// It is connected, and these count its bytes.
    pub(super) fn live(&mut self, counts: Arc<Counts>) {
        let mut book = self.tally.book();
        book.leave(self.number, self.waiting.take());
        book.live.insert(self.number, counts);
    }
}

impl Book {
    /// Those of all connections, both ways.
    fn bytes(&self) -> (u64, u64) {
        self.live.values().fold(self.past, |(up, down), counts| {
            (up + counts.up.load(Ordering::Relaxed), down + counts.down.load(Ordering::Relaxed))
        })
    }

    fn leave(&mut self, number: u64, wait: Option<Wait>) {
        let Some(wait) = wait else { return };
        self.held.remove(&number);
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
        book.leave(self.number, self.waiting.take());
        if let Some(counts) = book.live.remove(&self.number) {
            book.past.0 += counts.up.load(Ordering::Relaxed);
            book.past.1 += counts.down.load(Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_counts_who_is_here_and_what_passed_whoever_is_gone() {
        let tally = Arc::new(Tally::new(0));
        let ends =
            |port| Some((SocketAddr::from(([127, 0, 0, 1], 80)), SocketAddr::from(([127, 0, 0, 1], port))));
        let (mut one, mut two) = (tally.enter(ends(1001)), tally.enter(ends(1002)));
        assert_eq!((one.number(), two.number()), (1, 2));
        one.wait(Wait::Path);
        two.wait(Wait::Path);
        two.wait(Wait::SetUp);
        assert_eq!(tally.sums().waiting, [(Wait::Path, 1), (Wait::SetUp, 1)]);
        let held = || tally.sums().held.iter().map(|held| (held.wait, held.from.port())).collect::<Vec<_>>();
        assert_eq!(held(), [(Wait::Path, 1001), (Wait::SetUp, 1002)]);
        let counts = Arc::new(Counts::default());
        two.live(Arc::clone(&counts));
        assert_eq!(held(), [(Wait::Path, 1001)]);
        counts.up.store(3_000, Ordering::Relaxed);
        tally.sample(Duration::from_secs(3));
        let sums = tally.sums();
        assert_eq!((sums.connections, sums.bytes_in, sums.rate), (1, 3_000, (1_000, 0)));
        counts.down.store(10, Ordering::Relaxed);
        drop((one, two));
        tally.sample(Duration::from_millis(10));
        let sums = tally.sums();
        assert_eq!((sums.connections, sums.waiting.len()), (0, 0));
        assert_eq!((sums.bytes_in, sums.bytes_out, sums.rate), (3_000, 10, (0, 1_000)));
    }

    #[test]
    fn a_cohort_says_when_its_last_member_is_gone() {
        let bell = Arc::new(Bell::new());
        let cohort = Arc::new(Cohort::new(7, CancellationToken::new(), &bell));
        let member = cohort.join();
        drop(cohort.join());
        assert!(!cohort.retire(), "one is left");
        drop(member);
        let heard = futures_util::FutureExt::now_or_never(bell.heard());
        assert_eq!(heard.unwrap().into_iter().collect::<Vec<_>>(), [7]);
        assert!(cohort.retire());
    }
}
