//! The stable codes of configuration mistakes.

/// Every code that [`load`](super::load) can report, with one sentence on what it means.
pub const CODES: &[(&str, &str)] = &[
    (SYNTAX, "The text is not valid TOML."),
    (TOO_LARGE, "The file, or the number of tunnels in it, is above the limit."),
    (TOO_MANY_MISTAKES, "There are more mistakes than one run reports."),
    (UNKNOWN_KEY, "The key is not part of the file format."),
    (NOT_SUPPORTED_YET, "The key or value is part of the file format, but this version cannot do it."),
    (
        USER_CONFIG_ONLY,
        "The key decides where tokens go, so it belongs in the user's own configuration only.",
    ),
    (NOT_IN_USER_CONFIG, "The key belongs in a workspace's file, not in the user's own configuration."),
    (UNSET_VARIABLE, "The variable is not set, and no default is given."),
    (FOREIGN_VARIABLE, "A workspace's file may not name the variable."),
    (INVALID_INTERPOLATION, "What begins like a variable is none."),
    (WRONG_TYPE, "The value has another type than the key takes."),
    (MISSING_KEY, "A key that is needed here is missing."),
    (NO_SUBSCRIPTION, "No file names a subscription, and az's current one cannot stand in for it."),
    (AZ_SUBSCRIPTION, "No file names a subscription, so that is az's current one. A warning."),
    (
        CONFLICTING_KEYS,
        "Keys that exclude each other stand side by side, or two places contradict each other.",
    ),
    (INVALID_NAME, "The name breaks the rules for names."),
    (INVALID_VALUE, "The value is not one that the key takes."),
    (INVALID_DURATION, "The text is not a duration, or the duration is out of range."),
    (INVALID_RESOURCE_ID, "The text is not the ID of an Azure resource of the right type."),
    (INVALID_LISTEN, "The text is not a listen address."),
    (INVALID_TUNNEL, "The text is not a tunnel in short form."),
    (PORT_OUT_OF_RANGE, "The port is outside 1 to 65535 (for listening, 0 to 65535)."),
    (UNKNOWN_CLOUD, "No cloud has this name."),
    (BUILT_IN_CLOUD, "The name of a built-in cloud stands for a cloud of the user's own."),
    (INVALID_URL, "The text is not a URL of the kind that the key takes."),
    (INSECURE_URL, "The URL would be spoken to without TLS."),
    (CA_FILE, "No certificate authority can be read from the file that the key names."),
    (UNKNOWN_BASTION, "No bastion of this name is declared."),
    (UNKNOWN_TARGET, "No target of this name is declared."),
    (DUPLICATE_LISTEN_ADDRESS, "Two tunnels listen on the same address."),
    (EXPOSE, "Other machines could reach the listen address, and the tunnel does not say `expose = true`."),
    (ENV_NAME, "The variable's name is not one that a tunnel may set."),
    (ENV_PLACEHOLDER, "The template has something in braces that stands for nothing."),
    (FAULT_PHASE, "The emulator's fault cannot happen in that phase."),
];

/// What may be reported only because an unreadable line hides a key.
pub(super) const FROM_ABSENCE: &[&str] = &[MISSING_KEY, NO_SUBSCRIPTION, UNKNOWN_BASTION, UNKNOWN_TARGET];

pub(super) const SYNTAX: &str = "syntax";
pub(super) const TOO_LARGE: &str = "too-large";
pub(super) const TOO_MANY_MISTAKES: &str = "too-many-mistakes";
pub(super) const UNKNOWN_KEY: &str = "unknown-key";
pub(super) const NOT_SUPPORTED_YET: &str = "not-supported-yet";
pub(super) const USER_CONFIG_ONLY: &str = "user-config-only";
pub(super) const NOT_IN_USER_CONFIG: &str = "not-in-user-config";
pub(super) const UNSET_VARIABLE: &str = "unset-variable";
pub(super) const FOREIGN_VARIABLE: &str = "foreign-variable";
pub(super) const INVALID_INTERPOLATION: &str = "invalid-interpolation";
pub(super) const WRONG_TYPE: &str = "wrong-type";
pub(super) const MISSING_KEY: &str = "missing-key";
/// No file names a subscription, and az's current one cannot stand in for it.
pub const NO_SUBSCRIPTION: &str = "no-subscription";
/// No file names a subscription, so that is az's current one.
pub const AZ_SUBSCRIPTION: &str = "az-subscription";
pub(super) const CONFLICTING_KEYS: &str = "conflicting-keys";
pub(super) const INVALID_NAME: &str = "invalid-name";
pub(super) const INVALID_VALUE: &str = "invalid-value";
pub(super) const INVALID_DURATION: &str = "invalid-duration";
pub(super) const INVALID_RESOURCE_ID: &str = "invalid-resource-id";
pub(super) const INVALID_LISTEN: &str = "invalid-listen";
pub(super) const INVALID_TUNNEL: &str = "invalid-tunnel";
pub(super) const PORT_OUT_OF_RANGE: &str = "port-out-of-range";
pub(super) const UNKNOWN_CLOUD: &str = "unknown-cloud";
pub(super) const BUILT_IN_CLOUD: &str = "built-in-cloud";
pub(super) const INVALID_URL: &str = "invalid-url";
pub(super) const INSECURE_URL: &str = "insecure-url";
pub(super) const CA_FILE: &str = "ca-file";
pub(super) const UNKNOWN_BASTION: &str = "unknown-bastion";
pub(super) const UNKNOWN_TARGET: &str = "unknown-target";
pub(super) const DUPLICATE_LISTEN_ADDRESS: &str = "duplicate-listen-address";
pub(super) const EXPOSE: &str = "expose";
pub(super) const ENV_NAME: &str = "env-name";
pub(super) const ENV_PLACEHOLDER: &str = "env-placeholder";
pub(super) const FAULT_PHASE: &str = "fault-phase";
