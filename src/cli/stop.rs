//! Stopping: nothing new, a moment for what is under way, then every session deleted. A second signal skips the moment.

use std::time::Duration;

use super::ExitStatus;
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
            "Stopping: connections still open: {}. They have {} s; once more stops at once",
            who.join(", "),
            GRACE.as_secs()
        ));
        tokio::select! {
            () = supervisor.idle() => {}
            () = tokio::time::sleep(GRACE) => {}
            _ = signals.next() => {}
        }
    }
    let left = supervisor.finish().await;
    if left > 0 {
        printer
            .warn(&format!("{left} sessions could not be deleted; Azure ends them by itself after a while"));
    } else {
        printer.say("Stopped; every session is deleted");
    }
    match why {
        StopSignal::Interrupt => ExitStatus::Interrupted,
        StopSignal::Terminate => ExitStatus::Done,
    }
}
