//! The bell: some of the watched files may have changed. It says nothing of what changed, so nothing relies on how a
//! system tells of changes; whoever hears it reads the files.
//!
//! It promises that a change is never missed: what changes before the bell is heard is in the files when they are
//! read, and what changes after that rings again. It does not promise that a bell means a change.
//!
//! Directories are watched: most editors put a new file in the old one's place. Watched is the directory of each file,
//! of each link on the way to it, and for what is absent, of the nearest thing that is there. Where that is told, the
//! files that are there are watched themselves besides: one that is mounted alone into a container, or has another hard
//! link, is written without anything happening in its directory; a new one in its place is watched anew. Events can
//! fail to come (network and container mounts, exhausted limits), so the files are looked at besides: seldom where
//! events should come, every second where they do not.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

mod route;
mod worker;

use worker::{Desk, Worker};

/// How changes are noticed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// By what the system tells, and by looking.
    #[default]
    Auto,
    /// By looking alone, every second.
    Poll,
}

/// Watches files. Dropping it ends its thread.
#[derive(Debug)]
pub struct Watch {
    desk: Arc<Desk>,
}

impl Watch {
    /// Watches files from now on; those that are not there may appear later.
    ///
    /// # Errors
    /// When no thread can be started. Where the system tells nothing of changes, the files are looked at instead.
    pub fn start(files: &[PathBuf], mode: Mode) -> io::Result<Self> {
        let desk = Arc::new(Desk::default());
        let mut worker = Worker::new(absolute(files), mode, Arc::clone(&desk));
        // Here, not in the thread: what changes after this returns is noticed.
        worker.look(true);
        // It ends by itself, and is not waited for: it may hang on a file that a network does not give.
        let _ends_itself =
            std::thread::Builder::new().name("watch".to_owned()).spawn(move || worker.run())?;
        Ok(Self { desk })
    }

    /// Waits until some file may have changed since the last bell. Cancel-safe: a bell that nobody heard rings again.
    pub async fn changed(&mut self) {
        self.desk.bell.notified().await;
    }

    /// Watches these files and no others. When they are not those watched before, that rings the bell once: a new one
    /// may have changed before.
    pub fn follow(&mut self, files: &[PathBuf]) {
        self.desk.leave(|notes| notes.wanted = Some(absolute(files)));
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.desk.leave(|notes| notes.ended = true);
    }
}

fn absolute(files: &[PathBuf]) -> BTreeSet<PathBuf> {
    let absolute = |path: &PathBuf| std::path::absolute(Path::new(path)).unwrap_or_else(|_| path.clone());
    files.iter().map(absolute).collect()
}
