//! What others wrote, for a terminal: nothing in it is obeyed.

use crate::model::safe_char;

/// A text of several lines, as another process rendered it.
pub fn safe_lines(text: &str) -> String {
    text.trim_end().chars().map(|c| if c == '\n' || c == ' ' { c } else { safe_char(c) }).collect()
}

/// JSON that says the same, with nothing in it that a terminal would obey. Such characters stand in texts only, where
/// they have another spelling.
pub fn safe_json(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for c in json.chars() {
        if safe_char(c) == c {
            safe.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                safe.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_obeyed() {
        assert_eq!(safe_lines("a \u{1b}[1m\r\n\u{202e}b\n\n"), "a \u{241b}[1m\u{240d}\n\u{fffd}b");
    }

    #[test]
    fn json_says_the_same() {
        let text = "\u{1b}[31m \u{9b}2J \u{202e} \u{e0041} \u{e9}\n";
        let json = serde_json::to_string(text).unwrap();
        let safe = safe_json(&json);
        assert!(safe.chars().all(|c| safe_char(c) == c), "{safe:?}");
        assert_eq!(serde_json::from_str::<String>(&safe).unwrap(), text);
    }
}
