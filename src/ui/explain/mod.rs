//! Every stable code that this program shows, explained: what was tried, what happened, why most likely, what mends it
//! and who can.
//!
//! The list is closed: a code that is shown and not explained here fails `tests/tidy.rs`.

use super::table::{Line, Row, pairs, render};
use comfy_table::Cell;

mod azure;
mod broker;
mod file;
mod gateway;
mod local;

/// What a code stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The code itself.
    pub code: &'static str,
    /// What we were doing.
    pub tried: &'static str,
    /// What came of it.
    pub happened: &'static str,
    /// The likeliest cause.
    pub cause: &'static str,
    /// What mends it.
    pub remedy: &'static str,
    /// Who can mend it.
    pub who: &'static str,
}

/// Those who can mend something, in the words of the explanations.
mod who {
    pub(super) const YOU: &str = "you";
    pub(super) const FILE: &str = "you, or whoever keeps bastion.toml";
    pub(super) const OWNER: &str = "whoever may change the bastion (Contributor on it)";
    pub(super) const ROLES: &str =
        "whoever grants roles in the subscription (Owner, User Access Administrator)";
    pub(super) const MACHINE: &str = "whoever runs the target machine or its network";
    pub(super) const NETWORK: &str = "you, or whoever runs your network";
    pub(super) const NOBODY: &str = "nobody has to: it is tried again by itself";
    pub(super) const US: &str = "us: please report it, with what `-vv` says";
}

/// All of them, in the order of the way: files, this machine, Azure, the broker, the gateway.
pub fn explanations() -> impl Iterator<Item = &'static Explanation> {
    [file::ALL, local::ALL, azure::ALL, broker::ALL, gateway::ALL].into_iter().flatten()
}

/// What a code stands for, if it is one.
pub fn explanation(code: &str) -> Option<&'static Explanation> {
    explanations().find(|explanation| explanation.code == code)
}

/// One code in full, for a terminal of this width.
pub fn explained(explanation: &Explanation, width: Option<u16>) -> String {
    let Explanation { code, tried, happened, cause, remedy, who } = explanation;
    let lines = [
        ("code", *code),
        ("tried", *tried),
        ("happened", *happened),
        ("cause", *cause),
        ("remedy", *remedy),
        ("who can", *who),
    ];
    pairs(&lines, width)
}

/// All codes, one a row.
pub fn codes(width: Option<u16>) -> String {
    let rows = explanations().map(|explanation| Row {
        cells: vec![Cell::new(explanation.code), Cell::new(explanation.happened)],
        below: Vec::<Line>::new(),
    });
    render(&["CODE", "WHAT HAPPENED"], &[0], rows.collect(), width)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_is_explained_once_and_in_whole_sentences() {
        let mut seen = BTreeSet::new();
        for explanation in explanations() {
            let Explanation { code, tried, happened, cause, remedy, who } = explanation;
            assert!(seen.insert(code), "{code} stands twice");
            assert!(code.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{code}");
            for text in [tried, happened, cause, remedy] {
                assert!(text.ends_with('.') && !text.ends_with(".."), "{code}: {text}");
                assert!(text.starts_with(|c: char| c.is_uppercase() || c == '`'), "{code}: {text}");
            }
            assert!(!who.is_empty() && !who.ends_with('.'), "{code}: {who}");
        }
    }

    #[test]
    fn every_mistake_of_a_file_is_explained() {
        for (code, _) in crate::config::CODES {
            assert!(explanation(code).is_some(), "{code} is not explained");
        }
    }

    #[test]
    fn one_in_full() {
        let busy = explanation("gateway-busy").unwrap();
        let text = anstream::adapter::strip_str(&explained(busy, Some(60))).to_string();
        assert!(text.lines().all(|line| line.chars().count() <= 60), "{text}");
        insta::assert_snapshot!(text, @r"
        code      gateway-busy
        tried     Opening a session: the token exchange with the
                  bastion's gateway.
        happened  The gateway had no room for another session
                  (HTTP 429 or 503).
        cause     Every instance of a bastion carries a limited
                  number of sessions, and colleagues or other
                  programs hold them; or too many were asked for
                  at once.
        remedy    Connections wait and are tried again.
                  `max_sessions` of the bastion keeps your own
                  share small; more instances (scale units) make
                  room.
        who can   whoever may change the bastion (Contributor on
                  it)
        ");
    }

    #[test]
    fn the_list_fits_a_terminal() {
        let text = anstream::adapter::strip_str(&codes(Some(80))).to_string();
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        let first = text.lines().map(|line| line.split(' ').next().unwrap_or_default());
        assert_eq!(first.filter(|word| explanation(word).is_some()).count(), explanations().count());
    }
}
