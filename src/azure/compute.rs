//! Machines, the instances of scale sets and network interfaces as ARM describes them. Pure.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use crate::model::{Blocked, Disposition, ResourceId, printable};

const MACHINES: &str = "Microsoft.Compute/virtualMachines";
const INSTANCES: &str = "Microsoft.Compute/virtualMachineScaleSets/virtualMachines";

/// Whether a machine runs. Azure's words; one that we do not know is not taken for a reason of anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is named as Azure names it")]
pub enum Power {
    Running,
    Starting,
    Stopping,
    Stopped,
    Deallocating,
    Deallocated,
    #[default]
    Unknown,
}

/// A machine, as far as it says why it cannot be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Whether it runs.
    pub power: Power,
    /// Its network interfaces, the primary one first.
    pub interfaces: Vec<ResourceId>,
}

/// An instance of a scale set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its ID, as ARM wrote it.
    pub id: ResourceId,
    /// Whether it runs.
    pub power: Power,
    /// Whether it is there for good: neither being made nor being deleted.
    pub provisioned: bool,
}

/// How a scale set is orchestrated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScaleSet {
    /// Its instances are numbered, and exist within it.
    Uniform,
    /// Its instances are virtual machines like others.
    Flexible,
}

/// There is nothing to connect to behind what a target names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoMachine {
    /// No instance of a scale set runs.
    #[error("no instance of the scale set `{}` is running: {}", .set.name(), census(.all))]
    Instance {
        /// The set.
        set: ResourceId,
        /// What its instances are in place of it.
        all: Vec<Power>,
    },
    /// A network interface belongs to no machine.
    #[error("the network interface `{interface}` is attached to no machine")]
    Attached {
        /// The interface's name.
        interface: String,
    },
}

/// Why ARM's answer does not describe what was asked for.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ReadError {
    #[error("it is not the JSON of {0}")]
    NotJson(&'static str),
    #[error("it names \"{0}\" where {1} belongs")]
    Id(String, &'static str),
}

#[derive(Deserialize)]
struct Resource {
    #[serde(default)]
    id: String,
    properties: Properties,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Properties {
    #[serde(default)]
    provisioning_state: String,
    #[serde(default)]
    orchestration_mode: String,
    #[serde(default)]
    instance_view: Option<View>,
    #[serde(default)]
    network_profile: Option<NetworkProfile>,
    #[serde(default)]
    virtual_machine: Option<Link>,
}

#[derive(Deserialize)]
struct View {
    #[serde(default)]
    statuses: Vec<Status>,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    code: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NetworkProfile {
    #[serde(default)]
    network_interfaces: Vec<Link>,
}

#[derive(Deserialize)]
struct Link {
    #[serde(default)]
    id: String,
    #[serde(default)]
    properties: Option<LinkProperties>,
}

#[derive(Deserialize)]
struct LinkProperties {
    #[serde(default)]
    primary: Option<bool>,
}

impl Power {
    fn of(view: Option<&View>) -> Self {
        let statuses = view.map(|view| view.statuses.as_slice()).unwrap_or_default();
        let word = statuses.iter().find_map(|status| {
            let (kind, word) = status.code.split_once('/')?;
            kind.eq_ignore_ascii_case("PowerState").then(|| word.to_ascii_lowercase())
        });
        match word.as_deref() {
            Some("running") => Self::Running,
            Some("starting") => Self::Starting,
            Some("stopping") => Self::Stopping,
            Some("stopped") => Self::Stopped,
            Some("deallocating") => Self::Deallocating,
            Some("deallocated") => Self::Deallocated,
            Some(_) | None => Self::Unknown,
        }
    }

    /// Whether it is known that nothing can connect to it now.
    pub fn is_off(self) -> bool {
        match self {
            Self::Starting | Self::Stopping | Self::Stopped | Self::Deallocating | Self::Deallocated => true,
            Self::Running | Self::Unknown => false,
        }
    }
}

impl fmt::Display for Power {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "running",
            Self::Starting => "starting",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Deallocating => "being deallocated",
            Self::Deallocated => "deallocated",
            Self::Unknown => "in a state that Azure does not tell",
        })
    }
}

impl Machine {
    pub(super) fn read(body: &[u8]) -> Result<Self, ReadError> {
        let Resource { properties, .. } = resource(body, "a machine")?;
        let primary = |link: &Link| link.properties.as_ref().and_then(|own| own.primary) == Some(true);
        let mut links = properties.network_profile.map(|all| all.network_interfaces).unwrap_or_default();
        links.sort_by_key(|link| Reverse(primary(link)));
        let interfaces = links.iter().filter_map(|link| ResourceId::parse(&link.id).ok()).collect();
        Ok(Self { power: Power::of(properties.instance_view.as_ref()), interfaces })
    }
}

impl ScaleSet {
    /// A set that says nothing is of the time when there was one kind.
    pub(super) fn read(body: &[u8]) -> Result<Self, ReadError> {
        let mode = resource(body, "a scale set")?.properties.orchestration_mode;
        Ok(if mode.eq_ignore_ascii_case("Flexible") { Self::Flexible } else { Self::Uniform })
    }

    /// The path of the list of a set's instances, and what it is to be filtered by.
    pub(super) fn instances_of(self, set: &ResourceId) -> (String, Option<String>) {
        match self {
            Self::Uniform => (format!("{set}/virtualMachines"), None),
            Self::Flexible => {
                let (subscription, group) = (set.subscription(), set.resource_group());
                let path =
                    format!("/subscriptions/{subscription}/resourceGroups/{group}/providers/{MACHINES}");
                (path, Some(format!("'virtualMachineScaleSet/id' eq '{set}'")))
            }
        }
    }
}

impl Instance {
    pub(super) fn read(value: &Value, set: ScaleSet) -> Result<Self, ReadError> {
        let what = "an instance of a scale set";
        let Resource { id, properties } =
            Deserialize::deserialize(value).map_err(|_hidden| ReadError::NotJson(what))?;
        let kind = match set {
            ScaleSet::Uniform => INSTANCES,
            ScaleSet::Flexible => MACHINES,
        };
        Ok(Self {
            id: typed(&id, &[kind], what)?,
            power: Power::of(properties.instance_view.as_ref()),
            provisioned: properties.provisioning_state.eq_ignore_ascii_case("Succeeded"),
        })
    }

    /// The instance to connect to: the one that was chosen before, as long as it runs; else the first that does.
    ///
    /// # Errors
    /// When none runs. One whose state is not told is better than none.
    pub fn choose(
        all: &[Self],
        before: Option<&ResourceId>,
        set: &ResourceId,
    ) -> Result<ResourceId, NoMachine> {
        let runs = |instance: &&Self| instance.power == Power::Running && instance.provisioned;
        let untold = |instance: &&Self| !instance.power.is_off();
        let kept = all.iter().filter(runs).find(|instance| Some(&instance.id) == before);
        let best = kept.or_else(|| all.iter().filter(runs).min_by_key(|instance| instance.order()));
        let best = best.or_else(|| all.iter().filter(untold).min_by_key(|instance| instance.order()));
        best.map(|instance| instance.id.clone()).ok_or_else(|| NoMachine::Instance {
            set: set.clone(),
            all: all.iter().map(|instance| instance.power).collect(),
        })
    }

    /// Numbers as numbers, so that 9 comes before 10; names behind them.
    fn order(&self) -> (u64, String) {
        let name = self.id.name();
        (name.parse().unwrap_or(u64::MAX), name.to_ascii_lowercase())
    }
}

/// The machine that a network interface is attached to.
pub(super) fn read_interface(body: &[u8]) -> Result<Option<ResourceId>, ReadError> {
    let Some(link) = resource(body, "a network interface")?.properties.virtual_machine else {
        return Ok(None);
    };
    typed(&link.id, &[MACHINES, INSTANCES], "a machine").map(Some)
}

fn resource(body: &[u8], what: &'static str) -> Result<Resource, ReadError> {
    serde_json::from_slice(body).map_err(|_hidden| ReadError::NotJson(what))
}

fn typed(id: &str, kinds: &[&str], what: &'static str) -> Result<ResourceId, ReadError> {
    let parsed = ResourceId::parse(id).ok().filter(|id| kinds.iter().any(|kind| id.is_type(kind)));
    parsed.ok_or_else(|| ReadError::Id(printable(id, 200), what))
}

impl NoMachine {
    /// The stable code of this class of failure.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Instance { .. } => "no-instance",
            Self::Attached { .. } => "not-attached",
        }
    }

    /// What to do about it: a scale set grows by itself, an interface is attached by a person.
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Instance { .. } => Disposition::Retry,
            Self::Attached { .. } => Disposition::Blocked(Blocked::NotFound),
        }
    }

    /// What mends it.
    pub fn hint(&self) -> String {
        match self {
            Self::Instance { set, .. } => {
                let (name, group, subscription) = (set.name(), set.resource_group(), set.subscription());
                let which = format!("--name {name} --resource-group {group} --subscription {subscription}");
                format!(
                    "`az vmss start {which}` starts those that it has, `az vmss scale {which} --new-capacity 1` makes one"
                )
            }
            Self::Attached { .. } => "name the machine itself, as `vm = \"…\"`".to_owned(),
        }
    }
}

/// How many are what.
fn census(all: &[Power]) -> String {
    let mut counts: BTreeMap<Power, usize> = BTreeMap::new();
    all.iter().for_each(|power| *counts.entry(*power).or_default() += 1);
    if counts.is_empty() {
        return "it has none".to_owned();
    }
    let parts: Vec<String> = counts.iter().map(|(power, count)| format!("{count} {power}")).collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests;
