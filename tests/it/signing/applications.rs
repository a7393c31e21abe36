//! Applications: secrets and certificates, at the emulator's own sign-in.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bastion::azure::Environment;
use bastion::emulator::{Emulator, SignInRules};
use bastion::model::{CredentialKind, Emulation, State};
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::{desired, emulator, identity, logins, surroundings};
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
async fn a_certificate_is_as_good_as_a_secret() {
    let directory = tempfile::tempdir().unwrap();
    let path: PathBuf = directory.path().join("app.pem");
    let key = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
    let certificate = CertificateParams::default().self_signed(&key).unwrap().pem();
    std::fs::write(&path, format!("{}{certificate}", key.serialize_pem())).unwrap();
    let emulator = emulator(Vec::new()).await;
    let environment = Environment { client_certificate: Some(path), client_secret: None, ..application() };
    let supervised = start(&emulator, environment, CredentialKind::ClientCertificate).await;
    supervised.until_state("a", State::Ready).await;
    supervised.stop().await;
}

#[tokio::test]
async fn a_pod_shows_the_token_of_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    std::fs::write(&path, "a.b.c").unwrap();
    let emulator = emulator(Vec::new()).await;
    let environment = Environment { federated_token_file: Some(path), client_secret: None, ..application() };
    let supervised = start(&emulator, environment, CredentialKind::WorkloadIdentity).await;
    supervised.until_state("a", State::Ready).await;
    supervised.stop().await;
}

#[tokio::test]
async fn what_is_wrong_with_an_application() {
    let emulator = emulator(Vec::new()).await;
    emulator.set_sign_in(SignInRules { secret: Some("another".to_owned()), ..SignInRules::default() });
    let elsewhere = Environment { tenant: Some("nowhere.com".to_owned()), ..application() };
    let nameless = Environment { client_id: None, ..application() };
    let mut all = Vec::new();
    for environment in [application(), elsewhere, nameless] {
        let supervised = start(&emulator, environment, CredentialKind::ClientSecret).await;
        let blocked = supervised.until_state("a", State::Blocked).await;
        let reason = blocked.reason.unwrap();
        all.push(format!("[{}] {} | {}", reason.code, reason.what, reason.hint.unwrap_or_default()));
        supervised.stop().await;
    }
    insta::assert_snapshot!(all.join("\n"), @r"
    [sign-in] getting an access token: client-secret: AADSTS7000215: Invalid client secret provided. Ensure the secret being sent is the client secret value. | give AZURE_CLIENT_SECRET a secret of that application which has not expired
    [sign-in] getting an access token: client-secret: AADSTS90002: Tenant not found. Check to make sure you have the correct one. | correct `tenant`, AZURE_TENANT_ID and AZURE_CLIENT_ID
    [sign-in] getting an access token: client-secret: AZURE_CLIENT_ID is not set | set AZURE_CLIENT_ID, or choose another `credential`
    ");
    assert_eq!(logins(&emulator), 2);
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
