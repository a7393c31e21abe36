//! What goes wrong with a gateway: sessions, WebSockets, and what comes over them.

use super::{Explanation, who};

const OPENING: &str = "Opening a session: the token exchange with the bastion's gateway.";
const UPGRADING: &str = "Opening the WebSocket of a session that the gateway had granted.";
const CARRYING: &str = "Carrying the bytes of a connection.";

pub(super) const ALL: &[Explanation] = &[
    Explanation {
        code: "gateway-unreachable",
        tried: "Connecting to the bastion's gateway, and asking it for something.",
        happened: "The gateway could not be reached, or did not answer in time.",
        cause: "This machine is offline or asleep, its name service does not answer, or a firewall or proxy on the way \
                lets nothing through to *.bastion.azure.com on port 443.",
        remedy: "Check the network. Behind a proxy, set HTTPS_PROXY; where it replaces certificates, name its \
                 authority's PEM file in BASTION_CA_FILE. It is tried again by itself meanwhile.",
        who: who::NETWORK,
    },
    Explanation {
        code: "gateway-busy",
        tried: OPENING,
        happened: "The gateway had no room for another session (HTTP 429 or 503).",
        cause: "Every instance of a bastion carries a limited number of sessions, and colleagues or other programs hold \
                them; or too many were asked for at once.",
        remedy: "Connections wait and are tried again. `max_sessions` of the bastion keeps your own share small; more \
                 instances (scale units) make room.",
        who: who::OWNER,
    },
    Explanation {
        code: "gateway-error",
        tried: OPENING,
        happened: "The gateway failed (HTTP 408 or 5xx).",
        cause: "Azure's gateway also answers so for a machine that does not run or cannot be reached from the \
                bastion's network; otherwise it is a passing failure of its own.",
        remedy: "Check that the machine runs. It is tried again by itself; if it lasts for all targets, look at the \
                 bastion's health in the portal.",
        who: who::MACHINE,
    },
    Explanation {
        code: "gateway-answer",
        tried: "Reading what the gateway answered.",
        happened: "The answer was not one that a gateway gives.",
        cause: "Something on the way answers in its place (a proxy, a captive portal), or Azure's answers have changed.",
        remedy: "Check for a proxy; if there is none, report it with what `-vv` says.",
        who: who::NETWORK,
    },
    Explanation {
        code: "gateway-redirect",
        tried: OPENING,
        happened: "The answer was a redirect, which was not followed: the request carries an access token.",
        cause: "A captive portal or a proxy that wants to be signed in to first.",
        remedy: "Sign in to the network, or name the proxy in HTTPS_PROXY.",
        who: who::NETWORK,
    },
    Explanation {
        code: "gateway-slow",
        tried: "Opening a session for a connection.",
        happened: "No session was there within `connect_timeout`, and the connection was reset.",
        cause: "The bastion is slow, or the connection waited behind others for one of `max_sessions` or `max_setups`.",
        remedy: "Raise `connect_timeout`, or the limit that `bastion status` says connections wait for.",
        who: who::FILE,
    },
    Explanation {
        code: "gateway-upgrade",
        tried: UPGRADING,
        happened: "The gateway did not agree to a WebSocket (an HTTP status other than 101).",
        cause: "A proxy or firewall on the way does not let WebSockets through; otherwise a node of the bastion is being \
                replaced.",
        remedy: "Let the proxy pass WebSockets to *.bastion.azure.com. A replaced node passes by itself: every try takes \
                 a new session.",
        who: who::NETWORK,
    },
    Explanation {
        code: "gateway-node",
        tried: UPGRADING,
        happened: "A node of the bastion answered HTTP in place of the first frame.",
        cause: "The node that granted the session has gone: maintenance, or a change of the number of instances.",
        remedy: "Nothing: what was kept is sent again over a new session.",
        who: who::NOBODY,
    },
    Explanation {
        code: "gateway-silent",
        tried: CARRYING,
        happened: "The gateway stopped answering pings, which it had answered before.",
        cause: "The network under it is gone: sleep, another Wi-Fi, a VPN that came or went, a firewall that forgot the \
                connection.",
        remedy: "The local program sees a reset and can connect again at once. `keepalive` says how soon it is noticed.",
        who: who::NOBODY,
    },
    Explanation {
        code: "gateway-lost",
        tried: CARRYING,
        happened: "The connection to the gateway was lost.",
        cause: "The network under it is gone: sleep, another Wi-Fi, a VPN that came or went.",
        remedy: "The local program sees a reset and can connect again at once.",
        who: who::NOBODY,
    },
    Explanation {
        code: "gateway-reset",
        tried: CARRYING,
        happened: "The connection to the gateway was reset.",
        cause: "A node of the bastion was replaced, or something on the way (a firewall, a proxy) dropped the connection.",
        remedy: "The local program sees a reset and can connect again at once. If idle connections end so, a shorter \
                 `keepalive` keeps them.",
        who: who::NOBODY,
    },
    Explanation {
        code: "gateway-cut",
        tried: CARRYING,
        happened: "The connection to the gateway ended without a goodbye, perhaps in the middle of a message.",
        cause: "A node of the bastion was replaced, or something on the way ended the connection.",
        remedy: "It is passed on as a reset, so that nobody takes half a file for a whole one. Connect again.",
        who: who::NOBODY,
    },
    Explanation {
        code: "gateway-close",
        tried: CARRYING,
        happened: "The gateway closed the session with a code that is no end.",
        cause: "The target refused or reset the connection (nothing listens on that port, a network security group), or \
                an administrator ended the session.",
        remedy: "Check that something listens on the target's port and that its network security group lets the \
                 bastion's subnet in.",
        who: who::MACHINE,
    },
    Explanation {
        code: "gateway-protocol",
        tried: CARRYING,
        happened: "The gateway sent something that WebSockets do not have.",
        cause: "Something on the way changes the stream, or Azure's gateway has changed.",
        remedy: "If no proxy is on the way, report it with what `-vv` says.",
        who: who::US,
    },
    Explanation {
        code: "end-unclean",
        tried: CARRYING,
        happened: "The gateway ended the connection in order (TLS), but without a close frame.",
        cause: "Some gateways end so; everything before it has arrived. It is passed on as an end.",
        remedy: "Nothing, unless the local program misses something: then report it.",
        who: who::NOBODY,
    },
    Explanation {
        code: "target-silent",
        tried: "Waiting for the first byte of a server that speaks first (SSH, MySQL, SMTP and the like), or for the \
                answer that `probe` wants.",
        happened: "The gateway is connected, but nothing came from the target.",
        cause: "The machine does not run, nothing listens on that port, or its network security group does not let the \
                bastion's subnet in.",
        remedy: "Start the machine; check the port there, and the rules of its network security group and subnet.",
        who: who::MACHINE,
    },
    Explanation {
        code: "target-refused",
        tried: "Showing that the target takes connections, as `probe` wants it.",
        happened: "The connection was closed before the target said a word.",
        cause: "Nothing listens on that port, or what listens there turns the bastion's subnet away.",
        remedy: "Start the service; check the port, and to which addresses the service listens and answers.",
        who: who::MACHINE,
    },
    Explanation {
        code: "probe-failed",
        tried: "Showing that the target answers as `probe` wants it.",
        happened: "It answered something else.",
        cause: "Another service has that port, the service is failing (HTTP status 500 and above), or it wants to be asked \
                otherwise: with TLS, or with a host's name.",
        remedy: "Look at what the message says of the answer; mend the service, or choose another `probe`: `\"connect\"` \
                 and `\"session\"` ask for less.",
        who: who::MACHINE,
    },
];
