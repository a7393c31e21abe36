//! `${NAME}` and `${NAME:-default}` in strings.
//!
//! A file that others can commit to may name few variables: what it puts into names in Azure leaves this machine. The
//! user's own configuration may name all. The value of a variable is never looked at again, so it cannot bring in
//! another one.

use std::collections::BTreeSet;
use std::ops::Range;

use toml::de::DeTable;

use super::MAX_BYTES;
use super::codes;
use super::diagnostic::{Diagnostic, quote};
use super::document::{Form, Map, Node, Value, adopt};
use super::layers::LayerKind;
use super::variables::Variables;

/// What files may name besides `BASTION_…`.
const NAMEABLE: &[&str] = &["AZURE_SUBSCRIPTION_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_ID", "USER", "HOME"];

/// Whether a workspace's files may name a variable; the user's own configuration may name every one.
pub fn nameable(variable: &str) -> bool {
    NAMEABLE.contains(&variable) || variable.strip_prefix("BASTION_").is_some_and(|rest| !rest.is_empty())
}

/// The variables that the strings of a file mention.
pub fn mentioned(text: &str) -> BTreeSet<String> {
    if text.len() > MAX_BYTES {
        return BTreeSet::new();
    }
    let (document, _) = DeTable::parse_recoverable(text);
    let mut names = BTreeSet::new();
    let mut left: Vec<Node> =
        adopt(document.get_ref(), text, 0).into_members().map(|(_, member)| member.value).collect();
    while let Some(node) = left.pop() {
        match node.value {
            Value::Text(text, _) => {
                let named = pieces(&text).into_iter().filter_map(|piece| match piece {
                    Piece::Variable { name, .. } => text.get(name).map(str::to_owned),
                    Piece::Text(_) | Piece::Malformed(..) => None,
                });
                names.extend(named);
            }
            Value::Array(items) => left.extend(items),
            Value::Table(table) => left.extend(table.into_members().map(|(_, member)| member.value)),
            Value::Number { .. } | Value::Float(_) | Value::Flag(_) | Value::Date(_) | Value::Refused(_) => {}
        }
    }
    names
}

/// A part of a string.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// Stands for itself.
    Text(Range<usize>),
    /// `${NAME}` or `${NAME:-default}`.
    Variable { whole: Range<usize>, name: Range<usize>, default: Option<Range<usize>> },
    /// Begins like one and is none, for this reason.
    Malformed(Range<usize>, &'static str),
}

/// Takes a string apart. Nothing is lost but the first `$` of each `$${`.
fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let (mut start, mut at) = (0, 0);
    while let Some(found) = text.get(at..).and_then(|rest| rest.find("${")) {
        let open = at + found;
        let body = open + "${".len();
        let escaped = open
            .checked_sub(1)
            .filter(|before| *before >= start && text.as_bytes().get(*before) == Some(&b'$'));
        if let Some(dollar) = escaped {
            pieces.push(Piece::Text(start..dollar));
            (start, at) = (open, body);
            continue;
        }
        pieces.push(Piece::Text(start..open));
        let rest = text.get(body..).unwrap_or_default();
        let end = match rest.find('}') {
            Some(length) => {
                pieces.push(variable(text, open, body, body + length));
                body + length + 1
            }
            None => {
                pieces.push(Piece::Malformed(open..text.len(), "no `}` ends it"));
                text.len()
            }
        };
        (start, at) = (end, end);
    }
    pieces.push(Piece::Text(start..text.len()));
    pieces.retain(|piece| !matches!(piece, Piece::Text(range) if range.is_empty()));
    pieces
}

fn variable(text: &str, open: usize, body: usize, close: usize) -> Piece {
    let whole = open..close + 1;
    let inside = text.get(body..close).unwrap_or_default();
    let end = inside.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inside.len());
    let (name, rest) = inside.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Piece::Malformed(whole, "expected the name of a variable");
    }
    let default = match rest.strip_prefix(":-") {
        Some(default) if default.contains("${") => {
            return Piece::Malformed(whole, "a default cannot hold another variable");
        }
        Some(default) => Some(close - default.len()..close),
        None if rest.is_empty() => None,
        None => return Piece::Malformed(whole, "expected `}` or `:-` after the name"),
    };
    Piece::Variable { whole, name: body..body + end, default }
}

/// Replaces the variables in the strings of one layer.
#[derive(Debug)]
pub(super) struct Filling<'a> {
    /// Whose layer it is.
    pub(super) kind: LayerKind,
    pub(super) variables: &'a Variables,
    /// How much more text variables may bring: a small file must not become a large one.
    pub(super) room: usize,
    pub(super) found: &'a mut Vec<Diagnostic>,
}

impl Filling<'_> {
    /// Goes through a table.
    pub(super) fn table(&mut self, table: &mut Map) {
        for node in table.values_mut() {
            self.node(node);
        }
    }

    fn node(&mut self, node: &mut Node) {
        match &mut node.value {
            Value::Text(text, form) => {
                if text.contains("${") {
                    let (text, form) = (std::mem::take(text), *form);
                    node.value = self.text(&text, form, &node.span, &mut node.variables);
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.node(item)),
            Value::Table(table) => self.table(table),
            Value::Number { .. } | Value::Float(_) | Value::Flag(_) | Value::Date(_) | Value::Refused(_) => {}
        }
    }

    /// What a string becomes. A name that is not set is held against it only if no later layer replaces it.
    fn text(&mut self, text: &str, form: Form, span: &Range<usize>, named: &mut Vec<String>) -> Value {
        let place = |part: &Range<usize>| match form {
            Form::Literal => span.start + 1 + part.start..span.start + 1 + part.end,
            Form::Escaped | Form::Piece | Form::Derived | Form::Variable => span.clone(),
        };
        let pieces = pieces(text);
        let alone = matches!(pieces.as_slice(), [Piece::Variable { .. }]);
        let (mut filled, mut unset, mut wrong) = (String::new(), Vec::new(), false);
        for piece in pieces {
            match piece {
                Piece::Text(range) => filled.push_str(text.get(range).unwrap_or_default()),
                Piece::Malformed(range, why) => {
                    wrong = true;
                    let written = text.get(range.clone()).unwrap_or_default();
                    let message = format!("{} is not a variable", quote(written));
                    let malformed =
                        Diagnostic::new(codes::INVALID_INTERPOLATION, place(&range), message, why);
                    self.found.push(malformed.help(
                        "variables look like `${NAME}` or `${NAME:-default}`; `$${` stands for `${` itself",
                    ));
                }
                Piece::Variable { whole, name, default } => {
                    let name = text.get(name).unwrap_or_default();
                    let default = default.and_then(|range| text.get(range));
                    if self.kind != LayerKind::User && !nameable(name) {
                        wrong = true;
                        self.found.push(foreign(name, place(&whole)));
                        continue;
                    }
                    // As in a shell, `:-` takes the place of an empty value too.
                    let set = self.variables.get(name).filter(|v| default.is_none() || !v.is_empty());
                    let Some(value) = set.or(default) else {
                        unset.push(missing(name, place(&whole)));
                        continue;
                    };
                    let Some(room) = self.room.checked_sub(value.len()) else {
                        wrong = true;
                        let message = "the variables of this file make more than 1 MiB of text";
                        let label = "with this one";
                        self.found.push(Diagnostic::new(codes::TOO_LARGE, place(&whole), message, label));
                        continue;
                    };
                    self.room = room;
                    filled.push_str(value);
                    if !named.iter().any(|known| known == name) {
                        named.push(name.to_owned());
                    }
                }
            }
        }
        match () {
            () if wrong => {
                self.found.append(&mut unset);
                Value::Refused(Vec::new())
            }
            () if !unset.is_empty() => Value::Refused(unset),
            () if alone => Value::Text(filled, Form::Variable),
            () => Value::Text(filled, Form::Derived),
        }
    }
}

fn foreign(name: &str, span: Range<usize>) -> Diagnostic {
    let message = format!("a workspace's file may not name the variable {}", quote(name));
    let names = NAMEABLE.join(", ");
    Diagnostic::new(codes::FOREIGN_VARIABLE, span, message, "not one that files may name").help(format!(
        "a file that others can commit to may name BASTION_… and {names}; set one of those to what is meant, or use it in your own configuration"
    ))
}

fn missing(name: &str, span: Range<usize>) -> Diagnostic {
    let message = format!("the variable {} is not set", quote(name));
    Diagnostic::new(codes::UNSET_VARIABLE, span, message, "has no value, and no default here")
        .help(format!("set it, or give a default: `${{{name}:-…}}`"))
}

#[cfg(test)]
mod tests;
