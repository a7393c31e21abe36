//! The gateway's wire format, pure: what we send, and what the answers mean.
//!
//! None of it is officially documented; docs/protocol.md names the sources. No value that is a secret can be
//! printed from here, and no error repeats a body.

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use crate::model::{Endpoint, GatewayHost, Port, ResourceId, printable};

/// What a session is asked for: a port of something behind a bastion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The bastion, whose subscription and group an IP-based connection is asked in.
    pub bastion: ResourceId,
    /// The machine or address.
    pub endpoint: Endpoint,
    /// The port on it.
    pub port: Port,
}

/// A session as the gateway granted it. The three values belong together and are never mixed with another's.
pub(super) struct Session {
    /// Names the session for its deletion.
    pub(super) auth_token: SecretString,
    /// Opens its WebSocket, once.
    pub(super) websocket_token: SecretString,
    /// The node of the bastion that holds it.
    pub(super) node_id: String,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("node_id", &self.node_id).finish_non_exhaustive()
    }
}

/// Why an answer of status 200 is not a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Not JSON, or not an object with strings.
    #[error("it is not the JSON object that was expected")]
    NotJson,
    /// A value is absent, empty or unusable.
    #[error("`{0}` is missing or unusable")]
    Missing(&'static str),
}

#[derive(Deserialize)]
struct SessionAnswer {
    #[serde(rename = "authToken", default)]
    auth_token: String,
    #[serde(rename = "nodeId", default)]
    node_id: String,
    #[serde(rename = "websocketToken", default)]
    websocket_token: String,
}

#[derive(Deserialize)]
struct ErrorAnswer {
    message: Option<String>,
}

/// The path of the token exchange.
pub(super) const TOKENS_PATH: &str = "/api/tokens";
/// The largest message that is proven safe to send; above 8192 the gateway closes with 1009.
pub(super) const MAX_MESSAGE: usize = 4096;
/// The most local bytes kept for sending again, until the first frame arrives.
pub(super) const MAX_KEPT: usize = 64 * 1024;

/// What may stand unescaped in a path segment or a query value: letters, digits and `-._~` (RFC 3986, unreserved).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// What never stands in a header value.
const HEADER: &AsciiSet = CONTROLS;

/// The form of the token exchange: exactly the fields the gateway knows, the token without `Bearer`.
pub(super) fn exchange_form(destination: &Destination, access_token: &SecretString) -> SecretString {
    let mut form = form_urlencoded::Serializer::new(String::new());
    let (resource, address) = match &destination.endpoint {
        Endpoint::Resource(id) => (id.as_str().to_owned(), None),
        Endpoint::Address(ip) => (pseudo_id(&destination.bastion, *ip), Some(ip.to_string())),
    };
    form.append_pair("resourceId", &resource);
    form.append_pair("protocol", "tcptunnel");
    form.append_pair("workloadHostPort", &destination.port.to_string());
    form.append_pair("aztoken", access_token.expose_secret());
    if let Some(address) = address {
        form.append_pair("hostname", &address);
    }
    form.finish().into()
}

/// An IP-based connection is asked for as if the address were a resource of the bastion's own group.
fn pseudo_id(bastion: &ResourceId, ip: std::net::Ipv4Addr) -> String {
    let (subscription, group) = (bastion.subscription(), bastion.resource_group());
    format!(
        "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Network/bh-hostConnect/{ip}"
    )
}

/// An answer of status 200 that cannot be used.
#[derive(Debug)]
pub(super) struct Unusable {
    /// What is wrong with it.
    pub(super) error: AnswerError,
    /// The session that it granted all the same, where enough of it is there to delete it.
    pub(super) granted: Option<Session>,
}

/// Reads the answer of a token exchange. Unknown keys are ignored.
///
/// # Errors
/// When a value that a session needs is not there.
pub(super) fn read_session(body: &[u8]) -> Result<Session, Unusable> {
    let unusable = |error| Unusable { error, granted: None };
    let answer: SessionAnswer =
        serde_json::from_slice(body).map_err(|_hidden| unusable(AnswerError::NotJson))?;
    let text =
        |value: &str| !value.is_empty() && value.len() <= 4096 && !value.contains(|c: char| c.is_control());
    if !text(&answer.auth_token) {
        return Err(unusable(AnswerError::Missing("authToken")));
    }
    // It becomes a header: nothing but visible ASCII may stand in it.
    if !text(&answer.node_id) || !answer.node_id.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(unusable(AnswerError::Missing("nodeId")));
    }
    let complete = text(&answer.websocket_token);
    let session = Session {
        auth_token: answer.auth_token.into(),
        websocket_token: answer.websocket_token.into(),
        node_id: answer.node_id,
    };
    if complete {
        Ok(session)
    } else {
        Err(Unusable { error: AnswerError::Missing("websocketToken"), granted: Some(session) })
    }
}

/// What the gateway said of a failure: its `message`, or the first words of a text that is not HTML. Safe to print.
pub(super) fn read_message(body: &[u8]) -> Option<String> {
    let text = match serde_json::from_slice::<ErrorAnswer>(body) {
        Ok(answer) => answer.message?,
        Err(_not_json) => std::str::from_utf8(body)
            .ok()
            .filter(|t| !t.trim_start().starts_with(['<', '{', '[']))?
            .to_owned(),
    };
    let text = printable(&text, 300);
    (!text.is_empty()).then_some(text)
}

/// The path and query that open a session's WebSocket; each value is escaped exactly once.
pub(super) fn websocket_path(session: &Session) -> SecretString {
    let token = utf8_percent_encode(session.websocket_token.expose_secret(), ESCAPED);
    let node = utf8_percent_encode(&session.node_id, ESCAPED);
    format!("/webtunnelv2/{token}?X-Node-Id={node}").into()
}

/// The path that deletes a session.
pub(super) fn session_path(session: &Session) -> SecretString {
    format!("{TOKENS_PATH}/{}", utf8_percent_encode(session.auth_token.expose_secret(), ESCAPED)).into()
}

/// The request that upgrades a connection: no extensions, no subprotocol, no cookies, no authorization.
pub(super) fn upgrade_request(
    host: &GatewayHost,
    session: &Session,
    key: &str,
    user_agent: &str,
) -> SecretString {
    let path = websocket_path(session);
    let user_agent = utf8_percent_encode(user_agent, HEADER);
    format!(
        "GET {} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nUser-Agent: {user_agent}\r\n\r\n",
        path.expose_secret()
    )
    .into()
}

/// What the gateway answered to an upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upgrade {
    /// The head is not whole yet.
    Incomplete,
    /// The WebSocket is open; frames begin after this many bytes.
    Open(usize),
    /// It refused with this status.
    Refused(u16),
    /// It agreed, but to something else than we asked.
    WrongAccept,
    /// That is not HTTP.
    NotHttp,
}

/// Reads the head of the answer to an upgrade.
///
/// The status and the accept key are what proves an upgrade. `Upgrade` and `Connection` were seen to be absent
/// and to be lists, and say nothing the accept key does not.
pub(super) fn read_upgrade(head: &[u8], expected_accept: &str) -> Upgrade {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut answer = httparse::Response::new(&mut headers);
    let length = match answer.parse(head) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Upgrade::Incomplete,
        Err(_) => return Upgrade::NotHttp,
    };
    let named = |name: &'static str| answer.headers.iter().filter(move |h| h.name.eq_ignore_ascii_case(name));
    match answer.code {
        Some(101) if named("Sec-WebSocket-Extensions").next().is_some() => Upgrade::WrongAccept,
        Some(101) if named("Sec-WebSocket-Protocol").next().is_some() => Upgrade::WrongAccept,
        Some(101) => {
            let mut accepts = named("Sec-WebSocket-Accept");
            match (accepts.next(), accepts.next()) {
                (Some(accept), None) if accept.value == expected_accept.as_bytes() => Upgrade::Open(length),
                _ => Upgrade::WrongAccept,
            }
        }
        Some(code) => Upgrade::Refused(code),
        None => Upgrade::NotHttp,
    }
}

/// Whether the first bytes where a frame belongs are an HTTP answer instead: a proxy in front agreed to the
/// upgrade, and the node behind it did not. `None`: too few bytes to tell.
pub(super) fn is_http(first: &[u8]) -> Option<bool> {
    const MARK: &[u8] = b"HTTP/1.";
    let seen = first.len().min(MARK.len());
    if first.get(..seen) != MARK.get(..seen) {
        return Some(false);
    }
    (seen == MARK.len()).then_some(true)
}

/// The status of an HTTP answer that stands where a frame belongs.
pub(super) fn status_of(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|b| *b == b'\r').next()?;
    std::str::from_utf8(line).ok()?.split(' ').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests;
