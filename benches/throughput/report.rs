//! Figures of many rounds as one table: median, least and most, and the ratio to the limit in the same round.

use std::fmt::Write as _;

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// Digits behind the point.
    pub(crate) digits: usize,
}

/// By row and subject: which subject's figures of the same row it is held against, if any.
pub(crate) type Against = fn(usize, usize) -> Option<usize>;

/// All figures: of each row, of each subject, one a round.
#[derive(Debug)]
pub(crate) struct Figures {
    rows: Vec<Row>,
    subjects: Vec<String>,
    against: Against,
    values: Vec<Vec<Vec<f64>>>,
}

impl Figures {
    pub(crate) fn new(rows: &[Row], subjects: Vec<String>, against: Against) -> Self {
        let values = vec![vec![Vec::new(); subjects.len()]; rows.len()];
        Self { rows: rows.to_vec(), subjects, against, values }
    }

    /// Writes down this round's figure. What could not be measured is left out.
    pub(crate) fn note(&mut self, row: usize, subject: usize, value: Option<f64>) {
        let values = self.values.get_mut(row).and_then(|subjects| subjects.get_mut(subject));
        if let (Some(values), Some(value)) = (values, value) {
            values.push(value);
        }
    }

    /// The table, as Markdown; `ratio` says what ratios are to.
    pub(crate) fn table(&self, ratio: &str) -> String {
        let mut text = format!("| median (least–most), × ratio to {ratio} |");
        for subject in &self.subjects {
            // Writing to a string cannot fail.
            let _ = write!(text, " {subject} |");
        }
        text.push_str("\n|---|");
        text.push_str(&"---:|".repeat(self.subjects.len()));
        for (number, (row, subjects)) in self.rows.iter().zip(&self.values).enumerate() {
            let _ = write!(text, "\n| {} |", row.name);
            for (at, values) in subjects.iter().enumerate() {
                let against = (self.against)(number, at).and_then(|limit| subjects.get(limit));
                let _ = write!(text, " {} |", cell(values, against.map_or(&[], Vec::as_slice), row.digits));
            }
        }
        text.push('\n');
        text
    }
}

fn cell(values: &[f64], limit: &[f64], digits: usize) -> String {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (Some(least), Some(most)) = (sorted.first(), sorted.last()) else { return "–".to_owned() };
    let mut text = format!("{:.digits$} ({least:.digits$}–{most:.digits$})", middle(values));
    if limit.len() == values.len() {
        let ratios: Vec<f64> = values.iter().zip(limit).map(|(value, limit)| value / limit).collect();
        text.push_str(&format!(" × {:.2}", middle(&ratios)));
    }
    text
}

/// The value in the middle; of two there, the mean.
fn middle(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
    if sorted.len() % 2 == 1 { at(half) } else { f64::midpoint(at(half.saturating_sub(1)), at(half)) }
}

/// The value that so many of a hundred do not exceed.
pub(crate) fn percentile(values: &[f64], percent: usize) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get((sorted.len() * percent).div_ceil(100).saturating_sub(1)).copied()
}
