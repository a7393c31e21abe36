//! What goes wrong on this machine: listening, grants, ourselves.

use super::{Explanation, who};

const LISTENING: &str = "Listening on the tunnel's local address.";

pub(super) const ALL: &[Explanation] = &[
    Explanation {
        code: "port-taken",
        tried: LISTENING,
        happened: "Another program listens there.",
        cause: "The port is used by another tunnel, workspace or server on this machine. `localhost` is taken when either \
                127.0.0.1 or ::1 is.",
        remedy: "Stop that program, or choose another local port; 0 takes any free one. The message names the program, or the \
                 workspace with what stops it, where the system tells: on Linux, for programs of yours.",
        who: who::YOU,
    },
    Explanation {
        code: "port-privileged",
        tried: LISTENING,
        happened: "The system did not allow a port below 1024.",
        cause: "On most systems these ports need a right that this user lacks.",
        remedy: "Choose a port from 1024; `port_offset` moves all of a workspace. On Linux, `sudo sysctl \
                 net.ipv4.ip_unprivileged_port_start=80` opens them to all users, `sudo setcap \
                 cap_net_bind_service=+ep` to one program.",
        who: who::YOU,
    },
    Explanation {
        code: "port-reserved",
        tried: LISTENING,
        happened: "The system keeps this port for itself.",
        cause: "On Windows, Hyper-V and WSL reserve ranges of ports, other ones after each start.",
        remedy: "Choose another port; `netsh int ipv4 show excludedportrange tcp` lists those that are kept.",
        who: who::YOU,
    },
    Explanation {
        code: "address-unknown",
        tried: LISTENING,
        happened: "This machine does not have this address.",
        cause: "The address of another machine or of a network that is down, or ::1 where IPv6 is switched off.",
        remedy: "Use `localhost` or 127.0.0.1.",
        who: who::FILE,
    },
    Explanation {
        code: "listen",
        tried: LISTENING,
        happened: "The system refused, for a reason that the message names.",
        cause: "Often too many open files, or an address that cannot be listened on.",
        remedy: "Choose another address or port; `ulimit -n` shows how many files may be open.",
        who: who::YOU,
    },
    Explanation {
        code: "needs-allow",
        tried: "Starting a tunnel that wants more than a workspace may decide by itself.",
        happened: "A tunnel was not started: you have not allowed it yet.",
        cause: "`expose`, `mode = \"remote\"`, `start_vm`, `key_vault` and key files elsewhere take effect only after the \
                person at this machine agreed; nothing in a workspace's files can do that.",
        remedy: "Read what the tunnel wants, then type the command that the message names.",
        who: who::YOU,
    },
    Explanation {
        code: "stopping",
        tried: "Asking a running instance for something.",
        happened: "It was not done: the instance is stopping.",
        cause: "It was stopped by `bastion down` or a signal, and waits for its last connections or sessions.",
        remedy: "Wait until it is gone, then `bastion up`.",
        who: who::YOU,
    },
    Explanation {
        code: "network",
        tried: "Making a client for the gateway.",
        happened: "The rules for connections (certificates, proxy) could not be set up.",
        cause: "A file of certificates cannot be read, or the proxy's address is not one.",
        remedy: "Check BASTION_CA_FILE, SSL_CERT_FILE and HTTPS_PROXY.",
        who: who::YOU,
    },
    Explanation {
        code: "too-many-waiting",
        tried: "Holding a connection until it can be served.",
        happened: "So many connections of the tunnel wait already that it was refused.",
        cause: "At most 256 wait: the path is down, or more programs connect than `max_connections` or `max_sessions` \
                serve in time.",
        remedy: "`bastion status` says what they wait for; raise that limit, or mend the path.",
        who: who::FILE,
    },
    Explanation {
        code: "idle-close",
        tried: "Keeping a connection open.",
        happened: "Not one byte passed either way for as long as `idle_close` allows, so it was closed.",
        cause: "The programs at its ends are idle, or one of them hangs. Pings of the keepalive are no bytes.",
        remedy: "Raise `idle_close`, or \"0s\" for never; or have the program send something now and then, such as ssh's \
                 `ServerAliveInterval`.",
        who: who::FILE,
    },
    Explanation {
        code: "max-lifetime",
        tried: "Keeping a connection open.",
        happened: "It was open for as long as `max_lifetime` allows, so it was closed.",
        cause: "The file limits how long a connection may last, whatever passes through it.",
        remedy: "Connect again; raise `max_lifetime`, or \"0s\" for never.",
        who: who::FILE,
    },
    Explanation {
        code: "not-running",
        tried: "Talking to the running instance of this workspace.",
        happened: "There is none, or it does not run the tunnel that was named.",
        cause: "`bastion up` was not started, has ended, or was started for another file or environment; or the tunnel \
                belongs to a profile.",
        remedy: "`bastion up` starts it, `bastion up TUNNEL` one tunnel. `-f` and `--env` have to be those of its start.",
        who: who::YOU,
    },
    Explanation {
        code: "unknown-tunnel",
        tried: "Finding the tunnel that was named on the command line.",
        happened: "No tunnel has this name, or none matches the pattern.",
        cause: "A slip of the finger, a renamed tunnel, or a pattern that the shell has replaced by names of files.",
        remedy: "`bastion status` lists those that run, `bastion config` those that are declared. Put patterns in quotes.",
        who: who::YOU,
    },
    Explanation {
        code: "rejected",
        tried: "Taking over what the workspace's files say now.",
        happened: "They have mistakes: nothing was changed, what runs is as before.",
        cause: "An edit that is not finished, or is wrong.",
        remedy: "`bastion check` shows every mistake; mend them, then `bastion reload`.",
        who: who::FILE,
    },
    Explanation {
        code: "journal",
        tried: "Writing down which sessions are open in Azure, for whoever deletes them when this process is killed, or reading what an earlier one wrote.",
        happened: "The file, or a line of it, cannot be written, is not believed, or names a session that could not be deleted now.",
        cause: "A full or read-only disk; a file or directory that others can open; a line that was cut off; a gateway that is not reached.",
        remedy: "Tunnels work all the same. Make room, or close the directory to others (`chmod 700`); then `bastion gc` deletes what is left. Azure ends such sessions by itself after a while.",
        who: who::YOU,
    },
    Explanation {
        code: "version-skew",
        tried: "Talking to the running instance of this workspace.",
        happened: "It is of another version, whose interface differs.",
        cause: "The program was updated while an instance ran, or two versions are installed.",
        remedy: "`bastion down` stops it whatever its version; start it again with this one.",
        who: who::YOU,
    },
    Explanation {
        code: "bad-request",
        tried: "Talking to the running instance of this workspace.",
        happened: "It did not understand the request.",
        cause: "Something other than `bastion` talks to its socket, or a bug.",
        remedy: "If it was `bastion`, report it, with what `-vv` says.",
        who: who::US,
    },
    Explanation {
        code: "internal",
        tried: "Keeping a tunnel up.",
        happened: "A part of this program failed by a mistake of ours; it is started again.",
        cause: "A bug.",
        remedy: "Report it, with what `-vv` says.",
        who: who::US,
    },
];
