//! `bastion down`: stops an instance or some of its tunnels, and returns when they are gone.

use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, sleep, timeout_at};

use super::following::Following;
use super::pick::{self, Picked};
use super::running::{self, Meant};
use super::settings::Settings;
use super::{ExitStatus, Failure, refuse};
use crate::control::client::{Client, ClientError};
use crate::control::{Answer, Request};
use crate::model::{Name, Pattern, State, printable};
use crate::sys::clock;
use crate::ui::Printer;

/// The longest that stopping takes: the grace of connections, then of the deletion of sessions, and some.
const LONGEST: Duration = Duration::from_secs(30);
/// How often it is looked whether a process is gone, which nobody tells.
const LOOK: Duration = Duration::from_millis(50);

/// Stop tunnels, or the whole instance, and wait until they are gone
///
/// Connections that are open get five seconds, and every Bastion session is deleted. Without a TUNNEL the instance
/// itself stops. That nothing runs is no failure. This works across versions.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// Tunnels by name or quoted pattern; all, and the instance, when none is given
    #[arg(value_name = "TUNNEL")]
    tunnels: Vec<String>,
    /// Reset connections that are open, without grace
    #[arg(long)]
    now: bool,
    #[arg(long, hide = true)]
    all: bool,
}

pub(super) async fn run(
    arguments: Arguments,
    settings: &Settings,
    printer: Printer,
) -> Result<ExitStatus, Failure> {
    refuse("down --all", arguments.all)?;
    let patterns = pick::patterns(&arguments.tunnels)?;
    let meant = Meant::find(settings)?;
    let until = Instant::now() + LONGEST;
    let Some(client) = reach(&meant, until).await? else {
        meant.exists()?;
        pick::pick(patterns, &[], || meant.declared(settings))?;
        printer.say(&format!("Nothing runs for {}", meant.shown()));
        return Ok(ExitStatus::Done);
    };
    if patterns.is_empty() {
        whole(&meant, &client, arguments.now, until, printer).await?;
    } else {
        let status = client.status().await.map_err(|error| Failure::from_client(&error))?;
        let tunnels = status.into_model(clock::now()).tunnels;
        let names: Vec<Name> = tunnels.into_iter().map(|tunnel| tunnel.name).collect();
        let Picked { running, idle } = pick::pick(patterns, &names, || meant.declared(settings))?;
        for pattern in &idle {
            printer.say(&format!("`{pattern}` does not run"));
        }
        if !running.is_empty() {
            some(&client, &running, arguments.now, until, printer).await?;
        }
    }
    Ok(ExitStatus::Done)
}

/// A way to ask the instance; none when there is none. One that is just starting or ending gets the time for it.
async fn reach(meant: &Meant, until: Instant) -> Result<Option<Client>, Failure> {
    loop {
        if let Some(client) = meant.client().await? {
            return Ok(Some(client));
        }
        if meant.holder().is_none() {
            return Ok(None);
        }
        if Instant::now() >= until {
            return Err(meant.not_running());
        }
        sleep(LOOK).await;
    }
}

/// Stops the instance.
async fn whole(
    meant: &Meant,
    client: &Client,
    now: bool,
    until: Instant,
    printer: Printer,
) -> Result<(), Failure> {
    let owner = meant.holder();
    // Before it is asked: its end is not to be missed. One of another release tells no events.
    let following = Following::start(client).await.ok().flatten();
    match ask(client, Vec::new(), now).await {
        Ok(waiting) => say_waiting(&waiting, now, printer),
        Err(error) if is_gone(&error) => {}
        Err(error) => return Err(Failure::from_client(&error)),
    }
    if let Some(mut following) = following {
        let ended = async { while following.next().await.unwrap_or(false) {} };
        let _late = timeout_at(until, ended).await;
    }
    // Another one may hold it already.
    while let Some(owner) = meant.holder().filter(|now| owner.as_ref() == Some(now)) {
        if Instant::now() >= until {
            let what = format!("process {} has not ended within {} s", owner.pid, LONGEST.as_secs());
            return Err(Failure::new(ExitStatus::Failed, what)
                .hint("`bastion down --now` gives connections no time; at last, end the process itself"));
        }
        sleep(LOOK).await;
    }
    printer.say("Stopped");
    Ok(())
}

/// Stops some tunnels.
async fn some(
    client: &Client,
    patterns: &[Pattern],
    now: bool,
    until: Instant,
    printer: Printer,
) -> Result<(), Failure> {
    let typed = patterns.iter().map(|pattern| pattern.as_str().to_owned()).collect();
    let waiting = ask(client, typed, now).await.map_err(|error| Failure::from_client(&error))?;
    say_waiting(&waiting, now, printer);
    let mut following = Following::start(client).await.ok().flatten();
    loop {
        let status = match &following {
            Some(following) => following.status().clone(),
            None => match client.status().await {
                Ok(status) => status,
                // It was the last one, and the instance went with it.
                Err(error) if is_gone(&error) => break,
                Err(error) => return Err(Failure::from_client(&error)),
            },
        };
        let mut left = status.into_model(clock::now()).tunnels;
        left.retain(|tunnel| tunnel.state != State::Stopped && pick::is_meant(patterns, &tunnel.name));
        if left.is_empty() {
            break;
        }
        if Instant::now() >= until {
            let names: Vec<String> = left.iter().map(|tunnel| format!("`{}`", tunnel.name)).collect();
            let what = format!("{} still end after {} s", names.join(", "), LONGEST.as_secs());
            return Err(Failure::new(ExitStatus::Failed, what)
                .hint("`bastion status` shows what they wait for; `--now` gives connections no time"));
        }
        match &mut following {
            Some(events) => match timeout_at(until, events.next()).await {
                Ok(Ok(true)) | Err(_) => {}
                // Its end is seen when it is asked.
                Ok(Ok(false) | Err(_)) => following = None,
            },
            None => sleep(LOOK).await,
        }
    }
    printer.say("Stopped");
    Ok(())
}

async fn ask(client: &Client, tunnels: Vec<String>, now: bool) -> Result<Vec<(String, usize)>, ClientError> {
    Ok(match running::ask(client, Request::Down { tunnels, now }).await? {
        Answer::Stopping { waiting, whole: _ } => waiting,
        Answer::Applied { .. } | Answer::Plan { .. } | Answer::Done => Vec::new(),
    })
}

fn say_waiting(waiting: &[(String, usize)], now: bool, printer: Printer) {
    if !waiting.is_empty() {
        let who = waiting.iter().map(|(name, number)| format!("{number} of `{}`", printable(name, 100)));
        let who: Vec<String> = who.collect();
        let who = who.join(", ");
        printer.say(&if now {
            format!("Resetting connections still open: {who}")
        } else {
            format!("Waiting for connections still open: {who}; they have 5 s")
        });
    }
}

/// Whether an instance did not answer because it is gone.
fn is_gone(error: &ClientError) -> bool {
    matches!(error, ClientError::Io(..) | ClientError::Broken(_))
}
