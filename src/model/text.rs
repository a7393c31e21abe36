//! Text that others wrote, made safe to show: from files, from Azure, from gateways.

use std::borrow::Cow;

/// At most `most` characters of a text, on one line, without anything that a terminal would obey and without what looks
/// like a token: whoever refuses a request may say what was in it.
pub fn printable(text: &str, most: usize) -> String {
    let text = without_tokens(text.trim());
    text.chars().map(|c| if c.is_whitespace() { ' ' } else { safe_char(c) }).take(most).collect()
}

/// What stands in a token's place.
const MASK: &str = "(a token)";
/// No name in Azure has so many letters and digits without a break; session tokens have.
const LONG: usize = 60;

/// A text with its access tokens (three parts, as JWTs have) and session tokens taken out.
fn without_tokens(text: &str) -> Cow<'_, str> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let mut masked = String::new();
    let mut done = 0;
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let start = at + rest.find(is_word).unwrap_or(rest.len());
        let word = text.get(start..).unwrap_or_default();
        let word = word.get(..word.find(|c| !is_word(c)).unwrap_or(word.len())).unwrap_or_default();
        if let Some(secret) = token_in(word) {
            masked.push_str(text.get(done..start + secret).unwrap_or_default());
            masked.push_str(MASK);
            done = start + word.len();
        }
        at = start + word.len();
    }
    if done == 0 {
        return Cow::Borrowed(text);
    }
    masked.push_str(text.get(done..).unwrap_or_default());
    Cow::Owned(masked)
}

/// Where in a word a token begins.
fn token_in(word: &str) -> Option<usize> {
    // The first part of a JWT is the JSON of an object, and so begins alike whatever is in it.
    let jwt =
        word.find("eyJ").filter(|at| word.get(*at..).is_some_and(|rest| rest.matches('.').count() >= 2));
    let long = || {
        let mut begin = 0;
        word.split(['-', '.']).find_map(|part| {
            let at = begin;
            begin += part.len() + 1;
            let mixed =
                part.bytes().any(|b| b.is_ascii_digit()) && part.bytes().any(|b| b.is_ascii_alphabetic());
            (part.len() >= LONG && mixed).then_some(at)
        })
    };
    jwt.or_else(long)
}

/// An error and what caused it, on one line.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// A character that a terminal shows and does not obey. C0 controls have pictures of their own in Unicode; other
/// controls, and what reorders or hides text, do not.
pub fn safe_char(c: char) -> char {
    match c {
        '\0'..='\u{1f}' => char::from_u32(0x2400 + u32::from(c)).unwrap_or(char::REPLACEMENT_CHARACTER),
        '\u{7f}' => '\u{2421}',
        '\u{80}'..='\u{9f}'
        | '\u{ad}'
        | '\u{61c}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{e0000}'..='\u{e007f}' => char::REPLACEMENT_CHARACTER,
        _ => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        assert_eq!(printable(" two\r\nlines\u{1b}[31m ", 300), "two  lines\u{241b}[31m");
        assert_eq!(printable("a\u{202e}b\u{9b}c", 300), "a\u{fffd}b\u{fffd}c");
        assert_eq!(printable("abc", 2), "ab");
    }

    #[test]
    fn what_looks_like_a_token_is_taken_out() {
        let (jwt, session) = ("eyJ0eXAi.eyJhdWQi.c2ln-_", "A1".repeat(32));
        for (text, shown) in [
            (format!("the token {jwt} is bad"), "the token (a token) is bad"),
            (
                format!("protocol=tcptunnel&aztoken={jwt}&port=1"),
                "protocol=tcptunnel&aztoken=(a token)&port=1",
            ),
            (format!("Bearer {jwt}"), "Bearer (a token)"),
            (format!("\"{jwt}\",{session}"), "\"(a token)\",(a token)"),
            (format!("/api/tokens/{session}?x"), "/api/tokens/(a token)?x"),
            (format!("ü{jwt}ü"), "ü(a token)ü"),
            (format!("x-{jwt}.more"), "x-(a token)"),
        ] {
            assert_eq!(printable(&text, 300), shown);
        }
        // Even where it would have been cut off within.
        assert_eq!(printable(&format!("{} {jwt}", "x".repeat(20)), 26), format!("{} (a to", "x".repeat(20)));
        for kept in [
            "eyJustAName",
            "bst-00000000-0000-4000-8000-0000000e0001.bastion.azure.com",
            "/subscriptions/00000000-0000-4000-8000-0000000e0001/resourceGroups/rg",
            "",
        ] {
            assert_eq!(printable(kept, 300), kept);
        }
    }
}
