//! One instance with many tunnels, or with one: its workspace, its emulator, its client, and what is done to them.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use crate::process::{self, Process};
use crate::{Result, least};

/// No single thing takes this long unless something hangs.
const PATIENCE: Duration = Duration::from_secs(20);
/// What was asked for has come to rest after this.
pub(crate) const REST: Duration = Duration::from_millis(300);
/// Between two looks at whether something is there.
const LOOK: Duration = Duration::from_millis(1);

/// A workspace of its own with its emulator, and what runs on it.
pub(crate) struct Instance {
    program: String,
    directory: TempDir,
    greet: SocketAddr,
    count: usize,
    pub(crate) emulator: Process,
    pub(crate) up: Option<Up>,
}

/// A running client.
pub(crate) struct Up {
    process: Process,
    pub(crate) ready: Duration,
    /// Where the last tunnel listens.
    pub(crate) last: SocketAddr,
}

impl Instance {
    pub(crate) async fn new(
        program: &str,
        count: usize,
        greet: SocketAddr,
        directory: &Path,
    ) -> Result<Self> {
        let directory = tempfile::tempdir_in(directory)?;
        let workspace = directory.path().join("bastion.toml");
        std::fs::write(&workspace, text(count, greet, 0, ""))?;
        let emulator =
            process::emulator(program, &workspace, &directory.path().join("emulator.json")).await?;
        Ok(Self { program: program.to_owned(), directory, greet, count, emulator, up: None })
    }

    /// The file by which others reach its emulator.
    pub(crate) fn endpoint(&self) -> PathBuf {
        self.directory.path().join("emulator.json")
    }

    /// `bastion`, with a subcommand, on this workspace.
    fn command(&self, subcommand: &str) -> Command {
        let mut command = Command::new(&self.program);
        let directory = self.directory.path();
        command.args(["--color", "never", subcommand, "-f"]).arg(directory.join("bastion.toml"));
        command.env("BASTION_EMULATOR", self.endpoint());
        command
    }

    /// Starts the client, until it has said of each tunnel that it is ready.
    pub(crate) async fn start(&self) -> Result<Up> {
        let (mut ready, mut last) = (0, None);
        let process = Process::start(self.command("up"), true, |line| {
            // ready    t0000        127.0.0.1:40123, [::1]:40123 -> box:1 through hub
            let mut words = line.split_whitespace();
            if let (Some("ready"), Some(name), Some(address)) = (words.next(), words.next(), words.next()) {
                ready += 1;
                if name == tunnel(self.count - 1) {
                    last = address.trim_end_matches(',').parse().ok();
                }
            }
            ready == self.count
        })
        .await?;
        let ready = process.started.elapsed();
        Ok(Up { process, ready, last: last.ok_or("no address of the last tunnel")? })
    }

    pub(crate) fn up(&self) -> Result<&Up> {
        Ok(self.up.as_ref().ok_or("it does not run")?)
    }

    /// `bastion status`, and how long that took; `None` when there was no instance to ask.
    pub(crate) async fn status(&self) -> Result<(Duration, Option<Value>)> {
        let mut command = self.command("status");
        command.args(["--format", "json"]);
        process::clean(&mut command);
        let begin = Instant::now();
        let output = timeout(PATIENCE, command.output()).await.map_err(|_| "`status` hangs")??;
        let took = begin.elapsed();
        if !output.status.success() {
            return Err(format!("status: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        let status: Value = serde_json::from_slice(&output.stdout)?;
        let there = !status.get("instance").is_none_or(Value::is_null);
        Ok((took, there.then_some(status)))
    }

    /// The first status that fits, asked for over and over.
    async fn status_with(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Result<Value> {
        let begin = Instant::now();
        loop {
            if let (_, Some(status)) = self.status().await?
                && fits(&status)
            {
                return Ok(status);
            }
            if begin.elapsed() > PATIENCE {
                return Err(format!("`status` never shows {what}").into());
            }
        }
    }

    /// Saves the file as editors do: written aside, renamed into place. When that was.
    fn save(&self, port: u16, more: &str) -> Result<Instant> {
        let aside = self.directory.path().join("bastion.toml.new");
        std::fs::write(&aside, text(self.count, self.greet, port, more))?;
        let begin = Instant::now();
        std::fs::rename(aside, self.directory.path().join("bastion.toml"))?;
        Ok(begin)
    }

    /// CPU and memory, once every session of the start is deleted.
    pub(crate) async fn rest(&self) -> Result<(Option<f64>, Option<f64>)> {
        sleep(REST).await;
        let process = &self.up()?.process;
        let figures = (process.cpu(), process.memory("VmRSS"));
        let sessions = |bastion: &Value| bastion.get("sessions").and_then(Value::as_u64);
        let deleted = |status: &Value| list(status, "bastions").iter().all(|one| sessions(one) == Some(0));
        self.status_with("that all sessions are deleted", deleted).await?;
        Ok(figures)
    }

    /// Moves the first tunnel to another port, with a connection open through the last. How long the move took.
    pub(crate) async fn edit(&self, held: &mut TcpStream) -> Result<Duration> {
        let (_, before) = self.status().await?;
        let before = before.ok_or("no instance before an edit")?;
        let port = free_port()?;
        echo(held, &[1; 64]).await?;
        held.write_all(b"sent before").await?;
        let begin = self.save(port, "")?;
        let mut moved = loop {
            match TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
                Ok(stream) => break stream,
                Err(_) if begin.elapsed() < PATIENCE => sleep(LOOK).await,
                Err(error) => return Err(format!("an edit has no effect: {error}").into()),
            }
        };
        let took = begin.elapsed();
        if timeout(PATIENCE, moved.read_u8()).await.map_err(|_| "the moved tunnel hangs")?? != b'!' {
            return Err("the moved tunnel leads elsewhere".into());
        }
        let mut kept = [0; 11];
        timeout(PATIENCE, held.read_exact(&mut kept)).await.map_err(|_| "a held connection hangs")??;
        if &kept != b"sent before" {
            return Err("a held connection lost bytes".into());
        }
        echo(held, &[2; 64]).await?;
        let generation = |status: &Value| status.get("generation").and_then(Value::as_u64);
        let after = generation(&before).map(|generation| generation + 1);
        let after = self.status_with("one edit", |status| generation(status) == after).await?;
        if others(&before) != others(&after) {
            return Err("an edit of one tunnel changed others".into());
        }
        Ok(took)
    }

    /// Saves a mistake, and takes it back. How long it took until the mistake was shown.
    pub(crate) async fn mistake(&self) -> Result<Duration> {
        let rejected = |status: &Value| status.get("rejected").is_some_and(Value::is_string);
        let begin = self.save(0, "broken = \"0 -> nowhere:80\"\n")?;
        self.status_with("a mistake", rejected).await?;
        let took = begin.elapsed();
        self.save(0, "")?;
        self.status_with("that it was mended", |status| !rejected(status)).await?;
        Ok(took)
    }

    /// Ends the client; how long that took.
    pub(crate) async fn stop(&mut self) -> Result<Duration> {
        self.up.take().ok_or("it does not run")?.process.interrupt().await
    }

    /// Ends the emulator, which counts.
    pub(crate) async fn end(mut self) -> Result<()> {
        end(&mut self.emulator).await
    }
}

/// Ends an emulator, which must have deleted all that it opened.
pub(crate) async fn end(emulator: &mut Process) -> Result<()> {
    emulator.interrupt().await?;
    let mut line = String::new();
    emulator
        .hear(|said| {
            line = said.to_owned();
            said.starts_with("Sessions: ")
        })
        .await?;
    // Sessions: 1000 opened, 1000 deleted, 0 left
    let counts: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    match counts.as_slice() {
        [opened, deleted, 0] if opened == deleted && *opened > 0 => Ok(()),
        _ => Err(format!("sessions were left: {line}").into()),
    }
}

fn tunnel(number: usize) -> String {
    format!("t{number:04}")
}

/// A workspace of so many tunnels, each to a port of its own; the first one listens on `port`, the others on any.
fn text(count: usize, greet: SocketAddr, port: u16, more: &str) -> String {
    let tunnels: String = (0..count)
        .map(|i| format!("{} = \"{} -> box:{}\"\n", tunnel(i), if i == 0 { port } else { 0 }, i + 1))
        .collect();
    format!(
        "name = \"many\"\n[azure]\ncloud = \"emulator\"\nsubscription = \"{}\"\nresource_group = \"{}\"\n\
         [bastions.hub]\n[targets]\nbox = {{ vm = \"box\" }}\n[tunnels]\n{tunnels}{more}\
         [emulator.targets]\nbox = \"{greet}\"\n",
        least::SUBSCRIPTION,
        least::GROUP,
    )
}

fn list<'a>(status: &'a Value, name: &str) -> &'a [Value] {
    status.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// What must not change with the first tunnel.
fn others(status: &Value) -> Vec<[Option<Value>; 5]> {
    const FIELDS: [&str; 5] = ["name", "state", "since", "target", "listen"];
    let fields = |tunnel: &Value| FIELDS.map(|name| tunnel.get(name).cloned());
    list(status, "tunnels").iter().skip(1).map(fields).collect()
}

/// A port that is free on both addresses.
fn free_port() -> Result<u16> {
    for _ in 0..100 {
        let one = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = one.local_addr()?.port();
        match TcpListener::bind((Ipv6Addr::LOCALHOST, port)) {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
            _ => return Ok(port),
        }
    }
    Err("no port is free".into())
}

/// Bytes there and back.
pub(crate) async fn echo(stream: &mut TcpStream, bytes: &[u8]) -> Result<()> {
    stream.write_all(bytes).await?;
    let mut back = vec![0; bytes.len()];
    timeout(PATIENCE, stream.read_exact(&mut back)).await.map_err(|_| "a held connection hangs")??;
    if back == bytes { Ok(()) } else { Err("the echo differs".into()) }
}
