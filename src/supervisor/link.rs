//! The way through one bastion, shared by all tunnels that use it: read from ARM once, opened many times.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use super::{Reason, Surroundings};
use crate::azure::{ArmError, BastionHost, Refusal};
use crate::gateway::{Destination, Gateway, GatewayError, GatewayStream, OpenOptions, Remains};
use crate::model::{Bastion, Blocked, Disposition, Endpoint, Port};
use crate::net::HttpError;

/// How old an answer of ARM must be before a refusal that follows from it is looked into again.
const REREAD: Duration = Duration::from_secs(50);

/// One bastion, and its gateway once ARM has named it.
#[derive(Debug)]
pub(super) struct Link {
    bastion: Bastion,
    surroundings: Surroundings,
    /// Held while ARM is asked, so that it is asked once however many wait.
    resolved: Mutex<Option<Arc<Resolved>>>,
    /// Every gateway that ever had a session of ours.
    gateways: std::sync::Mutex<Vec<Arc<Gateway>>>,
}

#[derive(Debug)]
struct Resolved {
    host: BastionHost,
    gateway: Arc<Gateway>,
    read: Instant,
}

/// Why there is no way through a bastion.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// No access token for ARM.
    #[error("getting an access token")]
    Token(#[source] crate::gateway::TokenError),
    /// ARM did not tell what the bastion is.
    #[error(transparent)]
    Arm(ArmError),
    /// The bastion does not let native clients through.
    #[error(transparent)]
    Refused(Refusal),
    /// No client for the gateway.
    #[error("setting up the connection to the gateway")]
    Client(#[source] HttpError),
    /// The gateway did not let us through.
    #[error(transparent)]
    Gateway(GatewayError),
    /// It took longer than a connection may.
    #[error("no session within {} s", .0.as_secs())]
    Slow(Duration),
}

impl Link {
    pub(super) fn new(bastion: Bastion, surroundings: Surroundings) -> Self {
        Self { bastion, surroundings, resolved: Mutex::new(None), gateways: std::sync::Mutex::default() }
    }

    /// Opens a stream of its own to a port behind the bastion.
    pub(super) async fn open(
        &self,
        endpoint: &Endpoint,
        port: Port,
        options: &OpenOptions,
    ) -> Result<GatewayStream<TlsStream<TcpStream>>, RouteError> {
        let (resolved, destination) = self.destination(endpoint, port).await?;
        let opened = resolved.gateway.open(&destination, &*self.surroundings.tokens, options).await;
        self.look_again(opened).await
    }

    /// Proves that a session would be granted.
    pub(super) async fn probe(
        &self,
        endpoint: &Endpoint,
        port: Port,
        options: &OpenOptions,
    ) -> Result<(), RouteError> {
        let (resolved, destination) = self.destination(endpoint, port).await?;
        let proven = resolved.gateway.probe(&destination, &*self.surroundings.tokens, options).await;
        self.look_again(proven).await
    }

    /// Waits until every session is deleted, at most until the deadline. Says what is left behind.
    pub(super) async fn settle(&self, deadline: Instant) -> Remains {
        let mut left = Remains::default();
        for gateway in self.gateways() {
            left += gateway.settle(deadline).await;
        }
        left
    }

    async fn destination(
        &self,
        endpoint: &Endpoint,
        port: Port,
    ) -> Result<(Arc<Resolved>, Destination), RouteError> {
        let mut resolved = self.resolve(None).await?;
        if resolved.host.admits(endpoint).is_err() {
            resolved = self.resolve(Some(REREAD)).await?;
        }
        resolved.host.admits(endpoint).map_err(RouteError::Refused)?;
        let destination = Destination { bastion: self.bastion.id.clone(), endpoint: endpoint.clone(), port };
        Ok((resolved, destination))
    }

    /// A gateway that cannot be reached may have moved: a bastion that was made anew has another host.
    async fn look_again<T>(&self, result: Result<T, GatewayError>) -> Result<T, RouteError> {
        if let Err(GatewayError::Exchange { .. } | GatewayError::Dial { .. }) = &result {
            // What ARM says now is for the next try; this one has failed either way.
            drop(self.resolve(Some(REREAD)).await);
        }
        result.map_err(RouteError::Gateway)
    }

    /// What ARM says of the bastion: its last answer, or a new one when that is as old as `stale`.
    async fn resolve(&self, stale: Option<Duration>) -> Result<Arc<Resolved>, RouteError> {
        let mut slot = self.resolved.lock().await;
        if let Some(resolved) = &*slot
            && stale.is_none_or(|stale| resolved.read.elapsed() < stale)
        {
            return Ok(Arc::clone(resolved));
        }
        let host = self.ask().await?;
        let gateway = match slot.take() {
            Some(old) if old.host.gateway == host.gateway => Arc::clone(&old.gateway),
            _ => self.gateway(&host)?,
        };
        let resolved = Arc::new(Resolved { host, gateway, read: Instant::now() });
        *slot = Some(Arc::clone(&resolved));
        Ok(resolved)
    }

    /// Asks ARM, with one more try under a fresh token when the first is not believed.
    async fn ask(&self) -> Result<BastionHost, RouteError> {
        let Surroundings { arm, tokens, .. } = &self.surroundings;
        let token = tokens.token(false).await.map_err(RouteError::Token)?;
        match arm.bastion(&self.bastion.id, &token).await {
            Err(ArmError::Refused { status: 401, .. }) => {
                let token = tokens.token(true).await.map_err(RouteError::Token)?;
                arm.bastion(&self.bastion.id, &token).await.map_err(RouteError::Arm)
            }
            answer => answer.map_err(RouteError::Arm),
        }
    }

    fn gateway(&self, host: &BastionHost) -> Result<Arc<Gateway>, RouteError> {
        let network = self.surroundings.network.clone();
        let gateway =
            Gateway::new(host.gateway.clone(), network, self.bastion.limits).map_err(RouteError::Client)?;
        let gateway = Arc::new(gateway);
        self.gateways.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&gateway));
        Ok(gateway)
    }

    fn gateways(&self) -> Vec<Arc<Gateway>> {
        self.gateways.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl RouteError {
    /// What to do about it.
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Token(error) => error.disposition,
            Self::Arm(error) => error.disposition(),
            Self::Refused(_) => Disposition::Blocked(Blocked::Unfit),
            Self::Client(_) => Disposition::Blocked(Blocked::Answer),
            Self::Gateway(error) => error.disposition(),
            Self::Slow(_) => Disposition::Retry,
        }
    }

    /// Whether it concerns every target behind the bastion, not only the one that was asked for.
    pub fn concerns_bastion(&self) -> bool {
        match self {
            Self::Token(_) | Self::Arm(_) | Self::Client(_) => true,
            // The other refusals are about a switch for all; this one only about targets by address.
            Self::Refused(refusal) => !matches!(refusal, Refusal::IpConnect { .. }),
            Self::Gateway(error) => error.concerns_bastion(),
            Self::Slow(_) => false,
        }
    }

    /// Code, words and hint.
    pub(super) fn reason(&self) -> Reason {
        let (code, hint) = match self {
            Self::Token(_) => ("sign-in", None),
            Self::Arm(error) => (error.code(), error.hint()),
            Self::Refused(refusal) => (refusal.code(), refusal.hint()),
            Self::Client(_) => ("network", None),
            Self::Gateway(error) => (error.code(), error.hint().map(str::to_owned)),
            Self::Slow(_) => {
                ("gateway-slow", Some("`connect_timeout` says how long a connection may wait".to_owned()))
            }
        };
        Reason::of(self, code, hint)
    }

    /// How long to wait at least, when the other side said so.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self.disposition() {
            Disposition::RetryAfter(after) => Some(after),
            Disposition::Retry | Disposition::Blocked(_) => None,
        }
    }

    /// Whether only an edit or a person can mend it.
    pub(super) fn is_blocked(&self) -> bool {
        matches!(self.disposition(), Disposition::Blocked(_))
    }
}
