//! Passwords in URLs of the user's own configuration: excerpts and listings show stars in their place.

use std::ops::Range;

/// The same text, byte for byte as long, with stars for whatever stands before an `@` in a line's quotes. Rather too
/// much is hidden than too little.
pub(super) fn credentials(text: &str) -> String {
    if !text.contains('@') {
        return text.to_owned();
    }
    text.split_inclusive('\n').map(line).collect()
}

fn line(line: &str) -> String {
    let Some(Range { start, end }) = secret(line) else { return line.to_owned() };
    let star = |(at, c): (usize, char)| {
        if (start..end).contains(&at) { "*".repeat(c.len_utf8()) } else { c.to_string() }
    };
    line.char_indices().map(star).collect()
}

fn secret(line: &str) -> Option<Range<usize>> {
    let end = line.rfind('@')?;
    let before = line.get(..end)?;
    let open = before.find(['"', '\'']).map_or(0, |at| at + 1);
    let quoted = before.get(open..)?;
    // Which protocol it was is worth knowing, and no secret.
    let scheme = quoted.find("://").filter(|at| {
        quoted.get(..*at).is_some_and(|word| word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+'))
    });
    Some(open + scheme.map_or(0, |at| at + 3)..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_before_an_at_sign_is_hidden() {
        for (text, shown) in [
            ("proxy = \"http://me:pw@proxy\"\nx = 1", "proxy = \"http://*****@proxy\"\nx = 1"),
            ("proxy = 'me:p\"w@proxy'", "proxy = '******@proxy'"),
            ("http://me:pä@proxy", "http://******@proxy"),
            ("a = { b = \"x\", proxy = \"me:pw@proxy\" }", "a = { b = \"******************@proxy\" }"),
            ("proxy = \"http://me:a@b@proxy\"", "proxy = \"http://******@proxy\""),
            ("proxy = \"http://proxy\"", "proxy = \"http://proxy\""),
        ] {
            assert_eq!(credentials(text), shown);
            assert_eq!(credentials(text).len(), text.len());
        }
    }
}
