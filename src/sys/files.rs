//! Whose a file is, and files that only their owner can read.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// Whether a file or directory belongs to this user or to root. What cannot be looked at is nobody's.
#[cfg(unix)]
pub fn is_ours(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let us = rustix::process::geteuid().as_raw();
    let ours = |metadata: std::fs::Metadata| metadata.uid() == us || metadata.uid() == 0;
    // A link to a file of ours that somebody else made is somebody else's choice.
    path.metadata().is_ok_and(ours) && path.symlink_metadata().is_ok_and(ours)
}

/// Whether a file or directory belongs to this user or to the system.
#[cfg(windows)]
pub fn is_ours(_path: &Path) -> bool {
    // Directories of other users are closed by their ACLs there; shared ones have no owner that means anything.
    true
}

/// Whether two files belong to one user.
#[cfg(unix)]
pub fn same_owner(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    matches!((one.metadata(), other.metadata()), (Ok(one), Ok(other)) if one.uid() == other.uid())
}

/// Whether two files belong to one user: there, as for [`is_ours`].
#[cfg(windows)]
pub fn same_owner(_one: &Path, _other: &Path) -> bool {
    true
}

/// Whether two directories are on the same file system.
#[cfg(unix)]
pub fn same_file_system(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    matches!((one.metadata(), other.metadata()), (Ok(one), Ok(other)) if one.dev() == other.dev())
}

/// Whether two directories are on the same file system: there, on the same drive.
#[cfg(windows)]
pub fn same_file_system(one: &Path, other: &Path) -> bool {
    one.components().next() == other.components().next()
}

/// Reads a plain file of at most `most` bytes, links followed.
///
/// # Errors
/// When it is something else (a device, a pipe) or longer, or cannot be read.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    // Asked before it is opened: opening a pipe waits for its other end.
    let metadata = path.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a plain file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is longer than {most} bytes")));
    }
    Ok(bytes)
}

/// The same for a text.
///
/// # Errors
/// Also when it is not UTF-8.
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    String::from_utf8(read(path, most)?).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Makes a new file that only this user can read and write.
///
/// # Errors
/// When it exists already, or cannot be made.
pub fn create_private(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create_new(true);
    private(&mut options);
    options.open(path)
}

/// Opens a file for adding to its end; a new one can only be read and written by this user.
///
/// # Errors
/// When it is a symbolic link, which may lead to any file of the user, or cannot be opened.
pub fn append_private(path: &Path) -> io::Result<File> {
    if path.symlink_metadata().is_ok_and(|metadata| !metadata.is_file()) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it exists and is not a plain file"));
    }
    let mut options = File::options();
    options.append(true).create(true);
    private(&mut options);
    let file = options.open(path)?;
    close_to_others(&file)?;
    Ok(file)
}

/// One that existed may have been open to others.
#[cfg(unix)]
fn close_to_others(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(std::fs::Permissions::from_mode(0o600))
}

/// The user's own directories are closed to others there.
#[cfg(windows)]
fn close_to_others(_file: &File) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn private(options: &mut std::fs::OpenOptions) {
    use std::os::unix::fs::OpenOptionsExt as _;
    options.mode(0o600);
}

/// The user's own directories are closed to others there.
#[cfg(windows)]
fn private(_options: &mut std::fs::OpenOptions) {}
