//! Which keys each table has: those this version reads, and those that later versions will.

/// The keys of one kind of table.
#[derive(Debug)]
pub(super) struct Keys {
    /// The table as a person would name it.
    pub(super) place: &'static str,
    /// What is read.
    pub(super) known: &'static [&'static str],
    /// What the file format has and this version refuses by name.
    pub(super) later: &'static [&'static str],
}

pub(super) const ROOT: Keys = Keys {
    place: "the top of the file",
    known: &["name", "azure", "defaults", "bastions", "targets", "tunnels", "emulator"],
    later: &["ssh", "rdp", "host_keys", "user_agent"],
};

/// Keys of later versions that stand in for one that this version needs: a target by `aks` has no `vm`.
pub(super) const STAND_INS: &[&str] = &["aks", "via", "host", "mode", "to"];

/// What only the user's own configuration may hold, wherever in a workspace file it stands.
pub(super) const USER_ONLY: &[&str] = &["clouds", "network", "peers", "unclean_end"];

pub(super) const AZURE: Keys = Keys {
    place: "[azure]",
    known: &["cloud", "subscription", "resource_group"],
    later: &["tenant", "credential", "client_id"],
};

pub(super) const DEFAULTS: Keys = Keys {
    place: "[defaults]",
    known: &["listen_host", "connect_timeout", "keepalive"],
    later: &[
        "idle_close",
        "max_lifetime",
        "drain",
        "on_outage",
        "max_connections",
        "prewarm",
        "prewarm_dial",
        "probe",
        "lazy",
        "on_port_taken",
        "port_offset",
        "worktree_offset",
        "backoff",
        "stop_grace",
    ],
};

pub(super) const BASTION: Keys = Keys {
    place: "[bastions.NAME]",
    known: &["name", "resource_group", "subscription", "id", "max_setups"],
    later: &["tenant", "credential", "client_id", "max_sessions"],
};

pub(super) const TARGET: Keys = Keys {
    place: "[targets]",
    known: &["vm", "vmss", "instance", "ip", "id", "bastion", "resource_group", "subscription"],
    later: &["aks", "via", "host", "start_vm", "ssh", "rdp"],
};

pub(super) const TUNNEL: Keys = Keys {
    place: "[tunnels.NAME]",
    known: &["listen", "target", "port", "connect_timeout", "keepalive"],
    later: &[
        "mode",
        "to",
        "profiles",
        "expose",
        "env",
        "via",
        "host",
        "enabled",
        "idle_close",
        "max_lifetime",
        "drain",
        "on_outage",
        "max_connections",
        "prewarm",
        "prewarm_dial",
        "probe",
        "lazy",
        "on_port_taken",
        "port_offset",
        "backoff",
    ],
};

pub(super) const EMULATOR: Keys = Keys {
    place: "[emulator]",
    known: &["log", "setup_delay", "idle_limit", "frames", "bastions", "targets", "faults"],
    later: &[],
};

pub(super) const EMULATOR_BASTION: Keys = Keys {
    place: "[emulator.bastions.NAME]",
    known: &["sku", "enable_tunneling", "enable_ip_connect", "dns_name", "max_sessions", "reader"],
    later: &[],
};

pub(super) const FAULT: Keys =
    Keys { place: "[[emulator.faults]]", known: &["phase", "do", "after", "times", "target"], later: &[] };

/// The tables in which a misplaced key may have its home.
pub(super) const ALL: &[&Keys] =
    &[&ROOT, &AZURE, &DEFAULTS, &BASTION, &TARGET, &TUNNEL, &EMULATOR, &EMULATOR_BASTION, &FAULT];
