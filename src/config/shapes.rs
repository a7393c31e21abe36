//! What the tables of the file hold, as they were written. A field is absent when its key is; its value, when it was
//! refused already.

use std::ops::Range;

use toml::Spanned;

use super::reader::{Entry, Field, Scalar, Text};

/// A workspace's file.
#[derive(Debug, Default)]
pub(super) struct File {
    /// Whether all of it was TOML; if not, what seems to be absent may be there.
    pub(super) whole: bool,
    pub(super) name: Option<Field<Text>>,
    pub(super) azure: Azure,
    pub(super) defaults: Defaults,
    pub(super) bastions: Vec<Entry<Option<Bastion>>>,
    pub(super) targets: Vec<Entry<Option<Target>>>,
    pub(super) tunnels: Vec<Entry<Tunnel>>,
    pub(super) emulator: Emulator,
}

/// What only the user's own configuration holds.
#[derive(Debug, Default)]
pub(super) struct Own {
    pub(super) clouds: Vec<Entry<Option<Cloud>>>,
    pub(super) network: Network,
}

/// `[clouds.NAME]`.
#[derive(Debug)]
pub(super) struct Cloud {
    /// Whether a key was refused that may stand for one that is needed.
    pub(super) spoilt: bool,
    pub(super) resource_manager: Option<Field<Text>>,
    pub(super) audience: Option<Field<Text>>,
    pub(super) authority: Option<Field<Text>>,
    pub(super) ca_file: Option<Field<Text>>,
}

/// `[network]`.
#[derive(Debug, Default)]
pub(super) struct Network {
    pub(super) proxy: Option<Field<Text>>,
    pub(super) no_proxy: Option<Vec<Text>>,
    pub(super) ca_file: Option<Field<Text>>,
}

/// `[azure]`.
#[derive(Debug, Default)]
pub(super) struct Azure {
    /// Whether a key was refused that may stand for one that is needed.
    pub(super) spoilt: bool,
    pub(super) cloud: Option<Field<Text>>,
    pub(super) subscription: Option<Field<Text>>,
    pub(super) resource_group: Option<Field<Text>>,
    pub(super) identity: Identity,
}

/// Who asks: what `[azure]` and each bastion may set.
#[derive(Debug, Default)]
pub(super) struct Identity {
    pub(super) tenant: Option<Field<Text>>,
    pub(super) credential: Option<Field<Text>>,
    pub(super) client_id: Option<Field<Text>>,
}

/// `[defaults]`.
#[derive(Debug, Default)]
pub(super) struct Defaults {
    pub(super) listen_host: Option<Field<Text>>,
    pub(super) port_offset: Option<Field<Spanned<i64>>>,
    pub(super) worktree_offset: Option<Field<Spanned<i64>>>,
    pub(super) behaviour: Behaviour,
}

/// How connections are treated: what `[defaults]` and each tunnel may set.
#[derive(Debug, Default)]
pub(super) struct Behaviour {
    pub(super) connect_timeout: Option<Field<Text>>,
    pub(super) idle_close: Option<Field<Text>>,
    pub(super) max_lifetime: Option<Field<Text>>,
    pub(super) keepalive: Option<Field<Text>>,
    pub(super) drain: Option<Field<Text>>,
    pub(super) on_outage: Option<Field<Text>>,
    pub(super) max_connections: Option<Field<Spanned<i64>>>,
    pub(super) probe: Option<Field<Text>>,
    pub(super) lazy: Option<Field<Spanned<bool>>>,
    pub(super) prewarm: Option<Field<Spanned<i64>>>,
    pub(super) prewarm_dial: Option<Field<Spanned<bool>>>,
    pub(super) backoff: Backoff,
    pub(super) on_port_taken: Option<Field<Text>>,
}

/// `backoff = { … }`.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    pub(super) initial: Option<Field<Text>>,
    pub(super) max: Option<Field<Text>>,
}

/// `[bastions.NAME]`.
#[derive(Debug)]
pub(super) struct Bastion {
    /// Whether a key was refused that may stand for one that is needed.
    pub(super) spoilt: bool,
    pub(super) name: Option<Field<Text>>,
    pub(super) resource_group: Option<Field<Text>>,
    pub(super) subscription: Option<Field<Text>>,
    pub(super) id: Option<Field<Text>>,
    pub(super) max_sessions: Option<Field<Spanned<i64>>>,
    pub(super) max_setups: Option<Field<Spanned<i64>>>,
    pub(super) identity: Identity,
}

/// An entry of `[targets]`.
#[derive(Debug)]
pub(super) struct Target {
    /// Whether a key was refused that may stand for one that is needed.
    pub(super) spoilt: bool,
    pub(super) vm: Option<Field<Text>>,
    pub(super) vmss: Option<Field<Text>>,
    pub(super) nic: Option<Field<Text>>,
    pub(super) instance: Option<Field<Scalar>>,
    pub(super) ip: Option<Field<Text>>,
    pub(super) id: Option<Field<Text>>,
    pub(super) bastion: Option<Field<Text>>,
    pub(super) resource_group: Option<Field<Text>>,
    pub(super) subscription: Option<Field<Text>>,
}

/// An entry of `[tunnels]`.
#[derive(Debug)]
pub(super) enum Tunnel {
    /// `"LISTEN -> TARGET:PORT"`.
    Short(Text),
    /// A table.
    Long(Box<LongTunnel>),
    /// Neither; refused already.
    Broken,
}

/// `[tunnels.NAME]`.
#[derive(Debug)]
pub(super) struct LongTunnel {
    /// Whether a key was refused that may stand for one that is needed.
    pub(super) spoilt: bool,
    pub(super) listen: Option<Field<Scalar>>,
    pub(super) target: Option<Field<Text>>,
    pub(super) port: Option<Field<Spanned<i64>>>,
    pub(super) port_offset: Option<Field<Spanned<i64>>>,
    pub(super) expose: Option<Field<Spanned<bool>>>,
    pub(super) enabled: Option<Field<Spanned<bool>>>,
    pub(super) profiles: Vec<Text>,
    pub(super) env: Vec<Entry<Option<Text>>>,
    pub(super) behaviour: Behaviour,
}

/// `[emulator]`.
#[derive(Debug, Default)]
pub(super) struct Emulator {
    pub(super) log: Option<Field<Text>>,
    pub(super) setup_delay: Option<Field<Text>>,
    pub(super) idle_limit: Option<Field<Text>>,
    pub(super) frames: Option<Field<Text>>,
    pub(super) bastions: Vec<Entry<Option<Traits>>>,
    pub(super) targets: Vec<Entry<Services>>,
    pub(super) power: Vec<Entry<Option<Text>>>,
    pub(super) faults: Vec<Fault>,
}

/// `[emulator.bastions.NAME]`.
#[derive(Debug)]
pub(super) struct Traits {
    pub(super) sku: Option<Field<Text>>,
    pub(super) enable_tunneling: Option<Field<Scalar>>,
    pub(super) enable_ip_connect: Option<Field<Scalar>>,
    pub(super) dns_name: Option<Field<Text>>,
    pub(super) max_sessions: Option<Field<Spanned<i64>>>,
    pub(super) reader: Option<Field<Spanned<bool>>>,
    pub(super) private_only: Option<Field<Spanned<bool>>>,
}

/// An entry of `[emulator.targets]`.
#[derive(Debug)]
pub(super) enum Services {
    /// The same service on every port.
    Everywhere(Text),
    /// By port, or `default`.
    ByPort(Vec<Entry<Option<Text>>>),
    /// Neither; refused already.
    Broken,
}

/// One of `[[emulator.faults]]`.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) span: Range<usize>,
    /// Whether a key was refused that may stand for one that is needed.
    pub(super) spoilt: bool,
    pub(super) phase: Option<Field<Text>>,
    pub(super) action: Option<Field<Text>>,
    pub(super) after: Option<Field<Scalar>>,
    pub(super) times: Option<Field<Spanned<i64>>>,
    pub(super) target: Option<Field<Text>>,
}
