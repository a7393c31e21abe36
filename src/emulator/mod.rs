//! A local stand-in for Azure, as far as Bastion tunnels go: sign-in, Resource Manager and the Bastion data plane
//! behind one TLS port, and simulated machines behind that.
//!
//! It promises to be at least as strict as the real service in everything that was ever seen of it, to do what it is
//! told wrongly when a fault says so, and to write down every request without a token in it. It shares no code with
//! the client side of this program, so that neither can repeat the other's mistakes. It refuses to be reachable from
//! elsewhere unless it is given such an address, and what it issues is worth nothing anywhere else.
//!
//! ```text
//! connection ─▶ arm (ARM, sign-in)
//!            ─▶ broker (Developer), rdp
//!            ─▶ exchange (tokens) ─▶ sessions
//!            ─▶ upgrade ─▶ tunnel ─▶ uplink, downlink ─▶ target
//! ```

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::DropGuard;
use tokio_util::task::TaskTracker;

use crate::model::{Emulation, EmulatorEndpoint, Fault, Frames, GatewayHost, PortRule};
use crate::sys::clock;

mod access;
mod admin;
mod answers;
mod arm;
mod assertion;
mod authority;
mod broker;
mod compute;
mod connection;
mod downlink;
mod ending;
mod exchange;
mod faults;
mod frame;
mod framing;
mod http;
mod log;
mod page;
mod rdp;
mod redact;
mod rules;
mod sessions;
mod sign_in;
mod target;
mod terrain;
mod traffic;
mod tunnel;
mod upgrade;
mod uplink;
mod verdict;
mod world;

pub use admin::Admin;
pub use authority::AuthorityError;
pub use log::{EntryKind, KEPT, RequestEntry, RequestLog};
pub use rules::{Federation, SignInRules};
pub use sessions::SessionCounts;

use access::{AUDIENCE, AccessTokens};
use authority::Authority;
use log::Journal;
use world::{Limits, Parts, World};

/// A running emulator. It owns all of its tasks; dropping it ends them.
pub struct Emulator {
    world: Arc<World>,
    endpoint: EmulatorEndpoint,
    writer: TaskTracker,
    /// What it was last told to be.
    declared: Mutex<Emulation>,
    _stop: DropGuard,
}

/// Why an emulator does not start.
#[derive(Debug, thiserror::Error)]
pub enum EmulatorError {
    /// The address cannot be listened on.
    #[error("the emulator could not listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The certificates could not be made.
    #[error("the emulator has no certificate")]
    Authority(#[source] AuthorityError),
    /// The log file cannot be written.
    #[error("the emulator could not open its log {}", path.display())]
    Log {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A fault that cannot be.
    #[error("fault {number} of the emulator cannot be: {reason}")]
    Fault {
        /// Which one, from 1.
        number: usize,
        /// Why not.
        reason: &'static str,
    },
    /// A message size that cannot be.
    #[error("the emulator's messages have 1 to {MESSAGE_MOST} bytes, not {0}")]
    MessageSize(usize),
}

impl Emulator {
    /// The tenant that an emulator has when it is told of no other: the one its own access token is for.
    pub const TENANT: &'static str = access::TENANT;

    /// Starts serving on an address; port 0 is any free one.
    ///
    /// # Errors
    /// When the address or the log file cannot be had, or the emulation asks for what cannot be.
    pub async fn start(emulation: Emulation, listen: SocketAddr) -> Result<Self, EmulatorError> {
        Self::start_within(emulation, listen, Limits::default()).await
    }

    async fn start_within(
        emulation: Emulation,
        listen: SocketAddr,
        limits: Limits,
    ) -> Result<Self, EmulatorError> {
        check(&emulation)?;
        let file = open_log(&emulation)?;
        let now = clock::now();
        let names = other_names(&emulation);
        let Authority { config, ca_pem } = Authority::new(&names, now).map_err(EmulatorError::Authority)?;
        let unheard = |source| EmulatorError::Listen { address: listen, source };
        let listener = TcpListener::bind(listen).await.map_err(unheard)?;
        let address = listener.local_addr().map_err(unheard)?;

        let writer = TaskTracker::new();
        let lines = file.map(|file| write_log(&writer, file));
        writer.close();
        let journal = Journal::new(RequestLog::new(), lines);
        let tokens = AccessTokens::new(now);
        let endpoint = EmulatorEndpoint {
            address,
            resource_manager: format!("management.localhost:{}", address.port()),
            ca_pem,
            token: tokens.first().to_owned(),
        };
        let parts = Parts { port: address.port(), limits, tokens, journal };
        let world = Arc::new(World::new(&emulation, parts));
        world.tasks.spawn(accept(Arc::clone(&world), listener, config));
        let declared = Mutex::new(emulation);
        Ok(Self { _stop: world.stop.clone().drop_guard(), endpoint, writer, declared, world })
    }

    /// Goes over to a changed declaration while it runs. Must be called inside a runtime.
    ///
    /// Sessions and streams go on, a bastion that stays keeps its host, and an unchanged list of faults goes on where
    /// it is. A `dns_name` that was not there at the start is answered by ARM, but the certificate does not cover it.
    ///
    /// # Errors
    /// When the log file cannot be had or the emulation asks for what cannot be; then nothing has changed.
    pub fn update(&self, emulation: Emulation) -> Result<(), EmulatorError> {
        check(&emulation)?;
        let mut declared = self.declared.lock().unwrap_or_else(PoisonError::into_inner);
        if declared.log != emulation.log {
            let file = open_log(&emulation)?;
            self.world.journal.turn(file.map(|file| write_log(&self.writer, file)));
        }
        self.world.update(&emulation);
        *declared = emulation;
        Ok(())
    }

    /// How a client reaches it.
    pub fn endpoint(&self) -> EmulatorEndpoint {
        self.endpoint.clone()
    }

    /// What was asked of it.
    pub fn log(&self) -> &RequestLog {
        self.world.journal.log()
    }

    /// Its sessions, and what clients did wrong.
    pub fn sessions(&self) -> SessionCounts {
        self.world.sessions.counts()
    }

    /// Waits until the counts satisfy a condition; `false`: they did not in time.
    ///
    /// They are looked at after each entry of the log, and when a node vanishes.
    pub async fn wait_for_sessions(
        &self,
        condition: impl Fn(&SessionCounts) -> bool,
        within: Duration,
    ) -> bool {
        self.log().wait_for(|_| condition(&self.sessions()), within).await
    }

    /// Adds a fault behind the others; one that cannot be is left out and warned of.
    pub fn inject(&self, fault: Fault) {
        match faults::check(&fault) {
            Ok(()) => self.world.faults.inject(fault),
            Err(reason) => {
                tracing::warn!(?fault, reason, "a fault was left out");
                self.world.sessions.note(&[], &[format!("fault left out: {reason}")]);
            }
        }
    }

    /// Lets whoever has the emulator's token do the same and more, at `admin.localhost`.
    pub fn open_admin(&self, admin: Admin) {
        self.world.open_admin(admin);
    }

    /// Has sign-in, and what Resource Manager takes, go by other rules from now on.
    pub fn set_sign_in(&self, rules: SignInRules) {
        self.world.set_rules(rules);
    }

    /// A token of a tenant, as its sign-in would answer it now.
    pub fn issue_token(&self, tenant: &str) -> String {
        self.world.tokens.issue(tenant, AUDIENCE, self.world.rules().token_lifetime, clock::now())
    }

    /// Takes away a node, as `nodeId` names it: its sessions are lost, their WebSockets reset, and their deletion
    /// finds nothing. Another node comes in its place, so that there are always two.
    pub fn vanish_node(&self, node: &str) {
        let _lost: usize = self.world.sessions.vanish(node);
        self.log().stir();
    }

    /// Has every Developer bastion served by another pod, which the broker names from now on. The old ones take back the
    /// sessions that they gave, and give no more.
    pub fn move_pods(&self) {
        self.world.move_pods();
    }

    /// Closes the listener and every connection, waits for all of its tasks, and finishes the log.
    pub async fn stop(self) {
        self.world.stop.cancel();
        self.world.tasks.close();
        self.world.tasks.wait().await;
        let Self { world, writer, endpoint: _, declared: _, _stop } = self;
        // The last owner of the log's channel goes; the writer empties it and ends.
        drop(world);
        writer.wait().await;
    }
}

impl fmt::Debug for Emulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emulator").field("address", &self.endpoint.address).finish_non_exhaustive()
    }
}

fn check(emulation: &Emulation) -> Result<(), EmulatorError> {
    if let Frames::Size(size) = emulation.frames
        && !(1..=MESSAGE_MOST).contains(&size)
    {
        return Err(EmulatorError::MessageSize(size));
    }
    for (number, fault) in (1..).zip(&emulation.faults) {
        faults::check(fault).map_err(|reason| EmulatorError::Fault { number, reason })?;
    }
    Ok(())
}

type LogFile = (tokio::fs::File, PathBuf);

fn open_log(emulation: &Emulation) -> Result<Option<LogFile>, EmulatorError> {
    let Some(path) = emulation.log.clone() else { return Ok(None) };
    let file = log::open(&path).map_err(|source| EmulatorError::Log { path: path.clone(), source })?;
    Ok(Some((file, path)))
}

/// Where lines for the file are handed in; its writer ends when nobody can hand in any more.
fn write_log(writer: &TaskTracker, (file, path): LogFile) -> mpsc::Sender<String> {
    let (lines, received) = mpsc::channel(log::LINES);
    writer.spawn(log::write(file, path, received));
    lines
}

/// Names that a workspace wants its bastions to have: the certificate is good for those that are names.
fn other_names(emulation: &Emulation) -> Vec<String> {
    let wanted = emulation.bastions.iter().filter_map(|(_, traits)| traits.dns_name.as_deref());
    wanted
        .filter_map(|name| GatewayHost::parse(name, PortRule::Allowed).ok())
        .map(|host| host.name().to_owned())
        .collect()
}

async fn accept(world: Arc<World>, listener: TcpListener, config: Arc<ServerConfig>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let stop = world.stop.clone();
    let forever = async {
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((tcp, _)) => {
                    let serve = Box::pin(connection::serve(Arc::clone(&world), Arc::clone(&config), tcp));
                    world.tasks.spawn(async move {
                        serve.await;
                        drop(place);
                    });
                }
                Err(error) => {
                    // Out of file descriptors, most likely: others have to close first.
                    tracing::warn!(%error, "the emulator could not accept a connection");
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
    };
    let _stopped = stop.run_until_cancelled(forever).await;
}

const CONNECTIONS: usize = 4096;
const BREATH: Duration = Duration::from_millis(50);
const MESSAGE_MOST: usize = 16 * 1024 * 1024;

#[cfg(test)]
mod tests;
