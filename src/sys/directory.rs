//! Directories that only their owner can look into, and files in them that are whole at every moment.
//!
//! A directory of someone else, or one that is open to others, is refused and left as it is.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Why a directory cannot hold what only this user may see.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// It cannot be made or looked at.
    #[error("`{0}` cannot be made a directory of yours: {1}")]
    Io(PathBuf, #[source] io::Error),
    /// Something else has the name: a file, or a link that may lead anywhere.
    #[error("`{0}` is not a directory; remove it, or say another place")]
    NotADirectory(PathBuf),
    /// Its owner can see and replace what is in it.
    #[error("`{0}` belongs to another user; nothing is kept in it")]
    Foreign(PathBuf),
    /// Others can look into it.
    #[error("`{0}` is open to other users; close it: chmod 700 '{0}'")]
    Open(PathBuf),
}

/// Makes a directory, and those above it, that only this user can look into; one that is there is checked.
///
/// # Errors
/// When it is someone else's, open to others, no directory, or cannot be made.
#[cfg(unix)]
pub fn private(path: &Path) -> Result<(), DirectoryError> {
    use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};

    let failed = |error| DirectoryError::Io(path.to_owned(), error);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).or_else(|error| {
        // What stands there in its place is named below.
        if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(failed(error)) }
    })?;
    let metadata = path.symlink_metadata().map_err(failed)?;
    if !metadata.is_dir() {
        return Err(DirectoryError::NotADirectory(path.to_owned()));
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(DirectoryError::Foreign(path.to_owned()));
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(DirectoryError::Open(path.to_owned()));
    }
    Ok(())
}

/// Makes a directory, and those above it. The user's own directories are closed to others there.
///
/// # Errors
/// When it cannot be made.
#[cfg(windows)]
pub fn private(path: &Path) -> Result<(), DirectoryError> {
    std::fs::create_dir_all(path).map_err(|error| DirectoryError::Io(path.to_owned(), error))
}

/// Whether a directory is there and belongs to this user alone, not even to root.
#[cfg(unix)]
pub fn is_own(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let us = rustix::process::geteuid().as_raw();
    path.metadata().is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == us)
}

/// Whether a directory is there. The user's own directories are closed to others there.
#[cfg(windows)]
pub fn is_own(path: &Path) -> bool {
    path.is_dir()
}

/// What tells this user from others in a name below a directory that all share.
#[cfg(unix)]
pub fn user() -> String {
    rustix::process::geteuid().as_raw().to_string()
}

/// The directory for temporary files is the user's own there.
#[cfg(windows)]
pub fn user() -> String {
    "user".to_owned()
}

/// Whether nobody but this user (and root) can have written a file.
#[cfg(unix)]
pub fn is_only_ours(file: &File) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let us = rustix::process::geteuid().as_raw();
    file.metadata().is_ok_and(|m| (m.uid() == us || m.uid() == 0) && m.mode() & 0o022 == 0)
}

/// The user's own directories are closed to others there.
#[cfg(windows)]
pub fn is_only_ours(_file: &File) -> bool {
    true
}

/// Opens a file for its lock, and makes it when it is not there; its content is left as it is.
///
/// # Errors
/// When it cannot be opened.
pub fn open_lock(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    super::files::private(&mut options);
    options.open(path)
}

/// Puts a file that only this user can read in the place of another: a reader sees the old one or the new one, whole.
///
/// `ready` is called with it before it has its name: to have it on the disk (`sync_all`), or to lock it.
///
/// # Errors
/// What the system said; the old file is then as it was.
pub fn replace(path: &Path, content: &[u8], ready: impl FnOnce(&File) -> io::Result<()>) -> io::Result<File> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let temporary = PathBuf::from(name);
    let written = write(&temporary, content).and_then(|file| {
        ready(&file)?;
        std::fs::rename(&temporary, path)?;
        Ok(file)
    });
    if written.is_err() {
        // It may never have been there.
        let _gone = std::fs::remove_file(&temporary);
    }
    written
}

fn write(path: &Path, content: &[u8]) -> io::Result<File> {
    // Left behind by a process that was killed and had our number.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = super::files::create_private(path)?;
    file.write_all(content)?;
    Ok(file)
}
