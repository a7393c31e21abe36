//! The tables that say what is wanted: all but `[emulator]`.

use super::{
    CONNECTIONS, EMULATOR, Key, Keys, Kind, LISTEN_PORTS, NAME, OFFSETS, PORTS, PREWARM, SESSIONS, SETUPS,
    WORKTREE_OFFSETS, key,
};

pub(in crate::config) const ROOT: Keys = Keys {
    place: "the top of the file",
    known: &[
        key("name", Kind::Name, "The workspace's name. Default: the directory's name."),
        key("azure", Kind::Table(&AZURE), "Which Azure, and what holds for everything in it."),
        key("defaults", Kind::Table(&DEFAULTS), "What holds for every tunnel that does not say otherwise."),
        key("bastions", Kind::Named(NAME, &Kind::Table(&BASTION)), "The Azure Bastion hosts, by name."),
        key("targets", Kind::Named(NAME, &Kind::Table(&TARGET)), "What can be reached, by name."),
        key("tunnels", Kind::Named(NAME, &ONE_TUNNEL), "What is listened on, and where it leads, by name."),
        key("emulator", Kind::Table(&EMULATOR), "How the emulator behaves."),
    ],
    later: &["ssh", "rdp", "host_keys", "user_agent"],
};

/// A tunnel in short or in long form. Two arrows would be hops, which are refused by name.
const ONE_TUNNEL: Kind =
    Kind::Either(&[Kind::Pattern("^\\s*[^>]*[^>\\s]\\s*->\\s*[^>]+:[0-9]+\\s*$"), Kind::Table(&TUNNEL)]);

/// A port of its own, or an address with one.
const LISTEN: Kind =
    Kind::Either(&[Kind::Number(LISTEN_PORTS), Kind::Words(&["auto"]), Kind::Pattern("^(.+:)?[0-9]+$")]);

const TENANT: &str = "^[A-Za-z0-9.-]+$";
pub(super) const CLIENT: &str = "^[A-Za-z0-9-]+$";

pub(in crate::config) const AZURE: Keys = Keys {
    place: "[azure]",
    known: &[
        key(
            "cloud",
            Kind::Either(&[Kind::Words(&["public", "us-government", "china", "emulator"]), Kind::Name]),
            "Which Azure: a built-in one, or one that your own configuration defines. Default: \"public\".",
        ),
        key(
            "subscription",
            Kind::Text,
            "The subscription of everything that does not name its own, by its ID. Default: az's current one.",
        ),
        key("resource_group", Kind::Text, "The resource group of everything that does not name its own."),
        key(
            "tenant",
            Kind::Pattern(TENANT),
            "The tenant to sign in to. Default: the credential's own, or that of az's current subscription.",
        ),
        key("credential", Kind::Credential, "Which sign-in is used. Default: \"auto\"."),
        key(
            "client_id",
            Kind::Pattern(CLIENT),
            "The client that is meant, where a credential can be several.",
        ),
    ],
    later: &[],
};

const CONNECT_TIMEOUT: Key = key(
    "connect_timeout",
    Kind::Duration,
    "How long one connection may take to be set up, retries included. Default: \"20s\".",
);
const IDLE_CLOSE: Key = key(
    "idle_close",
    Kind::Duration,
    "Close a connection on which no byte passed either way for this long; \"0s\" is never. Default: \"0s\".",
);
const MAX_LIFETIME: Key = key(
    "max_lifetime",
    Kind::Duration,
    "Close a connection this long after it was connected; \"0s\" is never. Default: \"0s\".",
);
const KEEPALIVE: Key = key(
    "keepalive",
    Kind::Duration,
    "A ping on a session that was quiet both ways for this long; \"0s\" is never. Default: \"30s\".",
);
const DRAIN: Key = key(
    "drain",
    Kind::Duration,
    "How long connections of a replaced or removed tunnel may go on; \"0s\" is as long as they like. Default: \"0s\".",
);
const ON_OUTAGE: Key = key(
    "on_outage",
    Kind::Words(&["hold", "refuse"]),
    "What becomes of a new connection while the path is down: held up to connect_timeout, or refused at once. Default: \"hold\".",
);
const MAX_CONNECTIONS: Key = key(
    "max_connections",
    Kind::Number(CONNECTIONS),
    "How many connections there may be at once; above it, they wait their turn. 0 is no limit. Default: 0.",
);
const PROBE: Key = key(
    "probe",
    Kind::Either(&[
        Kind::Words(&["session", "none", "connect", "banner", "tls"]),
        Kind::Pattern("^http:/([!-\"$-.0-~][!-\"$-~]*)?$"),
    ]),
    "What has to be shown before a tunnel is ready: that a \"session\" is granted, that nobody refuses to \"connect\", that the target says a \"banner\", speaks \"tls\" or answers \"http:/path\", or \"none\". Default: \"session\".",
);
const PREWARM_KEY: Key = key(
    "prewarm",
    Kind::Number(PREWARM),
    "How many token answers are kept ready while connections come, so that the next ones open quicker. Default: 0.",
);
const PREWARM_DIAL: Key = key(
    "prewarm_dial",
    Kind::Flag,
    "true: what prewarm keeps are open connections, which the target sees; not for ports 22 and 3306. Default: false.",
);
const LAZY: Key =
    key("lazy", Kind::Flag, "true: nothing is asked of Azure before the first connection. Default: false.");
const BACKOFF_KEY: Key = key(
    "backoff",
    Kind::Table(&BACKOFF),
    "How long to wait after a failure that may pass by itself, before the next attempt.",
);
const ON_PORT_TAKEN: Key = key(
    "on_port_taken",
    Kind::Words(&["fail", "next"]),
    "When another program has the local port: the tunnel does not listen and says who has it, or it listens on the next \
     free port. Default: \"fail\".",
);
const PORT_OFFSET: Key = key(
    "port_offset",
    Kind::Number(OFFSETS),
    "Added to every local port that is a number, never to 0. May be negative. Default: 0.",
);

pub(in crate::config) const BACKOFF: Keys = Keys {
    place: "backoff",
    known: &[
        key("initial", Kind::Duration, "The first wait, above zero. Default: \"800ms\"."),
        key("max", Kind::Duration, "The longest wait, at most 1h. Default: \"30s\"."),
    ],
    later: &[],
};

pub(in crate::config) const DEFAULTS: Keys = Keys {
    place: "[defaults]",
    known: &[
        key(
            "listen_host",
            Kind::Text,
            "Where a bare port listens: \"localhost\" (127.0.0.1 and ::1) or one address. Default: \"localhost\".",
        ),
        PORT_OFFSET,
        key(
            "worktree_offset",
            Kind::Number(WORKTREE_OFFSETS),
            "Added to every local port that is a number, as many times as the number of the linked git worktree says; never in the main checkout. Default: 0.",
        ),
        ON_PORT_TAKEN,
        CONNECT_TIMEOUT,
        IDLE_CLOSE,
        MAX_LIFETIME,
        KEEPALIVE,
        DRAIN,
        ON_OUTAGE,
        MAX_CONNECTIONS,
        PROBE,
        LAZY,
        PREWARM_KEY,
        PREWARM_DIAL,
        BACKOFF_KEY,
    ],
    later: &["stop_grace"],
};

pub(in crate::config) const BASTION: Keys = Keys {
    place: "[bastions.NAME]",
    known: &[
        key("name", Kind::Text, "The bastion's name in Azure. Default: the table's own name."),
        key("resource_group", Kind::Text, "Default: that of [azure]."),
        key("subscription", Kind::Text, "Default: that of [azure]."),
        key(
            "id",
            Kind::Text,
            "Its resource ID, or the URL of its page in the portal, in place of the names.",
        ),
        key("tenant", Kind::Pattern(TENANT), "Default: that of [azure]."),
        key("credential", Kind::Credential, "Default: that of [azure]."),
        key("client_id", Kind::Pattern(CLIENT), "Default: that of [azure]."),
        key(
            "max_sessions",
            Kind::Number(SESSIONS),
            "Sessions of ours at once; connections above it wait their turn. 0 is as many as Azure gives. Default: 0.",
        ),
        key(
            "max_setups",
            Kind::Number(SETUPS),
            "How many set-ups may be in flight at once; further ones wait their turn. Default: 32.",
        ),
    ],
    later: &[],
};

pub(in crate::config) const TARGET: Keys = Keys {
    place: "[targets]",
    known: &[
        key("vm", Kind::Text, "A virtual machine, by its name in Azure."),
        key("vmss", Kind::Text, "A scale set, by its name in Azure; `instance` says which of its machines."),
        key("nic", Kind::Text, "A network interface, by its name in Azure: the machine that it belongs to."),
        key(
            "instance",
            Kind::Either(&[Kind::Number(0..=i64::MAX), Kind::Words(&["any"])]),
            "Which instance of a scale set: its number, or \"any\" that runs.",
        ),
        key("ip", Kind::Text, "An IPv4 address that the bastion can route to."),
        key(
            "id",
            Kind::Text,
            "The resource ID of a machine, a scale set or a network interface, or the URL of its page in the portal.",
        ),
        key("bastion", Kind::Text, "The bastion it is reached through. Default: the only one."),
        key("resource_group", Kind::Text, "Default: that of [azure]."),
        key("subscription", Kind::Text, "Default: that of [azure]."),
    ],
    later: &["aks", "via", "host", "start_vm", "ssh", "rdp"],
};

/// Names of variables that say where something is: a workspace's file must not set `PATH`.
const VARIABLE: &str = "^([A-Z_][A-Z0-9_]*)?(HOST|PORT|ADDR|URL|URI|DSN|ENDPOINT)$";

pub(in crate::config) const TUNNEL: Keys = Keys {
    place: "[tunnels.NAME]",
    known: &[
        key(
            "listen",
            LISTEN,
            "A port, or an address and a port; port 0 takes any free one, \"auto\" one that stays the same. Default: \"auto\".",
        ),
        key("target", Kind::Text, "Where it leads. Default: the target of the tunnel's own name."),
        key("port", Kind::Number(PORTS), "The port on the target."),
        key("enabled", Kind::Flag, "false takes the tunnel out. Default: true."),
        key(
            "profiles",
            Kind::List(&Kind::Name),
            "The profiles it belongs to. Default: none, so it is part of the default set.",
        ),
        key(
            "expose",
            Kind::Flag,
            "Must be true for a listen address that other machines can reach. Default: false.",
        ),
        key(
            "env",
            Kind::Named(VARIABLE, &Kind::Text),
            "Variables for programs that use it, with {host}, {port} and {addr}.",
        ),
        PORT_OFFSET,
        ON_PORT_TAKEN,
        CONNECT_TIMEOUT,
        IDLE_CLOSE,
        MAX_LIFETIME,
        KEEPALIVE,
        DRAIN,
        ON_OUTAGE,
        MAX_CONNECTIONS,
        PROBE,
        LAZY,
        PREWARM_KEY,
        PREWARM_DIAL,
        BACKOFF_KEY,
    ],
    later: &["mode", "to", "via", "host"],
};
