//! Reading tables key by key: what is there, of which type, and what should not be there at all.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::codes;
use super::diagnostic::{Diagnostic, quote};
use super::keys::{ALL, Keys, STAND_INS, USER_ONLY};
use super::suggest::{ENOUGH, nearest};

/// A string and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Text {
    pub(super) value: String,
    /// With its quotes.
    pub(super) span: Range<usize>,
    /// Whether the bytes between the quotes are the value, so that a part of it can be pointed at.
    plain: bool,
}

impl Text {
    /// Where a part of the value stands; the whole string where that cannot be told.
    pub(super) fn part(&self, part: Range<usize>) -> Range<usize> {
        let start = self.span.start + 1;
        if self.plain { start + part.start..start + part.end } else { self.span.clone() }
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
    items: &'a DeTable<'a>,
    /// Whether a key was refused that may stand for another one: then the absence of that one proves nothing.
    pub(super) spoilt: bool,
}

impl Table<'_> {
    /// Where a key stands, if it is there.
    pub(super) fn key(&self, key: &str) -> Option<Range<usize>> {
        self.items.get_key_value(key).map(|(name, _)| name.span())
    }
}

/// The text, and the mistakes found in it so far.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    pub(super) text: &'a str,
    pub(super) found: Vec<Diagnostic>,
}

impl<'a> Reader<'a> {
    /// Checks the keys of a table: each must be one that is known.
    pub(super) fn table(&mut self, items: &'a DeTable<'a>, keys: &Keys) -> Table<'a> {
        let mut spoilt = false;
        for (key, _) in items {
            let name: &str = key.get_ref();
            if keys.get(name).is_none() {
                let explain = if self.found.len() < ENOUGH { Explain::Fully } else { Explain::Briefly };
                spoilt |= !keys.later.contains(&name) || STAND_INS.contains(&name);
                self.found.push(refuse_key(name, key.span(), keys, explain));
            }
        }
        Table { items, spoilt }
    }

    /// The table under a key, with its keys checked.
    pub(super) fn sub(&mut self, table: &Table<'a>, key: &str, keys: &Keys) -> Option<Table<'a>> {
        let (_, value) = table.items.get_key_value(key)?;
        let items = self.expect_table(key, value)?;
        Some(self.table(items, keys))
    }

    /// The entries of a table whose keys are names, in file order.
    pub(super) fn entries(&mut self, table: &Table<'a>, key: &str) -> Vec<Entry<&'a Spanned<DeValue<'a>>>> {
        let Some((_, value)) = table.items.get_key_value(key) else { return Vec::new() };
        self.expect_table(key, value).map(Self::named).unwrap_or_default()
    }

    /// A table's keys as names, in file order.
    pub(super) fn named(items: &'a DeTable<'a>) -> Vec<Entry<&'a Spanned<DeValue<'a>>>> {
        let entry = |(key, value): (&Spanned<_>, _)| {
            let name: &std::borrow::Cow<'_, str> = key.get_ref();
            Entry { name: name.clone().into_owned(), key: key.span(), value }
        };
        items.iter().map(entry).collect()
    }

    /// The tables of an array of tables.
    pub(super) fn tables(&mut self, table: &Table<'a>, key: &str) -> Vec<(Range<usize>, &'a DeTable<'a>)> {
        let Some((_, value)) = table.items.get_key_value(key) else { return Vec::new() };
        let Some(items) = value.get_ref().as_array() else {
            self.wrong_type(key, value, "an array of tables", None);
            if let Some(found) = self.found.pop() {
                self.found.push(
                    found.help("each one begins with a line in double brackets: `[[emulator.faults]]`"),
                );
            }
            return Vec::new();
        };
        items.iter().filter_map(|item| Some((item.span(), self.expect_table(key, item)?))).collect()
    }

    /// The table that a value must be.
    pub(super) fn expect_table(
        &mut self,
        key: &str,
        value: &'a Spanned<DeValue<'a>>,
    ) -> Option<&'a DeTable<'a>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.wrong_type(key, value, "a table", None);
        }
        table
    }

    /// The strings of an array; what is none is refused and left out.
    pub(super) fn texts(&mut self, table: &Table<'a>, key: &str, words: &'static str) -> Vec<Text> {
        let Some((_, value)) = table.items.get_key_value(key) else { return Vec::new() };
        let Some(items) = value.get_ref().as_array() else {
            let simple = value.get_ref().as_str().filter(|text| !text.contains(['"', '\\', '\n']));
            self.wrong_type(key, value, words, simple.map(|text| format!("[\"{text}\"]")));
            return Vec::new();
        };
        items.iter().filter_map(|item| self.string(key, item, Takes::text("names as strings"))).collect()
    }

    /// A value that must be a string.
    pub(super) fn string(&mut self, key: &str, value: &Spanned<DeValue<'_>>, takes: Takes) -> Option<Text> {
        match self.value(key, value, takes) {
            Some(Scalar::Text(text)) => Some(text),
            Some(Scalar::Number(_) | Scalar::Flag(_)) | None => None,
        }
    }

    /// The string under a key.
    pub(super) fn text(&mut self, table: &Table<'a>, key: &str, takes: Takes) -> Option<Field<Text>> {
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
        table: &Table<'a>,
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
    pub(super) fn flag(&mut self, table: &Table<'a>, key: &str) -> Option<Field<Spanned<bool>>> {
        let takes = Takes { text: false, flag: true, ..Takes::text("true or false") };
        let field = self.scalar(table, key, takes)?;
        let value = match field.value {
            Some(Scalar::Flag(flag)) => Some(flag),
            Some(Scalar::Text(_) | Scalar::Number(_)) | None => None,
        };
        Some(Field { key: field.key, value })
    }

    /// The value without parts under a key.
    pub(super) fn scalar(&mut self, table: &Table<'a>, key: &str, takes: Takes) -> Option<Field<Scalar>> {
        let (name, value) = table.items.get_key_value(key)?;
        Some(Field { key: name.span(), value: self.value(key, value, takes) })
    }

    /// A value without parts, of a type that the key takes.
    pub(super) fn value(&mut self, key: &str, value: &Spanned<DeValue<'_>>, takes: Takes) -> Option<Scalar> {
        let span = value.span();
        let value_ref = value.get_ref();
        if let (true, Some(text)) = (takes.text, value_ref.as_str()) {
            return self.interpolated(text, span).map(Scalar::Text);
        }
        if let (true, Some(number)) = (takes.number, value_ref.as_integer()) {
            let parsed = i64::from_str_radix(number.as_str(), number.radix()).ok();
            if parsed.is_none() {
                let message = format!("`{key}` is a number beyond all limits");
                let label = format!("expected {}", takes.words);
                self.found.push(Diagnostic::new(codes::INVALID_VALUE, span.clone(), message, label));
            }
            return parsed.map(|number| Scalar::Number(Spanned::new(span, number)));
        }
        if let (true, Some(flag)) = (takes.flag, value_ref.as_bool()) {
            return Some(Scalar::Flag(Spanned::new(span, flag)));
        }
        let fix = match (value_ref.as_integer(), value_ref.as_str()) {
            (Some(number), _) if takes.text && !takes.flag && number.radix() == 10 => {
                Some(format!("\"{}{}\"", number.as_str(), takes.unit))
            }
            (_, Some(text)) if takes.number && text.parse::<i64>().is_ok() => Some(text.to_owned()),
            (_, Some(text)) if takes.flag && matches!(text, "true" | "false") => Some(text.to_owned()),
            _ => None,
        };
        self.wrong_type(key, value, takes.words, fix);
        None
    }

    /// A string, unless it holds a `${…}` that a later version would replace.
    fn interpolated(&mut self, text: &str, span: Range<usize>) -> Option<Text> {
        let written = self.text.get(span.start + 1..span.end.saturating_sub(1));
        let text = Text { value: text.to_owned(), span, plain: written == Some(text) };
        let Some(at) = text.value.find("${") else { return Some(text) };
        let end =
            text.value.get(at..).and_then(|rest| rest.find('}')).map_or(text.value.len(), |len| at + len + 1);
        let message = "`${…}` in a value is not supported yet";
        let found =
            Diagnostic::new(codes::NOT_SUPPORTED_YET, text.part(at..end), message, "would not be replaced");
        self.found.push(found.help("write the value itself for now"));
        None
    }

    pub(super) fn wrong_type(
        &mut self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        expected: &str,
        fix: Option<String>,
    ) {
        let kind = match value.get_ref().type_str() {
            "integer" => "a number",
            "float" => "a number with a fraction",
            "string" => "a string",
            "boolean" => "a boolean",
            "array" => "an array",
            "table" => "a table",
            _ => "a date or time",
        };
        let message = format!("{} takes {expected}, not {kind}", quote(key));
        let found = Diagnostic::new(codes::WRONG_TYPE, value.span(), message, format!("this is {kind}"));
        self.found.push(match fix {
            Some(fix) => found.fix("write it as", value.span(), fix),
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
    if keys.place.starts_with('[') { format!("in `{}`", keys.place) } else { format!("at {}", keys.place) }
}
