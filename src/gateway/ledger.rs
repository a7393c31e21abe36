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
use super::wire::{self, Destination, Session};
use crate::model::GatewayHost;
use crate::net::{Http, HttpError};

/// How long a token exchange may take.
const EXCHANGE: Duration = Duration::from_secs(30);
/// How long one deletion may take.
const DELETION: Duration = Duration::from_secs(8);
/// The pause before a failed deletion is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// The sessions of one gateway.
#[derive(Clone, Debug)]
pub(super) struct Ledger(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    host: GatewayHost,
    http: Http,
    runtime: Handle,
    tasks: TaskTracker,
    leftovers: Mutex<Vec<Session>>,
    opened: AtomicU64,
    deleted: AtomicU64,
}

/// A session in use. Ending the lease deletes the session.
#[derive(Debug)]
pub(super) struct Lease {
    session: Option<Session>,
    ledger: Ledger,
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
            opened: AtomicU64::new(0),
            deleted: AtomicU64::new(0),
        }))
    }

    /// Asks for a session. Cancelling this future does not cancel the exchange.
    pub(super) async fn open(
        &self,
        destination: &Destination,
        token: &SecretString,
        user_agent: &str,
    ) -> Result<Lease, GatewayError> {
        let request = self.exchange_request(destination, token, user_agent)?;
        let (answer, wanted) = oneshot::channel();
        let ledger = self.clone();
        self.0.tasks.spawn_on(
            async move {
                // A lease that nobody takes is dropped right here, and so its session is deleted.
                drop(answer.send(ledger.exchange(request).await));
            },
            &self.0.runtime,
        );
        let lost = |_ended| self.broken(HttpError::Timeout(EXCHANGE));
        wanted.await.map_err(lost)?
    }

    /// Sessions opened and deleted so far.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.0.opened.load(Ordering::Relaxed), self.0.deleted.load(Ordering::Relaxed))
    }

    /// Waits until every exchange is answered, every lease ended and every session deleted, tries failed deletions
    /// once more, and gives up at the deadline. Says how many sessions are left behind in Azure.
    pub(super) async fn settle(&self, deadline: Instant) -> u64 {
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
        opened.saturating_sub(deleted)
    }

    async fn exchange(self, request: Request) -> Result<Lease, GatewayError> {
        let answer = self.0.http.send(request, EXCHANGE).await.map_err(|error| self.broken(error))?;
        if answer.status != 200 {
            return Err(GatewayError::Refused {
                host: self.0.host.to_string(),
                status: answer.status,
                message: wire::read_message(&answer.body),
                retry_after: answer.retry_after(),
            });
        }
        let unusable = |source| GatewayError::Answer { host: self.0.host.to_string(), source };
        let session = wire::read_session(&answer.body).map_err(unusable)?;
        self.0.opened.fetch_add(1, Ordering::Relaxed);
        let open = self.0.tasks.token();
        Ok(Lease { session: Some(session), ledger: self, _open: open })
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

    /// Deletes a session; one failure is retried, a second keeps it for the exit.
    async fn delete(self, session: Session) {
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
    pub(super) fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            let inner = &self.ledger.0;
            inner.tasks.spawn_on(self.ledger.clone().delete(session), &inner.runtime);
        }
    }
}
