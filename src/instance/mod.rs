//! One instance for each user, workspace file and environment: where its files are, who holds it, what its user allowed,
//! what it must delete in Azure, and what is left of one that was killed.
//!
//! Nothing here reads the environment or a workspace's files, and nothing is ever put where another user can look.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::model::Name;

mod grants;
mod journal;
mod lock;
mod places;
mod ports;
mod record;
mod stale;
mod worktrees;

pub use grants::{Grants, GrantsError};
pub use journal::{Abandoned, Found, Journal, JournalError, Whose, abandoned};
pub use lock::{ClaimError, Lock, holder, list};
pub use places::{Places, Surroundings};
pub use ports::{Ports, PortsError};
pub use record::{Left, Owner};
pub use stale::{Refused, Stale, stale};
pub use worktrees::{Worktrees, WorktreesError};

/// What makes an instance that one and no other, beside its user.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The workspace's directory, absolute and as it was found: links are not followed, so that a directory whose
    /// files are links that change (as in Kubernetes) stays one instance.
    pub directory: PathBuf,
    /// The file's name in it.
    pub file: OsString,
    /// The environment, when one was chosen.
    pub environment: Option<Name>,
}

impl Identity {
    /// The workspace's file.
    pub fn path(&self) -> PathBuf {
        self.directory.join(&self.file)
    }

    /// The name of this instance's files: the same in every process and in every release.
    pub fn key(&self) -> String {
        let environment = self.environment.as_ref().map_or("", Name::as_str);
        key(&[
            self.directory.as_os_str().as_encoded_bytes(),
            self.file.as_encoded_bytes(),
            environment.as_bytes(),
        ])
    }
}

/// The key of a workspace's file, whatever its environment.
fn key_of(workspace: &Path) -> String {
    key(&[workspace.as_os_str().as_encoded_bytes()])
}

/// The same short name for the same text, in every process and in every release.
pub fn digest(text: &str) -> String {
    key(&[text.as_bytes()])
}

/// 96 bits of a hash: short enough for a socket's path, long enough that no two are ever the same.
fn key(parts: &[&[u8]]) -> String {
    use aws_lc_rs::digest::{Context, SHA256};

    let mut hash = Context::new(&SHA256);
    for part in parts {
        // Each with its length before it: "a", "bc" is not "ab", "c".
        hash.update(&(part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finish().as_ref().iter().take(12).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
