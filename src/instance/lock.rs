//! Who holds an instance: at most one process, for as long as it lives, however it ends.
//!
//! An instance has three files. `KEY.lock` is held by its owner. Only who holds it removes it, when it tidies up, and who
//! has locked it looks whether it is still there: two processes never hold the same instance. `KEY.json` says who it is; it
//! has no lock, because a locked file cannot be read everywhere. `KEY.live` is made anew by each owner and held like the
//! first: whoever lists the living tries that one, and so never stands in the way of a claim.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::record::{Owner, VERSION};
use super::{Identity, Places};
use crate::model::Name;
use crate::sys::directory::{self, DirectoryError};
use crate::sys::files::{self, is_still};

/// The most that a file about an owner may weigh.
const MOST: u64 = 64 * 1024;

/// An instance that is held. It is free again when this is dropped, and when the process ends in whatever way.
#[derive(Debug)]
pub struct Lock {
    owner: Owner,
    path: PathBuf,
    live: File,
    claim: File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Said, and not left to the closing of the files: a program that is being started at this moment has them
        // too, until it is itself. In this order: who is no longer listed may still be held, not the other way round.
        for file in [&self.live, &self.claim] {
            if let Err(error) = file.unlock() {
                tracing::debug!(%error, "the instance is free when its files are closed");
            }
        }
    }
}

/// Why an instance was not claimed.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Another process has it.
    #[error("another `bastion` (process {}) already keeps `{}` up", .0.pid, .0.path().display())]
    Held(Box<Owner>),
    /// Another process has it, and has not said yet who it is.
    #[error("another `bastion` is just starting for this workspace")]
    Starting,
    /// There is no safe place for its files.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// Its files cannot be written or locked.
    #[error("claiming the instance: `{0}`: {1}")]
    Io(PathBuf, #[source] io::Error),
}

impl Lock {
    /// Claims an instance for this process.
    ///
    /// # Errors
    /// When another process holds it, and when its files cannot be made.
    pub fn claim(places: &Places, identity: &Identity, now: SystemTime) -> Result<Self, ClaimError> {
        let socket = places.socket(identity);
        places.prepare_runtime(&socket)?;
        let files = Files::of(&places.runtime, &identity.key());
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| ClaimError::Io(path, error)
        };
        let claim = directory::open_lock(&files.lock).map_err(failed(&files.lock))?;
        match claim.try_lock() {
            Ok(()) if is_still(&files.lock, &claim) => {}
            // It was tidied up in this moment; the next try makes a new one.
            Ok(()) => return Err(ClaimError::Starting),
            Err(TryLockError::WouldBlock) => {
                return Err(files.owner().map_or(ClaimError::Starting, |o| ClaimError::Held(Box::new(o))));
            }
            Err(TryLockError::Error(error)) => return Err(failed(&files.lock)(error)),
        }
        let owner = describe(identity, socket, now);
        let content = serde_json::to_vec(&owner).map_err(|error| failed(&files.owner)(error.into()))?;
        drop(directory::replace(&files.owner, &content, |_| Ok(())).map_err(failed(&files.owner))?);
        // Locked before it has its name: who finds it, finds it held.
        let held = |file: &File| file.try_lock().map_err(io::Error::from);
        let live = directory::replace(&files.live, &[], held).map_err(failed(&files.live))?;
        Ok(Self { owner, path: files.lock, live, claim })
    }

    /// What this process says of itself to others.
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// The file that is held. Whoever removes it lets another process claim the instance.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where this instance is to listen.
    pub fn socket(&self) -> &Path {
        &self.owner.socket
    }
}

fn describe(identity: &Identity, socket: PathBuf, now: SystemTime) -> Owner {
    Owner {
        version: VERSION,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        directory: identity.directory.to_string_lossy().into_owned(),
        file: identity.file.to_string_lossy().into_owned(),
        environment: identity.environment.as_ref().map(|name| Name::as_str(name).to_owned()),
        started: jiff::Timestamp::try_from(now).map_or_else(|_| String::new(), |time| format!("{time:.0}")),
        socket,
    }
}

/// Every living instance of this user, by the workspace's path and environment.
///
/// # Errors
/// When the directory they are in cannot be read; one that is not there holds none.
pub fn list(places: &Places) -> io::Result<Vec<Owner>> {
    let entries = match places.runtime.read_dir() {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut owners = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|kind| kind == "live") {
            let key = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            owners.extend(Files::of(&places.runtime, &key).owner());
        }
    }
    owners.sort_by(|a, b| (a.path(), &a.environment).cmp(&(b.path(), &b.environment)));
    Ok(owners)
}

/// Who holds an instance now, if anyone.
pub fn holder(places: &Places, identity: &Identity) -> Option<Owner> {
    Files::of(&places.runtime, &identity.key()).owner()
}

struct Files {
    lock: PathBuf,
    owner: PathBuf,
    live: PathBuf,
}

impl Files {
    fn of(runtime: &Path, key: &str) -> Self {
        let file = |kind: &str| runtime.join(format!("{key}.{kind}"));
        Self { lock: file("lock"), owner: file("json"), live: file("live") }
    }

    /// Who holds the instance now.
    fn owner(&self) -> Option<Owner> {
        if !is_alive(&self.live) {
            return None;
        }
        serde_json::from_slice(&files::read(&self.owner, MOST).ok()?).ok()
    }
}

/// Whether the process that made this `live` file still lives.
pub(super) fn is_alive(live: &Path) -> bool {
    let locked = |file: File| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock));
    File::open(live).is_ok_and(locked)
}
