//! The regional broker of the Developer SKU: `POST /api/connection` says which data pod to talk to.
//!
//! It speaks JSON and answers plain text. What it says to a mistake is not known in public beyond a 403 `Forbidden`
//! and the text of a bastion without a pod; for the rest it takes the status that fits.

use std::sync::Arc;

use serde_json::Value;

use super::access::TokenFlaw;
use super::answers::{container_page, strike};
use super::http::{Request, Response, phrase};
use super::log::{EntryKind, RequestEntry};
use super::redact;
use super::terrain::{BROKER, SimulatedBastion};
use super::verdict::Verdict;
use super::world::World;
use crate::model::{Endpoint, FaultPhase, ResourceId};
use crate::sys::clock;

/// Whether a Developer bastion reaches this: virtual machines only, and their usual ports.
pub(super) fn serves(endpoint: &Endpoint, port: u16) -> bool {
    let machine =
        matches!(endpoint, Endpoint::Resource(id) if id.is_type("Microsoft.Compute/virtualMachines"));
    machine && matches!(port, 22 | 3389)
}

/// Everything at the broker's host.
pub(super) fn judge(world: &World, request: &Request) -> Verdict {
    let mut entry = RequestEntry::of(EntryKind::Broker, request);
    if request.path() != "/api/connection" {
        entry.kind = EntryKind::Other;
        return Verdict::answer(entry, Response::new(404, "text/html;charset=utf-8", container_page(404)));
    }
    let (bastion, endpoint) = match find(world, request, &mut entry) {
        Ok(found) => found,
        Err(response) => return Verdict::answer(entry, response),
    };
    match strike(world, FaultPhase::Broker, Some(&endpoint), &mut entry) {
        Ok(delay) => {
            let pod = Response::text(200, &format!("{}:{}\n", bastion.host, world.port));
            Verdict::answer(entry, pod).after(delay)
        }
        Err(reply) => Verdict::reply(entry, reply),
    }
}

/// The bastion whose pod is asked for, and the machine that it is to reach.
fn find(
    world: &World,
    request: &Request,
    entry: &mut RequestEntry,
) -> Result<(Arc<SimulatedBastion>, Endpoint), Response> {
    let terrain = world.terrain();
    let ask = Ask::read(request, entry)?;
    match world.tokens.check(&ask.token, clock::now()) {
        Ok(()) => {}
        Err(flaw @ (TokenFlaw::Shape | TokenFlaw::Expired)) => {
            if flaw == TokenFlaw::Shape {
                entry.violate("G5", "azToken is not a bare access token");
            }
            return Err(plain(401));
        }
        Err(TokenFlaw::Foreign | TokenFlaw::Unknown) => return Err(plain(403)),
    }
    let bastion = ResourceId::parse(&ask.bastion)
        .ok()
        .and_then(|id| terrain.bastions.iter().find(|bastion| bastion.is_developer() && bastion.id == id));
    let Some(bastion) = bastion else {
        let text = format!("Failed to get a data pod from the brain for bastion - {BROKER}");
        return Err(Response::text(500, &text));
    };
    if !bastion.traits.reader {
        return Err(plain(403));
    }
    let endpoint = ResourceId::parse(&ask.resource).map(Endpoint::Resource).map_err(|_| plain(404))?;
    entry.target = Some(format!("{endpoint}:{}", ask.port));
    if !serves(&endpoint, ask.port) {
        entry.violate("G39", "a Developer bastion is for machines on ports 22 and 3389");
        return Err(plain(400));
    }
    terrain.machine(&endpoint).ok_or_else(|| plain(404))?;
    Ok((Arc::clone(bastion), endpoint))
}

/// The fields of a question.
struct Ask {
    resource: String,
    bastion: String,
    port: u16,
    token: String,
}

impl Ask {
    fn read(request: &Request, entry: &mut RequestEntry) -> Result<Self, Response> {
        if request.method != "POST" {
            return Err(plain(405));
        }
        for (name, rule, what) in [
            ("authorization", "G3", "an Authorization header on /api/connection"),
            ("cookie", "G3", "a cookie on /api/connection"),
            ("x-node-id", "G12", "X-Node-Id on /api/connection"),
        ] {
            if request.header(name).is_some() {
                entry.violate(rule, what);
            }
        }
        if request.target.contains('?') {
            entry.violate("G39", "a query on /api/connection");
        }
        if !request.is_type("application/json") {
            entry.violate("G39", "the body is not application/json");
            return Err(plain(415));
        }
        let Ok(Value::Object(fields)) = serde_json::from_slice(&request.body) else {
            entry.violate("G39", "the body is not a JSON object");
            return Err(plain(400));
        };
        let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let pairs: Vec<(String, String)> =
            fields.iter().map(|(name, value)| (name.clone(), shown(value))).collect();
        entry.form = redact::form(&pairs);
        if fields.keys().any(|name| !FIELDS.contains(&name.as_str())) {
            entry.violate("G39", "a field that the question does not have");
        }
        let text = |name: &str| fields.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let port = fields.get("vmPort").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
        let whole =
            (text("resourceId"), text("bastionResourceId"), port.filter(|port| *port != 0), text("azToken"));
        let kind = text("connectionType") == Some("nativeclient");
        let (Some(resource), Some(bastion), Some(port), Some(token), true) =
            (whole.0, whole.1, whole.2, whole.3, kind)
        else {
            entry
                .violate("G39", "a field is missing, or not of its type: vmPort is a number from 1 to 65535");
            return Err(plain(400));
        };
        Ok(Self { resource: resource.to_owned(), bastion: bastion.to_owned(), port, token: token.to_owned() })
    }
}

fn plain(status: u16) -> Response {
    Response::text(status, phrase(status))
}

const FIELDS: [&str; 5] = ["resourceId", "bastionResourceId", "vmPort", "azToken", "connectionType"];
