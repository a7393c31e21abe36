//! Real programs at both ends of a tunnel: what they send arrives, and they notice nothing.
//!
//! Each is private to its test: its own configuration, directory and port. Where one is not installed the test says
//! so and is skipped; `BASTION_TEST_REQUIRE=all` makes that a failure.

use std::collections::HashSet;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use tokio::process::Command;

use crate::env::inherited;
use crate::process::{self, Process};

mod curl;
mod netcat;
mod openssh;
mod postgres;
mod proxies;
mod rsync;
pub(crate) mod sshd;

/// How long one transfer may take, other tests beside it.
pub(crate) const TRANSFER: Duration = Duration::from_secs(180);

/// Held by tests that move gigabytes, so that they measure the program and not each other.
pub(crate) static HEAVY: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// What Debian calls the package that a program comes from.
const PACKAGES: &[(&str, &str)] = &[
    ("sshd", "openssh-server"),
    ("ssh", "openssh-client"),
    ("scp", "openssh-client"),
    ("sftp", "openssh-client"),
    ("ssh-keygen", "openssh-client"),
    ("nginx", "nginx"),
    ("curl", "curl"),
    ("nc", "netcat-openbsd"),
    ("rsync", "rsync"),
    ("psql", "postgresql"),
    ("initdb", "postgresql"),
    ("tinyproxy", "tinyproxy-bin"),
    ("git", "git"),
    ("python3", "python3-jsonschema"),
];

/// Whether these programs are installed. Says so loudly when one is not; fails when it has to be.
pub(crate) fn require(test: &str, programs: &[&str]) -> bool {
    let mut all = true;
    for program in programs.iter().filter(|program| find(program).is_none()) {
        let package =
            PACKAGES.iter().find(|(name, _)| name == program).map_or(*program, |(_, package)| package);
        absent(&format!("{test} needs {program} (apt-get install {package})"));
        all = false;
    }
    all
}

/// Says that something is not installed, and so a test is skipped; fails when it has to be there.
pub(crate) fn absent(words: &str) {
    assert_ne!(inherited("BASTION_TEST_REQUIRE").unwrap_or_default(), "all", "{words}");
    // Past the test harness, which shows nothing that a passing test prints.
    drop(std::io::Write::write_all(&mut std::io::stderr(), format!("\nSKIPPED: {words}\n").as_bytes()));
}

/// Where a program is: in PATH, or where servers are that users do not start.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = inherited("PATH").unwrap_or_default();
    let mut directories: Vec<PathBuf> = std::env::split_paths(&path).collect();
    directories.extend(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from));
    // Debian keeps PostgreSQL's own programs by version, and wants none but its wrappers in PATH.
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    directories.extend(versions.map(|version| version.path().join("bin")));
    directories.into_iter().map(|directory| directory.join(program)).find(|path| path.is_file())
}

/// A command of an installed program.
pub(crate) fn found(program: &str) -> PathBuf {
    find(program).unwrap_or_else(|| panic!("{program} is not installed"))
}

/// A port that was free a moment ago, and that no other test was given.
fn free_port() -> u16 {
    static GIVEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);
    loop {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        if GIVEN.lock().unwrap().insert(port) {
            return port;
        }
    }
}

/// Starts a server that has to be told its port, until it says that it listens. Someone else may take a port first.
pub(crate) async fn serve(command: impl Fn(u16) -> Command, listens: &str) -> (Process, u16) {
    let mut said = Vec::new();
    for _ in 0..5 {
        let port = free_port();
        let process = Process::start(command(port));
        let ready = process.said(|line| line.contains(listens), &format!("`{listens}`")).await;
        if ready.is_some() {
            return (process, port);
        }
        said = process.stderr();
    }
    panic!("it does not start:\n{}", said.join("\n"))
}

/// Who runs the tests, by `id`.
pub(crate) async fn id(arguments: &[&str]) -> String {
    let mut command = Command::new("id");
    command.args(arguments);
    String::from_utf8(process::succeed(command, process::PATIENCE).await).unwrap().trim().to_owned()
}
