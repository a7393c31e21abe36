//! Programs that are run for their answer. Whoever stops waiting for one ends it, and everything that it started: a
//! program may be a script, and what takes long is then what that runs.

use std::collections::BTreeSet;
use std::io;
use std::process::{Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};

/// No answer that is expected is longer.
const MOST: u64 = 1 << 20;

/// Every program that runs now.
static RUNNING: Mutex<Running> = Mutex::new(Running { leaders: BTreeSet::new(), closed: false });

struct Running {
    /// Of each the process that was started; on Unix it leads the group of all that it starts.
    leaders: BTreeSet<u32>,
    /// Nothing is started any more.
    closed: bool,
}

/// Runs a program until it ends. It gets no input. Dropped before, it is ended with whatever it started.
///
/// # Errors
/// When it cannot be run, or says more than a megabyte.
pub async fn output(mut command: Command) -> io::Result<Output> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    lead(&mut command);
    let mut program = Program::start(command)?;
    let (stdout, stderr) = (program.child.stdout.take(), program.child.stderr.take());
    let (stdout, stderr) = tokio::try_join!(read(stdout), read(stderr))?;
    // Not before all is read: as long as it was not waited for, its number is nobody else's.
    let status = program.child.wait().await?;
    program.has_ended();
    Ok(Output { status, stdout, stderr })
}

/// Ends every program that runs, and lets none start any more: this process is about to end, and waits for no task.
pub fn end_all() {
    let mut running = running();
    running.closed = true;
    std::mem::take(&mut running.leaders).into_iter().for_each(end);
}

struct Program {
    child: Child,
    leader: Option<u32>,
}

impl Program {
    fn start(mut command: Command) -> io::Result<Self> {
        let mut running = running();
        if running.closed {
            return Err(io::Error::other("this program is ending"));
        }
        let child = command.spawn()?;
        let leader = child.id();
        running.leaders.extend(leader);
        Ok(Self { child, leader })
    }

    /// What it left behind on purpose is left alone.
    fn has_ended(&mut self) {
        if let Some(leader) = self.leader.take() {
            running().leaders.remove(&leader);
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(leader) = self.leader
            && running().leaders.remove(&leader)
        {
            end(leader);
        }
    }
}

fn running() -> MutexGuard<'static, Running> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn read(from: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    if let Some(from) = from {
        from.take(MOST + 1).read_to_end(&mut text).await?;
    }
    if text.len() as u64 > MOST {
        return Err(io::Error::other("its answer is longer than 1 MiB"));
    }
    Ok(text)
}

/// Has a program lead a group of its own.
#[cfg(unix)]
fn lead(command: &mut Command) {
    command.process_group(0);
}

/// Windows has no groups that are ended as one; it knows who started whom.
#[cfg(windows)]
fn lead(_command: &mut Command) {}

#[cfg(unix)]
fn end(leader: u32) {
    use rustix::process::{Pid, Signal, kill_process_group};

    let group = i32::try_from(leader).ok().and_then(Pid::from_raw);
    if let Some(group) = group {
        // There may be nobody left in it.
        let _nobody = kill_process_group(group, Signal::KILL);
    }
}

#[cfg(windows)]
fn end(leader: u32) {
    let mut taskkill = std::process::Command::new("taskkill");
    taskkill.args(["/T", "/F", "/PID"]).arg(leader.to_string());
    drop(taskkill.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status());
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use tokio::time::{sleep, timeout};

    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    /// Whether a process runs; one that is dead and not yet waited for does not.
    fn runs(process: &str) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
    }

    async fn written(path: &Path) -> String {
        loop {
            match std::fs::read_to_string(path) {
                Ok(text) if text.ends_with('\n') => return text.trim().to_owned(),
                _ => sleep(Duration::from_millis(10)).await,
            }
        }
    }

    #[tokio::test]
    async fn whoever_stops_waiting_ends_it_and_what_it_started() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("child");
        let script = format!("sleep 600 & echo $! > '{}'; wait", path.display());
        let mut waiting = Box::pin(output(shell(&script)));
        let child = tokio::select! {
            ended = &mut waiting => panic!("{ended:?}"),
            child = written(&path) => child,
        };
        assert!(runs(&child));
        drop(waiting);
        let gone = async {
            while runs(&child) {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(5), gone).await.unwrap();
    }

    #[tokio::test]
    async fn its_answer_is_read_whole_and_no_further_than_a_megabyte() {
        let answer = output(shell("echo out; echo err >&2; cat; exit 3")).await.unwrap();
        assert_eq!(
            (answer.status.code(), &*answer.stdout, &*answer.stderr),
            (Some(3), &b"out\n"[..], &b"err\n"[..])
        );
        let error = output(shell("exec cat /dev/zero")).await.unwrap_err();
        assert!(error.to_string().contains("1 MiB"), "{error}");
    }
}
