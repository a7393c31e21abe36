//! The stable codes of failures, and that each has its explanation.

use crate::tree::{Breach, Law};

pub(crate) const LAW: Law = Law {
    rule: "every stable code that is shown has an entry in src/ui/explain",
    reason: "a message fits on a line; what was tried, why it failed, what mends it and who can do it stand behind its code",
};

/// Where codes are made up.
const PLACES: [&str; 13] = [
    "src/azure",
    "src/carrier",
    "src/cli/declaration",
    "src/cli/instance",
    "src/config/codes",
    "src/control",
    "src/gateway",
    "src/instance",
    "src/lifecycle",
    "src/net",
    "src/plan",
    "src/relay",
    "src/supervisor",
];
/// What looks like a code and is none.
const OTHER: [&str; 1] = ["date-time"];

/// Every code in a file that nobody explains.
///
/// A code is a text of lower-case words with hyphens between them that is no header's name; or of one such word, right behind `code:`,
/// `code =` or `Break::new(`, or before `=>`.
pub(crate) fn unexplained(path: &str, text: &str) -> Vec<Breach> {
    if !PLACES.iter().any(|place| path.strip_prefix(place).is_some_and(|rest| rest.starts_with(['/', '.']))) {
        return Vec::new();
    }
    if path.ends_with("/tests.rs") || path.contains("/tests/") {
        return Vec::new();
    }
    // Tests stand at the end of a file.
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    let mut breaches = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("//") || line.contains("#[serde") || line.contains("#[expect") {
            continue;
        }
        let mut parts = line.split('"');
        let mut before = parts.next().unwrap_or_default();
        while let (Some(literal), Some(after)) = (parts.next(), parts.next()) {
            let is = is_code(literal, before);
            let header = literal.starts_with("x-");
            if is && !header && !OTHER.contains(&literal) && bastion::ui::explanation(literal).is_none() {
                breaches.push(Breach::new(path, number, format!("`{literal}`")));
            }
            before = after;
        }
    }
    breaches
}

fn is_code(literal: &str, before: &str) -> bool {
    let words =
        literal.split('-').all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase()));
    let before = before.trim_end();
    let named = ["code:", "code =", "Break::new(", "Reason::of(self,", ": &str ="];
    words && (literal.contains('-') || named.iter().any(|name| before.ends_with(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_without_an_explanation_is_seen() {
        for text in [
            "Self::Refused(_) => \"gateway-sulks\",",
            "let reason = Reason { code: \"sulks\", what };",
            "tracing::warn!(code = \"sulks\", \"it sulks\");",
            "Break::new(\"sulks\", \"it sulks\")",
        ] {
            assert_eq!(unexplained("src/gateway/error.rs", text).len(), 1, "{text}");
            assert_eq!(unexplained("src/cli/mod.rs", text), [], "{text}");
        }
        let text = "// \"gateway-sulks\"\nlet x = (\"gateway-busy\", \"X-Node-Id\", \"it sulks\", \"word\");";
        assert_eq!(unexplained("src/gateway/error.rs", text), []);
        let tests = "#[cfg(test)]\nmod tests {\n    const X: &str = \"gateway-sulks\";\n}";
        assert_eq!(unexplained("src/gateway/error.rs", tests), []);
    }
}
