//! The REST half of the data plane: `POST /api/tokens` and `DELETE /api/tokens/{authToken}`.
//!
//! Every rule is checked in the order of its number as far as the wire allows; the first that fails answers. Rules
//! whose breach the real service would not notice are noted and nothing else happens.

use std::net::Ipv4Addr;

use serde_json::json;

use super::access::TokenFlaw;
use super::answers::{BUSY, FORBIDDEN, INTERNAL, gateway_error, strike};
use super::broker;
use super::http::{Request, Response};
use super::log::{EntryKind, RequestEntry};
use super::redact;
use super::sessions::{Deletion, Grant, Place};
use super::terrain::SimulatedBastion;
use super::verdict::Verdict;
use super::world::World;
use crate::model::{Endpoint, FaultPhase, MachinePower, ResourceId, Sku};
use crate::sys::clock;

/// `POST /api/tokens`.
pub(super) async fn open(world: &World, bastion: &SimulatedBastion, request: &Request) -> Verdict {
    let mut entry = RequestEntry::of(EntryKind::Token, request);
    let form = match Form::read(request, &mut entry) {
        Ok(form) => form,
        Err(response) => return Verdict::answer(entry, response),
    };
    let place = match form.check(world, bastion, &mut entry) {
        Ok(place) => place,
        Err(response) => return Verdict::answer(entry, response),
    };
    entry.target = Some(place.to_string());
    let delay = match strike(world, FaultPhase::Token, Some(&place.endpoint), &mut entry) {
        Ok(delay) => delay,
        Err(reply) => return Verdict::reply(entry, reply),
    };
    // Nobody listens whether the client is still there: a session that was asked for exists.
    let delay = world.terrain().setup_delay.saturating_add(delay);
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let grant = match form.known(world, bastion.number, request, &place) {
        Some(grant) => Some(grant),
        None => world.sessions.grant(bastion.number, &bastion.traits, place),
    };
    let Some(grant) = grant else {
        return Verdict::answer(entry, gateway_error(503, BUSY));
    };
    entry.node = Some(grant.node.clone());
    entry.session = Some(grant.number);
    let body = json!({
        "authToken": grant.auth_token,
        "username": "",
        "dataSource": "default",
        "nodeId": grant.node,
        "availableDataSources": ["default"],
        "websocketToken": grant.websocket_token,
    });
    Verdict::answer(entry, Response::json(200, &body))
}

/// The fields of a token exchange.
#[derive(Default)]
struct Form {
    resource_id: String,
    port: u16,
    access_token: String,
    token: String,
    hostname: Option<String>,
}

impl Form {
    /// What can be said of a request without knowing the world.
    fn read(request: &Request, entry: &mut RequestEntry) -> Result<Self, Response> {
        let internal = || gateway_error(500, INTERNAL);
        if request.target.contains('?') {
            entry.violate("G4", "a query on /api/tokens");
        }
        if request.header("authorization").is_some() {
            entry.violate("G3", "an Authorization header on /api/tokens");
        }
        if request.header("cookie").is_some() {
            entry.violate("G3", "a cookie on /api/tokens");
        }
        if !request.is_form() {
            entry.violate("G2", "the body is not application/x-www-form-urlencoded");
            return Err(internal());
        }
        let fields: Vec<(String, String)> = form_urlencoded::parse(&request.body).into_owned().collect();
        entry.form = redact::form(&fields);
        let mut form = Self::default();
        let mut protocol = String::new();
        let mut port = String::new();
        let mut seen = Vec::new();
        for (name, value) in fields {
            if seen.contains(&name) {
                entry.violate("G4", "a field stands twice");
                return Err(internal());
            }
            match name.as_str() {
                "resourceId" => form.resource_id = value,
                "protocol" => protocol = value,
                "workloadHostPort" => port = value,
                "aztoken" => form.access_token = value,
                "token" => form.token = value,
                "hostname" => form.hostname = Some(value),
                _ => entry.violate("G4", "a field that the exchange does not have"),
            }
            seen.push(name);
        }
        let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) && !port.starts_with('0');
        form.port = port.parse().ok().filter(|_| digits).unwrap_or(0);
        let flaws = [
            (form.resource_id.is_empty(), "no resourceId"),
            (protocol != "tcptunnel", "protocol is not tcptunnel"),
            (form.port == 0, "workloadHostPort is not a number from 1 to 65535"),
            (form.access_token.is_empty(), "no aztoken"),
        ];
        let flawed = flaws.iter().any(|(flawed, _)| *flawed);
        for (_, what) in flaws.iter().filter(|(flawed, _)| *flawed) {
            entry.violate("G4", what);
        }
        if flawed {
            return Err(internal());
        }
        let node = request.header("x-node-id").is_some();
        if node && form.token.is_empty() {
            entry.violate("G12", "X-Node-Id on a first call");
        } else if !node && !form.token.is_empty() {
            entry.violate("G12", "a token without X-Node-Id");
        }
        Ok(form)
    }

    /// Whether the caller may go where it wants to, and where that is.
    fn check(
        &self,
        world: &World,
        bastion: &SimulatedBastion,
        entry: &mut RequestEntry,
    ) -> Result<Place, Response> {
        let rules = world.rules();
        let tenant = rules.tenant_of(bastion.id.subscription());
        match world.tokens.check_in(tenant, &self.access_token, clock::now()) {
            Ok(()) => {}
            // Refused before the gateway's own code: not JSON.
            Err(TokenFlaw::Shape) => {
                entry.violate("G5", "aztoken is not a bare access token");
                return Err(Response::text(401, "Unauthorized"));
            }
            Err(TokenFlaw::Expired) => return Err(Response::text(401, "Unauthorized")),
            Err(TokenFlaw::Foreign | TokenFlaw::Unknown) => {
                return Err(gateway_error(403, "The access token is not valid for this resource."));
            }
        }
        admit(bastion)?;
        let missing = || gateway_error(404, "Target resource not found");
        let id = ResourceId::parse(&self.resource_id).map_err(|_| missing())?;
        let endpoint = if id.is_type("Microsoft.Network/bh-hostConnect") {
            self.address(bastion, &id, entry)?
        } else {
            if self.hostname.is_some() {
                entry.violate("G9", "hostname for a target that is not an address");
            }
            Endpoint::Resource(id)
        };
        if bastion.is_developer() && !broker::serves(&endpoint, self.port) {
            entry.violate("G39", "a Developer bastion is for machines on ports 22 and 3389");
            let message = "This Bastion reaches virtual machines on ports 22 and 3389 only.";
            return Err(gateway_error(400, message));
        }
        // Of a machine that does not run, a gateway says no more than that something went wrong.
        if world.terrain().machine(&endpoint).ok_or_else(missing)?.power != MachinePower::Running {
            return Err(gateway_error(500, INTERNAL));
        }
        Ok(Place { endpoint, port: self.port })
    }

    fn address(
        &self,
        bastion: &SimulatedBastion,
        id: &ResourceId,
        entry: &mut RequestEntry,
    ) -> Result<Endpoint, Response> {
        let invalid = || gateway_error(404, "Invalid IP address for connection.");
        let hostname = self.hostname.as_deref().filter(|h| !h.is_empty()).ok_or_else(|| {
            entry.violate("G7", "an address without hostname");
            invalid()
        })?;
        if bastion.is_developer() || bastion.traits.enable_ip_connect != Some(true) {
            return Err(gateway_error(403, "IP based connection is not enabled for this Bastion."));
        }
        if hostname != id.name() {
            entry.violate("G9", "hostname differs from the address in resourceId");
            return Err(invalid());
        }
        let own = bastion.id.subscription().eq_ignore_ascii_case(id.subscription())
            && bastion.id.resource_group().eq_ignore_ascii_case(id.resource_group());
        if !own {
            return Err(gateway_error(404, "Target resource not found"));
        }
        hostname.parse::<Ipv4Addr>().map(Endpoint::Address).map_err(|_| invalid())
    }

    /// A session that this call goes on with; an unknown one is not an error but a new session (G13).
    fn known(&self, world: &World, at: usize, request: &Request, place: &Place) -> Option<Grant> {
        let node = request.header("x-node-id").filter(|_| !self.token.is_empty())?;
        world.sessions.renew(at, &self.token, node, place.clone())
    }
}

/// Whether a bastion has native clients at all (G10), and this one's caller the right to read (G11).
pub(super) fn admit(bastion: &SimulatedBastion) -> Result<(), Response> {
    let open = match bastion.traits.sku {
        Sku::Developer | Sku::QuickConnect => true,
        Sku::Basic => false,
        Sku::Standard | Sku::Premium => bastion.traits.enable_tunneling == Some(true),
    };
    if !open {
        return Err(gateway_error(403, "Tunneling is disabled"));
    }
    if !bastion.traits.reader {
        return Err(gateway_error(403, FORBIDDEN));
    }
    Ok(())
}

/// `DELETE /api/tokens/{authToken}`.
pub(super) fn close(world: &World, bastion: &SimulatedBastion, request: &Request, auth: &str) -> Verdict {
    let at = bastion.number;
    let mut entry = RequestEntry::of(EntryKind::Delete, request);
    if request.header("authorization").is_some() {
        entry.violate("G3", "an Authorization header on a deletion");
    }
    let node = request.header("x-node-id");
    if node.is_none() {
        entry.violate("G35", "a deletion without X-Node-Id");
    }
    let place = world.sessions.place(at, auth);
    entry.target = place.as_ref().map(Place::to_string);
    let endpoint = place.as_ref().map(|place| &place.endpoint);
    let delay = match strike(world, FaultPhase::Delete, endpoint, &mut entry) {
        Ok(delay) => delay,
        Err(reply) => return Verdict::reply(entry, reply),
    };
    entry.node = node.map(str::to_owned);
    let missing = || gateway_error(404, "No such token.");
    let response = match world.sessions.delete(at, auth, node) {
        Deletion::Done(number) => {
            entry.session = Some(number);
            Response::empty(204)
        }
        Deletion::WrongNode(number) => {
            entry.session = Some(number);
            if node.is_some() {
                entry.violate("G34", "a deletion at another node");
            }
            missing()
        }
        Deletion::Unknown => missing(),
    };
    Verdict::answer(entry, response).after(delay)
}
