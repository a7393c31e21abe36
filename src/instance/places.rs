//! Where the files of this user's instances are: a runtime directory for locks and sockets, a state directory for what
//! is remembered. Both are closed to others, and one that is not is refused.

use std::path::{Path, PathBuf};

use super::{Identity, key_of};
use crate::sys::directory::{self, DirectoryError};
use crate::sys::local;

/// The directories that the system and the environment name, as `cli` has found them.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// `XDG_RUNTIME_DIR`, when it is set.
    pub runtime: Option<PathBuf>,
    /// `XDG_STATE_HOME`, or where this system has such things in the user's home; `None` when the user has no home.
    pub state: Option<PathBuf>,
    /// The directory for temporary files, which all users may share.
    pub temporary: PathBuf,
}

/// Where the files of this user's instances are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// Locks and sockets, as long as the system is up.
    pub runtime: PathBuf,
    /// What is remembered for longer.
    pub state: PathBuf,
    /// Where a socket is when its path below `runtime` would be too long.
    short: PathBuf,
}

impl Places {
    /// Chooses them; nothing is made yet.
    ///
    /// A runtime directory that is not the user's own is passed over: `su` and `sudo` often leave that of another user.
    pub fn new(surroundings: &Surroundings) -> Self {
        let short = surroundings.temporary.join(format!("bastion-{}", directory::user()));
        // As the standard of these variables has it, a relative path counts for nothing.
        let state = surroundings.state.as_ref().filter(|path| path.is_absolute());
        let runtime = surroundings.runtime.as_ref().filter(|path| path.is_absolute());
        let runtime = match (runtime.filter(|path| directory::is_own(path)), state) {
            (Some(runtime), _) => runtime.join("bastion"),
            (None, Some(state)) => state.join("bastion").join("run"),
            (None, None) => short.clone(),
        };
        let state = state.map_or_else(|| short.join("state"), |state| state.join("bastion"));
        Self { runtime, state, short }
    }

    /// The socket of an instance.
    pub fn socket(&self, identity: &Identity) -> PathBuf {
        local::address(&self.runtime, &self.short, &key_of(&self.runtime), &identity.key())
    }

    /// Makes the runtime directory, and the one that the socket is in.
    pub(super) fn prepare_runtime(&self, socket: &Path) -> Result<(), DirectoryError> {
        self.private(&self.runtime)?;
        match socket.parent() {
            Some(parent) if parent == self.short => directory::private(parent),
            _ => Ok(()),
        }
    }

    /// Makes the directory of what users allowed.
    pub(super) fn prepare_grants(&self) -> Result<(), DirectoryError> {
        self.private(&self.state)?;
        directory::private(&self.grants())
    }

    /// Makes the directory of tunnels' ports.
    pub(super) fn prepare_ports(&self) -> Result<(), DirectoryError> {
        self.private(&self.state)?;
        directory::private(&self.ports())
    }

    /// Makes the directory of the numbers of git worktrees.
    pub(super) fn prepare_worktrees(&self) -> Result<(), DirectoryError> {
        self.private(&self.state)?;
        directory::private(&self.worktrees())
    }

    /// The one in the directory for temporary files may be made by anyone beforehand; then nothing below it is safe.
    fn private(&self, path: &Path) -> Result<(), DirectoryError> {
        if path.starts_with(&self.short) {
            directory::private(&self.short)?;
        }
        directory::private(path)
    }

    pub(super) fn ports(&self) -> PathBuf {
        self.state.join("ports")
    }

    pub(super) fn worktrees(&self) -> PathBuf {
        self.state.join("worktrees")
    }

    pub(super) fn grants(&self) -> PathBuf {
        self.state.join("grants")
    }

    /// Makes the directory of what instances must delete in Azure.
    pub(super) fn prepare_journals(&self) -> Result<(), DirectoryError> {
        self.private(&self.state)?;
        directory::private(&self.journals())
    }

    pub(super) fn journals(&self) -> PathBuf {
        self.state.join("sessions")
    }

    /// The directory of sockets whose path would be too long elsewhere.
    pub(super) fn short(&self) -> &Path {
        &self.short
    }
}
