//! What `explain` says.

use super::said;

#[tokio::test]
async fn a_code() {
    insta::assert_snapshot!(said(&["explain", "tunneling-disabled"]).await, @r"
    exit 0
    ----- out
    code      tunneling-disabled
    tried     Reading the bastion from Azure Resource Manager, or asking its gateway for a session.
    happened  Native client support is switched off.
    cause     `enableTunneling` of the bastion is not true; it is off unless someone switched it on.
    remedy    `az network bastion update --name NAME --resource-group GROUP --enable-tunneling true`. It takes some minutes.
    who can   whoever may change the bastion (Contributor on it)
    ");
}

#[tokio::test]
async fn a_code_with_its_brackets() {
    assert_eq!(said(&["explain", "[port-taken]"]).await, said(&["explain", "port-taken"]).await);
}

#[tokio::test]
async fn a_code_for_programs() {
    insta::assert_snapshot!(said(&["explain", "port-taken", "--format", "json"]).await, @r#"
    exit 0
    ----- out
    {"version":1,"code":"port-taken","tried":"Listening on the tunnel's local address.","happened":"Another program listens there.","cause":"The port is used by another tunnel, workspace or server on this machine. `localhost` is taken when either 127.0.0.1 or ::1 is.","remedy":"Stop that program, or choose another local port; 0 takes any free one. The message names the program, or the workspace with what stops it, where the system tells: on Linux, for programs of yours.","who":"you"}
    "#);
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a line for each code")]
async fn all_codes() {
    insta::assert_snapshot!(said(&["explain"]).await, @r"
    exit 0
    ----- out
    CODE                      WHAT HAPPENED
    syntax                    The text is not valid TOML.
    too-large                 The file, or the number of tunnels in it, is above the limit.
    too-many-mistakes         There are more mistakes than one run reports.
    unknown-key               The key is not part of the file format.
    not-supported-yet         It is planned, and this version cannot do it.
    user-config-only          The key decides where tokens go or what this machine may do, so a workspace's file cannot set it.
    not-in-user-config        The key belongs in a workspace's file, not in the user's own configuration.
    wrong-type                The value has another type than the key takes.
    missing-key               A key that is needed here is missing.
    no-subscription           No file names one, and az's current one cannot stand in for it.
    az-subscription           No file names one, so it is az's current one. Nothing is wrong with that here.
    conflicting-keys          Keys that exclude each other stand side by side, or two places contradict each other.
    invalid-name              The name breaks the rules for names.
    invalid-value             The value is not one that the key takes.
    invalid-duration          The text is not a duration, or the duration is out of range.
    invalid-resource-id       The text is not the ID of an Azure resource of the right type.
    invalid-listen            The text is not a listen address.
    invalid-tunnel            The text is not a tunnel in short form.
    port-out-of-range         The port is outside 1 to 65535 (for listening, 0 to 65535).
    unknown-cloud             No cloud has this name.
    built-in-cloud            The name of a built-in cloud stands for a cloud of the user's own.
    invalid-url               The text is not a URL of the kind that the key takes.
    insecure-url              The URL would be spoken to without TLS.
    ca-file                   No certificate authority can be read from the file that the key names.
    unknown-bastion           No bastion of this name is declared.
    unknown-target            No target of this name is declared.
    duplicate-listen-address  Two tunnels listen on the same address.
    expose                    Other machines could reach the listen address, and the tunnel does not say `expose = true`.
    env-name                  The variable's name is not one that a tunnel may set.
    env-placeholder           The template has something in braces that stands for nothing.
    unset-variable            The variable is not set, and no default is given.
    foreign-variable          A workspace's file may not name the variable.
    invalid-interpolation     What begins like a variable is none.
    fault-phase               The emulator's fault cannot happen in that phase.
    port-taken                Another program listens there.
    port-privileged           The system did not allow a port below 1024.
    port-reserved             The system keeps this port for itself.
    address-unknown           This machine does not have this address.
    listen                    The system refused, for a reason that the message names.
    needs-allow               A tunnel was not started: you have not allowed it yet.
    stopping                  It was not done: the instance is stopping.
    network                   The rules for connections (certificates, proxy) could not be set up.
    too-many-waiting          So many connections of the tunnel wait already that it was refused.
    idle-close                Not one byte passed either way for as long as `idle_close` allows, so it was closed.
    max-lifetime              It was open for as long as `max_lifetime` allows, so it was closed.
    not-running               There is none, or it does not run the tunnel that was named.
    unknown-tunnel            No tunnel has this name, or none matches the pattern.
    rejected                  They have mistakes: nothing was changed, what runs is as before.
    journal                   The file, or a line of it, cannot be written, is not believed, or names a session that could not be deleted now.
    version-skew              It is of another version, whose interface differs.
    bad-request               It did not understand the request.
    internal                  A part of this program failed by a mistake of ours; it is started again.
    sign-in                   There was no access token, or a fresh one was refused too (HTTP 401).
    cloud-changed             It names another cloud than the one this instance was started in.
    denied                    The account lacks a right (HTTP 403).
    not-found                 There is no such bastion or target (HTTP 404).
    arm-redirect              The answer was a redirect (HTTP 3xx).
    vm-stopped                The gateway refused a session, often with HTTP 500, and the machine does not run.
    no-instance               Azure Resource Manager lists none that runs.
    not-attached              Azure Resource Manager says that the interface is attached to none.
    wrong-sku                 The bastion's SKU has no native client support.
    tunneling-disabled        Native client support is switched off.
    ip-connect-disabled       IP-based connection is switched off.
    ip-connect-port           Nothing yet: it is tried, but Azure supports IP-based connections on ports 22 and 3389 only.
    arm-unreachable           Azure Resource Manager did not answer.
    untrusted-certificate     The certificate that was shown is not believed, so nothing was sent.
    proxy-credentials         The proxy wants a user name and a password, or does not accept those it was given.
    proxy-refused             The proxy does not let us through, or what answers there is no HTTP proxy.
    proxy-unreachable         The proxy could not be reached, or hung up.
    arm-error                 Azure Resource Manager answered with an error.
    arm-answer                The answer did not describe a bastion that we could use.
    developer-limits          The bastion is of the SKU Developer, which does not reach that target or port.
    developer-one-machine     Nothing yet: it is tried, but Azure serves one machine at a time.
    broker-unreachable        The broker could not be reached, or did not answer in time.
    broker-denied             The broker refused (HTTP 403).
    broker-error              The broker failed or is busy (HTTP 408, 429 or 5xx).
    broker-redirect           The answer was a redirect, which was not followed: the question carries an access token.
    broker-answer             The answer did not name a host that a token may be sent to.
    gateway-unreachable       The gateway could not be reached, or did not answer in time.
    gateway-busy              The gateway had no room for another session (HTTP 429 or 503).
    gateway-error             The gateway failed (HTTP 408 or 5xx).
    gateway-answer            The answer was not one that a gateway gives.
    gateway-redirect          The answer was a redirect, which was not followed: the request carries an access token.
    gateway-slow              No session was there within `connect_timeout`, and the connection was reset.
    gateway-upgrade           The gateway did not agree to a WebSocket (an HTTP status other than 101).
    gateway-node              A node of the bastion answered HTTP in place of the first frame.
    gateway-silent            The gateway stopped answering pings, which it had answered before.
    gateway-lost              The connection to the gateway was lost.
    gateway-reset             The connection to the gateway was reset.
    gateway-cut               The connection to the gateway ended without a goodbye, perhaps in the middle of a message.
    gateway-close             The gateway closed the session with a code that is no end.
    gateway-protocol          The gateway sent something that WebSockets do not have.
    end-unclean               The gateway ended the connection in order (TLS), but without a close frame.
    target-silent             The gateway is connected, but nothing came from the target.
    target-refused            The connection was closed before the target said a word.
    probe-failed              It answered something else.
    ");
}

#[tokio::test]
async fn all_codes_for_programs() {
    let said = said(&["--format", "json", "explain"]).await;
    let json: serde_json::Value = serde_json::from_str(said.split_once("out\n").unwrap().1).unwrap();
    assert_eq!(json["version"], 1);
    let codes = json["codes"].as_array().unwrap();
    assert!(codes.iter().any(|code| code["code"] == "sign-in"), "{said}");
    assert_eq!(codes.len(), bastion::ui::explanations().count());
}

#[tokio::test]
async fn words_that_are_no_codes() {
    insta::assert_snapshot!(said(&["explain", "port-takn"]).await, @r"
    exit 2
    ----- err
    error: there is no code `port-takn`
    hint: did you mean `port-taken`?
    ");
    insta::assert_snapshot!(said(&["explain", "?\u{1b}[31m"]).await, @r"
    exit 2
    ----- err
    error: there is no code `?\u{1b}[31m`
    hint: `bastion explain` lists all codes
    ");
    insta::assert_snapshot!(said(&["explain", "sign-in", "--format", "yaml"]).await, @r"
    exit 2
    ----- err
    error: `--format` is `text` or `json`, not `yaml`
    ");
}
