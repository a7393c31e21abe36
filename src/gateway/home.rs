//! Where a bastion's sessions are asked for: at a gateway of its own, or at whichever data pod a broker names.

use super::AccessTokens;
use super::broker::{Broker, Pod};
use super::error::GatewayError;
use super::ledger::Asked;
use super::wire::{Front, Kind};
use crate::model::GatewayHost;

/// The two ways.
#[derive(Debug)]
pub(super) enum Home {
    /// ARM named the gateway (Standard, Premium).
    Own(GatewayHost),
    /// ARM named a broker (Developer).
    Shared(Broker),
}

/// A gateway that may serve a destination.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) front: Front,
    /// Whether it was named so long ago that it may have moved since.
    pub(super) known: bool,
}

impl Home {
    /// What ARM named, for messages.
    pub(super) fn host(&self) -> &GatewayHost {
        match self {
            Self::Own(host) => host,
            Self::Shared(broker) => broker.host(),
        }
    }

    /// The gateway for a destination.
    pub(super) async fn front(
        &self,
        asked: &Asked<'_>,
        tokens: &dyn AccessTokens,
    ) -> Result<Found, GatewayError> {
        match self {
            // Should it have moved, ARM knows, and that is asked by others.
            Self::Own(host) => {
                Ok(Found { front: Front { host: host.clone(), kind: Kind::Own }, known: false })
            }
            Self::Shared(broker) => {
                let Pod { host, known } = broker.pod(asked, tokens).await?;
                Ok(Found { front: Front { host, kind: Kind::Pod }, known })
            }
        }
    }

    /// A gateway did not serve a destination, for a reason that may be that it is no longer there.
    pub(super) fn forget(&self, asked: &Asked<'_>, front: &Front) {
        match self {
            Self::Own(_) => {}
            Self::Shared(broker) => broker.forget(asked, &front.host),
        }
    }
}
