//! `[emulator]` and its tables.

use super::{EMULATED_SESSIONS, Keys, Kind, NAME, TIMES, key};

/// What answers on a port.
const SERVICE: Kind = Kind::Pattern("^(builtin:(http|echo)|.+:[0-9]+)$");
/// One for all ports, or one for each.
const SERVICES: Kind = Kind::Either(&[SERVICE, Kind::Named("^(default|[0-9]+)$", &SERVICE)]);
const SIZE: &str = "^\\s*[0-9]+\\s*([KMG]i)?B\\s*$";
/// Whatever the case; not every reader of schemas has a flag for that.
const SKU: &str = "^([Dd][Ee][Vv][Ee][Ll][Oo][Pp][Ee][Rr]|[Qq][Uu][Ii][Cc][Kk][Cc][Oo][Nn][Nn][Ee][Cc][Tt]|[Bb][Aa][Ss][Ii][Cc]|[Ss][Tt][Aa][Nn][Dd][Aa][Rr][Dd]|[Pp][Rr][Ee][Mm][Ii][Uu][Mm])$";
const SWITCH: Kind = Kind::Either(&[Kind::Flag, Kind::Words(&["absent"])]);

pub(in crate::config) const EMULATOR: Keys = Keys {
    place: "[emulator]",
    known: &[
        key(
            "log",
            Kind::Pattern("\\.jsonl$"),
            "A .jsonl file for every request, relative to this file. Default: no log.",
        ),
        key("setup_delay", Kind::Duration, "How long the token exchange takes. Default: \"0s\"."),
        key(
            "idle_limit",
            Kind::Duration,
            "A WebSocket quiet both ways for this long is dropped; \"0s\" is never. Default: \"240s\".",
        ),
        key(
            "frames",
            Kind::Either(&[Kind::Words(&["natural", "fragments"]), Kind::Pattern(SIZE)]),
            "How the gateway cuts bytes into messages: \"natural\", \"fragments\" or a size. Default: \"natural\".",
        ),
        key("bastions", Kind::Named(NAME, &Kind::Table(&EMULATOR_BASTION)), "How bastions behave, by name."),
        key("targets", Kind::Named(NAME, &SERVICES), "What answers on targets, by name."),
        key(
            "power",
            Kind::Named(NAME, &Kind::Words(&["running", "starting", "stopped", "deallocated"])),
            "Which machines do not run, by the target's name.",
        ),
        key("faults", Kind::List(&Kind::Table(&FAULT)), "What goes wrong, in order."),
    ],
    later: &[],
};

pub(in crate::config) const EMULATOR_BASTION: Keys = Keys {
    place: "[emulator.bastions.NAME]",
    known: &[
        key(
            "sku",
            Kind::Pattern(SKU),
            "Developer, QuickConnect, Basic, Standard or Premium. Default: \"Standard\".",
        ),
        key("enable_tunneling", SWITCH, "Whether native clients are allowed. Default: true."),
        key("enable_ip_connect", SWITCH, "Whether targets by address are allowed. Default: true."),
        key(
            "dns_name",
            Kind::Text,
            "What Azure answers as the data plane's host. Default: the emulator's own.",
        ),
        key(
            "max_sessions",
            Kind::Number(EMULATED_SESSIONS),
            "How many sessions may be open at once; 0 is no limit. Default: 0.",
        ),
        key("reader", Kind::Flag, "Whether the caller may read what it wants to reach. Default: true."),
        key("private_only", Kind::Flag, "Whether it has no public address. Default: false."),
    ],
    later: &[],
};

pub(in crate::config) const FAULT: Keys = Keys {
    place: "[[emulator.faults]]",
    known: &[
        key(
            "phase",
            Kind::Words(&["arm", "sign-in", "broker", "token", "upgrade", "stream", "delete"]),
            "Where it happens.",
        ),
        key("do", Kind::Text, "What happens."),
        key(
            "after",
            Kind::Either(&[Kind::Number(0..=i64::MAX), Kind::Pattern(SIZE)]),
            "In phase stream: after this many bytes to the client, or a size. Default: 0.",
        ),
        key("times", Kind::Number(TIMES), "How often; 0 is for ever. Default: 1."),
        key("target", Kind::Text, "Only for this one of [targets]. Default: all."),
    ],
    later: &[],
};
