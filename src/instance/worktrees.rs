//! The numbers of a repository's linked git worktrees: each has the lowest that is free when it first needs one, and
//! keeps it. A worktree that is gone gives its number back. The main checkout has 0.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::record::{WorktreeLine, WorktreesFile};
use super::{Places, key_of};
use crate::sys::directory::{self, DirectoryError};
use crate::sys::files;

/// The most that the file may weigh.
const MOST: u64 = 4 * 1024 * 1024;

/// The worktrees of one repository that have a number.
#[derive(Clone, Debug)]
pub struct Worktrees {
    places: Places,
    repository: PathBuf,
    path: PathBuf,
}

/// Why a worktree has no number of its own.
#[derive(Debug, thiserror::Error)]
pub enum WorktreesError {
    /// There is no safe place to remember it.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// It cannot be remembered.
    #[error("remembering the number of this git worktree in `{0}`: {1}")]
    Io(PathBuf, #[source] io::Error),
}

/// Where a worktree is, and what git keeps about it.
struct Place {
    root: PathBuf,
    git: PathBuf,
}

impl Worktrees {
    /// Those of a repository: what git keeps for all its worktrees (absolute, without links).
    pub fn of(places: &Places, repository: &Path) -> Self {
        let path = places.worktrees().join(key_of(repository)).with_extension("json");
        Self { places: places.clone(), repository: repository.to_owned(), path }
    }

    /// The number that a worktree has, or would be given now. Nothing is remembered.
    pub fn number(&self, root: &Path) -> u16 {
        number(&self.living(), root)
    }

    /// The number of a worktree, from now on: where it is, and what git keeps about it.
    ///
    /// # Errors
    /// When it cannot be remembered.
    pub fn claim(&self, root: &Path, git: &Path) -> Result<u16, WorktreesError> {
        self.places.prepare_worktrees()?;
        let failed = |error: io::Error| WorktreesError::Io(self.path.clone(), error);
        // Two checkouts may be brought up at the same moment. It is free again when this is dropped.
        let lock = directory::open_lock(&self.path.with_extension("lock")).map_err(failed)?;
        lock.lock().map_err(failed)?;
        let mut living = self.living();
        let number = number(&living, root);
        let known = living.contains_key(&number);
        living.insert(number, Place { root: root.to_owned(), git: git.to_owned() });
        if !known {
            let lines = living.iter().map(|(number, place)| WorktreeLine {
                number: *number,
                path: place.root.to_string_lossy().into_owned(),
                git: place.git.to_string_lossy().into_owned(),
            });
            let file = WorktreesFile::new(self.repository.to_string_lossy().into_owned(), lines.collect());
            let content = serde_json::to_vec_pretty(&file).map_err(|error| failed(error.into()))?;
            drop(directory::replace(&self.path, &content, File::sync_all).map_err(failed)?);
        }
        drop(lock);
        Ok(number)
    }

    /// Those that are still there, by number. A file that is not as it was written counts for nothing.
    fn living(&self) -> BTreeMap<u16, Place> {
        let ours = File::open(&self.path).is_ok_and(|file| directory::is_only_ours(&file));
        let content = if ours { files::read(&self.path, MOST).unwrap_or_default() } else { Vec::new() };
        let file = serde_json::from_slice::<WorktreesFile>(&content).ok();
        let lines = file.and_then(WorktreesFile::worktrees).unwrap_or_default().into_iter();
        let place =
            |line: WorktreeLine| (line.number, Place { root: line.path.into(), git: line.git.into() });
        let living = |place: &Place| place.root.is_dir() && place.git.is_dir();
        lines.map(place).filter(|(number, place)| *number != 0 && living(place)).collect()
    }
}

/// The number of a worktree among those that have one, or the lowest that is free.
fn number(living: &BTreeMap<u16, Place>, root: &Path) -> u16 {
    let own = living.iter().find(|(_, place)| place.root == root).map(|(number, _)| *number);
    let taken: BTreeSet<u16> = living.keys().copied().collect();
    own.or_else(|| (1..=u16::MAX).find(|number| !taken.contains(number))).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::instance::Surroundings;

    #[test]
    fn each_worktree_keeps_its_number_until_it_is_gone() {
        let root = tempfile::tempdir().unwrap();
        let state = Some(root.path().join("state"));
        let places = Places::new(&Surroundings { runtime: None, state, temporary: root.path().join("tmp") });
        let place = |name: &str| {
            let (at, git) = (root.path().join(name), root.path().join("git/worktrees").join(name));
            fs::create_dir_all(&at).unwrap();
            fs::create_dir_all(&git).unwrap();
            (at, git)
        };
        let all = Worktrees::of(&places, &root.path().join("git"));
        let claim = |(at, git): &(PathBuf, PathBuf)| all.claim(at, git).unwrap();
        let (a, b, c) = (place("a"), place("b"), place("c"));
        assert_eq!(all.number(&a.0), 1);
        assert_eq!(all.number(&b.0), 1, "nothing is remembered yet");
        assert_eq!((claim(&a), claim(&b), claim(&a), claim(&c)), (1, 2, 1, 3));
        assert_eq!((all.number(&b.0), all.number(root.path())), (2, 4));
        // Another repository counts for itself.
        let other = Worktrees::of(&places, &root.path().join("other"));
        assert_eq!(other.claim(&a.0, &a.1).unwrap(), 1);
        // Removed by hand, or by git.
        fs::remove_dir_all(&a.0).unwrap();
        let d = place("d");
        assert_eq!((claim(&d), claim(&b)), (1, 2));
        fs::remove_dir_all(&b.1).unwrap();
        assert_eq!((claim(&place("e")), claim(&c), claim(&d)), (2, 3, 1));
        fs::write(&all.path, "nonsense").unwrap();
        assert_eq!(claim(&c), 1);
    }
}
