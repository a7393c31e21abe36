//! A journal's file: held by one process, written whole or added to, read with care.
//!
//! Nothing is forced to the disk: what was written is the system's, and stays though the process is killed. When the
//! machine itself stops, a line may be lost, and Azure ends that session by itself, as it does without a journal.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::super::record::{JournalHead, Left, Said, VERSION, granted_line, head_line, read_line};
use crate::sys::directory;
use crate::sys::files::is_still;
use crate::sys::locked::{self, Taken};

/// How old a line may be: Azure has ended such a session long ago.
const LIFE: Duration = Duration::from_hours(24);
/// The most of a file that is read.
const MOST: u64 = 16 * 1024 * 1024;
/// The most lines of sessions that are believed.
const LINES: usize = 50_000;

/// A journal's file, held.
#[derive(Debug)]
pub(super) struct Book {
    path: PathBuf,
    file: File,
    /// Bytes added since it was written whole.
    pub(super) added: usize,
}

impl Drop for Book {
    fn drop(&mut self) {
        // Said, and not left to the closing of the file: a program that is being started at this moment has it too.
        if let Err(error) = self.file.unlock() {
            tracing::debug!(%error, "the journal is free when its file is closed");
        }
    }
}

/// A session in a journal, and when it was last known to be there (seconds since 1970).
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) at: u64,
    pub(super) left: Arc<Left>,
}

/// What stands in a journal, by the numbers of its lines.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) head: JournalHead,
    pub(super) lines: BTreeMap<u64, Line>,
    /// Lines that nobody can read: torn, or of somebody else.
    pub(super) garbage: usize,
}

impl Book {
    /// Has a file; none when another process has it, or it is not there and not to be made.
    pub(super) fn take(path: &Path, make: bool) -> io::Result<Option<Self>> {
        Ok(match locked::take(path, make)? {
            Taken::Ours(file) => Some(Self { path: path.to_owned(), file, added: 0 }),
            Taken::Held | Taken::Absent => None,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads it. Old lines and those of deleted sessions are not there any more.
    pub(super) fn read(&self, now: SystemTime) -> io::Result<Contents> {
        let mut text = Vec::new();
        (&self.file).take(MOST).read_to_end(&mut text)?;
        let mut contents = Contents::default();
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
            match read_line(line) {
                Some(Said::Granted { id, at, left }) if contents.lines.len() < LINES => {
                    contents.lines.insert(id, Line { at, left: Arc::new(left) });
                }
                Some(Said::Gone(id)) => drop(contents.lines.remove(&id)),
                Some(Said::Head(head)) if head.version != VERSION => {
                    let what = format!("another release wrote it (edition {})", head.version);
                    return Err(io::Error::new(io::ErrorKind::InvalidData, what));
                }
                Some(Said::Head(head)) => contents.head = head,
                Some(Said::Granted { .. }) | None => contents.garbage += 1,
            }
        }
        contents.lines.retain(|_, line| !line.is_old(now));
        Ok(contents)
    }

    /// Writes it anew, whole. A reader, and a process that is killed meanwhile, leaves the old one or the new one.
    pub(super) fn rewrite(&mut self, head: &JournalHead, lines: &BTreeMap<u64, Line>) -> io::Result<()> {
        if !is_still(&self.path, &self.file) && self.path.symlink_metadata().is_ok() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "another process has put its own there",
            ));
        }
        let mut text = head_line(head);
        for (id, line) in lines {
            text.extend(granted_line(*id, line.at, &line.left));
        }
        // Locked before it has its name: who finds it, finds it held.
        let held = |file: &File| file.try_lock().map_err(io::Error::from);
        self.file = directory::replace(&self.path, &text, held)?;
        self.added = 0;
        Ok(())
    }

    /// Adds lines at its end.
    pub(super) fn add(&mut self, lines: &[u8]) -> io::Result<()> {
        self.added += lines.len();
        self.file.write_all(lines)
    }

    /// Removes it, while it is held: nobody else has anything in it.
    pub(super) fn remove(self) -> io::Result<()> {
        if is_still(&self.path, &self.file) { std::fs::remove_file(&self.path) } else { Ok(()) }
    }
}

impl Line {
    /// A time that is as far ahead is as wrong.
    pub(super) fn is_old(&self, now: SystemTime) -> bool {
        seconds(now).abs_diff(self.at) > LIFE.as_secs()
    }

    /// What it takes in a file, about.
    pub(super) fn size(&self) -> usize {
        use secrecy::ExposeSecret as _;
        let Left { cloud, host, node_id, auth_token } = &*self.left;
        let node = node_id.as_ref().map_or(0, String::len);
        100 + cloud.len() + host.len() + node + auth_token.expose_secret().len()
    }
}

pub(super) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
