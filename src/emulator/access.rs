//! Access tokens: what the emulator's sign-in issues, and what its gateway makes of one that it is shown.
//!
//! They look like Entra's (three parts, JSON in base64url, a real `exp`) and are worth nothing: no signature, and
//! nobody but the emulator that issued one takes it.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

/// The tokens that were issued.
pub(super) struct AccessTokens {
    first: String,
    issued: Mutex<VecDeque<Issued>>,
}

struct Issued {
    token: String,
    tenant: String,
    expires: u64,
}

/// What is wrong with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenFlaw {
    /// Begins with `Bearer `, or does not have three parts (G5).
    Shape,
    /// Its `exp` is past (G5).
    Expired,
    /// Another audience or tenant (G6).
    Foreign,
    /// Well-formed, but not one of ours.
    Unknown,
}

impl AccessTokens {
    pub(super) fn new(now: SystemTime) -> Self {
        let (first, expires) = mint(TENANT, AUDIENCE, LIFE, now);
        let issued = Issued { token: first.clone(), tenant: TENANT.to_owned(), expires };
        Self { issued: Mutex::new(VecDeque::from([issued])), first }
    }

    /// The token that was issued at the start.
    pub(super) fn first(&self) -> &str {
        &self.first
    }

    /// Another token, as a tenant's sign-in answers it.
    pub(super) fn issue(&self, tenant: &str, audience: &str, life: Duration, now: SystemTime) -> String {
        let (token, expires) = mint(tenant, audience, life, now);
        let mut issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        if issued.len() >= KEPT {
            // The first one stays: it is in the endpoint's file.
            drop(issued.remove(1));
        }
        issued.push_back(Issued { token: token.clone(), tenant: tenant.to_owned(), expires });
        token
    }

    /// Whether this is one of ours and still good, in the emulator's own tenant.
    pub(super) fn check(&self, token: &str, now: SystemTime) -> Result<(), TokenFlaw> {
        self.check_in(TENANT, token, now)
    }

    /// The same in a tenant.
    pub(super) fn check_in(&self, tenant: &str, token: &str, now: SystemTime) -> Result<(), TokenFlaw> {
        let now = seconds(now);
        let parts: Vec<&str> = token.split('.').collect();
        let [_, payload, _] = parts.as_slice() else { return Err(TokenFlaw::Shape) };
        if token.starts_with("Bearer ") || parts.iter().any(|part| part.is_empty()) {
            return Err(TokenFlaw::Shape);
        }
        let issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = issued.iter().find(|known| known.token == token) {
            return match (known.expires > now, known.tenant == tenant) {
                (false, _) => Err(TokenFlaw::Expired),
                (true, false) => Err(TokenFlaw::Foreign),
                (true, true) => Ok(()),
            };
        }
        drop(issued);
        let claims: Value = base64url_decode(payload)
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .ok_or(TokenFlaw::Shape)?;
        if claims.get("exp").and_then(Value::as_u64).is_none_or(|exp| exp <= now) {
            return Err(TokenFlaw::Expired);
        }
        let claim = |name: &str| claims.get(name).and_then(Value::as_str);
        if claim("aud") != Some(AUDIENCE) || claim("tid") != Some(tenant) {
            return Err(TokenFlaw::Foreign);
        }
        Err(TokenFlaw::Unknown)
    }

    /// Replaces every token that may have slipped into a text.
    pub(super) fn scrub(&self, text: &mut String) {
        // No token is shorter than this: most texts need no look.
        if text.len() < 100 {
            return;
        }
        let issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        for Issued { token, .. } in issued.iter() {
            if text.contains(token.as_str()) {
                *text = text.replace(token.as_str(), "…");
            }
        }
    }
}

fn mint(tenant: &str, audience: &str, life: Duration, now: SystemTime) -> (String, u64) {
    let issued = seconds(now);
    let expires = issued.saturating_add(life.as_secs());
    let header = json!({ "typ": "JWT", "alg": "RS256", "kid": hex(&rand::random::<[u8; 10]>()) });
    let payload = json!({
        "aud": audience,
        "iss": format!("https://sts.windows.net/{tenant}/"),
        "iat": issued,
        "nbf": issued,
        "exp": expires,
        "tid": tenant,
        "appid": "00000000-0000-4000-8000-0000000e0004",
        "idtyp": "app",
        "ver": "1.0",
        "uti": hex(&rand::random::<[u8; 12]>()),
    });
    let signature = base64url(&rand::random::<[u8; 32]>());
    let token = format!(
        "{}.{}.{signature}",
        base64url(header.to_string().as_bytes()),
        base64url(payload.to_string().as_bytes())
    );
    (token, expires)
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Bytes as lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A random identifier in the form of a GUID.
pub(super) fn guid() -> String {
    let digits = hex(&rand::random::<[u8; 16]>());
    let part = |range: std::ops::Range<usize>| digits.get(range).unwrap_or_default().to_owned();
    format!("{}-{}-4{}-a{}-{}", part(0..8), part(8..12), part(13..16), part(17..20), part(20..32))
}

pub(super) fn base64url(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut word = [0u8; 4];
        for (to, from) in word.iter_mut().skip(1).zip(chunk) {
            *to = *from;
        }
        let word = u32::from_be_bytes(word);
        for position in 0..=chunk.len() {
            let shift = 18 - 6 * position;
            let digit = usize::try_from((word >> shift) & 63).unwrap_or_default();
            text.push(ALPHABET.get(digit).copied().map_or('A', char::from));
        }
    }
    text
}

pub(super) fn base64url_decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 3);
    let (mut bits, mut held) = (0u32, 0u32);
    for byte in text.bytes() {
        let digit = ALPHABET.iter().position(|a| *a == byte)?;
        bits = (bits << 6) | u32::try_from(digit).ok()?;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from((bits >> held) & 0xff).ok()?);
        }
    }
    Some(bytes)
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const LIFE: Duration = Duration::from_secs(24 * 60 * 60);
const KEPT: usize = 256;

/// The audience of a token that nobody asked for in particular.
pub(super) const AUDIENCE: &str = "https://management.core.windows.net/";
/// The tenant that an emulator has when it is told of no other.
pub(super) const TENANT: &str = "00000000-0000-4000-8000-0000000e0002";
