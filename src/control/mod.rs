//! How one process speaks to a running instance: HTTP/1.1 with JSON and server-sent events, on a socket of its user.
//!
//! The server refuses whoever is not that user, and does nothing itself: it asks an [`Instance`]. No secret is in what
//! it tells, and none of what it is told is logged.

use std::pin::Pin;

use tokio::sync::{broadcast, watch};

use crate::model;

mod az;
pub mod client;
mod feed;
mod reading;
mod request;
mod schema;
pub mod server;
mod wire;

pub use request::{Answer, Refused, Request};
pub use schema::{event_schema, schema};
pub use wire::{
    About, BastionStatus, Held, Instance as InstanceStatus, LastError, Status, TunnelEvent, TunnelStatus,
    VERSION, Waiting,
};

/// What an instance answers to a request, some time.
pub type Answering<'a> = Pin<Box<dyn Future<Output = Result<Answer, Refused>> + Send + 'a>>;

/// A running instance, as its socket needs it.
pub trait Instance: Send + Sync + 'static {
    /// Which one it is.
    fn about(&self) -> About;
    /// What holds now.
    fn status(&self) -> model::Status;
    /// What happens to its tunnels from now on. Its end is the end of the instance.
    fn events(&self) -> broadcast::Receiver<model::TunnelEvent>;
    /// Changes whenever something of the status did, beside the counts of connections and bytes.
    fn changed(&self) -> watch::Receiver<u64>;
    /// Does something.
    fn ask(&self, request: Request) -> Answering<'_>;
}
