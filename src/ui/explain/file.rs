//! What is wrong in the workspace's files. `bastion check` shows the place.

use super::{Explanation, who};

const READING: &str = "Reading the workspace's files.";

const fn mistake(
    code: &'static str,
    happened: &'static str,
    cause: &'static str,
    remedy: &'static str,
) -> Explanation {
    Explanation { code, tried: READING, happened, cause, remedy, who: who::FILE }
}

pub(super) const ALL: &[Explanation] = &[
    mistake(
        "syntax",
        "The text is not valid TOML.",
        "A quote, a bracket or an equals sign is missing, or a key stands twice.",
        "Mend the line that the message shows.",
    ),
    mistake(
        "too-large",
        "The file, or the number of tunnels in it, is above the limit.",
        "It is not the file that was meant, or it was generated without end.",
        "Split the workspace into several.",
    ),
    mistake(
        "too-many-mistakes",
        "There are more mistakes than one run reports.",
        "One early mistake often makes many later ones.",
        "Mend the first ones and look again.",
    ),
    mistake(
        "unknown-key",
        "The key is not part of the file format.",
        "It is mistyped, or stands in the wrong table.",
        "Use the key that the message proposes; docs/configuration.md lists all of them.",
    ),
    Explanation {
        code: "not-supported-yet",
        tried: "Doing what a file or a command line asks for.",
        happened: "It is planned, and this version cannot do it.",
        cause: "The key, value or option belongs to the format, but is not built yet.",
        remedy: "Leave it out, or use a newer version.",
        who: who::YOU,
    },
    mistake(
        "user-config-only",
        "The key decides where tokens go or what this machine may do, so a workspace's file cannot set it.",
        "Whoever can commit to a workspace must not decide for the people who use it.",
        "Move it to your own configuration file.",
    ),
    mistake(
        "not-in-user-config",
        "The key belongs in a workspace's file, not in the user's own configuration.",
        "The user's own file holds what is a person's: credential, defaults, ssh, clouds, network.",
        "Move it to bastion.toml or bastion.local.toml.",
    ),
    mistake(
        "wrong-type",
        "The value has another type than the key takes.",
        "A number in quotes, a text without them, or one value where a list is expected.",
        "Write the value as the message says.",
    ),
    mistake(
        "missing-key",
        "A key that is needed here is missing.",
        "A tunnel without a target or port, a target without anything to reach, and the like.",
        "Add the key.",
    ),
    Explanation {
        code: "no-subscription",
        tried: "Finding out which subscription a bastion or a target is in.",
        happened: "No file names one, and az's current one cannot stand in for it.",
        cause: "Nobody is signed in to az, or it has no current subscription, or that is in another cloud; or the \
                credential is not one of az's, and only az has a current subscription.",
        remedy: "Add `subscription = \"ID\"` to `[azure]`, or do what the message says of az. Where nothing is in the way but \
                 that nobody is signed in to az, the exit code is 3, and `bastion whoami` does without.",
        who: who::YOU,
    },
    Explanation {
        code: "az-subscription",
        tried: "Finding out which subscription a bastion or a target is in.",
        happened: "No file names one, so it is az's current one. Nothing is wrong with that here.",
        cause: "Which one is current is a setting of each person's az: for others, and after `az account set`, the \
                same file means another subscription.",
        remedy: "Add the line that the message shows to `[azure]`; `bastion config` shows what holds now.",
        who: who::YOU,
    },
    mistake(
        "conflicting-keys",
        "Keys that exclude each other stand side by side, or two places contradict each other.",
        "For example `id` beside `name`, or `vm` beside `ip`: each says alone what is meant.",
        "Keep one of them.",
    ),
    mistake(
        "invalid-name",
        "The name breaks the rules for names.",
        "A name has 1 to 63 letters, digits, `-`, `_` and `.`, and begins with a letter or a digit.",
        "Choose another name.",
    ),
    mistake(
        "invalid-value",
        "The value is not one that the key takes.",
        "It is mistyped, or out of range.",
        "Use one of the values that the message names.",
    ),
    mistake(
        "invalid-duration",
        "The text is not a duration, or the duration is out of range.",
        "Durations are numbers with units: \"500ms\", \"20s\", \"5m\", \"1h 30m\".",
        "Write it with a unit, within the range that the message names.",
    ),
    mistake(
        "invalid-resource-id",
        "The text is not the ID of an Azure resource of the right type.",
        "Part of it was lost in copying, or it is the ID of something else.",
        "Copy it again: \"Resource ID\" on the resource's page of properties in the portal.",
    ),
    mistake(
        "invalid-listen",
        "The text is not a listen address.",
        "It is a host name, or an IPv6 address without brackets.",
        "Write a port, \"127.0.0.1:5432\" or \"[::1]:5432\".",
    ),
    mistake(
        "invalid-tunnel",
        "The text is not a tunnel in short form.",
        "The short form is \"LISTEN -> TARGET:PORT\".",
        "Write it so, or as a table of its own.",
    ),
    mistake(
        "port-out-of-range",
        "The port is outside 1 to 65535 (for listening, 0 to 65535).",
        "A digit too many, or `port_offset` or `worktree_offset` moved it out of range.",
        "Choose another port.",
    ),
    mistake(
        "unknown-cloud",
        "No cloud has this name.",
        "It is mistyped, or defined on another machine only: clouds are built in, or in the user's own configuration.",
        "Use `public`, `us-government`, `china` or `emulator`, or define the cloud.",
    ),
    mistake(
        "built-in-cloud",
        "The name of a built-in cloud stands for a cloud of the user's own.",
        "What a workspace means by `public` must be the same for everybody who uses it.",
        "Give the cloud another name, and name that one in the workspace.",
    ),
    mistake(
        "invalid-url",
        "The text is not a URL of the kind that the key takes.",
        "Something stands in it that does not belong there, or a character of a proxy's password is not escaped.",
        "Write `https://HOST[:PORT]`; a proxy as `http://[USER:PASSWORD@]HOST[:PORT]`, with `@` as %40 and `:` as %3A.",
    ),
    mistake(
        "insecure-url",
        "The URL would be spoken to without TLS.",
        "It begins with `http://`, and access tokens would go there for everybody to read.",
        "Write `https://`. A certificate of your own authority is believed when `ca_file` names that.",
    ),
    mistake(
        "ca-file",
        "No certificate authority can be read from the file that the key names.",
        "It is not there, may not be read, or is not PEM.",
        "Correct the path, or convert the file: `openssl x509 -in FILE -outform PEM`.",
    ),
    mistake(
        "unknown-bastion",
        "No bastion of this name is declared.",
        "It is mistyped, or its `[bastions.NAME]` stands in a file of another environment.",
        "Declare it, or use the name that the message proposes.",
    ),
    mistake(
        "unknown-target",
        "No target of this name is declared.",
        "It is mistyped, or stands in a file of another environment.",
        "Declare it below `[targets]`, or use the name that the message proposes.",
    ),
    mistake(
        "duplicate-listen-address",
        "Two tunnels listen on the same address.",
        "The same port twice; a wildcard address overlaps every address of its port.",
        "Give one of them another port.",
    ),
    mistake(
        "expose",
        "Other machines could reach the listen address, and the tunnel does not say `expose = true`.",
        "An address other than loopback opens the target to everyone who can reach this machine.",
        "Listen on localhost; or say `expose = true`, which each user has to allow besides.",
    ),
    mistake(
        "env-name",
        "The variable's name is not one that a tunnel may set.",
        "A committed file must not set variables that change what programs run (PATH and the like).",
        "Use a name that ends in HOST, PORT, ADDR, URL, URI, DSN or ENDPOINT.",
    ),
    mistake(
        "env-placeholder",
        "The template has something in braces that stands for nothing.",
        "Only `{host}`, `{port}` and `{addr}` are filled in.",
        "Use one of these.",
    ),
    mistake(
        "unset-variable",
        "The variable is not set, and no default is given.",
        "It is set in another shell or machine, or mistyped.",
        "Set it, or give a default: `${NAME:-default}`.",
    ),
    mistake(
        "foreign-variable",
        "A workspace's file may not name the variable.",
        "A committed file must not read secrets out of your environment.",
        "Name it BASTION_…, or move the line to your own configuration.",
    ),
    mistake(
        "invalid-interpolation",
        "What begins like a variable is none.",
        "A brace is missing, or the name has characters that names of variables lack.",
        "Write `${NAME}` or `${NAME:-default}`; `$${` is a literal `${`.",
    ),
    mistake(
        "fault-phase",
        "The emulator's fault cannot happen in that phase.",
        "Some faults happen to an answer, others to a stream.",
        "Choose another phase; docs/configuration.md lists those of each fault.",
    ),
];
