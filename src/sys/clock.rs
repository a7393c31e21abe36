//! The wall clock, asked in one place.

use std::time::SystemTime;

/// What time people say it is: for logs and for the expiry of tokens, never for measuring.
#[expect(clippy::disallowed_methods, reason = "this is the one place that asks the wall clock")]
pub fn now() -> SystemTime {
    SystemTime::now()
}
