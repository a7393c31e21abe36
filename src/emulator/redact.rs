//! What of a request may be written down. Everything else is shown as `…`: a list of what is harmless can only
//! hide too much.

use percent_encoding::percent_decode_str;

const MASK: &str = "…";

/// Headers with their values, where those are harmless.
pub(super) fn headers(headers: &[(String, String)]) -> Vec<(String, String)> {
    let shown = |name: &str| HEADERS.iter().any(|known| known.eq_ignore_ascii_case(name));
    headers
        .iter()
        .map(|(name, value)| {
            let value = if shown(name) {
                clip(value)
            } else if name.eq_ignore_ascii_case("authorization") {
                value
                    .split_once(' ')
                    .map_or(MASK.to_owned(), |(scheme, _)| format!("{} {MASK}", clip(scheme)))
            } else {
                MASK.to_owned()
            };
            (clip(name), value)
        })
        .collect()
}

/// Form fields with their values, where those are harmless.
pub(super) fn form(fields: &[(String, String)]) -> Vec<(String, String)> {
    fields
        .iter()
        .map(|(name, value)| {
            let shown = value.is_empty() || FIELDS.contains(&name.as_str());
            (clip(name), if shown { clip(value) } else { MASK.to_owned() })
        })
        .collect()
}

/// Path and query. Of the data plane's paths only the known words are shown, of queries only known values.
pub(super) fn target(target: &str) -> String {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let arm = path.len() > 15 && path.get(..15).is_some_and(|p| p.eq_ignore_ascii_case("/subscriptions/"));
    let login = path.ends_with("/oauth2/v2.0/token");
    let mut text = if arm || login {
        clip(path)
    } else {
        let word = |part: &str| part.is_empty() || WORDS.contains(&part);
        let parts: Vec<&str> = path.split('/').map(|p| if word(p) { p } else { MASK }).collect();
        clip(&parts.join("/"))
    };
    if let Some(query) = query {
        let pairs: Vec<String> = query
            .split('&')
            .map(|pair| match pair.split_once('=') {
                Some((name, value)) if QUERIES.iter().any(|q| q.eq_ignore_ascii_case(name)) => {
                    format!("{}={}", clip(name), clip(&percent_decode_str(value).decode_utf8_lossy()))
                }
                Some((name, _)) => format!("{}={MASK}", clip(name)),
                None => MASK.to_owned(),
            })
            .collect();
        text.push('?');
        text.push_str(&pairs.join("&"));
    }
    text
}

/// No text of a client's makes an entry large.
fn clip(text: &str) -> String {
    match text.char_indices().nth(512) {
        Some((at, _)) => format!("{}{MASK}", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

const HEADERS: &[&str] = &[
    "accept",
    "accept-encoding",
    "connection",
    "content-length",
    "content-type",
    "host",
    "origin",
    "sec-websocket-extensions",
    "sec-websocket-protocol",
    "sec-websocket-version",
    "upgrade",
    "user-agent",
    "x-ms-client-request-id",
    "x-node-id",
];
const FIELDS: &[&str] = &[
    "resourceId",
    "protocol",
    "workloadHostPort",
    "hostname",
    "bastionResourceId",
    "vmPort",
    "connectionType",
    "grant_type",
    "scope",
    "client_id",
];
const QUERIES: &[&str] = &["api-version", "X-Node-Id", "resourceId", "format", "rdpport", "enablerdsaad"];
const WORDS: &[&str] = &["api", "tokens", "webtunnelv2", "webtunnel", "omni", "rdpfile", "connection"];
