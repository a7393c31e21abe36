//! One accepted connection: waits its turn, is held while the path is down, relayed, ended as the remote ended.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::net::TcpStream;
use tokio::sync::{AcquireError, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::edition::{Edition, Entry, Member};
use super::opening::{NotOpened, Opening, Patience};
use crate::carrier::{Break, ByteStream, Closing};
use crate::limit::Place;
use crate::model::{Disposition, Failure, Reason, Scope, Wait};
use crate::relay::{self, Counts, Outcome, Relay};
use crate::sys::socket;

/// How often a stream that never came to life is replaced by one of a new session.
const REPLACEMENTS: u32 = 3;
/// After how long without a byte a server that speaks first is taken for unreachable, and said so.
const FIRST_BYTE: Duration = Duration::from_secs(10);
/// Ports whose servers speak first: FTP, SSH, Telnet, SMTP, POP3, IMAP, MySQL, VNC.
const SPEAK_FIRST: &[u16] = &[21, 22, 23, 25, 110, 143, 587, 3306, 5900];

/// One connection of a tunnel.
struct Connection {
    /// The owner of the address that it came to: another edition after an edit, or another tunnel.
    owner: watch::Receiver<Arc<Edition>>,
    /// Whose it is.
    edition: Arc<Edition>,
    entry: Entry,
    member: Member,
    /// Its place among as many connections as the tunnel may have, once it has one.
    place: Option<Place>,
    /// Its place in the line for that.
    turn: Option<Turn>,
    /// Its files.
    _room: Option<Place>,
}

type Turn = Pin<Box<dyn Future<Output = Result<Place, AcquireError>> + Send + Sync>>;

/// Serves an accepted connection to its end, in a task of its own.
pub(super) fn start(local: TcpStream, mut owner: watch::Receiver<Arc<Edition>>, room: Option<Place>) {
    let edition = Arc::clone(&owner.borrow_and_update());
    let ends = local.local_addr().and_then(|ours| Ok((ours, local.peer_addr()?))).ok();
    let (entry, member) = (edition.tally.enter(ends), edition.cohort.join());
    let (tunnel, tasks, abandon) = (edition.name.clone(), edition.tasks.clone(), edition.abandon.clone());
    let mut turn = stand_in_line(&edition);
    // Here, not in its task: tasks do not begin in the order in which they are started.
    let (place, turn) = match turn.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(place) => (place.ok(), None),
        Poll::Pending => (None, Some(turn)),
    };
    let connection = Connection { owner, edition, entry, member, place, turn, _room: room };
    tasks.spawn(async move {
        let served = AssertUnwindSafe(connection.serve(local)).catch_unwind();
        if let Some(Err(_panic)) = abandon.run_until_cancelled(served).await {
            tracing::error!(%tunnel, "a connection ended by a mistake of ours; please report it");
        }
    });
}

/// The wait for one of as many connections as a tunnel may have.
fn stand_in_line(edition: &Edition) -> Turn {
    let limit = edition.tally.limit.clone();
    Box::pin(async move { limit.take().await })
}

impl Connection {
    async fn serve(mut self, local: TcpStream) {
        let counts = Arc::new(Counts::default());
        let mut relay = Relay::new(local, Arc::clone(&counts));
        if let Err(why) = self.turn(relay.local()).await {
            return self.refuse(relay, why);
        }
        let mut patience = Patience::new(self.edition.spec.behaviour.connect_timeout);
        let mut unsent = None;
        let mut connected = None;
        let mut replacements = 0;
        loop {
            let mut remote = match self.open(relay.local(), &mut patience, unsent.is_some()).await {
                Ok(remote) => remote,
                Err(why) => return self.refuse(relay, why),
            };
            self.entry.live(Arc::clone(&counts));
            relay.set_idle_close(self.edition.spec.behaviour.idle_close);
            let connected = *connected.get_or_insert_with(Instant::now);
            let mut outcome = tokio::select! {
                outcome = self.relay(&mut relay, &mut remote, unsent.take(), &counts) => outcome,
                () = self.expired(connected) => Outcome::Expired,
            };
            if let Outcome::Broken(broken) = &mut outcome
                && let Some(bytes) = broken.unsent.take()
            {
                if replacements < REPLACEMENTS {
                    replacements += 1;
                    let (tunnel, connection) = (&self.edition.name, self.entry.number());
                    tracing::info!(%tunnel, connection, code = broken.code, "{broken}; trying another session");
                    unsent = Some(bytes);
                    continue;
                }
                self.edition.way.set_up(Err(stillborn(broken))).await;
            }
            self.end(relay, remote, &outcome, &counts).await;
            return;
        }
    }

    /// Waits for one of as many connections as the tunnel may have, and follows the address to another tunnel meanwhile.
    async fn turn(&mut self, local: &TcpStream) -> Result<(), NotOpened> {
        if self.place.is_some() {
            return Ok(());
        }
        loop {
            self.entry.wait(Wait::Connections);
            let edition = Arc::clone(&self.edition);
            let turn = self.turn.take().unwrap_or_else(|| stand_in_line(&edition));
            tokio::select! {
                biased;
                () = edition.cohort.stop.cancelled() => return Err(NotOpened::Stopped),
                place = turn => {
                    self.place = Some(place.map_err(|_never_closed| NotOpened::Stopped)?);
                    return Ok(());
                }
                // An edit of the same tunnel leaves the line as it is.
                () = moved(self.owner.clone(), |owner| !Arc::ptr_eq(&owner.tally, &edition.tally)) => self.follow(),
                () = socket::reset(local) => return Err(NotOpened::LocalGone),
            }
        }
    }

    /// Opens a stream. While that goes on it follows the tunnel wherever an edit leads it, unless bytes that were meant
    /// for the target are under way already.
    async fn open(
        &mut self,
        local: &TcpStream,
        patience: &mut Patience,
        bound: bool,
    ) -> Result<Box<dyn ByteStream>, NotOpened> {
        loop {
            let edition = Arc::clone(&self.edition);
            let owner = self.owner.clone();
            let moved = async {
                if bound {
                    std::future::pending::<()>().await;
                }
                // With another probe the path is another one too, though its connections belong together.
                let stays = |owner: &Edition| {
                    Arc::ptr_eq(&owner.cohort, &edition.cohort) && owner.way.key == edition.way.key
                };
                moved(owner, |owner| !stays(owner)).await;
            };
            let opening = Opening { edition: &edition, entry: &mut self.entry, patience };
            tokio::select! {
                biased;
                () = edition.cohort.stop.cancelled() => return Err(NotOpened::Stopped),
                () = socket::reset(local) => return Err(NotOpened::LocalGone),
                () = moved => {}
                opened = opening.open() => return opened,
            }
            self.follow();
            if !Arc::ptr_eq(&self.edition.tally, &edition.tally) {
                (self.place, self.turn) = (None, None);
                self.turn(local).await?;
            }
        }
    }

    /// Belongs to whoever has the address now. Another tunnel counts it among its own.
    fn follow(&mut self) {
        let before = std::mem::replace(&mut self.edition, Arc::clone(&self.owner.borrow_and_update()));
        self.member = self.edition.cohort.join();
        if !Arc::ptr_eq(&self.edition.tally, &before.tally) {
            self.entry = self.entry.of(&self.edition.tally);
        }
    }

    /// Waits until it has lasted for as long as it may.
    async fn expired(&self, connected: Instant) {
        match self.edition.spec.behaviour.max_lifetime {
            Duration::ZERO => std::future::pending().await,
            limit => sleep_until(connected + limit).await,
        }
    }

    async fn relay(
        &self,
        relay: &mut Relay,
        remote: &mut Box<dyn ByteStream>,
        unsent: Option<Vec<u8>>,
        counts: &Counts,
    ) -> Outcome {
        let stop = &self.edition.cohort.stop;
        let run = relay.run(remote, unsent);
        tokio::pin!(run);
        let silent = sleep(FIRST_BYTE);
        tokio::select! {
            outcome = &mut run => return outcome,
            () = stop.cancelled() => return Outcome::Stopped,
            () = silent => {}
        }
        let port = self.edition.spec.path.port;
        if counts.down.load(Ordering::Relaxed) == 0 && SPEAK_FIRST.contains(&port.get()) {
            tracing::warn!(
                tunnel = %self.edition.name, connection = self.entry.number(), code = "target-silent",
                "the gateway is connected, but not one byte came from port {port} of the target in {} s; \
                 is the machine running, does something listen there, does its network security group let the bastion in?",
                FIRST_BYTE.as_secs()
            );
        }
        tokio::select! {
            outcome = &mut run => outcome,
            () = stop.cancelled() => Outcome::Stopped,
        }
    }

    /// The relay that is dropped here resets the local side.
    fn refuse(&self, relay: Relay, why: NotOpened) {
        let (tunnel, connection) = (&self.edition.name, self.entry.number());
        match why {
            NotOpened::Failed(reason) => {
                let Reason { code, what, hint } = &reason;
                match self.edition.tally.write_down() {
                    Some(0) => tracing::warn!(%tunnel, connection, code = &**code, hint, "{what}"),
                    Some(others) => tracing::warn!(
                        %tunnel, connection, code = &**code, hint, others, "{what}; others before it too"
                    ),
                    None => tracing::debug!(%tunnel, connection, code = &**code, "{what}"),
                }
                self.edition.tally.failed(reason);
            }
            NotOpened::LocalGone => {
                tracing::debug!(%tunnel, connection, "the local program was gone before a session was there");
            }
            NotOpened::Stopped => {}
        }
        drop(relay);
    }

    fn log(&self, outcome: &Outcome, counts: &Counts) {
        let (tunnel, connection) = (&self.edition.name, self.entry.number());
        let (up, down) = (counts.up.load(Ordering::Relaxed), counts.down.load(Ordering::Relaxed));
        match outcome {
            Outcome::RemoteEnd { clean: true } => {
                tracing::debug!(%tunnel, connection, up, down, "the target ended");
            }
            Outcome::RemoteEnd { clean: false } => {
                tracing::info!(%tunnel, connection, up, down, code = "end-unclean", "the gateway ended without a close frame");
            }
            Outcome::LocalEnd => {
                tracing::debug!(%tunnel, connection, up, down, "the local program ended");
            }
            Outcome::LocalReset(error) => {
                tracing::debug!(%tunnel, connection, up, down, %error, "the local program reset the connection");
            }
            Outcome::Broken(broken) => {
                tracing::warn!(%tunnel, connection, up, down, code = broken.code, "{broken}; the local program sees a reset");
                self.edition.tally.failed(reason_of(broken));
            }
            Outcome::Idle => {
                let limit = self.edition.spec.behaviour.idle_close;
                tracing::info!(%tunnel, connection, up, down, code = "idle-close", "no byte passed for {limit:?}; closed, with a reset");
            }
            Outcome::Expired => {
                let limit = self.edition.spec.behaviour.max_lifetime;
                tracing::info!(%tunnel, connection, up, down, code = "max-lifetime", "it has lasted for {limit:?}; closed, with a reset");
            }
            Outcome::Stopped => tracing::info!(%tunnel, connection, up, down, "stopped"),
        }
    }

    /// Tells both sides at once how it ended; what is written down counts every byte that was delivered.
    async fn end(
        &self,
        mut relay: Relay,
        mut remote: Box<dyn ByteStream>,
        outcome: &Outcome,
        counts: &Counts,
    ) {
        let goodbye = async {
            match outcome {
                // There is nobody to say goodbye to.
                Outcome::Broken(_) => {}
                Outcome::RemoteEnd { .. } | Outcome::LocalEnd => {
                    relay::close(&mut remote, Closing::Done).await;
                }
                Outcome::LocalReset(_) | Outcome::Idle | Outcome::Expired | Outcome::Stopped => {
                    relay::close(&mut remote, Closing::Abandoned).await;
                }
            }
            // The session is deleted now, however long the local side takes.
            drop(remote);
        };
        let local = async {
            // Who stops us may not wait.
            if !matches!(outcome, Outcome::Stopped) {
                relay.deliver().await;
            }
            self.log(outcome, counts);
            relay.finish(outcome).await;
        };
        tokio::join!(goodbye, local);
    }
}

/// Waits until an address has another owner. When it is nobody's any more, its connections go where they were to go.
async fn moved(mut owner: watch::Receiver<Arc<Edition>>, other: impl Fn(&Edition) -> bool) {
    if owner.wait_for(|owner| other(owner)).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// What is said of a path on which session after session never came to life.
fn stillborn(broken: &Break) -> Failure {
    Failure { scope: Scope::Target, disposition: Disposition::Retry, reason: reason_of(broken) }
}

fn reason_of(broken: &Break) -> Reason {
    Reason { code: broken.code.into(), what: broken.to_string(), hint: None }
}
