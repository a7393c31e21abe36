//! One mistake in a file, and how it is shown.
//!
//! A diagnostic holds byte ranges and words, never the text itself. Rendering is rustc's, by annotate-snippets.
//! Whatever the file holds, no control character and no bidirectional override reaches the rendered text.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Patch, Renderer};

use super::Source;
use super::excerpt::{Excerpts, LONG};
use super::layers::{LayerKind, Layers};
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
    /// Whether it is a mistake.
    pub severity: Severity,
    /// Which of the layers a mistake without a place concerns; none: the workspace as a whole.
    pub layer: Option<usize>,
}

/// Whether something is a mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It is one, and nothing is started.
    Error,
    /// It is none, and should be known.
    Warning,
}

impl Severity {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// A place in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The bytes it covers, on character boundaries, as if all layers stood in one text with a byte between them.
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
        Self { labels: vec![label], ..Self::without_place(code, message) }
    }

    /// A mistake of the file as a whole.
    pub(super) fn without_place(code: &'static str, message: impl AsRef<str>) -> Self {
        Self {
            code,
            message: visible(message.as_ref()),
            labels: Vec::new(),
            help: Vec::new(),
            severity: Severity::Error,
            layer: None,
        }
    }

    /// Says that it is no mistake.
    pub(super) fn warning(self) -> Self {
        Self { severity: Severity::Warning, ..self }
    }

    /// Says which file a mistake without a place concerns.
    pub(super) fn of(self, layer: usize) -> Self {
        Self { layer: Some(layer), ..self }
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

    /// The path of the file that it is in: where it has two places, of the one to mend.
    pub fn path<'a>(&self, source: &Source<'a>) -> &'a str {
        let layers = Layers::new(source.layers);
        let main = || source.layers.iter().position(|layer| layer.kind == LayerKind::Workspace);
        let place = self.labels.first().map(|label| layers.index(label.range.start));
        layers.get(place.or(self.layer).or_else(main).unwrap_or(0)).map_or("", |(layer, _)| layer.path)
    }

    /// The mistake as a person reads it: the code, the place, the line, what is wrong with it, and the ways out.
    pub fn render(&self, source: &Source<'_>, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let excerpts = Excerpts::new(source, self);
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(self.message.as_str()).id(self.code);
        let mut main = Group::with_title(title);
        if self.labels.is_empty() {
            main = main.element(Origin::path(visible(self.path(source))));
        }
        for excerpt in excerpts.in_order(self) {
            let labels = self.labels.iter().filter(|label| excerpt.holds(&label.range)).map(|label| {
                let kind = if label.primary { AnnotationKind::Primary } else { AnnotationKind::Context };
                let words = (!label.text.is_empty()).then_some(label.text.as_str());
                kind.span(excerpt.place(&label.range)).label(words)
            });
            main = main.element(excerpt.snippet().annotations(labels));
        }
        let mut groups = Vec::new();
        for help in &self.help {
            let edit = help.edit.as_ref().and_then(|edit| Some((edit, excerpts.of(&edit.range)?)));
            match edit {
                // A correction shows its lines twice, whole.
                Some((edit, excerpt)) if excerpt.text.len() > LONG => {
                    main = main.element(Level::HELP.message(format!("{}: {}", help.text, quote(&edit.text))));
                }
                None => main = main.element(Level::HELP.message(help.text.as_str())),
                Some((edit, excerpt)) => {
                    groups.push(Level::HELP.secondary_title(help.text.as_str()).element(
                        excerpt.snippet().patch(Patch::new(excerpt.place(&edit.range), edit.text.as_str())),
                    ));
                }
            }
        }
        groups.insert(0, main);
        let mut text = renderer.render(&groups);
        text.push('\n');
        text
    }

    /// Every place that is spoken of.
    pub(super) fn ranges(&self) -> impl Iterator<Item = &Range<usize>> {
        let edits = self.help.iter().filter_map(|help| help.edit.as_ref()).map(|edit| &edit.range);
        self.labels.iter().map(|label| &label.range).chain(edits)
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
