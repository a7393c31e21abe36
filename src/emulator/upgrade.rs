//! The WebSocket upgrade: `GET /webtunnelv2/{websocketToken}?X-Node-Id={nodeId}`, and on a Developer bastion's pod
//! `GET /omni/webtunnel/{websocketToken}`.
//!
//! The token is taken as one path segment, unescaped exactly once, and is spent by being looked up: nobody dials it
//! twice. A node that is not the session's own is refused before the upgrade.

use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::answers::{container_page, misbehave};
use super::http::{Request, Response};
use super::log::{EntryKind, RequestEntry};
use super::sessions::Refusal;
use super::terrain::SimulatedBastion;
use super::verdict::{Reply, Upgrade, Verdict};
use super::world::World;
use crate::model::{FaultAction, FaultPhase};

/// What an upgrade earns.
pub(super) fn upgrade(world: &World, bastion: &SimulatedBastion, request: &Request) -> Verdict {
    let mut entry = RequestEntry::of(EntryKind::Upgrade, request);
    let refusal = |status: u16| Response::new(status, "text/html;charset=utf-8", container_page(status));
    let developer = bastion.is_developer();
    let prefix = if developer { "/omni/webtunnel/" } else { "/webtunnelv2/" };
    let Some(segment) = request.path().strip_prefix(prefix) else {
        entry.violate("G16", "not the path of this kind of gateway");
        return Verdict::answer(entry, refusal(404));
    };
    if let Err((rule, what, response)) = handshake(request) {
        entry.violate(rule, what);
        return Verdict::answer(entry, response.unwrap_or_else(|| refusal(400)));
    }
    note_extras(request, &mut entry);
    if segment.contains('/') {
        entry.violate("G19", "the websocketToken is not one path segment");
        return Verdict::answer(entry, refusal(404));
    }
    let ticket = percent_decode_str(segment).decode_utf8_lossy().into_owned();
    let admission = match world.sessions.admit(bastion.number, &ticket) {
        Ok(admission) => admission,
        Err(why) => {
            match why {
                Refusal::Unknown => entry.violate("G19", "no such websocketToken, unescaped once"),
                Refusal::AuthToken => entry.violate("G16", "an authToken in the place of the websocketToken"),
                Refusal::Used => entry.violate("G18", "a websocketToken is good once"),
                Refusal::Expired => entry.violate("G18", "the websocketToken is too old"),
                Refusal::Gone => entry.warnings.push("G33: its session is gone".to_owned()),
            }
            return Verdict::answer(entry, refusal(404));
        }
    };
    entry.node = Some(admission.node.clone());
    entry.session = Some(admission.number);
    entry.target = Some(admission.place.to_string());
    let query = if developer { vec![] } else { vec![("X-Node-Id".to_owned(), admission.node.clone())] };
    if request.query() != query {
        entry.violate("G17", "the query is not what the session asks for");
        return Verdict::answer(entry, refusal(400));
    }
    let action = world.strike(FaultPhase::Upgrade, Some(&admission.place.endpoint), &mut entry);
    if let Some(reply) = action.as_ref().and_then(|a| misbehave(a, FaultPhase::Upgrade, world.port)) {
        return Verdict::reply(entry, reply);
    }
    let mut accept = derive_accept_key(request.header("sec-websocket-key").unwrap_or_default().as_bytes());
    let mut delay = Duration::ZERO;
    let mut page = None;
    let mut bare = false;
    if let Some(action) = action {
        match action {
            FaultAction::Delay(by) => delay = by,
            FaultAction::WrongAccept => accept = derive_accept_key(accept.as_bytes()),
            FaultAction::Bare101 => bare = true,
            FaultAction::HttpAfter101 => page = Some(refusal(400).bytes(true)),
            FaultAction::Status(_)
            | FaultAction::PlainStatus(_)
            | FaultAction::EmptyStatus(_)
            | FaultAction::Redirect(..)
            | FaultAction::Malformed
            | FaultAction::Answer(_)
            | FaultAction::Silence
            | FaultAction::Drop
            | FaultAction::CloseNotify
            | FaultAction::Reset
            | FaultAction::Close(_)
            | FaultAction::ReservedBit
            | FaultAction::Masked
            | FaultAction::UnknownOpcode
            | FaultAction::Text
            | FaultAction::NoPong
            | FaultAction::Pings(_) => {}
        }
    }
    let mut response = Response::empty(101);
    if !bare {
        response = response.with("Upgrade", "websocket").with("Connection", "Upgrade");
    }
    let response = response.with("Sec-WebSocket-Accept", accept);
    let (host, path) = (entry.host.clone(), entry.path.clone());
    let upgrade = Upgrade { admission, response, page, host, path };
    Verdict::reply(entry, Reply::Upgrade(Box::new(upgrade))).after(delay)
}

type HandshakeError = (&'static str, &'static str, Option<Response>);

fn handshake(request: &Request) -> Result<(), HandshakeError> {
    let refuse = |what| Err(("G20", what, None));
    if request.method != "GET" || !request.body.is_empty() {
        return refuse("an upgrade is a GET without a body");
    }
    if !request.has_word("upgrade", "websocket") {
        return refuse("no Upgrade: websocket");
    }
    if !request.has_word("connection", "upgrade") {
        return refuse("no Connection: Upgrade");
    }
    if request.header("sec-websocket-version") != Some("13") {
        let response = Response::empty(426).with("Sec-WebSocket-Version", "13");
        return Err(("G20", "Sec-WebSocket-Version is not 13", Some(response)));
    }
    let key = request.header("sec-websocket-key").unwrap_or_default().as_bytes();
    let digit = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    match key.split_last_chunk::<2>() {
        // 16 bytes in base64: 22 digits, the last of them one of four, and two of padding.
        Some((digits, b"==")) if digits.len() == 22 && digits.iter().all(digit) => Ok(()),
        _ => refuse("Sec-WebSocket-Key is not 16 bytes in base64"),
    }
}

/// What a client should have left out, and what the real service would not refuse.
fn note_extras(request: &Request, entry: &mut RequestEntry) {
    let extras = [
        ("sec-websocket-extensions", "G21", "an extension is offered"),
        ("sec-websocket-protocol", "G21", "a subprotocol is offered"),
        ("authorization", "G22", "an Authorization header on the upgrade"),
        ("cookie", "G22", "a cookie on the upgrade"),
        ("x-node-id", "G22", "X-Node-Id as a header of the upgrade"),
    ];
    for (name, rule, what) in extras {
        if request.header(name).is_some() {
            entry.violate(rule, what);
        }
    }
}
