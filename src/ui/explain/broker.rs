//! What goes wrong with the broker of Developer bastions, and what such a bastion does not do.

use super::{Explanation, who};

const ASKING: &str = "Asking the region's broker on which data pod the Developer bastion serves the machine.";

pub(super) const ALL: &[Explanation] = &[
    Explanation {
        code: "developer-limits",
        tried: "Looking at what Azure Resource Manager says of the bastion.",
        happened: "The bastion is of the SKU Developer, which does not reach that target or port.",
        cause: "A Developer bastion (QuickConnect, by its old name) reaches virtual machines of its own virtual network on \
                ports 22 and 3389: no other port, no address, no other kind of resource.",
        remedy: "Reach the port through SSH on the machine, or use a bastion of the SKU Standard.",
        who: who::OWNER,
    },
    Explanation {
        code: "developer-one-machine",
        tried: "Asking for a second machine behind a Developer bastion.",
        happened: "Nothing yet: it is tried, but Azure serves one machine at a time.",
        cause: "Tunnels to several machines share one Developer bastion.",
        remedy: "Keep one of them, or use a bastion of the SKU Standard.",
        who: who::FILE,
    },
    Explanation {
        code: "broker-unreachable",
        tried: ASKING,
        happened: "The broker could not be reached, or did not answer in time.",
        cause: "This machine is offline or asleep, or a firewall or proxy on the way lets nothing through to \
                *.bastionglobal.azure.com on port 443.",
        remedy: "Check the network. Behind a proxy, set HTTPS_PROXY; where it replaces certificates, name its \
                 authority's PEM file in BASTION_CA_FILE. It is tried again by itself meanwhile.",
        who: who::NETWORK,
    },
    Explanation {
        code: "broker-denied",
        tried: ASKING,
        happened: "The broker refused (HTTP 403).",
        cause: "The account lacks Reader on the bastion or on the virtual machine, or this machine's public address is not \
                among the bastion's `networkAcls.ipRules`.",
        remedy: "Grant the missing role, or add the address; either takes some minutes to be seen.",
        who: who::ROLES,
    },
    Explanation {
        code: "broker-error",
        tried: ASKING,
        happened: "The broker failed or is busy (HTTP 408, 429 or 5xx).",
        cause: "The region has no data pod to give at the moment, or the broker itself fails.",
        remedy: "Nothing for what passes: it is tried again by itself. If it lasts, look at Azure's service health.",
        who: who::NOBODY,
    },
    Explanation {
        code: "broker-redirect",
        tried: ASKING,
        happened: "The answer was a redirect, which was not followed: the question carries an access token.",
        cause: "A captive portal or a proxy that wants to be signed in to first.",
        remedy: "Sign in to the network, or name the proxy in HTTPS_PROXY.",
        who: who::NETWORK,
    },
    Explanation {
        code: "broker-answer",
        tried: ASKING,
        happened: "The answer did not name a host that a token may be sent to.",
        cause: "A token goes only to a bare DNS name: no address, user, path or port. Something on the way answers in the \
                broker's place, or Azure's answers have changed.",
        remedy: "Check for a proxy that answers itself; otherwise report it with what `-vv` says.",
        who: who::NETWORK,
    },
];
