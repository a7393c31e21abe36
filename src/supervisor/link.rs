//! The way through one bastion, shared by all tunnels that use it: read from ARM once, opened many times.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use super::{Dialer, Surroundings};
use crate::azure::{ArmError, BastionHost, Refusal};
use crate::carrier::{ByteStream, Carrier, Carrying, OpenOptions, Remains, Usage};
use crate::gateway::{AccessTokens, Destination, Gateway, GatewayError, GatewayStream};
use crate::model::{
    Bastion, Blocked, Disposition, Endpoint, Failure, Identity, Limits, Port, Reason, ResourceId, Scope,
    chain,
};
use crate::net::HttpError;

/// How old an answer of ARM must be before a refusal that follows from it is looked into again.
const REREAD: Duration = Duration::from_secs(50);

/// How often a gateway that has moved is followed in one go.
const MOVES: u32 = 1;

/// One bastion, and its gateway once ARM has named it.
#[derive(Debug)]
pub(super) struct Link {
    bastion: ResourceId,
    identity: Identity,
    surroundings: Surroundings,
    tokens: Tokens,
    /// Held while ARM is asked, so that it is asked once however many wait.
    resolved: Mutex<Option<Arc<Resolved>>>,
    /// What ARM has answered may have changed since.
    doubted: AtomicBool,
    books: std::sync::Mutex<Books>,
}

/// The tokens of the bastion's identity.
struct Tokens(Arc<dyn AccessTokens>);

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens")
    }
}

/// What is known without waiting for anybody.
#[derive(Debug)]
struct Books {
    /// Every gateway that ever had a session of ours.
    gateways: Vec<Arc<Gateway>>,
    limits: Limits,
    sku: Option<String>,
    /// Ports of addresses that were warned of.
    warned: BTreeSet<(Ipv4Addr, Port)>,
}

#[derive(Debug)]
struct Resolved {
    host: BastionHost,
    gateway: Arc<Gateway>,
    read: Instant,
}

impl Dialer for Surroundings {
    fn carrier(&self, bastion: &Bastion) -> Arc<dyn Carrier> {
        Arc::new(Link::new(bastion, self.clone()))
    }

    fn sign_in_files(&self) -> Vec<PathBuf> {
        self.sign_in.files()
    }

    fn reconsider(&self) {
        self.sign_in.reconsider();
    }
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
}

impl Carrier for Link {
    fn resolve(&self) -> Carrying<'_, Result<(), Failure>> {
        Box::pin(async {
            let resolved = self.read(Some(Duration::ZERO)).await;
            resolved.map(drop).map_err(|error| self.failure(&error))
        })
    }

    fn probe<'a>(
        &'a self,
        endpoint: &'a Endpoint,
        port: Port,
        options: &'a OpenOptions,
    ) -> Carrying<'a, Result<(), Failure>> {
        Box::pin(async move {
            let shown = async {
                let mut moves = MOVES;
                loop {
                    let (resolved, destination) = self.destination(endpoint, port).await?;
                    let proven = resolved.gateway.probe(&destination, &*self.tokens.0, options).await;
                    if let Some(proven) = self.look_again(proven, &resolved, &mut moves).await? {
                        return Ok(proven);
                    }
                }
            };
            shown.await.map_err(|error: RouteError| self.failure(&error))
        })
    }

    fn open<'a>(
        &'a self,
        endpoint: &'a Endpoint,
        port: Port,
        options: &'a OpenOptions,
    ) -> Carrying<'a, Result<Box<dyn ByteStream>, Failure>> {
        Box::pin(async move {
            let stream = self.stream(endpoint, port, options).await;
            let stream = stream.map_err(|error| self.failure(&error))?;
            Ok(Box::new(stream) as Box<dyn ByteStream>)
        })
    }

    fn doubt(&self) {
        self.doubted.store(true, Ordering::Relaxed);
    }

    fn set_limits(&self, limits: Limits) {
        let mut books = self.books();
        if books.limits != limits {
            books.limits = limits;
            for gateway in &books.gateways {
                gateway.set_limits(limits);
            }
        }
    }

    fn usage(&self) -> Usage {
        let books = self.books();
        let sessions = books.gateways.iter().map(|gateway| gateway.counts()).sum();
        Usage { sku: books.sku.clone(), sessions }
    }

    fn settle(&self, deadline: Instant) -> Carrying<'_, Remains> {
        let gateways = self.books().gateways.clone();
        Box::pin(async move {
            let mut left = Remains::default();
            for gateway in gateways {
                left += gateway.settle(deadline).await;
            }
            left
        })
    }
}

impl Link {
    fn new(bastion: &Bastion, surroundings: Surroundings) -> Self {
        let (limits, warned) = (bastion.limits, BTreeSet::new());
        let books = Books { gateways: Vec::new(), limits, sku: None, warned };
        let tokens = Tokens(surroundings.sign_in.tokens(&bastion.identity));
        Self {
            bastion: bastion.id.clone(),
            identity: bastion.identity.clone(),
            surroundings,
            tokens,
            resolved: Mutex::new(None),
            doubted: AtomicBool::new(false),
            books: books.into(),
        }
    }

    async fn stream(
        &self,
        endpoint: &Endpoint,
        port: Port,
        options: &OpenOptions,
    ) -> Result<GatewayStream<TlsStream<TcpStream>>, RouteError> {
        let mut moves = MOVES;
        loop {
            let (resolved, destination) = self.destination(endpoint, port).await?;
            let opened = resolved.gateway.open(&destination, &*self.tokens.0, options).await;
            if let Some(opened) = self.look_again(opened, &resolved, &mut moves).await? {
                return Ok(opened);
            }
        }
    }

    async fn destination(
        &self,
        endpoint: &Endpoint,
        port: Port,
    ) -> Result<(Arc<Resolved>, Destination), RouteError> {
        let mut resolved = self.read(None).await?;
        if resolved.host.admits(endpoint, port).is_err() {
            resolved = self.read(Some(self.stale())).await?;
        }
        resolved.host.admits(endpoint, port).map_err(RouteError::Refused)?;
        self.warn_of(endpoint, port);
        let destination = Destination { bastion: self.bastion.clone(), endpoint: endpoint.clone(), port };
        Ok((resolved, destination))
    }

    /// Says once that Azure promises an address's usual ports only. Gateways were seen to let others through, so it is
    /// tried all the same.
    fn warn_of(&self, endpoint: &Endpoint, port: Port) {
        if let Endpoint::Address(ip) = endpoint
            && !matches!(port.get(), 22 | 3389)
            && self.books().warned.insert((*ip, port))
        {
            let bastion = self.bastion.name();
            tracing::warn!(
                bastion,
                code = "ip-connect-port",
                "Azure supports IP-based connections on ports 22 and 3389 only; trying {ip}:{port} all the same"
            );
        }
    }

    /// A gateway that cannot be reached, or is not the bastion's any more, may have moved: a bastion that was made anew has
    /// another host. `None`: it has moved, and is worth asking where it is now.
    async fn look_again<T>(
        &self,
        result: Result<T, GatewayError>,
        asked: &Resolved,
        moves: &mut u32,
    ) -> Result<Option<T>, RouteError> {
        let error = match result {
            Ok(done) => return Ok(Some(done)),
            Err(error) => error,
        };
        let stale = match &error {
            GatewayError::Exchange { .. } | GatewayError::Dial { .. } | GatewayError::Broker(_) => REREAD,
            GatewayError::Refused { status: 421, .. } => Duration::ZERO,
            GatewayError::Refused { .. } | GatewayError::Answer { .. } => self.stale(),
            GatewayError::Token(_) | GatewayError::Upgrade { .. } => return Err(RouteError::Gateway(error)),
        };
        match self.read(Some(stale)).await {
            Ok(now) if !same(&now.host, &asked.host) && *moves > 0 => {
                *moves -= 1;
                Ok(None)
            }
            // What ARM says now is for the next try; this one has failed either way.
            Ok(_) | Err(_) => Err(RouteError::Gateway(error)),
        }
    }

    /// How old an answer of ARM must be for its refusal to be looked into again.
    fn stale(&self) -> Duration {
        if self.doubted.swap(false, Ordering::Relaxed) { Duration::ZERO } else { REREAD }
    }

    /// What ARM says of the bastion: its last answer, or a new one when that is as old as `stale`.
    async fn read(&self, stale: Option<Duration>) -> Result<Arc<Resolved>, RouteError> {
        let mut slot = self.resolved.lock().await;
        if let Some(resolved) = &*slot
            && stale.is_none_or(|stale| resolved.read.elapsed() < stale)
        {
            return Ok(Arc::clone(resolved));
        }
        let host = self.ask().await?;
        let gateway = match slot.take() {
            Some(old) if same(&old.host, &host) => Arc::clone(&old.gateway),
            _ => self.gateway(&host)?,
        };
        let resolved = Arc::new(Resolved { host, gateway, read: Instant::now() });
        self.books().sku = Some(resolved.host.sku.clone());
        *slot = Some(Arc::clone(&resolved));
        Ok(resolved)
    }

    /// Asks ARM, with one more try under a fresh token when the first is not believed.
    async fn ask(&self) -> Result<BastionHost, RouteError> {
        let (arm, tokens) = (&self.surroundings.arm, &self.tokens.0);
        let token = tokens.token(false).await.map_err(RouteError::Token)?;
        match arm.bastion(&self.bastion, &token).await {
            Err(ArmError::Refused { status: 401, .. }) => {
                let token = tokens.token(true).await.map_err(RouteError::Token)?;
                arm.bastion(&self.bastion, &token).await.map_err(RouteError::Arm)
            }
            answer => answer.map_err(RouteError::Arm),
        }
    }

    /// What a failure is to those who wait, with what to type where only a person can mend it.
    fn failure(&self, error: &RouteError) -> Failure {
        let mut failure = error.failure();
        let way_out = |challenge| self.surroundings.sign_in.way_out(&self.identity, challenge);
        let typed = match error {
            RouteError::Token(_) | RouteError::Gateway(GatewayError::Token(_)) => way_out(None),
            RouteError::Arm(error) => error.challenge().and_then(|challenge| way_out(Some(challenge))),
            RouteError::Refused(_) | RouteError::Client(_) | RouteError::Gateway(_) => None,
        };
        failure.reason.hint = typed.or(failure.reason.hint);
        failure
    }

    fn gateway(&self, host: &BastionHost) -> Result<Arc<Gateway>, RouteError> {
        let network = self.surroundings.network.clone();
        let mut books = self.books();
        let (name, limits) = (host.gateway.clone(), books.limits);
        let gateway = if host.is_shared() {
            Gateway::shared(name, host.ports, network, limits)
        } else {
            Gateway::new(name, network, limits)
        };
        let gateway = Arc::new(gateway.map_err(RouteError::Client)?);
        books.gateways.push(Arc::clone(&gateway));
        Ok(gateway)
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a bastion is still reached the same way.
fn same(one: &BastionHost, other: &BastionHost) -> bool {
    one.gateway == other.gateway && one.is_shared() == other.is_shared()
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
        }
    }

    fn scope(&self) -> Scope {
        let whole = match self {
            Self::Token(_) | Self::Arm(_) | Self::Client(_) => true,
            // The other refusals are about a switch for all; these only about such targets.
            Self::Refused(refusal) => !matches!(refusal, Refusal::IpConnect { .. } | Refusal::Shared { .. }),
            Self::Gateway(error) => error.concerns_bastion(),
        };
        if whole { Scope::Bastion } else { Scope::Target }
    }

    fn failure(&self) -> Failure {
        let (code, hint) = match self {
            Self::Token(_) => ("sign-in", None),
            Self::Arm(error) => (error.code(), error.hint()),
            Self::Refused(refusal) => (refusal.code(), refusal.hint()),
            Self::Client(_) => ("network", None),
            Self::Gateway(error) => (error.code(), error.hint().map(str::to_owned)),
        };
        let reason = Reason { code: code.into(), what: chain(self), hint };
        Failure { scope: self.scope(), disposition: self.disposition(), reason }
    }
}
