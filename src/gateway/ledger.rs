//! Every session that was asked for, and its deletion.
//!
//! A token exchange once sent is never abandoned: its task waits for the answer, and deletes the session if
//! nobody wants it any more. A session is deleted when its [`Lease`] ends, whatever ended it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderValue, USER_AGENT};
use reqwest::{Method, Request, Url};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::error::GatewayError;
use super::remnant::{Journal, Remnant};
use super::wire::{self, Destination, Front, Session, Unusable};
use crate::carrier::Remains;
use crate::limit::Place;
use crate::model::GatewayHost;
use crate::net::{Http, HttpError};

/// How long a token exchange may take.
const EXCHANGE: Duration = Duration::from_secs(30);
/// The pause before a failed deletion is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// What a session needs, shared by who sets up and by the exchange that outlives it.
#[derive(Clone, Debug)]
pub(super) struct Places {
    /// The right to have a session: kept until it is deleted.
    pub(super) session: Arc<Place>,
    /// The right to have a set-up in flight.
    pub(super) setup: Arc<Place>,
}

/// The sessions of one gateway.
#[derive(Clone, Debug)]
pub(super) struct Ledger(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    http: Http,
    runtime: Handle,
    tasks: TaskTracker,
    leftovers: Mutex<Vec<Arc<Granted>>>,
    /// Exchanges that were sent and not answered yet.
    unanswered: AtomicU64,
    opened: AtomicU64,
    deleted: AtomicU64,
    journal: OnceLock<Arc<dyn Journal>>,
}

/// What is asked for, and in whose name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    /// Where to.
    pub(super) destination: &'a Destination,
    /// Who says it is asking.
    pub(super) user_agent: &'a str,
}

/// A session, and the gateway that granted it.
#[derive(Debug)]
struct Granted {
    front: Front,
    session: Session,
    remnant: Remnant,
    /// Its entry in the journal.
    entry: Option<u64>,
}

/// A session in use. Ending the lease deletes the session.
#[derive(Debug)]
pub(super) struct Lease {
    granted: Arc<Granted>,
    ledger: Ledger,
    place: Arc<Place>,
    /// Settling waits for it: a session in use is not settled.
    _open: TaskTrackerToken,
}

impl Ledger {
    /// Must be made inside a runtime: deletions run on it.
    pub(super) fn new(http: Http) -> Self {
        Self(Arc::new(Inner {
            http,
            runtime: Handle::current(),
            tasks: TaskTracker::new(),
            leftovers: Mutex::default(),
            unanswered: AtomicU64::new(0),
            opened: AtomicU64::new(0),
            deleted: AtomicU64::new(0),
            journal: OnceLock::new(),
        }))
    }

    /// Has sessions written down. The first journal stays.
    pub(super) fn keep(&self, journal: Arc<dyn Journal>) {
        let _another = self.0.journal.set(journal);
    }

    /// Asks a gateway for a session. Cancelling this future does not cancel the exchange, which keeps its places until it is answered.
    pub(super) async fn open(
        &self,
        front: &Front,
        asked: &Asked<'_>,
        token: &SecretString,
        places: Places,
    ) -> Result<Lease, GatewayError> {
        let request = exchange_request(front, asked, token)?;
        let front = front.clone();
        let host = front.host.to_string();
        let (answer, wanted) = oneshot::channel();
        let ledger = self.clone();
        self.0.unanswered.fetch_add(1, Ordering::Relaxed);
        let exchange = async move {
            let answered = ledger.clone().exchange(front, request, places.session).await;
            ledger.0.unanswered.fetch_sub(1, Ordering::Relaxed);
            // A lease that nobody takes is dropped right here, and so its session is deleted.
            drop(answer.send(answered));
            drop(places.setup);
        };
        self.0.tasks.spawn_on(exchange, &self.0.runtime);
        // Nobody takes the sender away but a runtime that ends.
        wanted.await.unwrap_or_else(|_ended| {
            Err(GatewayError::Exchange { host, source: HttpError::Timeout(EXCHANGE) })
        })
    }

    /// Sessions opened and deleted so far.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.0.opened.load(Ordering::Relaxed), self.0.deleted.load(Ordering::Relaxed))
    }

    /// Waits until every exchange is answered, every lease ended and every session deleted, tries failed deletions
    /// once more, and gives up at the deadline. Says what is left behind in Azure.
    pub(super) async fn settle(&self, deadline: Instant) -> Remains {
        self.0.tasks.close();
        let in_time = tokio::time::timeout_at(deadline, self.0.tasks.wait()).await.is_ok();
        let leftovers = std::mem::take(&mut *self.0.leftovers.lock().unwrap_or_else(PoisonError::into_inner));
        if in_time && !leftovers.is_empty() {
            let mut last_try = tokio::task::JoinSet::new();
            for granted in leftovers {
                let ledger = self.clone();
                last_try.spawn(async move { ledger.delete_once(&granted).await });
            }
            // At the deadline the set is dropped, and its deletions with it.
            drop(
                tokio::time::timeout_at(deadline, async { while last_try.join_next().await.is_some() {} })
                    .await,
            );
        }
        let (opened, deleted) = self.counts();
        Remains {
            sessions: opened.saturating_sub(deleted),
            requests: self.0.unanswered.load(Ordering::Relaxed),
        }
    }

    async fn exchange(
        self,
        front: Front,
        request: Request,
        place: Arc<Place>,
    ) -> Result<Lease, GatewayError> {
        let host = front.host.to_string();
        let answer = match self.0.http.send(request, EXCHANGE).await {
            Ok(answer) => answer,
            Err(source) => return Err(GatewayError::Exchange { host, source }),
        };
        if answer.status != 200 {
            return Err(GatewayError::Refused {
                host,
                status: answer.status,
                message: wire::read_message(&answer.body),
                retry_after: answer.retry_after(),
            });
        }
        match wire::read_session(&answer.body, front.kind) {
            Ok(session) => Ok(self.lease(front, session, place).await),
            Err(Unusable { error, granted }) => {
                // It is of no use to us, but it exists, so it is deleted.
                if let Some(session) = granted {
                    drop(self.lease(front, session, place).await);
                }
                Err(GatewayError::Answer { host, source: error })
            }
        }
    }

    /// Writes it down before anybody can use it, so that it is deleted even when this process is killed.
    async fn lease(self, front: Front, session: Session, place: Arc<Place>) -> Lease {
        self.0.opened.fetch_add(1, Ordering::Relaxed);
        let remnant = Remnant::of(&front.host, &session);
        let entry = match self.0.journal.get() {
            Some(journal) => Some(journal.granted(&remnant).await),
            None => None,
        };
        let open = self.0.tasks.token();
        Lease {
            granted: Arc::new(Granted { front, session, remnant, entry }),
            ledger: self,
            place,
            _open: open,
        }
    }

    /// Deletes a session; one failure is retried, a second keeps it for the exit. Either way its place is free then.
    async fn delete(self, granted: Arc<Granted>, _place: Arc<Place>) {
        for pause in [Some(AGAIN), None] {
            if self.delete_once(&granted).await {
                return;
            }
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
        }
        self.0.leftovers.lock().unwrap_or_else(PoisonError::into_inner).push(granted);
    }

    async fn delete_once(&self, granted: &Granted) -> bool {
        match granted.remnant.delete(&self.0.http).await {
            Ok(()) => {
                self.0.deleted.fetch_add(1, Ordering::Relaxed);
                if let (Some(journal), Some(entry)) = (self.0.journal.get(), granted.entry) {
                    journal.deleted(entry);
                }
                true
            }
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(gateway = %granted.front.host, %error, cause, "a session could not be deleted");
                false
            }
        }
    }
}

impl Lease {
    /// The session in use.
    pub(super) fn session(&self) -> &Session {
        &self.granted.session
    }

    /// The gateway that granted it, and that alone knows it.
    pub(super) fn front(&self) -> &Front {
        &self.granted.front
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let inner = &self.ledger.0;
        let deletion = self.ledger.clone().delete(Arc::clone(&self.granted), Arc::clone(&self.place));
        inner.tasks.spawn_on(deletion, &inner.runtime);
    }
}

fn exchange_request(front: &Front, asked: &Asked<'_>, token: &SecretString) -> Result<Request, GatewayError> {
    let failed = |source| GatewayError::Exchange { host: front.host.to_string(), source };
    let mut request = request(Method::POST, &front.host, wire::TOKENS_PATH).map_err(failed)?;
    let form = wire::exchange_form(asked.destination, token);
    fill(&mut request, asked.user_agent, "application/x-www-form-urlencoded", &form);
    Ok(request)
}

/// A request to a host that was checked when it was read.
pub(super) fn request(method: Method, host: &GatewayHost, path: &str) -> Result<Request, HttpError> {
    // The path is escaped besides, so this cannot fail; if it does, nothing is sent.
    let url = Url::parse(&format!("https://{host}{path}")).map_err(|error| HttpError::unsendable(&error))?;
    Ok(Request::new(method, url))
}

/// Gives a request its body, and says who asks.
pub(super) fn fill(request: &mut Request, user_agent: &str, kind: &'static str, body: &SecretString) {
    if let Ok(value) = HeaderValue::from_str(user_agent) {
        request.headers_mut().insert(USER_AGENT, value);
    }
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    *request.body_mut() = Some(body.expose_secret().to_owned().into());
}
