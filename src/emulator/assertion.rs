//! A statement in a secret's place (`client_assertion`): signed with a certificate that is registered with the
//! application, or by somebody whom a federated credential names.
//!
//! What Entra makes of each flaw is in its own words as far as they are public; where it is not known whether a flaw is
//! taken, it is not.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{self, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use aws_lc_rs::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use rustls::pki_types::CertificateDer;
use rustls::server::ParsedCertificate;
use serde_json::Value;

use super::access::{base64url, base64url_decode};
use super::rules::{Federation, SignInRules};
use super::sign_in::Refusal;

/// What a statement is shown for.
pub(super) struct Asked<'a> {
    pub(super) client_id: &'a str,
    /// The URL that it is shown at.
    pub(super) endpoint: &'a str,
    pub(super) now: SystemTime,
}

/// The parts of a statement.
struct Statement<'a> {
    header: Value,
    claims: Value,
    signed: &'a str,
    signature: Vec<u8>,
}

/// Whether a statement is as good as a secret.
pub(super) fn check(text: &str, asked: &Asked<'_>, rules: &SignInRules) -> Result<(), Refusal> {
    let statement = Statement::parse(text).ok_or_else(malformed)?;
    let issuer = statement.claim("iss").ok_or_else(malformed)?;
    // Who speaks for itself signs with its own certificate.
    if issuer == asked.client_id {
        certified(&statement, asked, &rules.certificates)?;
    } else {
        federated(&statement, issuer, &rules.federations)?;
    }
    in_time(&statement.claims, asked.now)
}

/// It is none.
pub(super) fn malformed() -> Refusal {
    Refusal::client(50_027, "JWT token is invalid or malformed.")
}

fn certified(statement: &Statement<'_>, asked: &Asked<'_>, registered: &[Vec<u8>]) -> Result<(), Refusal> {
    let header = |name: &str| statement.header.get(name).and_then(Value::as_str);
    if header("typ") != Some("JWT") {
        return Err(malformed());
    }
    let (sha1, sha256) = (header("x5t"), header("x5t#S256"));
    if sha1.or(sha256).is_none() {
        let text = "Invalid JWT token. No certificate SHA-1 thumbprint, certificate SHA-256 thumbprint, nor keyId \
                    specified in token header.";
        return Err(Refusal::client(5_002_723, text));
    }
    let is = |named: Option<&str>, algorithm: &'static digest::Algorithm, certificate: &[u8]| {
        named.is_none_or(|named| named == base64url(digest::digest(algorithm, certificate).as_ref()))
    };
    let meant =
        registered.iter().find(|der| is(sha1, &SHA1_FOR_LEGACY_USE_ONLY, der) && is(sha256, &SHA256, der));
    let Some(certificate) = meant else {
        let text = "The certificate with identifier used to sign the client assertion is not registered on \
                    application. [Reason - The key was not found.]";
        return Err(Refusal::client(700_027, text));
    };
    let certificate = CertificateDer::from(certificate.as_slice());
    let key = ParsedCertificate::try_from(&certificate).map(|parsed| parsed.subject_public_key_info());
    if !key.is_ok_and(|key| statement.is_signed_with(key.as_ref())) {
        let text = "Client assertion contains an invalid signature. [Reason - The provided signature value did not \
                    match the expected signature value.]";
        return Err(Refusal::client(700_027, text));
    }
    if statement.claim("sub") != Some(asked.client_id) {
        let text = "Client assertion application identifier doesn't match 'client_id' parameter.";
        return Err(Refusal::client(700_021, text));
    }
    if statement.claim("aud") != Some(asked.endpoint) {
        return Err(Refusal::client(700_023, "Client assertion audience claim does not match Realm issuer."));
    }
    // It is what tells two statements apart.
    if statement.claim("jti").is_none_or(str::is_empty) {
        return Err(malformed());
    }
    Ok(())
}

fn federated(statement: &Statement<'_>, issuer: &str, federations: &[Federation]) -> Result<(), Refusal> {
    let unknown = |code: u32, what: &str, value: &str| {
        let text = format!(
            "No matching federated identity record found for presented assertion {what} '{value}'. Check your \
             federated identity credential Subject, Audience and Issuer against the presented assertion."
        );
        Err(Refusal::client(code, text))
    };
    let of_issuer = || federations.iter().filter(|known| known.issuer == issuer);
    if of_issuer().next().is_none() {
        return unknown(700_211, "issuer", issuer);
    }
    // Kubernetes writes a list of one.
    let audience = statement.claims.get("aud").and_then(|aud| match aud.as_array().map(Vec::as_slice) {
        Some([one]) => one.as_str(),
        Some(_) => None,
        None => aud.as_str(),
    });
    if audience != Some(EXCHANGE) {
        return unknown(700_212, "audience", audience.unwrap_or_default());
    }
    let subject = statement.claim("sub").unwrap_or_default();
    let Some(known) = of_issuer().find(|known| known.subject == subject) else {
        return unknown(700_213, "subject", subject);
    };
    // Issuers elsewhere sign so, and in no other way.
    let algorithm = statement.header.get("alg").and_then(Value::as_str);
    if algorithm != Some("RS256") || !statement.is_signed_with(&known.key) {
        let text = "Assertion failed signature validation. [Reason - The provided signature value did not match the \
                    expected signature value.]";
        return Err(Refusal::client(50_013, text));
    }
    Ok(())
}

/// Whether it is good now: clocks on one machine do not differ.
fn in_time(claims: &Value, now: SystemTime) -> Result<(), Refusal> {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let expires = claims.get("exp").and_then(Value::as_u64).ok_or_else(malformed)?;
    let begins = match claims.get("nbf") {
        None => 0,
        Some(begins) => begins.as_u64().ok_or_else(malformed)?,
    };
    if begins <= now && now < expires {
        return Ok(());
    }
    let text = format!(
        "Client assertion is not within its valid time range. Current time: {now}, assertion valid from {begins}, \
         expiry time of assertion {expires}."
    );
    Err(Refusal::client(700_024, text))
}

impl<'a> Statement<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let object = |part: &str| {
            let value: Value = serde_json::from_slice(&base64url_decode(part)?).ok()?;
            value.is_object().then_some(value)
        };
        let signature = base64url_decode(signature).filter(|bytes| !bytes.is_empty())?;
        Some(Self { header: object(header)?, claims: object(claims)?, signed, signature })
    }

    fn claim(&self, name: &str) -> Option<&str> {
        self.claims.get(name).and_then(Value::as_str)
    }

    /// Whether this key signed it, in the way that it says.
    fn is_signed_with(&self, key: &[u8]) -> bool {
        let algorithm: &'static dyn VerificationAlgorithm =
            match self.header.get("alg").and_then(Value::as_str) {
                Some("RS256") => &RSA_PKCS1_2048_8192_SHA256,
                Some("PS256") => &RSA_PSS_2048_8192_SHA256,
                // `none` among them.
                _ => return false,
            };
        UnparsedPublicKey::new(algorithm, key).verify(self.signed.as_bytes(), &self.signature).is_ok()
    }
}

/// For whom a statement of somebody else's has to be.
const EXCHANGE: &str = "api://AzureADTokenExchange";

#[cfg(test)]
mod tests;
