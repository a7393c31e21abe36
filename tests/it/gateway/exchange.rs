//! The token exchange: what is sent, and what becomes of each answer.

use std::time::Duration;

use bastion::emulator::EntryKind;
use bastion::gateway::{Destination, Gateway, GatewayError};
use bastion::model::{Blocked, Disposition, State};
use bastion::model::{Endpoint, FaultAction as A, FaultPhase, Limits};
use bastion::supervisor::Setting;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};

use super::stage::{
    ADDRESS, ECHO, End, HTTP, PATIENCE, Stage, Tokens, always, destination, drain, emulation, fault, id,
    options,
};
use crate::supervised::Supervised;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

fn names(fields: &[(String, String)]) -> Vec<&str> {
    fields.iter().map(|(name, _)| name.as_str()).collect()
}

#[tokio::test]
async fn the_form_has_these_fields_and_the_head_says_no_more() {
    let stage = Stage::faulty(vec![]).await;
    let gateway = stage.gateway().await;
    gateway.probe(&destination(HTTP), &*stage.tokens, &options()).await.unwrap();
    let address = Destination { endpoint: Endpoint::Address(ADDRESS), ..destination(HTTP) };
    gateway.probe(&address, &*stage.tokens, &options()).await.unwrap();
    stage.settled(2).await;

    let posts = stage.entries(EntryKind::Token);
    assert_eq!(names(&posts[0].form), ["resourceId", "protocol", "workloadHostPort", "aztoken"]);
    assert_eq!(names(&posts[1].form), ["resourceId", "protocol", "workloadHostPort", "aztoken", "hostname"]);
    let pseudo = id("Microsoft.Network/bh-hostConnect", "10.0.0.4").to_string();
    let sent = |at: usize, name: &str| {
        posts[at].form.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone()).unwrap()
    };
    assert_eq!((sent(0, "protocol"), sent(0, "workloadHostPort")), ("tcptunnel".into(), "80".into()));
    assert_eq!((sent(1, "resourceId"), sent(1, "hostname")), (pseudo, "10.0.0.4".into()));
    for post in &posts {
        let headers: Vec<String> = post.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
        for absent in ["authorization", "x-node-id", "cookie", "referer", "proxy-authorization"] {
            assert!(!headers.iter().any(|header| header == absent), "{headers:?}");
        }
        let header = |name: &str| {
            post.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
        };
        assert_eq!(header("content-type"), Some("application/x-www-form-urlencoded"));
        assert_eq!(header("user-agent"), Some("bastion/test (tunnel one)"));
    }
    // HTTP/2 in ALPN, `Bearer` in the form, a token in a header: each would be a violation.
    stage.innocent();
}

#[tokio::test]
async fn each_refusal_has_its_words_its_code_and_its_consequence() {
    let plain = |status| A::PlainStatus(status);
    for (action, code, blocks, words) in [
        (A::Status(400), "gateway-answer", true, "HTTP 400"),
        (A::Status(403), "denied", true, "HTTP 403, \"The client with object id"),
        (A::Status(404), "not-found", true, "HTTP 404, \"Target resource not found\""),
        (A::Status(408), "gateway-error", false, "HTTP 408"),
        (A::Status(429), "gateway-busy", false, "HTTP 429, \"Too many requests\""),
        (A::Status(500), "gateway-error", false, "HTTP 500, \"Unexpected internal error\""),
        (A::Status(502), "gateway-error", false, "HTTP 502"),
        (A::Status(503), "gateway-busy", false, "HTTP 503, \"The server is busy. Please try again later.\""),
        (A::Status(504), "gateway-error", false, "HTTP 504"),
        (plain(403), "denied", true, "HTTP 403, \"Forbidden\""),
        (plain(404), "not-found", true, "HTTP 404"),
        (plain(500), "gateway-error", false, "HTTP 500"),
        (plain(503), "gateway-busy", false, "HTTP 503"),
        (A::EmptyStatus(204), "gateway-answer", true, "HTTP 204"),
        (A::EmptyStatus(403), "denied", true, "HTTP 403"),
        (A::EmptyStatus(404), "not-found", true, "HTTP 404"),
        (A::EmptyStatus(429), "gateway-busy", false, "HTTP 429"),
        (A::EmptyStatus(500), "gateway-error", false, "HTTP 500"),
    ] {
        let stage = Stage::faulty(vec![fault(FaultPhase::Token, action.clone())]).await;
        let gateway = stage.gateway().await;
        let error = gateway.probe(&destination(HTTP), &*stage.tokens, &options()).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains(words) && !text.contains('<'), "{action:?}: {text}");
        assert_eq!(error.code(), code, "{action:?}");
        assert_eq!(matches!(error.disposition(), Disposition::Blocked(_)), blocks, "{action:?}");
        assert_eq!(stage.entries(EntryKind::Token).len(), 1, "{action:?}: asked once, not blindly again");
        // The fault is over, and nothing of it stays behind.
        gateway.probe(&destination(HTTP), &*stage.tokens, &options()).await.unwrap();
        stage.settled(1).await;
    }
}

#[tokio::test]
async fn too_many_requests_says_when() {
    let stage = Stage::faulty(vec![fault(FaultPhase::Token, A::Status(429))]).await;
    let gateway = stage.gateway().await;
    let error = gateway.probe(&destination(HTTP), &*stage.tokens, &options()).await.unwrap_err();
    assert_eq!(error.disposition(), Disposition::RetryAfter(Duration::from_secs(1)));
}

#[tokio::test]
async fn a_grant_without_what_a_session_needs_is_no_session() {
    let stage = Stage::faulty(vec![fault(FaultPhase::Token, A::Malformed)]).await;
    let gateway = stage.gateway().await;
    let error = gateway.probe(&destination(HTTP), &*stage.tokens, &options()).await.unwrap_err();
    assert!(matches!(error, GatewayError::Answer { .. }), "{error:?}");
    assert_eq!((error.code(), error.disposition()), ("gateway-answer", Disposition::Retry));
    for action in [A::EmptyStatus(200), A::PlainStatus(200)] {
        let stage = Stage::faulty(vec![fault(FaultPhase::Token, action)]).await;
        let gateway = stage.gateway().await;
        let error = gateway.probe(&destination(HTTP), &*stage.tokens, &options()).await.unwrap_err();
        assert!(matches!(error, GatewayError::Answer { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_refused_token_is_replaced_once_by_a_fresh_one() {
    for action in [A::Status(401), A::PlainStatus(401), A::EmptyStatus(401)] {
        let stage = Stage::faulty(vec![fault(FaultPhase::Token, action.clone())]).await;
        stage.gateway().await.probe(&destination(HTTP), &*stage.tokens, &options()).await.unwrap();
        assert_eq!(stage.tokens.asked(), [false, true], "{action:?}");
        assert_eq!(stage.entries(EntryKind::Token).len(), 2);

        let stage = Stage::faulty(vec![always(FaultPhase::Token, action.clone())]).await;
        let gateway = stage.gateway().await;
        let error = gateway.probe(&destination(HTTP), &*stage.tokens, &options()).await.unwrap_err();
        assert_eq!(stage.tokens.asked(), [false, true], "{action:?}");
        assert_eq!(stage.entries(EntryKind::Token).len(), 2, "once more, and no more");
        assert_eq!((error.code(), error.disposition()), ("sign-in", Disposition::Blocked(Blocked::SignIn)));
    }
    // The second token really is the one that is sent: the gateway believes it.
    let stage = Stage::faulty(vec![]).await;
    let good = stage.emulator.endpoint().token;
    let tokens = Tokens::of(&["stale.stale.stale", &good]);
    stage.gateway().await.probe(&destination(HTTP), &tokens, &options()).await.unwrap();
    assert_eq!(tokens.asked(), [false, true]);
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_nobody_else_hears_of_it() {
    let stranger = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let elsewhere = format!("https://localhost:{}/api/tokens", stranger.local_addr().unwrap().port());
    for status in [301, 302, 303, 307, 308] {
        let stage =
            Stage::faulty(vec![fault(FaultPhase::Token, A::Redirect(status, elsewhere.clone()))]).await;
        let gateway = stage.gateway().await;
        let error = gateway.probe(&destination(HTTP), &*stage.tokens, &options()).await.unwrap_err();
        assert_eq!(error.code(), "gateway-redirect");
        assert_eq!(error.disposition(), Disposition::Blocked(Blocked::Answer));
    }
    assert!(timeout(Duration::from_millis(1), stranger.accept()).await.is_err(), "the stranger was called");
}

/// Opens a stream, and drops that while the token exchange is under way.
async fn cancelled(stage: &Stage, gateway: &Gateway) {
    let before = stage.tokens.asked().len();
    let under_way = async {
        // With the access token in hand the exchange begins, in the same breath.
        while stage.tokens.asked().len() == before {
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    tokio::select! {
        opened = stage.open(gateway, ECHO) => panic!("{opened:?}"),
        () = under_way => {}
    }
}

#[tokio::test]
async fn an_exchange_once_sent_is_awaited_and_its_session_deleted() {
    // At the seam: the future is dropped while the answer is under way.
    let delay = Duration::from_secs(1);
    let stage = Stage::faulty(vec![fault(FaultPhase::Token, A::Delay(delay))]).await;
    let gateway = stage.gateway().await;
    cancelled(&stage, &gateway).await;
    stage.settled(1).await;
    assert!(stage.entries(EntryKind::Upgrade).is_empty());
    assert_eq!(gateway.settle(Instant::now() + PATIENCE).await.sessions, 0);
    assert_eq!(gateway.sessions(), (1, 1));
    // Even at the exit: what is under way is waited for.
    let stage = Stage::faulty(vec![fault(FaultPhase::Token, A::Delay(delay))]).await;
    let gateway = stage.gateway().await;
    cancelled(&stage, &gateway).await;
    assert_eq!(gateway.settle(Instant::now() + PATIENCE).await.sessions, 0);
    stage.settled(1).await;
}

#[tokio::test]
async fn a_local_program_that_is_gone_costs_no_session() {
    let mut emulation = emulation(None, vec![]);
    emulation.setup_delay = Duration::from_millis(600);
    let stage = Stage::new(emulation).await;
    let tunnel = stage.tunnel(ECHO).await;
    let local = tunnel.connect().await;
    // It resets as soon as the tunnel is at it.
    until_connected(&tunnel.supervised).await;
    local.set_zero_linger().unwrap();
    drop(local);
    // The one of the proof, and the one that nobody wanted.
    stage.settled(2).await;
    assert!(stage.entries(EntryKind::Upgrade).is_empty(), "no WebSocket for nobody");
    tunnel.stop().await;
    stage.innocent();
}

async fn until_connected(supervised: &Supervised) {
    let waiting = async {
        while supervised.tunnel("one").is_none_or(|t| t.connections == 0 && t.waiting.is_empty()) {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, waiting).await.unwrap();
}

#[tokio::test]
async fn the_listener_stays_and_a_final_refusal_is_a_reset_at_once() {
    let stage = Stage::faulty(vec![]).await;
    let tunnel = stage.tunnel(HTTP).await;
    stage.emulator.inject(fault(FaultPhase::Token, A::Status(403)));
    let started = Instant::now();
    let seen = timeout(PATIENCE, drain(tunnel.connect().await)).await.unwrap();
    assert_eq!(seen, (vec![], End::Reset));
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    // Only a person can mend that, so the next one is refused without asking anybody …
    let asked = stage.entries(EntryKind::Token).len();
    tunnel.supervised.until_state("one", State::Blocked).await;
    assert_eq!(timeout(PATIENCE, drain(tunnel.connect().await)).await.unwrap(), (vec![], End::Reset));
    assert_eq!(stage.entries(EntryKind::Token).len(), asked);
    // … until somebody says that it is mended.
    tunnel.supervised.handle.reload(Setting::default()).await.unwrap();
    tunnel.supervised.until_state("one", State::Ready).await;
    let mut next = tunnel.connect().await;
    next.write_all(GET).await.unwrap();
    let (answer, end) = timeout(PATIENCE, drain(next)).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"));
    assert_eq!(end, End::Eof);
    tunnel.stop().await;
    stage.settled(3).await;
}

#[tokio::test]
async fn a_passing_failure_is_held_and_tried_again_with_a_new_session() {
    let stage = Stage::faulty(vec![]).await;
    let tunnel = stage.tunnel(HTTP).await;
    for action in [A::Status(503), A::Malformed] {
        stage.emulator.inject(fault(FaultPhase::Token, action));
    }
    let mut local = tunnel.connect().await;
    local.write_all(GET).await.unwrap();
    let (answer, end) = timeout(PATIENCE, drain(local)).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "held, then served");
    assert_eq!(end, End::Eof);
    tunnel.stop().await;
    // The proof of the start, the one that showed that it works again, and the connection's own.
    stage.settled(3).await;
}

#[tokio::test]
async fn a_burst_of_connections_is_no_burst_of_exchanges() {
    let mut emulation = emulation(None, vec![]);
    emulation.setup_delay = Duration::from_millis(150);
    let stage = Stage::new(emulation).await;
    let host = stage.read().await.unwrap().gateway;
    let gateway = Gateway::new(host, stage.network.clone(), Limits { sessions: 0, setups: 2 }).unwrap();
    let started = Instant::now();
    let (destination, options) = (destination(HTTP), options());
    let one = || gateway.probe(&destination, &*stage.tokens, &options);
    let (a, b, c, d, e, f) = tokio::join!(one(), one(), one(), one(), one(), one());
    for answer in [a, b, c, d, e, f] {
        answer.unwrap();
    }
    assert!(started.elapsed() >= Duration::from_millis(450), "two at a time: {:?}", started.elapsed());
    stage.settled(6).await;
}

#[tokio::test]
async fn exchanges_that_nobody_waits_for_count_as_set_ups() {
    let taking = Duration::from_secs(1);
    let mut emulation = emulation(None, vec![]);
    emulation.setup_delay = taking;
    let stage = Stage::new(emulation).await;
    let host = stage.read().await.unwrap().gateway;
    let gateway = Gateway::new(host, stage.network.clone(), Limits { sessions: 0, setups: 2 }).unwrap();
    for _ in 0..20 {
        // Local programs that give up at once.
        drop(timeout(Duration::from_millis(30), stage.open(&gateway, ECHO)).await);
    }
    assert_eq!(gateway.settle(Instant::now() + PATIENCE).await.sessions, 0);
    let mut asked: Vec<_> = stage.entries(EntryKind::Token).into_iter().map(|entry| entry.time).collect();
    asked.sort();
    assert!(asked.len() >= 2, "{asked:?}");
    for three in asked.windows(3) {
        // The third is asked for only when the first is answered.
        let apart = three[2].duration_since(three[0]).unwrap();
        assert!(
            apart + Duration::from_millis(10) >= taking,
            "three exchanges in flight, {} in all: {apart:?}",
            asked.len()
        );
    }
}
