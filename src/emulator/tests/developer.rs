//! The Developer SKU: a broker, a data pod, and what the two refuse (G39).

use serde_json::{Value, json};

use super::client::*;
use crate::emulator::terrain::BROKER;
use crate::emulator::{EntryKind, RequestEntry};
use crate::model::{BastionTraits, Emulation, Endpoint, FaultAction, FaultPhase, Sku};

fn developer(traits: BastionTraits) -> Emulation {
    let mut emulation = emulation(None);
    emulation.bastions = vec![(bastion_id(), traits), (other_id(), BastionTraits::default())];
    for machine in &mut emulation.machines {
        machine.otherwise = Some(crate::model::Service::Echo);
    }
    emulation
}

fn other_id() -> crate::model::ResourceId {
    crate::model::ResourceId::parse(&bastion_id().to_string().replace("bas-hub", "bas-other")).unwrap()
}

async fn site() -> Site {
    Site::with(developer(BastionTraits::of(Sku::Developer))).await
}

/// The broker's question as a client asks it, with changes: null leaves a field out.
fn question(site: &Site, changes: &[(&str, Value)]) -> String {
    let mut fields = json!({
        "resourceId": vm_id().as_str(),
        "bastionResourceId": bastion_id().as_str(),
        "vmPort": 22,
        "azToken": site.endpoint.token,
        "connectionType": "nativeclient",
    });
    for (name, value) in changes {
        fields[name] = value.clone();
        if value.is_null() {
            fields.as_object_mut().unwrap().remove(*name);
        }
    }
    fields.to_string()
}

async fn ask(site: &Site, headers: &[&str], body: &str) -> Answer {
    let host = format!("{BROKER}:{}", site.endpoint.address.port());
    site.ask(&host, "POST /api/connection", headers, body).await
}

const JSON: [&str; 1] = ["Content-Type: application/json"];

#[tokio::test]
async fn arm_tells_the_broker_and_no_switches() {
    let site = site().await;
    let json = site.read_bastion().await.json();
    assert_eq!(json["sku"]["name"], "Developer");
    let properties = json["properties"].as_object().unwrap();
    assert_eq!(properties["dnsName"], format!("{BROKER}:{}", site.endpoint.address.port()));
    for absent in ["enableTunneling", "enableIpConnect", "ipConfigurations"] {
        assert!(!properties.contains_key(absent), "{absent}");
    }
    assert!(properties["virtualNetwork"]["id"].is_string());
}

#[tokio::test]
async fn the_broker_names_a_pod_and_the_pod_serves() {
    let site = site().await;
    let answer = ask(&site, &JSON, &question(&site, &[])).await;
    assert_eq!((answer.status, answer.text()), (200, format!("{}\n", site.gateway).as_str()));
    assert!(answer.header("content-type").unwrap().starts_with("text/plain"));
    assert!(site.gateway.starts_with("pod-"), "{}", site.gateway);

    let session = site.session(22).await;
    let path = format!("/omni/webtunnel/{}", escape(&session.websocket));
    let (answer, mut socket) = site.upgrade(&path, &WEBSOCKET).await;
    assert_eq!(answer.status, 101);
    socket.data(b"hello").await;
    assert_eq!(socket.bytes(5).await, b"hello");
    socket.close(1000).await;
    assert_eq!(socket.closed().await, 1000);
    assert_eq!(site.delete(&session).await.status, 204);
    site.innocent();

    let entry = site.entry(|entry| entry.kind == EntryKind::Broker).await;
    assert_eq!((entry.status, entry.target.as_deref()), (Some(200), Some("vm-web:22")));
    let field = |name: &str| entry.form.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
    assert_eq!((field("vmPort"), field("azToken")), (Some("22"), Some("…")));
}

#[tokio::test]
async fn the_broker_takes_whole_questions_only() {
    let site = site().await;
    let whole = question(&site, &[]);
    assert_eq!(ask(&site, &[], &whole).await.status, 415);
    assert_eq!(ask(&site, &["Content-Type: application/x-www-form-urlencoded"], &whole).await.status, 415);
    assert_eq!(ask(&site, &JSON, "[]").await.status, 400);
    for change in [
        ("vmPort", json!("22")),
        ("vmPort", json!(0)),
        ("vmPort", json!(70_000)),
        ("vmPort", json!(80)),
        ("vmPort", Value::Null),
        ("azToken", Value::Null),
        ("aztoken", Value::Null),
        ("resourceId", json!("")),
        ("connectionType", json!("browser")),
    ] {
        let status = if change.0 == "aztoken" { 200 } else { 400 };
        assert_eq!(
            ask(&site, &JSON, &question(&site, std::slice::from_ref(&change))).await.status,
            status,
            "{change:?}"
        );
    }
    site.violated("G39").await;
    assert_eq!(
        site.ask(&format!("{BROKER}:{}", site.endpoint.address.port()), "GET /", &[], "").await.status,
        404
    );
}

#[tokio::test]
async fn what_the_broker_would_not_notice_is_noted() {
    for (header, rule) in [("Authorization: Bearer x", "G3"), ("X-Node-Id: 10.0.1.4", "G12")] {
        let site = site().await;
        assert_eq!(ask(&site, &[JSON[0], header], &question(&site, &[])).await.status, 200);
        site.violated(rule).await;
    }
    let site = site().await;
    assert_eq!(ask(&site, &JSON, &question(&site, &[("token", json!("x"))])).await.status, 200);
    site.violated("G39").await;
}

#[tokio::test]
async fn the_broker_looks_at_who_asks_and_for_what() {
    let site = site().await;
    let bearer = format!("Bearer {}", site.endpoint.token);
    let scale_set =
        vm_id().to_string().replace("virtualMachines/", "virtualMachineScaleSets/set/virtualMachines/");
    let address = vm_id().to_string().replace(
        "Microsoft.Compute/virtualMachines/vm-web",
        &format!("Microsoft.Network/bh-hostConnect/{ADDRESS}"),
    );
    for (field, value, status, text) in [
        ("azToken", bearer.as_str(), 401, "Unauthorized"),
        ("azToken", "a.eyJleHAiOjk5OTk5OTk5OTl9.c", 403, "Forbidden"),
        ("bastionResourceId", vm_id().as_str(), 500, "Failed to get a data pod from the brain"),
        ("bastionResourceId", other_id().as_str(), 500, "Failed to get a data pod from the brain"),
        ("resourceId", &vm_id().to_string().replace("vm-web", "vm-x"), 404, "Not Found"),
        ("resourceId", &scale_set, 400, "Bad Request"),
        ("resourceId", &address, 400, "Bad Request"),
    ] {
        let answer = ask(&site, &JSON, &question(&site, &[(field, json!(value))])).await;
        assert_eq!(answer.status, status, "{field} {value}");
        assert!(answer.text().starts_with(text), "{}", answer.text());
    }
    let stranger = BastionTraits { reader: false, ..BastionTraits::of(Sku::Developer) };
    let site = Site::with(developer(stranger)).await;
    let answer = ask(&site, &JSON, &question(&site, &[])).await;
    assert_eq!((answer.status, answer.text()), (403, "Forbidden"));
    assert_eq!(site.exchange(&site.form(22, &[]), &[]).await.status, 403, "nor at the pod");
}

#[tokio::test]
async fn the_pod_has_machines_on_two_ports_only() {
    let site = site().await;
    for port in [22, 3389] {
        site.session(port).await;
    }
    site.innocent();
    assert_eq!(site.exchange(&site.form(80, &[]), &[]).await.status, 400);
    site.violated("G39").await;
    let id = vm_id().to_string().replace(
        "Microsoft.Compute/virtualMachines/vm-web",
        &format!("Microsoft.Network/bh-hostConnect/{ADDRESS}"),
    );
    let form = site.form(22, &[("resourceId", &id), ("hostname", ADDRESS)]);
    assert_eq!(site.exchange(&form, &[]).await.status, 403);
    assert_eq!(site.ask(&site.gateway, "GET /api/rdpfile", &[], "").await.status, 404);
}

#[tokio::test]
async fn a_developer_bastion_serves_one_machine_at_a_time() {
    let mut two = developer(BastionTraits::of(Sku::Developer));
    let mut machine = two.machines[0].clone();
    let other = vm_id().to_string().replace("vm-web", "vm-two");
    machine.endpoint = Endpoint::Resource(crate::model::ResourceId::parse(&other).unwrap());
    two.machines.push(machine);
    let site = Site::with(two).await;
    let first = site.session(22).await;
    site.session(3389).await;
    let form = site.form(22, &[("resourceId", &other)]);
    assert_eq!(site.exchange(&form, &[]).await.status, 503, "two machines at once");
    assert_eq!(site.delete(&first).await.status, 204);
    assert_eq!(site.exchange(&form, &[]).await.status, 503, "one of the first machine's is left");
    site.innocent();
}

#[tokio::test]
async fn a_pod_that_moved_takes_back_what_it_gave_and_gives_no_more() {
    let site = site().await;
    let session = site.session(22).await;
    site.emulator.move_pods();
    let answer = ask(&site, &JSON, &question(&site, &[])).await;
    assert_ne!(answer.text().trim_end(), site.gateway);
    assert_eq!(site.exchange(&site.form(22, &[]), &[]).await.status, 404, "the old one");
    assert_eq!(site.delete(&session).await.status, 204);
    site.emulator.move_pods();
    assert_eq!(site.exchange(&site.form(22, &[]), &[]).await.status, 421, "nobody there any more");
    site.innocent();
}

#[tokio::test]
async fn quick_connect_is_developer_by_its_old_name() {
    let site = Site::with(developer(BastionTraits::of(Sku::QuickConnect))).await;
    assert_eq!(site.read_bastion().await.json()["sku"]["name"], "QuickConnect");
    let answer = ask(&site, &JSON, &question(&site, &[])).await;
    assert_eq!((answer.status, answer.text()), (200, format!("{}\n", site.gateway).as_str()));
}

#[tokio::test]
async fn the_rules_of_tokens_hold_on_the_pod() {
    let site = site().await;
    let whole = site.form(22, &[]);
    assert_eq!(site.ask(&site.gateway, "POST /api/tokens", &JSON, &whole).await.status, 500, "G2");
    assert_eq!(site.exchange(&site.form(22, &[("protocol", "ssh")]), &[]).await.status, 500, "G4");
    assert_eq!(site.exchange(&site.form(22, &[("aztoken", "x")]), &[]).await.status, 401, "G5");
    assert_eq!(site.exchange(&whole, &["X-Node-Id: 10.0.1.4"]).await.status, 200);
    site.violated("G12").await;
    let session = site.session(22).await;
    let line = format!("DELETE /api/tokens/{}", session.auth);
    assert_eq!(site.ask(&site.gateway, &line, &[], "").await.status, 404, "G35");
}

#[tokio::test]
async fn each_kind_of_gateway_has_its_own_path() {
    let site = site().await;
    let session = site.session(22).await;
    assert_eq!(site.upgrade(&url(&session), &WEBSOCKET).await.0.status, 404);
    site.violated("G16").await;
    let query = format!("/omni/webtunnel/{}?X-Node-Id={}", escape(&session.websocket), session.node);
    assert_eq!(site.upgrade(&query, &WEBSOCKET).await.0.status, 400);
    site.violated("G17").await;

    let site = Site::start().await;
    let session = site.session(ECHO).await;
    let path = format!("/omni/webtunnel/{}", escape(&session.websocket));
    assert_eq!(site.upgrade(&path, &WEBSOCKET).await.0.status, 404);
    site.violated("G16").await;
    let broker = format!("{BROKER}:{}", site.endpoint.address.port());
    assert_eq!(
        site.ask(&broker, "POST /api/connection", &JSON, "{}").await.status,
        421,
        "no Developer bastion"
    );
}

#[tokio::test]
async fn the_broker_can_fail() {
    let site = site().await;
    let faults = [
        (FaultAction::PlainStatus(403), 403, "Forbidden"),
        (FaultAction::Status(503), 503, "Service Unavailable"),
        (FaultAction::EmptyStatus(500), 500, ""),
        (FaultAction::Malformed, 200, ""),
        (FaultAction::Answer("evil/@x".to_owned()), 200, "evil/@x"),
    ];
    for (action, status, text) in faults {
        let mut only = fault(FaultPhase::Broker, action);
        only.target = Some(Endpoint::Resource(vm_id()));
        site.emulator.inject(only);
        let answer = ask(&site, &JSON, &question(&site, &[])).await;
        assert_eq!((answer.status, answer.text()), (status, text));
    }
    let struck = |entry: &RequestEntry| entry.fault.as_deref() == Some("Malformed");
    assert_eq!(site.entry(struck).await.kind, EntryKind::Broker);
    assert_eq!(ask(&site, &JSON, &question(&site, &[])).await.status, 200);
    site.innocent();
}
