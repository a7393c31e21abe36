//! Names of tunnels as people type them: one name, or a pattern that means several.

use std::fmt;

use super::{Name, printable};

/// A name, or a pattern of a shell: `*` any text, `?` any character, `[a-c]` one of these, `[!a-c]` any other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    written: String,
    glob: glob::Pattern,
}

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a pattern: its `[` has no `]`", printable(.0, 100))]
pub struct PatternError(String);

impl Pattern {
    /// Reads what somebody typed.
    ///
    /// # Errors
    /// When a bracket is not closed.
    pub fn new(written: &str) -> Result<Self, PatternError> {
        // A name has no parts as a path has, so two stars mean no more than one.
        let mut text = String::with_capacity(written.len());
        for c in written.chars() {
            if c != '*' || !text.ends_with('*') {
                text.push(c);
            }
        }
        let glob = glob::Pattern::new(&text).map_err(|_| PatternError(written.to_owned()))?;
        Ok(Self { written: written.to_owned(), glob })
    }

    /// Whether it means this name.
    pub fn matches(&self, name: &Name) -> bool {
        self.glob.matches(name.as_str())
    }

    /// As it was typed.
    pub fn as_str(&self) -> &str {
        &self.written
    }
}

impl fmt::Display for Pattern {
    /// For messages: whatever was typed, a terminal shows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&self.written, 100))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matching(pattern: &str) -> Vec<&'static str> {
        let pattern = Pattern::new(pattern).unwrap();
        let all = ["db", "db-2", "db.x", "dc", "web"];
        all.into_iter().filter(|name| pattern.matches(&Name::new(name).unwrap())).collect()
    }

    #[test]
    fn names_and_patterns() {
        assert_eq!(matching("db"), ["db"]);
        assert_eq!(matching("DB"), [""; 0]);
        assert_eq!(matching("d*"), ["db", "db-2", "db.x", "dc"]);
        assert_eq!(matching("d**"), matching("d*"));
        assert_eq!(matching("**"), matching("*"));
        assert_eq!(matching("*").len(), 5);
        assert_eq!(matching("d?"), ["db", "dc"]);
        assert_eq!(matching("d[a-b]*"), ["db", "db-2", "db.x"]);
        assert_eq!(matching("d[!b]"), ["dc"]);
        assert_eq!(matching(""), [""; 0]);
    }

    #[test]
    fn a_bracket_without_its_end() {
        let error = Pattern::new("d[\u{1b}").unwrap_err();
        assert_eq!(error.to_string(), "`d[\u{241b}` is not a pattern: its `[` has no `]`");
    }
}
