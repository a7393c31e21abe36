//! One bastion's data plane: sessions, their WebSockets, their deletion.
//!
//! A [`Gateway`] turns a destination and an access token into a byte stream. Each stream has a session of its own.
//! Where the token may go was decided by who made the [`GatewayHost`]; here it goes there and nowhere else, but for what a
//! broker names that stands there (Developer bastions), by the same rules.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::carrier::{OpenOptions, Remains};
use crate::limit::Limit;
use crate::model::{GatewayHost, Limits, PortRule, Wait};
use crate::net::{HttpError, Network};

mod boundary;
mod broker;
mod error;
mod home;
mod keepalive;
mod ledger;
mod meaning;
mod refusal;
mod remnant;
mod stream;
mod tap;
mod wire;

use broker::Broker;
pub use broker::BrokerError;
pub use error::{GatewayError, TokenError, UpgradeError};
use home::{Found, Home};
use ledger::{Asked, Lease, Ledger, Places};
pub use remnant::{Journal, NotDeleted, Remnant, RemnantError, sweep};

pub use stream::GatewayStream;
use wire::Front;
pub use wire::{AnswerError, Destination, PodError};

/// A session that nobody uses yet. It is deleted when this is dropped.
#[derive(Debug)]
pub struct Prepared(Lease);

/// How long the connection and the upgrade may take, each.
const DIAL: Duration = Duration::from_secs(20);
/// The longest head of an answer to an upgrade.
const MAX_HEAD: usize = 16 * 1024;

/// Where access tokens come from: the small thing a gateway needs of a credential.
pub trait AccessTokens: Send + Sync {
    /// A token for Azure Resource Manager. With `fresh`, one that was not handed out before.
    fn token(
        &self,
        fresh: bool,
    ) -> Pin<Box<dyn Future<Output = Result<SecretString, TokenError>> + Send + '_>>;
}

/// The data plane of one bastion.
#[derive(Debug)]
pub struct Gateway {
    home: Home,
    network: Network,
    ledger: Ledger,
    setups: Limit,
    in_use: Limit,
}

impl Gateway {
    /// A gateway that ARM named. Must be made inside a runtime.
    ///
    /// # Errors
    /// When no HTTP client can be made by the network's rules.
    pub fn new(host: GatewayHost, network: Network, limits: Limits) -> Result<Self, HttpError> {
        let ledger = Ledger::new(network.http()?);
        Ok(Self::of(Home::Own(host), network, ledger, limits))
    }

    /// The data pods of a Developer bastion, each named by the broker that ARM named. `ports`: whether what the broker
    /// answers may have a port. Must be made inside a runtime.
    ///
    /// # Errors
    /// When no HTTP client can be made by the network's rules.
    pub fn shared(
        broker: GatewayHost,
        ports: PortRule,
        network: Network,
        limits: Limits,
    ) -> Result<Self, HttpError> {
        let http = network.http()?;
        let ledger = Ledger::new(http.clone());
        Ok(Self::of(Home::Shared(Broker::new(broker, ports, http)), network, ledger, limits))
    }

    fn of(home: Home, network: Network, ledger: Ledger, limits: Limits) -> Self {
        let (setups, in_use) = (Limit::new(limits.setups), Limit::new(limits.sessions));
        Self { home, network, ledger, setups, in_use }
    }

    /// Has every session written down before it is used. Call it before the first is opened.
    #[must_use]
    pub fn with_journal(self, journal: Arc<dyn Journal>) -> Self {
        self.ledger.keep(journal);
        self
    }

    /// Changes how much is used at once. What is open stays; who waits goes on where there is room now.
    pub fn set_limits(&self, limits: Limits) {
        self.setups.set(limits.setups);
        self.in_use.set(limits.sessions);
    }

    /// Opens a stream to a destination: token exchange, WebSocket. Waits its turn, first for one of the sessions that
    /// may be open at once, then for one of the set-ups that may be in flight.
    ///
    /// Cancelling it closes what was opened and deletes the session.
    ///
    /// # Errors
    /// Says which step failed; the error knows whether another try makes sense.
    pub async fn open(
        &self,
        destination: &Destination,
        tokens: &dyn AccessTokens,
        options: &OpenOptions,
    ) -> Result<GatewayStream<TlsStream<TcpStream>>, GatewayError> {
        let places = self.places(options).await?;
        let asked = Asked { destination, user_agent: &options.user_agent };
        let lease = self.session(&asked, tokens, &places).await?;
        let upgraded = self.upgrade(&lease, &options.user_agent).await;
        let (connection, early) = upgraded.inspect_err(|_| self.home.forget(&asked, lease.front()))?;
        Ok(GatewayStream::new(connection, early, options.keepalive, Some(lease)).await)
    }

    /// Asks for a session that is to be used later, if there is room for one that nobody waits for.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn prepare(
        &self,
        destination: &Destination,
        tokens: &dyn AccessTokens,
        options: &OpenOptions,
    ) -> Result<Option<Prepared>, GatewayError> {
        let (Some(session), Some(setup)) = (self.in_use.try_take(), self.setups.try_take()) else {
            return Ok(None);
        };
        let places = Places { session: Arc::new(session), setup: Arc::new(setup) };
        let asked = Asked { destination, user_agent: &options.user_agent };
        self.session(&asked, tokens, &places).await.map(|lease| Some(Prepared(lease)))
    }

    /// Opens a stream with a session that was granted before.
    ///
    /// # Errors
    /// When there is no WebSocket for it any more.
    pub async fn resume(
        &self,
        prepared: Prepared,
        options: &OpenOptions,
    ) -> Result<GatewayStream<TlsStream<TcpStream>>, GatewayError> {
        let Prepared(lease) = prepared;
        let _setup = self.setups.take().await.map_err(|_| self.closed())?;
        let (connection, early) = self.upgrade(&lease, &options.user_agent).await?;
        Ok(GatewayStream::new(connection, early, options.keepalive, Some(lease)).await)
    }

    /// Proves that a session would be granted, and deletes it at once.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn probe(
        &self,
        destination: &Destination,
        tokens: &dyn AccessTokens,
        options: &OpenOptions,
    ) -> Result<(), GatewayError> {
        let places = self.places(options).await?;
        let asked = Asked { destination, user_agent: &options.user_agent };
        drop(self.session(&asked, tokens, &places).await?);
        Ok(())
    }

    /// Waits until every session is deleted, at most until the deadline. Says what is left behind.
    pub async fn settle(&self, deadline: Instant) -> Remains {
        self.ledger.settle(deadline).await
    }

    /// Sessions opened and deleted so far.
    pub fn sessions(&self) -> (u64, u64) {
        self.ledger.counts()
    }

    /// Sessions that are open, being opened or being deleted.
    pub fn counts(&self) -> usize {
        self.in_use.taken()
    }

    /// Waits for a place among the sessions, then for one among the set-ups in flight.
    async fn places(&self, options: &OpenOptions) -> Result<Places, GatewayError> {
        let closed = |_| self.closed();
        let tell = |wait| {
            if let Some(waiting) = &options.waiting {
                waiting.send_replace(wait);
            }
        };
        tell(Wait::Sessions);
        let session = self.in_use.take().await.map_err(closed)?;
        tell(Wait::SetUp);
        let setup = self.setups.take().await.map_err(closed)?;
        Ok(Places { session: Arc::new(session), setup: Arc::new(setup) })
    }

    /// Never said: nobody closes a limit.
    fn closed(&self) -> GatewayError {
        GatewayError::Exchange { host: self.home.host().to_string(), source: HttpError::Timeout(DIAL) }
    }

    /// A session of its own. Where the gateway was named earlier and fails as one that has moved since, its successor
    /// is asked.
    async fn session(
        &self,
        asked: &Asked<'_>,
        tokens: &dyn AccessTokens,
        places: &Places,
    ) -> Result<Lease, GatewayError> {
        let Found { front, known } = self.home.front(asked, tokens).await?;
        match self.granted(&front, asked, tokens, places).await {
            Err(error) if error.may_have_moved() => {
                self.home.forget(asked, &front);
                if !known {
                    return Err(error);
                }
                let now = self.home.front(asked, tokens).await?.front;
                if now == front { Err(error) } else { self.granted(&now, asked, tokens, places).await }
            }
            answer => answer,
        }
    }

    /// A session of a gateway, with one more try under a fresh token when the first is not believed.
    async fn granted(
        &self,
        front: &Front,
        asked: &Asked<'_>,
        tokens: &dyn AccessTokens,
        places: &Places,
    ) -> Result<Lease, GatewayError> {
        let token = tokens.token(false).await.map_err(GatewayError::Token)?;
        match self.ledger.open(front, asked, &token, places.clone()).await {
            Err(error) if error.is_unauthorized() => {
                let token = tokens.token(true).await.map_err(GatewayError::Token)?;
                self.ledger.open(front, asked, &token, places.clone()).await
            }
            answer => answer,
        }
    }

    async fn upgrade(
        &self,
        lease: &Lease,
        user_agent: &str,
    ) -> Result<(TlsStream<TcpStream>, Vec<u8>), GatewayError> {
        let front = lease.front();
        let host = || front.host.to_string();
        let dial = self.network.connect_tls(front.host.name(), front.host.port(), DIAL);
        let mut connection = dial.await.map_err(|source| GatewayError::Dial { host: host(), source })?;
        let failed = |source| GatewayError::Upgrade { host: host(), source };
        let key = generate_key();
        let request = wire::upgrade_request(front, lease.session(), &key, user_agent);
        let accept = derive_accept_key(key.as_bytes());
        let exchange = read_upgrade(&mut connection, &request, &accept);
        let early = tokio::time::timeout(DIAL, exchange)
            .await
            .unwrap_or(Err(UpgradeError::Timeout(DIAL.as_secs())))
            .map_err(failed)?;
        Ok((connection, early))
    }
}

/// Sends the upgrade and reads the head of its answer. What came behind the head is returned.
async fn read_upgrade<S: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut S,
    request: &SecretString,
    accept: &str,
) -> Result<Vec<u8>, UpgradeError> {
    connection.write_all(request.expose_secret().as_bytes()).await.map_err(UpgradeError::Broken)?;
    connection.flush().await.map_err(UpgradeError::Broken)?;
    let mut head = Vec::with_capacity(1024);
    loop {
        if connection.read_buf(&mut head).await.map_err(UpgradeError::Broken)? == 0 {
            return Err(UpgradeError::Broken(std::io::ErrorKind::UnexpectedEof.into()));
        }
        match wire::read_upgrade(&head, accept) {
            wire::Upgrade::Open(length) => return Ok(head.split_off(length)),
            wire::Upgrade::Incomplete if head.len() < MAX_HEAD => {}
            wire::Upgrade::Incomplete | wire::Upgrade::NotHttp => return Err(UpgradeError::NotHttp),
            wire::Upgrade::Refused(status) => return Err(UpgradeError::Refused(status)),
            wire::Upgrade::WrongAccept => return Err(UpgradeError::WrongAccept),
        }
    }
}
