//! Bastions of the SKU Developer: a broker says which data pod to talk to, and what it says is looked at twice.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bastion::carrier::{Received, Remains};
use bastion::emulator::{EntryKind, RequestEntry};
use bastion::gateway::{Destination, Gateway, GatewayError};
use bastion::model::{
    BastionTraits, Blocked, Desired, Disposition, Emulation, Endpoint, Fault, FaultAction as A, FaultPhase,
    Limits, Machine, PortRule, Service, Sku, State, TunnelStatus,
};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::stage::{
    ADDRESS, PATIENCE, Stage, Tokens, always, bastion_id, close, desired, destination, emulation, fault, id,
    machine_id, options, port, reason, recv, send,
};
use crate::supervised::Supervised;

const SSH: u16 = 22;

/// A Developer bastion, and a machine that sends back what it gets, on every port.
fn shared(faults: Vec<Fault>) -> Emulation {
    let endpoint = Endpoint::Resource(machine_id());
    Emulation {
        bastions: vec![(bastion_id(), BastionTraits::of(Sku::Developer))],
        machines: vec![Machine { otherwise: Some(Service::Echo), ..Machine::new(endpoint) }],
        ..emulation(None, faults)
    }
}

async fn stage(faults: Vec<Fault>) -> Stage {
    Stage::new(shared(faults)).await
}

async fn gateway(stage: &Stage, ports: PortRule) -> Gateway {
    let broker = stage.read().await.unwrap().gateway;
    Gateway::shared(broker, ports, stage.network.clone(), Limits::default()).unwrap()
}

fn ssh() -> Desired {
    desired(Endpoint::Resource(machine_id()), SSH, Duration::from_secs(5))
}

async fn probe(stage: &Stage, gateway: &Gateway) -> Result<(), GatewayError> {
    gateway.probe(&destination(SSH), &*stage.tokens, &options()).await
}

/// Why a tunnel of this stage does not become ready, as soon as that is known.
async fn refusal(stage: &Stage, desired: Desired) -> TunnelStatus {
    let supervised = Supervised::start(desired, Arc::new(stage.surroundings())).await;
    let told = supervised.until("one", |tunnel| tunnel.reason.is_some()).await;
    assert_eq!(supervised.stop().await, Remains::default());
    told
}

/// Somebody who is not to hear of it.
async fn stranger() -> (TcpListener, u16) {
    let stranger = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = stranger.local_addr().unwrap().port();
    (stranger, port)
}

async fn was_not_called(stranger: TcpListener) {
    let nobody = timeout(Duration::from_millis(1), stranger.accept()).await;
    assert!(nobody.is_err(), "the stranger was called");
}

fn hosts(entries: &[RequestEntry]) -> BTreeSet<String> {
    entries.iter().map(|entry| entry.host.clone()).collect()
}

#[tokio::test]
async fn sessions_are_opened_used_and_deleted_on_the_pod_that_the_broker_named() {
    for sku in [Sku::Developer, Sku::QuickConnect] {
        let bastions = vec![(bastion_id(), BastionTraits::of(sku))];
        let stage = Stage::new(Emulation { bastions, ..shared(vec![]) }).await;
        let gateway = gateway(&stage, PortRule::Allowed).await;
        probe(&stage, &gateway).await.unwrap();
        let mut stream = stage.open(&gateway, SSH).await.unwrap();
        send(&mut stream, b"hello").await;
        assert!(matches!(recv(&mut stream).await, Received::Data(bytes) if bytes == "hello"));
        close(&mut stream).await;
        drop(stream);
        stage.settled(2).await;
        let soon = tokio::time::Instant::now() + PATIENCE;
        assert_eq!((gateway.settle(soon).await, gateway.sessions()), (Remains::default(), (2, 2)));

        let questions = stage.entries(EntryKind::Broker);
        let [question] = questions.as_slice() else { panic!("{questions:#?}") };
        assert_eq!(question.host, stage.read().await.unwrap().gateway.to_string());
        assert_eq!((question.method.as_str(), question.path.as_str()), ("POST", "/api/connection"));
        let mut fields = question.form.clone();
        fields.sort();
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut expected = [
            field("resourceId", machine_id().as_str()),
            field("bastionResourceId", bastion_id().as_str()),
            field("vmPort", "22"),
            field("azToken", "…"),
            field("connectionType", "nativeclient"),
        ];
        expected.sort();
        assert_eq!(fields, expected);
        let header = |name: &str| question.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        assert_eq!(header("content-type").unwrap().1, "application/json");
        assert_eq!(header("user-agent").unwrap().1, "bastion/test (tunnel one)");
        assert!(header("authorization").is_none());

        let upgrades = stage.entries(EntryKind::Upgrade);
        assert_eq!(upgrades.len(), 1);
        assert_eq!(upgrades[0].path, "/omni/webtunnel/…", "no query");
        let (posts, deletions) = (stage.entries(EntryKind::Token), stage.entries(EntryKind::Delete));
        let pod = hosts(&posts);
        assert!(pod.len() == 1 && pod.iter().all(|host| host.starts_with("pod-")), "{pod:?}");
        assert_eq!((hosts(&upgrades), hosts(&deletions)), (pod.clone(), pod));
        // A vmPort in quotes, a node in the query, a session deleted without its node: each would be a violation.
        stage.innocent();
    }
}

#[tokio::test]
async fn however_many_wait_the_broker_is_asked_once() {
    let stage = stage(vec![
        fault(FaultPhase::Broker, A::Status(503)),
        fault(FaultPhase::Broker, A::Delay(Duration::from_millis(100))),
    ])
    .await;
    let gateway = Arc::new(gateway(&stage, PortRule::Allowed).await);
    for asked in 1..=2 {
        let mut probes = JoinSet::new();
        for _ in 0..20 {
            let (gateway, tokens) = (Arc::clone(&gateway), Arc::clone(&stage.tokens));
            probes.spawn(async move { gateway.probe(&destination(SSH), &*tokens, &options()).await.is_ok() });
        }
        let went = timeout(PATIENCE, probes.join_all()).await.unwrap();
        assert_eq!(went, [asked == 2; 20], "all of them get the answer of the one question, a failure too");
        assert_eq!(stage.entries(EntryKind::Broker).len(), asked);
    }
    stage.settled(20).await;
    stage.innocent();
}

#[tokio::test]
async fn a_pod_is_for_one_target_and_port() {
    let stage = stage(vec![]).await;
    let gateway = gateway(&stage, PortRule::Allowed).await;
    for to in [22, 3389, 22, 3389] {
        gateway.probe(&destination(to), &*stage.tokens, &options()).await.unwrap();
    }
    let asked: Vec<_> = stage.entries(EntryKind::Broker).into_iter().map(|e| e.target.unwrap()).collect();
    assert_eq!(asked, ["vm-one:22", "vm-one:3389"]);
    stage.settled(4).await;
    stage.innocent();
}

#[tokio::test]
async fn a_pod_that_moved_is_asked_for_anew_and_nobody_notices() {
    let stage = stage(vec![]).await;
    let gateway = gateway(&stage, PortRule::Allowed).await;
    let mut old = stage.open(&gateway, SSH).await.unwrap();
    // The first time it still holds a session and says 404; the second time nobody knows it any more (421).
    for moved in 1..=2 {
        stage.emulator.move_pods();
        let mut new = stage.open(&gateway, SSH).await.unwrap();
        send(&mut new, b"new").await;
        assert!(matches!(recv(&mut new).await, Received::Data(bytes) if bytes == "new"));
        assert_eq!(stage.entries(EntryKind::Broker).len(), 1 + moved);
        if moved == 1 {
            send(&mut old, b"old").await;
            assert!(matches!(recv(&mut old).await, Received::Data(bytes) if bytes == "old"));
            close(&mut old).await;
        }
        close(&mut new).await;
        drop(new);
    }
    drop(old);
    stage.settled(3).await;
    assert_eq!(hosts(&stage.entries(EntryKind::Delete)).len(), 3, "each where it was granted");
    stage.innocent();
}

#[tokio::test]
async fn a_pod_that_stayed_is_not_asked_again_and_again() {
    let stage = stage(vec![]).await;
    let gateway = gateway(&stage, PortRule::Allowed).await;
    probe(&stage, &gateway).await.unwrap();
    for (status, questions) in [(404, 2), (403, 3), (502, 4), (400, 4), (429, 4)] {
        stage.emulator.inject(fault(FaultPhase::Token, A::Status(status)));
        let posts = stage.entries(EntryKind::Token).len();
        let error = probe(&stage, &gateway).await.unwrap_err();
        assert!(error.to_string().contains(&format!("HTTP {status}")), "{error}");
        assert_eq!(stage.entries(EntryKind::Token).len(), posts + 1, "{status}: the same pod once");
        assert_eq!(stage.entries(EntryKind::Broker).len(), questions, "{status}");
    }
    // A pod that was named for this very try is not asked for anew by it, but by the next.
    for (action, token) in [(A::Reset, 1), (A::Redirect(307, "https://localhost:1/".to_owned()), 1)] {
        let stage = self::stage(vec![fault(FaultPhase::Token, action.clone())]).await;
        let gateway = self::gateway(&stage, PortRule::Allowed).await;
        probe(&stage, &gateway).await.unwrap_err();
        let asked = (stage.entries(EntryKind::Broker).len(), stage.entries(EntryKind::Token).len());
        assert_eq!(asked, (1, token), "{action:?}");
        probe(&stage, &gateway).await.unwrap();
        assert_eq!(stage.entries(EntryKind::Broker).len(), 2, "{action:?}");
    }
    let stage = self::stage(vec![fault(FaultPhase::Upgrade, A::Status(404))]).await;
    let gateway = self::gateway(&stage, PortRule::Allowed).await;
    assert!(stage.open(&gateway, SSH).await.is_err());
    drop(stage.open(&gateway, SSH).await.unwrap());
    assert_eq!(stage.entries(EntryKind::Broker).len(), 2, "an upgrade that failed");
    stage.settled(2).await;
}

#[tokio::test]
async fn what_a_broker_must_not_answer_is_refused_with_words_and_no_token_goes_there() {
    let (stranger, port) = stranger().await;
    for hostile in [
        "127.0.0.1".to_owned(),
        format!("127.0.0.1:{port}"),
        format!("[::1]:{port}"),
        "::1".to_owned(),
        format!("0x7f.1:{port}"),
        format!("evil/@localhost:{port}"),
        "evil/@x".to_owned(),
        format!("user@localhost:{port}"),
        format!("user:secret@localhost:{port}"),
        format!("https://localhost:{port}/"),
        format!("localhost:{port}/path"),
        format!("localhost:{port}?x"),
        format!("localhost:{port}#x"),
        format!("localhost:{port}\nX: y"),
        format!("local\u{1b}[31mhost:{port}"),
        "localhost:0".to_owned(),
        "localhost:65536".to_owned(),
        "localhost:".to_owned(),
        "Failed to get a data pod from the brain for bastion - omnibrain".to_owned(),
        "x".repeat(4096),
    ] {
        let stage = stage(vec![always(FaultPhase::Broker, A::Answer(hostile.clone()))]).await;
        let told = refusal(&stage, ssh()).await;
        let (blocked, reason) = reason(&told);
        assert!(blocked && reason.code == "broker-answer", "{hostile:?}: {reason:?}");
        let start: String = hostile.chars().take_while(|c| !c.is_control()).take(20).collect();
        let said = [&start, "no data pod for vm-one:22", "to which no token goes", "HTTP 200"];
        assert!(said.iter().all(|words| reason.what.contains(words)), "{}", reason.what);
        assert!(!reason.what.contains(char::is_control) && reason.what.len() < 500, "{}", reason.what);
        assert!(reason.hint.is_some());
        assert_eq!(stage.entries(EntryKind::Broker).len(), 1, "and is not asked in vain again");
        let others = [EntryKind::Token, EntryKind::Upgrade, EntryKind::Other, EntryKind::Handshake];
        assert!(others.iter().all(|kind| stage.entries(*kind).is_empty()), "{hostile:?}");
        stage.innocent();
    }
    was_not_called(stranger).await;
}

#[tokio::test]
async fn a_pod_has_a_port_only_where_the_cloud_is_the_users_own() {
    let stage = stage(vec![]).await;
    let gateway = gateway(&stage, PortRule::Forbidden).await;
    let error = probe(&stage, &gateway).await.unwrap_err();
    assert_eq!((error.code(), error.disposition()), ("broker-answer", Disposition::Blocked(Blocked::Answer)));
    assert!(stage.entries(EntryKind::Token).is_empty());
    // In the user's own cloud, whatever blanks are around it: the emulator ends its answer with a newline.
    let gateway = self::gateway(&stage, PortRule::Allowed).await;
    probe(&stage, &gateway).await.unwrap();
    stage.settled(1).await;
}

#[tokio::test]
async fn a_broker_that_says_nothing_is_asked_again_later() {
    let stage = stage(vec![fault(FaultPhase::Broker, A::Malformed)]).await;
    let supervised = Supervised::start(ssh(), Arc::new(stage.surroundings())).await;
    let told = supervised.until("one", |tunnel| tunnel.reason.is_some()).await;
    let (blocked, reason) = reason(&told);
    assert!(!blocked && reason.code == "broker-answer" && reason.what.ends_with("it is empty"), "{told:?}");
    supervised.until_state("one", State::Ready).await;
    assert_eq!(supervised.stop().await, Remains::default());
    stage.innocent();
}

#[tokio::test]
async fn a_host_that_is_a_name_but_not_the_pods_learns_nothing_for_want_of_a_certificate() {
    let (stranger, port) = stranger().await;
    let stage = stage(vec![always(FaultPhase::Broker, A::Answer(format!("localhost:{port}")))]).await;
    let gateway = gateway(&stage, PortRule::Allowed).await;
    let hello = async {
        let (mut called, _) = stranger.accept().await.unwrap();
        let mut first = [0; 1];
        tokio::io::AsyncReadExt::read_exact(&mut called, &mut first).await.unwrap();
        assert_eq!(first, [22], "a TLS handshake, and nothing else before it is over");
    };
    let (probed, ()) =
        timeout(PATIENCE, async { tokio::join!(probe(&stage, &gateway), hello) }).await.unwrap();
    assert_eq!(probed.unwrap_err().code(), "gateway-unreachable");
}

#[tokio::test]
async fn a_redirect_of_the_brokers_is_not_followed() {
    let (stranger, port) = stranger().await;
    for status in [301, 302, 303, 307, 308] {
        let elsewhere = format!("https://localhost:{port}/api/connection");
        let stage = stage(vec![always(FaultPhase::Broker, A::Redirect(status, elsewhere))]).await;
        let told = refusal(&stage, ssh()).await;
        let (blocked, reason) = reason(&told);
        assert!(blocked && reason.code == "broker-redirect", "{told:?}");
        assert!(reason.what.contains(&format!("HTTP {status}")), "{}", reason.what);
        assert!(stage.entries(EntryKind::Token).is_empty());
    }
    was_not_called(stranger).await;
}

#[tokio::test]
async fn each_refusal_of_the_brokers_has_its_words_its_code_and_its_consequence() {
    for (action, code, blocks, words) in [
        (A::Status(400), "broker-answer", true, "HTTP 400, \"Bad Request\""),
        (A::PlainStatus(403), "broker-denied", true, "HTTP 403, \"Forbidden\""),
        (A::EmptyStatus(403), "broker-denied", true, "HTTP 403"),
        (A::Status(404), "not-found", true, "HTTP 404, \"Not Found\""),
        (A::Status(429), "broker-error", false, "HTTP 429"),
        (A::PlainStatus(500), "broker-error", false, "HTTP 500"),
        (A::Status(503), "broker-error", false, "HTTP 503, \"Service Unavailable\""),
        (A::EmptyStatus(204), "broker-answer", true, "HTTP 204"),
        (A::Reset, "broker-unreachable", false, "asking the broker"),
        (A::Drop, "broker-unreachable", false, "asking the broker"),
    ] {
        let stage = stage(vec![fault(FaultPhase::Broker, action.clone())]).await;
        let gateway = gateway(&stage, PortRule::Allowed).await;
        let error = probe(&stage, &gateway).await.unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains(words) && text.contains("vm-one:22") && !text.contains('<'),
            "{action:?}: {text}"
        );
        assert!(text.contains("omnibrain.bastion.localhost"), "{text}");
        assert_eq!(error.code(), code, "{action:?}");
        assert_eq!(matches!(error.disposition(), Disposition::Blocked(_)), blocks, "{action:?}");
        assert_eq!(stage.entries(EntryKind::Broker).len(), 1, "{action:?}: asked once, not blindly again");
        // The fault is over, and nothing of it stays behind.
        probe(&stage, &gateway).await.unwrap();
        stage.settled(1).await;
    }
}

#[tokio::test]
async fn a_token_that_the_broker_refuses_is_replaced_once_by_a_fresh_one() {
    let stage = stage(vec![]).await;
    let good = stage.emulator.endpoint().token;
    let gateway = gateway(&stage, PortRule::Allowed).await;
    let tokens = Tokens::of(&["stale", &good]);
    gateway.probe(&destination(SSH), &tokens, &options()).await.unwrap();
    assert_eq!(tokens.asked(), [false, true, false], "twice for the broker, then for the pod");

    let stage = self::stage(vec![always(FaultPhase::Broker, A::PlainStatus(401))]).await;
    let gateway = self::gateway(&stage, PortRule::Allowed).await;
    let error = probe(&stage, &gateway).await.unwrap_err();
    assert_eq!((error.code(), error.disposition()), ("sign-in", Disposition::Blocked(Blocked::SignIn)));
    assert_eq!(stage.entries(EntryKind::Broker).len(), 2, "once more, and no more");
}

#[tokio::test]
async fn a_broker_that_is_down_is_waited_for_and_streams_go_on_meanwhile() {
    let stage = stage(vec![]).await;
    let tunnel = stage.tunnel_with(&ssh()).await;
    let mut open = tunnel.connect().await;
    echo(&mut open, b"before").await;
    stage.emulator.move_pods();
    for _ in 0..3 {
        stage.emulator.inject(fault(FaultPhase::Broker, A::Reset));
    }
    // Held until the broker is back.
    let mut held = tunnel.connect().await;
    let degraded = |tunnel: &TunnelStatus| {
        tunnel.reason.as_ref().is_some_and(|reason| reason.code == "broker-unreachable")
    };
    let (_, ()) = tokio::join!(tunnel.supervised.until("one", degraded), echo(&mut held, b"after"));
    echo(&mut open, b"still").await;
    tunnel.supervised.until_state("one", State::Ready).await;
    drop((open, held));
    stage.until("all deleted", |c| c.opened == c.deleted && c.streams == 0).await;
    tunnel.stop().await;
    stage.innocent();
}

async fn echo(stream: &mut tokio::net::TcpStream, bytes: &[u8]) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    stream.write_all(bytes).await.unwrap();
    let mut back = vec![0; bytes.len()];
    timeout(PATIENCE, stream.read_exact(&mut back)).await.unwrap().unwrap();
    assert_eq!(back, bytes);
}

#[tokio::test]
async fn what_a_developer_bastion_does_not_reach_is_refused_before_anybody_is_asked() {
    let cluster = id("Microsoft.ContainerService/managedClusters", "aks");
    for (endpoint, to, words) in [
        (Endpoint::Address(ADDRESS), SSH, "the address 10.0.0.4 (it has no enableIpConnect)"),
        (Endpoint::Resource(machine_id()), 80, "port 80"),
        (Endpoint::Resource(cluster), SSH, "`aks`, which is another kind of resource"),
    ] {
        let stage = stage(vec![]).await;
        let told = refusal(&stage, desired(endpoint, to, Duration::from_secs(5))).await;
        let (blocked, reason) = reason(&told);
        assert!(blocked && reason.code == "developer-limits", "{told:?}");
        assert!(reason.what.contains(words) && reason.what.contains("SKU Developer"), "{}", reason.what);
        assert!(reason.hint.as_ref().unwrap().contains("--sku Standard"), "{reason:?}");
        let asked = [EntryKind::Broker, EntryKind::Token].map(|kind| stage.entries(kind).len());
        assert_eq!(asked, [0, 0], "{words}");
    }
}

#[tokio::test]
async fn a_second_machine_waits_until_the_first_is_done() {
    let mut two = shared(vec![]);
    let other = id("Microsoft.Compute/virtualMachines", "vm-two");
    let mut machine = two.machines[0].clone();
    machine.endpoint = Endpoint::Resource(other.clone());
    two.machines.push(machine);
    let stage = Stage::new(two).await;
    let gateway = gateway(&stage, PortRule::Allowed).await;
    let mut first = stage.open(&gateway, SSH).await.unwrap();
    let second = Destination { endpoint: Endpoint::Resource(other), port: port(SSH), ..destination(SSH) };
    let error = gateway.probe(&second, &*stage.tokens, &options()).await.unwrap_err();
    assert!(error.is_full() && error.hint().unwrap().contains("one machine at a time"), "{error}");
    close(&mut first).await;
    drop(first);
    stage.settled(1).await;
    gateway.probe(&second, &*stage.tokens, &options()).await.unwrap();
    stage.settled(2).await;
    stage.innocent();
}
