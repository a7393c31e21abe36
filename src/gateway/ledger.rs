//! Every session that was asked for, and its deletion.
//!
//! A token exchange once sent is never abandoned: its task waits for the answer, and deletes the session if
//! nobody wants it any more. A session is deleted when its [`Lease`] ends, whatever ended it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
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
use super::wire::{self, Destination, Session, Unusable};
use crate::carrier::Remains;
use crate::limit::Place;
use crate::model::GatewayHost;
use crate::net::{Http, HttpError};

/// How long a token exchange may take.
const EXCHANGE: Duration = Duration::from_secs(30);
/// How long one deletion may take.
const DELETION: Duration = Duration::from_secs(8);
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
    host: GatewayHost,
    http: Http,
    runtime: Handle,
    tasks: TaskTracker,
    leftovers: Mutex<Vec<Arc<Session>>>,
    /// Exchanges that were sent and not answered yet.
    unanswered: AtomicU64,
    opened: AtomicU64,
    deleted: AtomicU64,
}

/// A session in use. Ending the lease deletes the session.
#[derive(Debug)]
pub(super) struct Lease {
    session: Arc<Session>,
    ledger: Ledger,
    place: Arc<Place>,
    /// Settling waits for it: a session in use is not settled.
    _open: TaskTrackerToken,
}

impl Ledger {
    /// Must be made inside a runtime: deletions run on it.
    pub(super) fn new(host: GatewayHost, http: Http) -> Self {
        Self(Arc::new(Inner {
            host,
            http,
            runtime: Handle::current(),
            tasks: TaskTracker::new(),
            leftovers: Mutex::default(),
            unanswered: AtomicU64::new(0),
            opened: AtomicU64::new(0),
            deleted: AtomicU64::new(0),
        }))
    }

    /// Asks for a session. Cancelling this future does not cancel the exchange, which keeps its places until it is answered.
    pub(super) async fn open(
        &self,
        destination: &Destination,
        token: &SecretString,
        user_agent: &str,
        places: Places,
    ) -> Result<Lease, GatewayError> {
        let request = self.exchange_request(destination, token, user_agent)?;
        let (answer, wanted) = oneshot::channel();
        let ledger = self.clone();
        self.0.unanswered.fetch_add(1, Ordering::Relaxed);
        let exchange = async move {
            let answered = ledger.clone().exchange(request, places.session).await;
            ledger.0.unanswered.fetch_sub(1, Ordering::Relaxed);
            // A lease that nobody takes is dropped right here, and so its session is deleted.
            drop(answer.send(answered));
            drop(places.setup);
        };
        self.0.tasks.spawn_on(exchange, &self.0.runtime);
        // Nobody takes the sender away but a runtime that ends.
        wanted.await.unwrap_or_else(|_ended| Err(self.broken(HttpError::Timeout(EXCHANGE))))
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
            for session in leftovers {
                let ledger = self.clone();
                last_try.spawn(async move { ledger.delete_once(&session).await });
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

    async fn exchange(self, request: Request, place: Arc<Place>) -> Result<Lease, GatewayError> {
        let answer = self.0.http.send(request, EXCHANGE).await.map_err(|error| self.broken(error))?;
        if answer.status != 200 {
            return Err(GatewayError::Refused {
                host: self.0.host.to_string(),
                status: answer.status,
                message: wire::read_message(&answer.body),
                retry_after: answer.retry_after(),
            });
        }
        match wire::read_session(&answer.body) {
            Ok(session) => Ok(self.lease(session, place)),
            Err(Unusable { error, granted }) => {
                let host = self.0.host.to_string();
                // It is of no use to us, but it exists, so it is deleted.
                drop(granted.map(|session| self.lease(session, place)));
                Err(GatewayError::Answer { host, source: error })
            }
        }
    }

    fn lease(self, session: Session, place: Arc<Place>) -> Lease {
        self.0.opened.fetch_add(1, Ordering::Relaxed);
        let open = self.0.tasks.token();
        Lease { session: Arc::new(session), ledger: self, place, _open: open }
    }

    fn exchange_request(
        &self,
        destination: &Destination,
        token: &SecretString,
        user_agent: &str,
    ) -> Result<Request, GatewayError> {
        let mut request = self.request(Method::POST, wire::TOKENS_PATH)?;
        if let Ok(value) = HeaderValue::from_str(user_agent) {
            request.headers_mut().insert(USER_AGENT, value);
        }
        request
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        *request.body_mut() = Some(wire::exchange_form(destination, token).expose_secret().to_owned().into());
        Ok(request)
    }

    fn request(&self, method: Method, path: &str) -> Result<Request, GatewayError> {
        // The host was checked when it was read and the path is escaped, so this cannot fail; if it does, nothing is sent.
        let url = Url::parse(&format!("https://{}{path}", self.0.host));
        Ok(Request::new(method, url.map_err(|_impossible| self.broken(HttpError::TooLong))?))
    }

    fn broken(&self, source: HttpError) -> GatewayError {
        GatewayError::Exchange { host: self.0.host.to_string(), source }
    }

    /// Deletes a session; one failure is retried, a second keeps it for the exit. Either way its place is free then.
    async fn delete(self, session: Arc<Session>, _place: Arc<Place>) {
        for pause in [Some(AGAIN), None] {
            if self.delete_once(&session).await {
                return;
            }
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
        }
        self.0.leftovers.lock().unwrap_or_else(PoisonError::into_inner).push(session);
    }

    async fn delete_once(&self, session: &Session) -> bool {
        let path = wire::session_path(session);
        let Ok(mut request) = self.request(Method::DELETE, path.expose_secret()) else { return false };
        // Checked when it was read: visible ASCII only.
        let Ok(node) = HeaderValue::from_str(&session.node_id) else { return false };
        request.headers_mut().insert("X-Node-Id", node);
        match self.0.http.send(request, DELETION).await {
            // 404: it is gone already.
            Ok(answer) if matches!(answer.status, 200 | 204 | 404) => {
                self.0.deleted.fetch_add(1, Ordering::Relaxed);
                true
            }
            Ok(answer) => {
                tracing::warn!(gateway = %self.0.host, status = answer.status, "the gateway did not delete a session");
                false
            }
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(gateway = %self.0.host, %error, cause, "a session could not be deleted");
                false
            }
        }
    }
}

impl Lease {
    /// The session in use.
    pub(super) fn session(&self) -> &Session {
        &self.session
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let inner = &self.ledger.0;
        let deletion = self.ledger.clone().delete(Arc::clone(&self.session), Arc::clone(&self.place));
        inner.tasks.spawn_on(deletion, &inner.runtime);
    }
}
