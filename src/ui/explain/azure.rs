//! What goes wrong with Azure's control plane: sign-in, rights, the bastion itself.

use super::{Explanation, who};

const READING: &str = "Reading the bastion from Azure Resource Manager.";
const THROUGH: &str = "Connecting to Azure through the proxy.";
const EITHER: &str = "Reading the bastion from Azure Resource Manager, or asking its gateway for a session.";
const LOOKING: &str = "Looking at what Azure Resource Manager says of the bastion.";

pub(super) const ALL: &[Explanation] = &[
    Explanation {
        code: "sign-in",
        tried: "Getting an access token, or using one.",
        happened: "There was no access token, or a fresh one was refused too (HTTP 401).",
        cause: "The sign-in has expired or needs a person (multi-factor, a conditional access policy), or the account is \
                of another tenant than the bastion.",
        remedy: "`bastion whoami` says which credential was asked and what each of them answered; the message says what to \
                 type. `tenant` of the bastion names its tenant where one account has several. What waits goes on \
                 within a second of `az login`.",
        who: who::YOU,
    },
    Explanation {
        code: "cloud-changed",
        tried: "Reading an edited workspace.",
        happened: "It names another cloud than the one this instance was started in.",
        cause: "Whom access tokens are for is decided when an instance starts, so that no edit takes one elsewhere.",
        remedy: "`bastion down`, then `bastion up`.",
        who: who::YOU,
    },
    Explanation {
        code: "denied",
        tried: EITHER,
        happened: "The account lacks a right (HTTP 403).",
        cause: "It lacks Reader on the bastion, on the virtual machine, on its network card or on the virtual network: \
                all four are needed.",
        remedy: "Grant the missing role; a new role takes some minutes to be seen.",
        who: who::ROLES,
    },
    Explanation {
        code: "not-found",
        tried: EITHER,
        happened: "There is no such bastion or target (HTTP 404).",
        cause: "A name, resource group or subscription in bastion.toml is not right, or the resource is gone. A resource \
                that the account may not read at all is not found either.",
        remedy: "Compare the names with the portal; a pasted resource ID (`id = …`) cannot be mistyped.",
        who: who::FILE,
    },
    Explanation {
        code: "arm-redirect",
        tried: "Reading something from Azure Resource Manager.",
        happened: "The answer was a redirect (HTTP 3xx).",
        cause: "Azure Resource Manager has none: a captive portal or a proxy answers in its place.",
        remedy: "Sign in to the network, or say how it is left (`[network] proxy` in your own configuration). A redirect is never \
                 followed, because the request carries an access token.",
        who: who::NETWORK,
    },
    Explanation {
        code: "vm-stopped",
        tried: "Asking the gateway for a session on a machine, and then Azure Resource Manager about the machine.",
        happened: "The gateway refused a session, often with HTTP 500, and the machine does not run.",
        cause: "Somebody stopped it, or an auto-shutdown schedule did.",
        remedy: "`az vm start --ids ID`, which the message has with the ID. The tunnel is tried again meanwhile, and works within \
                 half a minute of the machine's start.",
        who: who::MACHINE,
    },
    Explanation {
        code: "no-instance",
        tried: "Choosing an instance of a scale set (`instance = \"any\"`).",
        happened: "Azure Resource Manager lists none that runs.",
        cause: "The set is scaled to none, or its instances are stopped or being made.",
        remedy: "Start or scale the set; the message says what its instances are. The tunnel is tried again meanwhile.",
        who: who::MACHINE,
    },
    Explanation {
        code: "not-attached",
        tried: "Finding the machine of a network interface.",
        happened: "Azure Resource Manager says that the interface is attached to none.",
        cause: "The machine was deleted and its interface was left behind, or another interface is meant.",
        remedy: "Name the machine itself in bastion.toml (`vm = …`), or attach the interface.",
        who: who::FILE,
    },
    Explanation {
        code: "wrong-sku",
        tried: LOOKING,
        happened: "The bastion's SKU has no native client support.",
        cause: "Only the SKUs Standard and Premium let native clients through, and, within its limits, Developer.",
        remedy: "`az network bastion update --name NAME --resource-group GROUP --sku Standard --enable-tunneling true`. \
                 It takes some minutes, costs more, and cannot be taken back.",
        who: who::OWNER,
    },
    Explanation {
        code: "tunneling-disabled",
        tried: EITHER,
        happened: "Native client support is switched off.",
        cause: "`enableTunneling` of the bastion is not true; it is off unless someone switched it on.",
        remedy: "`az network bastion update --name NAME --resource-group GROUP --enable-tunneling true`. It takes some \
                 minutes.",
        who: who::OWNER,
    },
    Explanation {
        code: "ip-connect-disabled",
        tried: "Looking whether the bastion reaches targets by address.",
        happened: "IP-based connection is switched off.",
        cause: "`enableIpConnect` of the bastion is not true; it is off unless someone switched it on.",
        remedy: "`az network bastion update --name NAME --resource-group GROUP --enable-ip-connect true`, or name the \
                 target by its resource.",
        who: who::OWNER,
    },
    Explanation {
        code: "ip-connect-port",
        tried: "Looking whether the bastion reaches that port of an address.",
        happened: "Nothing yet: it is tried, but Azure supports IP-based connections on ports 22 and 3389 only.",
        cause: "Other ports were seen to work, and may cease to.",
        remedy: "Name the target by its resource, where it has one: then every port that its network security group \
                 permits is supported.",
        who: who::FILE,
    },
    Explanation {
        code: "arm-unreachable",
        tried: READING,
        happened: "Azure Resource Manager did not answer.",
        cause: "This machine is offline or asleep, or a firewall or proxy lets nothing through to Resource Manager.",
        remedy: "Check the network. Behind a proxy, set HTTPS_PROXY. It is tried again by itself meanwhile.",
        who: who::NETWORK,
    },
    Explanation {
        code: "untrusted-certificate",
        tried: "Making a TLS connection to Azure.",
        happened: "The certificate that was shown is not believed, so nothing was sent.",
        cause: "A proxy or firewall on the way replaces certificates, or a network asks for a sign-in in the browser \
                first; otherwise this machine's clock is wrong.",
        remedy: "Name the PEM file of the authority that your network uses in BASTION_CA_FILE, or as `ca_file` in \
                 `[network]` of your own configuration, and start again. There is no way to believe everybody.",
        who: who::NETWORK,
    },
    Explanation {
        code: "proxy-credentials",
        tried: THROUGH,
        happened: "The proxy wants a user name and a password, or does not accept those it was given.",
        cause: "There are none in the proxy's URL, the password has changed, or a character in it is not escaped.",
        remedy: "Put USER:PASSWORD@ before the host in HTTPS_PROXY, or in `proxy` of `[network]` in your own \
                 configuration, `@` as %40 and `:` as %3A; then start again. Only Basic credentials are sent.",
        who: who::NETWORK,
    },
    Explanation {
        code: "proxy-refused",
        tried: THROUGH,
        happened: "The proxy does not let us through, or what answers there is no HTTP proxy.",
        cause: "It does not allow CONNECT to that host or port, or it cannot reach the host itself (HTTP 5xx).",
        remedy: "Have it let CONNECT through to port 443 of Resource Manager, of the sign-in and of \
                 *.bastion.azure.com. NO_PROXY names hosts that are reached without it.",
        who: who::NETWORK,
    },
    Explanation {
        code: "proxy-unreachable",
        tried: THROUGH,
        happened: "The proxy could not be reached, or hung up.",
        cause: "This machine is on another network than the proxy, or HTTPS_PROXY names one that is gone.",
        remedy: "Check HTTPS_PROXY, or `proxy` of `[network]` in your own configuration; `proxy = \"none\"` goes \
                 without. It is tried again by itself meanwhile.",
        who: who::NETWORK,
    },
    Explanation {
        code: "arm-error",
        tried: READING,
        happened: "Azure Resource Manager answered with an error.",
        cause: "It is busy (HTTP 429) or failing (5xx), which passes; another status is named in the message.",
        remedy: "Nothing for what passes: it is tried again, no sooner than Azure asks.",
        who: who::NOBODY,
    },
    Explanation {
        code: "arm-answer",
        tried: READING,
        happened: "The answer did not describe a bastion that we could use.",
        cause: "A token goes only to a bare DNS name that Resource Manager answered. Something on the way answers in its \
                place, or Azure's answers have changed.",
        remedy: "Check for a proxy that answers itself; otherwise report it with what `-vv` says.",
        who: who::NETWORK,
    },
];
