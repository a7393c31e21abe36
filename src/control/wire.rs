//! What goes over an instance's socket, as JSON. Whatever is missing is taken as empty and whatever is unknown is
//! passed over, so that releases of different age understand each other's `status` and `down`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::time::SystemTime;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{self, Name, State, Wait};

/// The edition of this interface, as it stands in every path.
pub const VERSION: u32 = 1;

/// Which instance this is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct About {
    /// The edition of the interface.
    pub version: u32,
    /// The release of the program.
    pub program: String,
    /// Its process.
    pub pid: u32,
    /// The workspace's name.
    pub workspace: String,
    /// The workspace's directory.
    pub directory: String,
    /// The workspace's file in it.
    pub file: String,
    /// The environment, when one was chosen.
    pub environment: Option<String>,
    /// Since when it runs (RFC 3339, UTC).
    #[schemars(extend("format" = "date-time"))]
    pub started: String,
}

impl About {
    /// What this process says of itself.
    pub fn new(
        workspace: &Name,
        directory: &Path,
        file: &OsStr,
        environment: Option<&Name>,
        started: SystemTime,
    ) -> Self {
        Self {
            version: VERSION,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            workspace: workspace.to_string(),
            directory: directory.to_string_lossy().into_owned(),
            file: file.to_string_lossy().into_owned(),
            environment: environment.map(Name::to_string),
            started: time(started),
        }
    }
}

/// What holds now, of everything.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Status {
    /// The edition of this form.
    pub version: u32,
    /// The workspace's name.
    pub workspace: String,
    /// The environment, when one was chosen.
    pub env: Option<String>,
    /// Which instance says so; null when none runs.
    pub instance: Option<Instance>,
    /// The edition of the declared set; it grows by one with every accepted change.
    pub generation: u64,
    /// When the file says something that was not accepted: the mistakes, as `check` shows them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejected: Option<String>,
    /// Every tunnel that runs or is ending.
    pub tunnels: Vec<TunnelStatus>,
    /// Every bastion in use.
    pub bastions: Vec<BastionStatus>,
}

/// Which instance says so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Instance {
    /// The release of the program.
    pub program: String,
    /// Its process.
    pub pid: u32,
    /// The workspace's directory.
    pub directory: String,
    /// The workspace's file in it.
    pub file: String,
    /// Since when it runs (RFC 3339, UTC).
    #[schemars(extend("format" = "date-time"))]
    pub started: String,
}

/// What holds of one tunnel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TunnelStatus {
    /// Its name.
    pub name: String,
    /// Its state.
    #[schemars(extend("enum" = ["pending", "resolving", "connecting", "ready", "degraded", "blocked", "draining", "stopped"]))]
    pub state: String,
    /// The stable code of what is wrong; null when nothing is.
    pub code: Option<String>,
    /// What we were doing and what happened.
    pub reason: Option<String>,
    /// What mends it, where we know.
    pub hint: Option<String>,
    /// How many tries have failed in a row.
    pub attempt: u32,
    /// In how many seconds the next try comes; null when none is due.
    pub next_retry: Option<f64>,
    /// The addresses it owns, as `127.0.0.1:5432` and `[::1]:5432`.
    pub listen: Vec<String>,
    /// The target and the port there, as `orders:5432`.
    pub target: String,
    /// The way there: the bastion's name.
    pub route: String,
    /// Whether its path was proven, not only assumed.
    pub verified: bool,
    /// Whether the target itself has answered a probe (`"banner"`, `"tls"` or `"http:/path"`), and nothing failed since.
    pub target_verified: bool,
    /// Live connections, without those that wait.
    pub connections: u64,
    /// Connections that wait, by what for.
    pub waiting: Vec<Waiting>,
    /// The first of those that wait, one by one. Empty in events.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<Held>,
    /// Bytes from local programs to the target, all connections ever.
    pub bytes_in: u64,
    /// Bytes from the target to local programs, all connections ever.
    pub bytes_out: u64,
    /// Bytes a second from local programs to the target, over the last seconds.
    pub rate_in: u64,
    /// Bytes a second from the target to local programs, over the last seconds.
    pub rate_out: u64,
    /// What last went wrong with a connection, whatever the tunnel's state is now; null when nothing did.
    pub last_error: Option<LastError>,
    /// Since when it is in this state (RFC 3339, UTC).
    #[schemars(extend("format" = "date-time"))]
    pub since: String,
    /// Its `env`, with the address filled in; empty while it does not listen.
    pub env: BTreeMap<String, String>,
}

impl TunnelStatus {
    /// Its state, when this release knows it.
    pub fn state(&self) -> Option<State> {
        State::ALL.into_iter().find(|state| state.word() == self.state)
    }
}

/// Something that went wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LastError {
    /// When (RFC 3339, UTC).
    #[schemars(extend("format" = "date-time"))]
    pub time: String,
    /// The stable code of the class of failure.
    pub code: String,
    /// What we were doing and what happened.
    pub reason: String,
}

/// Connections that wait for the same thing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Waiting {
    /// What they wait for: the path to come back, a session to open, or one of as many connections (of the tunnel) or
    /// sessions (of the bastion) as there may be.
    #[schemars(extend("enum" = ["path", "setup", "connections", "sessions"]))]
    #[serde(rename = "for")]
    pub reason: String,
    /// How many.
    pub count: u64,
}

impl Waiting {
    /// What they wait for, when this release knows it.
    pub fn wait(&self) -> Option<Wait> {
        Wait::ALL.into_iter().find(|wait| word(*wait) == self.reason)
    }
}

/// A connection that waits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Held {
    /// What it waits for.
    #[schemars(extend("enum" = ["path", "setup", "connections", "sessions"]))]
    #[serde(rename = "for")]
    pub reason: String,
    /// The address that it came to.
    pub to: String,
    /// The local program's end of it.
    pub from: String,
    /// The process there; null where the system does not tell.
    pub pid: Option<u32>,
    /// Its name; null where the system does not tell.
    pub program: Option<String>,
}

impl Held {
    /// What it waits for, when this release knows it.
    pub fn wait(&self) -> Option<Wait> {
        Wait::ALL.into_iter().find(|wait| word(*wait) == self.reason)
    }
}

/// What holds of one bastion.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct BastionStatus {
    /// Its name in the file.
    pub name: String,
    /// Its SKU; null until Resource Manager has said it.
    pub sku: Option<String>,
    /// Sessions of ours that are open or being opened.
    pub sessions: u64,
    /// Our limit on them; 0: none.
    pub max_sessions: u64,
}

/// Something happened to a tunnel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TunnelEvent {
    /// When (RFC 3339, UTC).
    #[schemars(extend("format" = "date-time"))]
    pub time: String,
    /// What kind of event: `state`, the only one of this edition; others may come.
    pub event: String,
    /// The tunnel's name.
    pub tunnel: String,
    /// What holds of it now. One that is gone is `stopped`.
    #[serde(flatten)]
    pub now: TunnelStatus,
}

/// What holds, as it is sent.
pub(super) fn status(about: &About, status: model::Status) -> Status {
    Status {
        version: VERSION,
        workspace: about.workspace.clone(),
        env: about.environment.clone(),
        instance: Some(Instance {
            program: about.program.clone(),
            pid: about.pid,
            directory: about.directory.clone(),
            file: about.file.clone(),
            started: about.started.clone(),
        }),
        generation: status.generation,
        rejected: status.rejected,
        tunnels: status.tunnels.into_iter().map(tunnel).collect(),
        bastions: status.bastions.into_iter().map(bastion).collect(),
    }
}

impl From<model::TunnelEvent> for TunnelEvent {
    /// An event, as it is sent.
    fn from(event: model::TunnelEvent) -> Self {
        Self {
            time: time(event.time),
            event: "state".to_owned(),
            tunnel: event.tunnel.name.to_string(),
            now: tunnel(event.tunnel),
        }
    }
}

fn tunnel(tunnel: model::TunnelStatus) -> TunnelStatus {
    let (code, reason, hint) = match tunnel.reason {
        Some(reason) => (Some(reason.code.into_owned()), Some(reason.what), reason.hint),
        None => (None, None, None),
    };
    let waiting =
        |(wait, count): (Wait, usize)| Waiting { reason: word(wait).to_owned(), count: count as u64 };
    TunnelStatus {
        name: tunnel.name.to_string(),
        state: tunnel.state.word().to_owned(),
        code,
        reason,
        hint,
        attempt: tunnel.attempt,
        // Nobody reads a retry to the microsecond.
        next_retry: tunnel.next_retry.map(|wait| (wait.as_secs_f64() * 1000.0).round() / 1000.0),
        listen: tunnel.listen.iter().map(ToString::to_string).collect(),
        target: tunnel.target,
        route: tunnel.route,
        verified: tunnel.verified,
        target_verified: tunnel.target_verified,
        connections: tunnel.connections as u64,
        waiting: tunnel.waiting.into_iter().map(waiting).collect(),
        held: tunnel.held.into_iter().map(held).collect(),
        bytes_in: tunnel.bytes_in,
        bytes_out: tunnel.bytes_out,
        rate_in: tunnel.rate_in,
        rate_out: tunnel.rate_out,
        last_error: tunnel.last_error.map(|error| LastError {
            time: time(error.time),
            code: error.reason.code.into_owned(),
            reason: error.reason.what,
        }),
        since: time(tunnel.since),
        env: tunnel.env,
    }
}

fn held(held: model::Held) -> Held {
    let (pid, program) = held.program.map(|program| (program.pid, program.name)).unzip();
    Held {
        reason: word(held.wait).to_owned(),
        to: held.to.to_string(),
        from: held.from.to_string(),
        pid,
        program,
    }
}

fn bastion(bastion: model::BastionStatus) -> BastionStatus {
    BastionStatus {
        name: bastion.name.to_string(),
        sku: bastion.sku,
        sessions: bastion.sessions as u64,
        max_sessions: bastion.max_sessions as u64,
    }
}

fn time(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).map_or_else(|_| String::new(), |time| format!("{time:.3}"))
}

fn word(wait: Wait) -> &'static str {
    match wait {
        Wait::Path => "path",
        Wait::SetUp => "setup",
        Wait::Connections => "connections",
        Wait::Sessions => "sessions",
    }
}
