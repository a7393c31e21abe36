//! The wall clock: for what is written down and for what expires by the calendar. Nothing waits on it.

use std::time::SystemTime;

/// The time of day.
#[expect(clippy::disallowed_methods, reason = "the one place that asks the wall clock")]
pub fn now() -> SystemTime {
    SystemTime::now()
}
