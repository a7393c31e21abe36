//! The clouds: where each is managed, where one signs in, and whom its tokens are for. Pure.

use super::Cloud;
use crate::model::{Cloud as Name, EmulatorEndpoint, PortRule};

/// The addresses of a cloud.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Resource Manager's host, with a port where it is not 443.
    pub resource_manager: String,
    /// Where one signs in: an `https` URL without a slash at its end.
    pub authority: String,
    /// Whom access tokens for Resource Manager are for.
    pub audience: String,
}

impl Addresses {
    /// Where a cloud is; none for the emulator, which says its addresses itself.
    pub fn of(cloud: &Name) -> Option<Self> {
        Some(match cloud {
            Name::Public => Self::public(),
            Name::UsGovernment => Self::us_government(),
            Name::China => Self::china(),
            Name::Emulator => return None,
            Name::Defined(definition) => Self {
                resource_manager: definition.resource_manager.clone(),
                authority: definition.authority.clone(),
                audience: definition.audience.clone(),
            },
        })
    }

    /// Azure itself.
    pub fn public() -> Self {
        Self::built_in("management.azure.com", "login.microsoftonline.com", "management.core.windows.net")
    }

    /// Azure Government.
    pub fn us_government() -> Self {
        let audience = "management.core.usgovcloudapi.net";
        Self::built_in("management.usgovcloudapi.net", "login.microsoftonline.us", audience)
    }

    /// Azure operated by 21Vianet.
    pub fn china() -> Self {
        let audience = "management.core.chinacloudapi.cn";
        Self::built_in("management.chinacloudapi.cn", "login.chinacloudapi.cn", audience)
    }

    /// The audience's slash belongs to it: it is the one that az asks for.
    fn built_in(resource_manager: &str, authority: &str, audience: &str) -> Self {
        Self {
            resource_manager: resource_manager.to_owned(),
            authority: format!("https://{authority}"),
            audience: format!("https://{audience}/"),
        }
    }
}

impl Cloud {
    /// The control plane of a cloud; none for the emulator. Only in a cloud of the user's own may a gateway have a port:
    /// in Microsoft's, one that has is not Microsoft's.
    pub fn of(cloud: &Name) -> Option<Self> {
        let gateway_ports = match cloud {
            Name::Public | Name::UsGovernment | Name::China => PortRule::Forbidden,
            Name::Emulator | Name::Defined(_) => PortRule::Allowed,
        };
        let Addresses { resource_manager, .. } = Addresses::of(cloud)?;
        Some(Self { resource_manager, gateway_ports })
    }

    /// The control plane of an emulator.
    pub fn emulated(endpoint: &EmulatorEndpoint) -> Self {
        Self { resource_manager: endpoint.resource_manager.clone(), gateway_ports: PortRule::Allowed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::CloudDefinition;

    #[test]
    fn every_cloud_has_its_addresses() {
        let rows = [
            (Name::Public, "management.azure.com", "login.microsoftonline.com", "core.windows.net"),
            (
                Name::UsGovernment,
                "management.usgovcloudapi.net",
                "login.microsoftonline.us",
                "core.usgovcloudapi.net",
            ),
            (Name::China, "management.chinacloudapi.cn", "login.chinacloudapi.cn", "core.chinacloudapi.cn"),
        ];
        for (cloud, resource_manager, authority, audience) in rows {
            let addresses = Addresses {
                resource_manager: resource_manager.to_owned(),
                authority: format!("https://{authority}"),
                audience: format!("https://management.{audience}/"),
            };
            assert_eq!(Addresses::of(&cloud), Some(addresses));
            let arm = Cloud::of(&cloud).unwrap();
            assert_eq!((&*arm.resource_manager, arm.gateway_ports), (resource_manager, PortRule::Forbidden));
        }
        assert_eq!((Addresses::of(&Name::Emulator), Cloud::of(&Name::Emulator)), (None, None));
    }

    #[test]
    fn a_defined_cloud_is_what_its_user_says() {
        let definition = CloudDefinition {
            name: crate::model::Name::new("lab").unwrap(),
            resource_manager: "management.lab.example:8443".to_owned(),
            authority: "https://login.lab.example".to_owned(),
            audience: "https://management.lab.example".to_owned(),
            ca_file: None,
        };
        let cloud = Name::Defined(Box::new(definition));
        let arm = Cloud::of(&cloud).unwrap();
        assert_eq!(
            (&*arm.resource_manager, arm.gateway_ports),
            ("management.lab.example:8443", PortRule::Allowed)
        );
        assert_eq!(Addresses::of(&cloud).unwrap().authority, "https://login.lab.example");
    }
}
