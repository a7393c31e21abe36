//! How a target is named: some names have to be looked up before a gateway can connect to what they mean.

use std::fmt;

use super::{Endpoint, ResourceId};

const SCALE_SETS: &str = "Microsoft.Compute/virtualMachineScaleSets";
const INTERFACES: &str = "Microsoft.Network/networkInterfaces";
const INSTANCE_INTERFACES: &str =
    "Microsoft.Compute/virtualMachineScaleSets/virtualMachines/networkInterfaces";

/// What a target is, as it is declared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Locator {
    /// What a gateway connects to itself.
    Endpoint(Endpoint),
    /// A scale set: any of its instances will do.
    AnyInstance(ResourceId),
    /// A network interface: the machine that it is attached to is meant.
    Interface(ResourceId),
}

impl Locator {
    /// What the ID of a resource means as a target.
    pub fn of(id: ResourceId) -> Self {
        if id.is_type(SCALE_SETS) {
            Self::AnyInstance(id)
        } else if id.is_type(INTERFACES) {
            Self::Interface(id)
        } else {
            // The interface of a numbered instance has the instance's ID within its own.
            let machine = id.is_type(INSTANCE_INTERFACES).then(|| id.parent()).flatten();
            Self::Endpoint(Endpoint::Resource(machine.unwrap_or(id)))
        }
    }

    /// The resource that is named, if it is one.
    pub fn id(&self) -> Option<&ResourceId> {
        match self {
            Self::Endpoint(Endpoint::Resource(id)) | Self::AnyInstance(id) | Self::Interface(id) => Some(id),
            Self::Endpoint(Endpoint::Address(_)) => None,
        }
    }
}

impl From<Endpoint> for Locator {
    fn from(endpoint: Endpoint) -> Self {
        Self::Endpoint(endpoint)
    }
}

impl fmt::Display for Locator {
    /// The resource's own name, or the address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Endpoint(endpoint) => endpoint.fmt(f),
            Self::AnyInstance(set) => write!(f, "any instance of {}", set.name()),
            Self::Interface(interface) => write!(f, "the machine of {}", interface.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_means_what_its_type_says() {
        let group = "/subscriptions/s/resourceGroups/g/providers";
        let of = |rest: &str| Locator::of(ResourceId::parse(&format!("{group}/{rest}")).unwrap());
        let machine = of("Microsoft.Compute/virtualMachines/v");
        assert!(matches!(machine, Locator::Endpoint(Endpoint::Resource(_))));
        assert!(matches!(of("microsoft.compute/VIRTUALMACHINESCALESETS/a"), Locator::AnyInstance(_)));
        assert!(matches!(of("Microsoft.Network/networkinterfaces/n"), Locator::Interface(_)));
        let instance = "Microsoft.Compute/virtualMachineScaleSets/a/virtualMachines/3";
        assert_eq!(of(&format!("{instance}/networkInterfaces/n")), of(instance));
        assert_eq!(of(instance).to_string(), "3");
        assert_eq!(of("Microsoft.Network/networkInterfaces/n").to_string(), "the machine of n");
    }
}
