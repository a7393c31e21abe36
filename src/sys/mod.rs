//! All platform code: sockets beyond std, signals, the wall clock.
//!
//! Nothing else in the house asks which operating system it is on (`tests/tidy.rs` holds that).

pub mod clock;
pub mod directory;
pub mod files;
pub mod limits;
pub mod local;
pub mod locked;
pub mod process;
pub mod signal;
pub mod socket;
