//! What a layer holds, as a tree of our own: every key and value with its place, whatever layer it came from.
//!
//! Places are byte ranges in one virtual text, in which the layers stand end to end; so a range names file and place at
//! once ([`Layers`](super::layers::Layers) tells them apart). Nothing is checked here and nothing is lost: a value of
//! the wrong type stays what it is until a key is read that takes something else.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::Diagnostic;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) span: Range<usize>,
    pub(super) value: Value,
    /// The variables that it was made with.
    pub(super) variables: Vec<String>,
}

/// A value.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String, Form),
    Number {
        digits: String,
        radix: u32,
    },
    Float(String),
    Flag(bool),
    Date(String),
    Array(Vec<Node>),
    Table(Map),
    /// Not known, for these reasons; or, when there are none, for reasons that were reported already.
    Refused(Vec<Diagnostic>),
}

/// How the bytes of its place hold a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// In quotes, and what is between them is the value.
    Literal,
    /// In quotes, with escapes, or in quotes of another kind.
    Escaped,
    /// The bytes are the value: it is a part of a longer string.
    Piece,
    /// The bytes only lead to the value: variables, or a part whose place is not known.
    Derived,
    /// The same, and nothing stands between the quotes but one variable: it may be a number or a boolean.
    Variable,
}

/// A table: its keys in the order of the file.
#[derive(Clone, Debug, Default)]
pub(super) struct Map {
    members: BTreeMap<String, Member>,
}

/// A key of a table with its value.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// Where the key stands.
    pub(super) key: Range<usize>,
    pub(super) value: Node,
    /// Its place among the keys: where it stood first.
    pub(super) order: usize,
}

impl Member {
    pub(super) fn new(key: Range<usize>, value: Node) -> Self {
        Self { order: key.start, key, value }
    }
}

impl Map {
    /// A key's place and value.
    pub(super) fn get(&self, key: &str) -> Option<&Member> {
        self.members.get(key)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Member> {
        self.members.get_mut(key)
    }

    pub(super) fn insert(&mut self, key: &str, member: Member) {
        self.members.insert(key.to_owned(), member);
    }

    pub(super) fn remove(&mut self, key: &str) -> Option<Member> {
        self.members.remove(key)
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Node> {
        self.members.values_mut().map(|member| &mut member.value)
    }

    /// Its keys and values, in no order that means anything.
    pub(super) fn into_members(self) -> impl Iterator<Item = (String, Member)> {
        self.members.into_iter()
    }

    /// All keys, in the order in which they stand; those of later layers follow.
    pub(super) fn in_order(&self) -> Vec<(&str, &Member)> {
        let mut all: Vec<_> = self.members.iter().map(|(key, member)| (key.as_str(), member)).collect();
        all.sort_by_key(|(_, member)| member.order);
        all
    }
}

impl Node {
    pub(super) fn new(span: Range<usize>, value: Value) -> Self {
        Self { span, value, variables: Vec::new() }
    }

    pub(super) fn as_table(&self) -> Option<&Map> {
        if let Value::Table(table) = &self.value { Some(table) } else { None }
    }

    pub(super) fn as_array(&self) -> Option<&[Self]> {
        if let Value::Array(items) = &self.value { Some(items) } else { None }
    }

    pub(super) fn as_str(&self) -> Option<&str> {
        if let Value::Text(text, _) = &self.value { Some(text) } else { None }
    }

    /// What it is, in words, with an article.
    pub(super) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Text(..) => "a string",
            Value::Number { .. } => "a number",
            Value::Float(_) => "a number with a fraction",
            Value::Flag(_) => "a boolean",
            Value::Date(_) => "a date or time",
            Value::Array(_) => "an array",
            Value::Table(_) => "a table",
            Value::Refused(_) => "unknown",
        }
    }
}

/// Takes a parsed text over; `base` is where it begins in the virtual text.
pub(super) fn adopt(table: &DeTable<'_>, text: &str, base: usize) -> Map {
    let members = table.iter().map(|(key, value)| {
        let name = key.get_ref().clone().into_owned();
        (name, Member::new(shifted(key.span(), base), node(value, text, base)))
    });
    Map { members: members.collect() }
}

fn node(value: &Spanned<DeValue<'_>>, text: &str, base: usize) -> Node {
    let span = value.span();
    let adopted = match value.get_ref() {
        // Nothing stands there: the parser has put something in the place of what it could not read, and said so.
        DeValue::String(_) | DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_)
            if span.is_empty() =>
        {
            Value::Refused(Vec::new())
        }
        DeValue::String(string) => {
            let written = text.get(span.start + 1..span.end.saturating_sub(1));
            let form = if written == Some(string.as_ref()) { Form::Literal } else { Form::Escaped };
            Value::Text(string.clone().into_owned(), form)
        }
        DeValue::Integer(number) => {
            Value::Number { digits: number.as_str().to_owned(), radix: number.radix() }
        }
        DeValue::Float(number) => Value::Float(number.as_str().to_owned()),
        DeValue::Boolean(flag) => Value::Flag(*flag),
        DeValue::Datetime(date) => Value::Date(date.to_string()),
        DeValue::Array(items) => Value::Array(items.iter().map(|item| node(item, text, base)).collect()),
        DeValue::Table(table) => Value::Table(adopt(table, text, base)),
    };
    Node::new(shifted(span, base), adopted)
}

fn shifted(span: Range<usize>, base: usize) -> Range<usize> {
    span.start + base..span.end + base
}
