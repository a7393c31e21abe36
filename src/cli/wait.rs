//! `bastion wait`: returns when tunnels are ready, or when waiting is of no use, with an exit code that says which.

use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::following::Following;
use super::pick;
use super::running::Meant;
use super::settings::Settings;
use super::status::{document, meant_by, nothing};
use super::verdict::Verdict;
use super::{ExitStatus, Failure, Format};
use crate::config::read_duration;
use crate::control::client::{Client, ClientError};
use crate::control::{Request, Status};
use crate::model::{Name, Pattern, State, TunnelStatus};
use crate::sys::clock;
use crate::ui::{Printer, count, seconds};
use crate::watch::{Mode, Watch};

/// An instance that is not there after this long is told of.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long an instance that has been waited for may take to say what holds.
const SAY: Duration = Duration::from_secs(2);

/// Wait until tunnels are ready: for scripts
///
/// Waits for `bastion up` too, when nothing runs yet. Has each path proven anew, unless it was proven within the last
/// minute. Ends early when all that is not ready is blocked. Exit code: 0 ready, 4 not in time, 5 another program has
/// the address, 3 sign-in or permission, 1 otherwise blocked. `--format json` prints the last status for programs.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// Tunnels by name or quoted pattern; all that run when none is given
    #[arg(value_name = "TUNNEL")]
    tunnels: Vec<String>,
    /// How long at most, as in "30s" or "1h 30m"
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = read_duration)]
    timeout: Duration,
}

/// What waiting came to.
struct Outcome {
    status: Status,
    tunnels: Vec<TunnelStatus>,
}

pub(super) async fn run(
    arguments: Arguments,
    settings: &Settings,
    format: Format,
    printer: Printer,
) -> Result<ExitStatus, Failure> {
    let patterns = pick::patterns(&arguments.tunnels)?;
    let meant = Meant::find(settings)?;
    let until = Instant::now() + arguments.timeout;
    let slow = || {
        meant.exists()?;
        printer.say(&format!("Waiting for `{}`", meant.up()));
        Ok(())
    };
    let Some(client) = appear(&meant, until, slow).await? else {
        meant.exists()?;
        if format == Format::Json {
            document(&nothing(&meant, settings), printer);
        }
        let what =
            format!("nothing runs for {} after {} [not-running]", meant.shown(), seconds(arguments.timeout));
        return Err(Failure::new(ExitStatus::NotReady, what).hint(&format!("`{}` starts it", meant.up())));
    };
    let waited = timeout_at(until + SAY, wait(&client, &patterns, until, || meant.declared(settings)));
    let Ok(waited) = waited.await else {
        let what = format!("the instance for {} does not answer", meant.shown());
        let process = meant.holder().map(|owner| owner.pid);
        let hint = process.map_or_else(String::new, |pid| {
            format!("process {pid} may be stopped (`kill -CONT {pid}` lets it go on) or stuck")
        });
        return Err(Failure::new(ExitStatus::NotReady, what).hint(&hint));
    };
    let Outcome { status, tunnels } = waited.map_err(|ended| ended.failure(&meant))?;
    if format == Format::Json {
        document(&status, printer);
    }
    let verdict = Verdict::of(&tunnels);
    tell(&tunnels, verdict, arguments.timeout, printer)
}

/// Waits for the instance to listen; none when it does not in time. When that takes longer, `slow` is asked once
/// whether to go on.
pub(super) async fn appear(
    meant: &Meant,
    until: Instant,
    slow: impl Fn() -> Result<(), Failure>,
) -> Result<Option<Client>, Failure> {
    if let Some(client) = meant.client().await? {
        return Ok(Some(client));
    }
    let socket = [meant.socket().to_owned()];
    let mut bell = Watch::start(&socket, Mode::Auto)
        .map_err(|error| Failure::new(ExitStatus::Failed, format!("watching for the instance: {error}")))?;
    let mut told = false;
    loop {
        // After each look, so that what comes while one looks is not missed.
        if let Some(client) = meant.client().await? {
            return Ok(Some(client));
        }
        let now = Instant::now();
        if now >= until {
            return Ok(None);
        }
        tokio::select! {
            () = bell.changed() => {}
            // Not every system tells of sockets.
            () = sleep_until(until.min(now + PATIENCE)) => {
                if !told && Instant::now() < until {
                    told = true;
                    slow()?;
                }
            }
        }
    }
}

/// Why nothing came of waiting.
enum Ended {
    /// It was wrong to begin with.
    Wrong(Failure),
    /// The instance refused, or is gone.
    Instance(ClientError),
    /// The instance ended, and said so.
    Gone,
}

impl Ended {
    fn failure(self, meant: &Meant) -> Failure {
        match self {
            Self::Wrong(failure) => failure,
            Self::Instance(error) if !matches!(error, ClientError::Io(..) | ClientError::Broken(_)) => {
                Failure::from_client(&error)
            }
            Self::Gone | Self::Instance(_) => {
                let what = format!("what ran for {} ended meanwhile [not-running]", meant.shown());
                Failure::new(ExitStatus::Failed, what).hint(&format!("`{}` starts it again", meant.up()))
            }
        }
    }
}

/// Waits until the tunnels are settled, or the time is over.
async fn wait(
    client: &Client,
    patterns: &[Pattern],
    until: Instant,
    declared: impl FnOnce() -> Option<Vec<Name>>,
) -> Result<Outcome, Ended> {
    let status = known(client, until).await?;
    let all = status.into_model(clock::now()).tunnels;
    let names: Vec<Name> = all.into_iter().map(|tunnel| tunnel.name).collect();
    let picked = pick::pick(patterns.to_vec(), &names, declared).map_err(Ended::Wrong)?;
    if let Some(idle) = picked.idle.first() {
        return Err(Ended::Wrong(pick::idle(idle)));
    }
    let typed = patterns.iter().map(|pattern| pattern.as_str().to_owned()).collect();
    // When the time is over, what holds says how far it came.
    if let Ok(proven) = timeout_at(until, client.ask(Request::Prove { tunnels: typed })).await {
        proven.map_err(Ended::Instance)?;
    }
    let mut following = follow(client).await?;
    loop {
        let tunnels = meant_by(patterns, following.status());
        let over = Verdict::of(&tunnels).settled || Instant::now() >= until;
        if over {
            return Ok(Outcome { status: following.status().clone(), tunnels });
        }
        match timeout_at(until, following.next()).await {
            Ok(Ok(true)) | Err(_) => {}
            Ok(Ok(false)) => return Err(Ended::Gone),
            Ok(Err(error)) => return Err(Ended::Instance(error)),
        }
    }
}

/// What the instance runs; one that has only just started gets the time to read its files.
async fn known(client: &Client, until: Instant) -> Result<Status, Ended> {
    let mut following = follow(client).await?;
    while following.status().generation == 0 && following.status().tunnels.is_empty() {
        match timeout_at(until, following.next()).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => return Err(Ended::Gone),
            Ok(Err(error)) => return Err(Ended::Instance(error)),
            Err(_elapsed) => break,
        }
    }
    Ok(following.status().clone())
}

async fn follow(client: &Client) -> Result<Following, Ended> {
    Following::start(client).await.map_err(Ended::Instance)?.ok_or(Ended::Gone)
}

/// Says what is not ready and why.
fn tell(
    tunnels: &[TunnelStatus],
    verdict: Verdict,
    waited: Duration,
    printer: Printer,
) -> Result<ExitStatus, Failure> {
    // One that is ready may still not be where the file says.
    let is_worth_a_line = |tunnel: &&TunnelStatus| tunnel.state != State::Ready || tunnel.reason.is_some();
    for tunnel in tunnels.iter().filter(is_worth_a_line) {
        printer.change(tunnel);
    }
    let unready: Vec<&TunnelStatus> = tunnels.iter().filter(|tunnel| tunnel.state != State::Ready).collect();
    let all = count(tunnels.len(), "tunnel");
    if verdict.status == ExitStatus::Done {
        printer.say(&format!("{all} {} ready", are(tunnels.len())));
        return Ok(ExitStatus::Done);
    }
    if tunnels.is_empty() {
        return Err(Failure::new(ExitStatus::Failed, "no tunnel runs [not-running]")
            .hint("`bastion status` shows what there is; `bastion up TUNNEL` starts one"));
    }
    let blocked = unready.iter().filter(|tunnel| tunnel.state == State::Blocked).count();
    let slow = unready.len() - blocked;
    let late = format!("not ready after {}", seconds(waited));
    let what = match (blocked, slow) {
        (_, 0) => format!("{blocked} of {all} {} blocked", are(blocked)),
        (0, _) => format!("{slow} of {all} {} {late}", are(slow)),
        _ => format!("{blocked} of {all} {} blocked, {slow} {} {late}", are(blocked), are(slow)),
    };
    Err(Failure::new(verdict.status, what))
}

fn are(number: usize) -> &'static str {
    if number == 1 { "is" } else { "are" }
}
