//! What a user says of the way to Azure, and of clouds of their own: nothing of it can stand in a workspace's file.

use std::fmt;
use std::path::PathBuf;

use secrecy::{ExposeSecret as _, SecretString};

use super::Name;

/// `[network]` of the user's own configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkRules {
    /// Which proxy everything goes through.
    pub proxy: ProxyRule,
    /// Which hosts are reached without it, as NO_PROXY has them; `None`: what NO_PROXY says.
    pub no_proxy: Option<String>,
    /// A PEM file with certificate authorities to believe besides the system's.
    pub ca_file: Option<PathBuf>,
}

/// Which proxy everything goes through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ProxyRule {
    /// The one that the environment names, if it names one.
    #[default]
    System,
    /// None, whatever the environment says.
    Direct,
    /// This one, whatever the environment says.
    Through(ProxyUrl),
}

/// The URL of a proxy. It may hold a password, so it cannot be printed.
#[derive(Clone)]
pub struct ProxyUrl(SecretString);

impl ProxyUrl {
    /// Takes a URL that was checked.
    pub fn new(url: &str) -> Self {
        Self(url.into())
    }

    /// The URL, with its password.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl PartialEq for ProxyUrl {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for ProxyUrl {}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProxyUrl(_)")
    }
}

/// `[clouds.NAME]` of the user's own configuration: an Azure that is not one of the built-in ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudDefinition {
    /// What a workspace calls it.
    pub name: Name,
    /// Resource Manager's host, with a port where it is not 443.
    pub resource_manager: String,
    /// Where one signs in: an `https` URL without a slash at its end.
    pub authority: String,
    /// Whom access tokens for Resource Manager are for.
    pub audience: String,
    /// A PEM file with certificate authorities that are believed in this cloud only.
    pub ca_file: Option<PathBuf>,
}
