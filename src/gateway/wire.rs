//! The gateway's wire format, pure: what we send, and what the answers mean.
//!
//! None of it is officially documented; docs/protocol.md names the sources. No value that is a secret can be
//! printed from here, and no error repeats a body.

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use crate::model::{Endpoint, GatewayHost, HostError, Port, PortRule, ResourceId, printable};

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

/// The two kinds of gateway, and all that differs between them on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A bastion's own. Every session lives on a node, which is named wherever the session is.
    Own,
    /// A data pod of a region, shared by Developer bastions: another path, and perhaps no nodes.
    Pod,
}

/// Where a gateway is, and which kind it is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Front {
    /// Its host.
    pub(super) host: GatewayHost,
    /// Its kind.
    pub(super) kind: Kind,
}

/// A session as the gateway granted it. The three values belong together and are never mixed with another's.
pub(super) struct Session {
    /// Names the session for its deletion.
    pub(super) auth_token: SecretString,
    /// Opens its WebSocket, once.
    pub(super) websocket_token: SecretString,
    /// The node of the bastion that holds it; always there on a bastion's own gateway.
    pub(super) node_id: Option<String>,
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
    node_id: Option<String>,
    #[serde(rename = "websocketToken", default)]
    websocket_token: String,
}

/// The question for a data pod.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PodQuestion<'a> {
    resource_id: &'a str,
    bastion_resource_id: &'a str,
    vm_port: u16,
    az_token: &'a str,
    connection_type: &'static str,
}

#[derive(Deserialize)]
struct ErrorAnswer {
    message: Option<String>,
}

/// The path of the token exchange.
pub(super) const TOKENS_PATH: &str = "/api/tokens";
/// The path of a broker's question.
pub(super) const CONNECTION_PATH: &str = "/api/connection";
/// The longest answer of a broker that is looked at: a DNS name has 253 characters.
const MAX_POD: usize = 300;
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
    form.append_pair("resourceId", &resource_id(destination));
    form.append_pair("protocol", "tcptunnel");
    form.append_pair("workloadHostPort", &destination.port.to_string());
    form.append_pair("aztoken", access_token.expose_secret());
    if let Endpoint::Address(ip) = &destination.endpoint {
        form.append_pair("hostname", &ip.to_string());
    }
    form.finish().into()
}

/// The question for the data pod that leads to a destination, in JSON.
pub(super) fn pod_question(destination: &Destination, access_token: &SecretString) -> SecretString {
    let question = PodQuestion {
        resource_id: &resource_id(destination),
        bastion_resource_id: destination.bastion.as_str(),
        vm_port: destination.port.get(),
        az_token: access_token.expose_secret(),
        connection_type: "nativeclient",
    };
    // Texts and a number: there is nothing in it that JSON could not say.
    serde_json::to_string(&question).unwrap_or_default().into()
}

/// Why a broker's answer of status 200 names no data pod.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PodError {
    /// Nothing but blanks.
    #[error("it is empty")]
    Empty,
    /// Longer than any name.
    #[error("it is longer than any host name ({0} bytes)")]
    TooLong(usize),
    /// Not a host that a token may be sent to.
    #[error(transparent)]
    Host(HostError),
}

/// Reads a broker's answer: a bare DNS name as text, perhaps with blanks around it. A token goes there, so the rules are
/// those for what ARM answers.
///
/// # Errors
/// Says what makes it unfit to receive a token.
pub(super) fn read_pod(body: &[u8], ports: PortRule) -> Result<GatewayHost, PodError> {
    let body = body.trim_ascii();
    if body.is_empty() {
        return Err(PodError::Empty);
    }
    if body.len() > MAX_POD {
        return Err(PodError::TooLong(body.len()));
    }
    let text = std::str::from_utf8(body).map_err(|_no_text| PodError::Host(HostError::NotADnsName))?;
    GatewayHost::parse(text, ports).map_err(PodError::Host)
}

/// The first words of a broker's answer, made safe to print, and without any part of the token that it was asked with.
pub(super) fn first_words(body: &[u8], access_token: &SecretString) -> String {
    let text = String::from_utf8_lossy(body.get(..4096).unwrap_or(body));
    let mut words = String::new();
    for word in text.split_inclusive(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))) {
        let bare =
            word.trim_end_matches(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')));
        if bare.len() >= 12 && access_token.expose_secret().contains(bare) {
            words.push('\u{2026}');
            words.push_str(word.get(bare.len()..).unwrap_or_default());
        } else {
            words.push_str(word);
        }
    }
    printable(&words, 80)
}

fn resource_id(destination: &Destination) -> String {
    match &destination.endpoint {
        Endpoint::Resource(id) => id.as_str().to_owned(),
        Endpoint::Address(ip) => pseudo_id(&destination.bastion, *ip),
    }
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
pub(super) fn read_session(body: &[u8], kind: Kind) -> Result<Session, Unusable> {
    let unusable = |error| Unusable { error, granted: None };
    let answer: SessionAnswer =
        serde_json::from_slice(body).map_err(|_hidden| unusable(AnswerError::NotJson))?;
    if !is_token(&answer.auth_token) {
        return Err(unusable(AnswerError::Missing("authToken")));
    }
    let node_id = answer.node_id.filter(|node| !node.is_empty());
    if !node_id.as_deref().map_or(kind == Kind::Pod, is_node) {
        return Err(unusable(AnswerError::Missing("nodeId")));
    }
    let complete = is_token(&answer.websocket_token);
    let session = Session {
        auth_token: answer.auth_token.into(),
        websocket_token: answer.websocket_token.into(),
        node_id,
    };
    if complete {
        Ok(session)
    } else {
        Err(Unusable { error: AnswerError::Missing("websocketToken"), granted: Some(session) })
    }
}

/// Whether a text can be one of a session's tokens.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.len() <= 4096 && !text.contains(|c: char| c.is_control())
}

/// Whether a text can be a node. It becomes a header: nothing but visible ASCII may stand in it.
pub(super) fn is_node(text: &str) -> bool {
    is_token(text) && text.bytes().all(|b| b.is_ascii_graphic())
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
pub(super) fn websocket_path(session: &Session, kind: Kind) -> SecretString {
    let token = utf8_percent_encode(session.websocket_token.expose_secret(), ESCAPED);
    match (kind, &session.node_id) {
        (Kind::Own, Some(node)) => {
            format!("/webtunnelv2/{token}?X-Node-Id={}", utf8_percent_encode(node, ESCAPED))
        }
        // A session without a node was not taken from such a gateway.
        (Kind::Own, None) => format!("/webtunnelv2/{token}"),
        (Kind::Pod, _) => format!("/omni/webtunnel/{token}"),
    }
    .into()
}

/// The path that deletes a session.
pub(super) fn session_path(auth_token: &SecretString) -> SecretString {
    format!("{TOKENS_PATH}/{}", utf8_percent_encode(auth_token.expose_secret(), ESCAPED)).into()
}

/// The request that upgrades a connection: no extensions, no subprotocol, no cookies, no authorization.
pub(super) fn upgrade_request(front: &Front, session: &Session, key: &str, user_agent: &str) -> SecretString {
    let Front { host, kind } = front;
    let path = websocket_path(session, *kind);
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
