//! The layers of a workspace, and the virtual text in which they stand end to end.

use std::ops::Range;

use toml::de::DeTable;

use super::diagnostic::{Diagnostic, quote};
use super::document::{Map, adopt};
use super::{MAX_BYTES, MAX_DIAGNOSTICS, codes};

/// What a layer is, in the order in which they win: the last one does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LayerKind {
    /// The user's own configuration, for all workspaces.
    User,
    /// `bastion.toml`.
    Workspace,
    /// `bastion.ENV.toml`.
    Environment,
    /// `bastion.local.toml`: personal, not committed.
    Local,
    /// What was said on a command line.
    Flags,
}

/// A file, as its reader found it.
#[derive(Clone, Copy, Debug)]
pub struct Layer<'a> {
    /// What it is to the workspace.
    pub kind: LayerKind,
    /// The path as it is to be shown to a person.
    pub path: &'a str,
    /// What the file holds.
    pub text: &'a str,
}

/// Which place of the virtual text stands where in which layer.
#[derive(Clone, Debug)]
pub(super) struct Layers<'a> {
    layers: &'a [Layer<'a>],
    /// Where each one begins.
    bases: Vec<usize>,
}

impl<'a> Layers<'a> {
    pub(super) fn new(layers: &'a [Layer<'a>]) -> Self {
        let mut base = 0;
        let bases = layers.iter().map(|layer| {
            let own = base;
            // One byte lies between: the end of a layer is not the beginning of the next.
            base += layer.text.len() + 1;
            own
        });
        Self { layers, bases: bases.collect() }
    }

    /// The layers with the places where they begin.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'a Layer<'a>, usize)> {
        self.layers.iter().zip(self.bases.iter().copied())
    }

    /// Which layer a place is in; the first one where there are none.
    pub(super) fn index(&self, at: usize) -> usize {
        self.bases.partition_point(|base| *base <= at).saturating_sub(1)
    }

    /// A layer by its index, with the place where it begins.
    pub(super) fn get(&self, index: usize) -> Option<(&'a Layer<'a>, usize)> {
        Some((self.layers.get(index)?, *self.bases.get(index)?))
    }
}

/// Counts lines: where each layer's lines end.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    layers: Layers<'a>,
    ends: Vec<Vec<usize>>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(layers: Layers<'a>) -> Self {
        let ends = |(layer, base): (&Layer<'_>, usize)| {
            layer.text.match_indices('\n').map(|(at, _)| base + at).collect()
        };
        let ends = layers.iter().map(ends).collect();
        Self { layers, ends }
    }

    /// The layer's index, and the line, counted from 0.
    pub(super) fn line(&self, at: usize) -> (usize, usize) {
        let index = self.layers.index(at);
        let ends = self.ends.get(index).map_or(&[][..], Vec::as_slice);
        (index, ends.partition_point(|end| *end < at))
    }
}

/// What a layer holds, as far as it could be read, and whether that is all of it.
pub(super) fn parse(layer: &Layer<'_>, index: usize, base: usize, found: &mut Vec<Diagnostic>) -> Parsed {
    let size = layer.text.len();
    if size > MAX_BYTES {
        let message = format!("the file has {size} bytes; at most {MAX_BYTES} (1 MiB) are read");
        found.push(Diagnostic::without_place(codes::TOO_LARGE, message).of(index));
        return Parsed { document: None, whole: false };
    }
    let (document, errors) = DeTable::parse_recoverable(layer.text);
    // More than are ever shown would only cost time: each line of a binary file is a mistake or three.
    let errors_shown = errors.iter().take(MAX_DIAGNOSTICS + 1);
    found.extend(errors_shown.map(|error| syntax(layer.text, base, error)));
    let document = adopt(document.get_ref(), layer.text, base);
    Parsed { document: Some(document), whole: errors.is_empty() }
}

/// What came of a layer's text.
#[derive(Debug)]
pub(super) struct Parsed {
    /// Absent when nothing was read.
    pub(super) document: Option<Map>,
    /// Whether all of it was TOML.
    pub(super) whole: bool,
}

/// Where the same key, or the same header of a table, stands before. The parser does not say; it is looked for line by
/// line, so that one in a table on a single line is not found.
fn first_use(text: &str, second: Range<usize>) -> Option<Range<usize>> {
    let key = text.get(second.clone()).filter(|key| !key.is_empty())?;
    let line_start = text.get(..second.start)?.rfind('\n').map_or(0, |at| at + 1);
    let is_header = text.get(line_start..)?.trim_start().starts_with('[');
    let mut found = None;
    let mut at = 0;
    for line in text.get(..line_start)?.split_inclusive('\n') {
        let begin = at + (line.len() - line.trim_start().len());
        at += line.len();
        let line = line.trim();
        if is_header {
            let whole = text.get(line_start..)?.lines().next().unwrap_or_default().trim();
            if line == whole {
                return Some(begin..begin + line.len());
            }
        } else if line.starts_with('[') {
            // Another table begins: what stood before is not this one's.
            found = None;
        } else if found.is_none()
            && let Some(rest) = line.strip_prefix(key)
            && rest.trim_start().starts_with(['=', '.'])
        {
            found = Some(begin..begin + key.len());
        }
    }
    found
}

/// Whether nothing stands from there to the end of the line.
fn at_end_of_line(text: &str, at: usize) -> bool {
    text.get(at..).is_none_or(|rest| rest.is_empty() || rest.starts_with(['\n', '\r']))
}

fn syntax(text: &str, base: usize, error: &toml::de::Error) -> Diagnostic {
    let span = error.span().unwrap_or(text.len()..text.len());
    let floor = |at: usize| (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let start = floor(span.start);
    let local = start..floor(span.end).max(start);
    let written = text.get(local.clone());
    let span = base + local.start..base + local.end;
    let message = error.message();
    // The parser's words are for those who know its grammar; these three mistakes are everybody's.
    if message.starts_with("string values must be quoted") && at_end_of_line(text, local.start) {
        return Diagnostic::new(codes::SYNTAX, span, "a value is missing", "nothing stands here");
    }
    if message.starts_with("string values must be quoted") {
        let found =
            Diagnostic::new(codes::SYNTAX, span.clone(), "a string must stand in quotes", "not in quotes");
        let word = written.unwrap_or_default();
        let simple =
            !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./:".contains(&b));
        return if simple { found.fix("write it as", span, format!("\"{word}\"")) } else { found };
    }
    if message == "duplicate key" {
        let key = written.map(quote).unwrap_or_default();
        let message = format!("the key {key} is already in this table");
        let second = Diagnostic::new(codes::SYNTAX, span, message, "second use").help("keep one of the two");
        return match first_use(text, local) {
            Some(first) => second.also(base + first.start..base + first.end, "first use"),
            None => second,
        };
    }
    if message.starts_with("invalid basic string") && at_end_of_line(text, local.start) {
        let open = text.get(..local.start).and_then(|before| before.rfind('"')).unwrap_or(local.start);
        let message = "a string is not closed";
        return Diagnostic::new(
            codes::SYNTAX,
            base + open..base + local.start.max(open + 1),
            message,
            "it begins here",
        )
        .help("write `\"` where it ends");
    }
    if message.starts_with("invalid basic string") {
        let message = "this may not stand in a string as it is";
        return Diagnostic::new(codes::SYNTAX, span, message, "not allowed here")
            .help("control characters are written as escapes, `\\t` or `\\u001b`; a backslash as `\\\\`");
    }
    Diagnostic::new(codes::SYNTAX, span, message, "")
}
