//! Whose a file is, and files that only their owner can read.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Whether a file or directory belongs to this user or to root. What cannot be looked at is nobody's.
#[cfg(unix)]
pub fn is_ours(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let us = rustix::process::geteuid().as_raw();
    let ours = |metadata: Metadata| metadata.uid() == us || metadata.uid() == 0;
    // A link to a file of ours that somebody else made is somebody else's choice.
    path.metadata().is_ok_and(ours) && path.symlink_metadata().is_ok_and(ours)
}

/// Whether what has this name, a link not followed, belongs to this user or to root.
#[cfg(unix)]
pub fn is_our_link(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let us = rustix::process::geteuid().as_raw();
    path.symlink_metadata().is_ok_and(|link| link.uid() == us || link.uid() == 0)
}

/// Whether what has this name belongs to this user: there, as for [`is_ours`].
#[cfg(windows)]
pub fn is_our_link(_path: &Path) -> bool {
    true
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
pub(super) fn private(options: &mut std::fs::OpenOptions) {
    use std::os::unix::fs::OpenOptionsExt as _;
    options.mode(0o600);
}

/// The user's own directories are closed to others there.
#[cfg(windows)]
pub(super) fn private(_options: &mut std::fs::OpenOptions) {}

/// Has a link in the place of the file refused.
#[cfg(unix)]
pub(super) fn no_link(options: &mut std::fs::OpenOptions) {
    use std::os::unix::fs::OpenOptionsExt as _;
    let flags = rustix::fs::OFlags::NOFOLLOW.bits();
    options.custom_flags(i32::try_from(flags).unwrap_or_default());
}

/// Links need a right of their own there, and the user's own directories are closed to others.
#[cfg(windows)]
pub(super) fn no_link(_options: &mut std::fs::OpenOptions) {}

/// Refuses a file that others own, or may read or write.
#[cfg(unix)]
pub(super) fn only_ours(file: &File) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = file.metadata()?;
    let refused = |why: &str| Err(io::Error::new(io::ErrorKind::PermissionDenied, why.to_owned()));
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        refused("it belongs to another user")
    } else if metadata.mode() & 0o077 != 0 {
        refused("it is open to other users")
    } else {
        Ok(())
    }
}

/// The user's own directories are closed to others there.
#[cfg(windows)]
pub(super) fn only_ours(_file: &File) -> io::Result<()> {
    Ok(())
}

/// Whether an open file still has this name.
pub fn is_still(path: &Path, file: &File) -> bool {
    matches!((path.symlink_metadata(), file.metadata()), (Ok(named), Ok(open)) if place(&named) == place(&open))
}

/// What tells a file from what it was before: what it is, its size, its time and its place on the disk, and where a link
/// leads. What cannot be looked at is told apart by why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp(Result<Seen, io::ErrorKind>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    kind: std::fs::FileType,
    size: u64,
    modified: Option<SystemTime>,
    place: (u64, u64),
    target: Option<PathBuf>,
}

impl Stamp {
    /// Whether it is a file, and no link, directory or device.
    pub fn is_plain_file(&self) -> bool {
        self.0.as_ref().is_ok_and(|seen| seen.kind.is_file())
    }
}

/// Whether the system tells of what is done to a watched file through another of its names. Elsewhere a file is watched
/// by way of its directory, and watching it besides would only cost.
pub const WATCHES_FILES_THEMSELVES: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// Looks at a file; a link is not followed.
pub fn stamp(path: &Path) -> Stamp {
    let seen = path.symlink_metadata().map(|metadata| {
        let kind = metadata.file_type();
        // A directory changes with whatever is in it.
        let file = !kind.is_dir();
        Seen {
            kind,
            size: if file { metadata.len() } else { 0 },
            modified: metadata.modified().ok().filter(|_| file),
            place: place(&metadata),
            target: path.read_link().ok(),
        }
    });
    Stamp(seen.map_err(|error| error.kind()))
}

#[cfg(unix)]
fn place(metadata: &Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt as _;
    (metadata.dev(), metadata.ino())
}

/// Not to be had there without opening the file; a file's time of making stands in for it.
#[cfg(windows)]
fn place(metadata: &Metadata) -> (u64, u64) {
    use std::os::windows::fs::MetadataExt as _;
    (metadata.creation_time(), 0)
}

/// Whether the system tells of changes that were made elsewhere to what is in a directory: it does not when another
/// machine, or the host of a container or a virtual machine, keeps it. What is not known is taken to tell.
#[cfg(target_os = "linux")]
pub fn tells_of_changes(directory: &Path) -> bool {
    /// `statfs(2)`: NFS, SMB in three editions, 9P, FUSE (and virtiofs), VirtualBox, Parallels, VMware, AFS in two,
    /// Coda, Ceph, Lustre, GPFS, OCFS2.
    const KEPT_ELSEWHERE: [u32; 16] = [
        0x6969,
        0x517b,
        0xff53_4d42,
        0xfe53_4d42,
        0x0102_1997,
        0x6573_5546,
        0x786f_4256,
        0x7c7c_6673,
        0xbacb_acbc,
        0x5346_414f,
        0x6b41_4653,
        0x7375_7245,
        0x00c3_6400,
        0x0bd0_0bd0,
        0x4750_4653,
        0x7461_636f,
    ];
    let kind = rustix::fs::statfs(directory).ok().and_then(|system| {
        // A number of another size on each machine; its least 32 bits are what is meant.
        system.f_type.to_le_bytes().first_chunk().copied().map(u32::from_le_bytes)
    });
    !kind.is_some_and(|kind| KEPT_ELSEWHERE.contains(&kind))
}

/// Whether the system tells of changes that were made elsewhere to what is in a directory.
#[cfg(target_os = "macos")]
pub fn tells_of_changes(directory: &Path) -> bool {
    /// `MNT_LOCAL`.
    const LOCAL: u32 = 0x1000;
    rustix::fs::statfs(directory).map_or(true, |system| system.f_flags & LOCAL != 0)
}

/// Whether the system tells of changes that were made elsewhere to what is in a directory: not on another machine.
#[cfg(not(any(target_os = "linux", target_os = "macos")))]
pub fn tells_of_changes(directory: &Path) -> bool {
    use std::path::{Component, Prefix};
    let prefix = directory.components().next();
    !matches!(prefix, Some(Component::Prefix(p)) if matches!(p.kind(), Prefix::UNC(..) | Prefix::VerbatimUNC(..)))
}
