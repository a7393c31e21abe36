//! The client side against the emulator, in one process: ARM read, token exchange, WebSocket, relay, deletion.
//!
//! docs/conformance.md says which test asserts which rule.

mod cleanup;
mod control;
mod developer;
mod ends;
mod exchange;
mod frames;
mod held;
mod lab;
mod limits;
mod path;
mod patience;
mod pressure;
mod probes;
mod raw;
mod sessions;
mod stage;
mod targets;
mod upgrade;
