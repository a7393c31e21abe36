//! What a workspace's files ask for and only its user can allow.

use super::{Desired, Endpoint, Listen, Name, Tunnel};

/// The kinds of things that need the user's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GrantKind {
    /// A tunnel listens where other machines can reach it.
    Expose,
}

impl GrantKind {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::Expose];

    /// The stable word, as `--allow` takes it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Expose => "expose",
        }
    }
}

/// One thing that a user allowed, or is asked to allow.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Grant {
    /// Its kind.
    pub kind: GrantKind,
    /// All that is allowed, in words for the user. Whatever of it changes, the words change, and have to be allowed anew.
    pub what: String,
}

impl Desired {
    /// What has to be allowed before a tunnel may take effect, with that tunnel's name.
    pub fn grants_wanted(&self) -> Vec<(Name, Grant)> {
        let exposed = self.tunnels.iter().filter(|(_, tunnel)| !tunnel.listen.is_loopback());
        exposed.map(|(name, tunnel)| (name.clone(), self.expose(name, tunnel))).collect()
    }

    fn expose(&self, name: &Name, tunnel: &Tunnel) -> Grant {
        let target = self.targets.get(&tunnel.target);
        // An address means something else behind another bastion, so the bastion belongs to what is allowed.
        let bastion = target.and_then(|target| self.bastions.get(&target.bastion));
        let place = match target.map(|target| &target.endpoint) {
            Some(Endpoint::Resource(id)) => id.as_str().to_owned(),
            Some(Endpoint::Address(ip)) => ip.to_string(),
            None => format!("`{}`", tunnel.target),
        };
        let through = bastion.map_or_else(String::new, |bastion| format!(" through {}", bastion.id.as_str()));
        let (listen, port) = (ListenWords(tunnel.listen), tunnel.port);
        Grant {
            kind: GrantKind::Expose,
            what: format!("tunnel `{name}` listens on {listen} and leads to port {port} of {place}{through}"),
        }
    }
}

/// An address to listen on, and what a wildcard means.
struct ListenWords(Listen);

impl std::fmt::Display for ListenWords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)?;
        match self.0 {
            Listen::Address(ip, _) if ip.is_unspecified() => f.write_str(" (every network of this machine)"),
            Listen::Address(..) | Listen::Localhost(_) => Ok(()),
        }
    }
}
