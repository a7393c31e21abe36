//! Every fault, where it can strike.

use std::time::Duration;

use tokio::time::Instant;

use super::client::*;
use super::socket::*;
use crate::emulator::{Emulator, EntryKind};
use crate::model::{Emulation, Endpoint, Fault, FaultAction, FaultPhase, Frames};

const PHASES: [FaultPhase; 5] =
    [FaultPhase::Arm, FaultPhase::SignIn, FaultPhase::Token, FaultPhase::Upgrade, FaultPhase::Delete];

/// The request of a phase, once; `None`: the connection ended or nothing came.
async fn request(site: &Site, phase: FaultPhase) -> Option<Answer> {
    let bearer = format!("Authorization: Bearer {}", site.endpoint.token);
    let asked = match phase {
        FaultPhase::Arm => {
            let line = format!("GET {}?api-version=2024-05-01", bastion_id());
            site.try_ask(&site.endpoint.resource_manager, &line, &[&bearer], "").await
        }
        FaultPhase::SignIn => {
            let host = format!("login.localhost:{}", site.endpoint.address.port());
            let form = "Content-Type: application/x-www-form-urlencoded";
            let line = format!("POST /{}/oauth2/v2.0/token", Emulator::TENANT);
            let body = "grant_type=client_credentials&client_id=x&client_secret=y\
                        &scope=https%3A%2F%2Fmanagement.azure.com%2F.default";
            site.try_ask(&host, &line, &[form], body).await
        }
        FaultPhase::Token => {
            let form = "Content-Type: application/x-www-form-urlencoded";
            site.try_ask(&site.gateway, "POST /api/tokens", &[form], &site.form(ECHO, &[])).await
        }
        FaultPhase::Upgrade => {
            let session = site.session(ECHO).await;
            site.try_ask(&site.gateway, &format!("GET {}", url(&session)), &WEBSOCKET, "").await
        }
        FaultPhase::Delete => {
            let session = site.session(ECHO).await;
            let node = format!("X-Node-Id: {}", session.node);
            let line = format!("DELETE /api/tokens/{}", session.auth);
            site.try_ask(&site.gateway, &line, &[&node], "").await
        }
        FaultPhase::Stream | FaultPhase::Broker => unreachable!("has no request here"),
    };
    asked.ok()
}

fn well(phase: FaultPhase) -> u16 {
    match phase {
        FaultPhase::Upgrade => 101,
        FaultPhase::Delete => 204,
        FaultPhase::Arm
        | FaultPhase::SignIn
        | FaultPhase::Broker
        | FaultPhase::Token
        | FaultPhase::Stream => 200,
    }
}

#[tokio::test]
async fn a_status_strikes_once_and_then_all_is_well() {
    for phase in PHASES {
        let site = Site::faulty(phase, FaultAction::Status(429)).await;
        let answer = request(&site, phase).await.unwrap();
        assert_eq!((answer.status, answer.header("retry-after")), (429, Some("1")), "{phase:?}");
        let json = answer.json();
        let message = match phase {
            FaultPhase::Arm => &json["error"]["message"],
            FaultPhase::SignIn => &json["error_description"],
            FaultPhase::Broker
            | FaultPhase::Token
            | FaultPhase::Upgrade
            | FaultPhase::Stream
            | FaultPhase::Delete => &json["message"],
        };
        assert!(message.as_str().is_some_and(|m| !m.is_empty()));
        assert_eq!(request(&site, phase).await.unwrap().status, well(phase), "{phase:?}");
        let entry = site.entry(|e| e.fault.is_some()).await;
        assert_eq!(entry.fault.as_deref(), Some("Status(429)"));
    }
}

#[tokio::test]
async fn statuses_say_what_azure_says() {
    for (status, words) in [
        (401, "Unauthorized"),
        (403, "does not have authorization"),
        (404, "Target resource not found"),
        (500, "Unexpected internal error"),
        (503, "busy"),
    ] {
        let site = Site::faulty(FaultPhase::Token, FaultAction::Status(status)).await;
        let answer = request(&site, FaultPhase::Token).await.unwrap();
        assert_eq!(answer.status, status);
        assert!(answer.message().contains(words), "{}", answer.message());
        assert_eq!(site.emulator.sessions().opened, 0);
    }
    let site = Site::faulty(FaultPhase::Arm, FaultAction::Status(401)).await;
    assert!(request(&site, FaultPhase::Arm).await.unwrap().header("www-authenticate").is_some());
}

#[tokio::test]
async fn answers_need_not_be_json() {
    for phase in PHASES {
        let site = Site::faulty(phase, FaultAction::PlainStatus(403)).await;
        let answer = request(&site, phase).await.unwrap();
        assert_eq!((answer.status, answer.text()), (403, "Forbidden"));
        site.emulator.inject(fault(phase, FaultAction::PlainStatus(502)));
        let answer = request(&site, phase).await.unwrap();
        assert_eq!(answer.status, 502);
        assert!(answer.text().starts_with("<!doctype html>"));
        site.emulator.inject(fault(phase, FaultAction::EmptyStatus(500)));
        let answer = request(&site, phase).await.unwrap();
        assert_eq!((answer.status, answer.text()), (500, ""));
        site.emulator.inject(fault(phase, FaultAction::Redirect(307, "https://evil.example/".to_owned())));
        let answer = request(&site, phase).await.unwrap();
        assert_eq!((answer.status, answer.header("location")), (307, Some("https://evil.example/")));
    }
}

#[tokio::test]
async fn a_malformed_grant_lacks_what_counts() {
    let site = Site::faulty(FaultPhase::Token, FaultAction::Malformed).await;
    let answer = request(&site, FaultPhase::Token).await.unwrap();
    assert_eq!(answer.status, 200);
    assert!(answer.json().get("authToken").is_none());
    assert_eq!(site.emulator.sessions().opened, 0);
}

#[tokio::test]
async fn answers_may_be_late_or_never_come() {
    for phase in PHASES {
        let delay = Duration::from_millis(60);
        let site = Site::faulty(phase, FaultAction::Delay(delay)).await;
        let before = Instant::now();
        assert_eq!(request(&site, phase).await.unwrap().status, well(phase));
        assert!(before.elapsed() >= delay);

        site.emulator.inject(fault(phase, FaultAction::Silence));
        let mut asked = Box::pin(request(&site, phase));
        tokio::select! {
            answer = &mut asked => panic!("{phase:?}: {answer:?}"),
            entry = site.entry(|e| e.fault.as_deref() == Some("Silence")) => assert_eq!(entry.status, None),
        }
        assert!(tokio::time::timeout(Duration::from_millis(50), &mut asked).await.is_err(), "{phase:?}");
        drop(asked);

        site.emulator.inject(fault(phase, FaultAction::Drop));
        site.emulator.inject(fault(phase, FaultAction::Reset));
        assert!(request(&site, phase).await.is_none(), "{phase:?}: Drop");
        assert!(request(&site, phase).await.is_none(), "{phase:?}: Reset");
        assert_eq!(request(&site, phase).await.unwrap().status, well(phase));
    }
}

#[tokio::test]
async fn a_failed_deletion_deletes_nothing() {
    let site = Site::faulty(FaultPhase::Delete, FaultAction::Status(500)).await;
    let session = site.session(ECHO).await;
    assert_eq!(site.delete(&session).await.status, 500);
    assert_eq!(site.emulator.sessions().live, 1);
    assert_eq!(site.delete(&session).await.status, 204);
}

#[tokio::test]
async fn g36_a_slow_deletion_is_done_before_it_is_answered() {
    let site = Site::faulty(FaultPhase::Delete, FaultAction::Delay(Duration::from_secs(30))).await;
    let (session, mut socket) = site.dial(ECHO).await;
    let mut deletion = Box::pin(site.delete(&session));
    tokio::select! {
        answer = &mut deletion => panic!("{answer:?}"),
        code = socket.closed() => assert_eq!(code, 1002),
    }
    assert!(
        tokio::time::timeout(Duration::from_millis(50), &mut deletion).await.is_err(),
        "not answered yet"
    );
    assert_eq!((site.emulator.sessions().deleted, site.emulator.sessions().live), (1, 0));
}

#[tokio::test]
async fn reads_of_one_resource_can_fail_alone() {
    for (target, status) in [(bastion_id(), 500), (vm_id(), 200)] {
        let mut only = fault(FaultPhase::Arm, FaultAction::Status(500));
        only.target = Some(Endpoint::Resource(target));
        let site = Site::with(Emulation { faults: vec![only], ..emulation(None) }).await;
        assert_eq!(site.read_bastion().await.status, status);
    }
}

#[tokio::test]
async fn faults_have_a_target_an_order_and_a_number() {
    let mut first = fault(FaultPhase::Token, FaultAction::Status(500));
    first.target = Some(Endpoint::Resource(vm_id()));
    first.times = 2;
    let mut other = fault(FaultPhase::Token, FaultAction::Status(404));
    other.target = Some(Endpoint::Address(ADDRESS.parse().unwrap()));
    other.times = 0;
    let last = fault(FaultPhase::Token, FaultAction::Status(503));
    let site = Site::with(Emulation { faults: vec![first, other, last], ..emulation(None) }).await;
    for status in [500, 500, 503, 200, 200] {
        assert_eq!(request(&site, FaultPhase::Token).await.unwrap().status, status);
    }
    let id = vm_id().to_string().replace(
        "Microsoft.Compute/virtualMachines/vm-web",
        &format!("Microsoft.Network/bh-hostConnect/{ADDRESS}"),
    );
    let form = site.form(ECHO, &[("resourceId", &id), ("hostname", ADDRESS)]);
    for _ in 0..3 {
        assert_eq!(site.exchange(&form, &[]).await.status, 404, "for ever");
    }
}

#[tokio::test]
async fn a_101_may_be_no_websocket() {
    let site = Site::faulty(FaultPhase::Upgrade, FaultAction::HttpAfter101).await;
    let session = site.session(ECHO).await;
    let mut socket = site.open(&session).await;
    let mut rest = std::mem::take(&mut socket.buffer);
    tokio::io::AsyncReadExt::read_to_end(&mut socket.tls, &mut rest).await.unwrap();
    assert!(rest.starts_with(b"HTTP/1.1 400 "), "{}", String::from_utf8_lossy(&rest));

    let site = Site::faulty(FaultPhase::Upgrade, FaultAction::Bare101).await;
    let session = site.session(ECHO).await;
    let (answer, mut socket) = site.upgrade(&url(&session), &WEBSOCKET).await;
    assert_eq!((answer.status, answer.header("upgrade"), answer.header("connection")), (101, None, None));
    assert_eq!(answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    socket.data(b"x").await;
    assert_eq!(socket.bytes(1).await, b"x");

    let site = Site::faulty(FaultPhase::Upgrade, FaultAction::WrongAccept).await;
    let session = site.session(ECHO).await;
    let (answer, _socket) = site.upgrade(&url(&session), &WEBSOCKET).await;
    assert_eq!(answer.status, 101);
    assert_ne!(answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
}

/// A stream with a fault after some bytes of a download; what came before it, and the event after that.
async fn struck(action: FaultAction, after: u64, frames: Frames) -> (Site, Socket, usize, Event) {
    let faults = vec![Fault { phase: FaultPhase::Stream, action, after, times: 1, target: None }];
    let site = Site::with(Emulation { faults, frames, ..emulation(None) }).await;
    let (_, mut socket) = site.dial(HTTP).await;
    socket.data(b"GET /bytes/200000 HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let mut received = 0;
    loop {
        match socket.next().await {
            Event::Frame(first, payload) if first & 0x7f <= 2 => received += payload.len(),
            Event::Frame(0x89, _) => {}
            other @ (Event::Frame(..) | Event::Notify | Event::Fin | Event::Reset) => {
                return (site, socket, received, other);
            }
        }
    }
}

#[tokio::test]
async fn streams_break_after_exactly_so_many_bytes() {
    for frames in [Frames::Natural, Frames::Size(1000), Frames::Size(100_000), Frames::Fragments] {
        for after in [1, 8192, 70_001] {
            for (action, expected) in
                [(FaultAction::Drop, Event::Fin), (FaultAction::CloseNotify, Event::Notify)]
            {
                let (site, _, received, event) = struck(action, after, frames).await;
                assert_eq!((u64::try_from(received).unwrap(), event), (after, expected), "{frames:?}");
                let entry = site.entry(|e| e.kind == EntryKind::Stream).await;
                assert_eq!(entry.bytes_down, after);
            }
        }
    }
}

#[tokio::test]
async fn a_reset_is_a_reset() {
    // What was sent before it may be overtaken, but nothing comes after it.
    let (site, _, received, event) = struck(FaultAction::Reset, 1000, Frames::Natural).await;
    assert_eq!(event, Event::Reset);
    assert!(received <= 1000);
    assert_eq!(site.entry(|e| e.kind == EntryKind::Stream).await.bytes_down, 1000);
}

#[tokio::test]
async fn close_frames_have_any_code_or_none() {
    for (code, payload) in
        [(1000u16, 1000u16.to_be_bytes().to_vec()), (1008, 1008u16.to_be_bytes().to_vec()), (0, vec![])]
    {
        let (_site, mut socket, received, event) =
            struck(FaultAction::Close(code), 500, Frames::Natural).await;
        assert_eq!(received, 500);
        let Event::Frame(0x88, sent) = event else { panic!("{event:?}") };
        assert!(sent.starts_with(&payload) && sent.is_empty() == (code == 0), "{sent:?}");
        socket.close(code.max(1000)).await;
        assert_eq!(socket.next().await, Event::Notify);
    }
}

#[tokio::test]
async fn frames_may_be_wrong() {
    for (action, first) in [(FaultAction::ReservedBit, 0xc2), (FaultAction::UnknownOpcode, 0x83)] {
        let (_, _, received, event) = struck(action, 300, Frames::Natural).await;
        assert_eq!((received, event), (300, Event::Frame(first, b"fault".to_vec())));
    }
    let site = Site::faulty(FaultPhase::Stream, FaultAction::Masked).await;
    let (_, mut socket) = site.dial(ECHO).await;
    while socket.buffer.len() < 6 {
        assert!(tokio::io::AsyncReadExt::read_buf(&mut socket.tls, &mut socket.buffer).await.unwrap() > 0);
    }
    assert_eq!(socket.buffer[..2], [0x82, 0x85]);
}

#[tokio::test]
async fn bytes_may_come_as_text() {
    let site = Site::faulty(FaultPhase::Stream, FaultAction::Text).await;
    let (_, mut socket) = site.dial(ECHO).await;
    socket.data(b"words").await;
    assert_eq!(socket.next().await, Event::Frame(0x81, b"words".to_vec()));
    socket.data(&[200]).await;
    assert_eq!(socket.next().await, Event::Frame(0x82, vec![200]));
}

#[tokio::test]
async fn silence_has_no_bytes_and_no_pong() {
    let (site, mut socket) = quiet(FaultAction::Silence).await;
    socket.data(b"x").await;
    socket.send(0x89, b"p").await;
    assert!(tokio::time::timeout(Duration::from_millis(100), socket.next_forever()).await.is_err());
    drop(socket);
    let entry = site.entry(|e| e.kind == EntryKind::Stream).await;
    assert_eq!(entry.bytes_up, 1);
}

#[tokio::test]
async fn no_pong_but_bytes() {
    let (_site, mut socket) = quiet(FaultAction::NoPong).await;
    socket.send(0x89, b"p").await;
    socket.data(b"x").await;
    assert_eq!(socket.next().await, Event::Frame(0x82, b"x".to_vec()));
}

#[tokio::test]
async fn the_gateway_may_ping() {
    let (_site, mut socket) = quiet(FaultAction::Pings(Duration::from_millis(10))).await;
    for _ in 0..3 {
        assert!(matches!(socket.next().await, Event::Frame(0x89, _)));
    }
    socket.data(b"x").await;
    assert_eq!(socket.bytes(1).await, b"x");
}

async fn quiet(action: FaultAction) -> (Site, Socket) {
    let site = Site::faulty(FaultPhase::Stream, action).await;
    let (_, socket) = site.dial(ECHO).await;
    (site, socket)
}

#[tokio::test]
async fn a_fault_can_be_added_to_a_running_stream() {
    let site = Site::start().await;
    let (_, mut socket) = site.dial(ECHO).await;
    socket.data(b"x").await;
    assert_eq!(socket.bytes(1).await, b"x");
    let emulator: &Emulator = &site.emulator;
    emulator.inject(Fault { after: 3, ..fault(FaultPhase::Stream, FaultAction::NoPong) });
    emulator.inject(fault(FaultPhase::Stream, FaultAction::Close(1001)));
    socket.data(b"abcdef").await;
    assert_eq!(socket.bytes(2).await, b"ab");
    assert_eq!(socket.closed().await, 1001);
    let (_, mut untouched) = site.dial(ECHO).await;
    untouched.data(b"y").await;
    assert_eq!(untouched.bytes(1).await, b"y");
}
