//! One good statement of each kind, and what becomes of it when one thing about it is otherwise.

use std::sync::OnceLock;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair};
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256};
use serde_json::json;

use super::*;

const ENDPOINT: &str = "https://login.localhost:1/t/oauth2/v2.0/token";
const NOW: u64 = 1_800_000_000;

/// A key, and a certificate of it.
struct Signer {
    key: RsaKeyPair,
    certificate: Vec<u8>,
}

/// Two of them, for a key takes a while to make.
fn signers() -> &'static [Signer; 2] {
    static SIGNERS: OnceLock<[Signer; 2]> = OnceLock::new();
    SIGNERS.get_or_init(|| {
        [(); 2].map(|()| {
            let key = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
            let certificate = CertificateParams::default().self_signed(&key).unwrap().der().to_vec();
            Signer { key: RsaKeyPair::from_pkcs8(&key.serialize_der()).unwrap(), certificate }
        })
    })
}

/// A statement with these parts, signed as its header says.
fn signed(header: &Value, claims: &Value, signer: &Signer) -> String {
    let part = |value: &Value| base64url(value.to_string().as_bytes());
    let text = format!("{}.{}", part(header), part(claims));
    let encoding: &'static dyn RsaEncoding =
        if header["alg"] == "PS256" { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
    let mut signature = vec![0; signer.key.public_modulus_len()];
    signer.key.sign(encoding, &SystemRandom::new(), text.as_bytes(), &mut signature).unwrap();
    format!("{text}.{}", base64url(&signature))
}

/// The same with some values replaced; null: left out.
fn with(value: &Value, changes: &Value) -> Value {
    let mut value = value.clone();
    for (name, change) in changes.as_object().unwrap() {
        value[name] = change.clone();
    }
    value.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    value
}

/// The rules know the first signer, as an application's certificate and as an issuer.
fn verdict(statement: &str) -> Result<(), u32> {
    let first = &signers()[0];
    let federation = Federation {
        issuer: "https://issuer.example".to_owned(),
        subject: "repo:contoso/app".to_owned(),
        key: first.key.public_key().as_ref().to_vec(),
    };
    let rules = SignInRules {
        certificates: vec![first.certificate.clone()],
        federations: vec![federation],
        ..SignInRules::default()
    };
    let now = UNIX_EPOCH + Duration::from_secs(NOW);
    check(statement, &Asked { client_id: "app", endpoint: ENDPOINT, now }, &rules)
        .map_err(|refusal| refusal.code)
}

#[test]
fn a_statement_of_an_applications_own_is_taken_as_it_should_be_and_not_otherwise() {
    let [own, other] = signers();
    let sha256 = |signer: &Signer| base64url(digest::digest(&SHA256, &signer.certificate).as_ref());
    let sha1 = base64url(digest::digest(&SHA1_FOR_LEGACY_USE_ONLY, &own.certificate).as_ref());
    let header = json!({ "typ": "JWT", "alg": "PS256", "x5t#S256": sha256(own) });
    let claims = json!({
        "aud": ENDPOINT, "iss": "app", "sub": "app", "jti": "1", "nbf": NOW, "exp": NOW + 600,
    });
    let rows = [
        (json!({}), json!({}), Ok(())),
        (json!({ "alg": "RS256" }), json!({}), Ok(())),
        (json!({ "alg": "RS256", "x5t#S256": null, "x5t": sha1 }), json!({ "nbf": null }), Ok(())),
        (json!({ "typ": null }), json!({}), Err(50_027)),
        (json!({ "alg": "none" }), json!({}), Err(700_027)),
        (json!({ "alg": "HS256" }), json!({}), Err(700_027)),
        (json!({ "x5t#S256": null }), json!({}), Err(5_002_723)),
        (json!({ "x5t#S256": sha256(other) }), json!({}), Err(700_027)),
        (json!({ "x5t": sha256(own) }), json!({}), Err(700_027)),
        (json!({}), json!({ "aud": "https://login.localhost:1/other/oauth2/v2.0/token" }), Err(700_023)),
        (json!({}), json!({ "aud": null }), Err(700_023)),
        (json!({}), json!({ "sub": "another" }), Err(700_021)),
        (json!({}), json!({ "iss": null }), Err(50_027)),
        (json!({}), json!({ "iss": "another" }), Err(700_211)),
        (json!({}), json!({ "jti": null }), Err(50_027)),
        (json!({}), json!({ "exp": NOW }), Err(700_024)),
        (json!({}), json!({ "exp": null }), Err(50_027)),
        (json!({}), json!({ "nbf": NOW + 1 }), Err(700_024)),
        (json!({}), json!({ "nbf": "today" }), Err(50_027)),
    ];
    for (headers, changes, expected) in rows {
        let statement = signed(&with(&header, &headers), &with(&claims, &changes), own);
        assert_eq!(verdict(&statement), expected, "{headers} {changes}");
    }
    assert_eq!(verdict(&signed(&header, &claims, other)), Err(700_027), "another's key");
    let statement = signed(&header, &claims, own);
    let (text, signature) = statement.rsplit_once('.').unwrap();
    let promoted = base64url(with(&claims, &json!({ "jti": "2" })).to_string().as_bytes());
    let (head, _) = text.split_once('.').unwrap();
    for forged in [format!("{head}.{promoted}.{signature}"), format!("{text}.c2ln")] {
        assert_eq!(verdict(&forged), Err(700_027), "{forged}");
    }
    for none in ["", "a.b.c", "a.b", &format!("{text}."), &format!("{statement}.x")] {
        assert_eq!(verdict(none), Err(50_027), "{none}");
    }
}

#[test]
fn a_statement_of_somebody_elses_is_taken_as_it_should_be_and_not_otherwise() {
    let [known, stranger] = signers();
    let header = json!({ "typ": "JWT", "alg": "RS256", "kid": "1" });
    let claims = json!({
        "aud": EXCHANGE, "iss": "https://issuer.example", "sub": "repo:contoso/app", "exp": NOW + 600,
    });
    let rows = [
        (json!({}), json!({}), Ok(())),
        (json!({}), json!({ "aud": [EXCHANGE] }), Ok(())),
        (json!({ "alg": "PS256" }), json!({}), Err(50_013)),
        (json!({ "alg": "none" }), json!({}), Err(50_013)),
        (json!({}), json!({ "iss": "https://issuer.example/" }), Err(700_211)),
        (json!({}), json!({ "aud": "https://github.com/contoso" }), Err(700_212)),
        (json!({}), json!({ "aud": [EXCHANGE, "another"] }), Err(700_212)),
        (json!({}), json!({ "aud": null }), Err(700_212)),
        (json!({}), json!({ "sub": "repo:Contoso/app" }), Err(700_213)),
        (json!({}), json!({ "exp": NOW - 1 }), Err(700_024)),
        (json!({}), json!({ "exp": null }), Err(50_027)),
    ];
    for (headers, changes, expected) in rows {
        let statement = signed(&with(&header, &headers), &with(&claims, &changes), known);
        assert_eq!(verdict(&statement), expected, "{headers} {changes}");
    }
    assert_eq!(verdict(&signed(&header, &claims, stranger)), Err(50_013), "a stranger's key");
}
