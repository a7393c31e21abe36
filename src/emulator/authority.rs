//! A certificate authority that lives as long as one emulator.
//!
//! Its private key never leaves this file and is never written anywhere, so its certificate can vouch for nothing
//! but the one emulator it was made for; name constraints say so to whoever trusts it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, GeneralSubtree,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints,
};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// What a server needs to speak TLS, and what a client needs to believe it.
pub(super) struct Authority {
    /// HTTP/1.1 only.
    pub(super) config: Arc<ServerConfig>,
    /// The authority's certificate.
    pub(super) ca_pem: String,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The certificates could not be made.
    #[error("could not make the emulator's certificates")]
    Certificate(#[source] rcgen::Error),
    /// The TLS configuration was refused.
    #[error("could not configure TLS for the emulator")]
    Tls(#[source] rustls::Error),
}

impl Authority {
    /// An authority and a server certificate for the simulated Azure's names, and for `others`.
    pub(super) fn new(others: &[String], now: SystemTime) -> Result<Self, AuthorityError> {
        // No `*.localhost`: a wildcard right below a top-level name makes webpki refuse the whole certificate.
        let mut names = [
            "localhost",
            "management.localhost",
            "login.localhost",
            "admin.localhost",
            "*.bastion.localhost",
        ]
        .map(str::to_owned)
        .to_vec();
        names.extend_from_slice(others);

        let ca_key = KeyPair::generate().map_err(AuthorityError::Certificate)?;
        let mut ca = dated(CertificateParams::default(), now, "bastion emulator (throw-away)");
        ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let permitted = others.iter().cloned().chain(["localhost".to_owned()]);
        ca.name_constraints = Some(NameConstraints {
            permitted_subtrees: permitted.map(GeneralSubtree::DnsName).collect(),
            excluded_subtrees: Vec::new(),
        });
        let ca_pem = ca.self_signed(&ca_key).map_err(AuthorityError::Certificate)?.pem();
        let issuer = Issuer::new(ca, ca_key);

        let key = KeyPair::generate().map_err(AuthorityError::Certificate)?;
        let params = CertificateParams::new(names).map_err(AuthorityError::Certificate)?;
        let mut params = dated(params, now, "bastion emulator");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &issuer).map_err(AuthorityError::Certificate)?;

        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(AuthorityError::Tls)?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .map_err(AuthorityError::Tls)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), ca_pem })
    }
}

/// Clocks of containers and their hosts differ; a certificate that begins a day ago is valid on both.
fn dated(mut params: CertificateParams, now: SystemTime, name: &str) -> CertificateParams {
    params.not_before = (now - DAY).into();
    params.not_after = (now + DAY * 7).into();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
