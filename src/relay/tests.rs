//! Relay examples.
