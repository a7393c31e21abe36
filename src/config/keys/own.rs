//! The tables of the user's own configuration that no workspace's file may hold.

use super::{DEFAULTS, Key, Keys, Kind, NAME, key};

/// What the user's own configuration may hold.
pub(in crate::config) const USER: Keys = Keys {
    place: "your own configuration",
    known: &[
        key("azure", Kind::Table(&PERSONAL), "How you sign in."),
        key("defaults", Kind::Table(&DEFAULTS), "What holds for every tunnel that does not say otherwise."),
        CLOUDS,
        THE_NETWORK,
    ],
    later: &["ssh", "rdp", "peers", "unclean_end"],
};

/// The part of it that belongs to no workspace.
pub(in crate::config) const OWN: Keys =
    Keys { place: "your own configuration", known: &[CLOUDS, THE_NETWORK], later: &[] };

const CLOUDS: Key =
    key("clouds", Kind::Named(NAME, &Kind::Table(&CLOUD)), "Clouds that a workspace may name, by name.");
const THE_NETWORK: Key = key("network", Kind::Table(&NETWORK), "How this machine reaches Azure.");

/// What `[azure]` may hold there.
pub(in crate::config) const PERSONAL: Keys = Keys {
    place: "[azure]",
    known: &[
        key("credential", Kind::Credential, "Which sign-in is used, over what a workspace says."),
        key(
            "client_id",
            Kind::Pattern(super::workspace::CLIENT),
            "The client that is meant, where a credential can be several.",
        ),
    ],
    later: &[],
};

pub(in crate::config) const CLOUD: Keys = Keys {
    place: "[clouds.NAME]",
    known: &[
        key("resource_manager", HTTPS, "Where Azure Resource Manager answers: `https://HOST[:PORT]`."),
        key("authority", HTTPS, "Where one signs in: `https://HOST[:PORT]`."),
        key(
            "audience",
            Kind::Text,
            "Whom access tokens for Resource Manager are for. Default: the URL in resource_manager.",
        ),
        key("ca_file", Kind::Text, "A PEM file with authorities that are believed in this cloud only."),
    ],
    later: &[],
};

pub(in crate::config) const NETWORK: Keys = Keys {
    place: "[network]",
    known: &[
        key(
            "proxy",
            Kind::Either(&[Kind::Words(&["system", "none"]), Kind::Pattern("^http://[^ ]+$")]),
            "\"system\": what HTTPS_PROXY or ALL_PROXY says; \"none\"; or http://[USER:PASSWORD@]HOST[:PORT]. Default: \"system\".",
        ),
        key(
            "no_proxy",
            Kind::Either(&[Kind::Text, Kind::List(&Kind::Text)]),
            "Hosts, domains and networks that are reached without the proxy. Default: what NO_PROXY says.",
        ),
        key(
            "ca_file",
            Kind::Text,
            "A PEM file with authorities to believe besides the system's, such as a proxy's that replaces certificates.",
        ),
    ],
    later: &[],
};

const HTTPS: Kind = Kind::Pattern("^https://[A-Za-z0-9.-]+(:[0-9]+)?(/[^?# ]*)?$");
