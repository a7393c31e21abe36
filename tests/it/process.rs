//! A program that runs beside a test: its words are gathered, waits for them are bounded, and it is killed on drop.

use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long any single wait may take before the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A running program.
pub(crate) struct Process {
    what: String,
    child: Child,
    out: watch::Receiver<Vec<String>>,
    err: watch::Receiver<Vec<String>>,
    readers: JoinSet<()>,
}

impl Process {
    /// Starts it, with nothing on its standard input.
    pub(crate) fn start(mut command: Command) -> Self {
        let what = format!("{:?}", command.as_std());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("starting {what}: {error}"));
        let mut readers = JoinSet::new();
        let out = gather(child.stdout.take().unwrap(), &mut readers);
        let err = gather(child.stderr.take().unwrap(), &mut readers);
        Self { what, child, out, err, readers }
    }

    /// Waits for a line of talk (standard error) and gives it back.
    pub(crate) async fn wait_line(&self, is_it: impl Fn(&str) -> bool, what: &str) -> String {
        self.line_of(&self.err, is_it).await.unwrap_or_else(|why| self.fail(what, &why))
    }

    /// Waits for a line of data (standard output) and gives it back.
    pub(crate) async fn wait_data(&self, is_it: impl Fn(&str) -> bool, what: &str) -> String {
        self.line_of(&self.out, is_it).await.unwrap_or_else(|why| self.fail(what, &why))
    }

    /// The same for a program that may fail to start: `None` when it ended without saying it.
    #[cfg(unix)]
    pub(crate) async fn said(&self, is_it: impl Fn(&str) -> bool, what: &str) -> Option<String> {
        match self.line_of(&self.err, is_it).await {
            Ok(line) => Some(line),
            Err(why) if why == ENDED => None,
            Err(why) => self.fail(what, &why),
        }
    }

    /// Lines of data so far.
    #[cfg(unix)]
    pub(crate) fn stdout(&self) -> Vec<String> {
        self.out.borrow().clone()
    }

    /// Lines of talk so far.
    pub(crate) fn stderr(&self) -> Vec<String> {
        self.err.borrow().clone()
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id().unwrap_or_else(|| self.fail("its process id", ENDED))
    }

    /// As Ctrl-C does.
    #[cfg(unix)]
    pub(crate) fn interrupt(&self) {
        self.signal(rustix::process::Signal::INT);
    }

    /// As a service manager does.
    #[cfg(unix)]
    pub(crate) fn terminate(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    /// As a terminal does that is closed.
    #[cfg(unix)]
    pub(crate) fn hang_up(&self) {
        self.signal(rustix::process::Signal::HUP);
    }

    #[cfg(unix)]
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let id = i32::try_from(self.id()).ok().and_then(rustix::process::Pid::from_raw).unwrap();
        rustix::process::kill_process(id, signal).unwrap();
    }

    /// Ends it as no program can notice.
    pub(crate) fn kill(&mut self) {
        self.child.start_kill().unwrap();
    }

    /// Waits for its end: exit code (-1: it was killed) and all that it said on standard error.
    pub(crate) async fn wait(mut self) -> (i32, String) {
        let status = match timeout(PATIENCE, self.child.wait()).await {
            Ok(status) => status.unwrap(),
            Err(_elapsed) => self.fail("its end", "it still runs"),
        };
        // What it left running could hold its standard error open.
        let drained = timeout(PATIENCE, async { while self.readers.join_next().await.is_some() {} }).await;
        assert!(drained.is_ok(), "{} ended, and somebody still holds its output open", self.what);
        (status.code().unwrap_or(-1), joined(&self.err))
    }

    async fn line_of(
        &self,
        lines: &watch::Receiver<Vec<String>>,
        is_it: impl Fn(&str) -> bool,
    ) -> Result<String, String> {
        let mut lines = lines.clone();
        let found = |lines: &Vec<String>| lines.iter().find(|line| is_it(line)).cloned();
        match timeout(PATIENCE, lines.wait_for(|lines| found(lines).is_some())).await {
            Ok(Ok(lines)) => Ok(found(&lines).unwrap()),
            Ok(Err(_closed)) => Err(ENDED.to_owned()),
            Err(_elapsed) => Err(format!("not within {} s", PATIENCE.as_secs())),
        }
    }

    fn fail(&self, awaited: &str, why: &str) -> ! {
        let (out, err) = (joined(&self.out), joined(&self.err));
        panic!("waiting for {awaited}: {why}\n{}\n--- stdout\n{out}\n--- stderr\n{err}\n---", self.what)
    }
}

/// Runs a program to its end, within a bound.
pub(crate) async fn output(mut command: Command, within: Duration) -> Output {
    let what = format!("{:?}", command.as_std());
    command.kill_on_drop(true).stdout(Stdio::piped()).stderr(Stdio::piped());
    match timeout(within, command.output()).await {
        Ok(output) => output.unwrap_or_else(|error| panic!("running {what}: {error}")),
        Err(_elapsed) => panic!("{what}: not done within {} s", within.as_secs()),
    }
}

/// The same for one that has to succeed: its standard output.
#[cfg(unix)]
pub(crate) async fn succeed(command: Command, within: Duration) -> Vec<u8> {
    let what = format!("{:?}", command.as_std());
    let output = output(command, within).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {}\n--- stderr\n{said}\n---", output.status);
    output.stdout
}

fn gather(
    from: impl AsyncRead + Send + Unpin + 'static,
    readers: &mut JoinSet<()>,
) -> watch::Receiver<Vec<String>> {
    let (lines, gathered) = watch::channel(Vec::new());
    readers.spawn(async move {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while from.read_until(b'\n', &mut line).await.is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            lines.send_modify(|lines| lines.push(text));
            line.clear();
        }
    });
    gathered
}

fn joined(lines: &watch::Receiver<Vec<String>>) -> String {
    lines.borrow().join("\n")
}

const ENDED: &str = "it ended without that";
