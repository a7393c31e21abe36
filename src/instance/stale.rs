//! The files of instances that do not live: whoever was killed could not remove its own.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::lock::is_alive;
use super::{Owner, Places};
use crate::sys::files;
use crate::sys::locked::{self, Taken};

/// What the files of an instance are called, after its key. The lock goes last.
const KINDS: [&str; 4] = ["sock", "json", "live", "lock"];
/// The most that a file about an owner may weigh.
const MOST: u64 = 64 * 1024;

/// Files that cannot be had or removed, each with why.
pub type Refused = Vec<(PathBuf, io::Error)>;

/// The files of an instance that does not live. As long as this is kept, it cannot start.
#[derive(Debug)]
pub struct Stale {
    owner: Option<Owner>,
    files: Vec<PathBuf>,
    lock: PathBuf,
    _claim: Option<File>,
}

/// Every instance of this user that does not live and has left files, with those files. `touch`: they are to be removed,
/// so each is kept from starting. Besides, the locks that cannot be taken, each with why.
///
/// # Errors
/// When a directory cannot be read; one that is not there holds none.
pub fn stale(places: &Places, touch: bool) -> io::Result<(Vec<Stale>, Refused)> {
    let mut instances: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    let mut directories = vec![places.runtime.as_path()];
    directories.extend(Some(places.short()).filter(|short| *short != places.runtime));
    for directory in directories {
        // What others could have put there is none of our business.
        if !crate::sys::directory::is_own(directory) {
            continue;
        }
        for entry in directory.read_dir()? {
            let path = entry?.path();
            if let Some(key) = key_of(&path) {
                instances.entry(key).or_default().push(path);
            }
        }
    }
    let (mut stale, mut refused) = (Vec::new(), Vec::new());
    for (key, mut files) in instances {
        let file = |kind| places.runtime.join(&key).with_extension(kind);
        let lock = file("lock");
        if is_alive(&file("live")) {
            continue;
        }
        let claim = match locked::take(&lock, touch) {
            Ok(Taken::Ours(claim)) => Some(claim),
            Ok(Taken::Absent) => None,
            // It is just starting.
            Ok(Taken::Held) => continue,
            Err(error) => {
                refused.push((lock, error));
                continue;
            }
        };
        if !files.contains(&lock) && claim.is_some() {
            files.push(lock.clone());
        }
        files.sort_by_key(|path| (*path == lock, path.clone()));
        let owner = files::read(&file("json"), MOST).ok();
        let owner = owner.and_then(|text| serde_json::from_slice(&text).ok());
        stale.push(Stale { owner, files, lock, _claim: claim });
    }
    Ok((stale, refused))
}

impl Stale {
    /// Whose they were, where that can be read.
    pub fn owner(&self) -> Option<&Owner> {
        self.owner.as_ref()
    }

    /// Its files.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Removes them, the lock last. Gives those that stay, each with why.
    pub fn remove(self) -> Refused {
        let mut stay = Vec::new();
        for path in self.files {
            // Whoever locks a lock that goes looks whether it is still there. One whose files stay, stays too.
            if path == self.lock && !stay.is_empty() {
                continue;
            }
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => stay.push((path, error)),
                Ok(()) | Err(_) => {}
            }
        }
        stay
    }
}

/// Whose a file with this name is: `KEY.KIND`, or what was to become one (`KEY.KIND.PROCESS.new`).
fn key_of(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let (key, rest) = name.split_once('.')?;
    let kind = rest.strip_suffix(".new").and_then(|rest| rest.split_once('.')).map_or(rest, |(kind, _)| kind);
    let is_key = key.len() == 24 && key.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_key && KINDS.contains(&kind)).then(|| key.to_owned())
}
