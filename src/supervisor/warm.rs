//! Token answers that are kept ready for the next connections of a path, so that these only have to open a WebSocket.
//!
//! They cost sessions, so they are kept only while the path is used: from a connection on, until two minutes after the
//! last one. A [`Pool`] holds them; [`keep`] says how many there should be.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_rustls::client::TlsStream;

use crate::carrier::{Carrier, OpenOptions};
use crate::gateway::{Gateway, GatewayStream, Prepared};
use crate::lifecycle::Key;
use crate::model::{Locator, Port};

/// How old a token answer may become. A gateway forgets those that it hears nothing of.
const FRESH: Duration = Duration::from_secs(20);
/// How long after its last connection a path still counts as used.
const USED: Duration = Duration::from_secs(120);

/// Where kept answers lead.
type Place = (Locator, Port);

/// The answers that are kept, by where they lead.
#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<BTreeMap<Place, VecDeque<Kept>>>);

/// What is kept.
#[derive(Debug)]
pub(super) enum What {
    /// A session that nobody has opened yet.
    Session(Prepared),
    /// A stream.
    Stream(Box<GatewayStream<TlsStream<TcpStream>>>),
}

/// One answer.
#[derive(Debug)]
pub(super) struct Kept {
    /// Who gave it, and alone knows it.
    pub(super) gateway: Arc<Gateway>,
    pub(super) what: What,
    until: Instant,
}

impl Kept {
    /// One that was given just now.
    pub(super) fn new(gateway: Arc<Gateway>, what: What) -> Self {
        Self { gateway, what, until: Instant::now() + FRESH }
    }
}

impl Pool {
    /// Keeps one more.
    pub(super) fn put(&self, place: &Place, kept: Kept) {
        self.places().entry(place.clone()).or_default().push_back(kept);
    }

    /// The oldest one that is still fresh; who is older goes.
    pub(super) fn take(&self, place: &Place) -> Option<Kept> {
        self.tidy(place);
        self.places().get_mut(place)?.pop_front()
    }

    /// How many are kept, and until when the oldest is fresh; who is older goes.
    pub(super) fn tidy(&self, place: &Place) -> (usize, Option<Instant>) {
        let (mut places, now) = (self.places(), Instant::now());
        let Some(kept) = places.get_mut(place) else { return (0, None) };
        while kept.front().is_some_and(|kept| kept.until <= now) {
            kept.pop_front();
        }
        let (number, oldest) = (kept.len(), kept.front().map(|kept| kept.until));
        if number == 0 {
            places.remove(place);
        }
        (number, oldest)
    }

    /// Lets all go that lead to one place.
    pub(super) fn forget(&self, place: &Place) {
        self.places().remove(place);
    }

    /// Lets one go, wherever it leads, for somebody who needs its place among the sessions.
    pub(super) fn give_way(&self) {
        let mut places = self.places();
        let oldest = places.values_mut().filter(|kept| !kept.is_empty());
        let oldest = oldest.min_by_key(|kept| kept.front().map(|kept| kept.until));
        drop(oldest.and_then(VecDeque::pop_front));
    }

    /// Lets all go.
    pub(super) fn clear(&self) {
        self.places().clear();
    }

    fn places(&self) -> MutexGuard<'_, BTreeMap<Place, VecDeque<Kept>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The use of a path.
#[derive(Clone, Debug)]
pub(super) struct Use {
    /// When its last connection was set up.
    pub(super) last: Instant,
    /// What is asked for, and how many are wanted.
    pub(super) open: OpenOptions,
}

/// What is kept goes when nobody looks after it any more, whatever the reason.
struct Kettle {
    carrier: Arc<dyn Carrier>,
    path: Key,
}

impl Drop for Kettle {
    fn drop(&mut self) {
        self.carrier.cool(&self.path.locator, self.path.port);
    }
}

/// Keeps as many answers ready as are wanted while the path is used. Ends when it is used no longer, or needed no longer.
pub(super) async fn keep(carrier: Arc<dyn Carrier>, path: Key, mut used: watch::Receiver<Use>) {
    let kettle = Kettle { carrier, path };
    loop {
        let Use { last, open } = used.borrow_and_update().clone();
        let rest = last + USED;
        let wanted = if Instant::now() < rest { open.prewarm } else { 0 };
        if wanted == 0 {
            return;
        }
        let Key { locator, port, .. } = &kettle.path;
        // Where none can be had, only another connection is a reason to ask again.
        let next = kettle.carrier.warm(locator, *port, &open, wanted).await.unwrap_or(rest);
        tokio::select! {
            changed = used.changed() => if changed.is_err() {
                return;
            },
            () = sleep_until(next.min(rest)) => {}
        }
    }
}

#[cfg(test)]
mod tests;
