//! What a gateway and a broker are said to refuse in the same words.

/// The hint where a target is not found.
pub(super) const NOT_FOUND: &str = "check the target's name, resource group and subscription";

/// The hint where the answer is a redirect.
pub(super) const REDIRECT: &str = "a redirect is not followed, because the request carries an access token; is a captive portal or proxy on the way?";

/// What the answer says of itself, for the end of a sentence.
pub(super) fn said(message: Option<&str>) -> String {
    message.map(|m| format!(", \"{m}\"")).unwrap_or_default()
}
