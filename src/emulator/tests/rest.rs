//! ARM, and the rules of the token exchange: G1–G19, G22, G33–G35, G41.

use std::time::{Duration, UNIX_EPOCH};

use super::client::*;
use crate::emulator::access::{AUDIENCE, TENANT, base64url};
use crate::emulator::{EntryKind, SessionCounts};
use crate::model::{BastionTraits, Emulation, ResourceId, Sku};

fn with_traits(traits: BastionTraits) -> Emulation {
    Emulation { bastions: vec![(bastion_id(), traits)], ..emulation(None) }
}

fn crafted(payload: &serde_json::Value) -> String {
    format!("{}.{}.c2ln", base64url(b"{\"alg\":\"RS256\"}"), base64url(payload.to_string().as_bytes()))
}

#[tokio::test]
async fn arm_reads_a_bastion_in_its_own_case() {
    let site =
        Site::with(with_traits(BastionTraits { enable_ip_connect: None, ..BastionTraits::default() })).await;
    let bearer = format!("Authorization: Bearer {}", site.endpoint.token);
    let shouted = bastion_id().to_string().to_uppercase().replace("/SUBSCRIPTIONS", "/subscriptions");
    let answer = site.arm(&format!("{shouted}?api-version=2024-05-01"), &[&bearer]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.header("x-ms-request-id").is_some());
    let json = answer.json();
    assert_eq!(json["sku"]["name"], "Standard");
    assert_eq!(json["properties"]["enableTunneling"], true);
    assert!(json["properties"].get("enableIpConnect").is_none(), "an absent flag is absent");
    assert_eq!(json["properties"]["dnsName"], site.gateway.as_str());
    assert!(!site.gateway.contains("bas-hub"), "G40: the host is not the name");
    let id = json["id"].as_str().unwrap();
    assert_ne!(id, bastion_id().as_str());
    assert_eq!(ResourceId::parse(id).unwrap(), bastion_id());
    site.innocent();
}

#[tokio::test]
async fn g40_arm_lists_bastions_page_by_page() {
    let other = ResourceId::parse(&bastion_id().to_string().replace("rg-emulator", "rg-other")).unwrap();
    let bastions = [bastion_id(), other.clone()].map(|id| (id, BastionTraits::default())).to_vec();
    let site = Site::with(Emulation { bastions, ..emulation(None) }).await;
    let bearer = format!("Authorization: Bearer {}", site.endpoint.token);
    let hosts = "providers/Microsoft.Network/bastionHosts?api-version=2024-05-01";
    let first = site.arm(&format!("/subscriptions/{}/{hosts}", Emulation::SUBSCRIPTION), &[&bearer]).await;
    let json = first.json();
    let ids = |json: &serde_json::Value| -> Vec<ResourceId> {
        let items = json["value"].as_array().unwrap().iter();
        items.map(|item| ResourceId::parse(item["id"].as_str().unwrap()).unwrap()).collect()
    };
    assert_eq!((first.status, ids(&json)), (200, vec![bastion_id()]));
    let origin = format!("https://{}", site.endpoint.resource_manager);
    let next = json["nextLink"].as_str().unwrap().strip_prefix(&origin).unwrap();
    let last = site.arm(next, &[&bearer]).await.json();
    assert_eq!((ids(&last), last.get("nextLink")), (vec![other], None));
    assert_eq!(site.arm(&format!("{next}x"), &[&bearer]).await.status, 400);
    let group = format!("/subscriptions/{}/resourceGroups/RG-OTHER/{hosts}", Emulation::SUBSCRIPTION);
    let json = site.arm(&group, &[&bearer]).await.json();
    assert_eq!((ids(&json).len(), json.get("nextLink")), (1, None));
    let nowhere = group.replace("RG-OTHER", "rg-nowhere");
    assert_eq!(site.arm(&nowhere, &[&bearer]).await.json()["error"]["code"], "ResourceGroupNotFound");
}

#[tokio::test]
async fn arm_says_what_is_wrong() {
    let site = Site::start().await;
    let bearer = format!("Authorization: Bearer {}", site.endpoint.token);
    let code = |answer: &Answer| answer.json()["error"]["code"].as_str().unwrap().to_owned();
    let path = format!("{}?api-version=2024-05-01", bastion_id());

    let answer = site.arm(&path, &[]).await;
    assert_eq!((answer.status, code(&answer).as_str()), (401, "AuthenticationFailed"));
    assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer authorization_uri="));
    let answer = site.arm(&path, &["Authorization: Bearer a.e30.c"]).await;
    assert_eq!((answer.status, code(&answer).as_str()), (401, "ExpiredAuthenticationToken"));
    let answer = site.arm(bastion_id().as_str(), &[&bearer]).await;
    assert_eq!((answer.status, code(&answer).as_str()), (400, "MissingApiVersionParameter"));
    let answer = site.arm(&format!("{}?api-version=latest", bastion_id()), &[&bearer]).await;
    assert_eq!((answer.status, code(&answer).as_str()), (400, "InvalidApiVersionParameter"));
    let wrong = |from: &str, to: &str| path.replace(from, to);
    for (path, expected) in [
        (wrong("bas-hub", "bas-nowhere"), "ResourceNotFound"),
        (wrong("rg-emulator", "rg-nowhere"), "ResourceGroupNotFound"),
        (wrong(Emulation::SUBSCRIPTION, "nowhere"), "SubscriptionNotFound"),
    ] {
        let answer = site.arm(&path, &[&bearer]).await;
        assert_eq!((answer.status, code(&answer).as_str()), (404, expected));
    }
}

#[tokio::test]
async fn arm_answers_the_host_that_a_workspace_wants_wrong() {
    let dns_name = Some("evil/@x".to_owned());
    let site = Site::with(with_traits(BastionTraits { dns_name, ..BastionTraits::default() })).await;
    assert_eq!(site.read_bastion().await.json()["properties"]["dnsName"], "evil/@x");
}

#[tokio::test]
async fn another_host_is_misdirected() {
    let site = Site::start().await;
    let port = site.endpoint.address.port();
    for host in [format!("bst-0.bastion.localhost:{port}"), "management.localhost:1".to_owned()] {
        assert_eq!(site.ask(&host, "GET /", &[], "").await.status, 421);
    }
}

#[tokio::test]
async fn g1_only_http_1_1() {
    let site = Site::start().await;
    assert!(site.offering(&site.gateway, &["h2", "http/1.1"]).await.is_err());
    site.violated("G1").await;
    let tls = site.offering(&site.gateway, &["http/1.1"]).await.unwrap();
    assert_eq!(tls.get_ref().1.alpn_protocol(), Some(b"http/1.1".as_slice()));
    let mut tls = site.offering(&site.gateway, &[]).await.unwrap();
    write(&mut tls, "GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!(answer(&mut tls, &mut Vec::new()).await.unwrap().status, 505);
}

#[tokio::test]
async fn rest_connections_are_kept_and_bounded() {
    let site = Site::start().await;
    let mut tls = site.tls(&site.gateway).await;
    let mut rest = Vec::new();
    for _ in 0..2 {
        write(&mut tls, &format!("GET /x HTTP/1.1\r\nHost: {}\r\n\r\n", site.gateway)).await;
        assert_eq!(answer(&mut tls, &mut rest).await.unwrap().status, 404);
    }
    let long = format!("GET /x HTTP/1.1\r\nHost: {}\r\nX: {}\r\n\r\n", site.gateway, "x".repeat(17_000));
    write(&mut tls, &long).await;
    assert_eq!(answer(&mut tls, &mut rest).await.unwrap().status, 431);
    let answer = site.exchange(&"x".repeat(70_000), &[]).await;
    assert_eq!(answer.status, 413);
}

#[tokio::test]
async fn a_right_exchange_is_granted() {
    let site = Site::start().await;
    let answer = site.exchange(&site.form(ECHO, &[]), &[]).await;
    let json = answer.json();
    assert_eq!(json.as_object().unwrap().len(), 6);
    let session = Session::of(&answer);
    assert!(session.auth.len() == 64 && session.auth.bytes().all(|b| b.is_ascii_hexdigit()));
    assert!(['/', '%', '+'].iter().all(|c| session.websocket.contains(*c)), "G19 has teeth");
    let empty = format!("{}&token=", site.form(ECHO, &[]));
    Session::of(&site.exchange(&empty, &[]).await);
    site.innocent();
}

#[tokio::test]
async fn g2_g3_the_token_travels_in_a_form() {
    let site = Site::start().await;
    let json = ["Content-Type: application/json"];
    let answer = site.ask(&site.gateway, "POST /api/tokens", &json, &site.form(ECHO, &[])).await;
    assert_eq!((answer.status, answer.message().as_str()), (500, "Unexpected internal error"));
    assert_eq!(answer.json()["type"], "INTERNAL_ERROR");
    site.violated("G2").await;
    let bearer = format!("Authorization: Bearer {}", site.endpoint.token);
    assert_eq!(site.exchange(&site.form(ECHO, &[]), &[&bearer]).await.status, 200);
    site.violated("G3").await;
    assert_eq!(site.exchange(&site.form(ECHO, &[("aztoken", "")]), &[&bearer]).await.status, 500);
}

#[tokio::test]
async fn g4_every_field_counts() {
    let site = Site::start().await;
    for change in [
        ("resourceId", ""),
        ("protocol", ""),
        ("protocol", "ssh"),
        ("workloadHostPort", ""),
        ("workloadHostPort", "0"),
        ("workloadHostPort", "65536"),
        ("workloadHostPort", "+7"),
        ("aztoken", ""),
    ] {
        let answer = site.exchange(&site.form(ECHO, &[change]), &[]).await;
        assert_eq!(
            (answer.status, answer.message().as_str()),
            (500, "Unexpected internal error"),
            "{change:?}"
        );
    }
    site.violated("G4").await;
    assert_eq!(site.emulator.sessions().opened, 0);
}

#[tokio::test]
async fn g5_g6_only_its_own_tokens() {
    let site = Site::start().await;
    let bearer = format!("Bearer {}", site.endpoint.token);
    let long_ago = UNIX_EPOCH.elapsed().unwrap().as_secs() - 10;
    let later = long_ago + 1000;
    let claims =
        |exp: u64, aud: &str, tid: &str| crafted(&serde_json::json!({ "exp": exp, "aud": aud, "tid": tid }));
    for (token, status) in [
        (bearer, 401),
        ("opaque".to_owned(), 401),
        ("a.b".to_owned(), 401),
        (claims(long_ago, AUDIENCE, TENANT), 401),
        (claims(later, "https://graph.microsoft.com/", TENANT), 403),
        (claims(later, AUDIENCE, "another"), 403),
        (claims(later, AUDIENCE, TENANT), 403),
    ] {
        let answer = site.exchange(&site.form(ECHO, &[("aztoken", &token)]), &[]).await;
        assert_eq!(answer.status, status, "{token}");
        if status == 401 {
            assert_eq!(answer.text(), "Unauthorized");
        } else {
            assert!(!answer.message().is_empty());
        }
    }
}

fn pseudo(address: &str) -> String {
    let id = ResourceId::compose(
        Emulation::SUBSCRIPTION,
        Emulation::RESOURCE_GROUP,
        "Microsoft.Network/bh-hostConnect",
        address,
    );
    id.unwrap().to_string()
}

#[tokio::test]
async fn g7_g9_an_address_is_named_twice() {
    let site = Site::start().await;
    let id = pseudo(ADDRESS);
    let named = |hostname| site.form(ECHO, &[("resourceId", &id), ("hostname", hostname)]);
    Session::of(&site.exchange(&named(ADDRESS), &[]).await);
    site.innocent();
    let answer = site.exchange(&named(""), &[]).await;
    assert_eq!((answer.status, answer.message().as_str()), (404, "Invalid IP address for connection."));
    site.violated("G7").await;
    assert_eq!(site.exchange(&named("10.1.20.111"), &[]).await.status, 404);
    site.violated("G9").await;
    let id = pseudo("10.1.20.111");
    let form = site.form(ECHO, &[("resourceId", &id), ("hostname", "10.1.20.111")]);
    let answer = site.exchange(&form, &[]).await;
    assert_eq!((answer.status, answer.message().as_str()), (404, "Target resource not found"));
}

#[tokio::test]
async fn g8_addresses_need_ip_connect() {
    for flag in [None, Some(false)] {
        let traits = BastionTraits { enable_ip_connect: flag, ..BastionTraits::default() };
        let site = Site::with(with_traits(traits)).await;
        let form = site.form(ECHO, &[("resourceId", &pseudo(ADDRESS)), ("hostname", ADDRESS)]);
        assert_eq!(site.exchange(&form, &[]).await.status, 403);
        assert_eq!(site.exchange(&site.form(ECHO, &[]), &[]).await.status, 200);
    }
}

#[tokio::test]
async fn g10_tunneling_has_to_be_on() {
    for traits in [
        BastionTraits { enable_tunneling: None, ..BastionTraits::default() },
        BastionTraits { enable_tunneling: Some(false), ..BastionTraits::default() },
        BastionTraits { sku: Sku::Basic, ..BastionTraits::default() },
    ] {
        let site = Site::with(with_traits(traits)).await;
        let answer = site.exchange(&site.form(ECHO, &[]), &[]).await;
        assert_eq!((answer.status, answer.message().as_str()), (403, "Tunneling is disabled"));
    }
}

#[tokio::test]
async fn g11_the_caller_has_to_be_a_reader() {
    let site = Site::with(with_traits(BastionTraits { reader: false, ..BastionTraits::default() })).await;
    assert_eq!(site.read_bastion().await.status, 200, "the bastion itself can be read");
    let answer = site.exchange(&site.form(ECHO, &[]), &[]).await;
    assert_eq!(answer.status, 403);
    assert!(
        answer.message().contains("does not have authorization to perform action"),
        "{}",
        answer.message()
    );
    assert_eq!(site.emulator.sessions(), SessionCounts::default());
}

#[tokio::test]
async fn unknown_targets_are_not_found() {
    let site = Site::start().await;
    let other = vm_id().to_string();
    for id in [other.replace("vm-web", "vm-x"), other.replace(Emulation::SUBSCRIPTION, "x"), "vm".to_owned()]
    {
        let answer = site.exchange(&site.form(ECHO, &[("resourceId", &id)]), &[]).await;
        assert_eq!((answer.status, answer.message().as_str()), (404, "Target resource not found"));
    }
    let shouted = vm_id().to_string().replace("vm-web", "VM-WEB");
    Session::of(&site.exchange(&site.form(ECHO, &[("resourceId", &shouted)]), &[]).await);
}

#[tokio::test]
async fn g12_g13_g14_nodes_and_continued_sessions() {
    let site = Site::start().await;
    let first = site.session(ECHO).await;
    let second = site.session(ECHO).await;
    assert_ne!(first.node, second.node, "G14");
    site.innocent();
    let node = format!("X-Node-Id: {}", first.node);
    let chained = site.form(ECHO, &[("token", &first.auth)]);
    let again = Session::of(&site.exchange(&chained, &[&node]).await);
    assert_eq!((&again.auth, &again.node), (&first.auth, &first.node), "G13");
    assert_ne!(again.websocket, first.websocket);
    site.innocent();
    let stale = site.form(ECHO, &[("token", "stale")]);
    assert_ne!(Session::of(&site.exchange(&stale, &[&node]).await).auth, first.auth);
    assert_eq!(site.emulator.sessions().opened, 3);
    site.innocent();
    site.exchange(&site.form(ECHO, &[]), &[&node]).await;
    site.violated("G12").await;
    site.exchange(&chained, &[]).await;
    assert_eq!(site.emulator.sessions().violations.len(), 2);
}

#[tokio::test]
async fn g15_a_full_bastion_is_busy() {
    let site = Site::with(with_traits(BastionTraits { max_sessions: 1, ..BastionTraits::default() })).await;
    let session = site.session(ECHO).await;
    assert_eq!(site.exchange(&site.form(ECHO, &[]), &[]).await.status, 503);
    assert_eq!(site.delete(&session).await.status, 204);
    site.session(ECHO).await;
}

#[tokio::test]
async fn g33_g34_g35_sessions_end_where_they_live() {
    let site = Site::start().await;
    let session = site.session(ECHO).await;
    let line = format!("DELETE /api/tokens/{}", session.auth);
    let answer = site.ask(&site.gateway, &line, &[], "").await;
    assert_eq!(answer.status, 404);
    site.violated("G35").await;
    assert_eq!(site.ask(&site.gateway, &line, &["X-Node-Id: 10.0.1.9"], "").await.status, 404);
    site.violated("G34").await;
    assert_eq!(site.emulator.sessions().live, 1);
    assert_eq!(site.delete(&session).await.status, 204);
    let counts = site.emulator.sessions();
    assert_eq!((counts.opened, counts.deleted, counts.live), (1, 1, 0));
    let answer = site.delete(&session).await;
    assert_eq!((answer.status, answer.message().as_str()), (404, "No such token."));
    assert_eq!(site.emulator.sessions().deleted, 1);
}

#[tokio::test]
async fn g41_a_session_asked_for_exists_even_if_nobody_waits() {
    let site = Site::with(Emulation { setup_delay: Duration::from_millis(50), ..emulation(None) }).await;
    let mut tls = site.tls(&site.gateway).await;
    let form = site.form(ECHO, &[]);
    let head = format!(
        "POST /api/tokens HTTP/1.1\r\nHost: {}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\n{form}",
        site.gateway,
        form.len()
    );
    write(&mut tls, &head).await;
    drop(tls);
    site.entry(|e| e.kind == EntryKind::Token && e.status == Some(200)).await;
    assert_eq!(site.emulator.sessions(), SessionCounts { opened: 1, live: 1, ..SessionCounts::default() });
}
