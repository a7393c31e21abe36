//! The words of the domain as types: names, resource IDs, addresses, secrets.
//!
//! Pure: no I/O, no clock, no serde. A value of one of these types has already been
//! checked; its constructor is the only way in, so no other room checks it again.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;

mod actual;
mod desired;
mod disposition;
mod emulation;
pub mod env;
mod grant;
mod host;
mod locator;
mod network;
mod pattern;
mod resource_id;
mod subscription;
mod text;

pub use actual::{
    BastionStatus, Held, LastError, Program, Reason, State, Status, TunnelEvent, TunnelStatus, Wait,
};
pub use desired::{
    Bastion, Behaviour, Cloud, CredentialKind, Desired, Endpoint, Identity, Limits, Listen, OnOutage,
    OnPortTaken, Probe, Target, Tunnel, overlap,
};
pub use disposition::{Blocked, Disposition, Failure, Scope};
pub use emulation::{
    BastionTraits, Emulation, EmulatorEndpoint, Fault, FaultAction, FaultPhase, Frames, Machine,
    MachinePower, Service, Sku,
};
pub use grant::{Grant, GrantKind};
pub use host::{GatewayHost, HostError, PortRule};
pub use locator::Locator;
pub use network::{CloudDefinition, NetworkRules, ProxyRule, ProxyUrl};
pub use pattern::{Pattern, PatternError};
pub use resource_id::{ResourceId, ResourceIdError};
pub use subscription::{AzCurrent, AzSubscription, NotCurrent};
pub use text::{chain, printable, safe_char};

/// A TCP port that a connection can be made to: 1–65535.
pub type Port = NonZeroU16;

/// The name of a bastion, a target or a tunnel, as it stands in `bastion.toml`.
///
/// One to 63 characters: ASCII letters, digits, `-`, `_` and `.`, beginning with a letter or a digit.
/// So a name is safe in a terminal, in a file name, in a header and as an ssh `Host`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// Why a text is not a [`Name`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing, or more than 63 characters.
    #[error("a name has 1 to 63 characters")]
    Length,
    /// Something other than a letter or a digit at the beginning.
    #[error("a name begins with a letter or a digit")]
    Start,
    /// A character that names do not have.
    #[error("a name is made of letters, digits, `-`, `_` and `.`")]
    Character,
}

impl Name {
    /// Checks a text and makes it a name.
    ///
    /// # Errors
    /// Says which rule of names the text breaks.
    pub fn new(text: &str) -> Result<Self, NameError> {
        if text.is_empty() || text.len() > 63 {
            return Err(NameError::Length);
        }
        if !text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
            return Err(NameError::Character);
        }
        if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return Err(NameError::Start);
        }
        Ok(Self(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether an address is one that only this machine can reach.
pub fn is_loopback(address: &SocketAddr) -> bool {
    match address.ip() {
        IpAddr::V4(v4) => v4.is_loopback(),
        IpAddr::V6(v6) => {
            v6.is_loopback() || v6.to_ipv4_mapped().is_some_and(|v4: Ipv4Addr| v4.is_loopback())
        }
    }
}

#[cfg(test)]
mod tests;
