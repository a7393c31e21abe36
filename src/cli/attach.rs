//! `bastion up` beside an instance that runs already: it is asked for what is wanted, and what happens there is shown.

use super::stop;
use super::telling::Telling;
use super::{ExitStatus, Failure};
use crate::control::client::{Client, ClientError, Event};
use crate::control::{Answer, Request};
use crate::model::GrantKind;
use crate::supervisor::Setting;
use crate::sys::signal::{StopSignal, StopSignals};
use crate::ui::{Printer, count};

/// What is asked of an instance, whether it is our own or one that runs already.
#[derive(Clone)]
pub(super) struct Wish {
    pub(super) tunnels: Vec<String>,
    pub(super) profiles: Vec<String>,
    pub(super) setting: Setting,
}

/// Asks a running instance for tunnels, and shows what happens until a signal, or its end. `None`: it is about to end,
/// and another can be started then.
pub(super) async fn attach(
    client: &Client,
    wish: &Wish,
    telling: &mut Telling,
    signals: &mut StopSignals,
    printer: Printer,
) -> Result<Option<ExitStatus>, Failure> {
    let failed = |error: ClientError| Failure::from_client(&error);
    let Wish { tunnels, profiles, setting: Setting { variables, az, allowed } } = wish.clone();
    let allow = allowed.into_iter().map(|kind: GrantKind| kind.word().to_owned()).collect();
    let request = Request::Up { tunnels, profiles, variables, az, allow };
    let asked = async { Ok((client.about().await?, client.ask(request).await?)) };
    let asked = tokio::select! {
        asked = asked => asked,
        why = signals.next() => return Ok(Some(stop::status_of(why))),
    };
    let (about, answer) = match asked {
        Ok(answer) => answer,
        Err(ClientError::Refused(refused)) if refused.code == "stopping" => return Ok(None),
        Err(ClientError::Io(..) | ClientError::Broken(_)) => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    printer.say(&format!("An instance runs already (process {}): attached to it", about.pid));
    if let Answer::Applied { started, .. } = answer
        && !started.is_empty()
    {
        printer.say(&format!("It starts {}", count(started.len(), "more tunnel")));
    }
    let mut events = client.events().await.map_err(failed)?;
    loop {
        tokio::select! {
            // However its end shows, it is one.
            event = events.next() => match event.or_else(gone).map_err(failed)? {
                Some(Event::Status(status)) => telling.remote_whole(*status),
                Some(Event::Tunnel(event)) => telling.remote(*event, &about.program),
                Some(Event::End) => {
                    printer.say("The instance has stopped");
                    return Ok(Some(ExitStatus::Done));
                }
                None => {
                    let what = format!("the instance (process {}) is gone without a word", about.pid);
                    return Err(Failure::new(ExitStatus::Failed, what).hint("`bastion up` starts another"));
                }
            },
            why = signals.next() => return Ok(Some(leave(about.pid, why, printer))),
        }
    }
}

/// A conversation that breaks off is an instance that is gone.
fn gone(error: ClientError) -> Result<Option<Event>, ClientError> {
    match error {
        ClientError::Io(..) | ClientError::Broken(_) => Ok(None),
        ClientError::NotUnderstood(_)
        | ClientError::TooLong
        | ClientError::Silent
        | ClientError::Refused(_) => Err(error),
    }
}

/// What it was attached to goes on.
fn leave(pid: u32, why: StopSignal, printer: Printer) -> ExitStatus {
    printer.say(&format!("Left; the tunnels stay up in process {pid}, and `bastion down` stops them"));
    stop::status_of(why)
}
