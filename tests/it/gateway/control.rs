//! What ARM says decides where the client goes, and whether it goes at all.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use bastion::emulator::EntryKind;
use bastion::model::{BastionTraits, Emulation, Endpoint, Fault, FaultAction, FaultPhase, ResourceId, Sku};
use bastion::model::{Blocked, Disposition};
use tokio::net::TcpListener;

use super::stage::{ADDRESS, HTTP, Stage, always, bastion_id, emulation, fault, machine_id, reason};

async fn with(traits: BastionTraits) -> Stage {
    let mut emulation = emulation(None, vec![]);
    emulation.bastions = vec![(bastion_id(), traits)];
    Stage::new(emulation).await
}

fn machine() -> Endpoint {
    Endpoint::Resource(machine_id())
}

#[tokio::test]
async fn the_gateway_is_where_arm_says_and_nowhere_else() {
    let stage = Stage::faulty(vec![]).await;
    let host = stage.read().await.unwrap();
    assert!(!host.gateway.name().contains("bas-hub"), "{}", host.gateway);
    let tunnel = stage.tunnel(HTTP).await;
    tunnel.stop().await;
    let posts = stage.entries(EntryKind::Token);
    assert_eq!(posts.iter().map(|e| e.host.clone()).collect::<Vec<_>>(), [host.gateway.to_string()]);
    stage.settled(1).await;
    stage.innocent();
}

#[tokio::test]
async fn an_id_in_another_case_is_the_same_bastion() {
    let stage = Stage::faulty(vec![]).await;
    let shouted = ResourceId::parse(&bastion_id().as_str().to_ascii_uppercase()).unwrap();
    let host = stage.arm.bastion(&shouted, &stage.emulator.endpoint().token.into()).await.unwrap();
    assert_eq!(host, stage.read().await.unwrap());
}

#[tokio::test]
async fn what_cannot_work_is_refused_before_the_gateway_is_asked() {
    let good = BastionTraits::default();
    let off = |enable_tunneling| BastionTraits { enable_tunneling, ..good.clone() };
    let no_ip = |enable_ip_connect| BastionTraits { enable_ip_connect, ..good.clone() };
    for (traits, endpoint, code, words) in [
        (BastionTraits { sku: Sku::Basic, ..good.clone() }, machine(), "wrong-sku", "SKU Basic"),
        (off(Some(false)), machine(), "tunneling-disabled", "enableTunneling"),
        (off(None), machine(), "tunneling-disabled", "enableTunneling"),
        (no_ip(Some(false)), Endpoint::Address(ADDRESS), "ip-connect-disabled", "enableIpConnect"),
        (no_ip(None), Endpoint::Address(ADDRESS), "ip-connect-disabled", "enableIpConnect"),
    ] {
        let stage = with(traits).await;
        let state = stage.refusal(endpoint).await;
        let (blocked, reason) = reason(&state);
        assert!(blocked, "{state:?}");
        assert_eq!(reason.code, code);
        assert!(reason.what.contains(words), "{}", reason.what);
        assert!(
            reason.hint.as_ref().is_some_and(|hint| hint.contains("az network bastion update")),
            "{reason:?}"
        );
        assert!(stage.entries(EntryKind::Token).is_empty(), "{code}: the gateway was asked all the same");
    }
}

#[tokio::test]
async fn ip_connect_needs_its_own_switch_only_for_addresses() {
    let stage = with(BastionTraits { enable_ip_connect: None, ..BastionTraits::default() }).await;
    stage.tunnel(HTTP).await.stop().await;
    stage.innocent();
}

#[tokio::test]
async fn a_host_that_is_no_dns_name_gets_no_token() {
    // A listener that would hear of it.
    let stranger = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = stranger.local_addr().unwrap().port();
    for hostile in [
        format!("evil/@localhost:{port}"),
        format!("127.0.0.1:{port}"),
        format!("[::1]:{port}"),
        format!("user@localhost:{port}"),
        format!("user:secret@localhost:{port}"),
        format!("https://localhost:{port}"),
        format!("localhost:{port}/path"),
        format!("localhost:{port}?x"),
        format!("localhost:{port}#x"),
        format!("0x7f.1:{port}"),
        format!("local host:{port}"),
        format!("localhost:{port}\r\nX: y"),
        "localhost:0".to_owned(),
        "localhost:65536".to_owned(),
        String::new(),
        ".".to_owned(),
    ] {
        let stage = with(BastionTraits { dns_name: Some(hostile.clone()), ..BastionTraits::default() }).await;
        let state = stage.refusal(machine()).await;
        let (blocked, reason) = reason(&state);
        assert!(blocked && reason.code == "arm-answer", "{hostile}: {state:?}");
        assert!(reason.what.contains("`properties.dnsName` is not accepted"), "{hostile}: {}", reason.what);
        assert!(stage.entries(EntryKind::Token).is_empty(), "{hostile}");
    }
    let nobody = tokio::time::timeout(Duration::from_millis(1), stranger.accept()).await;
    assert!(nobody.is_err(), "the stranger was called");
}

#[tokio::test]
async fn arm_failures_keep_arms_words_and_say_what_they_mean() {
    let cases: BTreeMap<u16, (&str, bool, &str)> = BTreeMap::from([
        (401, ("sign-in", true, "InvalidAuthenticationToken")),
        (403, ("denied", true, "AuthorizationFailed")),
        (404, ("not-found", true, "ResourceNotFound")),
        (429, ("arm-error", false, "TooManyRequests")),
        (500, ("arm-error", false, "InternalServerError")),
        (503, ("arm-error", false, "ServiceUnavailable")),
    ]);
    for (status, (code, blocks, words)) in cases {
        let stage = Stage::faulty(vec![fault(FaultPhase::Arm, FaultAction::Status(status))]).await;
        let error = stage.read().await.unwrap_err();
        assert_eq!(error.code(), code);
        assert_eq!(matches!(error.disposition(), Disposition::Blocked(_)), blocks, "{status}");
        let text = error.to_string();
        assert!(text.contains(&format!("HTTP {status}")) && text.contains(words), "{text}");
    }
    for action in
        [FaultAction::PlainStatus(403), FaultAction::EmptyStatus(403), FaultAction::PlainStatus(502)]
    {
        let stage = Stage::faulty(vec![fault(FaultPhase::Arm, action)]).await;
        let text = stage.read().await.unwrap_err().to_string();
        assert!(text.contains("HTTP 403") || text.contains("HTTP 502"), "{text}");
        assert!(!text.contains('<'), "no page is repeated: {text}");
    }
}

#[tokio::test]
async fn a_redirect_of_arms_is_not_followed() {
    let stranger = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let elsewhere = format!("https://localhost:{}/", stranger.local_addr().unwrap().port());
    for status in [301, 302, 307, 308] {
        let redirect = FaultAction::Redirect(status, elsewhere.clone());
        let stage = Stage::faulty(vec![always(FaultPhase::Arm, redirect)]).await;
        let error = stage.read().await.unwrap_err();
        assert_eq!(error.disposition(), Disposition::Blocked(Blocked::Answer));
        assert!(error.to_string().contains(&format!("HTTP {status}")), "{error}");
        assert_eq!(error.code(), "arm-redirect");
        assert!(error.hint().is_some_and(|hint| hint.contains("captive portal")));
    }
    let nobody = tokio::time::timeout(Duration::from_millis(1), stranger.accept()).await;
    assert!(nobody.is_err(), "the stranger was called");
}

#[tokio::test]
async fn arm_is_left_alone_for_as_long_as_it_asks() {
    let twice = Fault { times: 2, ..always(FaultPhase::Arm, FaultAction::Status(429)) };
    let stage = Stage::faulty(vec![twice]).await;
    stage.tunnel(HTTP).await.stop().await;
    let reads = stage.entries(EntryKind::Arm);
    assert_eq!(reads.iter().map(|read| read.status).collect::<Vec<_>>(), [Some(429), Some(429), Some(200)]);
    let asked = Duration::from_secs(1);
    for pair in reads.windows(2) {
        let waited = pair[1].time.duration_since(pair[0].time).unwrap();
        assert!(waited >= asked, "Retry-After: 1, and asked again after {waited:?}");
    }
    stage.innocent();
}

#[tokio::test]
async fn a_bastion_without_a_public_address_is_told_of_when_it_is_not_reached() {
    let nowhere = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let dns_name = Some(format!("localhost:{}", nowhere.local_addr().unwrap().port()));
    drop(nowhere);
    for (private_only, words) in [(true, Some("the bastion `bas-hub` is private-only")), (false, None)] {
        let traits = BastionTraits { private_only, dns_name: dns_name.clone(), ..BastionTraits::default() };
        let state = with(traits).await.refusal(machine()).await;
        let (blocked, reason) = reason(&state);
        assert!(!blocked, "{state:?}");
        let hint = reason.hint.as_deref();
        assert!(
            words.map_or(hint.is_none(), |words| hint.is_some_and(|hint| hint.starts_with(words))),
            "{reason:?}"
        );
    }
}

#[tokio::test]
async fn what_there_is_in_place_of_a_bastion_that_is_not_found() {
    let bastion = |group: &str, name: &str| {
        let id = ResourceId::compose(Emulation::SUBSCRIPTION, group, "Microsoft.Network/bastionHosts", name);
        (id.unwrap(), BastionTraits::default())
    };
    let names = |count: usize| (0..count).map(|number| bastion("rg-net", &format!("bas-{number}")));
    for (there, words) in [
        (vec![], None),
        (names(1).collect(), Some("has `bas-0` in the resource group `RG-NET`; is that meant?")),
        (
            names(2).collect(),
            Some("has `bas-0` in the resource group `RG-NET` and `bas-1` in the resource group `RG-NET`"),
        ),
        (names(9).collect::<Vec<_>>(), Some("`bas-4` in the resource group `RG-NET` and 4 more")),
    ] {
        let stage = Stage::new(Emulation { bastions: there, ..emulation(None, vec![]) }).await;
        let state = stage.refusal(machine()).await;
        let (blocked, reason) = reason(&state);
        assert!(blocked && reason.code == "not-found", "{state:?}");
        let hint = reason.hint.as_deref().unwrap();
        assert!(hint.contains(words.unwrap_or("the account sees no bastion in the subscription")), "{hint}");
    }
    // Where the list is refused too, what to check is all there is to say.
    let missing = always(FaultPhase::Arm, FaultAction::Status(404));
    let state = Stage::faulty(vec![missing]).await.refusal(machine()).await;
    assert!(reason(&state).1.hint.as_ref().unwrap().starts_with("check the bastion's name"), "{state:?}");
}
