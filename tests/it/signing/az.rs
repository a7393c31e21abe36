//! A person's sign-in, by az.

use std::collections::BTreeMap;
use std::time::Duration;

use bastion::emulator::SignInRules;
use bastion::model::{CredentialKind, Emulation, State, TunnelStatus};
use tokio::time::{Instant, sleep};

use super::{
    FakeAz, OTHER_SUBSCRIPTION, OTHER_TENANT, desired, emulator, identity, surroundings, through_az,
    unauthorized,
};
use crate::supervised::Supervised;

const OWN: &str = Emulation::SUBSCRIPTION;

async fn start(
    emulator: &bastion::emulator::Emulator,
    az: &FakeAz,
    users: &[(&str, bastion::model::Identity)],
) -> Supervised {
    let dialer = std::sync::Arc::new(surroundings(emulator, az.environment()));
    Supervised::start(desired(users), dialer).await
}

/// Code, words and what to type.
fn told(tunnel: &TunnelStatus) -> String {
    let reason = tunnel.reason.as_ref().unwrap();
    format!("[{}] {} | {}", reason.code, reason.what, reason.hint.as_deref().unwrap_or_default())
}

#[tokio::test]
async fn signed_out_and_in_again() {
    let (emulator, az) = (emulator(Vec::new()).await, FakeAz::new());
    let supervised = start(&emulator, &az, &[(OWN, through_az(None))]).await;
    let blocked = supervised.until_state("a", State::Blocked).await;
    insta::assert_snapshot!(told(&blocked), @"[sign-in] getting an access token: azure-cli: nobody is signed in to az | `az login`");
    sleep(Duration::from_secs(3)).await;
    assert_eq!(az.calls().len(), 1, "az is not asked again and again: {:?}", az.calls());

    az.gives("own", &emulator.endpoint().token);
    let signed_in = Instant::now();
    az.touch();
    supervised.until_state("a", State::Ready).await;
    // A second is what is promised; the rest is for a machine that has other things to do.
    assert!(signed_in.elapsed() < Duration::from_secs(2), "{:?}", signed_in.elapsed());
    assert_eq!(az.calls().len(), 2, "{:?}", az.calls());
    supervised.stop().await;
}

#[tokio::test]
async fn signing_out_takes_nothing_that_is_good_still() {
    let (emulator, az) = (emulator(Vec::new()).await, FakeAz::new());
    az.gives("own", &emulator.endpoint().token);
    let supervised = start(&emulator, &az, &[(OWN, through_az(None))]).await;
    supervised.until_state("a", State::Ready).await;
    std::fs::remove_file(az.path("answer.own")).unwrap();
    az.touch();
    sleep(Duration::from_secs(2)).await;
    assert_eq!(supervised.tunnel("a").unwrap().state, State::Ready);
    supervised.stop().await;
}

#[tokio::test]
async fn what_is_in_the_way_and_what_to_type() {
    let claims = "AADSTS50076: Due to a configuration change, you must use multi-factor authentication.";
    let expired = "AADSTS700082: The refresh token has expired due to inactivity.";
    let mut all = Vec::new();
    for error in [claims, expired] {
        let (emulator, az) = (emulator(Vec::new()).await, FakeAz::new());
        az.fails(&format!("ERROR: {error} Trace ID: 1\nPlease run:\naz login"));
        let supervised = start(&emulator, &az, &[(OWN, through_az(Some("contoso.com")))]).await;
        all.push(told(&supervised.until_state("a", State::Blocked).await));
        supervised.stop().await;
    }
    let (emulator, az) = (emulator(Vec::new()).await, FakeAz::new());
    std::fs::remove_file(az.path("bin/az")).unwrap();
    let supervised = start(&emulator, &az, &[(OWN, through_az(None))]).await;
    all.push(told(&supervised.until_state("a", State::Blocked).await));
    supervised.stop().await;
    insta::assert_snapshot!(all.join("\n"), @r"
    [sign-in] getting an access token: azure-cli: AADSTS50076: Due to a configuration change, you must use multi-factor authentication. | `az login --tenant contoso.com --scope https://management.core.windows.net//.default`
    [sign-in] getting an access token: azure-cli: AADSTS700082: The refresh token has expired due to inactivity. | `az login --tenant contoso.com`
    [sign-in] getting an access token: azure-cli: az is not installed (not found on PATH) | install the Azure CLI, then `az login`; or choose another `credential`
    ");
}

#[tokio::test]
async fn what_no_header_takes_is_no_token() {
    let (emulator, az) = (emulator(Vec::new()).await, FakeAz::new());
    let sign_ins = super::sign_ins(&emulator, az.environment(), bastion::sys::clock::now);
    let tokens = sign_ins.tokens(&through_az(None));
    for text in ["a.b\\r\\nX-Evil: 1", "a b", "\u{e9}", ""] {
        az.gives("own", text);
        let error = tokens.token(false).await.unwrap_err();
        assert_eq!(error.to_string(), "azure-cli: az gave something that is no token", "{text}");
    }
    az.gives("own", "a.b.c");
    tokens.token(false).await.unwrap();
}

#[tokio::test]
async fn an_az_that_is_there_is_not_to_be_installed() {
    let (emulator, az) = (emulator(Vec::new()).await, FakeAz::new());
    let token = r#"{"accessToken":"a.b.c","tokenType":"Bearer""#;
    let mut all = Vec::new();
    for script in [
        format!("echo '{token}}}'"),
        format!("echo 'hello'; echo '{token},\"expires_on\":{}}}'", super::seconds() + 3600),
        "exit 0".to_owned(),
        "exit 1".to_owned(),
        "kill -SEGV $$".to_owned(),
        "echo 'env: python3: No such file or directory' >&2; exit 127".to_owned(),
        "echo 'Traceback (most recent call last):' >&2; exit 1".to_owned(),
    ] {
        az.does(&script);
        for credential in [CredentialKind::AzureCli, CredentialKind::Auto] {
            let sign_ins = super::sign_ins(&emulator, az.environment(), bastion::sys::clock::now);
            let error = sign_ins.tokens(&identity(credential, None)).token(false).await.unwrap_err();
            let told = format!("{error} | {}", error.way_out.as_deref().unwrap_or_default());
            if credential == CredentialKind::Auto {
                assert_eq!(format!("no credential gave a token; {}", all.last().unwrap()), told);
            } else {
                all.push(told);
            }
        }
    }
    insta::assert_snapshot!(all.join("\n"), @r"
    azure-cli: az is too old: it does not say until when a token is good | update the Azure CLI to 2.54 or later: `az upgrade`
    azure-cli: its answer is not the JSON that it should be (line 1, column 1) | see what `az account get-access-token --query expires_on` answers
    azure-cli: az answered nothing | see what `az account get-access-token --query expires_on` answers
    azure-cli: az failed and said nothing (exit status: 1) | see what `az account get-access-token --query expires_on` answers
    azure-cli: Segmentation fault | see what `az account get-access-token --query expires_on` answers
    azure-cli: az is there and cannot run: env: python3: No such file or directory | install it anew, or choose another `credential`
    azure-cli: Traceback (most recent call last): | see what `az account get-access-token --query expires_on` answers
    ");
    // A mark of the encoding before the answer is none of its words.
    az.does(&format!(
        "printf '\\357\\273\\277'; echo '{token},\"expires_on\":{}}}'",
        super::seconds() + 3600
    ));
    let sign_ins = super::sign_ins(&emulator, az.environment(), bastion::sys::clock::now);
    sign_ins.tokens(&through_az(None)).token(false).await.unwrap();
}

/// It has a memory of its own, which it cannot be told to look past.
#[tokio::test]
async fn one_401_is_tried_again_though_az_gives_the_same_token() {
    let (emulator, az) = (emulator(vec![unauthorized(1)]).await, FakeAz::new());
    az.gives("own", &emulator.endpoint().token);
    let supervised = start(&emulator, &az, &[(OWN, through_az(None))]).await;
    supervised.until_state("a", State::Ready).await;
    assert_eq!(az.calls().len(), 2);
    supervised.stop().await;
}

#[tokio::test]
async fn a_401_for_ever_blocks_and_az_is_left_alone() {
    let (emulator, az) = (emulator(vec![unauthorized(0)]).await, FakeAz::new());
    az.gives("own", &emulator.endpoint().token);
    let supervised = start(&emulator, &az, &[(OWN, through_az(None))]).await;
    let blocked = supervised.until_state("a", State::Blocked).await;
    let tenant = bastion::emulator::Emulator::TENANT;
    let told = told(&blocked).replace(tenant, "TENANT");
    insta::assert_snapshot!(told, @r#"[sign-in] reading the bastion `hub` from Azure Resource Manager: HTTP 401, InvalidAuthenticationToken: "The access token is invalid." | type `az login --tenant TENANT`, with an account of the bastion's tenant: until then az gives the refused token again"#);
    sleep(Duration::from_secs(3)).await;
    assert_eq!(az.calls().len(), 2, "{:?}", az.calls());
    supervised.stop().await;
}

#[tokio::test]
async fn a_token_that_az_keeps_giving_though_it_is_refused_goes_with_a_sign_in() {
    let (emulator, az) = (emulator(Vec::new()).await, FakeAz::new());
    // Az believes in it for another hour: a clock is slow, or the token was revoked.
    emulator.set_sign_in(SignInRules { token_lifetime: Duration::ZERO, ..SignInRules::default() });
    let tenant = bastion::emulator::Emulator::TENANT;
    az.gives("own", &emulator.issue_token(tenant));
    let supervised = start(&emulator, &az, &[(OWN, through_az(None))]).await;
    let blocked = supervised.until_state("a", State::Blocked).await;
    insta::assert_snapshot!(told(&blocked).replace(tenant, "TENANT"), @r#"[sign-in] reading the bastion `hub` from Azure Resource Manager: HTTP 401, ExpiredAuthenticationToken: "The access token expiry UTC time is earlier than current UTC time." | type `az login --tenant TENANT`, with an account of the bastion's tenant: until then az gives the refused token again"#);
    assert_eq!(az.calls().len(), 2);
    az.gives("own", &emulator.endpoint().token);
    az.touch();
    supervised.until_state("a", State::Ready).await;
    assert_eq!(az.calls().len(), 3);
    supervised.stop().await;
}

#[tokio::test]
async fn claims_become_the_command_to_type() {
    let (emulator, az) = (emulator(Vec::new()).await, FakeAz::new());
    emulator.set_sign_in(SignInRules { claims: Some("eyJhIjoxfQ==".to_owned()), ..SignInRules::default() });
    az.gives("own", &emulator.endpoint().token);
    let supervised = start(&emulator, &az, &[(OWN, through_az(Some("contoso.com")))]).await;
    std::fs::copy(az.path("answer.own"), az.path("answer.contoso.com")).unwrap();
    az.touch();
    let challenged = |tunnel: &TunnelStatus| {
        tunnel.state == State::Blocked && told(tunnel).contains("--claims-challenge \"eyJhIjoxfQ==\"")
    };
    supervised.until("a", challenged).await;
    supervised.stop().await;
}

#[tokio::test]
async fn a_token_of_another_tenant() {
    let (emulator, az) = (emulator(Vec::new()).await, FakeAz::new());
    let tenants = BTreeMap::from([(OTHER_SUBSCRIPTION.to_owned(), OTHER_TENANT.to_owned())]);
    emulator.set_sign_in(SignInRules { tenants, ..SignInRules::default() });
    az.gives("own", &emulator.endpoint().token);
    let supervised = start(&emulator, &az, &[(OTHER_SUBSCRIPTION, through_az(None))]).await;
    let blocked = supervised.until_state("a", State::Blocked).await;
    insta::assert_snapshot!(told(&blocked).replace(OTHER_TENANT, "OTHER"), @r#"[sign-in] reading the bastion `hub` from Azure Resource Manager: HTTP 401, InvalidAuthenticationTokenTenant: "The access token is from the wrong issuer. It must match the tenant associated with this subscription." | say `tenant = "OTHER"` of the bastion, and type `az login --tenant OTHER`"#);
    supervised.stop().await;
}

#[tokio::test]
async fn two_tenants_at_once() {
    let (emulator, az) = (emulator(Vec::new()).await, FakeAz::new());
    let tenants = BTreeMap::from([(OTHER_SUBSCRIPTION.to_owned(), OTHER_TENANT.to_owned())]);
    emulator.set_sign_in(SignInRules { tenants, ..SignInRules::default() });
    az.gives("own", &emulator.endpoint().token);
    az.gives(OTHER_TENANT, &emulator.issue_token(OTHER_TENANT));
    let users = [(OWN, through_az(None)), (OTHER_SUBSCRIPTION, through_az(Some(OTHER_TENANT)))];
    let supervised = start(&emulator, &az, &users).await;
    supervised.until_state("a", State::Ready).await;
    supervised.until_state("b", State::Ready).await;
    let calls = az.calls();
    assert_eq!(calls.len(), 2, "{calls:?}");
    assert_eq!(calls.iter().filter(|call| call.contains(OTHER_TENANT)).count(), 1, "{calls:?}");
    supervised.stop().await;
}
