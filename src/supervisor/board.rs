//! What holds, where everybody can read it without waiting for the loop, and what changes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{broadcast, watch};

use super::edition::Tally;
use crate::carrier::Carrier;
use crate::lifecycle::TunnelState;
use crate::model::{BastionStatus, LastError, Name, State, Status, TunnelEvent, TunnelStatus, env};
use crate::plan::Line;

/// How many events may wait for a reader that is slow; beyond it loses some, and is told so.
const EVENTS: usize = 1024;

/// What holds.
pub(super) struct Board {
    book: Mutex<Book>,
    clock: fn() -> SystemTime,
    events: broadcast::Sender<TunnelEvent>,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct Book {
    declaration: Arc<Declaration>,
    rows: BTreeMap<Name, Row>,
    bastions: Vec<Usage>,
}

/// What was last made of the declaration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declaration {
    /// The edition of the declared set. It grows by one with every accepted change.
    pub generation: u64,
    /// The workspace's name in it; `None` before the first one.
    pub workspace: Option<Name>,
    /// What has led to it: `up`, `reload` or an `edit`.
    pub why: &'static str,
    /// What this edition changed.
    pub lines: Vec<Line>,
    /// When the files say something that was not accepted: the mistakes, as `check` shows them.
    pub rejected: Option<String>,
    /// Nothing of it is carried out any more.
    pub stopping: bool,
}

/// One tunnel, as the loop knows it.
#[derive(Clone)]
pub(super) struct Row {
    pub(super) state: TunnelState,
    pub(super) listen: Vec<SocketAddr>,
    pub(super) target: String,
    pub(super) route: String,
    pub(super) env: BTreeMap<String, String>,
    pub(super) tally: Arc<Tally>,
    /// Since when it is in its state.
    pub(super) since: SystemTime,
}

/// One bastion that is in use.
#[derive(Clone)]
pub(super) struct Usage {
    pub(super) name: Name,
    pub(super) carrier: Arc<dyn Carrier>,
    pub(super) max_sessions: usize,
}

impl Board {
    pub(super) fn new(clock: fn() -> SystemTime) -> Self {
        Self {
            book: Mutex::default(),
            clock,
            events: broadcast::Sender::new(EVENTS),
            changed: watch::Sender::new(0),
        }
    }

    pub(super) fn events(&self) -> broadcast::Receiver<TunnelEvent> {
        self.events.subscribe()
    }

    pub(super) fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Everything as it is at this moment.
    pub(super) fn status(&self, now: Instant) -> Status {
        let book = self.book();
        Status {
            generation: book.declaration.generation,
            rejected: book.declaration.rejected.clone(),
            tunnels: book.rows.iter().map(|(name, row)| self.seen(name, row, now)).collect(),
            bastions: book.bastions.iter().map(Usage::status).collect(),
        }
    }

    /// Looks at the bytes of every tunnel, so long after it did so before.
    pub(super) fn sample(&self, passed: Duration) {
        self.book().rows.values().for_each(|row| row.tally.sample(passed));
    }

    /// What was last made of the declaration.
    pub(super) fn declaration(&self) -> Arc<Declaration> {
        Arc::clone(&self.book().declaration)
    }

    /// What was made of the declaration.
    pub(super) fn declared(&self, declaration: Declaration) {
        let mut book = self.book();
        if *book.declaration != declaration {
            book.declaration = Arc::new(declaration);
            drop(book);
            self.tell();
        }
    }

    /// What of the files was not accepted.
    pub(super) fn rejected(&self, report: String) {
        self.declared(Declaration { rejected: Some(report), ..(*self.declaration()).clone() });
    }

    /// Everything is going to end.
    pub(super) fn stopping(&self) {
        self.declared(Declaration { stopping: true, ..(*self.declaration()).clone() });
    }

    /// The bastions that are in use.
    pub(super) fn bastions(&self, bastions: Vec<Usage>) {
        self.book().bastions = bastions;
        self.tell();
    }

    /// A tunnel is like this now. `since` counts when its state is another one than before.
    pub(super) fn put(&self, name: &Name, mut row: Row, now: Instant) {
        let time = row.since;
        let mut book = self.book();
        if let Some(before) = book.rows.get(name) {
            if before.state.state == row.state.state {
                row.since = before.since;
            }
            if row.tells_nothing_new(before) {
                book.rows.insert(name.clone(), row);
                return;
            }
        }
        self.event(time, self.seen(name, &row, now));
        book.rows.insert(name.clone(), row);
        drop(book);
        self.tell();
    }

    /// A tunnel is gone.
    pub(super) fn remove(&self, name: &Name, now: Instant, time: SystemTime) {
        let mut book = self.book();
        let Some(mut row) = book.rows.remove(name) else { return };
        row.state = TunnelState {
            state: State::Stopped,
            reason: None,
            attempt: 0,
            next_retry: None,
            verified: false,
            target_verified: false,
        };
        (row.listen, row.since) = (Vec::new(), time);
        self.event(time, self.seen(name, &row, now));
        drop(book);
        self.tell();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.book().rows.is_empty()
    }

    /// Every tunnel that is on the board.
    pub(super) fn names(&self) -> Vec<Name> {
        self.book().rows.keys().cloned().collect()
    }

    fn seen(&self, name: &Name, row: &Row, now: Instant) -> TunnelStatus {
        row.status(name, now, (self.clock)())
    }

    fn event(&self, time: SystemTime, tunnel: TunnelStatus) {
        // Who waits is told to whoever asks.
        let tunnel = TunnelStatus { held: Vec::new(), ..tunnel };
        // Perhaps nobody listens.
        let _listeners = self.events.send(TunnelEvent { time, tunnel });
    }

    fn tell(&self) {
        self.changed.send_modify(|edition| *edition += 1);
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Row {
    fn tells_nothing_new(&self, before: &Self) -> bool {
        let (new, old) = (&self.state, &before.state);
        let state = (new.state, &new.reason, new.attempt, new.verified, new.target_verified)
            == (old.state, &old.reason, old.attempt, old.verified, old.target_verified);
        // A wait that begins is news with its attempt; that it is over, and something is under way, is not.
        state
            && (&self.listen, &self.target, &self.route, &self.env)
                == (&before.listen, &before.target, &before.route, &before.env)
    }

    fn status(&self, name: &Name, now: Instant, wall: SystemTime) -> TunnelStatus {
        let sums = self.tally.sums();
        let TunnelState { state, reason, attempt, next_retry, verified, target_verified } =
            self.state.clone();
        let first = self.listen.first();
        let filled = |address: &SocketAddr| {
            let fill = |(name, template): (&String, &String)| (name.clone(), env::fill(template, *address));
            self.env.iter().map(fill).collect()
        };
        let last_error = sums.last_error.map(|(at, reason)| {
            let ago = now.saturating_duration_since(at.into_std());
            LastError { time: wall.checked_sub(ago).unwrap_or(wall), reason }
        });
        TunnelStatus {
            name: name.clone(),
            state,
            reason,
            attempt,
            next_retry: next_retry.map(|at| at.saturating_duration_since(now)),
            listen: self.listen.clone(),
            target: self.target.clone(),
            route: self.route.clone(),
            verified,
            target_verified,
            connections: sums.connections,
            waiting: sums.waiting,
            held: sums.held,
            bytes_in: sums.bytes_in,
            bytes_out: sums.bytes_out,
            rate_in: sums.rate.0,
            rate_out: sums.rate.1,
            last_error,
            since: self.since,
            env: first.map(filled).unwrap_or_default(),
        }
    }
}

impl Usage {
    fn status(&self) -> BastionStatus {
        let usage = self.carrier.usage();
        BastionStatus {
            name: self.name.clone(),
            sku: usage.sku,
            sessions: usage.sessions,
            max_sessions: self.max_sessions,
        }
    }
}
