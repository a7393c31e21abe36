//! Text that others wrote, made safe to show: from files, from Azure, from gateways.

/// At most `most` characters of a text, on one line and without anything that a terminal would obey.
pub fn printable(text: &str, most: usize) -> String {
    text.trim().chars().map(|c| if c.is_whitespace() { ' ' } else { safe_char(c) }).take(most).collect()
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
}
