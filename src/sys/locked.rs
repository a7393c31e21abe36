//! Files that one process at a time has, for as long as it lives: the system lets go of them however it ends.
//!
//! Whoever has one may put another in its place, or remove it. So a lock counts only while its file still has the name.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

use super::files;

/// How often a file may be replaced under somebody who wants it, before they give up.
const TRIES: usize = 16;

/// What became of an attempt to have a file.
#[derive(Debug)]
pub enum Taken {
    /// It is held by this process, until it is closed.
    Ours(File),
    /// Another process has it.
    Held,
    /// There is none.
    Absent,
}

/// Opens and locks a file of this user's alone, for reading and for adding to its end. With `make`, one that is not
/// there is made.
///
/// # Errors
/// When it is a link or no plain file, belongs to or is open to others, or cannot be opened or locked.
pub fn take(path: &Path, make: bool) -> io::Result<Taken> {
    for _ in 0..TRIES {
        match path.symlink_metadata() {
            Ok(metadata) if !metadata.is_file() => {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a plain file"));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && !make => return Ok(Taken::Absent),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(_) | Err(_) => {}
        }
        let mut options = File::options();
        options.read(true).append(true).create(make);
        files::private(&mut options);
        files::no_link(&mut options);
        let file = match options.open(path) {
            Ok(file) => file,
            // It went between the two looks.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !make => return Ok(Taken::Absent),
            Err(error) => return Err(error),
        };
        files::only_ours(&file)?;
        match file.try_lock() {
            Ok(()) if files::is_still(path, &file) => return Ok(Taken::Ours(file)),
            // It was replaced or removed before it was locked: what is locked is nobody's.
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Taken::Held),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(Taken::Held)
}
