//! Where a data-plane request may go: the strictest reading of what ARM answered.

use std::fmt;

/// The data-plane host of a bastion, exactly as ARM named it.
///
/// A token for Azure Resource Manager is sent to this host, so it is a bare DNS name and nothing else:
/// no scheme, user part, path, query or IP literal. TLS is always used.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GatewayHost {
    name: String,
    port: u16,
}

/// Whether a port may follow the host name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortRule {
    /// Azure's own clouds: always 443.
    Forbidden,
    /// The emulator and user-defined clouds.
    Allowed,
}

/// Why an answer is not accepted as a data-plane host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// Not a DNS name of letters, digits, hyphens and dots.
    #[error("it is not a bare DNS name")]
    NotADnsName,
    /// An address where a name belongs.
    #[error("it is an IP address, not a DNS name")]
    Address,
    /// A port where none may stand, or one out of range.
    #[error("a port may not stand in it")]
    Port,
}

impl GatewayHost {
    /// Reads what ARM (or, for Developer bastions, the broker) answered.
    ///
    /// # Errors
    /// Says what about the answer makes it unfit to receive a token.
    pub fn parse(text: &str, ports: PortRule) -> Result<Self, HostError> {
        let host = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b':');
        // What is no name at all is not called one with a port.
        if !text.bytes().all(host) || text.bytes().filter(|b| *b == b':').count() > 1 {
            return Err(HostError::NotADnsName);
        }
        let (name, port) = match text.rsplit_once(':') {
            None => (text, 443),
            Some(_) if ports == PortRule::Forbidden => return Err(HostError::Port),
            Some((name, port)) => {
                let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
                let port = port.parse::<u16>().ok().filter(|p| digits && *p != 0).ok_or(HostError::Port)?;
                (name, port)
            }
        };
        if name.is_empty() || name.len() > 253 || !name.split('.').all(is_label) {
            return Err(HostError::NotADnsName);
        }
        // "127.1" and "0x7f.1" are addresses to some resolvers: a name's last label is never a number.
        let last = name.rsplit('.').next().unwrap_or_default();
        if last.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(HostError::Address);
        }
        Ok(Self { name: name.to_ascii_lowercase(), port })
    }

    /// The DNS name, for TLS and for look-ups.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The TCP port: 443 unless the cloud is the user's own.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for GatewayHost {
    /// As it stands in a `Host` header and in a URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            443 => f.write_str(&self.name),
            port => write!(f, "{}:{port}", self.name),
        }
    }
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}
