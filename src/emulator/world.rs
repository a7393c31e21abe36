//! Everything that the connections of one emulator share: what exists, the sessions, the faults, the log.

use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::access::AccessTokens;
use super::admin::Admin;
use super::faults::FaultPlan;
use super::log::{Journal, RequestEntry};
use super::rules::SignInRules;
use super::sessions::Sessions;
use super::terrain::{Terrain, is_host};
use crate::model::{Emulation, Endpoint, FaultAction, FaultPhase};

/// Shared by all connections of one emulator.
pub(super) struct World {
    pub(super) port: u16,
    terrain: RwLock<Arc<Terrain>>,
    pub(super) limits: Limits,
    pub(super) tokens: AccessTokens,
    rules: RwLock<Arc<SignInRules>>,
    /// Who reads what is asked at `admin.localhost`, once that is open.
    admin: OnceLock<Admin>,
    pub(super) sessions: Sessions,
    pub(super) faults: FaultPlan,
    pub(super) journal: Journal,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
}

/// How long the emulator has patience.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// A websocketToken is good for this long (G18).
    pub(super) ticket: Duration,
    /// A client that reads nothing for this long is dropped (G29).
    pub(super) stall: Duration,
    /// How long a close frame's answer is waited for.
    pub(super) closing: Duration,
    /// How long a TLS handshake may take.
    pub(super) handshake: Duration,
    /// How long a connection may be idle between requests, and take to send one.
    pub(super) request: Duration,
    /// How long a target may take to accept.
    pub(super) connect: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            ticket: Duration::from_secs(60),
            stall: Duration::from_secs(20),
            closing: Duration::from_secs(5),
            handshake: Duration::from_secs(15),
            request: Duration::from_secs(120),
            connect: Duration::from_secs(10),
        }
    }
}

impl World {
    pub(super) fn new(emulation: &Emulation, parts: Parts) -> Self {
        let Parts { port, limits, tokens, journal } = parts;
        Self {
            port,
            terrain: RwLock::new(Arc::new(Terrain::default().next(emulation, |_| false))),
            limits,
            tokens,
            rules: RwLock::default(),
            admin: OnceLock::new(),
            sessions: Sessions::new(limits.ticket),
            faults: FaultPlan::new(&emulation.faults),
            journal,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Writes an entry down, with the violations in it.
    pub(super) async fn record(&self, entry: RequestEntry) {
        self.sessions.note(&entry.violations, &entry.warnings);
        self.journal.record(entry, &self.tokens).await;
    }

    /// What exists now. What was begun under an edition goes on under it.
    pub(super) fn terrain(&self) -> Arc<Terrain> {
        Arc::clone(&self.terrain.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Goes over to another declaration: what is open stays open.
    pub(super) fn update(&self, emulation: &Emulation) {
        let mut terrain = self.terrain.write().unwrap_or_else(PoisonError::into_inner);
        *terrain = Arc::new(terrain.next(emulation, |bastion| self.sessions.any_on(bastion)));
        drop(terrain);
        self.faults.declare(&emulation.faults);
    }

    /// Serves every shared bastion from another pod.
    pub(super) fn move_pods(&self) {
        let mut terrain = self.terrain.write().unwrap_or_else(PoisonError::into_inner);
        *terrain = Arc::new(terrain.moved(|bastion| self.sessions.any_on(bastion)));
    }

    /// Opens `admin.localhost`; once it is open it stays as it is.
    pub(super) fn open_admin(&self, admin: Admin) {
        let _open_already = self.admin.set(admin);
    }

    /// Who reads what is asked there.
    pub(super) fn admin(&self) -> Option<&Admin> {
        self.admin.get()
    }

    /// What sign-in goes by now.
    pub(super) fn rules(&self) -> Arc<SignInRules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Has sign-in go by other rules. Tokens that were issued stay what they are.
    pub(super) fn set_rules(&self, rules: SignInRules) {
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
    }

    /// Whether a `Host` header means this name at our port.
    pub(super) fn is_host(&self, host: &str, name: &str) -> bool {
        is_host(host, name, self.port)
    }

    /// Strikes with a fault where one is due, and notes it in the entry.
    pub(super) fn strike(
        &self,
        phase: FaultPhase,
        target: Option<&Endpoint>,
        entry: &mut RequestEntry,
    ) -> Option<FaultAction> {
        let action = self.faults.strike(phase, target)?;
        entry.fault = Some(format!("{action:?}"));
        Some(action)
    }
}

/// What a world is made of besides its [`Emulation`].
pub(super) struct Parts {
    pub(super) port: u16,
    pub(super) limits: Limits,
    pub(super) tokens: AccessTokens,
    pub(super) journal: Journal,
}
