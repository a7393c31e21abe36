//! One integration binary, so that the library is linked once.
//!
//! Modules of helpers are marked `cfg(test)`, which they are anyway: it tells clippy that they are tests.

#[cfg(test)]
mod addresses;
#[cfg(test)]
#[cfg(unix)]
mod admin;
mod chosen;
#[cfg(test)]
mod cli;
mod config;
#[cfg(test)]
mod control;
#[cfg(test)]
#[cfg(unix)]
mod crash;
#[cfg(test)]
#[cfg(unix)]
mod detour;
#[cfg(test)]
mod developer;
#[cfg(test)]
mod env;
#[cfg(test)]
#[cfg(unix)]
mod environments;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod gateway;
#[cfg(test)]
mod harness;
mod instance;
#[cfg(test)]
#[cfg(unix)]
mod journal;
#[cfg(test)]
#[cfg(unix)]
mod keys;
#[cfg(test)]
#[cfg(unix)]
mod lab;
#[cfg(test)]
mod layered;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod pattern;
#[cfg(test)]
mod plan;
#[cfg(test)]
mod process;
#[cfg(test)]
#[cfg(unix)]
mod programs;
#[cfg(test)]
#[cfg(unix)]
mod reload;
#[cfg(test)]
#[cfg(unix)]
mod schema;
#[cfg(test)]
mod server;
#[cfg(test)]
#[cfg(unix)]
mod signing;
#[cfg(test)]
#[cfg(unix)]
mod stopping;
#[cfg(test)]
mod streams;
#[cfg(test)]
mod supervised;
#[cfg(test)]
mod supervision;
#[cfg(test)]
#[cfg(unix)]
mod together;
#[cfg(test)]
#[cfg(unix)]
mod trust;
#[cfg(test)]
#[cfg(unix)]
mod waiting;
#[cfg(test)]
mod watch;
