//! What is: the state of every tunnel and why, as a value that anyone may keep, show or wait on.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use super::Name;

/// A tunnel's state, by the words of `status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Declared, and nothing was tried yet.
    Pending,
    /// Resource Manager is being asked for its bastion.
    Resolving,
    /// Its path is tried for the first time, or again after a failure, and never worked so far.
    Connecting,
    /// It listens, its bastion is known, and its probe passed.
    Ready,
    /// It was ready; the last set-up failed, or the route is being rebuilt. It still listens.
    Degraded,
    /// Only an edit or a person can mend it.
    Blocked,
    /// It is no longer declared; its last connections go on.
    Draining,
    /// It is declared and not to run.
    Stopped,
}

impl State {
    /// All of them, in the order in which a tunnel usually goes through them.
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::Resolving,
        Self::Connecting,
        Self::Ready,
        Self::Degraded,
        Self::Blocked,
        Self::Draining,
        Self::Stopped,
    ];

    /// The stable word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Resolving => "resolving",
            Self::Connecting => "connecting",
            Self::Ready => "ready",
            Self::Degraded => "degraded",
            Self::Blocked => "blocked",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
        }
    }
}

/// Why something is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The stable code of the class of failure.
    pub code: Cow<'static, str>,
    /// What we were doing and what happened.
    pub what: String,
    /// What mends it, where we know.
    pub hint: Option<String>,
}

/// What holds now, of everything.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Status {
    /// The edition of the declared set that this is about. It grows by one with every accepted change.
    pub generation: u64,
    /// When the file says something that was not accepted: the mistakes, as `check` shows them.
    pub rejected: Option<String>,
    /// Every tunnel that runs or is ending, by name.
    pub tunnels: Vec<TunnelStatus>,
    /// Every bastion in use.
    pub bastions: Vec<BastionStatus>,
}

/// What holds of one tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelStatus {
    /// Its name.
    pub name: Name,
    /// Its state.
    pub state: State,
    /// Why it is not ready; or, in a ready tunnel, what of the file could not be done (a new port is taken).
    pub reason: Option<Reason>,
    /// How many tries have failed in a row.
    pub attempt: u32,
    /// In how long the next try comes.
    pub next_retry: Option<Duration>,
    /// The addresses it owns.
    pub listen: Vec<SocketAddr>,
    /// The target and the port there, as `orders:5432`.
    pub target: String,
    /// The way there: the bastion's name.
    pub route: String,
    /// Whether its path was proven, not only assumed.
    pub verified: bool,
    /// Whether the target itself has answered a probe.
    pub target_verified: bool,
    /// Live connections, without those that wait.
    pub connections: usize,
    /// Connections that wait, by what for.
    pub waiting: Vec<(Wait, usize)>,
    /// The first of those that wait, one by one; not in events.
    pub held: Vec<Held>,
    /// Bytes from local programs to the target, all connections ever.
    pub bytes_in: u64,
    /// Bytes from the target to local programs, all connections ever.
    pub bytes_out: u64,
    /// Bytes a second from local programs to the target, over the last seconds.
    pub rate_in: u64,
    /// Bytes a second from the target to local programs, over the last seconds.
    pub rate_out: u64,
    /// What last went wrong with a connection, whatever the tunnel's state is now.
    pub last_error: Option<LastError>,
    /// Since when it is in this state.
    pub since: SystemTime,
    /// Its `env`, with the address filled in; empty while it does not listen.
    pub env: BTreeMap<String, String>,
}

/// A connection that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// What for.
    pub wait: Wait,
    /// The address that it came to.
    pub to: SocketAddr,
    /// Where it comes from.
    pub from: SocketAddr,
    /// The program there, where the system tells.
    pub program: Option<Program>,
}

/// A program on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Its process.
    pub pid: u32,
    /// Its name, as the system has it: anything may stand there.
    pub name: String,
}

/// Something that went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastError {
    /// When.
    pub time: SystemTime,
    /// What.
    pub reason: Reason,
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wait {
    /// The path to come back.
    Path,
    /// Its own set-up.
    SetUp,
    /// One of the tunnel's `max_connections`.
    Connections,
    /// One of the bastion's `max_sessions`, or a session that Azure has no room for.
    Sessions,
}

impl Wait {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Path, Self::SetUp, Self::Connections, Self::Sessions];

    /// In words, after "waiting for".
    pub fn words(self) -> &'static str {
        match self {
            Self::Path => "the path",
            Self::SetUp => "a session to open",
            Self::Connections => "max_connections",
            Self::Sessions => "a free session",
        }
    }
}

/// What holds of one bastion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BastionStatus {
    /// Its name in the file.
    pub name: Name,
    /// Its SKU, once Resource Manager has said it.
    pub sku: Option<String>,
    /// Sessions of ours that are open or being opened.
    pub sessions: usize,
    /// Our limit on them; 0: none.
    pub max_sessions: usize,
}

/// Something happened to a tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelEvent {
    /// When.
    pub time: SystemTime,
    /// What it is now. An event about a tunnel that is gone says [`State::Stopped`].
    pub tunnel: TunnelStatus,
}
