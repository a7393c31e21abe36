//! What an instance must delete in Azure, written down before it is used, so that whoever comes after a process that was
//! killed can do it.
//!
//! It is the one file that holds a secret of the gateway: 0600 in a directory that nobody else can look into, held by its
//! instance as long as that lives. Each instance has one. Who finds its own held, by `bastion gc` or, where there is no
//! workspace, by another tunnel, takes the next free one; what stands in those that nobody holds is taken over.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use tokio::time::timeout;

use super::record::{JournalHead, Left, VERSION};
use super::{Identity, Places};
use crate::model::Name;
use crate::sys::directory::DirectoryError;

mod book;
mod writer;

use book::{Book, Contents, Line};
use writer::{Desk, ENDED};

/// How many journals one workspace, or all tunnels without one, may have at once.
const MOST: usize = 256;
/// How long a session waits for its line to be written before it is used all the same.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long the last lines may take at the end.
const FAREWELL: Duration = Duration::from_secs(2);
/// What the files are called: `KEY.NUMBER.journal`.
const KIND: &str = "journal";

/// Whose a journal is.
#[derive(Clone, Copy, Debug)]
pub enum Whose<'a> {
    /// An instance's.
    Instance(&'a Identity),
    /// A tunnel's without a workspace.
    Tunnel,
}

/// The journal of this process.
#[derive(Debug)]
pub struct Journal {
    desk: Arc<Desk>,
    /// The disk did not answer in time: nobody waits for it until it is back.
    late: AtomicBool,
    problems: Vec<String>,
}

/// Why there is no journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// There is no safe place for it.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// It cannot be made, read or held.
    #[error("`{0}`: {1}")]
    Io(PathBuf, #[source] io::Error),
    /// There are too many.
    #[error("all {MOST} journals in `{0}` are held or unusable")]
    TooMany(PathBuf),
}

/// A journal that nobody holds, held now until it is dropped.
#[derive(Debug)]
pub struct Abandoned {
    book: Book,
    head: JournalHead,
    lines: BTreeMap<u64, Line>,
    garbage: usize,
}

/// A journal that was found.
#[derive(Debug)]
pub enum Found {
    /// Nobody holds it.
    Abandoned(Box<Abandoned>),
    /// It is another process's, which lives.
    Held(PathBuf),
    /// It is not believed, or cannot be read.
    Refused(PathBuf, io::Error),
}

impl Journal {
    /// Has a journal for this process, and takes over what those before it have left.
    ///
    /// # Errors
    /// When none can be had. Tunnels need none.
    pub fn open(places: &Places, whose: Whose<'_>, clock: fn() -> SystemTime) -> Result<Self, JournalError> {
        places.prepare_journals()?;
        let directory = places.journals();
        let (key, head) = named(whose);
        let (mut problems, mut own) = (Vec::new(), None);
        for number in 0..MOST {
            let path = directory.join(format!("{key}.{number}.{KIND}"));
            match Book::take(&path, true).and_then(|book| read(book, clock())) {
                Ok(Some(found)) => {
                    own = Some(found);
                    break;
                }
                Ok(None) => {}
                Err(error) => problems.push(format!("`{}`: {error}", path.display())),
            }
            // What is wrong with so many is wrong with all.
            if problems.len() > 3 {
                break;
            }
        }
        let Some((mut book, Contents { mut lines, garbage, .. })) = own else {
            return Err(JournalError::TooMany(directory));
        };
        if garbage > 0 {
            problems.push(format!("`{}`: {garbage} lines could not be read", book.path().display()));
        }
        // A file that cannot be written is told of as soon as there is something to write.
        let written = book.rewrite(&head, &lines).is_ok();
        if written {
            for path in files(&directory).unwrap_or_default() {
                if key_of(&path).is_some_and(|of| of == key) && path != book.path() {
                    inherit(&path, &mut book, &head, &mut lines, clock());
                }
            }
        }
        let desk = Arc::new(Desk::new(lines, !written, clock));
        let writer = Arc::clone(&desk);
        let path = book.path().to_owned();
        std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer.write(book, &head))
            .map_err(|error| JournalError::Io(path, error))?;
        Ok(Self { desk, late: AtomicBool::new(false), problems })
    }

    /// What is wrong with it, and with others that it would have taken over: to be told once.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// What processes before this one have left, by the numbers of their lines.
    pub fn inherited(&self) -> Vec<(u64, Arc<Left>)> {
        self.desk.inherited()
    }

    /// Writes a session down, and gives the number of its line. When this returns, it stays though the process is
    /// killed; a disk that does not answer is waited for only so long.
    pub async fn granted(&self, left: Left) -> u64 {
        let (id, ticket) = self.desk.granted(left);
        let mut written = self.desk.written.subscribe();
        if self.late.load(Ordering::Relaxed) && *written.borrow() + 1 < ticket {
            return id;
        }
        let waited = timeout(PATIENCE, written.wait_for(|written| *written >= ticket)).await;
        self.late.store(waited.is_err(), Ordering::Relaxed);
        id
    }

    /// Takes a session out, which is deleted.
    pub fn gone(&self, id: u64) {
        self.desk.gone(id);
    }

    /// Writes the last lines, and lets go of the file; one that says nothing any more is removed.
    pub async fn close(&self) {
        self.desk.close();
        let mut written = self.desk.written.subscribe();
        // A disk that does not answer must not hold up the exit.
        let _late = timeout(FAREWELL, written.wait_for(|written| *written == ENDED)).await;
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.desk.close();
    }
}

/// All journals of this user.
///
/// # Errors
/// When their directory is not safe or cannot be read; one that is not there holds none.
pub fn abandoned(places: &Places, now: SystemTime) -> Result<Vec<Found>, JournalError> {
    let directory = places.journals();
    if directory.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return Ok(Vec::new());
    }
    places.prepare_journals()?;
    let paths = files(&directory).map_err(|error| JournalError::Io(directory, error))?;
    let mut found = Vec::new();
    for path in paths.into_iter().filter(|path| key_of(path).is_some()) {
        match Book::take(&path, false).and_then(|book| read(book, now)) {
            Ok(Some((book, Contents { head, lines, garbage }))) => {
                found.push(Found::Abandoned(Box::new(Abandoned { book, head, lines, garbage })));
            }
            // It may just have ended, and been removed.
            Ok(None) if path.exists() => found.push(Found::Held(path)),
            Ok(None) => {}
            Err(error) => found.push(Found::Refused(path, error)),
        }
    }
    Ok(found)
}

impl Abandoned {
    /// Its file.
    pub fn path(&self) -> &Path {
        self.book.path()
    }

    /// The workspace's file; none for a tunnel without one.
    pub fn workspace(&self) -> Option<&str> {
        Some(&*self.head.workspace).filter(|path| !path.is_empty())
    }

    /// The environment, when one was chosen.
    pub fn environment(&self) -> Option<&str> {
        self.head.environment.as_deref()
    }

    /// Lines that nobody can read.
    pub fn garbage(&self) -> usize {
        self.garbage
    }

    /// What it says, by the numbers of its lines.
    pub fn left(&self) -> Vec<(u64, Arc<Left>)> {
        self.lines.iter().map(|(id, line)| (*id, Arc::clone(&line.left))).collect()
    }

    /// Takes out everything but these; a file that says nothing then is removed.
    ///
    /// # Errors
    /// When it cannot be written; it is then as it was.
    pub fn keep(mut self, still: &BTreeSet<u64>) -> io::Result<()> {
        self.lines.retain(|id, _| still.contains(id));
        if self.lines.is_empty() { self.book.remove() } else { self.book.rewrite(&self.head, &self.lines) }
    }
}

fn named(whose: Whose<'_>) -> (String, JournalHead) {
    match whose {
        Whose::Instance(identity) => {
            let workspace = identity.path().to_string_lossy().into_owned();
            let environment = identity.environment.as_ref().map(|name| Name::as_str(name).to_owned());
            (identity.key(), JournalHead { version: VERSION, workspace, environment })
        }
        Whose::Tunnel => ("tunnel".to_owned(), JournalHead { version: VERSION, ..JournalHead::default() }),
    }
}

fn read(book: Option<Book>, now: SystemTime) -> io::Result<Option<(Book, Contents)>> {
    let Some(book) = book else { return Ok(None) };
    let contents = book.read(now)?;
    Ok(Some((book, contents)))
}

/// Takes over what stands in a journal that nobody holds. It goes when all of it stands in ours.
fn inherit(
    path: &Path,
    own: &mut Book,
    head: &JournalHead,
    lines: &mut BTreeMap<u64, Line>,
    now: SystemTime,
) {
    let Ok(Some((book, contents))) = Book::take(path, false).and_then(|book| read(book, now)) else { return };
    let mut next = lines.last_key_value().map_or(0, |(id, _)| id.saturating_add(1));
    let mut all = lines.clone();
    for line in contents.lines.into_values() {
        all.insert(next, line);
        next = next.saturating_add(1);
    }
    if own.rewrite(head, &all).is_ok() {
        *lines = all;
        // If it stays, its sessions are deleted twice, which does no harm.
        drop(book.remove());
    }
}

/// What is in the directory.
fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in directory.read_dir()? {
        paths.push(entry?.path());
    }
    paths.sort();
    Ok(paths)
}

/// Whose a file with this name is; none when it is no journal's name.
fn key_of(path: &Path) -> Option<&str> {
    let (key, number) = path.file_name()?.to_str()?.strip_suffix(".journal")?.rsplit_once('.')?;
    number.parse::<usize>().ok().filter(|number| *number < MOST).map(|_| key)
}

#[cfg(test)]
mod tests;
