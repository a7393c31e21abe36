//! `bastion up`: the declared tunnels, up and kept up, in the foreground.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clap::Args;
use tokio::time::{Instant, sleep};

use super::attach::{Wish, attach};
use super::azure::Azure;
use super::declaration::WorkspaceFiles;
use super::instance::{Running, kinds, refused};
use super::journal::{self, Journaled};
use super::listening::Listening;
use super::load::Checked;
use super::running::Meant;
use super::settings::Settings;
use super::telling::Telling;
use super::wait::appear;
use super::{ExitStatus, Failure, Format, load, pick, refuse, stop};
use crate::control::{About, server};
use crate::instance::{ClaimError, Lock, Whose};
use crate::model::{AzSubscription, Desired, Name, NetworkRules, Pattern};
use crate::supervisor::Remains;
use crate::supervisor::{Handle, Parts, Setting, Supervisor};
use crate::sys::clock;
use crate::sys::signal::StopSignals;
use crate::ui::Printer;
use crate::watch::Mode;
use crate::workspace::Workspace;

/// How long another instance may take to listen, or to be gone.
const STARTING: Duration = Duration::from_secs(20);
/// After how long without a word of a tunnel it is said what that waits for.
const SILENCE: Duration = Duration::from_secs(3);
/// How often it is looked whether it is gone, which nobody tells.
const LOOK: Duration = Duration::from_millis(200);

/// Bring tunnels up and keep them up, in the foreground
///
/// Every tunnel of the file without a profile and those of the profiles that are named, or just the named tunnels. The
/// file is watched: an edit takes effect when it is saved. Ctrl-C stops: connections get five seconds, every Bastion
/// session is deleted. Beside an instance that runs already, it adds to that and shows what happens there.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// Tunnels by name, or by patterns such as 'db-*'; all without a profile when none is given
    #[arg(value_name = "TUNNEL")]
    tunnels: Vec<String>,
    /// Do not watch the file: `bastion reload` has it read again
    #[arg(long)]
    no_watch: bool,
    /// Allow what the file asks for, of this kind, as long as the instance runs: expose
    #[arg(long, value_name = "KIND")]
    allow: Vec<String>,
    #[arg(short, long, hide = true)]
    detach: bool,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "")]
    wait: Option<String>,
    #[arg(long, hide = true)]
    best_effort: bool,
    #[arg(long, hide = true, value_name = "ADDR")]
    metrics: Option<String>,
}

pub(super) async fn run(
    arguments: Arguments,
    settings: &Settings,
    format: Format,
    printer: Printer,
) -> Result<ExitStatus, Failure> {
    refuse("up --detach", arguments.detach)?;
    refuse("up --wait", arguments.wait.is_some())?;
    refuse("up --best-effort", arguments.best_effort)?;
    refuse("up --metrics", arguments.metrics.is_some())?;
    let allowed =
        kinds(&arguments.allow).map_err(|refused| Failure::refused(&refused).status(ExitStatus::Usage))?;
    let workspace = load::find(settings)?;
    let meant = Meant::of(&workspace, settings)?;
    let Checked { desired, network, az, .. } = load::checked(settings, printer, "nothing was started")?;
    let patterns = pick::patterns(&arguments.tunnels)?;
    declares_something(&desired, &patterns, &settings.profiles)?;
    pick::warn_of_profiles(&desired, &settings.profiles, printer);
    if let Some(current) = az {
        printer.say(&whose(&current));
    }
    let files = load::read(&workspace)?;
    let variables = settings.variables(&files.mentioned(), settings.environment.as_deref()).into_all();
    let wish = Wish {
        tunnels: arguments.tunnels,
        profiles: settings.profiles.clone(),
        setting: Setting { variables, az: settings.az().clone(), ..Setting::default() }.allowing(allowed),
    };
    let watch = (!arguments.no_watch).then_some(Mode::Auto);
    let telling = Telling::new(format, printer, load::shown(workspace.shown()));
    // Before anything that would have to be cleaned up.
    let mut signals = StopSignals::register().map_err(|error| {
        Failure::new(ExitStatus::Failed, format!("taking over the stop signals: {error}"))
    })?;
    let now = clock::now();
    let until = Instant::now() + STARTING;
    let lock = loop {
        match meant.claim(now) {
            Ok(lock) => break lock,
            Err(ClaimError::Held(_) | ClaimError::Starting) if Instant::now() < until => {}
            Err(error) => return Err(Failure::from_error(ExitStatus::InTheWay, &error)),
        }
        // Whoever holds it listens, or is about to, or is about to end.
        if let Some(client) = appear(&meant, Instant::now() + LOOK, || Ok(())).await? {
            let mut telling = telling.attached();
            if let Some(status) = attach(&client, &wish, &mut telling, &mut signals, printer).await? {
                return Ok(status);
            }
        }
    };
    let start = Start { workspace, desired, network, watch, wish, telling, lock, started: now };
    Box::pin(start.run(&meant, settings, &mut signals, printer)).await
}

/// Where everything is that no file and no flag has a subscription for.
pub(super) fn whose(current: &AzSubscription) -> String {
    format!("The subscription is {current}, az's current one")
}

/// Everything that a start needs.
struct Start {
    workspace: Workspace,
    desired: Desired,
    network: NetworkRules,
    watch: Option<Mode>,
    wish: Wish,
    telling: Telling,
    lock: Lock,
    started: SystemTime,
}

impl Start {
    async fn run(
        self,
        meant: &Meant,
        settings: &Settings,
        signals: &mut StopSignals,
        printer: Printer,
    ) -> Result<ExitStatus, Failure> {
        let (lock, identity) = (self.lock, meant.identity());
        let socket = server::bind(lock.socket()).map_err(|error| {
            let path = load::shown(lock.socket());
            Failure::new(ExitStatus::Failed, format!("listening for other commands on {path}: {error}"))
        })?;
        let azure = Azure::of(&self.desired, &self.network, settings, printer).await?;
        let source = WorkspaceFiles {
            workspace: self.workspace,
            places: settings.places(),
            cloud: self.desired.cloud.clone(),
            network: self.network,
            emulator: azure.emulator(),
        };
        let journal = Journaled::open(&azure, Whose::Instance(identity), settings, printer);
        let parts = Parts {
            source: Arc::new(source),
            dialer: Arc::new(journal::with(&azure, journal.as_ref())),
            watch: self.watch,
            clock: clock::now,
        };
        let (supervisor, handle) = Supervisor::new(parts).await.map_err(|error| {
            Failure::new(ExitStatus::Failed, format!("watching the workspace's files: {error}"))
        })?;
        let about = About::new(
            &self.desired.workspace,
            &identity.directory,
            &identity.file,
            identity.environment.as_ref(),
            self.started,
        );
        let mut listening = Listening::start(lock, socket, Running { about, handle: handle.clone() });
        let journal = journal.as_deref();
        let kept = Kept { handle: &handle, meant, listening: &mut listening, journal };
        let ended = Box::pin(keep(supervisor.run(), kept, signals, self.wish, self.telling, printer)).await;
        let lock = listening.stop().await;
        azure.stop().await;
        journal::close(journal).await;
        // The last thing: whoever finds it free finds nothing of ours left.
        drop(lock);
        ended
    }
}

/// What is looked after while it runs.
struct Kept<'a> {
    handle: &'a Handle,
    meant: &'a Meant,
    listening: &'a mut Listening,
    journal: Option<&'a Journaled>,
}

/// Runs until a signal, or `bastion down`, ends it.
async fn keep(
    run: impl Future<Output = Remains>,
    kept: Kept<'_>,
    signals: &mut StopSignals,
    wish: Wish,
    mut telling: Telling,
    printer: Printer,
) -> Result<ExitStatus, Failure> {
    let Kept { handle, meant, listening, journal } = kept;
    let mut run = pin!(run);
    let mut events = telling.listen(handle);
    let Wish { tunnels, profiles, setting } = wish;
    let mut asked = pin!(handle.up(tunnels, profiles, setting));
    let mut begun = false;
    let mut silence = pin!(sleep(SILENCE));
    let mut broken = false;
    // Beside the tunnels, which do not wait for it.
    let mut recovery = pin!(journal::recover(journal, printer));
    let mut recovered = false;
    loop {
        tokio::select! {
            // `down` has asked for it.
            left = &mut run => {
                return Ok(if stop::tell(left, printer) { ExitStatus::Done } else { ExitStatus::Failed });
            }
            answer = &mut asked, if !begun => {
                begun = true;
                if let Err(refusal) = answer {
                    let failure = Failure::refused(&refused(refusal));
                    stop::at_once(run, handle).await;
                    return Err(failure);
                }
            }
            () = &mut recovery, if !recovered => recovered = true,
            () = listening.disturbed() => listening.mend(meant).await,
            () = &mut silence, if !broken => {
                broken = true;
                telling.still_waiting(&handle.status().tunnels);
            }
            why = signals.next() => return Ok(stop::stop(run, handle, signals, why, printer).await),
            news = events.next() => telling.tell(handle, news, &events),
        }
    }
}

/// Refuses a start that would start nothing, and names that no tunnel has.
fn declares_something(desired: &Desired, patterns: &[Pattern], profiles: &[String]) -> Result<(), Failure> {
    if desired.tunnels.is_empty() {
        return Err(Failure::new(ExitStatus::Usage, "this workspace declares no tunnel")
            .hint("add one: `[tunnels]` with `web = \"8080 -> TARGET:80\"`"));
    }
    pick::known(patterns, desired.tunnels.keys())?;
    let mut meant = desired.tunnels.values().filter(|tunnel| pick::by_default(tunnel, profiles));
    if !patterns.is_empty() || meant.next().is_some() {
        return Ok(());
    }
    let all: BTreeSet<&str> =
        desired.tunnels.values().flat_map(|tunnel| &tunnel.profiles).map(Name::as_str).collect();
    let all: Vec<&str> = all.into_iter().collect();
    Err(Failure::new(ExitStatus::Usage, "every tunnel of this workspace belongs to a profile")
        .hint(&format!("`bastion --profile PROFILE up` starts those of one: {}", all.join(", "))))
}
