//! Which linked git worktree a directory is in, by git's own files. Git itself is never run.

use std::path::{Path, PathBuf};

use crate::sys::files;

/// The most that one of git's small files may weigh.
const MOST: u64 = 8 * 1024;

/// A linked worktree (`git worktree add`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkout {
    /// Its directory.
    pub root: PathBuf,
    /// What git keeps about it. It is gone when the worktree was removed.
    pub git: PathBuf,
    /// What git keeps about the repository: all its worktrees have this in common.
    pub common: PathBuf,
}

/// The linked worktree that a directory is in.
pub(super) fn of(directory: &Path) -> Option<Checkout> {
    for root in directory.ancestors() {
        let link = root.join(".git");
        match link.metadata() {
            // A main checkout.
            Ok(metadata) if metadata.is_dir() => return None,
            Ok(_) => {
                let linked = linked(root, &link);
                if linked.is_some() {
                    return linked;
                }
                // A submodule is where the repository around it is.
            }
            Err(_) => {}
        }
    }
    None
}

fn linked(root: &Path, link: &Path) -> Option<Checkout> {
    let text = files::read_text(link, MOST).ok()?;
    let git = root.join(text.strip_prefix("gitdir:")?.trim()).canonicalize().ok()?;
    let common = git.join(files::read_text(&git.join("commondir"), MOST).ok()?.trim());
    Some(Checkout { root: root.canonicalize().ok()?, common: common.canonicalize().ok()?, git })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_linked_worktree_is_known_by_gits_files() {
        let place = tempfile::tempdir().unwrap();
        let place = place.path().canonicalize().unwrap();
        let (main, linked) = (place.join("main"), place.join("linked"));
        let git = main.join(".git/worktrees/linked");
        let deep = linked.join("a/b");
        for directory in [&git, &deep, &main.join("src"), &linked.join("sub"), &main.join(".git/modules/sub")]
        {
            fs::create_dir_all(directory).unwrap();
        }
        fs::write(git.join("commondir"), "../..\n").unwrap();
        let expected = Checkout { root: linked.clone(), common: main.join(".git"), git: git.clone() };
        // Absolute, and as later releases of git may write it.
        for link in [git.to_str().unwrap(), "../main/.git/worktrees/linked"] {
            fs::write(linked.join(".git"), format!("gitdir: {link}\n")).unwrap();
            assert_eq!(of(&deep).as_ref(), Some(&expected));
            assert_eq!(of(&linked).as_ref(), Some(&expected));
        }
        fs::write(linked.join("sub/.git"), "gitdir: ../../main/.git/modules/sub\n").unwrap();
        assert_eq!(of(&linked.join("sub")), Some(expected), "a submodule");
        assert_eq!(of(&main.join("src")), None);
        assert_eq!(of(&place), None);
        for wrong in ["", "gitdir:", "gitdir: nowhere", "\0"] {
            fs::write(linked.join(".git"), wrong).unwrap();
            assert_eq!(of(&deep), None, "{wrong:?}");
        }
    }
}
