//! Where each value came from: the merged layers, key by key, for a person who asks why.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use super::document::{Map, Node, Value as Held};
use super::hide;
use super::layers::{Layers, Lines};
use crate::model::{printable, safe_char};

/// A value as it holds in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// Its key from the top: `tunnels.db.listen`.
    pub key: String,
    /// What it is, in TOML, variables replaced. Safe to show.
    pub text: String,
    /// Where it comes from.
    pub origin: Origin,
    /// Where in the files it stands, as a diagnostic's label would have it.
    pub place: Option<Range<usize>>,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A line of a file.
    File {
        /// The path, as it is shown to a person.
        path: String,
        /// The line, counted from 1.
        line: usize,
        /// The variables that it was made with.
        variables: Vec<String>,
    },
    /// No file says it, and az's current subscription does.
    Az,
    /// No file says it.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Az => f.write_str("az's current subscription"),
            Self::File { path, line, variables } => {
                write!(f, "{path}:{line}")?;
                match variables.as_slice() {
                    [] => Ok(()),
                    names => write!(f, " with {}", names.join(", ")),
                }
            }
        }
    }
}

/// All values of the merged layers, in the order of their lines. `filled`: where strings begin that a variable made a
/// number or a boolean.
pub(super) fn values(merged: &Map, layers: &Layers<'_>, filled: &BTreeSet<usize>) -> Vec<Value> {
    let mut walk = Walk { lines: Lines::new(layers.clone()), layers, filled, values: Vec::new() };
    walk.table("", merged);
    walk.values
}

/// A text that az's current subscription is the reason of; its key part by part.
pub(super) fn by_az(key: &[String], text: &str) -> Value {
    let mut whole = String::new();
    for part in key {
        if !whole.is_empty() {
            whole.push('.');
        }
        write_key(&mut whole, part);
    }
    let mut shown = String::new();
    write_string(&mut shown, text);
    Value { key: whole, text: shown, origin: Origin::Az, place: None }
}

struct Walk<'a> {
    lines: Lines<'a>,
    layers: &'a Layers<'a>,
    filled: &'a BTreeSet<usize>,
    values: Vec<Value>,
}

impl Walk<'_> {
    fn table(&mut self, place: &str, table: &Map) {
        for (name, member) in table.in_order() {
            let mut key = place.to_owned();
            if !key.is_empty() {
                key.push('.');
            }
            write_key(&mut key, name);
            match member.value.as_table().filter(|table| !table.is_empty()) {
                Some(table) => self.table(&key, table),
                None => self.value(key, &member.value),
            }
        }
    }

    fn value(&mut self, key: String, node: &Node) {
        // What was refused is in the diagnostics.
        if matches!(node.value, Held::Refused(_)) {
            return;
        }
        let mut text = String::new();
        write_value(&mut text, node, self.filled);
        if key.starts_with("network.") || key.starts_with("clouds.") {
            text = hide::credentials(&text);
        }
        let (index, line) = self.lines.line(node.span.start);
        let path = self.layers.get(index).map_or("", |(layer, _)| layer.path);
        let mut variables = Vec::new();
        gather(node, &mut variables);
        let origin = Origin::File { path: printable(path, usize::MAX), line: line + 1, variables };
        self.values.push(Value { key, text, origin, place: Some(node.span.clone()) });
    }
}

fn gather(node: &Node, names: &mut Vec<String>) {
    for name in &node.variables {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    for item in node.as_array().unwrap_or_default() {
        gather(item, names);
    }
    for (_, member) in node.as_table().map(Map::in_order).unwrap_or_default() {
        gather(&member.value, names);
    }
}

fn write_value(out: &mut String, node: &Node, filled: &BTreeSet<usize>) {
    match &node.value {
        Held::Text(text, _) if filled.contains(&node.span.start) => out.push_str(text),
        Held::Text(text, _) => write_string(out, text),
        Held::Number { digits, radix } => {
            out.push_str(match radix {
                2 => "0b",
                8 => "0o",
                16 => "0x",
                _ => "",
            });
            out.push_str(digits);
        }
        Held::Float(text) | Held::Date(text) => out.push_str(text),
        Held::Flag(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Held::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { ", " });
                write_value(out, item, filled);
            }
            out.push(']');
        }
        Held::Table(table) => {
            out.push('{');
            for (index, (name, member)) in table.in_order().into_iter().enumerate() {
                out.push_str(if index == 0 { " " } else { ", " });
                write_key(out, name);
                out.push_str(" = ");
                write_value(out, &member.value, filled);
            }
            out.push_str(if table.is_empty() { "}" } else { " }" });
        }
        Held::Refused(_) => {}
    }
}

fn write_key(out: &mut String, name: &str) {
    let bare = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if !name.is_empty() && name.bytes().all(bare) {
        out.push_str(name);
    } else {
        write_string(out, name);
    }
}

/// A basic string of TOML, in which no character steers a terminal.
fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            _ if safe_char(c) == c => out.push(c),
            _ => out.push_str(&match u32::from(c) {
                short @ 0..=0xffff => format!("\\u{short:04X}"),
                long => format!("\\U{long:08X}"),
            }),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests;
