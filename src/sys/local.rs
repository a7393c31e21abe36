//! The socket of an instance: a Unix socket that only its user can open, a named pipe with the user's ACL on Windows.
//!
//! Whoever comes from another user is turned away here, so that nothing above ever sees a byte of theirs.

use std::io;
use std::path::{Path, PathBuf};

use interprocess::local_socket::tokio::Listener;
use interprocess::local_socket::traits::tokio::{Listener as _, Stream as _};
use interprocess::local_socket::{GenericFilePath, ListenerOptions, ToFsName as _};

pub use interprocess::local_socket::tokio::Stream;

/// How long a socket's path may be: the least that any system takes is 104 bytes, its end included.
#[cfg(unix)]
const LONGEST: usize = 99;

/// Where a name has its socket, below a directory of the user's; below `otherwise`, when the path would be too long.
#[cfg(unix)]
pub fn address(directory: &Path, otherwise: &Path, _user: &str, name: &str) -> PathBuf {
    let path = directory.join(name).with_extension("sock");
    if path.as_os_str().len() <= LONGEST { path } else { otherwise.join(name).with_extension("sock") }
}

/// Where a name has its pipe: there, all users' pipes lie in one place, so the user is part of the name.
#[cfg(windows)]
pub fn address(_directory: &Path, _otherwise: &Path, user: &str, name: &str) -> PathBuf {
    PathBuf::from(format!(r"\\.\pipe\bastion-{user}-{name}"))
}

/// What listens on an instance's socket. The socket is removed when this is dropped.
#[derive(Debug)]
pub struct LocalListener(Listener);

/// Listens. What is left of an instance that is gone is replaced, so the caller holds the instance's lock.
///
/// # Errors
/// What the system said.
#[cfg(unix)]
pub fn bind(path: &Path) -> io::Result<LocalListener> {
    use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};

    match path.symlink_metadata() {
        Ok(metadata) if metadata.file_type().is_socket() => std::fs::remove_file(path)?,
        Ok(_) => return Err(io::Error::new(io::ErrorKind::AlreadyExists, "it exists and is no socket")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let name = path.to_fs_name::<GenericFilePath>()?;
    let listener = ListenerOptions::new().name(name).create_tokio()?;
    // Its directory keeps others out in the moment before.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(LocalListener(listener))
}

/// Listens, for this user alone and never for the network.
///
/// # Errors
/// What the system said; also when something listens there already.
#[cfg(windows)]
pub fn bind(path: &Path) -> io::Result<LocalListener> {
    use interprocess::os::windows::local_socket::ListenerOptionsExt as _;
    use interprocess::os::windows::security_descriptor::SecurityDescriptor;

    // Protected from inherited entries; everything for the owner, nothing for whoever comes by the network.
    let text = widestring::U16CString::from_str("D:P(D;;GA;;;NU)(A;;GA;;;OW)").map_err(io::Error::other)?;
    let only_ours = SecurityDescriptor::deserialize(&text)?;
    let name = path.to_fs_name::<GenericFilePath>()?;
    let options = ListenerOptions::new().name(name).security_descriptor(only_ours);
    Ok(LocalListener(options.create_tokio()?))
}

impl LocalListener {
    /// The next connection, and whether it is this user's. Cancel-safe.
    ///
    /// # Errors
    /// What the system said, usually that too many files are open; the listener goes on.
    pub async fn accept(&self) -> io::Result<(Stream, bool)> {
        let stream = self.0.accept().await?;
        let ours = is_ours(&stream);
        Ok((stream, ours))
    }
}

/// Connects; `None` when nobody listens there.
///
/// # Errors
/// When it cannot be asked, or someone else listens there.
pub async fn connect(path: &Path) -> io::Result<Option<Stream>> {
    let name = path.to_fs_name::<GenericFilePath>()?;
    match Stream::connect(name).await {
        Ok(stream) if is_ours(&stream) => Ok(Some(stream)),
        Ok(_) => Err(io::Error::new(io::ErrorKind::PermissionDenied, "another user listens there")),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Whether the other end is this user. What the system does not tell is not ours.
#[cfg(unix)]
fn is_ours(stream: &Stream) -> bool {
    use interprocess::local_socket::traits::StreamCommon as _;
    let us = rustix::process::geteuid().as_raw();
    let them = stream.peer_creds().ok().and_then(|peer| peer.euid());
    them == Some(us)
}

/// The pipe's ACL has let nobody else in.
#[cfg(windows)]
fn is_ours(_stream: &Stream) -> bool {
    true
}
