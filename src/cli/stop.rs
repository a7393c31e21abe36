//! Stopping: nothing new, a moment for what is under way, then every session deleted. A second signal skips the moment,
//! a third does not wait for Azure either.

use std::time::Duration;

use super::ExitStatus;
use crate::model::Name;
use crate::supervisor::Handle;
use crate::supervisor::Remains;
use crate::sys::signal::{StopSignal, StopSignals};
use crate::ui::Printer;

/// How long connections may go on after the first signal.
pub(super) const GRACE: Duration = Duration::from_secs(5);

/// How long deletions may take before somebody is told that they are waited for.
const SLOW: Duration = Duration::from_millis(1500);

/// Ends a supervisor as a signal asks for it; `run` is its end.
pub(super) async fn stop(
    run: impl Future<Output = Remains>,
    handle: &Handle,
    signals: &mut StopSignals,
    why: StopSignal,
    printer: Printer,
) -> ExitStatus {
    let mut run = std::pin::pin!(run);
    let asked = async {
        // An error means that it stops already.
        let waiting = handle.stop(GRACE).await.unwrap_or_default();
        announce(&waiting, printer);
        std::future::pending::<()>().await;
    };
    let mut asked = std::pin::pin!(asked);
    let mut slow = std::pin::pin!(deletions(handle));
    let mut told = false;
    let mut insisted = 0;
    let left = loop {
        tokio::select! {
            left = &mut run => break Some(left),
            () = &mut asked => {}
            () = &mut slow, if !told => {
                told = true;
                printer.say("Waiting for Azure to delete the sessions, 10 s at most; once more does not wait");
                // There is no connection left that could be reset before.
                insisted = insisted.max(1);
            }
            _ = signals.next() => {
                insisted += 1;
                if insisted > 1 {
                    break None;
                }
                tokio::select! {
                    left = &mut run => break Some(left),
                    _ = handle.stop(Duration::ZERO) => {}
                }
            }
        }
    };
    let clean = match left {
        Some(left) => tell(left, printer),
        None => {
            printer.warn("stopped at once: sessions may stay in Azure that were still being deleted; the next `bastion up`, or `bastion gc`, deletes them");
            false
        }
    };
    match why {
        StopSignal::Terminate if !clean => ExitStatus::Failed,
        StopSignal::Interrupt | StopSignal::Terminate => status_of(why),
    }
}

/// What a command ends with that a signal ended.
pub(super) fn status_of(why: StopSignal) -> ExitStatus {
    match why {
        StopSignal::Interrupt => ExitStatus::Interrupted,
        StopSignal::Terminate => ExitStatus::Done,
    }
}

/// Waits until no connection is left, and then some: what is still under way is Azure's to answer.
async fn deletions(handle: &Handle) {
    let mut changed = handle.changed();
    while !(handle.declaration().stopping && handle.is_idle()) {
        if changed.changed().await.is_err() {
            break;
        }
    }
    tokio::time::sleep(SLOW).await;
}

/// Ends a supervisor that has nothing to wait for.
pub(super) async fn at_once(run: impl Future<Output = Remains>, handle: &Handle) -> Remains {
    let asked = async {
        let _stopping = handle.stop(Duration::ZERO).await;
        std::future::pending::<Remains>().await
    };
    tokio::select! { left = run => left, never = asked => never }
}

/// Says who is waited for.
fn announce(waiting: &[(Name, usize)], printer: Printer) {
    if waiting.is_empty() {
        return;
    }
    let who: Vec<String> = waiting.iter().map(|(tunnel, number)| format!("{number} of `{tunnel}`")).collect();
    printer.say(&format!(
        "Stopping: connections still open: {}. They have {} s; once more resets them",
        who.join(", "),
        GRACE.as_secs()
    ));
}

/// Says what is left behind in Azure. Whether that is nothing.
pub(super) fn tell(left: Remains, printer: Printer) -> bool {
    if left.sessions > 0 {
        let number = left.sessions;
        printer.warn(&format!(
            "{number} sessions could not be deleted; the next `bastion up`, or `bastion gc`, tries again, and Azure ends them by itself after a while"
        ));
    }
    if left.requests > 0 {
        let number = left.requests;
        printer.warn(&format!(
            "{number} requests for a session were not answered in time; what Azure still grants, it ends by itself"
        ));
    }
    let clean = left == Remains::default();
    if clean {
        printer.say("Stopped; every session is deleted");
    }
    clean
}
