//! Reading tables key by key: what is there, of which type, and what should not be there at all.

use std::collections::BTreeSet;
use std::ops::Range;

use toml::Spanned;

use super::codes;
use super::diagnostic::{Diagnostic, quote};
use super::document::{Form, Map, Member, Node, Value};
use super::keys::{ALL, Keys, STAND_INS, USER_ONLY};
use super::suggest::{ENOUGH, nearest};

/// A string and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Text {
    pub(super) value: String,
    /// With its quotes, unless it is a part of a longer string.
    pub(super) span: Range<usize>,
    form: Form,
}

impl Text {
    /// Where a part of the value stands; the whole string where that cannot be told.
    pub(super) fn part(&self, part: Range<usize>) -> Range<usize> {
        let start = match self.form {
            Form::Literal => self.span.start + 1,
            Form::Piece => self.span.start,
            Form::Escaped | Form::Derived | Form::Variable => return self.span.clone(),
        };
        start + part.start..start + part.end
    }

    /// Whether a correction of the whole value may be put in its place, and then whether it needs quotes.
    pub(super) fn replaceable(&self) -> Option<bool> {
        match self.form {
            Form::Literal | Form::Escaped => Some(true),
            Form::Piece => Some(false),
            Form::Derived | Form::Variable => None,
        }
    }
}

/// A value without parts.
#[derive(Clone, Debug)]
pub(super) enum Scalar {
    Text(Text),
    Number(Spanned<i64>),
    Flag(Spanned<bool>),
}

/// A key that is there. Its value is absent when it was refused already.
#[derive(Clone, Debug)]
pub(super) struct Field<T> {
    pub(super) key: Range<usize>,
    pub(super) value: Option<T>,
}

/// A table's entry under a name that the file chose.
#[derive(Clone, Debug)]
pub(super) struct Entry<T> {
    pub(super) name: String,
    pub(super) key: Range<usize>,
    pub(super) value: T,
}

/// What a key takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Takes {
    /// In words, with an article.
    pub(super) words: &'static str,
    pub(super) text: bool,
    pub(super) number: bool,
    pub(super) flag: bool,
    /// What is missing to make a bare number the text that is meant: the `s` of "20s".
    pub(super) unit: &'static str,
}

impl Takes {
    pub(super) const fn text(words: &'static str) -> Self {
        Self { words, text: true, number: false, flag: false, unit: "" }
    }

    pub(super) const fn number(words: &'static str) -> Self {
        Self { words, text: false, number: true, flag: false, unit: "" }
    }

    pub(super) const fn or_text(self) -> Self {
        Self { text: true, ..self }
    }

    pub(super) const DURATION: Self = Self { unit: "s", ..Self::text("a duration such as \"20s\"") };
}

/// A table whose keys have been checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table<'a> {
    items: &'a Map,
    /// Whether a key was refused that may stand for another one: then the absence of that one proves nothing.
    pub(super) spoilt: bool,
}

impl Table<'_> {
    /// Where a key stands, if it is there.
    pub(super) fn key(&self, key: &str) -> Option<Range<usize>> {
        self.items.get(key).map(|member| member.key.clone())
    }
}

/// The mistakes found so far, and what was learned on the way.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) found: Vec<Diagnostic>,
    /// Where strings begin that a variable made a number or a boolean.
    pub(super) filled: BTreeSet<usize>,
}

impl Reader {
    /// Checks the keys of a table: each must be one that is known.
    pub(super) fn table<'a>(&mut self, items: &'a Map, keys: &Keys) -> Table<'a> {
        let mut spoilt = false;
        for (name, member) in items.in_order() {
            if keys.get(name).is_none() {
                let explain = if self.found.len() < ENOUGH { Explain::Fully } else { Explain::Briefly };
                spoilt |= !keys.later.contains(&name) || STAND_INS.contains(&name);
                self.found.push(refuse_key(name, member.key.clone(), keys, explain));
            }
        }
        Table { items, spoilt }
    }

    /// The table under a key, with its keys checked.
    pub(super) fn sub<'a>(&mut self, table: &Table<'a>, key: &str, keys: &Keys) -> Option<Table<'a>> {
        let items = self.expect_table(key, &table.items.get(key)?.value)?;
        Some(self.table(items, keys))
    }

    /// The entries of a table whose keys are names, in file order.
    pub(super) fn entries<'a>(&mut self, table: &Table<'a>, key: &str) -> Vec<Entry<&'a Node>> {
        let Some(member) = table.items.get(key) else { return Vec::new() };
        self.expect_table(key, &member.value).map(Self::named).unwrap_or_default()
    }

    /// A table's keys as names, in file order.
    pub(super) fn named<'a>(items: &'a Map) -> Vec<Entry<&'a Node>> {
        let entry = |(name, member): (&str, &'a Member)| Entry {
            name: name.to_owned(),
            key: member.key.clone(),
            value: &member.value,
        };
        items.in_order().into_iter().map(entry).collect()
    }

    /// The tables of an array of tables.
    pub(super) fn tables<'a>(&mut self, table: &Table<'a>, key: &str) -> Vec<(Range<usize>, &'a Map)> {
        let Some(Member { value, .. }) = table.items.get(key) else { return Vec::new() };
        let Some(items) = value.as_array() else {
            let before = self.found.len();
            self.wrong_type(key, value, "an array of tables", None);
            for found in self.found.drain(before..).collect::<Vec<_>>() {
                let shape = "each one begins with a line in double brackets: `[[emulator.faults]]`";
                self.found.push(found.help(shape));
            }
            return Vec::new();
        };
        items.iter().filter_map(|item| Some((item.span.clone(), self.expect_table(key, item)?))).collect()
    }

    /// The table that a value must be.
    pub(super) fn expect_table<'a>(&mut self, key: &str, value: &'a Node) -> Option<&'a Map> {
        let table = value.as_table();
        if table.is_none() {
            self.wrong_type(key, value, "a table", None);
        }
        table
    }

    /// The strings of an array; what is none is refused and left out.
    pub(super) fn texts(&mut self, table: &Table<'_>, key: &str, words: &'static str) -> Vec<Text> {
        let Some(Member { value, .. }) = table.items.get(key) else { return Vec::new() };
        let Some(items) = value.as_array() else {
            let simple = value.as_str().filter(|text| !text.contains(['"', '\\', '\n']));
            self.wrong_type(key, value, words, simple.map(|text| format!("[\"{text}\"]")));
            return Vec::new();
        };
        items.iter().filter_map(|item| self.string(key, item, Takes::text("names as strings"))).collect()
    }

    /// A value that must be a string.
    pub(super) fn string(&mut self, key: &str, value: &Node, takes: Takes) -> Option<Text> {
        match self.value(key, value, takes) {
            Some(Scalar::Text(text)) => Some(text),
            Some(Scalar::Number(_) | Scalar::Flag(_)) | None => None,
        }
    }

    /// The string under a key.
    pub(super) fn text(&mut self, table: &Table<'_>, key: &str, takes: Takes) -> Option<Field<Text>> {
        let field = self.scalar(table, key, takes)?;
        let value = match field.value {
            Some(Scalar::Text(text)) => Some(text),
            Some(Scalar::Number(_) | Scalar::Flag(_)) | None => None,
        };
        Some(Field { key: field.key, value })
    }

    /// The whole number under a key.
    pub(super) fn number(
        &mut self,
        table: &Table<'_>,
        key: &str,
        words: &'static str,
    ) -> Option<Field<Spanned<i64>>> {
        let field = self.scalar(table, key, Takes::number(words))?;
        let value = match field.value {
            Some(Scalar::Number(number)) => Some(number),
            Some(Scalar::Text(_) | Scalar::Flag(_)) | None => None,
        };
        Some(Field { key: field.key, value })
    }

    /// The boolean under a key.
    pub(super) fn flag(&mut self, table: &Table<'_>, key: &str) -> Option<Field<Spanned<bool>>> {
        let takes = Takes { text: false, flag: true, ..Takes::text("true or false") };
        let field = self.scalar(table, key, takes)?;
        let value = match field.value {
            Some(Scalar::Flag(flag)) => Some(flag),
            Some(Scalar::Text(_) | Scalar::Number(_)) | None => None,
        };
        Some(Field { key: field.key, value })
    }

    /// The value without parts under a key.
    pub(super) fn scalar(&mut self, table: &Table<'_>, key: &str, takes: Takes) -> Option<Field<Scalar>> {
        let Member { key: span, value, .. } = table.items.get(key)?;
        Some(Field { key: span.clone(), value: self.value(key, value, takes) })
    }

    /// A value without parts, of a type that the key takes.
    pub(super) fn value(&mut self, key: &str, value: &Node, takes: Takes) -> Option<Scalar> {
        let span = value.span.clone();
        match &value.value {
            Value::Text(text, Form::Variable) if takes.number && text.parse::<i64>().is_ok() => {
                let number = text.parse().unwrap_or_default();
                self.filled.insert(span.start);
                return Some(Scalar::Number(Spanned::new(span, number)));
            }
            Value::Text(text, Form::Variable) if takes.flag && matches!(text.as_str(), "true" | "false") => {
                self.filled.insert(span.start);
                return Some(Scalar::Flag(Spanned::new(span, text == "true")));
            }
            Value::Text(text, form) if takes.text => {
                return Some(Scalar::Text(Text { value: text.clone(), span, form: *form }));
            }
            Value::Refused(_) => return None,
            Value::Number { digits, radix } if takes.number => {
                let parsed = i64::from_str_radix(digits, *radix).ok();
                if parsed.is_none() {
                    let message = format!("`{key}` is a number beyond all limits");
                    let label = format!("expected {}", takes.words);
                    self.found.push(Diagnostic::new(codes::INVALID_VALUE, span.clone(), message, label));
                }
                return parsed.map(|number| Scalar::Number(Spanned::new(span, number)));
            }
            Value::Flag(flag) if takes.flag => return Some(Scalar::Flag(Spanned::new(span, *flag))),
            Value::Text(..)
            | Value::Number { .. }
            | Value::Float(_)
            | Value::Flag(_)
            | Value::Date(_)
            | Value::Array(_)
            | Value::Table(_) => {}
        }
        let fix = match &value.value {
            Value::Number { digits, radix: 10 } if takes.text && !takes.flag => {
                Some(format!("\"{digits}{}\"", takes.unit))
            }
            Value::Text(text, Form::Literal) if takes.number && text.parse::<i64>().is_ok() => {
                Some(text.clone())
            }
            Value::Text(text, Form::Literal) if takes.flag && matches!(text.as_str(), "true" | "false") => {
                Some(text.clone())
            }
            Value::Text(..)
            | Value::Number { .. }
            | Value::Float(_)
            | Value::Flag(_)
            | Value::Date(_)
            | Value::Array(_)
            | Value::Table(_)
            | Value::Refused(_) => None,
        };
        self.wrong_type(key, value, takes.words, fix);
        None
    }

    pub(super) fn wrong_type(&mut self, key: &str, value: &Node, expected: &str, fix: Option<String>) {
        if matches!(value.value, Value::Refused(_)) {
            return;
        }
        let kind = value.kind();
        let message = format!("{} takes {expected}, not {kind}", quote(key));
        let label = match value.as_str().filter(|_| !value.variables.is_empty()) {
            Some(text) => format!("becomes {}", quote(text)),
            None => format!("this is {kind}"),
        };
        let found = Diagnostic::new(codes::WRONG_TYPE, value.span.clone(), message, label);
        self.found.push(match fix {
            Some(fix) => found.fix("write it as", value.span.clone(), fix),
            None => found,
        });
    }
}

/// Whether the key that was probably meant is sought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Explain {
    Fully,
    Briefly,
}

/// Says why a key may not stand in a table.
fn refuse_key(name: &str, span: Range<usize>, keys: &Keys, explain: Explain) -> Diagnostic {
    if USER_ONLY.contains(&name) {
        return Diagnostic::new(
            codes::USER_CONFIG_ONLY,
            span,
            format!("`{name}` may not stand in a workspace's file"),
            "belongs in your own configuration",
        )
        .help("put it into `~/.config/bastion/config.toml`: it decides where tokens go or who may use your tunnels, and a file that others can commit to must not");
    }
    if keys.later.contains(&name) {
        let message = format!("`{name}` is not supported yet");
        return Diagnostic::new(codes::NOT_SUPPORTED_YET, span, message, "this version cannot do it")
            .help("take it out for now; a key is refused rather than ignored");
    }
    let found = Diagnostic::new(
        codes::UNKNOWN_KEY,
        span.clone(),
        format!("unknown key {} {}", quote(name), place(keys)),
        "not a key of this table",
    );
    if explain == Explain::Briefly {
        return found;
    }
    let all = || keys.names().chain(keys.later.iter().copied());
    if let Some(near) = nearest(name, all()) {
        return found.fix(format!("did you mean `{near}`?"), span, near);
    }
    let home = ALL.iter().find(|other| other.get(name).is_some() || other.later.contains(&name));
    match home {
        Some(home) if home.place == "the top of the file" => {
            found.help(format!("`{name}` belongs at {}, before the first `[table]`", home.place))
        }
        Some(home) => found.help(format!("`{name}` belongs {}", place(home))),
        None => found.help(format!("keys here: {}", keys.names().collect::<Vec<_>>().join(", "))),
    }
}

fn place(keys: &Keys) -> String {
    if keys.place.starts_with("the ") { format!("at {}", keys.place) } else { format!("in `{}`", keys.place) }
}
