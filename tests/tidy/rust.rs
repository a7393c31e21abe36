//! Just enough Rust to tell code from comments, strings and tests, and to read paths and `use` trees.

/// A word or a punctuation mark of the program, and its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
}

/// A path as written, with `use` trees multiplied out: `use a::{b, c::d}` is `a::b` and `a::c::d`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PathUse {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
    /// How many inline `mod name { … }` the path stands in.
    pub(crate) inline_depth: usize,
}

/// The tokens of the code: comments gone, literals reduced to `""`.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    let peek = |at: usize| chars.get(at).copied().unwrap_or('\0');
    while at < chars.len() {
        let start = at;
        let c = peek(at);
        let token = if c.is_whitespace() {
            at += 1;
            None
        } else if c == '/' && peek(at + 1) == '/' {
            while at < chars.len() && peek(at) != '\n' {
                at += 1;
            }
            None
        } else if c == '/' && peek(at + 1) == '*' {
            at = end_of_block_comment(&chars, at);
            None
        } else if let Some(end) = end_of_string(&chars, at) {
            at = end;
            Some("\"\"".to_owned())
        } else if c == '\'' {
            at = end_of_quote(&chars, at);
            // A lifetime is no literal, but no law asks for its name either.
            Some("\"\"".to_owned())
        } else if is_word(c) {
            while is_word(peek(at)) {
                at += 1;
            }
            Some(chars.get(start..at).unwrap_or_default().iter().collect())
        } else {
            at += if c == ':' && peek(at + 1) == ':' { 2 } else { 1 };
            Some(chars.get(start..at).unwrap_or_default().iter().collect())
        };
        tokens.extend(token.map(|text| Token { text, line }));
        line += chars.get(start..at).unwrap_or_default().iter().filter(|c| **c == '\n').count();
    }
    tokens
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

fn end_of_block_comment(chars: &[char], mut at: usize) -> usize {
    let mut depth = 0_usize;
    while at < chars.len() {
        match (chars.get(at), chars.get(at + 1)) {
            (Some('/'), Some('*')) => (depth, at) = (depth + 1, at + 2),
            (Some('*'), Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// Where a string literal that begins here ends: plain, byte, C and raw ones.
fn end_of_string(chars: &[char], start: usize) -> Option<usize> {
    let mut at = start;
    while at < start + 2 && matches!(chars.get(at), Some('b' | 'c' | 'r')) {
        at += 1;
    }
    let raw = at > start && chars.get(at - 1) == Some(&'r');
    let mut hashes = 0;
    while raw && chars.get(at) == Some(&'#') {
        (hashes, at) = (hashes + 1, at + 1);
    }
    if chars.get(at) != Some(&'"') {
        return None;
    }
    at += 1;
    while let Some(c) = chars.get(at) {
        at += 1;
        if *c == '\\' && !raw {
            at += 1;
        } else if *c == '"' && (0..hashes).all(|n| chars.get(at + n) == Some(&'#')) {
            return Some(at + hashes);
        }
    }
    Some(at)
}

/// Where a character literal or a lifetime that begins here ends.
fn end_of_quote(chars: &[char], start: usize) -> usize {
    let mut at = start + 1;
    if chars.get(at) == Some(&'\\') {
        at += 2;
        while chars.get(at).is_some_and(|c| *c != '\'' && *c != '\n') {
            at += 1;
        }
        return at + 1;
    }
    if chars.get(at + 1) == Some(&'\'') {
        return at + 2;
    }
    while chars.get(at).is_some_and(|c| is_word(*c)) {
        at += 1;
    }
    at
}

/// The tokens that are not under `#[cfg(test)]`; none for a file of tests.
pub(crate) fn production(path: &str, text: &str) -> Vec<Token> {
    if path.ends_with("/tests.rs") || path.contains("/tests/") {
        return Vec::new();
    }
    let all = tokens(text);
    let mut kept = Vec::new();
    let mut at = 0;
    while let Some(token) = all.get(at) {
        if is_cfg_test(&all, at) {
            at = end_of_item(&all, at);
        } else {
            kept.push(token.clone());
            at += 1;
        }
    }
    kept
}

fn is_cfg_test(tokens: &[Token], at: usize) -> bool {
    let words = ["#", "[", "cfg", "(", "test", ")", "]"];
    words.iter().enumerate().all(|(n, word)| tokens.get(at + n).is_some_and(|t| t.text == *word))
}

/// Where the item that follows an attribute ends: at a `;` or after a `{ … }`, whichever comes first.
fn end_of_item(tokens: &[Token], mut at: usize) -> usize {
    let mut depth = 0_i32;
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" => depth -= 1,
            "}" => {
                depth -= 1;
                if depth == 0 {
                    break;
                }
            }
            ";" if depth == 0 => break,
            _ => {}
        }
    }
    at
}

/// Every path in the tokens.
pub(crate) fn paths(tokens: &[Token]) -> Vec<PathUse> {
    let mut found = Vec::new();
    let mut inline: Vec<i32> = Vec::new();
    let mut braces = 0_i32;
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        match token.text.as_str() {
            "mod" if tokens.get(at + 2).is_some_and(|t| t.text == "{") => inline.push(braces),
            "{" => braces += 1,
            "}" => {
                braces -= 1;
                inline.pop_if(|depth| *depth == braces);
            }
            "use" => {
                at = use_tree(tokens, at + 1, &[], inline.len(), &mut found);
                continue;
            }
            word if word.starts_with(is_word) => {
                let (segments, end) = segments(tokens, at);
                found.push(PathUse { segments, line: token.line, inline_depth: inline.len() });
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Reads `a::b::c`; stops before anything that is not a word.
fn segments(tokens: &[Token], mut at: usize) -> (Vec<String>, usize) {
    let mut segments = Vec::new();
    while let Some(word) = tokens.get(at).filter(|t| t.text.starts_with(is_word)) {
        segments.push(word.text.clone());
        at += 1;
        let more = tokens.get(at).is_some_and(|t| t.text == "::")
            && tokens.get(at + 1).is_some_and(|t| t.text.starts_with(is_word));
        if !more {
            break;
        }
        at += 1;
    }
    (segments, at)
}

/// Reads one `use` tree after its prefix, and returns where it ends.
fn use_tree(
    tokens: &[Token],
    mut at: usize,
    prefix: &[String],
    depth: usize,
    found: &mut Vec<PathUse>,
) -> usize {
    if tokens.get(at).is_some_and(|t| t.text == "::") {
        at += 1;
    }
    let line = tokens.get(at).map_or(0, |t| t.line);
    let (own, mut at) = segments(tokens, at);
    let path: Vec<String> = prefix.iter().cloned().chain(own).collect();
    if tokens.get(at).is_some_and(|t| t.text == "::") {
        at += 1;
    }
    match tokens.get(at).map(|t| t.text.as_str()) {
        Some("{") => {
            at += 1;
            while tokens.get(at).is_some_and(|t| t.text != "}") {
                at = use_tree(tokens, at, &path, depth, found);
                at += usize::from(tokens.get(at).is_some_and(|t| t.text == ","));
            }
            at + 1
        }
        Some("as") => {
            found.push(PathUse { segments: path, line, inline_depth: depth });
            at + 2
        }
        Some("*") => {
            let segments = path.into_iter().chain(["*".to_owned()]).collect();
            found.push(PathUse { segments, line, inline_depth: depth });
            at + 1
        }
        // The end of the leaf; a mark that no tree has is stepped over.
        Some("," | "}" | ";") | None => {
            found.push(PathUse { segments: path, line, inline_depth: depth });
            at
        }
        Some(_) => at + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        tokens(text).into_iter().map(|t| t.text).collect()
    }

    fn joined(text: &str) -> Vec<String> {
        paths(&tokens(text)).into_iter().map(|p| p.segments.join("::")).collect()
    }

    #[test]
    fn comments_and_strings_are_not_code() {
        assert_eq!(words("a // b\n/* c /* d */ e */ f"), ["a", "f"]);
        assert_eq!(words(r##"x("tokio \" y", r#"async " z"#, b"q", 'c', '\'', '"')"##).len(), 14);
        assert!(words("//! use crate::azure;\n/// [`crate::azure`]\nfn f() {}").iter().all(|w| w != "azure"));
        assert_eq!(words("fn f<'a>(x: &'a str) {}").iter().filter(|w| *w == "str").count(), 1);
        assert_eq!(
            words("let r = bar; b'\\x00'; crate::b"),
            ["let", "r", "=", "bar", ";", "b", "\"\"", ";", "crate", "::", "b"]
        );
    }

    #[test]
    fn lines_are_counted_through_literals() {
        let last = tokens("\"a\nb\"\n/* \n */ x").pop().unwrap();
        assert_eq!((last.text.as_str(), last.line), ("x", 4));
    }

    #[test]
    fn tests_are_not_production() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests { fn b() { c(); } }\n#[cfg(test)] mod t;\n#[cfg(test)] #[x(y)] fn z() {}\nfn d() {}";
        let kept: Vec<String> = production("src/x.rs", text).into_iter().map(|t| t.text).collect();
        assert_eq!(kept.join(" "), "fn a ( ) { } fn d ( ) { }");
        assert_eq!(production("src/model/tests.rs", "fn a() {}"), []);
    }

    #[test]
    fn use_trees_are_multiplied_out() {
        assert_eq!(
            joined("use crate::{a::{B, c as d}, e::*, f};\npub use std::fs;\nlet x = tokio::time::sleep(y);"),
            [
                "crate::a::B",
                "crate::a::c",
                "crate::e::*",
                "crate::f",
                "pub",
                "std::fs",
                "let",
                "x",
                "tokio::time::sleep",
                "y"
            ]
        );
    }

    #[test]
    fn inline_modules_are_counted() {
        let depths: Vec<usize> = paths(&tokens("a::b; mod m { c::d; } e::f;"))
            .into_iter()
            .filter(|p| p.segments.len() == 2)
            .map(|p| p.inline_depth)
            .collect();
        assert_eq!(depths, [0, 1, 0]);
    }
}
