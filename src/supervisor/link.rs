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

use super::lookup::{Lookup, Reader};
use super::route_error::RouteError;
use super::warm::Pool;
use super::{Dialer, Surroundings};
use crate::azure::{BastionHost, Challenge};
use crate::carrier::{ByteStream, Carrier, Carrying, OpenOptions, Remains, Usage};
use crate::gateway::{Destination, Gateway, GatewayError, GatewayStream};
use crate::model::{Bastion, Endpoint, Failure, Identity, Limits, Locator, Port, ResourceId};

mod kept;

/// How old an answer of ARM must be before a refusal that follows from it is looked into again.
const REREAD: Duration = Duration::from_secs(50);

/// How old what a target means must be before a refusal has it looked up again.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// How often a gateway or a target that has moved is followed in one go.
const MOVES: u32 = 1;

/// One bastion, and its gateway once ARM has named it.
#[derive(Debug)]
pub(super) struct Link {
    bastion: ResourceId,
    identity: Identity,
    surroundings: Surroundings,
    reader: Reader,
    lookup: Lookup,
    /// Held while ARM is asked, so that it is asked once however many wait.
    resolved: Mutex<Option<Arc<Resolved>>>,
    /// What ARM has answered may have changed since.
    doubted: AtomicBool,
    books: std::sync::Mutex<Books>,
    /// What is kept for the next connections.
    pool: Pool,
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

impl Carrier for Link {
    fn resolve(&self) -> Carrying<'_, Result<(), Failure>> {
        Box::pin(async {
            match self.read(Some(Duration::ZERO)).await {
                Ok(_resolved) => Ok(()),
                Err(error) => Err(self.told(error).await),
            }
        })
    }

    fn probe<'a>(
        &'a self,
        target: &'a Locator,
        port: Port,
        options: &'a OpenOptions,
    ) -> Carrying<'a, Result<(), Failure>> {
        Box::pin(async move {
            let mut moves = MOVES;
            loop {
                let (resolved, destination) = self.destination(target, port).await?;
                let tokens = &*self.reader.tokens;
                self.give_way();
                let error = match resolved.gateway.probe(&destination, tokens, options).await {
                    Ok(()) => return Ok(()),
                    Err(error) => error,
                };
                if !self.has_moved(&error, &resolved, (target, &destination), &mut moves).await {
                    return Err(self.explained(error, &resolved.host, &destination).await);
                }
            }
        })
    }

    fn open<'a>(
        &'a self,
        target: &'a Locator,
        port: Port,
        options: &'a OpenOptions,
    ) -> Carrying<'a, Result<Box<dyn ByteStream>, Failure>> {
        Box::pin(async move {
            if let Some(stream) = self.resumed(target, port, options).await {
                return Ok(stream);
            }
            let stream = self.stream(target, port, options).await?;
            Ok(Box::new(stream) as Box<dyn ByteStream>)
        })
    }

    fn warm<'a>(
        &'a self,
        target: &'a Locator,
        port: Port,
        options: &'a OpenOptions,
        wanted: usize,
    ) -> Carrying<'a, Option<Instant>> {
        Box::pin(self.keep(target, port, options, wanted))
    }

    fn cool(&self, target: &Locator, port: Port) {
        self.pool.forget(&(target.clone(), port));
    }

    fn doubt(&self) {
        self.doubted.store(true, Ordering::Relaxed);
        self.lookup.forget();
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
        self.pool.clear();
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
        let tokens = surroundings.sign_in.tokens(&bastion.identity);
        let reader = Reader::new(surroundings.arm.clone(), tokens);
        Self {
            bastion: bastion.id.clone(),
            identity: bastion.identity.clone(),
            surroundings,
            reader,
            lookup: Lookup::new(),
            resolved: Mutex::new(None),
            doubted: AtomicBool::new(false),
            books: books.into(),
            pool: Pool::default(),
        }
    }

    async fn stream(
        &self,
        target: &Locator,
        port: Port,
        options: &OpenOptions,
    ) -> Result<GatewayStream<TlsStream<TcpStream>>, Failure> {
        let mut moves = MOVES;
        loop {
            let (resolved, destination) = self.destination(target, port).await?;
            self.give_way();
            let error = match resolved.gateway.open(&destination, &*self.reader.tokens, options).await {
                Ok(stream) => return Ok(stream),
                Err(error) => error,
            };
            if !self.has_moved(&error, &resolved, (target, &destination), &mut moves).await {
                return Err(self.explained(error, &resolved.host, &destination).await);
            }
        }
    }

    async fn destination(
        &self,
        target: &Locator,
        port: Port,
    ) -> Result<(Arc<Resolved>, Destination), Failure> {
        let found = async {
            let mut resolved = self.read(None).await?;
            let endpoint = self.lookup.endpoint(target, None, &self.reader).await?;
            if resolved.host.admits(&endpoint, port).is_err() {
                resolved = self.read(Some(self.stale())).await?;
            }
            resolved.host.admits(&endpoint, port).map_err(RouteError::Refused)?;
            self.warn_of(&endpoint, port);
            Ok((resolved, Destination { bastion: self.bastion.clone(), endpoint, port }))
        };
        match found.await {
            Ok(found) => Ok(found),
            Err(error) => Err(self.told(error).await),
        }
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

    /// Whether it is worth asking again, elsewhere. A gateway that cannot be reached, or is not the bastion's any more,
    /// may have moved: a bastion that was made anew has another host. So may what a target means.
    async fn has_moved(
        &self,
        error: &GatewayError,
        asked: &Resolved,
        (target, destination): (&Locator, &Destination),
        moves: &mut u32,
    ) -> bool {
        let stale = match error {
            GatewayError::Exchange { .. } | GatewayError::Dial { .. } | GatewayError::Broker(_) => REREAD,
            GatewayError::Refused { status: 421, .. } => Duration::ZERO,
            GatewayError::Refused { .. } | GatewayError::Answer { .. } => self.stale(),
            GatewayError::Token(_) | GatewayError::Upgrade { .. } => return false,
        };
        // What ARM says now is for the next try; this one has failed either way.
        let mut moved = self.read(Some(stale)).await.is_ok_and(|now| !same(&now.host, &asked.host));
        if !moved && !error.concerns_bastion() {
            let now = self.lookup.endpoint(target, Some(LOOK_AGAIN), &self.reader).await;
            moved = now.is_ok_and(|now| now != destination.endpoint);
        }
        if !moved || *moves == 0 {
            return false;
        }
        *moves -= 1;
        true
    }

    /// What a failure before the gateway is asked is to those who wait, with what there is in place of what is not found.
    async fn told(&self, error: RouteError) -> Failure {
        let mut failure = self.failure(&error);
        if let RouteError::Arm(error) = &error
            && error.status() == Some(404)
            && *error.subject().id() == self.bastion
        {
            let hint = self.lookup.beside(&self.bastion, &self.reader).await;
            failure.reason.hint = hint.or(failure.reason.hint);
        }
        failure
    }

    /// What a gateway's failure is to those who wait, with what Resource Manager knows about the machine.
    async fn explained(&self, error: GatewayError, host: &BastionHost, destination: &Destination) -> Failure {
        let about = match (&error, &destination.endpoint) {
            (GatewayError::Refused { status, .. }, Endpoint::Resource(id)) if !error.concerns_bastion() => {
                Some((*status, id))
            }
            _ => None,
        };
        let finding = match about {
            Some((_, machine)) => self.lookup.finding(machine, &self.reader).await,
            None => None,
        };
        let unreached = matches!(error, GatewayError::Exchange { .. } | GatewayError::Dial { .. });
        let mut failure = self.failure(&RouteError::Gateway(error));
        if unreached && host.private_only && failure.reason.hint.is_none() {
            failure.reason.hint = Some(format!(
                "the bastion `{}` is private-only: it is reached from its own virtual network, or one that is connected to it (VPN, ExpressRoute, peering)",
                host.name
            ));
        }
        if let (Some(finding), Some((status, machine))) = (finding, about) {
            finding.add_to(&mut failure.reason, status, machine);
        }
        failure
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
        let id = &self.bastion;
        let host =
            self.reader.ask(|arm, token| Box::pin(async move { arm.bastion(id, &token).await })).await?;
        let gateway = match slot.take() {
            Some(old) if same(&old.host, &host) => Arc::clone(&old.gateway),
            _ => self.gateway(&host)?,
        };
        let resolved = Arc::new(Resolved { host, gateway, read: Instant::now() });
        self.books().sku = Some(resolved.host.sku.clone());
        *slot = Some(Arc::clone(&resolved));
        Ok(resolved)
    }

    /// What a failure is to those who wait, with what to type where only a person can mend it.
    fn failure(&self, error: &RouteError) -> Failure {
        let mut failure = error.failure();
        let way_out = |challenge| self.surroundings.sign_in.way_out(&self.identity, challenge);
        let typed = match error {
            RouteError::Arm(error) => error.challenge().and_then(way_out),
            // A gateway says no more of a token than that it does not take it.
            RouteError::Gateway(GatewayError::Refused { status: 401, .. }) => way_out(&Challenge::default()),
            RouteError::Token(_)
            | RouteError::NoMachine(_)
            | RouteError::Refused(_)
            | RouteError::Client(_)
            | RouteError::Gateway(_) => None,
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
        let mut gateway = gateway.map_err(RouteError::Client)?;
        if let Some(journal) = &self.surroundings.journal {
            gateway = gateway.with_journal(Arc::clone(journal));
        }
        let gateway = Arc::new(gateway);
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
