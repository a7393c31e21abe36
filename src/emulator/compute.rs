//! Resource Manager's side of the simulated machines: virtual machines, scale sets and their instances, network interfaces.

use serde_json::{Value, json};

use super::answers::arm_error;
use super::arm::{missing_scope, page};
use super::http::{Request, Response};
use super::terrain::Terrain;
use super::world::World;
use crate::model::{Endpoint, Machine, MachinePower, ResourceId};

const MACHINES: &str = "Microsoft.Compute/virtualMachines";
const INSTANCES: &str = "Microsoft.Compute/virtualMachineScaleSets/virtualMachines";
const SETS: &str = "Microsoft.Compute/virtualMachineScaleSets";
const INTERFACES: &str = "Microsoft.Network/networkInterfaces";

/// Whether the caller lacks the right to read machines and what belongs to them: it is nobody's reader.
pub(super) fn denied(world: &World, request: &Request) -> bool {
    let mut bastions = world.terrain().bastions.clone().into_iter().peekable();
    let about = ["/microsoft.compute/", "/microsoft.network/networkinterfaces/"];
    let path = request.path().to_ascii_lowercase();
    about.iter().any(|part| path.contains(part))
        && bastions.peek().is_some()
        && bastions.all(|bastion| !bastion.traits.reader)
}

/// One resource; none: there is no such thing.
pub(super) fn read(world: &World, request: &Request, id: &ResourceId) -> Option<Value> {
    let terrain = world.terrain();
    if id.is_type(MACHINES) || id.is_type(INSTANCES) {
        let machine = terrain.machine(&Endpoint::Resource(id.clone()))?;
        return Some(describe(machine, id, asks_for_view(request)));
    }
    if id.is_type(INTERFACES) {
        let owner = machines(&terrain).find(|(machine, own)| interface_of(machine, own) == *id);
        let loose = terrain.loose_interfaces.contains(id);
        return (owner.is_some() || loose).then(|| interface(id, owner.map(|(_, machine)| machine)));
    }
    let set = id.is_type(SETS).then(|| orchestration(&terrain, id)).flatten()?;
    Some(json!({
        "name": id.name(),
        "id": shown(id),
        "type": SETS,
        "location": "westeurope",
        "sku": { "name": "Standard_B1s", "tier": "Standard", "capacity": 2 },
        // A set that was made before there were two kinds does not say which it is.
        "properties": match set {
            Orchestration::Uniform => json!({ "provisioningState": "Succeeded", "singlePlacementGroup": true }),
            Orchestration::Flexible => json!({ "provisioningState": "Succeeded", "orchestrationMode": "Flexible" }),
        },
    }))
}

/// The instances of a scale set, or the machines of a resource group.
pub(super) fn list(world: &World, request: &Request) -> Option<Response> {
    let terrain = world.terrain();
    let (above, last) = request.path().rsplit_once('/')?;
    if !last.eq_ignore_ascii_case("virtualMachines") {
        return None;
    }
    let view = asks_for_view(request);
    if let Ok(set) = ResourceId::parse(above) {
        // Numbered instances are within their set; others are listed as the machines that they are.
        if set.is_type(SETS) && orchestration(&terrain, &set) == Some(Orchestration::Uniform) {
            let within = machines(&terrain).filter(|(_, id)| id.parent().as_ref() == Some(&set));
            return Some(page(world, request, described(within, view)));
        }
        return None;
    }
    let path = above.to_ascii_lowercase();
    let parts: Vec<&str> = path.split('/').collect();
    let ["", "subscriptions", subscription, "resourcegroups", group, "providers", "microsoft.compute"] =
        parts.as_slice()
    else {
        return None;
    };
    if let Some(missing) = missing_scope(world, subscription, Some(*group)) {
        return Some(missing);
    }
    let query = request.query();
    let filter = query.iter().find(|(name, _)| name.eq_ignore_ascii_case("$filter"));
    let set = match filter.map(|(_, filter)| set_of(filter)) {
        None if view => {
            let text = "The instance view of machines can be listed with a filter only.";
            return Some(arm_error(400, "BadRequest", text));
        }
        None => None,
        Some(None) => return Some(arm_error(400, "InvalidFilterInQueryString", "The filter is not valid.")),
        Some(set) => set,
    };
    let within = machines(&terrain).filter(|(machine, id)| {
        id.is_type(MACHINES)
            && id.subscription().eq_ignore_ascii_case(subscription)
            && id.resource_group().eq_ignore_ascii_case(group)
            && set.as_ref().is_none_or(|set| machine.scale_set.as_ref() == Some(set))
    });
    Some(page(world, request, described(within, view)))
}

/// How a scale set is orchestrated.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Orchestration {
    Uniform,
    Flexible,
}

/// A scale set exists if there are machines of it.
fn orchestration(terrain: &Terrain, set: &ResourceId) -> Option<Orchestration> {
    machines(terrain).find_map(|(machine, id)| {
        if id.parent().as_ref() == Some(set) {
            Some(Orchestration::Uniform)
        } else {
            (machine.scale_set.as_ref() == Some(set)).then_some(Orchestration::Flexible)
        }
    })
}

fn machines(terrain: &Terrain) -> impl Iterator<Item = (&Machine, &ResourceId)> {
    terrain.machines.iter().filter_map(|machine| match &machine.endpoint {
        Endpoint::Resource(id) => Some((machine, id)),
        Endpoint::Address(_) => None,
    })
}

fn described<'a>(
    machines: impl Iterator<Item = (&'a Machine, &'a ResourceId)>,
    view: bool,
) -> Vec<(String, Value)> {
    machines.map(|(machine, id)| (id.as_str().to_ascii_lowercase(), describe(machine, id, view))).collect()
}

/// The set in the one filter that there is: `'virtualMachineScaleSet/id' eq 'ID'`.
fn set_of(filter: &str) -> Option<ResourceId> {
    let id = filter.strip_prefix("'virtualMachineScaleSet/id' eq '")?.strip_suffix('\'')?;
    ResourceId::parse(id).ok().filter(|id| id.is_type(SETS))
}

fn asks_for_view(request: &Request) -> bool {
    let asks = |(name, value): &(String, String)| {
        name.eq_ignore_ascii_case("$expand") && value.eq_ignore_ascii_case("instanceView")
    };
    request.query().iter().any(asks)
}

/// An ID as ARM writes it: the group's name in capitals.
fn shown(id: &ResourceId) -> String {
    let group = id.resource_group();
    id.as_str().replacen(&format!("/{group}/"), &format!("/{}/", group.to_ascii_uppercase()), 1)
}

/// A machine's interface: its own, or one that is named after it.
fn interface_of(machine: &Machine, id: &ResourceId) -> ResourceId {
    let named = || {
        let name = match id.parent() {
            Some(set) => format!("{}-{}-nic", set.name(), id.name()),
            None => format!("{}-nic", id.name()),
        };
        ResourceId::compose(id.subscription(), id.resource_group(), INTERFACES, &name)
    };
    machine.interface.clone().or_else(|| named().ok()).unwrap_or_else(|| id.clone())
}

fn interface(id: &ResourceId, owner: Option<&ResourceId>) -> Value {
    let mut properties = json!({
        "provisioningState": "Succeeded",
        "ipConfigurations": [{ "name": "ipconfig1", "properties": { "primary": true, "privateIPAddress": "10.0.0.4" } }],
    });
    // One that belongs to nothing has no such property at all.
    if let (Some(map), Some(owner)) = (properties.as_object_mut(), owner) {
        map.insert("virtualMachine".to_owned(), json!({ "id": shown(owner) }));
    }
    json!({ "name": id.name(), "id": shown(id), "type": INTERFACES, "location": "westeurope", "properties": properties })
}

fn describe(machine: &Machine, id: &ResourceId, view: bool) -> Value {
    let mut properties = json!({
        "provisioningState": "Succeeded",
        "networkProfile": {
            "networkInterfaces": [{ "id": shown(&interface_of(machine, id)), "properties": { "primary": true } }],
        },
    });
    if let Some(map) = properties.as_object_mut() {
        if let Some(set) = &machine.scale_set {
            map.insert("virtualMachineScaleSet".to_owned(), json!({ "id": shown(set) }));
        }
        // Only for those who ask.
        if view {
            let power = MachinePower::ALL.iter().find(|(_, power)| *power == machine.power);
            let power = power.map(|(word, _)| *word).unwrap_or_default();
            let statuses = json!([
                { "code": "ProvisioningState/succeeded", "level": "Info" },
                { "code": format!("PowerState/{power}"), "level": "Info" },
            ]);
            map.insert("instanceView".to_owned(), json!({ "statuses": statuses }));
        }
    }
    let mut described =
        json!({ "name": id.name(), "id": shown(id), "location": "westeurope", "properties": properties });
    if let (Some(map), Some(set)) = (described.as_object_mut(), id.parent()) {
        map.insert("name".to_owned(), json!(format!("{}_{}", set.name(), id.name())));
        map.insert("instanceId".to_owned(), json!(id.name()));
    }
    described
}
