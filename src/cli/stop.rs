//! Stopping: nothing new, a moment for what is under way, then every session deleted. A second signal skips the moment.

use std::time::Duration;

use super::ExitStatus;
use crate::carrier::Remains;
use crate::supervisor::Supervisor;
use crate::sys::signal::{StopSignal, StopSignals};
use crate::ui::Printer;

/// How long connections may go on after the first signal.
const GRACE: Duration = Duration::from_secs(5);

/// Ends a supervisor as a signal asks for it.
pub(super) async fn stop(
    supervisor: Supervisor,
    signals: &mut StopSignals,
    why: StopSignal,
    printer: Printer,
) -> ExitStatus {
    supervisor.stop_accepting();
    let live = supervisor.connections();
    if !live.is_empty() {
        let who: Vec<String> =
            live.iter().map(|(tunnel, number)| format!("{number} of `{tunnel}`")).collect();
        printer.say(&format!(
            "Stopping: connections still open: {}. They have {} s; once more resets them",
            who.join(", "),
            GRACE.as_secs()
        ));
        tokio::select! {
            () = supervisor.idle() => {}
            () = tokio::time::sleep(GRACE) => {}
            _ = signals.next() => {}
        }
    }
    let clean = tokio::select! {
        left = supervisor.finish() => tell(left, printer),
        // Whoever insists does not want to wait for Azure either.
        _ = signals.next() => {
            printer.warn("stopped at once: sessions that were still being deleted may stay in Azure until it ends them");
            false
        }
    };
    match why {
        StopSignal::Terminate if !clean => ExitStatus::Failed,
        StopSignal::Interrupt => ExitStatus::Interrupted,
        StopSignal::Terminate => ExitStatus::Done,
    }
}

/// Says what is left behind in Azure. Whether that is nothing.
pub(super) fn tell(left: Remains, printer: Printer) -> bool {
    if left.sessions > 0 {
        let number = left.sessions;
        printer.warn(&format!(
            "{number} sessions could not be deleted; Azure ends them by itself after a while"
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
