//! Keys, certificates, and statements that are signed with them.

use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use azure_core::base64::encode_url_safe;
use bastion::emulator::{Federation, SignInRules};
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256};
use serde_json::json;

use super::seconds;

/// Who is stated to ask.
pub(super) const SUBJECT: &str = "repo:contoso/app:ref:refs/heads/main";
const ISSUER: &str = "https://issuer.example";

/// An RSA key, and a certificate of it.
pub(super) struct Signer {
    key: RsaKeyPair,
    /// Certificate and key, as a file for AZURE_CLIENT_CERTIFICATE_PATH has them.
    pub(super) pem: String,
    certificate: Vec<u8>,
}

impl Signer {
    pub(super) fn new() -> Self {
        let key = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
        let certificate = CertificateParams::default().self_signed(&key).unwrap();
        Self {
            pem: format!("{}{}", certificate.pem(), key.serialize_pem()),
            certificate: certificate.der().to_vec(),
            key: RsaKeyPair::from_pkcs8(&key.serialize_der()).unwrap(),
        }
    }

    /// What an issuer states about whom, for five minutes, as GitHub, Azure Pipelines and Kubernetes do.
    pub(super) fn statement(&self, subject: &str) -> String {
        let header = json!({ "typ": "JWT", "alg": "RS256", "kid": "1" });
        let now = seconds();
        let claims = json!({
            "iss": ISSUER,
            "sub": subject,
            "aud": "api://AzureADTokenExchange",
            "nbf": now,
            "iat": now,
            "exp": now + Duration::from_secs(300).as_secs(),
        });
        let part = |value: serde_json::Value| encode_url_safe(value.to_string());
        let text = format!("{}.{}", part(header), part(claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature).unwrap();
        format!("{text}.{}", encode_url_safe(signature))
    }

    /// Its certificate is registered with the application.
    pub(super) fn registered(&self) -> SignInRules {
        SignInRules { certificates: vec![self.certificate.clone()], ..SignInRules::default() }
    }

    /// The application has a federated credential for what it states about [`SUBJECT`].
    pub(super) fn trusted(&self) -> SignInRules {
        let federation = Federation {
            issuer: ISSUER.to_owned(),
            subject: SUBJECT.to_owned(),
            key: self.key.public_key().as_ref().to_vec(),
        };
        SignInRules { federations: vec![federation], ..SignInRules::default() }
    }
}
