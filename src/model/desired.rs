//! What a workspace asks for, after every check: no spans, no options that had to be there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::{CloudDefinition, Emulation, Locator, Name, Port, ResourceId, is_loopback};

/// The declared set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// The workspace's name.
    pub workspace: Name,
    /// Which Azure it lives in.
    pub cloud: Cloud,
    /// Bastions by the name that targets use.
    pub bastions: BTreeMap<Name, Bastion>,
    /// Targets by the name that tunnels use.
    pub targets: BTreeMap<Name, Target>,
    /// Tunnels by name, those of every profile; `enabled = false` has taken others out already.
    pub tunnels: BTreeMap<Name, Tunnel>,
    /// What the embedded emulator serves when the cloud is [`Cloud::Emulator`].
    pub emulation: Emulation,
}

/// Which Azure a workspace lives in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cloud {
    /// Azure itself.
    Public,
    /// Azure Government.
    UsGovernment,
    /// Azure operated by 21Vianet.
    China,
    /// The emulator: embedded, or the running one that the user named. It only ever sees its own throw-away token.
    Emulator,
    /// One that the user's own configuration defines; the workspace only names it.
    Defined(Box<CloudDefinition>),
}

impl Cloud {
    /// The built-in ones, by the words of the file.
    pub const BUILT_IN: &'static [(&'static str, Self)] = &[
        ("public", Self::Public),
        ("us-government", Self::UsGovernment),
        ("china", Self::China),
        ("emulator", Self::Emulator),
    ];

    /// Its name, as a file has it.
    pub fn name(&self) -> &str {
        match self {
            Self::Public => "public",
            Self::UsGovernment => "us-government",
            Self::China => "china",
            Self::Emulator => "emulator",
            Self::Defined(definition) => definition.name.as_str(),
        }
    }
}

/// Who asks: which of a person's or a machine's sign-ins is used for a bastion and what lies behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// The tenant to sign in to; `None`: the credential's own.
    pub tenant: Option<String>,
    /// Which credential.
    pub credential: CredentialKind,
    /// The client or managed identity that is meant, where a credential can be several.
    pub client_id: Option<String>,
}

/// The credentials of the file format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is named as the file names it")]
pub enum CredentialKind {
    #[default]
    Auto,
    Login,
    AzureCli,
    AzureDeveloperCli,
    ManagedIdentity,
    WorkloadIdentity,
    Github,
    AzurePipelines,
    ClientSecret,
    ClientCertificate,
    Broker,
}

impl CredentialKind {
    /// All of them, by the words of the file.
    pub const ALL: &'static [(&'static str, Self)] = &[
        ("auto", Self::Auto),
        ("login", Self::Login),
        ("azure-cli", Self::AzureCli),
        ("azure-developer-cli", Self::AzureDeveloperCli),
        ("managed-identity", Self::ManagedIdentity),
        ("workload-identity", Self::WorkloadIdentity),
        ("github", Self::Github),
        ("azure-pipelines", Self::AzurePipelines),
        ("client-secret", Self::ClientSecret),
        ("client-certificate", Self::ClientCertificate),
        ("broker", Self::Broker),
    ];

    /// Whether this version can sign in so.
    pub fn is_built(self) -> bool {
        !matches!(self, Self::Login | Self::Broker)
    }
}

/// An Azure Bastion host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bastion {
    /// Its resource ID.
    pub id: ResourceId,
    /// Who asks for sessions on it.
    pub identity: Identity,
    /// How much of it is used at once.
    pub limits: Limits,
}

/// How much of a bastion is used at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sessions of ours at once; 0: as many as Azure gives. Connections above it wait their turn.
    pub sessions: usize,
    /// How many set-ups may be in flight through it at once; further ones wait their turn.
    pub setups: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { sessions: 0, setups: 32 }
    }
}

/// Something reachable through a bastion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The bastion it is reached through.
    pub bastion: Name,
    /// What it is.
    pub locator: Locator,
}

/// What the gateway connects to, as the token exchange names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endpoint {
    /// A resource with a network card of its own: a virtual machine or a scale set instance.
    Resource(ResourceId),
    /// An address that the bastion can route to (IP-based connection, IPv4 only).
    Address(Ipv4Addr),
}

impl fmt::Display for Endpoint {
    /// The resource's own name, or the address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resource(id) => f.write_str(id.name()),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// One declared mapping: a local listener, and the target and port it leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// Where it listens, `port_offset` added. An address that is not loopback was exposed by the file
    /// (`expose = true`), and needs the user's grant besides.
    pub listen: Listen,
    /// Whether the port there is ours to choose (`listen = "auto"`); until one was, it is 0.
    pub auto: bool,
    /// The target's name.
    pub target: Name,
    /// The port on the target.
    pub port: Port,
    /// The profiles it belongs to; none: it is part of the default set.
    pub profiles: BTreeSet<Name>,
    /// Variables for programs that use it: templates with `{host}`, `{port}` and `{addr}`.
    pub env: BTreeMap<String, String>,
    /// How its connections are treated.
    pub behaviour: Behaviour,
}

/// How the connections of a tunnel are treated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behaviour {
    /// How long one connection may take to be set up, retries included.
    pub connect_timeout: Duration,
    /// A connection on which no byte passed either way for this long is closed; zero: never.
    pub idle_close: Duration,
    /// How long a connection may last once it is connected; zero: as long as it likes.
    pub max_lifetime: Duration,
    /// A ping on a session that was quiet both ways for this long; zero: never.
    pub keepalive: Duration,
    /// How long connections of a replaced or removed tunnel may go on; zero: as long as they like.
    pub drain: Duration,
    /// What becomes of a new connection while the path is down.
    pub on_outage: OnOutage,
    /// How many connections there may be at once; 0: no limit. Above it, connections wait their turn.
    pub max_connections: usize,
    /// What has to be shown before the tunnel is ready.
    pub probe: Probe,
    /// Whether nothing is asked of Azure before the first connection.
    pub lazy: bool,
    /// How many token answers are kept ready while connections come.
    pub prewarm: usize,
    /// Whether those are open connections, which the target sees.
    pub prewarm_dial: bool,
    /// The first wait after a failure that may pass by itself, and the longest.
    pub backoff: (Duration, Duration),
    /// What is done when somebody else has its local port.
    pub on_port_taken: OnPortTaken,
}

impl Default for Behaviour {
    /// What a file that says nothing means.
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(20),
            idle_close: Duration::ZERO,
            max_lifetime: Duration::ZERO,
            keepalive: Duration::from_secs(30),
            drain: Duration::ZERO,
            on_outage: OnOutage::Hold,
            max_connections: 0,
            probe: Probe::Session,
            lazy: false,
            prewarm: 0,
            prewarm_dial: false,
            backoff: (Duration::from_millis(800), Duration::from_secs(30)),
            on_port_taken: OnPortTaken::Fail,
        }
    }
}

/// What becomes of a new connection while the path is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnOutage {
    /// It is held, unread, up to `connect_timeout`.
    Hold,
    /// It is refused at once.
    Refuse,
}

/// What is done when somebody else has a tunnel's local port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnPortTaken {
    /// The tunnel does not listen, and says who has it.
    Fail,
    /// It listens on the next port that is free.
    Next,
}

/// What has to be shown before a tunnel is called ready.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Probe {
    /// Nothing beyond its listener and its bastion.
    None,
    /// A session is granted, and deleted at once.
    Session,
    /// A session is opened, and nobody refuses it for a moment.
    Connect,
    /// The target speaks first.
    Banner,
    /// The target answers a TLS ClientHello.
    Tls,
    /// The target answers an HTTP request for this path.
    Http(Arc<str>),
}

impl Probe {
    /// Whether the target notices it.
    pub fn reaches_target(&self) -> bool {
        match self {
            Self::None | Self::Session => false,
            Self::Connect | Self::Banner | Self::Tls | Self::Http(_) => true,
        }
    }

    /// Whether the target itself has to say something.
    pub fn hears_target(&self) -> bool {
        match self {
            Self::None | Self::Session | Self::Connect => false,
            Self::Banner | Self::Tls | Self::Http(_) => true,
        }
    }
}

impl fmt::Display for Probe {
    /// As a file has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Session => f.write_str("session"),
            Self::Connect => f.write_str("connect"),
            Self::Banner => f.write_str("banner"),
            Self::Tls => f.write_str("tls"),
            Self::Http(path) => write!(f, "http:{path}"),
        }
    }
}

/// The set of local addresses that a tunnel owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// 127.0.0.1 and, where the machine has it, ::1, on one port (0: any free one).
    Localhost(u16),
    /// One address and port (0: any free one).
    Address(IpAddr, u16),
}

impl Listen {
    /// The port, 0 for any free one.
    pub fn port(self) -> u16 {
        match self {
            Self::Localhost(port) | Self::Address(_, port) => port,
        }
    }

    /// The same with another port.
    #[must_use]
    pub fn at(self, port: u16) -> Self {
        match self {
            Self::Localhost(_) => Self::Localhost(port),
            Self::Address(ip, _) => Self::Address(ip, port),
        }
    }

    /// The addresses themselves, on a machine that has ::1 or has not.
    pub fn addresses(self, ipv6_loopback: bool) -> Vec<SocketAddr> {
        match self {
            Self::Localhost(port) => {
                let mut all = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))];
                if ipv6_loopback {
                    all.push(SocketAddr::from((Ipv6Addr::LOCALHOST, port)));
                }
                all
            }
            Self::Address(ip, port) => vec![SocketAddr::new(ip, port)],
        }
    }

    /// Whether only this machine can reach it.
    pub fn is_loopback(self) -> bool {
        match self {
            Self::Localhost(_) => true,
            Self::Address(ip, port) => is_loopback(&SocketAddr::new(ip, port)),
        }
    }
}

impl fmt::Display for Listen {
    /// As a file would have it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Localhost(port) => write!(f, "localhost:{port}"),
            Self::Address(ip, port) => SocketAddr::new(*ip, *port).fmt(f),
        }
    }
}

/// Whether two addresses cannot have different owners: they are one, or one of them is the wildcard of its port.
///
/// `[::]` takes IPv4 too on most systems, so each wildcard overlaps every address of its port.
pub fn overlap(one: &SocketAddr, other: &SocketAddr) -> bool {
    one.port() != 0
        && one.port() == other.port()
        && (one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified())
}
