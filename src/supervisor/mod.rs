//! Keeps what is declared running: one loop with a closed list of things that can wake it, one task a route, one a
//! connection, and the end of all of them.
//!
//! The loop reads what is declared, has the difference to what runs planned, and carries it out; a mistake in the
//! declaration changes nothing. What happens afterwards to a tunnel is its route's business: the loop only tells of it.
//! It prints nothing and reads no file: its [`Source`] does. What holds is on a board that everybody can read.
//!
//! ```text
//! files ─▶ watch ─▶ ┌──────┐ plan  ┌──────┐ binds, hands over ┌───────────┐ accepts ┌────────────┐
//! commands ───────▶ │ loop │──────▶│ live │──────────────────▶│ listeners │────────▶│ connection │
//!                   └──────┘       └──────┘                   └───────────┘         └─────┬──────┘
//!                      ▲ states       │ paths                                             │ opens, waits
//!                      │              ▼                                                   ▼
//!                      └────────── route (its lifecycle) ◀──────────────────────────── carrier
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, sleep_until};

use crate::azure::Arm;
use crate::carrier::Carrier;
use crate::gateway::Journal;
use crate::model::{Bastion, Name, Reason};
use crate::net::Network;
use crate::sys::socket;
use crate::watch::{self, Watch};

mod asked;
mod bell;
mod board;
mod connection;
mod declared;
mod edition;
mod ending;
mod handle;
mod link;
mod listen;
mod live;
mod lookup;
mod opening;
mod pass;
mod paths;
mod ports;
mod route;
mod route_error;
mod routes;
mod sign_in;
mod taken;
mod warm;

pub use crate::carrier::Remains;
pub use board::Declaration;
pub use declared::{Asking, Declared, Neighbour, Rejected, Setting, Source};
pub use handle::{Applied, Handle, Refusal};
pub use listen::ListenError;
pub use route_error::RouteError;
pub use sign_in::{OneSource, SignIn};

use asked::{Job, Read};
use board::Board;
use declared::Wanted;
use handle::Command;
use live::Live;

/// How many requests may wait for the loop.
const COMMANDS: usize = 64;
/// How often it is looked whether the machine slept: no system tells of that everywhere.
const TICK: Duration = Duration::from_secs(5);
/// By how much the clocks may differ over a tick before that is taken for a sleep or a jump.
const JUMP: Duration = Duration::from_secs(3);

/// What the ways to Azure are made of.
#[derive(Clone)]
pub struct Surroundings {
    /// The control plane.
    pub arm: Arm,
    /// Where access tokens come from.
    pub sign_in: Arc<dyn SignIn>,
    /// How connections are made.
    pub network: Network,
    /// Where sessions are written down, where they would outlive this process.
    pub journal: Option<Arc<dyn Journal>>,
}

impl std::fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surroundings").field("arm", &self.arm).finish_non_exhaustive()
    }
}

/// Makes the ways to bastions.
pub trait Dialer: Send + Sync + 'static {
    /// The way to one, which is not tried yet.
    fn carrier(&self, bastion: &Bastion) -> Arc<dyn Carrier>;

    /// Files whose change may mean that somebody has signed in.
    fn sign_in_files(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// They have changed.
    fn reconsider(&self) {}
}

/// What a supervisor needs of the world.
pub struct Parts {
    /// What is declared.
    pub source: Arc<dyn Source>,
    /// The ways to bastions.
    pub dialer: Arc<dyn Dialer>,
    /// Whether changes of the declaration are noticed, and how.
    pub watch: Option<watch::Mode>,
    /// What time people say it is.
    pub clock: fn() -> SystemTime,
}

/// The running tunnels, as soon as [`run`](Self::run) is awaited.
pub struct Supervisor {
    source: Arc<dyn Source>,
    clock: fn() -> SystemTime,
    commands: mpsc::Receiver<Command>,
    board: Arc<Board>,
    live: Live,
    watch: Option<Watch>,
    dialer: Arc<dyn Dialer>,
    /// Rings when somebody may have signed in.
    sign_in: Option<Watch>,
    /// What is to run of what is declared.
    wanted: Wanted,
    setting: Setting,
    declared: Option<Declared>,
    /// The ports that were chosen, as the source remembers them.
    chosen: BTreeMap<Name, u16>,
    /// What is wanted, declared, and not allowed.
    withheld: BTreeMap<Name, Reason>,
    generation: u64,
    /// What waits for the declaration to be read.
    jobs: VecDeque<Job>,
    /// The reading that is under way, at most one.
    reading: JoinSet<Read>,
    /// Who waits for proofs.
    proofs: JoinSet<()>,
    /// When what still goes on is ended.
    stopping: Option<Instant>,
}

/// Everything that can wake the loop.
enum Event {
    /// Somebody asks for something.
    Asked(Command),
    /// The declaration may have changed.
    Files,
    /// Somebody may have signed in, or out.
    SignIn,
    /// The declaration was read; an error: that ended by a mistake of ours.
    Read(Result<Box<Read>, JoinError>),
    /// The states of paths have changed.
    Paths(BTreeSet<paths::Place>),
    /// The last connections of cohorts have ended.
    Emptied(BTreeSet<u64>),
    /// A route's task ended by a mistake of ours.
    Ended(JoinError),
    /// Somebody who waited for proofs was answered.
    Proven,
    /// Something is due: an address to be bound, connections to be ended.
    Due,
    /// A while has passed; perhaps the machine slept, or its clock was changed.
    Tick { passed: Duration, jumped: bool },
}

impl std::fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Supervisor").field("generation", &self.generation).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").field("watch", &self.watch).finish_non_exhaustive()
    }
}

impl Supervisor {
    /// A supervisor of nothing yet: it is asked for tunnels through its handle. Must be made inside a runtime.
    ///
    /// # Errors
    /// When the declaration cannot be watched.
    pub async fn new(parts: Parts) -> std::io::Result<(Self, Handle)> {
        let Parts { source, dialer, watch, clock } = parts;
        let watch = watch.map(|mode| Watch::start(&source.paths(), mode)).transpose()?;
        let files = dialer.sign_in_files();
        let sign_in = (!files.is_empty()).then(|| Watch::start(&files, watch::Mode::Auto)).transpose()?;
        let (sender, commands) = mpsc::channel(COMMANDS);
        let board = Arc::new(Board::new(clock));
        let handle = Handle { board: Arc::clone(&board), commands: sender };
        let live = Live::new(Arc::clone(&dialer), socket::has_ipv6_loopback());
        let supervisor = Self {
            source,
            clock,
            commands,
            board,
            live,
            watch,
            dialer,
            sign_in,
            wanted: Wanted::default(),
            setting: Setting::default(),
            declared: None,
            chosen: BTreeMap::new(),
            withheld: BTreeMap::new(),
            generation: 0,
            jobs: VecDeque::new(),
            reading: JoinSet::new(),
            proofs: JoinSet::new(),
            stopping: None,
        };
        Ok((supervisor, handle))
    }

    /// Runs until it is told to stop; then every session is deleted in bounded time. Says what is left behind in Azure.
    pub async fn run(mut self) -> Remains {
        let mut clocks = Clocks::new(self.clock);
        while !self.is_over() {
            match self.next(&mut clocks).await {
                Event::Asked(command) => self.asked(command).await,
                Event::Files => self.jobs.push_back(Job::Files),
                Event::SignIn => {
                    tracing::info!("az's profile has changed: what waits for a sign-in is tried now");
                    self.dialer.reconsider();
                    self.live.routes.tell_all(|| paths::Message::Retry).await;
                }
                Event::Read(Ok(read)) => self.was_read(*read).await,
                Event::Read(Err(error)) => {
                    tracing::error!(%error, "reading the declaration ended by a mistake of ours; please report it");
                }
                Event::Proven => {}
                Event::Paths(paths) => {
                    let users = paths.iter().flat_map(|path| self.live.routes.users(path));
                    let users: BTreeSet<Name> = users.collect();
                    self.show(users.iter());
                }
                Event::Emptied(cohorts) => self.emptied(&cohorts),
                Event::Ended(error) => self.live.routes.restart(&error),
                Event::Due => self.due().await,
                Event::Tick { passed, jumped } => {
                    self.board.sample(passed);
                    if jumped {
                        self.wake().await;
                    }
                }
            }
            self.read_next();
        }
        self.finish().await
    }

    async fn wake(&mut self) {
        tracing::info!("the machine slept or its clock was changed: what waits is tried now");
        self.live.routes.tell_all(|| paths::Message::Wake).await;
        self.reconcile("wake").await;
    }

    async fn next(&mut self, clocks: &mut Clocks) -> Event {
        let due = self.next_due();
        let due = async {
            match due {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let files = async {
            match &mut self.watch {
                Some(watch) => watch.changed().await,
                None => std::future::pending().await,
            }
        };
        let signed_in = async {
            match &mut self.sign_in {
                Some(watch) => watch.changed().await,
                None => std::future::pending().await,
            }
        };
        let (news, empty) = (Arc::clone(&self.live.routes.news), Arc::clone(&self.live.empty));
        tokio::select! {
            Some(command) = self.commands.recv() => Event::Asked(command),
            Some(read) = self.reading.join_next() => Event::Read(read.map(Box::new)),
            paths = news.heard() => Event::Paths(paths),
            cohorts = empty.heard() => Event::Emptied(cohorts),
            error = self.live.routes.ended() => Event::Ended(error),
            Some(_answered) = self.proofs.join_next() => Event::Proven,
            () = due => Event::Due,
            () = files => Event::Files,
            () = signed_in => Event::SignIn,
            (passed, jumped) = clocks.tick() => Event::Tick { passed, jumped },
        }
    }
}

/// Two clocks that should agree: one stands still while the machine sleeps, the other is what people set.
struct Clocks {
    wall: fn() -> SystemTime,
    tick: tokio::time::Interval,
    last: (Instant, SystemTime),
}

impl Clocks {
    fn new(wall: fn() -> SystemTime) -> Self {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { wall, tick, last: (Instant::now(), wall()) }
    }

    /// Waits a while. Says how long it was, and whether the clocks disagree about that. Cancel-safe.
    async fn tick(&mut self) -> (Duration, bool) {
        self.tick.tick().await;
        let (now, wall) = (Instant::now(), (self.wall)());
        let (before, wall_before) = std::mem::replace(&mut self.last, (now, wall));
        let (passed, late) = (now - before, (now - before).saturating_sub(TICK));
        let ahead = wall.duration_since(wall_before).unwrap_or_default().saturating_sub(passed);
        let behind = wall_before.duration_since(wall).unwrap_or_default();
        (passed, ahead > JUMP || behind > JUMP || late > JUMP)
    }
}
