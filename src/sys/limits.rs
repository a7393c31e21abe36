//! What the system grants a process.

/// Takes as many open files as the system allows: every connection needs two, and the usual limit is 1,024.
///
/// A refusal is no failure: the limit shows itself when it is reached.
#[cfg(unix)]
pub fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let granted = getrlimit(Resource::Nofile);
    if granted.current < granted.maximum || granted.maximum.is_none() {
        // Not without any limit: macOS refuses that.
        let wanted =
            granted.maximum.map_or(65_536, |most| most.min(65_536)).max(granted.current.unwrap_or(0));
        let _refused =
            setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: granted.maximum });
    }
}

/// Windows has no such limit.
#[cfg(windows)]
pub fn raise_open_files() {}

/// How many files may be open at once; `None`: there is no limit that matters.
#[cfg(unix)]
pub fn open_files() -> Option<usize> {
    let granted = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    granted.current.and_then(|most| usize::try_from(most).ok())
}

/// How many files may be open at once; `None`: there is no limit that matters.
#[cfg(windows)]
pub fn open_files() -> Option<usize> {
    None
}

/// Whether something failed because too many files are open, in this process or on this machine.
#[cfg(unix)]
pub fn is_out_of_files(error: &std::io::Error) -> bool {
    let errno = error.raw_os_error();
    errno == Some(rustix::io::Errno::MFILE.raw_os_error())
        || errno == Some(rustix::io::Errno::NFILE.raw_os_error())
}

/// Whether something failed because too many files are open.
#[cfg(windows)]
pub fn is_out_of_files(_error: &std::io::Error) -> bool {
    false
}
