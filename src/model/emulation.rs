//! What the emulator serves: the simulated Azure of a workspace, as data.
//!
//! The configuration lowers its `[emulator]` table to this, the emulator serves it. Neither knows the other.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::{Endpoint, Locator, Port, ResourceId};

/// The simulated Azure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emulation {
    /// The bastions that exist. Azure's names for them; the data-plane host is not derivable from either.
    pub bastions: Vec<(ResourceId, BastionTraits)>,
    /// The machines and addresses that can be reached. Anything else is 'not found'.
    pub machines: Vec<Machine>,
    /// Network interfaces that belong to no machine.
    pub loose_interfaces: Vec<ResourceId>,
    /// How the gateway frames what it sends.
    pub frames: Frames,
    /// How long the token exchange takes (a real one takes 650–800 ms).
    pub setup_delay: Duration,
    /// How long a WebSocket may go without a frame either way before it is dropped without a word; zero: for ever.
    pub idle_limit: Duration,
    /// What goes wrong, in order.
    pub faults: Vec<Fault>,
    /// Where every request is written down, one JSON object a line.
    pub log: Option<PathBuf>,
}

impl Default for Emulation {
    /// Nothing exists, nothing goes wrong, and idle WebSockets live for four minutes.
    fn default() -> Self {
        Self {
            bastions: Vec::new(),
            machines: Vec::new(),
            loose_interfaces: Vec::new(),
            frames: Frames::default(),
            setup_delay: Duration::ZERO,
            idle_limit: Duration::from_secs(240),
            faults: Vec::new(),
            log: None,
        }
    }
}

impl Emulation {
    /// The only subscription that an emulator has.
    pub const SUBSCRIPTION: &'static str = "00000000-0000-4000-8000-0000000e0001";
    /// The resource group that is meant where a workspace on the emulator names none.
    pub const RESOURCE_GROUP: &'static str = "rg-emulator";
}

/// What ARM says about a simulated bastion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BastionTraits {
    /// `sku.name`.
    pub sku: Sku,
    /// `properties.enableTunneling`; `None`: the property is absent, as real answers may have it.
    pub enable_tunneling: Option<bool>,
    /// `properties.enableIpConnect`.
    pub enable_ip_connect: Option<bool>,
    /// `properties.dnsName` as ARM is to answer it, where a workspace wants it wrong; `None`: the emulator's own.
    pub dns_name: Option<String>,
    /// How many sessions may be open at once; 0: no limit.
    pub max_sessions: usize,
    /// Whether the caller may read what it wants to reach; if not, the token exchange is refused.
    pub reader: bool,
    /// `properties.enablePrivateOnlyBastion`: it has no public address.
    pub private_only: bool,
}

impl Default for BastionTraits {
    /// A Standard bastion that allows native clients and IP-based connections.
    fn default() -> Self {
        Self::of(Sku::Standard)
    }
}

impl BastionTraits {
    /// A bastion of this SKU that allows what a bastion can allow; ARM says nothing of switches that Developer lacks.
    pub fn of(sku: Sku) -> Self {
        let switch = (!sku.is_shared()).then_some(true);
        Self {
            sku,
            enable_tunneling: switch,
            enable_ip_connect: switch,
            dns_name: None,
            max_sessions: 0,
            reader: true,
            private_only: false,
        }
    }
}

/// The SKUs of Azure Bastion that the emulator knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sku {
    /// Shared by a region: a broker names the host to talk to, and there are machines on ports 22 and 3389 only.
    Developer,
    /// What Developer was called before.
    QuickConnect,
    /// No native client.
    Basic,
    /// Native client when `enableTunneling` is on.
    Standard,
    /// As Standard.
    Premium,
}

impl Sku {
    /// Whether its bastions have no gateway of their own, but share those of a region.
    pub fn is_shared(self) -> bool {
        matches!(self, Self::Developer | Self::QuickConnect)
    }
}

/// A simulated target and what listens on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The resource or the address.
    pub endpoint: Endpoint,
    /// Services by port.
    pub ports: BTreeMap<Port, Service>,
    /// What answers on every other port; `None`: they refuse.
    pub otherwise: Option<Service>,
    /// Whether it runs. Of one that does not, a gateway only says that something went wrong.
    pub power: MachinePower,
    /// The scale set of flexible orchestration that it belongs to.
    pub scale_set: Option<ResourceId>,
    /// Its network interface, where its name matters; otherwise one that is named after it.
    pub interface: Option<ResourceId>,
}

impl Machine {
    /// One that runs, and refuses on every port.
    pub fn new(endpoint: Endpoint) -> Self {
        let (ports, otherwise) = (BTreeMap::new(), None);
        Self { endpoint, ports, otherwise, power: MachinePower::Running, scale_set: None, interface: None }
    }

    /// The machines that stand for a target: as many instances of a scale set as it takes to change over to another.
    pub fn all_of(target: &Locator) -> Vec<Self> {
        match target {
            Locator::Endpoint(endpoint) => vec![Self::new(endpoint.clone())],
            Locator::AnyInstance(set) => {
                let id = |number| ResourceId::parse(&format!("{set}/virtualMachines/{number}"));
                [0, 1].into_iter().filter_map(|n| Some(Self::new(Endpoint::Resource(id(n).ok()?)))).collect()
            }
            Locator::Interface(interface) => {
                let kind = "Microsoft.Compute/virtualMachines";
                let name = format!("machine-of-{}", interface.name());
                let group = interface.resource_group();
                let id = ResourceId::compose(interface.subscription(), group, kind, &name).ok();
                let machine = id.map(|id| Self::new(Endpoint::Resource(id)));
                machine
                    .map(|machine| Self { interface: Some(interface.clone()), ..machine })
                    .into_iter()
                    .collect()
            }
        }
    }
}

/// Whether a simulated machine runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named as Azure names it")]
pub enum MachinePower {
    #[default]
    Running,
    Starting,
    Stopped,
    Deallocated,
}

impl MachinePower {
    /// All of them, by Azure's words, which are those of the file too.
    pub const ALL: &'static [(&'static str, Self)] = &[
        ("running", Self::Running),
        ("starting", Self::Starting),
        ("stopped", Self::Stopped),
        ("deallocated", Self::Deallocated),
    ];
}

/// What listens on a port of a simulated target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Service {
    /// A page that says what just happened, over HTTP/1.1.
    Http,
    /// Sends back what it receives, until the end.
    Echo,
    /// A real server on this machine: the gateway connects there.
    Tcp(SocketAddr),
}

/// How the gateway cuts the target's bytes into WebSocket messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Frames {
    /// As read, at most 8192 bytes a message: what Azure's own gateway was seen to do.
    #[default]
    Natural,
    /// Messages of exactly this many bytes where there are enough, one frame each.
    Size(usize),
    /// Messages of several frames, with pings and empty messages in between.
    Fragments,
}

/// One thing that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where in a session's life.
    pub phase: FaultPhase,
    /// What happens.
    pub action: FaultAction,
    /// In [`FaultPhase::Stream`]: after this many bytes to the client; elsewhere without meaning.
    pub after: u64,
    /// How often; 0: for ever.
    pub times: u32,
    /// Only for this machine, or the instances of this scale set; in [`FaultPhase::Arm`], only for reads of this resource.
    pub target: Option<Endpoint>,
}

/// Where in a session's life a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultPhase {
    /// Reads from ARM.
    Arm,
    /// Sign-in: a token is asked for.
    SignIn,
    /// `POST /api/connection`, which only the Developer SKU has.
    Broker,
    /// `POST /api/tokens`.
    Token,
    /// The WebSocket upgrade.
    Upgrade,
    /// After the upgrade.
    Stream,
    /// `DELETE /api/tokens/…`.
    Delete,
}

/// What a fault does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultAction {
    /// An HTTP answer with this status and a body as Azure gives it. Everywhere but in Stream, as the next two.
    Status(u16),
    /// An HTTP answer with this status and the plain text `Unauthorized` or `Forbidden`, or an HTML page: not JSON.
    PlainStatus(u16),
    /// An HTTP answer with this status and no body at all.
    EmptyStatus(u16),
    /// A redirect with this status to this URL.
    Redirect(u16, String),
    /// A 200 that lacks what it is for: a host, a session's tokens. Broker, Token.
    Malformed,
    /// A 200 with this text in the place of a host, or of what ARM says. Broker, Arm.
    Answer(String),
    /// The answer comes this much later. Everywhere but in Stream.
    Delay(Duration),
    /// No answer, ever; in Stream: no byte and no pong from there on.
    Silence,
    /// The TCP connection ends in order, without close frame and without TLS close_notify.
    Drop,
    /// TLS close_notify, then the end, without a close frame. Stream.
    CloseNotify,
    /// The TCP connection is reset.
    Reset,
    /// A WebSocket close frame with this code (0: with none at all). Stream.
    Close(u16),
    /// 101, then a raw `HTTP/1.1 400` page where the first frame belongs. Upgrade.
    HttpAfter101,
    /// 101 without `Upgrade` and `Connection`, and in order from there. Upgrade.
    Bare101,
    /// 101 with a wrong `Sec-WebSocket-Accept`. Upgrade.
    WrongAccept,
    /// A frame with RSV1 set. Stream.
    ReservedBit,
    /// A masked frame. Stream.
    Masked,
    /// A frame with a reserved opcode. Stream.
    UnknownOpcode,
    /// The target's bytes as text messages from here on, where they are ASCII. Stream.
    Text,
    /// No pong any more, but data goes on. Stream.
    NoPong,
    /// A ping from the gateway every so often. Stream.
    Pings(Duration),
}

impl FaultAction {
    /// Whether this can happen in that phase.
    pub fn strikes_in(&self, phase: FaultPhase) -> bool {
        match self {
            Self::Status(_)
            | Self::PlainStatus(_)
            | Self::EmptyStatus(_)
            | Self::Redirect(..)
            | Self::Delay(_) => phase != FaultPhase::Stream,
            Self::Malformed => matches!(phase, FaultPhase::Broker | FaultPhase::Token),
            Self::Answer(_) => matches!(phase, FaultPhase::Broker | FaultPhase::Arm),
            Self::Silence | Self::Drop | Self::Reset => true,
            Self::HttpAfter101 | Self::Bare101 | Self::WrongAccept => phase == FaultPhase::Upgrade,
            Self::CloseNotify
            | Self::Close(_)
            | Self::ReservedBit
            | Self::Masked
            | Self::UnknownOpcode
            | Self::Text
            | Self::NoPong
            | Self::Pings(_) => phase == FaultPhase::Stream,
        }
    }
}

/// How a client reaches a running emulator. Handed over in the same process, or read from the file that
/// `bastion emulator` writes.
#[derive(Clone, PartialEq, Eq)]
pub struct EmulatorEndpoint {
    /// Where it listens: one TLS port for all of the simulated Azure.
    pub address: SocketAddr,
    /// ARM's host and port, as `management.localhost:PORT`.
    pub resource_manager: String,
    /// The certificate of its throw-away authority, PEM.
    pub ca_pem: String,
    /// The one token it accepts: worth nothing anywhere else.
    pub token: String,
}

impl std::fmt::Debug for EmulatorEndpoint {
    /// Without the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmulatorEndpoint").field("address", &self.address).finish_non_exhaustive()
    }
}
