//! What others hold of a supervisor: they ask it something, look at what holds, and hear what happens.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::Instant;

use super::board::{Board, Declaration};
use super::declared::{Rejected, Setting};
use crate::model::{GrantKind, Name, Status, TunnelEvent};
use crate::plan::Line;

/// A supervisor, for whoever wants something of it.
#[derive(Clone)]
pub struct Handle {
    pub(super) board: Arc<Board>,
    pub(super) commands: mpsc::Sender<Command>,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

/// What came of a request that concerns the declaration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The edition of the declared set.
    pub generation: u64,
    /// The tunnels that did not run before.
    pub started: Vec<Name>,
    /// What changed, or would change.
    pub lines: Vec<Line>,
    /// How many tunnels that concerns.
    pub changes: usize,
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The declaration cannot be carried out.
    #[error("{}", .0.what)]
    Rejected(Rejected),
    /// No tunnel is called so.
    #[error("there is no tunnel `{name}`")]
    Unknown {
        /// What was asked for.
        name: String,
        /// Those that there are.
        known: Vec<Name>,
    },
    /// The supervisor stops, or has stopped.
    #[error("the instance is stopping")]
    Stopping,
}

/// A request, and who waits for its answer.
pub(super) enum Command {
    Up { tunnels: Vec<String>, profiles: Vec<String>, setting: Setting, reply: Reply<Applied> },
    Reload { setting: Setting, reply: Reply<Applied> },
    Plan { setting: Setting, reply: Reply<Applied> },
    Down { tunnels: Vec<String>, grace: Duration, reply: Reply<Vec<(Name, usize)>> },
    Prove { tunnels: Vec<String>, reply: Reply<()> },
    Stop { grace: Duration, reply: Reply<Vec<(Name, usize)>> },
}

pub(super) type Reply<T> = oneshot::Sender<Result<T, Refusal>>;

impl Handle {
    /// Ensures tunnels: those named, or else the default set and the profiles. It only ever adds.
    ///
    /// # Errors
    /// When the declaration has mistakes, or a name is not in it.
    pub async fn up(
        &self,
        tunnels: Vec<String>,
        profiles: Vec<String>,
        setting: Setting,
    ) -> Result<Applied, Refusal> {
        self.ask(|reply| Command::Up { tunnels, profiles, setting, reply }).await
    }

    /// Has the declaration read again, with other variables and what az says now.
    ///
    /// # Errors
    /// When it has mistakes; then all is as before.
    pub async fn reload(&self, setting: Setting) -> Result<Applied, Refusal> {
        self.ask(|reply| Command::Reload { setting, reply }).await
    }

    /// Says what reading the declaration again would change.
    ///
    /// # Errors
    /// When it has mistakes.
    pub async fn plan(&self, setting: Setting) -> Result<Applied, Refusal> {
        self.ask(|reply| Command::Plan { setting, reply }).await
    }

    /// Stops tunnels; their connections may go on for so long. Says how many there are of which.
    ///
    /// # Errors
    /// When none has such a name.
    pub async fn down(&self, tunnels: Vec<String>, grace: Duration) -> Result<Vec<(Name, usize)>, Refusal> {
        self.ask(|reply| Command::Down { tunnels, grace, reply }).await
    }

    /// Has the paths of tunnels proven again, but those that were within the last minute. Answered when that is done.
    ///
    /// # Errors
    /// When none has such a name.
    pub async fn prove(&self, tunnels: Vec<String>) -> Result<(), Refusal> {
        self.ask(|reply| Command::Prove { tunnels, reply }).await
    }

    /// Stops everything: nothing new is accepted, connections may go on for so long. Says how many there are of which.
    /// Asked again, the shorter time holds.
    ///
    /// # Errors
    /// When it has stopped already.
    pub async fn stop(&self, grace: Duration) -> Result<Vec<(Name, usize)>, Refusal> {
        self.ask(|reply| Command::Stop { grace, reply }).await
    }

    /// Whether no tunnel runs or is ending.
    pub fn is_idle(&self) -> bool {
        self.board.is_empty()
    }

    /// What holds now.
    pub fn status(&self) -> Status {
        self.board.status(Instant::now().into_std())
    }

    /// What was last made of the declaration.
    pub fn declaration(&self) -> Arc<Declaration> {
        self.board.declaration()
    }

    /// What happens to tunnels from now on.
    pub fn events(&self) -> broadcast::Receiver<TunnelEvent> {
        self.board.events()
    }

    /// Changes whenever something of the status did, beside the counts of connections and bytes.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.board.changed()
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_ended| Refusal::Stopping)?;
        answer.await.unwrap_or(Err(Refusal::Stopping))
    }
}

impl Setting {
    /// The same with grants of these kinds besides.
    #[must_use]
    pub fn allowing(mut self, kinds: impl IntoIterator<Item = GrantKind>) -> Self {
        self.allowed.extend(kinds);
        self
    }
}
