//! The thread behind a bell. It alone looks at files, for a file on a network that is gone can hold up whoever looks.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use notify::event::{EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Mode;
use super::route::Route;
use crate::sys::files;

/// A burst of changes is over when this long nothing changed.
const QUIET: Duration = Duration::from_millis(100);
/// A burst is told after this long, even when it goes on.
const LATEST: Duration = Duration::from_millis(900);
/// How often files are looked at where the system does not tell of changes.
const OFTEN: Duration = Duration::from_secs(1);
/// How often they are looked at where it should: what it does not tell of is noticed late, and not never.
const SELDOM: Duration = Duration::from_secs(5);

/// Where notes for the thread are left. Nobody who leaves one ever waits for it to be read.
#[derive(Debug, Default)]
pub(super) struct Desk {
    notes: Mutex<Notes>,
    left: Condvar,
    /// What the thread rings.
    pub(super) bell: Notify,
}

#[derive(Debug, Default)]
pub(super) struct Notes {
    /// The system's events about these concern us.
    points: BTreeSet<PathBuf>,
    directories: BTreeSet<PathBuf>,
    /// Something that is watched may have changed.
    stirred: bool,
    /// Something that is watched came or went, or nobody knows: what is watched may be no longer what has the name.
    moved: bool,
    /// Other files are to be watched.
    pub(super) wanted: Option<BTreeSet<PathBuf>>,
    /// Nobody listens any more.
    pub(super) ended: bool,
}

impl Desk {
    /// Leaves a note.
    pub(super) fn leave(&self, write: impl FnOnce(&mut Notes)) {
        write(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner));
        self.left.notify_one();
    }

    /// The notes, as soon as there is something to do or at that time.
    fn wait(&self, until: Instant) -> MutexGuard<'_, Notes> {
        let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let nothing = |notes: &mut Notes| !notes.stirred && notes.wanted.is_none() && !notes.ended;
        let longest = until.saturating_duration_since(Instant::now());
        self.left.wait_timeout_while(notes, longest, nothing).unwrap_or_else(PoisonError::into_inner).0
    }

    /// The system tells of a change, or that it lost some.
    fn hear(&self, event: &notify::Result<notify::Event>) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Ok(event) if !event.need_rescan() => notes.hear(event),
            // Something was lost.
            Ok(_) | Err(_) => (notes.stirred, notes.moved) = (true, true),
        }
        if notes.stirred {
            self.left.notify_one();
        }
    }
}

impl Notes {
    fn hear(&mut self, event: &notify::Event) {
        let replaced = match event.kind {
            // Our own reading is of this kind.
            EventKind::Access(_) => return,
            EventKind::Create(_) | EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)) => true,
            EventKind::Modify(_) | EventKind::Any | EventKind::Other => false,
        };
        for path in &event.paths {
            if self.points.contains(path) {
                self.stirred = true;
                // The file was watched itself, and not what has its name now.
                self.moved |= replaced;
            }
            // A directory changes when anything in it comes or goes; only its own coming and going concerns us.
            if replaced && self.directories.contains(path) {
                (self.stirred, self.moved) = (true, true);
            }
        }
    }
}

/// What is to be watched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Wanted {
    directories: BTreeSet<PathBuf>,
    files: BTreeSet<PathBuf>,
}

/// The thread's own.
pub(super) struct Worker {
    files: BTreeSet<PathBuf>,
    desk: Arc<Desk>,
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
    /// What was to be watched when that was last arranged.
    arranged: Wanted,
    /// What was found when it was last looked.
    route: Route,
    /// Whether it must look often, for the system may not tell.
    often: bool,
}

impl Worker {
    pub(super) fn new(files: BTreeSet<PathBuf>, mode: Mode, desk: Arc<Desk>) -> Self {
        let heard = Arc::clone(&desk);
        let watcher = match mode {
            Mode::Poll => None,
            Mode::Auto => notify::recommended_watcher(move |event| heard.hear(&event))
                .inspect_err(|error| tracing::debug!("the system tells nothing of changes: {error}"))
                .ok(),
        };
        let (watched, arranged) = (BTreeSet::new(), Wanted::default());
        Self { files, desk, watcher, watched, arranged, route: Route::default(), often: false }
    }

    /// Goes the ways anew, and has watched what is on them now: everything `anew`, or only where the ways changed.
    pub(super) fn look(&mut self, anew: bool) {
        let mut anew = anew;
        // Once more when something changed meanwhile, in what was not watched yet. Whoever changes it faster than that
        // is seen by looking.
        for _ in 0..3 {
            let route = Route::find(self.files.iter());
            self.desk.leave(|notes| {
                notes.points.clone_from(&route.points);
                notes.directories.clone_from(&route.directories);
            });
            let wanted = Wanted { directories: route.directories.clone(), files: route.files() };
            if anew || wanted != self.arranged {
                self.arrange(wanted);
            }
            self.route = Route::find(self.files.iter());
            if self.route == route {
                return;
            }
            // What changed may be that there is another file of that name.
            anew = true;
        }
    }

    fn arrange(&mut self, wanted: Wanted) {
        self.arranged = wanted;
        self.often = true;
        let Some(watcher) = &mut self.watcher else { return };
        // All of them: one that was removed and made again is no longer watched, and looks the same.
        for path in std::mem::take(&mut self.watched) {
            let _gone = watcher.unwatch(&path);
        }
        let mut told = true;
        for directory in &self.arranged.directories {
            match watcher.watch(directory, RecursiveMode::NonRecursive) {
                Ok(()) => drop(self.watched.insert(directory.clone())),
                Err(error) => {
                    tracing::debug!("watching `{}`: {error}; it is looked at instead", directory.display());
                    told = false;
                }
            }
            told &= files::tells_of_changes(directory);
        }
        for file in &self.arranged.files {
            // One that is gone, or may not be read, is noticed by its directory.
            if watcher.watch(file, RecursiveMode::NonRecursive).is_ok() {
                self.watched.insert(file.clone());
            }
            // It may be mounted by itself, from elsewhere.
            told &= files::tells_of_changes(file);
        }
        self.often = !told;
    }

    /// Until nobody listens any more.
    pub(super) fn run(mut self) {
        // When the burst that is going on began, and when it was last seen.
        let mut burst: Option<(Instant, Instant)> = None;
        let mut anew = false;
        let mut looked = Instant::now();
        loop {
            let look = looked + if self.often { OFTEN } else { SELDOM };
            let due = burst.map_or(look, |(first, last)| (last + QUIET).min(first + LATEST));
            let mut notes = self.desk.wait(due);
            let (stirred, wanted, ended) =
                (std::mem::take(&mut notes.stirred), notes.wanted.take(), notes.ended);
            anew |= std::mem::take(&mut notes.moved);
            drop(notes);
            if ended {
                return;
            }
            let now = Instant::now();
            if let Some(wanted) = wanted {
                self.follow(wanted);
            }
            if stirred {
                burst = Some((burst.map_or(now, |(first, _)| first), now));
            }
            if now < due {
                continue;
            }
            looked = now;
            if burst.take().is_some() {
                // First watched, then told: what changes after the bell is seen.
                self.look(std::mem::take(&mut anew));
                self.desk.bell.notify_one();
            } else if Route::find(self.files.iter()) != self.route {
                // Nobody told of it. Is it still the same that is watched?
                (burst, anew) = (Some((now, now)), true);
            }
        }
    }

    fn follow(&mut self, files: BTreeSet<PathBuf>) {
        if files != self.files {
            self.files = files;
            self.look(false);
            // What changed just before was perhaps not watched yet, or taken for what it was.
            self.desk.bell.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use notify::event::{AccessKind, CreateKind, DataChange, Flag, MetadataKind, RemoveKind};
    use notify::{Error, Event};

    use super::*;

    /// What the desk notes of an event: something stirred, something moved.
    fn noted(event: &notify::Result<Event>) -> (bool, bool) {
        let desk = Desk::default();
        desk.leave(|notes| {
            notes.points = [PathBuf::from("/d/file")].into();
            notes.directories = [PathBuf::from("/d")].into();
        });
        desk.hear(event);
        let notes = desk.notes.lock().unwrap();
        (notes.stirred, notes.moved)
    }

    fn of(kind: EventKind, path: &str) -> notify::Result<Event> {
        Ok(Event::new(kind).add_path(Path::new(path).to_owned()))
    }

    #[test]
    fn events_that_were_lost_ring() {
        assert_eq!(noted(&Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan))), (true, true));
        assert_eq!(noted(&Err(Error::generic("lost"))), (true, true));
    }

    #[test]
    fn only_what_concerns_us_rings() {
        let written = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        let touched = EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any));
        let (made, removed) = (EventKind::Create(CreateKind::Any), EventKind::Remove(RemoveKind::Any));
        for (kind, replaced) in [(written, false), (touched, false), (made, true), (removed, true)] {
            assert_eq!(noted(&of(kind, "/d/file")), (true, replaced), "{kind:?}");
            assert_eq!(noted(&of(kind, "/d/other")), (false, false), "{kind:?}");
        }
        assert_eq!(noted(&of(EventKind::Access(AccessKind::Any), "/d/file")), (false, false));
        assert_eq!(noted(&of(touched, "/d")), (false, false));
        assert_eq!(noted(&of(removed, "/d")), (true, true));
    }
}
