//! The processes that are measured: started afresh for every round, killed at its end.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::load::Servers;
use crate::{Result, plain};

const START: Duration = Duration::from_secs(20);
/// Clock ticks of /proc a second: 100 on every Linux that programs are built for.
const TICKS: f64 = 100.0;
/// What would change how `bastion` reaches an emulator on this machine.
const UNWANTED: [&str; 11] = [
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
    "BASTION_CA_FILE",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "BASTION_EMULATOR",
    "RUST_LOG",
];

/// Takes from a program's environment what would make it another way.
pub(crate) fn clean(command: &mut Command) {
    for name in UNWANTED {
        if !command.as_std().get_envs().any(|(set, _)| set == name) {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null()).kill_on_drop(true);
}

/// A child, and what it says.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    pub(crate) started: Instant,
    said: watch::Receiver<Vec<String>>,
    /// How many lines were handed out.
    heard: usize,
    _reader: JoinSet<()>,
}

impl Process {
    /// Starts a program. Its lines go to `seen` until that says it has enough.
    pub(crate) async fn start(
        mut command: Command,
        stderr: bool,
        seen: impl FnMut(&str) -> bool,
    ) -> Result<Self> {
        clean(&mut command);
        command.stdout(if stderr { Stdio::null() } else { Stdio::piped() });
        command.stderr(if stderr { Stdio::piped() } else { Stdio::inherit() });
        let started = Instant::now();
        let mut child = command.spawn()?;
        let output: Box<dyn AsyncRead + Send + Unpin> = match (child.stdout.take(), child.stderr.take()) {
            (Some(stdout), _) => Box::new(stdout),
            (None, Some(stderr)) => Box::new(stderr),
            (None, None) => return Err("the child has no output".into()),
        };
        let mut lines = BufReader::new(output).lines();
        let (say, said) = watch::channel(Vec::new());
        let mut reader = JoinSet::new();
        reader.spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                say.send_modify(|said| said.push(line));
            }
        });
        let name = format!("{:?}", command.as_std());
        let mut process = Self { name, child, started, said, heard: 0, _reader: reader };
        process.hear(seen).await?;
        Ok(process)
    }

    /// Hands out what it says, each line once, until `seen` says it has enough.
    pub(crate) async fn hear(&mut self, mut seen: impl FnMut(&str) -> bool) -> Result<()> {
        let Self { said, heard, .. } = self;
        let enough = async {
            loop {
                {
                    let said = said.borrow_and_update();
                    while let Some(line) = said.get(*heard) {
                        *heard += 1;
                        if seen(line) {
                            return true;
                        }
                    }
                }
                if said.changed().await.is_err() {
                    return false;
                }
            }
        };
        let why = match timeout(START, enough).await {
            Ok(true) => return Ok(()),
            Ok(false) => "it ended",
            Err(_) => "it does not get there",
        };
        Err(format!("{}: {why}\n{}", self.name, self.said.borrow().join("\n")).into())
    }

    /// Ends it as Ctrl-C does. How long that took.
    #[cfg(unix)]
    pub(crate) async fn interrupt(&mut self) -> Result<Duration> {
        use rustix::process::{Pid, Signal, kill_process};

        let id = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let begin = Instant::now();
        kill_process(id.ok_or("it ended by itself")?, Signal::INT)?;
        timeout(START, self.child.wait()).await.map_err(|_| format!("{} does not stop", self.name))??;
        Ok(begin.elapsed())
    }

    /// Nothing else ends a process in order from outside.
    #[cfg(not(unix))]
    pub(crate) async fn interrupt(&mut self) -> Result<Duration> {
        Err(format!("{} cannot be stopped in order on this system", self.name).into())
    }

    /// CPU seconds so far, of all threads, in user and kernel mode. `None` where there is no /proc.
    pub(crate) fn cpu(&self) -> Option<f64> {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()?)).ok()?;
        // The name in brackets may hold anything; the fields behind it are numbers.
        let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
        let user: f64 = fields.next()?.parse().ok()?;
        let system: f64 = fields.next()?.parse().ok()?;
        Some((user + system) / TICKS)
    }

    /// Resident memory now (`VmRSS`) or at most (`VmHWM`), in MiB.
    pub(crate) fn memory(&self, field: &str) -> Option<f64> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()?)).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
        let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
        Some(kib / 1024.0)
    }
}

/// One way from the load to the servers.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) bulk: SocketAddr,
    pub(crate) greet: SocketAddr,
    /// The process that stands where `bastion up` stands.
    pub(crate) client: Option<Process>,
    /// From its start until its tunnels were ready.
    pub(crate) ready: Option<Duration>,
    /// What TLS was agreed on.
    pub(crate) cipher: Option<String>,
    _far: Option<Process>,
}

/// Which way to take.
#[derive(Clone, Debug)]
pub(crate) enum Way {
    Direct,
    Plain,
    /// `bastion`, by its path, with the emulator's `frames`.
    Bastion(String, &'static str),
}

impl Subject {
    pub(crate) async fn start(way: &Way, servers: &Servers, directory: &Path) -> Result<Self> {
        match way {
            Way::Direct => Ok(Self {
                bulk: servers.bulk,
                greet: servers.greet,
                client: None,
                ready: None,
                cipher: None,
                _far: None,
            }),
            Way::Plain => plain_copy(servers, directory).await,
            Way::Bastion(program, frames) => bastion(program, frames, servers, directory).await,
        }
    }
}

async fn plain_copy(servers: &Servers, directory: &Path) -> Result<Subject> {
    let (server, bulk, greet) = relay(plain::SERVER, directory, servers.bulk, servers.greet).await?;
    let cipher = plain::agreed_plain(bulk, directory).await?;
    let (client, bulk, greet) = relay(plain::CLIENT, directory, bulk, greet).await?;
    let ready = Some(client.started.elapsed());
    Ok(Subject { bulk, greet, client: Some(client), ready, cipher: Some(cipher), _far: Some(server) })
}

async fn relay(
    name: &str,
    directory: &Path,
    bulk: SocketAddr,
    greet: SocketAddr,
) -> Result<(Process, SocketAddr, SocketAddr)> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(name).arg(directory).arg(bulk.to_string()).arg(greet.to_string());
    let mut addresses: Vec<SocketAddr> = Vec::new();
    let process = Process::start(command, false, |line| {
        addresses.extend(line.split_whitespace().filter_map(|word| word.parse::<SocketAddr>().ok()));
        true
    })
    .await?;
    let [bulk, greet] = addresses.try_into().map_err(|_| "two addresses were expected")?;
    Ok((process, bulk, greet))
}

/// An emulator for a workspace; others reach it by the file `endpoint`.
pub(crate) async fn emulator(program: &str, workspace: &Path, endpoint: &Path) -> Result<Process> {
    let mut command = Command::new(program);
    command.args(["--color", "never", "emulator", "-f"]).arg(workspace).arg("--endpoint").arg(endpoint);
    Process::start(command, true, |line| line.contains("BASTION_EMULATOR") || line.ends_with(':')).await
}

async fn bastion(program: &str, frames: &str, servers: &Servers, directory: &Path) -> Result<Subject> {
    let directory = tempfile::tempdir_in(directory)?;
    let (workspace, endpoint) =
        (directory.path().join("bastion.toml"), directory.path().join("emulator.json"));
    let text = format!(
        "name = \"measured\"\n[azure]\ncloud = \"emulator\"\n[bastions.hub]\n[targets]\nbox = {{ vm = \"box\" }}\n\
         [tunnels]\nbulk = \"127.0.0.1:0 -> box:{}\"\ngreet = \"127.0.0.1:0 -> box:{}\"\n\
         [emulator]\nframes = \"{frames}\"\n[emulator.targets]\nbox = {{ {} = \"{}\", {} = \"{}\" }}\n",
        servers.bulk.port(),
        servers.greet.port(),
        servers.bulk.port(),
        servers.bulk,
        servers.greet.port(),
        servers.greet,
    );
    std::fs::write(&workspace, text)?;

    let emulator = emulator(program, &workspace, &endpoint).await?;
    let endpoint_text: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&endpoint)?)?;
    let field = |name: &str| endpoint_text.get(name).and_then(serde_json::Value::as_str).unwrap_or_default();
    let cipher = plain::agreed_emulator(field("address").parse()?, field("ca_pem")).await?;

    let mut command = Command::new(program);
    command.args(["--color", "never", "up", "-f"]).arg(&workspace).env("BASTION_EMULATOR", &endpoint);
    let (mut bulk, mut greet) = (None, None);
    // ready    bulk         127.0.0.1:40123 -> box:5001 through hub
    let client = Process::start(command, true, |line| {
        let mut words = line.split_whitespace();
        if let (Some("ready"), Some(name), Some(address)) = (words.next(), words.next(), words.next()) {
            let slot = if name == "bulk" { &mut bulk } else { &mut greet };
            *slot = address.parse().ok();
        }
        bulk.is_some() && greet.is_some()
    })
    .await?;
    let ready = Some(client.started.elapsed());
    let (Some(bulk), Some(greet)) = (bulk, greet) else { return Err("no addresses".into()) };
    Ok(Subject { bulk, greet, client: Some(client), ready, cipher: Some(cipher), _far: Some(emulator) })
}
