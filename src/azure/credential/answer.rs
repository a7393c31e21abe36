//! What a sign-in service answers to whoever asks it for a token.
//!
//! Azure's library would read it, too: but it fails on texts with escapes in them, which is what Entra sends, and
//! where a page or nothing at all stands in place of JSON it tells of that, and not of the status.

use std::time::Duration;

use serde_json::{Value, json};

use crate::net::Answer;

/// No token is good for longer, whatever is said of it.
const LONGEST: i64 = 366 * 24 * 3600;

/// An answer that is no token.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(super) struct NoToken {
    what: String,
    /// The HTTP status.
    pub(super) status: u16,
    /// Whether those are its own words.
    pub(super) in_words: bool,
    /// When it wants to be asked again.
    pub(super) after: Option<Duration>,
}

/// A token, as the library reads it.
pub(super) fn token(answer: &Answer) -> Result<Vec<u8>, NoToken> {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let text = |name: &str| body.get(name)?.as_str().filter(|text| !text.trim().is_empty());
    let whole = |name: &str| {
        let value = body.get(name)?;
        value.as_i64().or_else(|| value.as_str()?.trim().parse().ok())
    };
    let no = |what: String, in_words: bool| NoToken {
        what,
        status: answer.status,
        in_words,
        after: answer.retry_after(),
    };
    let status = answer.status;
    match (status, text("error_description"), text("error")) {
        (200..=299, ..) => match (text("access_token"), whole("expires_in")) {
            (Some(token), Some(seconds)) => {
                let lifetime = seconds.clamp(0, LONGEST);
                let known = json!({ "token_type": "Bearer", "access_token": token, "expires_in": lifetime });
                Ok(known.to_string().into_bytes())
            }
            _ => Err(no(format!("the sign-in service answered HTTP {status} without a token"), false)),
        },
        (300..=399, ..) => Err(no(
            format!("the sign-in service answered HTTP {status}, a redirect, which is not followed"),
            false,
        )),
        (_, Some(words), _) => Err(no(words.to_owned(), true)),
        (_, None, Some(word)) => Err(no(format!("the sign-in service answered HTTP {status}, {word}"), true)),
        (_, None, None) => Err(no(format!("the sign-in service answered HTTP {status}"), false)),
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderMap;

    use super::*;

    fn read(status: u16, body: &str) -> String {
        let answer = Answer { status, headers: HeaderMap::new(), body: body.into() };
        match token(&answer) {
            Ok(token) => String::from_utf8(token).unwrap(),
            Err(no) => format!("{no} ({}in words)", if no.in_words { "" } else { "not " }),
        }
    }

    #[test]
    fn a_token_is_handed_on_as_the_library_takes_it_and_everything_else_is_told() {
        let all = [
            read(200, r#"{"access_token":"a\u002eb","expires_in":"3600","token_type":null}"#),
            read(200, r#"{"access_token":"a","expires_in":9000000000000000000}"#),
            read(200, r#"{"access_token":"a","expires_in":1e30}"#),
            read(200, "null"),
            read(200, "<html>"),
            read(307, ""),
            read(
                400,
                r#"{"error":"invalid_client","error_description":"AADSTS7000215: \u0027no\u0027\r\nTrace ID: 1"}"#,
            ),
            read(400, r#"{"error":"invalid_client","error_codes":"?"}"#),
            read(404, "<html>"),
            read(503, ""),
        ];
        insta::assert_snapshot!(all.join("\n"), @r#"
        {"token_type":"Bearer","access_token":"a.b","expires_in":3600}
        {"token_type":"Bearer","access_token":"a","expires_in":31622400}
        the sign-in service answered HTTP 200 without a token (not in words)
        the sign-in service answered HTTP 200 without a token (not in words)
        the sign-in service answered HTTP 200 without a token (not in words)
        the sign-in service answered HTTP 307, a redirect, which is not followed (not in words)
        AADSTS7000215: 'no'
        Trace ID: 1 (in words)
        the sign-in service answered HTTP 400, invalid_client (in words)
        the sign-in service answered HTTP 404 (not in words)
        the sign-in service answered HTTP 503 (not in words)
        "#);
    }
}
