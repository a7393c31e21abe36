//! Applications: secrets and certificates, at the emulator's own sign-in.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use azure_core::base64::decode_url_safe;
use bastion::azure::{Addresses, Environment, Flaw, SignInError, SignIns};
use bastion::emulator::{Emulator, SignInRules};
use bastion::model::{Blocked, CredentialKind, Disposition, Emulation, State};
use bastion::net::{Network, Trust};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::stand_in::{Asked, StandIn};
use super::statements::{SUBJECT, Signer};
use super::{FakeAz, desired, emulator, identity, logins, sign_ins, surroundings, unauthorized};
use crate::supervised::Supervised;

fn application() -> Environment {
    Environment {
        tenant: Some(Emulator::TENANT.to_owned()),
        client_id: Some("app".to_owned()),
        client_secret: Some("right".to_owned().into()),
        ..Environment::default()
    }
}

async fn start(emulator: &Emulator, environment: Environment, kind: CredentialKind) -> Supervised {
    let dialer = Arc::new(surroundings(emulator, environment));
    Supervised::start(desired(&[(Emulation::SUBSCRIPTION, identity(kind, None))]), dialer).await
}

async fn echoes(stream: &mut TcpStream) {
    stream.write_all(b"hello").await.unwrap();
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"hello");
}

#[tokio::test]
async fn a_token_that_expires_in_mid_life_is_replaced_and_nothing_breaks() {
    let emulator = emulator(Vec::new()).await;
    emulator.set_sign_in(SignInRules { token_lifetime: Duration::from_secs(3), ..SignInRules::default() });
    let supervised = start(&emulator, application(), CredentialKind::ClientSecret).await;
    let address = supervised.until_state("a", State::Ready).await.listen[0];
    let mut old = TcpStream::connect(address).await.unwrap();
    echoes(&mut old).await;
    sleep(Duration::from_secs(4)).await;
    let mut new = TcpStream::connect(address).await.unwrap();
    echoes(&mut new).await;
    echoes(&mut old).await;
    assert_eq!(logins(&emulator), 2);
    supervised.stop().await;
    assert_eq!(emulator.sessions().violations, [""; 0]);
}

#[tokio::test]
async fn one_401_is_answered_with_another_token() {
    let emulator = emulator(vec![unauthorized(1)]).await;
    let supervised = start(&emulator, application(), CredentialKind::ClientSecret).await;
    supervised.until_state("a", State::Ready).await;
    assert_eq!(logins(&emulator), 2);
    supervised.stop().await;
}

fn certified(directory: &TempDir, signer: &Signer) -> Environment {
    let path = directory.path().join("app.pem");
    std::fs::write(&path, &signer.pem).unwrap();
    Environment { client_certificate: Some(path), client_secret: None, ..application() }
}

/// What a tunnel says that cannot be had.
async fn blocked(emulator: &Emulator, environment: Environment, kind: CredentialKind) -> String {
    let supervised = start(emulator, environment, kind).await;
    let reason = supervised.until_state("a", State::Blocked).await.reason.unwrap();
    supervised.stop().await;
    format!("[{}] {} | {}", reason.code, reason.what, reason.hint.unwrap_or_default())
}

#[tokio::test]
async fn a_certificate_is_as_good_as_a_secret() {
    let (emulator, directory, signer) =
        (emulator(Vec::new()).await, tempfile::tempdir().unwrap(), Signer::new());
    emulator.set_sign_in(signer.registered());
    let environment = certified(&directory, &signer);
    let supervised = start(&emulator, environment, CredentialKind::ClientCertificate).await;
    let tunnel = supervised.until_state("a", State::Ready).await;
    let mut stream = TcpStream::connect(tunnel.listen[0]).await.unwrap();
    echoes(&mut stream).await;
    supervised.stop().await;
    assert_eq!(emulator.sessions().violations, [""; 0]);
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate() {
    let (emulator, directory, signer) =
        (emulator(Vec::new()).await, tempfile::tempdir().unwrap(), Signer::new());
    emulator.set_sign_in(Signer::new().registered());
    let certificate = CredentialKind::ClientCertificate;
    let environment = certified(&directory, &signer);
    let mut all = vec![blocked(&emulator, environment.clone(), certificate).await];
    // The right certificate, and another key.
    emulator.set_sign_in(signer.registered());
    let own = signer.pem.split("-----BEGIN PRIVATE KEY").next().unwrap();
    let another = Signer::new();
    let (_, key) = another.pem.split_once("-----BEGIN PRIVATE KEY").unwrap();
    let path = environment.client_certificate.clone().unwrap();
    std::fs::write(&path, format!("{own}-----BEGIN PRIVATE KEY{key}")).unwrap();
    all.push(blocked(&emulator, environment.clone(), certificate).await);
    std::fs::write(&path, own).unwrap();
    all.push(blocked(&emulator, environment.clone(), certificate).await);
    std::fs::remove_file(&path).unwrap();
    all.push(blocked(&emulator, environment, certificate).await);
    let all = all.join("\n").replace(&*directory.path().to_string_lossy(), "DIRECTORY");
    insta::assert_snapshot!(all, @r"
    [sign-in] getting an access token: client-certificate: AADSTS700027: The certificate with identifier used to sign the client assertion is not registered on application. [Reason - The key was not found.] | register the certificate in AZURE_CLIENT_CERTIFICATE_PATH with that application
    [sign-in] getting an access token: client-certificate: AZURE_CLIENT_CERTIFICATE_PATH names DIRECTORY/app.pem: its key is not the one of its first certificate | name a PEM file with the application's certificate and its RSA key, without a password, in AZURE_CLIENT_CERTIFICATE_PATH
    [sign-in] getting an access token: client-certificate: AZURE_CLIENT_CERTIFICATE_PATH names DIRECTORY/app.pem: it holds no private key in PEM form; a key with a password is not supported | name a PEM file with the application's certificate and its RSA key, without a password, in AZURE_CLIENT_CERTIFICATE_PATH
    [sign-in] getting an access token: client-certificate: AZURE_CLIENT_CERTIFICATE_PATH names DIRECTORY/app.pem: it cannot be read: No such file or directory (os error 2) | name a PEM file with the application's certificate and its RSA key, without a password, in AZURE_CLIENT_CERTIFICATE_PATH
    ");
    assert_eq!(logins(&emulator), 1);
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_told_of_where_a_certificate_signs() {
    fn late() -> SystemTime {
        bastion::sys::clock::now() - Duration::from_secs(3600)
    }
    let (emulator, directory, signer) =
        (emulator(Vec::new()).await, tempfile::tempdir().unwrap(), Signer::new());
    emulator.set_sign_in(signer.registered());
    let sign_ins = sign_ins(&emulator, certified(&directory, &signer), late);
    let tokens = sign_ins.tokens(&identity(CredentialKind::ClientCertificate, None));
    let error = tokens.token(false).await.unwrap_err();
    assert!(error.what.starts_with("AADSTS700024: "), "{error}");
    assert_eq!((error.flaw, error.disposition()), (Flaw::Secret, Disposition::Blocked(Blocked::SignIn)));
    insta::assert_snapshot!(error.way_out.unwrap(), @"set the clock of this machine: what it signs is not good yet, or no longer, by Entra's clock");
}

/// Whoever signs in where a stand-in is, below a path.
fn below(path: &str, stand_in: &StandIn, environment: Environment) -> SignIns {
    let network = Network::new(&Trust::Only(stand_in.ca_pem.clone(), Vec::new()), None, "test").unwrap();
    let addresses = Addresses {
        resource_manager: "management.lab.example".to_owned(),
        authority: format!("{}{path}", stand_in.origin),
        audience: "https://management.lab.example".to_owned(),
    };
    SignIns::new(&addresses, environment, network.http().unwrap(), bastion::sys::clock::now)
}

/// As an authority of a cloud's own has one; the statement of a certificate is for that very URL.
#[tokio::test]
async fn an_authority_may_have_a_path() {
    let (directory, signer) = (tempfile::tempdir().unwrap(), Signer::new());
    let answer = |asked: &Asked| match &*asked.line {
        "POST /adfs/contoso/oauth2/v2.0/token" => {
            let token =
                r#"{"token_type":"Bearer","expires_in":3600,"ext_expires_in":3600,"access_token":"a.b.c"}"#;
            (200, token.to_owned())
        }
        other => (404, other.to_owned()),
    };
    let stand_in = StandIn::tls(answer).await;
    let environment = certified(&directory, &signer);
    let environment = Environment { client_secret: application().client_secret, ..environment };
    let sign_ins = below("/adfs", &stand_in, environment);
    for kind in [CredentialKind::ClientSecret, CredentialKind::ClientCertificate] {
        sign_ins.tokens(&identity(kind, Some("contoso"))).token(false).await.unwrap();
    }
    let [_, asked] = &*stand_in.asked() else { panic!("{:?}", stand_in.asked()) };
    let statement = asked.field("client_assertion").unwrap();
    let claims = decode_url_safe(statement.split('.').nth(1).unwrap()).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(claims["aud"], format!("{}/adfs/contoso/oauth2/v2.0/token", stand_in.origin));
}

#[tokio::test]
async fn a_sign_in_service_that_is_down_is_asked_again_whatever_page_it_shows() {
    let transient = r#"{"error":"temporarily_unavailable","error_description":"AADSTS90033: A transient error.","error_codes":[90033]}"#;
    let rows = [
        (503, "<html>"),
        (503, ""),
        (429, ""),
        (500, transient),
        // These are not of a service that is down.
        (
            400,
            r#"{"error":"invalid_client","error_description":"AADSTS7000215: Secret for \u0027app\u0027.\r\nTrace ID: 1","error_codes":[7000215]}"#,
        ),
        (400, r#"{"error":"invalid_request"}"#),
        (307, ""),
        (200, "null"),
        (200, r#"{"access_token":"a.b\r\nX-Evil: 1","expires_in":3600,"token_type":"Bearer"}"#),
        (200, "<html>"),
        (404, "<html>"),
    ];
    let mut all = Vec::new();
    for (status, body) in rows {
        let stand_in = StandIn::tls(move |_| (status, body.to_owned())).await;
        let sign_ins = below("", &stand_in, application());
        let error = sign_ins.tokens(&identity(CredentialKind::ClientSecret, None)).token(false).await;
        let error = error.unwrap_err();
        let way_out = error.way_out.as_deref().unwrap_or_default();
        all.push(format!("{:?} {error} | {way_out}", error.flaw).trim_end().to_owned());
    }
    insta::assert_snapshot!(all.join("\n"), @r"
    Passing client-secret: the sign-in service answered HTTP 503 |
    Passing client-secret: the sign-in service answered HTTP 503 |
    Passing client-secret: the sign-in service answered HTTP 429 |
    Passing client-secret: AADSTS90033: A transient error. |
    Secret client-secret: AADSTS7000215: Secret for 'app'. | give AZURE_CLIENT_SECRET a secret of that application which has not expired
    Secret client-secret: the sign-in service answered HTTP 400, invalid_request |
    Secret client-secret: the sign-in service answered HTTP 307, a redirect, which is not followed | is the authority the right one (AZURE_AUTHORITY_HOST, or `authority` of the cloud in your own configuration)?
    Secret client-secret: the sign-in service answered HTTP 200 without a token | most likely something on the way answered in its place, such as a proxy's page
    Secret client-secret: the sign-in service gave something that is no token |
    Secret client-secret: the sign-in service answered HTTP 200 without a token | most likely something on the way answered in its place, such as a proxy's page
    Secret client-secret: the sign-in service answered HTTP 404 | most likely something on the way answered in its place, such as a proxy's page
    ");
}

#[tokio::test]
async fn a_pod_shows_the_token_of_its_file() {
    let (emulator, directory, signer) =
        (emulator(Vec::new()).await, tempfile::tempdir().unwrap(), Signer::new());
    emulator.set_sign_in(signer.trusted());
    let path = directory.path().join("token");
    std::fs::write(&path, signer.statement(SUBJECT)).unwrap();
    let environment = Environment { federated_token_file: Some(path), client_secret: None, ..application() };
    let supervised = start(&emulator, environment, CredentialKind::WorkloadIdentity).await;
    supervised.until_state("a", State::Ready).await;
    supervised.stop().await;
}

#[tokio::test]
async fn a_pods_file_is_read_again_whenever_a_token_is_wanted() {
    let (emulator, directory) = (emulator(Vec::new()).await, tempfile::tempdir().unwrap());
    let (old, new) = (Signer::new(), Signer::new());
    let path = directory.path().join("token");
    let (federated_token_file, kind) = (Some(path.clone()), CredentialKind::WorkloadIdentity);
    let environment = Environment { federated_token_file, client_secret: None, ..application() };
    let sign_ins = sign_ins(&emulator, environment, bastion::sys::clock::now);
    let tokens = sign_ins.tokens(&identity(kind, None));
    let told = |error: SignInError| {
        let text = error.to_string().replace(&*directory.path().to_string_lossy(), "DIRECTORY");
        format!("{:?} {text} | {}", error.flaw, error.way_out.unwrap_or_default())
    };
    let mut all = vec![told(tokens.token(false).await.unwrap_err())];
    emulator.set_sign_in(old.trusted());
    std::fs::write(&path, old.statement(SUBJECT)).unwrap();
    tokens.token(false).await.unwrap();
    // The issuer signs with another key now: what the file held is good no longer, what it holds is.
    emulator.set_sign_in(new.trusted());
    all.push(told(tokens.token(true).await.unwrap_err()));
    std::fs::write(&path, new.statement(SUBJECT)).unwrap();
    tokens.token(true).await.unwrap();
    std::fs::write(&path, new.statement("system:serviceaccount:default:another")).unwrap();
    all.push(told(tokens.token(true).await.unwrap_err()));
    insta::assert_snapshot!(all.join("\n"), @r"
    Secret workload-identity: failed to read federated token from file DIRECTORY/token: No such file or directory (os error 2) | name the file that Kubernetes writes the pod's token to in AZURE_FEDERATED_TOKEN_FILE
    Secret workload-identity: AADSTS50013: Assertion failed signature validation. [Reason - The provided signature value did not match the expected signature value.] | add a federated credential to the application that fits this job's subject
    Secret workload-identity: AADSTS700213: No matching federated identity record found for presented assertion subject 'system:serviceaccount:default:another'. Check your federated identity credential Subject, Audience and Issuer against the presented assertion. | add a federated credential to the application that fits this job's subject
    ");
}

#[tokio::test]
async fn what_is_wrong_with_an_application() {
    let emulator = emulator(Vec::new()).await;
    emulator.set_sign_in(SignInRules { secret: Some("another".to_owned()), ..SignInRules::default() });
    let elsewhere = Environment { tenant: Some("nowhere.com".to_owned()), ..application() };
    let nameless = Environment { client_id: None, ..application() };
    let mut all = Vec::new();
    for environment in [application(), elsewhere, nameless] {
        all.push(blocked(&emulator, environment, CredentialKind::ClientSecret).await);
    }
    insta::assert_snapshot!(all.join("\n"), @r"
    [sign-in] getting an access token: client-secret: AADSTS7000215: Invalid client secret provided. Ensure the secret being sent is the client secret value. | give AZURE_CLIENT_SECRET a secret of that application which has not expired
    [sign-in] getting an access token: client-secret: AADSTS90002: Tenant not found. Check to make sure you have the correct one. | correct `tenant`, AZURE_TENANT_ID and AZURE_CLIENT_ID
    [sign-in] getting an access token: client-secret: AZURE_CLIENT_ID is not set | set AZURE_CLIENT_ID, or choose another `credential`
    ");
    assert_eq!(logins(&emulator), 2);
}

/// `auto` says what failed, and nothing of what nobody meant to use.
#[tokio::test]
async fn what_was_tried_comes_first_and_the_way_out_is_its_own() {
    let emulator = emulator(Vec::new()).await;
    emulator.set_sign_in(SignInRules { secret: Some("another".to_owned()), ..SignInRules::default() });
    let az = FakeAz::new();
    let elsewhere = std::path::PathBuf::from("/nowhere/token");
    let nobodys = Environment { path: Some("/nowhere".into()), ..Environment::default() };
    let mut all = Vec::new();
    for environment in [
        Environment { path: az.environment().path, ..application() },
        Environment { client_secret: application().client_secret, ..az.environment() },
        Environment { federated_token_file: Some(elsewhere), ..application() },
        az.environment(),
        nobodys,
    ] {
        all.push(blocked(&emulator, environment, CredentialKind::Auto).await);
    }
    insta::assert_snapshot!(all.join("\n"), @r"
    [sign-in] getting an access token: no credential gave a token; client-secret: AADSTS7000215: Invalid client secret provided. Ensure the secret being sent is the client secret value.; azure-cli: nobody is signed in to az | give AZURE_CLIENT_SECRET a secret of that application which has not expired
    [sign-in] getting an access token: no credential gave a token; client-secret: AZURE_TENANT_ID is not set; azure-cli: nobody is signed in to az | set AZURE_TENANT_ID, or choose another `credential`
    [sign-in] getting an access token: no credential gave a token; workload-identity: failed to read federated token from file /nowhere/token: No such file or directory (os error 2); client-secret: AADSTS7000215: Invalid client secret provided. Ensure the secret being sent is the client secret value. | name the file that Kubernetes writes the pod's token to in AZURE_FEDERATED_TOKEN_FILE
    [sign-in] getting an access token: no credential gave a token; azure-cli: nobody is signed in to az | `az login`
    [sign-in] getting an access token: no credential gave a token; azure-cli: az is not installed (not found on PATH); azure-developer-cli: azd is not installed (not found on PATH) | install the Azure CLI and `az login`, or set AZURE_TENANT_ID, AZURE_CLIENT_ID and a secret
    ");
}

/// The sign-in that gave the token is the one to look at, and where it was is known.
#[tokio::test]
async fn what_mends_a_refused_token_is_of_the_credential_that_gave_it() {
    let emulator = emulator(vec![unauthorized(0)]).await;
    let az = FakeAz::new();
    let mut all = vec![
        blocked(
            &emulator,
            Environment { path: az.environment().path, ..application() },
            CredentialKind::Auto,
        )
        .await,
    ];
    az.gives("own", super::whoami::USER);
    all.push(blocked(&emulator, az.environment(), CredentialKind::Auto).await);
    insta::assert_snapshot!(all.join("\n").replace(Emulator::TENANT, "TENANT"), @r#"
    [sign-in] reading the bastion `hub` from Azure Resource Manager: HTTP 401, InvalidAuthenticationToken: "The access token is invalid." | is the application's sign-in still good, and of the bastion's tenant?
    [sign-in] reading the bastion `hub` from Azure Resource Manager: HTTP 401, ExpiredAuthenticationToken: "The access token expiry UTC time is earlier than current UTC time." | type `az login --tenant TENANT`, with an account of the bastion's tenant: until then az gives the refused token again
    "#);
}

#[tokio::test]
async fn what_is_promised_and_not_built() {
    let emulator = emulator(Vec::new()).await;
    for kind in [CredentialKind::Login, CredentialKind::Broker] {
        let supervised = start(&emulator, application(), kind).await;
        let blocked = supervised.until_state("a", State::Blocked).await;
        assert!(blocked.reason.unwrap().what.contains("not supported yet"));
        supervised.stop().await;
    }
}
