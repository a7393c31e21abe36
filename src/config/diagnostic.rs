//! One mistake in a file, and how it is shown.
//!
//! A diagnostic holds byte ranges and words, never the text itself. Rendering is rustc's, by annotate-snippets.
//! Whatever the file holds, no control character and no bidirectional override reaches the rendered text.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Origin, Patch, Renderer, Snippet};

use super::Source;
use crate::model::safe_char;

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The stable code, one of [`CODES`](super::CODES).
    pub code: &'static str,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// The places it concerns. The first one is the primary one; a mistake of the whole file has none.
    pub labels: Vec<Label>,
    /// Ways out.
    pub help: Vec<Help>,
}

/// A place in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The bytes it covers, on character boundaries.
    pub range: Range<usize>,
    /// What is to be said about them; may be empty.
    pub text: String,
    /// Whether this is the place to mend.
    pub primary: bool,
}

/// A way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Help {
    /// What to do.
    pub text: String,
    /// The correction, where it can be known.
    pub edit: Option<Edit>,
}

/// A correction of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The bytes to replace.
    pub range: Range<usize>,
    /// What belongs there.
    pub text: String,
}

impl Diagnostic {
    /// A mistake at a place.
    pub(super) fn new(
        code: &'static str,
        range: Range<usize>,
        message: impl AsRef<str>,
        label: impl AsRef<str>,
    ) -> Self {
        let label = Label { range, text: visible(label.as_ref()), primary: true };
        Self { code, message: visible(message.as_ref()), labels: vec![label], help: Vec::new() }
    }

    /// A mistake of the file as a whole.
    pub(super) fn without_place(code: &'static str, message: impl AsRef<str>) -> Self {
        Self { code, message: visible(message.as_ref()), labels: Vec::new(), help: Vec::new() }
    }

    /// Adds the other place of a mistake that has two.
    pub(super) fn also(mut self, range: Range<usize>, text: impl AsRef<str>) -> Self {
        self.labels.push(Label { range, text: visible(text.as_ref()), primary: false });
        self
    }

    /// Adds a way out in words.
    pub(super) fn help(mut self, text: impl AsRef<str>) -> Self {
        self.help.push(Help { text: visible(text.as_ref()), edit: None });
        self
    }

    /// Adds a way out as a correction.
    pub(super) fn fix(mut self, text: impl AsRef<str>, range: Range<usize>, new: impl AsRef<str>) -> Self {
        let edit = Edit { range, text: visible(new.as_ref()) };
        self.help.push(Help { text: visible(text.as_ref()), edit: Some(edit) });
        self
    }

    /// Where in the file it stands; mistakes of the whole file stand at its end.
    pub(super) fn start(&self) -> usize {
        self.labels.first().map_or(usize::MAX, |label| label.range.start)
    }

    /// The mistake as a person reads it: the code, the place, the line, what is wrong with it, and the ways out.
    pub fn render(&self, source: &Source<'_>, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let path = visible(source.path);
        let excerpt = Excerpt::new(source.text, self);
        let title = Level::ERROR.primary_title(self.message.as_str()).id(self.code);
        let mut main = if self.labels.is_empty() {
            title.element(Origin::path(path.as_str()))
        } else {
            let labels = self.labels.iter().map(|label| {
                let kind = if label.primary { AnnotationKind::Primary } else { AnnotationKind::Context };
                let words = (!label.text.is_empty()).then_some(label.text.as_str());
                kind.span(excerpt.place(&label.range)).label(words)
            });
            title.element(
                Snippet::source(excerpt.text.as_str())
                    .path(path.as_str())
                    .line_start(excerpt.first_line)
                    .annotations(labels),
            )
        };
        let mut groups = Vec::new();
        for help in &self.help {
            match help.edit.as_ref() {
                // A correction shows its lines twice, whole.
                Some(edit) if excerpt.text.len() > LONG => {
                    main = main.element(Level::HELP.message(format!("{}: {}", help.text, quote(&edit.text))));
                }
                None => main = main.element(Level::HELP.message(help.text.as_str())),
                Some(edit) => groups.push(
                    Level::HELP.secondary_title(help.text.as_str()).element(
                        Snippet::source(excerpt.text.as_str())
                            .path(path.as_str())
                            .line_start(excerpt.first_line)
                            .patch(Patch::new(excerpt.place(&edit.range), edit.text.as_str())),
                    ),
                ),
            }
        }
        groups.insert(0, main);
        let mut text = renderer.render(&groups);
        text.push('\n');
        text
    }
}

/// Lines longer than this are not shown whole.
const LONG: usize = 2_000;

/// The lines that a diagnostic speaks about, made safe for a terminal.
struct Excerpt {
    text: String,
    first_line: usize,
    /// Pairs of an offset in the file and the same place in `text`, ascending.
    places: Vec<(usize, usize)>,
}

impl Excerpt {
    fn new(source: &str, diagnostic: &Diagnostic) -> Self {
        let edits = diagnostic.help.iter().filter_map(|help| help.edit.as_ref()).map(|edit| &edit.range);
        let ranges = diagnostic.labels.iter().map(|label| &label.range).chain(edits);
        let mut wanted: Vec<usize> =
            ranges.flat_map(|range| [range.start, range.end]).map(|at| boundary(source, at)).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let first = wanted.first().copied().unwrap_or_default();
        let last = wanted.last().copied().unwrap_or_default();
        let (before, _) = source.split_at(first);
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let (_, after) = source.split_at(last);
        let end = after.find('\n').map_or(source.len(), |newline| last + newline);
        let first_line = before.matches('\n').count() + 1;

        let mut text = String::new();
        let mut places = Vec::new();
        let mut wanted = wanted.into_iter().peekable();
        let shown = source.get(start..end).unwrap_or_default();
        for (offset, c) in shown.char_indices() {
            while wanted.next_if(|at| *at <= start + offset).is_some_and(|at| {
                places.push((at, text.len()));
                true
            }) {}
            let line_ends = c == '\r'
                && shown.get(offset + 1..).is_none_or(|rest| rest.is_empty() || rest.starts_with('\n'));
            match c {
                '\n' | '\t' => text.push(c),
                _ if line_ends => {}
                _ => text.push(safe_char(c)),
            }
        }
        places.extend(wanted.map(|at| (at, text.len())));
        Self { text, first_line, places }
    }

    fn place(&self, range: &Range<usize>) -> Range<usize> {
        let find = |at: usize| {
            let index = self.places.partition_point(|(from, _)| *from < at);
            self.places.get(index).or(self.places.last()).map_or(0, |(_, to)| *to)
        };
        let start = find(range.start);
        start..find(range.end).max(start)
    }
}

/// A text in which every character can be seen and none steers the terminal.
pub(super) fn visible(text: &str) -> String {
    text.chars().map(safe_char).collect()
}

/// A text from the file as a message quotes it: safe, and not longer than a line has room for.
pub(super) fn quote(text: &str) -> String {
    const ROOM: usize = 60;
    if text.is_empty() {
        return "an empty string".to_owned();
    }
    let shown: String = text.chars().take(ROOM).map(safe_char).collect();
    let more = if text.chars().nth(ROOM).is_some() { "…" } else { "" };
    format!("`{shown}{more}`")
}

/// The nearest character boundary at or before a place.
fn boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}
