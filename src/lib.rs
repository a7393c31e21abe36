//! Docker compose for Azure Bastion tunnels. The library exists so that tests and fuzzers can call rooms
//! directly; it makes no promise of stability.

pub mod carrier;
pub mod gateway;
pub mod model;
pub mod net;
pub mod sys;
pub mod relay;
pub mod azure;
pub mod backoff;
