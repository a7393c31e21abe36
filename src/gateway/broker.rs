//! The broker of a region: it says on which data pod a Developer bastion serves a port of a machine.
//!
//! What it answers is good for that target and port, and kept as long as it works. However many wait for an answer, the
//! question is under way once, and all of them get what it brings, a failure too.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::Method;
use secrecy::SecretString;

use super::AccessTokens;
use super::error::GatewayError;
use super::ledger::{Asked, fill, request};
use super::wire;
use crate::model::{Endpoint, GatewayHost, Port, PortRule};
use crate::net::{Http, HttpError};

mod error;

pub use error::BrokerError;

/// How long a question may take.
const QUESTION: Duration = Duration::from_secs(30);

/// A broker, and what it has said.
#[derive(Debug)]
pub(super) struct Broker {
    host: GatewayHost,
    ports: PortRule,
    http: Http,
    slots: Mutex<BTreeMap<(Endpoint, Port), Arc<Slot>>>,
    /// Whether it was said that several machines are more than a Developer bastion serves.
    warned: AtomicBool,
}

/// What is known of one target and port.
#[derive(Debug, Default)]
struct Slot {
    pod: Mutex<Option<GatewayHost>>,
    /// How many questions were answered, whatever with.
    answered: AtomicU64,
    /// Held while the broker is asked; why the last question brought nothing.
    asking: tokio::sync::Mutex<Option<Arc<BrokerError>>>,
}

/// A pod as the broker named it.
#[derive(Debug)]
pub(super) struct Pod {
    pub(super) host: GatewayHost,
    /// Whether that was before it was needed this time, so that it may have moved since.
    pub(super) known: bool,
}

impl Broker {
    /// The broker that ARM named. `ports`: whether its answers may have a port.
    pub(super) fn new(host: GatewayHost, ports: PortRule, http: Http) -> Self {
        Self { host, ports, http, slots: Mutex::default(), warned: AtomicBool::new(false) }
    }

    /// The broker's own host.
    pub(super) fn host(&self) -> &GatewayHost {
        &self.host
    }

    /// The pod for a destination: as it is known, or as the broker says now. Cancelling it leaves nothing behind.
    pub(super) async fn pod(
        &self,
        asked: &Asked<'_>,
        tokens: &dyn AccessTokens,
    ) -> Result<Pod, GatewayError> {
        let slot = self.slot(asked);
        let before = slot.answered.load(Ordering::Acquire);
        if let Some(host) = slot.pod().clone() {
            return Ok(Pod { host, known: true });
        }
        let mut failure = slot.asking.lock().await;
        // Somebody else has asked meanwhile.
        if let Some(host) = slot.pod().clone() {
            return Ok(Pod { host, known: false });
        }
        if slot.answered.load(Ordering::Acquire) != before
            && let Some(failure) = &*failure
        {
            return Err(GatewayError::Broker(Arc::clone(failure)));
        }
        let answer = self.ask(asked, tokens).await;
        slot.answered.fetch_add(1, Ordering::Release);
        *failure = match &answer {
            Err(GatewayError::Broker(error)) => Some(Arc::clone(error)),
            _ => None,
        };
        let host = answer?;
        *slot.pod() = Some(host.clone());
        Ok(Pod { host, known: false })
    }

    /// A pod did not work for a destination: next time the broker is asked.
    pub(super) fn forget(&self, asked: &Asked<'_>, pod: &GatewayHost) {
        let slot = self.slot(asked);
        slot.pod().take_if(|known| known == pod);
    }

    fn slot(&self, asked: &Asked<'_>) -> Arc<Slot> {
        let endpoint = &asked.destination.endpoint;
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((other, _)) = slots.keys().find(|(other, _)| other != endpoint)
            && !self.warned.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                broker = %self.host, code = "developer-one-machine",
                "a Developer bastion serves one machine at a time: `{other}` and `{endpoint}` may shut each other out"
            );
        }
        Arc::clone(slots.entry((endpoint.clone(), asked.destination.port)).or_default())
    }

    /// Asks, with one more try under a fresh token when the first is not believed.
    async fn ask(&self, asked: &Asked<'_>, tokens: &dyn AccessTokens) -> Result<GatewayHost, GatewayError> {
        let token = tokens.token(false).await.map_err(GatewayError::Token)?;
        let answer = match self.ask_with(asked, &token).await {
            Err(BrokerError::Refused { status: 401, .. }) => {
                let token = tokens.token(true).await.map_err(GatewayError::Token)?;
                self.ask_with(asked, &token).await
            }
            answer => answer,
        };
        answer.map_err(|error| GatewayError::Broker(Arc::new(error)))
    }

    async fn ask_with(&self, asked: &Asked<'_>, token: &SecretString) -> Result<GatewayHost, BrokerError> {
        let host = || self.host.to_string();
        let target = || format!("{}:{}", asked.destination.endpoint, asked.destination.port);
        let failed = |source: HttpError| BrokerError::Question { host: host(), target: target(), source };
        let mut request = request(Method::POST, &self.host, wire::CONNECTION_PATH).map_err(failed)?;
        let question = wire::pod_question(asked.destination, token);
        fill(&mut request, asked.user_agent, "application/json", &question);
        let answer = self.http.send(request, QUESTION).await.map_err(failed)?;
        if answer.status != 200 {
            return Err(BrokerError::Refused {
                host: host(),
                target: target(),
                status: answer.status,
                message: wire::read_message(&answer.body)
                    .map(|text| wire::first_words(text.as_bytes(), token)),
                retry_after: answer.retry_after(),
            });
        }
        wire::read_pod(&answer.body, self.ports).map_err(|source| BrokerError::Answer {
            host: host(),
            target: target(),
            said: wire::first_words(&answer.body, token),
            source,
        })
    }
}

impl Slot {
    fn pod(&self) -> MutexGuard<'_, Option<GatewayHost>> {
        self.pod.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
