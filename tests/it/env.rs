//! A sealed room for one test: a home and a workspace of its own, an environment that holds nothing else, the program
//! that is tested, and what the emulator wrote down about it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::process::{self, PATIENCE, Process};

/// A test's own directories.
pub(crate) struct TestEnv {
    root: TempDir,
}

/// A `bastion` that runs.
pub(crate) struct Running {
    process: Process,
}

/// A `bastion emulator` in a process of its own.
pub(crate) struct EmulatorProcess {
    running: Running,
    endpoint: PathBuf,
}

/// What the emulator's log says about sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sessions {
    /// Granted.
    pub(crate) opened: usize,
    /// Deleted by the client.
    pub(crate) deleted: usize,
    /// Rules that the client broke.
    pub(crate) violations: Vec<String>,
}

/// Where each workspace has its emulator write what was asked: `[emulator] log = "requests.jsonl"`.
const LOG: &str = "requests.jsonl";

impl TestEnv {
    pub(crate) fn new() -> Self {
        let root = TempDir::with_prefix("bastion-test-").unwrap();
        for name in ["home", "work", "tmp"] {
            std::fs::create_dir(root.path().join(name)).unwrap();
        }
        Self { root }
    }

    /// The directory that `bastion.toml` is in; commands run there.
    pub(crate) fn work(&self) -> PathBuf {
        self.root.path().join("work")
    }

    /// A path in the workspace's directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.work().join(name)
    }

    /// The user's home.
    #[cfg(unix)]
    pub(crate) fn home(&self) -> PathBuf {
        self.root.path().join("home")
    }

    /// Writes `bastion.toml`.
    pub(crate) fn workspace(&self, text: &str) {
        std::fs::write(self.path("bastion.toml"), text).unwrap();
    }

    /// Writes a `bastion.toml` with one tunnel that is named like its target: to `port`, where this server answers.
    /// `emulator` is more of the table of that name.
    pub(crate) fn forward(&self, name: &str, port: u16, server: SocketAddr, emulator: &str) {
        self.workspace(&format!(
            "[azure]\ncloud = \"emulator\"\n[bastions.hub]\n[targets]\n{name} = {{ vm = \"vm-{name}\" }}\n\
             [tunnels.{name}]\nlisten = 0\nport = {port}\n[emulator]\nlog = \"{LOG}\"\n{emulator}\n\
             [emulator.targets]\n{name} = {{ {port} = \"{server}\" }}\n"
        ));
    }

    /// A command with nothing in its environment but PATH, HOME and TMPDIR, in the workspace's directory.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.env_clear().current_dir(self.work());
        command.env("HOME", self.root.path().join("home"));
        command.env("TMPDIR", self.root.path().join("tmp"));
        // Without the second one Windows has no sockets.
        for name in ["PATH", "SystemRoot"] {
            command.envs(inherited(name).map(|value| (name, value)));
        }
        command
    }

    /// The tested program.
    pub(crate) fn bastion(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_bastion"));
        command.args(arguments);
        command
    }

    /// Runs a command that ends by itself.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Output {
        process::output(self.bastion(arguments), PATIENCE).await
    }

    /// Starts a command that goes on, such as `tunnel`.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        Running { process: Process::start(self.bastion(arguments)) }
    }

    /// Starts a command that was changed before.
    pub(crate) fn run_command(&self, command: Command) -> Running {
        Running { process: Process::start(command) }
    }

    /// Starts `bastion up` with these flags.
    pub(crate) fn up(&self, flags: &[&str]) -> Running {
        self.start(&[&["up"], flags].concat())
    }

    /// Starts `bastion emulator` with these flags, and waits until it can be used.
    pub(crate) async fn emulator(&self, flags: &[&str]) -> EmulatorProcess {
        let endpoint = self.root.path().join("emulator.json");
        let running = self.start(&[&["emulator", "--endpoint", endpoint.to_str().unwrap()], flags].concat());
        let names_it = |line: &str| line.starts_with("export BASTION_EMULATOR=");
        running.process.wait_data(names_it, "the emulator's endpoint").await;
        EmulatorProcess { running, endpoint }
    }

    /// Starts a command that finds its Azure in that emulator.
    pub(crate) fn start_on(&self, emulator: &EmulatorProcess, arguments: &[&str]) -> Running {
        let mut command = self.bastion(arguments);
        command.env("BASTION_EMULATOR", &emulator.endpoint);
        Running { process: Process::start(command) }
    }

    /// What the emulator wrote down, oldest first; a line that is being written is not there yet.
    pub(crate) fn requests(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path(LOG)).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// What the log says about sessions.
    pub(crate) fn sessions(&self) -> Sessions {
        let requests = self.requests();
        let of = |kind: &'static str, status: u64| {
            requests.iter().filter(move |r| r["kind"] == kind && r["status"] == status)
        };
        // A session that was renewed is granted once.
        let opened: BTreeSet<_> = of("token", 200).filter_map(|r| r["session"].as_u64()).collect();
        let violations = requests.iter().filter_map(|r| r["violations"].as_array()).flatten();
        Sessions {
            opened: opened.len(),
            deleted: of("delete", 204).count(),
            violations: violations.map(ToString::to_string).collect(),
        }
    }

    /// How many streams there were at once, at most.
    pub(crate) fn most_streams_at_once(&self) -> usize {
        let (mut now, mut most) = (0_usize, 0);
        for request in self.requests() {
            if request["kind"] == "upgrade" && request["status"] == 101 {
                now += 1;
            } else if request["kind"] == "stream" {
                now -= 1;
            }
            most = most.max(now);
        }
        most
    }

    /// Waits until the log satisfies a condition, and gives back the value that the condition found in it.
    pub(crate) async fn wait_requests<T>(&self, what: &str, find: impl Fn(&[Value]) -> Option<T>) -> T {
        // Where the system cannot say that a program is gone, its session is kept for 30 s more.
        let deadline = Instant::now() + 2 * PATIENCE;
        loop {
            let requests = self.requests();
            if let Some(found) = find(&requests) {
                return found;
            }
            assert!(
                Instant::now() < deadline,
                "waiting for {what} in the emulator's log:\n{}",
                short(&requests)
            );
            sleep(POLL).await;
        }
    }

    /// Waits until every session that was opened is deleted; there must have been one, and no rule may be broken.
    pub(crate) async fn settled(&self) -> Sessions {
        let done = |s: &Sessions| s.opened > 0 && s.opened == s.deleted;
        // What was found is what counts: a probe that an edit has begun may open another one at any time.
        let found =
            self.wait_requests("every session's deletion", |_| Some(self.sessions()).filter(done)).await;
        assert_eq!(found.violations, [""; 0], "rules of the gateway were broken");
        found
    }

    /// The same at once, for when the program has ended.
    pub(crate) fn check_sessions(&self) -> Sessions {
        let sessions = self.sessions();
        assert!(
            sessions.opened > 0 && sessions.opened == sessions.deleted,
            "{} sessions opened, {} deleted:\n{}",
            sessions.opened,
            sessions.deleted,
            short(&self.requests())
        );
        assert_eq!(sessions.violations, [""; 0], "rules of the gateway were broken");
        sessions
    }

    /// The usual end of a scenario whose connections are all closed: every session goes without being told to, no rule
    /// was broken, the program stops cleanly, and no token was ever shown. Gives back what it said.
    pub(crate) async fn finish(&self, running: Running) -> String {
        self.settled().await;
        let said = running.stop().await;
        self.check_sessions();
        check_no_token(&said);
        said
    }
}

impl Running {
    /// Waits for a line of talk.
    pub(crate) async fn wait_line(&self, is_it: impl Fn(&str) -> bool, what: &str) -> String {
        self.process.wait_line(is_it, what).await
    }

    /// Waits until a tunnel is ready, and gives its addresses.
    pub(crate) async fn addresses(&self, tunnel: &str) -> Vec<SocketAddr> {
        let is_it = |line: &str| line.starts_with("ready ") && line.split_whitespace().nth(1) == Some(tunnel);
        let line = self.wait_line(is_it, &format!("`{tunnel}` to be ready")).await;
        let (listens, _leads) = line.split_once(" -> ").unwrap();
        let words = listens.split_whitespace().skip(2);
        words.map(|word| word.trim_end_matches(',').parse().unwrap()).collect()
    }

    /// Waits until a tunnel is ready, and gives the first of its addresses.
    pub(crate) async fn address(&self, tunnel: &str) -> SocketAddr {
        self.addresses(tunnel).await[0]
    }

    /// Waits for a line of data.
    #[cfg(unix)]
    pub(crate) async fn wait_data(&self, is_it: impl Fn(&str) -> bool, what: &str) -> String {
        self.process.wait_data(is_it, what).await
    }

    /// Lines of data so far.
    #[cfg(unix)]
    pub(crate) fn stdout(&self) -> Vec<String> {
        self.process.stdout()
    }

    /// Lines of talk so far.
    pub(crate) fn stderr(&self) -> Vec<String> {
        self.process.stderr()
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    #[cfg(unix)]
    pub(crate) fn interrupt(&self) {
        self.process.interrupt();
    }

    #[cfg(unix)]
    pub(crate) fn terminate(&self) {
        self.process.terminate();
    }

    #[cfg(unix)]
    pub(crate) fn hang_up(&self) {
        self.process.hang_up();
    }

    #[cfg(unix)]
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        self.process.signal(signal);
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Waits for its end: exit code (-1: it was killed) and all that it said on standard error.
    pub(crate) async fn wait(self) -> (i32, String) {
        self.process.wait().await
    }

    /// Stops it as a service manager would, where that can be done, and gives back what it said.
    #[cfg(unix)]
    pub(crate) async fn stop(self) -> String {
        self.terminate();
        let (code, said) = self.wait().await;
        assert_eq!(code, 0, "after SIGTERM:\n{said}");
        said
    }

    #[cfg(not(unix))]
    pub(crate) async fn stop(mut self) -> String {
        self.kill();
        self.wait().await.1
    }
}

impl EmulatorProcess {
    /// The token that it accepts.
    pub(crate) fn token(&self) -> String {
        self.field("token")
    }

    /// What its endpoint file says under a key.
    pub(crate) fn field(&self, key: &str) -> String {
        let text = std::fs::read_to_string(&self.endpoint).unwrap();
        let endpoint: Value = serde_json::from_str(&text).unwrap();
        endpoint[key].as_str().unwrap().to_owned()
    }

    /// The file that says how it is reached.
    #[cfg(unix)]
    pub(crate) fn endpoint(&self) -> &Path {
        &self.endpoint
    }

    pub(crate) fn into_running(self) -> Running {
        self.running
    }
}

/// Nothing in this text looks like a token of the emulator's: an access token (`eyJ….….…`), an authToken or a
/// websocketToken (long runs of hexadecimal digits). The parts of resource IDs are shorter.
#[track_caller]
pub(crate) fn check_no_token(text: &str) {
    for line in text.lines() {
        let mut words = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let token = words.find(|word| {
            let hexadecimal = word.chars().all(|c| c.is_ascii_hexdigit());
            word.len() >= 16 && (hexadecimal || word.starts_with("eyJ"))
        });
        assert!(token.is_none(), "a token was shown: {line}");
    }
}

/// A variable of the environment that tests run in.
#[expect(clippy::disallowed_methods, reason = "tests hand on what they were started with, such as PATH")]
pub(crate) fn inherited(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// The log, as much as one wants to read of it.
fn short(requests: &[Value]) -> String {
    let line = |r: &Value| {
        let field = |name: &str| r[name].to_string();
        format!(
            "{} {} {} {} {}",
            field("kind"),
            field("session"),
            field("status"),
            field("end"),
            field("violations")
        )
    };
    requests.iter().rev().take(40).rev().map(line).collect::<Vec<_>>().join("\n")
}

/// How often a file is looked at again.
pub(crate) const POLL: Duration = Duration::from_millis(20);
