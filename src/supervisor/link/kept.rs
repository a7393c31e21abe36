//! The sessions that a way keeps ready, and who may have them.

use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use super::Link;
use crate::carrier::{Carrier as _, OpenOptions};
use crate::gateway::GatewayStream;
use crate::model::{Locator, Port};
use crate::supervisor::warm::Kept;

impl Link {
    /// Keeps so many ready. Says when the oldest of them is of no use any more.
    pub(super) async fn keep(
        &self,
        target: &Locator,
        port: Port,
        options: &OpenOptions,
        wanted: usize,
    ) -> Option<Instant> {
        let place = (target.clone(), port);
        loop {
            let (kept, oldest) = self.pool.tidy(&place);
            if kept >= wanted {
                return oldest;
            }
            // What fails here fails for the next connection too, which has somebody who wants to know.
            let Ok((resolved, destination)) = self.destination(target, port).await else { return oldest };
            let prepared = resolved.gateway.prepare(&destination, &*self.reader.tokens, options).await;
            let Ok(Some(prepared)) = prepared else { return oldest };
            self.pool.put(&place, Kept::new(Arc::clone(&resolved.gateway), prepared));
        }
    }

    /// A stream with a session that is kept, if there is one that is of use still.
    pub(super) async fn resumed(
        &self,
        target: &Locator,
        port: Port,
        options: &OpenOptions,
    ) -> Option<GatewayStream<TlsStream<TcpStream>>> {
        let Kept { gateway, prepared, .. } = self.pool.take(&(target.clone(), port))?;
        let now = self.read(None).await.ok()?;
        if !Arc::ptr_eq(&gateway, &now.gateway) {
            return None;
        }
        match gateway.resume(prepared, options).await {
            Ok(stream) => Some(stream),
            Err(error) => {
                tracing::debug!(bastion = self.bastion.name(), %error, "a session that was kept is of no use; asking for another");
                None
            }
        }
    }

    /// Where all sessions are taken that there may be, those that are kept are for whoever needs one now.
    pub(super) fn give_way(&self) {
        let most = self.books().limits.sessions;
        if most != 0 && self.usage().sessions >= most {
            self.pool.give_way();
        }
    }
}
