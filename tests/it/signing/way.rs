//! The way to whoever signs in: what is in it is told as it is on the way to Resource Manager.

use std::sync::Arc;

use bastion::azure::{Addresses, Arm, Cloud, Environment, SignIns};
use bastion::emulator::Emulator;
use bastion::model::{CredentialKind, Emulation, PortRule, State};
use bastion::net::{Network, Proxy, Trust};
use bastion::supervisor::Surroundings;
use tokio::time::{Duration, sleep};

use super::stand_in::StandIn;
use super::{AUDIENCE, FakeAz, desired, identity, through_az};
use crate::supervised::Supervised;

/// An application that signs in at this authority, by this network.
fn by(network: Network, authority: &str) -> Surroundings {
    let environment = Environment {
        tenant: Some(Emulator::TENANT.to_owned()),
        client_id: Some("app".to_owned()),
        client_secret: Some("right".to_owned().into()),
        ..Environment::default()
    };
    let addresses = Addresses {
        resource_manager: "management.localhost:1".to_owned(),
        authority: authority.to_owned(),
        audience: AUDIENCE.to_owned(),
    };
    let http = network.http().unwrap();
    let cloud =
        Cloud { resource_manager: addresses.resource_manager.clone(), gateway_ports: PortRule::Allowed };
    let sign_ins = SignIns::new(&addresses, environment, http.clone(), bastion::sys::clock::now);
    Surroundings { arm: Arm::new(cloud, &http), sign_in: Arc::new(sign_ins), network, journal: None }
}

/// A network that believes a stand-in, and goes through this proxy.
fn through(trusted: &StandIn, proxy: Option<&str>) -> Network {
    let proxy = proxy.map(|url| Proxy::new(url, "").unwrap());
    Network::new(&Trust::Only(trusted.ca_pem.clone(), Vec::new()), proxy, "test").unwrap()
}

async fn told(surroundings: Surroundings, state: State) -> (Supervised, String) {
    let users = [(Emulation::SUBSCRIPTION, identity(CredentialKind::ClientSecret, None))];
    let supervised = Supervised::start(desired(&users), Arc::new(surroundings)).await;
    let tunnel = supervised.until("a", |tunnel| tunnel.state == state && tunnel.reason.is_some()).await;
    let reason = tunnel.reason.unwrap();
    let told = format!("[{}] {} | {}", reason.code, reason.what, reason.hint.unwrap_or_default());
    (supervised, told.trim_end().to_owned())
}

#[tokio::test]
async fn a_proxys_wrong_password_is_not_tried_again_for_a_sign_in_either() {
    let authority = StandIn::tls(|_| (200, String::new())).await;
    let proxy = StandIn::plain(|_| (407, String::new())).await;
    let url = proxy.origin.replace("http://", "http://me:wrong@");
    let (supervised, told) =
        told(by(through(&authority, Some(&url)), "https://login.example"), State::Blocked).await;
    let told = told.replace(proxy.origin.trim_start_matches("http://"), "PROXY");
    insta::assert_snapshot!(told, @"[proxy-credentials] getting an access token: client-secret: asking login.example: going through the proxy PROXY: it answered HTTP 407: it does not accept the user name and password it was given | put USER:PASSWORD@ before the host in HTTPS_PROXY, or in `proxy` of `[network]` in your own configuration; `@` is written %40, `:` %3A");
    sleep(Duration::from_secs(3)).await;
    assert_eq!(proxy.asked().len(), 1, "{:?}", proxy.asked());
    supervised.stop().await;
}

#[tokio::test]
async fn whoever_is_not_believed_is_told_of_with_the_file_that_mends_it() {
    let (authority, another) =
        (StandIn::tls(|_| (200, String::new())).await, StandIn::tls(|_| (200, String::new())).await);
    let (supervised, told) = told(by(through(&another, None), &authority.origin), State::Blocked).await;
    let told =
        told.replace(&*authority.origin, "ORIGIN").replace(&authority.origin["https://".len()..], "HOST");
    insta::assert_snapshot!(told, @"[untrusted-certificate] getting an access token: client-secret: asking HOST: connecting: invalid peer certificate: BadSignature | if a proxy on the way replaces certificates, name its authority's PEM file in BASTION_CA_FILE, or as `ca_file` in `[network]` of your own configuration");
    supervised.stop().await;
}

#[tokio::test]
async fn what_may_pass_is_tried_again_and_names_whom_it_asked() {
    let authority = StandIn::tls(|_| (503, String::new())).await;
    let mut all = Vec::new();
    for (proxy, origin) in [
        (None, authority.origin.as_str()),
        (None, "https://localhost:1"),
        (None, "https://login.invalid"),
        (Some("http://127.0.0.1:1"), "https://login.example"),
    ] {
        let (supervised, told) = told(by(through(&authority, proxy), origin), State::Connecting).await;
        // What a resolver says is its own.
        let told = told.split(": failed to lookup").next().unwrap().to_owned();
        all.push(told.replace(&authority.origin["https://".len()..], "HOST"));
        supervised.stop().await;
    }
    insta::assert_snapshot!(all.join("\n"), @r"
    [sign-in] getting an access token: client-secret: the sign-in service answered HTTP 503 |
    [sign-in] getting an access token: client-secret: asking localhost:1: connecting: Connection refused (os error 111) |
    [sign-in] getting an access token: client-secret: asking login.invalid: connecting
    [proxy-unreachable] getting an access token: client-secret: asking login.example: going through the proxy 127.0.0.1:1: it cannot be reached: Connection refused (os error 111) | is HTTPS_PROXY right, or `proxy` of `[network]` in your own configuration? NO_PROXY names hosts that are reached without it
    ");
}

/// az and azd go to Azure by themselves, and by rules of their own.
#[tokio::test]
async fn what_az_says_of_its_way() {
    let mut all = Vec::new();
    for said in [
        "ERROR: HTTPSConnectionPool(host='login.microsoftonline.com', port=443): Max retries exceeded with url: /t (Caused by \
         SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed')))",
        "ERROR: HTTPSConnectionPool(host='login.microsoftonline.com', port=443): Max retries exceeded with url: /t (Caused by \
         ProxyError('Unable to connect to proxy', OSError('Tunnel connection failed: 407 Proxy Authentication Required')))",
        "ERROR: HTTPSConnectionPool(host='login.microsoftonline.com', port=443): Max retries exceeded with url: /t (Caused by \
         ProxyError('Unable to connect to proxy', NewConnectionError('Connection refused')))",
    ] {
        let (emulator, az) = (super::emulator(Vec::new()).await, FakeAz::new());
        az.fails(said);
        let sign_ins = super::sign_ins(&emulator, az.environment(), bastion::sys::clock::now);
        let error = sign_ins.tokens(&through_az(None)).token(false).await.unwrap_err();
        let hint = error.way_out.as_deref().unwrap_or_default();
        all.push(format!("{:?} [{}] {hint}", error.disposition(), error.code));
    }
    insta::assert_snapshot!(all.join("\n"), @r"
    Blocked(Answer) [untrusted-certificate] name a PEM file in REQUESTS_CA_BUNDLE that holds the authority of your network and the usual ones: az believes those in it and no others
    Blocked(Denied) [proxy-credentials] put USER:PASSWORD@ before the host in HTTPS_PROXY, or in `proxy` of `[network]` in your own configuration; `@` is written %40, `:` %3A
    Retry [proxy-unreachable] is HTTPS_PROXY right, or `proxy` of `[network]` in your own configuration? NO_PROXY names hosts that are reached without it
    ");
}
