//! What an application with a certificate shows in place of a secret: a statement signed with the certificate's key.

use std::fmt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{KeyPair as _, RSA_PSS_SHA256, RsaKeyPair};
use azure_core::base64::encode_url_safe;
use azure_core::error::ErrorKind;
use azure_core::http::ClientMethodOptions;
use azure_identity::ClientAssertion;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ParsedCertificate;
use serde_json::json;

use crate::sys::files;

/// How long a statement is good: one exchange.
const LIFE: Duration = Duration::from_secs(600);
/// No file with a certificate and a key is longer.
const MAX_FILE: u64 = 1 << 20;

/// A certificate and its key, for one application in one tenant.
pub(super) struct Certificate {
    key: RsaKeyPair,
    thumbprint: String,
    chain: Vec<String>,
    client_id: String,
    audience: String,
    clock: fn() -> SystemTime,
}

/// Why a file is of no use.
#[derive(Debug, thiserror::Error)]
pub(super) enum CertificateError {
    #[error("it cannot be read")]
    Read(#[source] std::io::Error),
    #[error("it holds no certificate in PEM form")]
    NoCertificate,
    #[error("it holds no private key in PEM form; a key with a password is not supported")]
    NoKey,
    #[error("its key is not an RSA key, which Entra demands")]
    NotRsa,
    #[error("its key is not the one of its first certificate")]
    Foreign,
}

impl Certificate {
    /// Reads a PEM file with a certificate and its key.
    pub(super) fn read(
        path: &Path,
        client_id: &str,
        audience: String,
        clock: fn() -> SystemTime,
    ) -> Result<Self, CertificateError> {
        let text = files::read(path, MAX_FILE).map_err(CertificateError::Read)?;
        let all: Vec<_> = CertificateDer::pem_slice_iter(&text)
            .collect::<Result<_, _>>()
            .map_err(|_malformed| CertificateError::NoCertificate)?;
        let first = all.first().ok_or(CertificateError::NoCertificate)?;
        let key = PrivateKeyDer::from_pem_slice(&text).map_err(|_none| CertificateError::NoKey)?;
        let key = match &key {
            PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()),
            PrivateKeyDer::Pkcs8(key) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()),
            PrivateKeyDer::Sec1(_) | _ => return Err(CertificateError::NotRsa),
        };
        let key = key.map_err(|_rejected| CertificateError::NotRsa)?;
        // Entra would say no more of it than that a signature is not right.
        let certified = ParsedCertificate::try_from(first).map(|parsed| parsed.subject_public_key_info());
        let certified = certified.map_err(|_malformed| CertificateError::NoCertificate)?;
        // The key stands at the end of what is said about it.
        if !certified.ends_with(key.public_key().as_ref()) {
            return Err(CertificateError::Foreign);
        }
        Ok(Self {
            key,
            thumbprint: encode_url_safe(digest(&SHA256, first)),
            chain: all.iter().map(azure_core::base64::encode).collect(),
            client_id: client_id.to_owned(),
            audience,
            clock,
        })
    }

    /// A statement that no other one is like.
    fn statement(&self) -> Option<String> {
        let now = (self.clock)().duration_since(UNIX_EPOCH).unwrap_or_default();
        let header = json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": self.thumbprint, "x5c": self.chain });
        let claims = json!({
            "aud": self.audience,
            "iss": self.client_id,
            "sub": self.client_id,
            "jti": encode_url_safe(rand::random::<[u8; 16]>()),
            "nbf": now.as_secs(),
            "iat": now.as_secs(),
            "exp": (now + LIFE).as_secs(),
        });
        let signed =
            format!("{}.{}", encode_url_safe(header.to_string()), encode_url_safe(claims.to_string()));
        let mut signature = vec![0; self.key.public_modulus_len()];
        let random = SystemRandom::new();
        self.key.sign(&RSA_PSS_SHA256, &random, signed.as_bytes(), &mut signature).ok()?;
        Some(format!("{signed}.{}", encode_url_safe(signature)))
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl ClientAssertion for Certificate {
    async fn secret(&self, _options: Option<ClientMethodOptions<'_>>) -> azure_core::Result<String> {
        self.statement().ok_or_else(|| {
            azure_core::Error::with_message(
                ErrorKind::Credential,
                "signing with the certificate's key failed",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
    use azure_core::base64::decode_url_safe;
    use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256};
    use serde_json::Value;

    use super::*;

    fn noon() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    fn read(text: &str) -> Result<Certificate, CertificateError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.pem");
        std::fs::write(&path, text).unwrap();
        Certificate::read(&path, "app", "https://login.example/t/oauth2/v2.0/token".to_owned(), noon)
    }

    #[test]
    fn a_statement_is_signed_names_its_certificate_and_is_never_the_same() {
        let key = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
        let pem = CertificateParams::default().self_signed(&key).unwrap();
        let certificate = read(&format!("{}{}", key.serialize_pem(), pem.pem())).unwrap();
        let statement = certificate.statement().unwrap();
        assert_ne!(statement, certificate.statement().unwrap());
        assert!(!format!("{certificate:?}").contains(&statement[..20]));

        let (signed, signature) = statement.rsplit_once('.').unwrap();
        let public = UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, certificate.key.public_key().as_ref());
        public.verify(signed.as_bytes(), &decode_url_safe(signature).unwrap()).unwrap();

        let part = |text: &str| -> Value { serde_json::from_slice(&decode_url_safe(text).unwrap()).unwrap() };
        let (header, claims) = signed.split_once('.').unwrap();
        let (header, claims) = (part(header), part(claims));
        assert_eq!(header["x5t#S256"], encode_url_safe(digest(&SHA256, pem.der())));
        assert_eq!((&claims["iss"], &claims["sub"]), (&json!("app"), &json!("app")));
        assert_eq!(claims["aud"], "https://login.example/t/oauth2/v2.0/token");
        assert_eq!(claims["exp"].as_u64().unwrap() - claims["nbf"].as_u64().unwrap(), 600);
    }

    #[test]
    fn what_is_of_no_use_is_named() {
        let key = KeyPair::generate().unwrap();
        let pem = CertificateParams::default().self_signed(&key).unwrap().pem();
        assert!(matches!(read(""), Err(CertificateError::NoCertificate)));
        assert!(matches!(read(&pem), Err(CertificateError::NoKey)));
        let elliptic = format!("{pem}{}", key.serialize_pem());
        assert!(matches!(read(&elliptic), Err(CertificateError::NotRsa)));
        let foreign = format!("{pem}{}", KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap().serialize_pem());
        assert!(matches!(read(&foreign), Err(CertificateError::Foreign)));
    }
}
