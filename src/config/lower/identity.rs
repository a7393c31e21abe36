//! Who asks: what `[azure]` says, and each bastion for itself.

use super::values::choice;
use super::{Found, given};
use crate::config::codes;
use crate::config::diagnostic::{Diagnostic, quote};
use crate::config::reader::{Field, Text};
use crate::config::shapes::Identity as RawIdentity;
use crate::model::{CredentialKind, Identity};

/// Reads what is said over what held so far.
pub(super) fn lower(raw: &RawIdentity, held: &Identity, found: &mut Found) -> Identity {
    let tenant = word(raw.tenant.as_ref(), "tenant", "an ID, or a domain such as contoso.com", found);
    let credential = choice(raw.credential.as_ref(), "credential", CredentialKind::ALL, found);
    if let (Some(kind), Some(text)) = (credential, given(raw.credential.as_ref()))
        && !kind.is_built()
    {
        let message = format!("`credential = \"{}\"` is not supported yet", text.value);
        let label = "this version cannot sign in so";
        let wrong = Diagnostic::new(codes::NOT_SUPPORTED_YET, text.span.clone(), message, label);
        found.push(
            wrong.help(
                "`\"auto\"` takes the first credential that gives a token; `bastion whoami` says which",
            ),
        );
    }
    let client_id = word(raw.client_id.as_ref(), "client_id", "an ID, as the portal shows it", found);
    Identity {
        tenant: tenant.or_else(|| held.tenant.clone()),
        credential: credential.unwrap_or(held.credential),
        client_id: client_id.or_else(|| held.client_id.clone()),
    }
}

/// A text that becomes a part of a URL: what could end that part is refused.
fn word(field: Option<&Field<Text>>, key: &str, expected: &str, found: &mut Found) -> Option<String> {
    let text = given(field)?;
    let dots = key == "tenant";
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || (dots && b == b'.');
    if !text.value.is_empty() && text.value.len() <= 253 && text.value.bytes().all(fits) {
        return Some(text.value.clone());
    }
    let message = format!("`{key}` cannot be {}", quote(&text.value));
    let label = format!("expected {expected}");
    found.push(Diagnostic::new(codes::INVALID_VALUE, text.span.clone(), message, label));
    None
}
