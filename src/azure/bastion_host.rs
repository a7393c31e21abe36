//! A bastion as ARM describes it, and whether it lets a native client through. Pure.

use serde::Deserialize;

use crate::model::{Endpoint, GatewayHost, HostError, Port, PortRule, ResourceId, printable};

/// What ARM answered for one bastion; booleans that were absent are false.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BastionHost {
    /// Its ID, as it was asked for.
    pub id: ResourceId,
    /// `name`, as ARM spells it.
    pub name: String,
    /// `sku.name`, as ARM spells it.
    pub sku: String,
    /// Native client support.
    pub enable_tunneling: bool,
    /// IP-based connection.
    pub enable_ip_connect: bool,
    /// Whether it has no public address.
    pub private_only: bool,
    /// Where its gateway is; of the SKU Developer, where the broker is that says it.
    pub gateway: GatewayHost,
    /// Whether what names a gateway in this cloud may name a port.
    pub ports: PortRule,
}

/// Why a bastion does not let us through, found without asking its gateway.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The SKU has no native client support.
    #[error(
        "the bastion `{}` is of the SKU {sku}, which has no native client support: it needs Standard or Premium",
        id.name()
    )]
    Sku {
        /// The bastion.
        id: Box<ResourceId>,
        /// Its SKU.
        sku: String,
    },
    /// Native client support is off.
    #[error("native client support is off on the bastion `{}` (enableTunneling is not true)", id.name())]
    Tunneling {
        /// The bastion.
        id: Box<ResourceId>,
    },
    /// IP-based connection is off.
    #[error("IP-based connection is off on the bastion `{}` (enableIpConnect is not true)", id.name())]
    IpConnect {
        /// The bastion.
        id: Box<ResourceId>,
    },
    /// More than a bastion that is shared by a region does.
    #[error(
        "the bastion `{}` is of the SKU {sku}, which reaches virtual machines on ports 22 and 3389 only, not {what}",
        id.name()
    )]
    Shared {
        /// The bastion.
        id: Box<ResourceId>,
        /// Its SKU.
        sku: String,
        /// What it does not reach.
        what: String,
    },
}

/// Why ARM's answer does not describe a bastion.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("it is not the JSON of a bastion")]
    NotJson,
    #[error("its `properties.dnsName` is not accepted as the address of a gateway")]
    Host(#[source] HostError),
}

impl ReadError {
    /// Whether it is what it says of its gateway.
    pub(super) fn is_host(&self) -> bool {
        matches!(self, Self::Host(_))
    }
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    name: String,
    #[serde(default)]
    sku: Sku,
    properties: Properties,
}

#[derive(Default, Deserialize)]
struct Sku {
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Properties {
    #[serde(default)]
    dns_name: Option<String>,
    #[serde(default)]
    enable_tunneling: Option<bool>,
    #[serde(default)]
    enable_ip_connect: Option<bool>,
    #[serde(default)]
    enable_private_only_bastion: Option<bool>,
}

impl BastionHost {
    /// Reads ARM's answer. The data-plane host is taken from it and never made from a name.
    pub(super) fn read(body: &[u8], ports: PortRule, id: &ResourceId) -> Result<Self, ReadError> {
        let answer: Answer = serde_json::from_slice(body).map_err(|_hidden| ReadError::NotJson)?;
        let host = answer.properties.dns_name.unwrap_or_default();
        Ok(Self {
            id: id.clone(),
            name: printable(&answer.name, 80),
            sku: printable(&answer.sku.name, 80),
            enable_tunneling: answer.properties.enable_tunneling.unwrap_or(false),
            enable_ip_connect: answer.properties.enable_ip_connect.unwrap_or(false),
            private_only: answer.properties.enable_private_only_bastion.unwrap_or(false),
            gateway: GatewayHost::parse(&host, ports).map_err(ReadError::Host)?,
            ports,
        })
    }

    /// Whether it has no gateway of its own, but shares those of a region: Developer, or by its old name QuickConnect.
    pub fn is_shared(&self) -> bool {
        ["Developer", "QuickConnect"].iter().any(|sku| self.sku.eq_ignore_ascii_case(sku))
    }

    /// Whether this bastion lets a native client through to such a port.
    ///
    /// # Errors
    /// Names the property that is in the way.
    pub fn admits(&self, endpoint: &Endpoint, port: Port) -> Result<(), Refusal> {
        let id = || Box::new(self.id.clone());
        let is = |sku: &str| self.sku.eq_ignore_ascii_case(sku);
        if self.is_shared() {
            let beyond = |what| Err(Refusal::Shared { id: id(), sku: self.sku.clone(), what });
            return match endpoint {
                Endpoint::Address(ip) => beyond(format!("the address {ip} (it has no enableIpConnect)")),
                Endpoint::Resource(target) if !target.is_type("Microsoft.Compute/virtualMachines") => {
                    beyond(match target.parent() {
                        Some(set) => format!("instance {} of the scale set `{}`", target.name(), set.name()),
                        None => format!("`{}`, which is another kind of resource", target.name()),
                    })
                }
                Endpoint::Resource(_) if !matches!(port.get(), 22 | 3389) => beyond(format!("port {port}")),
                Endpoint::Resource(_) => Ok(()),
            };
        }
        if !is("Standard") && !is("Premium") {
            return Err(Refusal::Sku { id: id(), sku: self.sku.clone() });
        }
        if !self.enable_tunneling {
            return Err(Refusal::Tunneling { id: id() });
        }
        match endpoint {
            Endpoint::Address(_) if !self.enable_ip_connect => Err(Refusal::IpConnect { id: id() }),
            Endpoint::Address(_) | Endpoint::Resource(_) => Ok(()),
        }
    }
}

impl Refusal {
    /// The stable code of this class of failure.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Sku { .. } => "wrong-sku",
            Self::Tunneling { .. } => "tunneling-disabled",
            Self::IpConnect { .. } => "ip-connect-disabled",
            Self::Shared { .. } => "developer-limits",
        }
    }

    /// The command that mends it; it takes Azure some minutes.
    pub fn hint(&self) -> Option<String> {
        let update = |id: &ResourceId, what: &str| {
            let (name, group, subscription) = (id.name(), id.resource_group(), id.subscription());
            format!(
                "`az network bastion update --name {name} --resource-group {group} --subscription {subscription} {what}`"
            )
        };
        Some(match self {
            Self::Sku { id, .. } => {
                format!("{} (it cannot be taken back)", update(id, "--sku Standard --enable-tunneling true"))
            }
            Self::Tunneling { id } => update(id, "--enable-tunneling true"),
            Self::IpConnect { id } => update(id, "--enable-ip-connect true"),
            Self::Shared { .. } => {
                "`az network bastion create --sku Standard --enable-tunneling true --enable-ip-connect true …` makes one that reaches it (it needs a subnet `AzureBastionSubnet` and is paid for by the hour)"
                    .to_owned()
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> ResourceId {
        ResourceId::compose("s", "g", "Microsoft.Network/bastionHosts", "b").unwrap()
    }

    fn host(sku: &str, properties: &str) -> BastionHost {
        let body = format!(
            r#"{{"name":"b","sku":{{"name":"{sku}"}},"properties":{{"dnsName":"bst-1.bastion.azure.com"{properties}}}}}"#
        );
        BastionHost::read(body.as_bytes(), PortRule::Forbidden, &own()).unwrap()
    }

    fn refused(host: &BastionHost, endpoint: &Endpoint) -> Option<&'static str> {
        refused_at(host, endpoint, 22)
    }

    fn refused_at(host: &BastionHost, endpoint: &Endpoint, port: u16) -> Option<&'static str> {
        host.admits(endpoint, Port::new(port).unwrap()).err().map(|refusal| refusal.code())
    }

    #[test]
    fn skus_and_switches_decide_without_regard_to_case() {
        let machine = Endpoint::Resource(
            ResourceId::compose("s", "g", "Microsoft.Compute/virtualMachines", "v").unwrap(),
        );
        let address = Endpoint::Address("10.0.0.4".parse().unwrap());
        let on = r#","enableTunneling":true"#;
        assert_eq!(refused(&host("standard", on), &machine), None);
        assert_eq!(refused(&host("PREMIUM", on), &machine), None);
        assert_eq!(refused(&host("Basic", on), &machine), Some("wrong-sku"));
        assert_eq!(refused(&host("", on), &machine), Some("wrong-sku"));
        assert_eq!(refused(&host("Standard", ""), &machine), Some("tunneling-disabled"), "absent is false");
        assert_eq!(
            refused(&host("Standard", r#","enableTunneling":null"#), &machine),
            Some("tunneling-disabled")
        );
        assert_eq!(refused(&host("Standard", on), &address), Some("ip-connect-disabled"));
        assert_eq!(
            refused(&host("Standard", r#","enableTunneling":true,"enableIpConnect":true"#), &address),
            None
        );
    }

    #[test]
    fn a_shared_bastion_reaches_machines_on_two_ports_whatever_its_switches() {
        let resource = |kind| Endpoint::Resource(ResourceId::compose("s", "g", kind, "v").unwrap());
        let machine = resource("microsoft.compute/VIRTUALMACHINES");
        let beyond = Some("developer-limits");
        for sku in ["Developer", "developer", "QuickConnect", "QUICKCONNECT"] {
            for flags in
                ["", r#","enableTunneling":false"#, r#","enableTunneling":true,"enableIpConnect":true"#]
            {
                let host = host(sku, flags);
                assert!(host.is_shared());
                for (port, code) in [(22, None), (3389, None), (80, beyond), (2222, beyond)] {
                    assert_eq!(refused_at(&host, &machine, port), code, "{sku} {port}");
                }
                let cluster = resource("Microsoft.ContainerService/managedClusters");
                assert_eq!(refused_at(&host, &cluster, 22), beyond);
                let refusal =
                    host.admits(&Endpoint::Address("10.0.0.4".parse().unwrap()), Port::new(22).unwrap());
                let words = refusal.unwrap_err().to_string();
                assert!(words.contains(sku) && words.contains("enableIpConnect"), "{words}");
            }
        }
        assert!(!host("Standard", "").is_shared());
    }

    #[test]
    fn the_gateway_is_what_arm_said_or_nothing() {
        let read = |host: &str| {
            BastionHost::read(
                format!(r#"{{"properties":{{"dnsName":"{host}"}}}}"#).as_bytes(),
                PortRule::Forbidden,
                &own(),
            )
        };
        assert_eq!(read("bst-1.bastion.azure.com").unwrap().gateway.name(), "bst-1.bastion.azure.com");
        for hostile in ["evil/@x", "10.0.0.1", "user@bst.azure.com", "", "bst.azure.com:444"] {
            assert!(matches!(read(hostile), Err(ReadError::Host(_))), "{hostile}");
        }
        assert!(matches!(BastionHost::read(b"{}", PortRule::Forbidden, &own()), Err(ReadError::NotJson)));
    }
}
