//! Examples for the wire format.

use super::*;

fn destination(endpoint: Endpoint) -> Destination {
    let bastion = ResourceId::compose("sub", "rg-hub", "Microsoft.Network/bastionHosts", "bas").unwrap();
    Destination { bastion, endpoint, port: Port::new(22).unwrap() }
}

fn machine() -> Endpoint {
    Endpoint::Resource(ResourceId::compose("sub", "rg", "Microsoft.Compute/virtualMachines", "vm").unwrap())
}

fn session(websocket_token: &str, node_id: &str) -> Session {
    Session {
        auth_token: "a/b".into(),
        websocket_token: websocket_token.into(),
        node_id: Some(node_id.into()),
    }
}

#[test]
fn the_form_has_exactly_the_fields_the_gateway_knows() {
    let form = exchange_form(&destination(machine()), &"h.p.s".into());
    assert_eq!(
        form.expose_secret(),
        "resourceId=%2Fsubscriptions%2Fsub%2FresourceGroups%2Frg%2Fproviders%2FMicrosoft.Compute%2FvirtualMachines%2Fvm\
         &protocol=tcptunnel&workloadHostPort=22&aztoken=h.p.s"
    );
}

#[test]
fn an_address_is_asked_for_in_the_bastions_own_group() {
    let form =
        exchange_form(&destination(Endpoint::Address("10.1.20.110".parse().unwrap())), &"h.p.s".into());
    let form = form.expose_secret();
    assert!(form.starts_with("resourceId=%2Fsubscriptions%2Fsub%2FresourceGroups%2Frg-hub%2Fproviders%2FMicrosoft.Network%2Fbh-hostConnect%2F10.1.20.110&"));
    assert!(form.ends_with("&hostname=10.1.20.110"));
}

#[test]
fn a_session_needs_its_three_values_and_nothing_else() {
    let whole = r#"{"authToken":"a","nodeId":"10.0.0.5","websocketToken":"w","dataSource":"x","new":[1]}"#;
    let session = read_session(whole.as_bytes(), Kind::Own).unwrap();
    assert_eq!(session.node_id.as_deref(), Some("10.0.0.5"));
    assert!(!format!("{session:?}").contains('w'), "secrets are not printed");
    for (body, error) in [
        (r#"{"nodeId":"n","websocketToken":"w"}"#, AnswerError::Missing("authToken")),
        (r#"{"authToken":"","nodeId":"n","websocketToken":"w"}"#, AnswerError::Missing("authToken")),
        (r#"{"authToken":"a","websocketToken":"w"}"#, AnswerError::Missing("nodeId")),
        (r#"{"authToken":"a","nodeId":null,"websocketToken":"w"}"#, AnswerError::Missing("nodeId")),
        (r#"{"authToken":"a","nodeId":"n\r\nX: y","websocketToken":"w"}"#, AnswerError::Missing("nodeId")),
        (r#"{"authToken":"a","nodeId":"n"}"#, AnswerError::Missing("websocketToken")),
        ("", AnswerError::NotJson),
        ("<html>", AnswerError::NotJson),
        (r#"{"authToken":1,"nodeId":"n","websocketToken":"w"}"#, AnswerError::NotJson),
        (r#"{"authToken":null,"nodeId":"n","websocketToken":"w"}"#, AnswerError::NotJson),
    ] {
        let unusable = read_session(body.as_bytes(), Kind::Own).unwrap_err();
        assert_eq!(unusable.error, error, "{body}");
        assert_eq!(unusable.granted.is_some(), error == AnswerError::Missing("websocketToken"), "{body}");
    }
}

#[test]
fn on_a_pod_a_session_may_do_without_a_node() {
    for (body, node) in [
        (r#"{"authToken":"a","websocketToken":"w"}"#, None),
        (r#"{"authToken":"a","nodeId":null,"websocketToken":"w"}"#, None),
        (r#"{"authToken":"a","nodeId":"","websocketToken":"w"}"#, None),
        (r#"{"authToken":"a","nodeId":"10.0.0.5","websocketToken":"w"}"#, Some("10.0.0.5")),
    ] {
        assert_eq!(read_session(body.as_bytes(), Kind::Pod).unwrap().node_id.as_deref(), node, "{body}");
    }
    let crooked = r#"{"authToken":"a","nodeId":"n\r\nX: y","websocketToken":"w"}"#;
    assert_eq!(
        read_session(crooked.as_bytes(), Kind::Pod).unwrap_err().error,
        AnswerError::Missing("nodeId")
    );
}

#[test]
fn the_question_for_a_pod_is_json_with_a_number_in_it() {
    assert_eq!(
        pod_question(&destination(machine()), &"h.p.s".into()).expose_secret(),
        r#"{"resourceId":"/subscriptions/sub/resourceGroups/rg/providers/Microsoft.Compute/virtualMachines/vm","#
            .to_owned()
            + r#""bastionResourceId":"/subscriptions/sub/resourceGroups/rg-hub/providers/Microsoft.Network/bastionHosts/bas","#
            + r#""vmPort":22,"azToken":"h.p.s","connectionType":"nativeclient"}"#
    );
}

#[test]
fn a_pod_is_a_bare_dns_name_or_nothing() {
    let read = |text: &str| read_pod(text.as_bytes(), PortRule::Forbidden);
    for text in [
        "pod-1.bastionglobal.azure.com",
        "pod-1.bastionglobal.azure.com\n",
        " \tPOD-1.bastionglobal.azure.com\r\n",
    ] {
        assert_eq!(read(text).unwrap().to_string(), "pod-1.bastionglobal.azure.com", "{text:?}");
    }
    assert_eq!(read_pod(b"pod.lab:8443\n", PortRule::Allowed).unwrap().port(), 8443);
    for (text, error) in [
        ("", PodError::Empty),
        (" \r\n", PodError::Empty),
        ("10.0.0.1", PodError::Host(HostError::Address)),
        ("0x7f.1", PodError::Host(HostError::Address)),
        ("[::1]", PodError::Host(HostError::NotADnsName)),
        ("::1", PodError::Host(HostError::NotADnsName)),
        ("evil/@x", PodError::Host(HostError::NotADnsName)),
        ("user@pod.azure.com", PodError::Host(HostError::NotADnsName)),
        ("user:secret@pod.azure.com", PodError::Host(HostError::NotADnsName)),
        ("https://pod.azure.com/", PodError::Host(HostError::NotADnsName)),
        ("pod.azure.com:443", PodError::Host(HostError::Port)),
        ("pod.azure.com:", PodError::Host(HostError::Port)),
        ("pod.azure.com/x", PodError::Host(HostError::NotADnsName)),
        ("pod.azure.com?x", PodError::Host(HostError::NotADnsName)),
        ("pod.azure.com#x", PodError::Host(HostError::NotADnsName)),
        ("pod.azure.com\n evil", PodError::Host(HostError::NotADnsName)),
        ("p\u{f6}d.azure.com", PodError::Host(HostError::NotADnsName)),
        ("Failed to get a data pod from the brain", PodError::Host(HostError::NotADnsName)),
        (&"x".repeat(4096), PodError::TooLong(4096)),
    ] {
        assert_eq!(read(text), Err(error), "{text:?}");
    }
    assert_eq!(read_pod(&[0xff, 0xfe], PortRule::Allowed), Err(PodError::Host(HostError::NotADnsName)));
}

#[test]
fn a_broker_that_repeats_the_token_is_quoted_without_it() {
    let token: SecretString = "eyJ0eXAiOiJKV1Qi.eyJhdWQiOiJodHRw.c2lnbmF0dXJlc2ln".into();
    let quoted = |text: &str| first_words(text.as_bytes(), &token);
    assert_eq!(
        quoted("bad token: eyJ0eXAiOiJKV1Qi.eyJhdWQiOiJodHRw.c2lnbmF0dXJlc2ln!"),
        "bad token: \u{2026}!"
    );
    assert_eq!(quoted(r#"{"azToken":"c2lnbmF0dXJlc2ln"}"#), "{\"azToken\":\"\u{2026}\"}");
    assert_eq!(quoted("evil\u{1b}[31m/@x\n"), "evil\u{241b}[31m/@x");
    assert_eq!(quoted(&"x".repeat(5000)).len(), 80);
}

#[test]
fn messages_are_taken_from_json_and_plain_text_and_are_safe_to_print() {
    assert_eq!(
        read_message(br#"{"message":"Tunneling is disabled","type":"X"}"#).as_deref(),
        Some("Tunneling is disabled")
    );
    assert_eq!(read_message(b"Unauthorized").as_deref(), Some("Unauthorized"));
    assert_eq!(read_message(b"a\x1b[31mb").as_deref(), Some("a\u{241b}[31mb"));
    assert_eq!(read_message(b""), None);
    assert_eq!(read_message(b"<!doctype html><h1>HTTP Status 400"), None);
    assert_eq!(read_message(br#"{"error":"x"}"#), None);
    assert_eq!(read_message(&[0xff, 0xfe]), None);
    assert!(read_message(&[b'x'; 5000]).unwrap().len() <= 300);
}

#[test]
fn tokens_are_escaped_exactly_once() {
    let session = session("a/b%2F+c", "10.0.1.5");
    let path = websocket_path(&session, Kind::Own);
    assert_eq!(path.expose_secret(), "/webtunnelv2/a%2Fb%252F%2Bc?X-Node-Id=10.0.1.5");
    let path = websocket_path(&session, Kind::Pod);
    assert_eq!(path.expose_secret(), "/omni/webtunnel/a%2Fb%252F%2Bc", "a pod is not told the node");
    assert_eq!(session_path(&session.auth_token).expose_secret(), "/api/tokens/a%2Fb");
}

#[test]
fn the_upgrade_offers_nothing() {
    let host = GatewayHost::parse("bst.bastion.azure.com", PortRule::Forbidden).unwrap();
    let request = upgrade_request(
        &Front { host, kind: Kind::Own },
        &session("w", "n"),
        "a2V5",
        "bastion/1 (tunnel \r\nx)",
    );
    let text = request.expose_secret();
    assert!(text.starts_with("GET /webtunnelv2/w?X-Node-Id=n HTTP/1.1\r\nHost: bst.bastion.azure.com\r\n"));
    for absent in ["Extensions", "Protocol", "Cookie", "Authorization", "X-Node-Id:", "\r\nx)"] {
        assert!(!text.contains(absent), "{absent}");
    }
}

#[test]
fn an_upgrade_is_proven_by_status_and_accept_key() {
    let open = "HTTP/1.1 101 Switching Protocols\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Accept: yes\r\n\r\n\x02rest";
    assert_eq!(read_upgrade(open.as_bytes(), "yes"), Upgrade::Open(open.len() - 5));
    assert_eq!(read_upgrade(open.as_bytes(), "no"), Upgrade::WrongAccept);
    assert_eq!(read_upgrade(b"HTTP/1.1 101 x\r\n\r\n", "yes"), Upgrade::WrongAccept);
    let extended = b"HTTP/1.1 101 x\r\nSec-WebSocket-Accept: yes\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
    assert_eq!(read_upgrade(extended, "yes"), Upgrade::WrongAccept);
    assert_eq!(read_upgrade(b"HTTP/1.1 404 Not Found\r\n\r\n", "yes"), Upgrade::Refused(404));
    assert_eq!(read_upgrade(b"HTTP/1.1 101 x\r\nSec", "yes"), Upgrade::Incomplete);
    assert_eq!(read_upgrade(b"\x82\x05hello", "yes"), Upgrade::NotHttp);
}

#[test]
fn an_http_answer_in_place_of_a_frame_is_recognised() {
    assert_eq!(is_http(b"HTTP/1.1 400 Bad Request\r\n"), Some(true));
    assert_eq!(is_http(b"HT"), None);
    assert_eq!(is_http(b""), None);
    assert_eq!(is_http(&[0x82, 5]), Some(false));
    assert_eq!(status_of(b"HTTP/1.1 400 Bad Request\r\nx"), Some(400));
    assert_eq!(status_of(b"HTTP/1.1"), None);
}
