//! Whose a file is, and files that only their owner can read.

use std::fs::File;
use std::io;
use std::path::Path;

/// Whether a file or directory belongs to this user or to root. What cannot be looked at is nobody's.
#[cfg(unix)]
pub fn is_ours(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let us = rustix::process::geteuid().as_raw();
    path.metadata().is_ok_and(|metadata| metadata.uid() == us || metadata.uid() == 0)
}

/// Whether a file or directory belongs to this user or to the system.
#[cfg(windows)]
pub fn is_ours(_path: &Path) -> bool {
    // Directories of other users are closed by their ACLs there; shared ones have no owner that means anything.
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
    options.open(path)
}

#[cfg(unix)]
fn private(options: &mut std::fs::OpenOptions) {
    use std::os::unix::fs::OpenOptionsExt as _;
    options.mode(0o600);
}

/// The user's own directories are closed to others there.
#[cfg(windows)]
fn private(_options: &mut std::fs::OpenOptions) {}
