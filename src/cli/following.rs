//! All that holds of an instance, kept up to date by what it tells.

use std::time::Duration;

use tokio::time::timeout;

use crate::control::Status;
use crate::control::client::{Client, ClientError, Event, Events};

/// How long an instance may take to say what holds.
const PATIENCE: Duration = Duration::from_secs(10);

/// An instance that is listened to.
#[derive(Debug)]
pub(super) struct Following {
    events: Events,
    status: Status,
}

impl Following {
    /// Begins, with all that holds now; `None` when the instance ends before it has said that.
    ///
    /// # Errors
    /// When it does not answer, or is of another release.
    pub(super) async fn start(client: &Client) -> Result<Option<Self>, ClientError> {
        let mut following = Self { events: client.events().await?, status: Status::default() };
        let first = timeout(PATIENCE, following.next()).await.map_err(|_elapsed| ClientError::Silent)?;
        Ok(first?.then_some(following))
    }

    /// Waits until something happens; `false`: the instance ends. Cancel-safe.
    ///
    /// # Errors
    /// When the conversation breaks off.
    pub(super) async fn next(&mut self) -> Result<bool, ClientError> {
        match self.events.next().await? {
            Some(Event::Status(status)) => self.status = *status,
            Some(Event::Tunnel(event)) => {
                let mut now = event.now;
                now.name = event.tunnel;
                match self.status.tunnels.iter_mut().find(|tunnel| tunnel.name == now.name) {
                    Some(tunnel) => *tunnel = now,
                    None => self.status.tunnels.push(now),
                }
            }
            Some(Event::End) | None => return Ok(false),
        }
        Ok(true)
    }

    /// What holds, as far as it was told.
    pub(super) fn status(&self) -> &Status {
        &self.status
    }
}
