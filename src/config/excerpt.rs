//! The lines that a diagnostic speaks about, layer by layer, made safe for a terminal.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use annotate_snippets::Snippet;

use super::Source;
use super::diagnostic::{Diagnostic, visible};
use super::hide;
use super::layers::{LayerKind, Layers};
use crate::model::safe_char;

/// Lines longer than this are not shown whole.
pub(super) const LONG: usize = 2_000;

/// The files that a diagnostic speaks about.
pub(super) struct Excerpts<'a> {
    layers: Layers<'a>,
    all: BTreeMap<usize, Excerpt>,
}

/// Lines of one file.
pub(super) struct Excerpt {
    pub(super) text: String,
    path: String,
    first_line: usize,
    /// What of the virtual text the file is.
    whole: Range<usize>,
    /// Pairs of an offset in the virtual text and the same place in `text`, ascending.
    places: Vec<(usize, usize)>,
}

impl<'a> Excerpts<'a> {
    pub(super) fn new(source: &Source<'a>, diagnostic: &Diagnostic) -> Self {
        let layers = Layers::new(source.layers);
        let mut wanted: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for range in diagnostic.ranges() {
            wanted.entry(layers.index(range.start)).or_default().extend([range.start, range.end]);
        }
        let excerpt = |(index, wanted): (usize, Vec<usize>)| {
            let (layer, base) = layers.get(index)?;
            // A proxy's password stands in the user's own configuration, and this may end up in a ticket.
            let text = match layer.kind {
                LayerKind::User => Cow::Owned(hide::credentials(layer.text)),
                LayerKind::Workspace | LayerKind::Environment | LayerKind::Local | LayerKind::Flags => {
                    Cow::Borrowed(layer.text)
                }
            };
            Some((index, Excerpt::new(layer.path, &text, base, wanted)))
        };
        let all = wanted.into_iter().filter_map(excerpt).collect();
        Self { layers, all }
    }

    /// The file that a place is in.
    pub(super) fn of(&self, range: &Range<usize>) -> Option<&Excerpt> {
        self.all.get(&self.layers.index(range.start))
    }

    /// The files that have a label, in the order of the labels.
    pub(super) fn in_order(&self, diagnostic: &Diagnostic) -> Vec<&Excerpt> {
        let mut order = Vec::new();
        for label in &diagnostic.labels {
            let index = self.layers.index(label.range.start);
            if !order.contains(&index) {
                order.push(index);
            }
        }
        order.into_iter().filter_map(|index| self.all.get(&index)).collect()
    }
}

impl Excerpt {
    fn new(path: &str, source: &str, base: usize, wanted: Vec<usize>) -> Self {
        let mut wanted: Vec<usize> =
            wanted.into_iter().map(|at| boundary(source, at.saturating_sub(base))).collect();
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
                places.push((base + at, text.len()));
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
        places.extend(wanted.map(|at| (base + at, text.len())));
        let whole = base..base + source.len();
        Self { text, path: visible(path), first_line, whole, places }
    }

    /// Its lines, to be marked.
    pub(super) fn snippet<T: Clone>(&self) -> Snippet<'_, T> {
        Snippet::source(self.text.as_str()).path(self.path.as_str()).line_start(self.first_line)
    }

    /// Whether a place is in this file.
    pub(super) fn holds(&self, range: &Range<usize>) -> bool {
        self.whole.start <= range.start && range.start <= self.whole.end
    }

    /// Where a place is in the lines.
    pub(super) fn place(&self, range: &Range<usize>) -> Range<usize> {
        let find = |at: usize| {
            let index = self.places.partition_point(|(from, _)| *from < at);
            self.places.get(index).or(self.places.last()).map_or(0, |(_, to)| *to)
        };
        let start = find(range.start);
        start..find(range.end).max(start)
    }
}

/// The nearest character boundary at or before a place.
fn boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}
