//! `bastion up`: the declared tunnels, up and kept up, in the foreground.

use std::collections::BTreeSet;

use clap::Args;
use tokio::sync::mpsc;

use super::azure::{Azure, only_emulated};
use super::settings::Settings;
use super::{ExitStatus, Failure, Format, load, nearest, refuse, stop};
use crate::model::{Behaviour, Desired, Name};
use crate::supervisor::{Event, State, Supervisor};
use crate::sys::signal::StopSignals;
use crate::ui::{Mark, Printer, seconds};

/// More names than these are not listed.
const LISTED: usize = 20;

/// Bring tunnels up and keep them up, in the foreground
///
/// Every tunnel of the file without a profile, or just the named ones. Ctrl-C stops them: connections get five
/// seconds, every Bastion session is deleted.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// Tunnels by name; all of the file without a profile when none is given
    #[arg(value_name = "TUNNEL")]
    tunnels: Vec<String>,
    #[arg(short, long, hide = true)]
    detach: bool,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "")]
    wait: Option<String>,
    #[arg(long, hide = true)]
    best_effort: bool,
    #[arg(long, hide = true)]
    no_watch: bool,
    #[arg(long, hide = true, value_name = "ADDR")]
    metrics: Option<String>,
    #[arg(long, hide = true, value_name = "KIND")]
    allow: Option<String>,
}

pub(super) async fn run(
    arguments: Arguments,
    settings: &Settings,
    format: Format,
    printer: Printer,
) -> Result<ExitStatus, Failure> {
    refuse("up --format json", format == Format::Json)?;
    refuse("up --profile", !settings.profiles.is_empty())?;
    refuse("up --detach", arguments.detach)?;
    refuse("up --wait", arguments.wait.is_some())?;
    refuse("up --best-effort", arguments.best_effort)?;
    refuse("up --no-watch", arguments.no_watch)?;
    refuse("up --metrics", arguments.metrics.is_some())?;
    refuse("up --allow", arguments.allow.is_some())?;
    let mut desired = load::load(settings, printer)?;
    only_emulated(&desired)?;
    choose(&mut desired, &arguments.tunnels)?;
    refuse_unbuilt(&desired)?;

    // Before anything that would have to be cleaned up.
    let mut signals = StopSignals::register().map_err(|error| {
        Failure::new(ExitStatus::Failed, format!("taking over the stop signals: {error}"))
    })?;
    let azure = Azure::emulated(std::mem::take(&mut desired.emulation), settings, printer).await?;
    let (events, mut happening) = mpsc::channel(64);
    let supervisor = Supervisor::start(&desired, &azure.surroundings, &events);
    let mut progress = Progress { all: desired.tunnels.len(), ..Progress::default() };
    let why = loop {
        tokio::select! {
            why = signals.next() => break why,
            Some(event) = happening.recv() => {
                show(&desired, &event, printer);
                progress.note(&event, printer);
            }
        }
    };
    // Tunnels that are about to tell something must not wait for a reader.
    happening.close();
    let status = stop::stop(supervisor, &mut signals, why, printer).await;
    azure.stop().await;
    Ok(status)
}

/// Keeps the named tunnels only, or else the default set.
fn choose(desired: &mut Desired, named: &[String]) -> Result<(), Failure> {
    for name in named {
        if !desired.tunnels.keys().any(|tunnel| tunnel.as_str() == name) {
            let known = || desired.tunnels.keys().map(Name::as_str);
            let what = format!("there is no tunnel `{}` in this workspace", name.escape_debug());
            let hint = match nearest(name, known()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if known().count() > LISTED => format!("it has {}", known().count()),
                None => format!("it has: {}", known().collect::<Vec<_>>().join(", ")),
            };
            return Err(Failure::new(ExitStatus::Usage, what).hint(&hint));
        }
    }
    if desired.tunnels.is_empty() {
        return Err(Failure::new(ExitStatus::Usage, "this workspace declares no tunnel")
            .hint("add one: `[tunnels]` with `web = \"8080 -> TARGET:80\"`"));
    }
    if named.is_empty() {
        desired.tunnels.retain(|_, tunnel| tunnel.profiles.is_empty());
    } else {
        desired.tunnels.retain(|name, _| named.iter().any(|wanted| wanted == name.as_str()));
    }
    if desired.tunnels.is_empty() {
        return Err(Failure::new(ExitStatus::Usage, "every tunnel of this workspace belongs to a profile")
            .hint("`--profile` is not supported yet; name the tunnels: `bastion up TUNNEL…`"));
    }
    Ok(())
}

/// What a file may say already and `up` cannot do yet is refused by name, never ignored.
fn refuse_unbuilt(desired: &Desired) -> Result<(), Failure> {
    let usual = Behaviour::default();
    for (name, tunnel) in &desired.tunnels {
        let Behaviour { drain, on_outage, max_connections, probe, backoff, .. } = &tunnel.behaviour;
        let keys = [
            ("drain", *drain != usual.drain),
            ("on_outage", *on_outage != usual.on_outage),
            ("max_connections", *max_connections != usual.max_connections),
            ("probe", *probe != usual.probe),
            ("backoff", *backoff != usual.backoff),
        ];
        let unbuilt = keys.into_iter().find(|(_, differs)| *differs).map(|(key, _)| key);
        let unbuilt = unbuilt.or((!tunnel.listen.is_loopback()).then_some("expose"));
        if let Some(key) = unbuilt {
            let what = format!("tunnel `{name}` sets `{key}`, which `bastion up` does not support yet");
            return Err(Failure::new(ExitStatus::Usage, what)
                .hint("`bastion config` shows where it is set: take it out for now, or name the tunnels to start without this one"));
        }
    }
    Ok(())
}

/// How far the start has come, to say so once when nothing more is to be expected of it.
#[derive(Default)]
struct Progress {
    all: usize,
    ready: BTreeSet<Name>,
    blocked: BTreeSet<Name>,
    told: usize,
}

impl Progress {
    fn note(&mut self, event: &Event, printer: Printer) {
        match event.state {
            State::Ready { .. } => {
                self.blocked.remove(&event.tunnel);
                self.ready.insert(event.tunnel.clone());
            }
            State::Blocked { .. } => {
                self.ready.remove(&event.tunnel);
                self.blocked.insert(event.tunnel.clone());
            }
            State::Connecting { .. } => {}
        }
        let (ready, blocked) = (self.ready.len(), self.blocked.len());
        if ready + blocked < self.all || self.told == ready + 1 {
            return;
        }
        self.told = ready + 1;
        match blocked {
            0 => printer.say("Everything is ready; Ctrl-C stops it"),
            _ => printer
                .say(&format!("{ready} of {} tunnels are ready, {blocked} blocked; Ctrl-C stops", self.all)),
        }
    }
}

fn show(desired: &Desired, event: &Event, printer: Printer) {
    let name = event.tunnel.as_str();
    let route = desired.tunnels.get(&event.tunnel).map(|tunnel| {
        let bastion =
            desired.targets.get(&tunnel.target).map(|target| target.bastion.as_str()).unwrap_or_default();
        format!("{}:{} through {bastion}", tunnel.target, tunnel.port)
    });
    let route = route.unwrap_or_default();
    match &event.state {
        State::Ready { addresses } => {
            let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            printer.tunnel(Mark::Ready, name, &format!("{} -> {route}", addresses.join(", ")));
        }
        State::Connecting { attempt, next_retry, reason } => {
            let next = seconds(*next_retry);
            let text = format!("{} [{}]; try {} in {next}", reason.what, reason.code, attempt + 1);
            printer.tunnel(Mark::Waiting, name, &text);
        }
        State::Blocked { next_retry, reason } => {
            let text =
                format!("{} [{}]; looked at again in {}", reason.what, reason.code, seconds(*next_retry));
            printer.tunnel(Mark::Blocked, name, &text);
            if let Some(hint) = &reason.hint {
                printer.hint(hint);
            }
        }
    }
}
