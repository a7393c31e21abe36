//! 'Did you mean': only what is near.

/// After this many mistakes no more suggestions are sought: in a file that is wrong throughout they help nobody,
/// and each costs a walk over all names.
pub(super) const ENOUGH: usize = 100;

/// The candidate that a writer most likely meant, if one is near enough.
pub(super) fn nearest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Distances cost length times length; nothing this long is a slip of the finger.
    if written.len() > 80 {
        return None;
    }
    let plain = fold(written);
    let limit = (plain.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .filter(|candidate| candidate.len().abs_diff(written.len()) <= limit)
        .map(|candidate| (strsim::osa_distance(&plain, &fold(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= limit && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn fold(text: &str) -> String {
    text.to_ascii_lowercase().replace('-', "_")
}
