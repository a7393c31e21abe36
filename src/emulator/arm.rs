//! Azure Resource Manager, as far as tunnels need it: one bastion, and all of a scope.

use serde_json::{Value, json};

use super::access::{TokenFlaw, base64url};
use super::answers::{FORBIDDEN, arm, arm_error, challenge_in, strike};
use super::compute;
use super::http::{Request, Response};
use super::log::{EntryKind, RequestEntry};
use super::terrain::SimulatedBastion;
use super::verdict::Verdict;
use super::world::World;
use crate::model::{Endpoint, FaultPhase, ResourceId, Sku};
use crate::sys::clock;

/// `management.localhost`.
pub(super) fn manage(world: &World, request: &Request) -> Verdict {
    let mut entry = RequestEntry::of(EntryKind::Arm, request);
    if let Err(response) = authorize(world, request) {
        return Verdict::answer(entry, response);
    }
    if request.method != "GET" {
        let text = "The requested resource does not support this method.";
        return Verdict::answer(entry, arm_error(405, "MethodNotAllowed", text));
    }
    if let Err(response) = api_version(request) {
        return Verdict::answer(entry, response);
    }
    let id = ResourceId::parse(request.path());
    entry.target = Some(id.as_ref().map(|id| id.name().to_owned()).unwrap_or_default());
    // A list of what a resource has is a read of that resource.
    let above = || request.path().rsplit_once('/').and_then(|(above, _)| ResourceId::parse(above).ok());
    let target = id.as_ref().ok().cloned().or_else(above).map(Endpoint::Resource);
    let delay = match strike(world, FaultPhase::Arm, target.as_ref(), &mut entry) {
        Ok(delay) => delay,
        Err(reply) => return Verdict::reply(entry, reply),
    };
    let response = match id {
        _ if compute::denied(world, request) => arm_error(403, "AuthorizationFailed", FORBIDDEN),
        Ok(id) => read(world, request, &id),
        Err(_) => list(world, request).or_else(|| compute::list(world, request)).unwrap_or_else(|| {
            arm_error(404, "InvalidResourceType", "The resource type could not be found.")
        }),
    };
    Verdict::answer(entry, response).after(delay)
}

fn authorize(world: &World, request: &Request) -> Result<(), Response> {
    let rules = world.rules();
    let mut parts = request.path().split('/').skip(1);
    let subscription = match (parts.next(), parts.next()) {
        (Some(word), Some(id)) if word.eq_ignore_ascii_case("subscriptions") => id,
        _ => "",
    };
    let tenant = rules.tenant_of(subscription);
    let refused = |claims: Option<&str>, code: &str, message: &str| {
        let error = arm_error(401, code, message);
        Err(challenge_in(tenant, claims, error, world.port, "The access token is invalid."))
    };
    let refuse = |code: &str, message: &str| refused(None, code, message);
    let Some(header) = request.header("authorization") else {
        return refuse(
            "AuthenticationFailed",
            "Authentication failed. The 'Authorization' header is missing.",
        );
    };
    let Some(token) = header.strip_prefix("Bearer ") else {
        return refuse(
            "AuthenticationFailedInvalidHeader",
            "Authentication failed. The 'Authorization' header is provided in an invalid format.",
        );
    };
    match world.tokens.check_in(tenant, token, clock::now()) {
        Ok(()) => match rules.claims.as_deref() {
            None => Ok(()),
            claims => refused(
                claims,
                "InvalidAuthenticationToken",
                "Continuous access evaluation resulted in challenge.",
            ),
        },
        Err(TokenFlaw::Expired) => refuse(
            "ExpiredAuthenticationToken",
            "The access token expiry UTC time is earlier than current UTC time.",
        ),
        Err(TokenFlaw::Foreign) => refuse(
            "InvalidAuthenticationTokenTenant",
            "The access token is from the wrong issuer. It must match the tenant associated with this subscription.",
        ),
        Err(TokenFlaw::Shape | TokenFlaw::Unknown) => {
            refuse("InvalidAuthenticationToken", "The access token is invalid.")
        }
    }
}

fn api_version(request: &Request) -> Result<(), Response> {
    let query = request.query();
    let Some((_, version)) = query.iter().find(|(name, _)| name.eq_ignore_ascii_case("api-version")) else {
        return Err(arm_error(
            400,
            "MissingApiVersionParameter",
            "The api-version query parameter (?api-version=) is required for all requests.",
        ));
    };
    let date = version.strip_suffix("-preview").unwrap_or(version);
    let shaped = date.len() == 10
        && date
            .bytes()
            .enumerate()
            .all(|(at, b)| if at == 4 || at == 7 { b == b'-' } else { b.is_ascii_digit() });
    if shaped {
        return Ok(());
    }
    Err(arm_error(400, "InvalidApiVersionParameter", "The api-version is invalid."))
}

fn read(world: &World, request: &Request, id: &ResourceId) -> Response {
    if let Some(bastion) = world.terrain().bastions.iter().find(|bastion| bastion.id == *id) {
        return arm(Response::json(200, &describe(bastion, world.port)).with("ETag", "W/\"1\""));
    }
    if let Some(described) = compute::read(world, request, id) {
        return arm(Response::json(200, &described));
    }
    let group = id.resource_group();
    missing_scope(world, id.subscription(), Some(group)).unwrap_or_else(|| {
        let text = format!("The Resource '{}' under resource group '{group}' was not found.", id.name());
        arm_error(404, "ResourceNotFound", &text)
    })
}

/// The bastions of a subscription or a resource group.
fn list(world: &World, request: &Request) -> Option<Response> {
    let path = request.path().to_ascii_lowercase();
    let parts: Vec<&str> = path.split('/').collect();
    let (subscription, group) = match parts.as_slice() {
        ["", "subscriptions", subscription, "providers", NETWORK, HOSTS] => (*subscription, None),
        ["", "subscriptions", subscription, "resourcegroups", group, "providers", NETWORK, HOSTS] => {
            (*subscription, Some(*group))
        }
        _ => return None,
    };
    if let Some(missing) = missing_scope(world, subscription, group) {
        return Some(missing);
    }
    let terrain = world.terrain();
    let within = terrain.bastions.iter().filter(|bastion| {
        bastion.id.subscription().eq_ignore_ascii_case(subscription)
            && group.is_none_or(|group| bastion.id.resource_group().eq_ignore_ascii_case(group))
    });
    let all = within.map(|bastion| (bastion.host.clone(), describe(bastion, world.port))).collect();
    Some(page(world, request, all))
}

/// One page of a list, with one element: a client has to follow `nextLink` (G40). Where a page begins is nothing that
/// a client could make up itself.
pub(super) fn page(world: &World, request: &Request, all: Vec<(String, Value)>) -> Response {
    let query = request.query();
    let value = |wanted: &str| {
        query.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.as_str())
    };
    let skip_token = |key: &str| base64url(key.as_bytes());
    let at = match value("$skiptoken") {
        None => 0,
        Some(token) => match all.iter().position(|(key, _)| skip_token(key) == token) {
            Some(at) => at,
            None => return arm_error(400, "InvalidSkipToken", "The skip token is not valid."),
        },
    };
    let mut rest = all.into_iter().skip(at);
    let described: Vec<Value> = rest.next().map(|(_, described)| described).into_iter().collect();
    let body = match rest.next() {
        None => json!({ "value": described }),
        Some((key, _)) => {
            // All that was asked for is asked for again.
            let asked = query.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("$skiptoken"));
            let mut link = form_urlencoded::Serializer::new(String::new());
            link.extend_pairs(asked).append_pair("$skiptoken", &skip_token(&key));
            let (path, query) = (request.path(), link.finish());
            let link = format!("https://management.localhost:{}{path}?{query}", world.port);
            json!({ "value": described, "nextLink": link })
        }
    };
    arm(Response::json(200, &body))
}

/// What ARM says of a subscription or a group that does not exist.
pub(super) fn missing_scope(world: &World, subscription: &str, group: Option<&str>) -> Option<Response> {
    let terrain = world.terrain();
    let ids = || {
        let machines = terrain.machines.iter().filter_map(|machine| match &machine.endpoint {
            Endpoint::Resource(id) => Some(id),
            Endpoint::Address(_) => None,
        });
        terrain.bastions.iter().map(|bastion| &bastion.id).chain(machines)
    };
    if !ids().any(|known| known.subscription().eq_ignore_ascii_case(subscription)) {
        let text = format!("The subscription '{subscription}' could not be found.");
        return Some(arm_error(404, "SubscriptionNotFound", &text));
    }
    let group = group?;
    if ids().any(|known| known.resource_group().eq_ignore_ascii_case(group)) {
        return None;
    }
    let text = format!("Resource group '{group}' could not be found.");
    Some(arm_error(404, "ResourceGroupNotFound", &text))
}

/// A bastion as ARM shows it: the group's name in capitals, the type in its own case, absent what was never set.
fn describe(bastion: &SimulatedBastion, port: u16) -> Value {
    let id = &bastion.id;
    let (subscription, group, name) =
        (id.subscription(), id.resource_group().to_ascii_uppercase(), id.name());
    let scope = format!("/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Network");
    let sku = match bastion.traits.sku {
        Sku::Developer => "Developer",
        Sku::QuickConnect => "QuickConnect",
        Sku::Basic => "Basic",
        Sku::Standard => "Standard",
        Sku::Premium => "Premium",
    };
    let mut properties = json!({ "provisioningState": "Succeeded", "dnsName": bastion.dns_name(port) });
    // It is absent where there is none.
    let address = (!bastion.traits.private_only)
        .then(|| json!({ "id": format!("{scope}/publicIPAddresses/bastion-ip") }));
    let mut built = if bastion.is_developer() {
        // Nothing of it stands in a network of the customer's.
        json!({
            "virtualNetwork": { "id": format!("{scope}/virtualNetworks/vnet") },
            "networkAcls": { "ipRules": [] },
        })
    } else {
        json!({
            "scaleUnits": 2,
            "ipConfigurations": [{
                "name": "bastion_ip_config",
                "id": format!("{scope}/bastionHosts/{name}/bastionHostIpConfigurations/bastion_ip_config"),
                "type": "Microsoft.Network/bastionHosts/bastionHostIpConfigurations",
                "properties": {
                    "provisioningState": "Succeeded",
                    "privateIPAllocationMethod": "Dynamic",
                    "subnet": { "id": format!("{scope}/virtualNetworks/vnet/subnets/AzureBastionSubnet") },
                },
            }],
        })
    };
    let flags = [
        ("enableTunneling", bastion.traits.enable_tunneling),
        ("enableIpConnect", bastion.traits.enable_ip_connect),
        ("enablePrivateOnlyBastion", bastion.traits.private_only.then_some(true)),
    ];
    if let (Some(address), Some(configuration)) =
        (address, built.pointer_mut("/ipConfigurations/0/properties").and_then(Value::as_object_mut))
    {
        configuration.insert("publicIPAddress".to_owned(), address);
    }
    if let (Some(map), Value::Object(built)) = (properties.as_object_mut(), built) {
        map.extend(built);
        map.extend(flags.into_iter().filter_map(|(name, flag)| Some((name.to_owned(), json!(flag?)))));
    }
    json!({
        "name": name,
        "id": format!("{scope}/bastionHosts/{name}"),
        "etag": "W/\"1\"",
        "type": "Microsoft.Network/bastionHosts",
        "location": "westeurope",
        "sku": { "name": sku },
        "properties": properties,
    })
}

const NETWORK: &str = "microsoft.network";
const HOSTS: &str = "bastionhosts";
