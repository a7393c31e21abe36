//! What a session leaves behind for its deletion, in this process or in one after it.
//!
//! A deletion needs no access token and carries none. It goes to the gateway that granted the session; one that was
//! written down elsewhere is checked again as if Resource Manager had just named it.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use reqwest::Method;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::{Instant, timeout_at};

use super::ledger::request;
use super::wire::{self, Session};
use crate::model::{GatewayHost, HostError, PortRule};
use crate::net::{Http, HttpError};

/// How long one deletion may take.
const DELETION: Duration = Duration::from_secs(8);
/// How many are deleted at once.
const AT_ONCE: usize = 32;

/// Where sessions are written down. What is written stays when this process is killed.
pub trait Journal: fmt::Debug + Send + Sync {
    /// Writes a session down, before it is used. Gives the number of its entry.
    fn granted<'a>(&'a self, remnant: &'a Remnant) -> Pin<Box<dyn Future<Output = u64> + Send + 'a>>;

    /// Takes it out: it is deleted.
    fn deleted(&self, entry: u64);
}

/// All that the deletion of a session needs.
#[derive(Clone)]
pub struct Remnant {
    host: GatewayHost,
    node_id: Option<String>,
    auth_token: SecretString,
}

/// Why what was written down is no session that could be deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RemnantError {
    /// It would be asked of somebody who is no gateway.
    #[error("its gateway is not one: {0}")]
    Host(#[source] HostError),
    /// The node or the token is none.
    #[error("its `{0}` is not one")]
    Unusable(&'static str),
}

/// Why a session is not deleted.
#[derive(Debug, thiserror::Error)]
pub enum NotDeleted {
    /// The gateway said something else.
    #[error("the gateway answered HTTP {0}")]
    Refused(u16),
    /// It was not asked, or did not answer.
    #[error("asking the gateway")]
    Http(#[source] HttpError),
    /// Time is up.
    #[error("there was no time left")]
    Late,
}

impl fmt::Debug for Remnant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, node_id, auth_token: _ } = self;
        f.debug_struct("Remnant").field("host", host).field("node_id", node_id).finish_non_exhaustive()
    }
}

impl Remnant {
    pub(super) fn of(host: &GatewayHost, session: &Session) -> Self {
        let Session { auth_token, node_id, websocket_token: _ } = session;
        Self { host: host.clone(), node_id: node_id.clone(), auth_token: auth_token.clone() }
    }

    /// Reads what was written down, as strictly as if it came from the network. `ports`: whether a gateway of that cloud
    /// may have a port.
    ///
    /// # Errors
    /// Says what about it is unfit.
    pub fn parse(
        host: &str,
        ports: PortRule,
        node_id: Option<&str>,
        auth_token: &SecretString,
    ) -> Result<Self, RemnantError> {
        let host = GatewayHost::parse(host, ports).map_err(RemnantError::Host)?;
        if !wire::is_token(auth_token.expose_secret()) {
            return Err(RemnantError::Unusable("authToken"));
        }
        if !node_id.is_none_or(wire::is_node) {
            return Err(RemnantError::Unusable("nodeId"));
        }
        Ok(Self { host, node_id: node_id.map(str::to_owned), auth_token: auth_token.clone() })
    }

    /// The gateway that granted it, and that alone knows it.
    pub fn host(&self) -> &GatewayHost {
        &self.host
    }

    /// The node that holds it.
    pub fn node_id(&self) -> Option<&str> {
        self.node_id.as_deref()
    }

    /// Names it for its deletion.
    pub fn auth_token(&self) -> &SecretString {
        &self.auth_token
    }

    pub(super) async fn delete(&self, http: &Http) -> Result<(), NotDeleted> {
        let path = wire::session_path(&self.auth_token);
        let mut request =
            request(Method::DELETE, &self.host, path.expose_secret()).map_err(NotDeleted::Http)?;
        if let Some(node) = &self.node_id {
            // Checked when it was read: visible ASCII only.
            let node = HeaderValue::from_str(node)
                .map_err(|error| NotDeleted::Http(HttpError::unsendable(&error)))?;
            request.headers_mut().insert("X-Node-Id", node);
        }
        match http.send(request, DELETION).await {
            // 404: it is gone already.
            Ok(answer) if matches!(answer.status, 200 | 204 | 404) => Ok(()),
            Ok(answer) => Err(NotDeleted::Refused(answer.status)),
            Err(error) => Err(NotDeleted::Http(error)),
        }
    }
}

/// Deletes what another process has left, many at once, until the deadline. What became of each is told by its number,
/// as soon as it is known.
pub async fn sweep(
    http: &Http,
    remnants: impl IntoIterator<Item = (u64, Remnant)>,
    deadline: Instant,
    mut told: impl FnMut(u64, Result<(), NotDeleted>),
) {
    let deletions = remnants.into_iter().map(|(number, remnant)| async move {
        let deleted = timeout_at(deadline, remnant.delete(http)).await;
        (number, deleted.unwrap_or(Err(NotDeleted::Late)))
    });
    let mut deletions = stream::iter(deletions).buffer_unordered(AT_ONCE);
    while let Some((number, deleted)) = deletions.next().await {
        told(number, deleted);
    }
}
