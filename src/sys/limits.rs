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
