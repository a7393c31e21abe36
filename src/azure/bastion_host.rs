//! A bastion as ARM describes it, and whether it lets a native client through. Pure.

use serde::Deserialize;

use crate::model::{Endpoint, GatewayHost, HostError, PortRule, printable};

/// What ARM answered for one bastion; booleans that were absent are false.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BastionHost {
    /// `name`, as ARM spells it.
    pub name: String,
    /// `sku.name`, as ARM spells it.
    pub sku: String,
    /// Native client support.
    pub enable_tunneling: bool,
    /// IP-based connection.
    pub enable_ip_connect: bool,
    /// Where its gateway is.
    pub gateway: GatewayHost,
}

/// Why a bastion does not let us through, found without asking its gateway.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The SKU has no native client support.
    #[error(
        "the bastion `{name}` is of the SKU {sku}, which has no native client support: it needs Standard or Premium"
    )]
    Sku {
        /// The bastion.
        name: String,
        /// Its SKU.
        sku: String,
    },
    /// Native client support is off.
    #[error("native client support is off on the bastion `{name}` (enableTunneling is not true)")]
    Tunneling {
        /// The bastion.
        name: String,
    },
    /// IP-based connection is off.
    #[error("IP-based connection is off on the bastion `{name}` (enableIpConnect is not true)")]
    IpConnect {
        /// The bastion.
        name: String,
    },
    /// A SKU that is reached another way, which is not built yet.
    #[error("the bastion `{name}` is of the SKU {sku}, which is not supported yet")]
    NotYet {
        /// The bastion.
        name: String,
        /// Its SKU.
        sku: String,
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
}

impl BastionHost {
    /// Reads ARM's answer. The data-plane host is taken from it and never made from a name.
    pub(super) fn read(body: &[u8], ports: PortRule) -> Result<Self, ReadError> {
        let answer: Answer = serde_json::from_slice(body).map_err(|_hidden| ReadError::NotJson)?;
        let host = answer.properties.dns_name.unwrap_or_default();
        Ok(Self {
            name: printable(&answer.name, 80),
            sku: printable(&answer.sku.name, 80),
            enable_tunneling: answer.properties.enable_tunneling.unwrap_or(false),
            enable_ip_connect: answer.properties.enable_ip_connect.unwrap_or(false),
            gateway: GatewayHost::parse(&host, ports).map_err(ReadError::Host)?,
        })
    }

    /// Whether this bastion lets a native client through to such an endpoint.
    ///
    /// # Errors
    /// Names the property that is in the way.
    pub fn admits(&self, endpoint: &Endpoint) -> Result<(), Refusal> {
        let name = || self.name.clone();
        let is = |sku: &str| self.sku.eq_ignore_ascii_case(sku);
        if is("Developer") || is("QuickConnect") {
            return Err(Refusal::NotYet { name: name(), sku: self.sku.clone() });
        }
        if !is("Standard") && !is("Premium") {
            return Err(Refusal::Sku { name: name(), sku: self.sku.clone() });
        }
        if !self.enable_tunneling {
            return Err(Refusal::Tunneling { name: name() });
        }
        match endpoint {
            Endpoint::Address(_) if !self.enable_ip_connect => Err(Refusal::IpConnect { name: name() }),
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
            Self::NotYet { .. } => "not-supported-yet",
        }
    }

    /// The command that mends it; it takes Azure some minutes.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Sku { name, .. } => Some(format!(
                "`az network bastion update --name {name} --sku Standard --enable-tunneling true …` (it cannot be taken back)"
            )),
            Self::Tunneling { name } => {
                Some(format!("`az network bastion update --name {name} --enable-tunneling true …`"))
            }
            Self::IpConnect { name } => {
                Some(format!("`az network bastion update --name {name} --enable-ip-connect true …`"))
            }
            Self::NotYet { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ResourceId;

    fn host(sku: &str, properties: &str) -> BastionHost {
        let body = format!(
            r#"{{"name":"b","sku":{{"name":"{sku}"}},"properties":{{"dnsName":"bst-1.bastion.azure.com"{properties}}}}}"#
        );
        BastionHost::read(body.as_bytes(), PortRule::Forbidden).unwrap()
    }

    fn refused(host: &BastionHost, endpoint: &Endpoint) -> Option<&'static str> {
        host.admits(endpoint).err().map(|refusal| refusal.code())
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
        assert_eq!(refused(&host("Developer", on), &machine), Some("not-supported-yet"));
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
    fn the_gateway_is_what_arm_said_or_nothing() {
        let read = |host: &str| {
            BastionHost::read(
                format!(r#"{{"properties":{{"dnsName":"{host}"}}}}"#).as_bytes(),
                PortRule::Forbidden,
            )
        };
        assert_eq!(read("bst-1.bastion.azure.com").unwrap().gateway.name(), "bst-1.bastion.azure.com");
        for hostile in ["evil/@x", "10.0.0.1", "user@bst.azure.com", "", "bst.azure.com:444"] {
            assert!(matches!(read(hostile), Err(ReadError::Host(_))), "{hostile}");
        }
        assert!(matches!(BastionHost::read(b"{}", PortRule::Forbidden), Err(ReadError::NotJson)));
    }
}
