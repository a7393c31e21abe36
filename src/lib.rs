//! Docker compose for Azure Bastion tunnels. The library exists so that tests and fuzzers can call rooms
//! directly; it makes no promise of stability.

pub mod emulator;
pub mod model;
pub mod sys;
