//! Tables without lines: columns as wide as they need to be, or as a terminal allows.
//!
//! Below a row there may be lines of its own, over the whole width.

use comfy_table::{
    Attribute, Cell, Color, ColumnConstraint, ContentArrangement, LineStyle, Table, TableStyle, Width,
};

/// Stands in the lines between rows, which nobody sees: nothing that is shown can contain it.
const BETWEEN: char = '\u{1}';
/// No column has to be narrower.
const LEAST: u16 = 6;
/// How far columns are apart.
const GAP: u16 = 2;
/// How far lines below a row stand in.
const INDENT: u16 = 2;

/// One row, and what is said below it.
pub(super) struct Row {
    pub(super) cells: Vec<Cell>,
    pub(super) below: Vec<Line>,
}

/// A line below a row.
pub(super) enum Line {
    /// Broken where the terminal ends.
    Text(String),
    /// Never broken, so that it can be copied.
    Whole(String),
}

/// The width of the terminal that standard output is; `None`: it is none.
pub fn terminal_width() -> Option<u16> {
    Table::new().width().filter(|width| *width > 0)
}

/// A word in bold.
pub(super) fn word(text: &str, color: Color) -> Cell {
    Cell::new(text).fg(color).add_attribute(Attribute::Bold)
}

/// The whole table, a line feed after every line. On a narrow terminal, the columns `first` are kept whole first.
pub(super) fn render(header: &[&str], first: &[usize], rows: Vec<Row>, width: Option<u16>) -> String {
    let mut table = plain(width);
    table.set_header(header.iter().map(|title| Cell::new(title).add_attribute(Attribute::Dim)));
    let mut below = Vec::new();
    for row in rows {
        table.add_row(row.cells);
        below.push(row.below);
    }
    pad(&mut table, (0, GAP));
    if let Some(width) = width {
        keep_words(&mut table, first, width);
    }
    let mut text = String::new();
    let mut below = below.into_iter();
    // The line below the header ends it, the others end a row, and the last row has none.
    let mut header = true;
    for line in table.lines().chain([BETWEEN.to_string()]) {
        if !line.starts_with(BETWEEN) {
            text.push_str(line.trim_end());
            text.push('\n');
        } else if !std::mem::take(&mut header) {
            for line in below.next().unwrap_or_default() {
                text.push_str(&line.render(width));
            }
        }
    }
    text
}

/// A text over the whole width, standing in.
pub(super) fn paragraph(text: &str, indent: u16, width: Option<u16>) -> String {
    let mut table = plain(width);
    table.add_row([text]);
    pad(&mut table, (indent, 0));
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// Words and what they stand for, one below the other.
pub fn pairs(rows: &[(&str, &str)], width: Option<u16>) -> String {
    let mut table = plain(width);
    table.add_rows(
        rows.iter().map(|(word, text)| vec![Cell::new(word).add_attribute(Attribute::Dim), Cell::new(text)]),
    );
    pad(&mut table, (0, GAP));
    if let Some(width) = width {
        keep_words(&mut table, &[0], width);
    }
    let lines = table.lines().filter(|line| !line.starts_with(BETWEEN));
    lines.map(|line| format!("{}\n", line.trim_end())).collect()
}

impl Line {
    fn render(self, width: Option<u16>) -> String {
        match self {
            Self::Text(text) => paragraph(&text, INDENT, width),
            Self::Whole(text) => format!("{:indent$}{text}\n", "", indent = usize::from(INDENT)),
        }
    }
}

fn plain(width: Option<u16>) -> Table {
    let between = LineStyle::none().fill(BETWEEN);
    let mut table = Table::new();
    table.load_style(TableStyle::new().header_separator(between).row_separator(between));
    // Whether colours arrive is decided where the text is written.
    table.force_no_tty().enforce_styling().style_text_only();
    table.set_content_arrangement(ContentArrangement::Disabled);
    if let Some(width) = width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    table
}

/// As long as there is room for it, no word is broken, first in the columns that are named: half an address is none.
fn keep_words(table: &mut Table, first: &[usize], width: u16) {
    let longest = |text: String| text.split(' ').map(|word| word.chars().count()).max().unwrap_or(0);
    let columns = table.column_count();
    let whole: Vec<u16> = (0..columns)
        .map(|at| {
            let cells = table.column_cells_with_header_iter(at).flatten();
            let most = cells.map(|cell| longest(cell.content())).max().unwrap_or(0);
            u16::try_from(most).unwrap_or(u16::MAX).saturating_add(GAP)
        })
        .collect();
    let least = |at: usize| whole.get(at).map_or(0, |width| *width.min(&(LEAST + GAP)));
    let used = (0..columns).fold(0_u16, |used, at| used.saturating_add(least(at)));
    let mut spare = width.saturating_sub(used);
    for at in first.iter().copied().chain((0..columns).filter(|at| !first.contains(at))) {
        let Some(whole) = whole.get(at) else { continue };
        let more = whole - least(at);
        if more <= spare
            && let Some(column) = table.column_mut(at)
        {
            spare -= more;
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(*whole)));
        }
    }
}

fn pad(table: &mut Table, padding: (u16, u16)) {
    for column in table.column_iter_mut() {
        column.set_padding(padding);
    }
}
