#![doc = include_str!("../ARCHITECTURE.md")]

pub mod model;

pub mod azure;
pub mod backoff;
pub mod carrier;
pub mod cli;
pub mod config;
pub mod control;
pub mod emulator;
pub mod gateway;
pub mod instance;
pub mod lifecycle;
pub mod limit;
pub mod net;
pub mod plan;
pub mod probe;
pub mod relay;
pub mod supervisor;
pub mod sys;
pub mod ui;
pub mod watch;
pub mod workspace;
