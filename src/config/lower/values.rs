//! Values that several tables share: durations, sizes, whole numbers, Azure's names and IDs.

use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use jiff::fmt::friendly::SpanParser;
use percent_encoding::percent_decode_str;
use toml::Spanned;

use super::{Found, given, suggest_word};
use crate::config::codes;
use crate::config::diagnostic::{Diagnostic, quote};
use crate::config::reader::{Field, Text};
use crate::model::{Port, ResourceId};

/// Whether a duration of nothing makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Zero {
    /// It does.
    Allowed,
    /// It does not.
    Refused,
}

/// Nothing here waits longer; beyond it, adding to a point in time could overflow.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The duration of a field that is there.
pub(super) fn duration(
    field: Option<&Field<Text>>,
    key: &str,
    zero: Zero,
    found: &mut Found,
) -> Option<Duration> {
    let text = given(field)?;
    match parse_duration(&text.value, zero) {
        Ok(duration) => Some(duration),
        Err(why) => {
            found.push(bad_duration(text, 0..text.value.len(), key, why));
            None
        }
    }
}

const NOT_A_DURATION: &str = "not a duration";

/// Reads a duration as people write it.
pub(super) fn parse_duration(text: &str, zero: Zero) -> Result<Duration, &'static str> {
    static PARSER: SpanParser = SpanParser::new();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Err("the unit is missing");
    }
    let signed = PARSER.parse_duration(text.trim()).map_err(|_| NOT_A_DURATION)?;
    if signed.is_negative() {
        return Err("a duration is not negative");
    }
    let duration = Duration::try_from(signed).map_err(|_| NOT_A_DURATION)?;
    match duration {
        _ if duration > LONGEST => Err("the longest is 720h"),
        Duration::ZERO if zero == Zero::Refused => Err("must be more than zero"),
        _ => Ok(duration),
    }
}

/// Reads a duration from a command line, which writes it as a file does.
///
/// # Errors
/// Says what is wrong with it.
pub fn read_duration(text: &str) -> Result<Duration, String> {
    parse_duration(text, Zero::Allowed).map_err(|why| match why {
        NOT_A_DURATION => format!("{why}; durations look like \"500ms\", \"20s\", \"5m\" or \"1h 30m\""),
        _ => why.to_owned(),
    })
}

/// Says what is wrong with a duration.
pub(super) fn bad_duration(text: &Text, part: Range<usize>, key: &str, why: &str) -> Diagnostic {
    let written = text.value.get(part.clone()).unwrap_or_default().to_owned();
    let whole = part.len() == text.value.len();
    let span = if whole { text.span.clone() } else { text.part(part) };
    let message = format!("`{key}` cannot be {}", quote(&written));
    let found = Diagnostic::new(codes::INVALID_DURATION, span.clone(), message, why);
    if whole && why.contains("unit") {
        return found.fix("for seconds, write", span, format!("\"{written}s\""));
    }
    if why == NOT_A_DURATION || why.contains("unit") {
        return found.help("durations look like \"500ms\", \"20s\", \"5m\" or \"1h 30m\"");
    }
    found
}

/// A size in bytes: "1 B", "64 KiB", "1 MiB".
pub(super) fn parse_size(text: &str) -> Result<u64, &'static str> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| "not a size")?;
    let scale = match unit.trim() {
        "" => return Err("the unit is missing"),
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err("units are B, KiB, MiB and GiB"),
    };
    number.checked_mul(scale).ok_or("too large")
}

/// A whole number of a field that is there, within limits.
pub(super) fn whole<T: TryFrom<i64>>(
    field: Option<&Field<Spanned<i64>>>,
    key: &str,
    limits: RangeInclusive<i64>,
    found: &mut Found,
) -> Option<T> {
    let number = given(field)?;
    let value = *number.get_ref();
    let (least, most) = (limits.start(), limits.end());
    let (bound, label) = match value {
        _ if value < *least => (format!("the least is {least}"), "too small"),
        _ if value > *most => (format!("the most is {most}"), "too large"),
        _ => return T::try_from(value).ok(),
    };
    let message = format!("`{key}` cannot be {value}: {bound}");
    found.push(Diagnostic::new(codes::INVALID_VALUE, number.span(), message, label));
    None
}

/// One of the words that a key takes.
pub(super) fn choice<T: Copy>(
    field: Option<&Field<Text>>,
    key: &str,
    words: &[(&str, T)],
    found: &mut Found,
) -> Option<T> {
    word(given(field)?, key, words, found)
}

/// The same of a text.
pub(super) fn word<T: Copy>(text: &Text, key: &str, words: &[(&str, T)], found: &mut Found) -> Option<T> {
    let chosen = words.iter().find(|(word, _)| *word == text.value);
    if chosen.is_none() {
        let message = format!("`{key}` cannot be {}", quote(&text.value));
        let label = "not one of the words that it takes";
        let wrong = Diagnostic::new(codes::INVALID_VALUE, text.span.clone(), message, label);
        let all = words.iter().map(|(word, _)| *word);
        found.push(suggest_word(wrong, text, all));
    }
    chosen.map(|(_, value)| *value)
}

/// A port that a connection can be made to.
pub(super) fn port(value: i64, span: Range<usize>, found: &mut Found) -> Option<Port> {
    let port = u16::try_from(value).ok().and_then(Port::new);
    if port.is_none() {
        found.push(port_range(&value.to_string(), span, "1 to 65535"));
    }
    port
}

/// Says that a port is out of range.
pub(super) fn port_range(written: &str, span: Range<usize>, range: &str) -> Diagnostic {
    let message = format!("port {} is out of range", quote(written));
    Diagnostic::new(codes::PORT_OUT_OF_RANGE, span, message, format!("ports here are {range}"))
}

/// A name that Azure gave: of a machine, a bastion, a resource group; or a subscription's ID.
pub(super) fn azure_name(field: Option<&Field<Text>>, key: &str, found: &mut Found) -> Option<String> {
    let text = given(field)?;
    // A slash would make two segments of one, and so name another resource than the key says.
    let fits = ResourceId::compose("s", "g", "a/b", &text.value).is_ok_and(|id| id.name() == text.value);
    if fits {
        return Some(text.value.clone());
    }
    let message = format!("`{key}` cannot be {}", quote(&text.value));
    let label = if text.value.is_empty() {
        "empty"
    } else {
        "names in Azure have letters, digits, `-`, `_`, `.`, `(` and `)`"
    };
    let wrong = Diagnostic::new(codes::INVALID_VALUE, text.span.clone(), message, label);
    if key == "subscription" && !text.value.is_empty() {
        found
            .push(wrong.help("only its ID will do: `az account show --name NAME --query id -o tsv` says it"));
        return None;
    }
    found.push(if text.value.contains('/') && key != "resource_group" {
        wrong.help("for a whole resource ID, use the key `id`")
    } else {
        wrong
    });
    None
}

/// Puts the ID of a resource together from names that were checked.
pub(super) fn compose(
    subscription: &str,
    resource_group: &str,
    kind: &str,
    name: &str,
) -> Option<ResourceId> {
    ResourceId::compose(subscription, resource_group, kind, name).ok()
}

/// A kind of resource, as the ID names it and as a person does.
pub(super) type ResourceKind = (&'static str, &'static str);

/// The ID of a resource of one of these kinds, as written or within a URL of the portal.
pub(super) fn resource_id(text: &Text, kinds: &[ResourceKind], found: &mut Found) -> Option<ResourceId> {
    let fits = |id: &ResourceId| kinds.iter().any(|(kind, _)| id.is_type(kind));
    let of_portal = portal_path(&text.value);
    let from_portal = of_portal.is_some();
    // Copied with a little too much.
    let written = of_portal.as_deref().unwrap_or(&text.value).trim().trim_end_matches('/');
    let mut candidate = written;
    let mut readable = false;
    loop {
        if let Ok(id) = ResourceId::parse(candidate) {
            if fits(&id) {
                return Some(id);
            }
            readable = true;
        }
        // What follows the resource in a URL is a page about it: "/overview", "/connect/ssh".
        match candidate.rsplit_once('/') {
            Some((shorter, _)) if from_portal && !shorter.is_empty() => candidate = shorter,
            Some(_) | None => break,
        }
    }
    let words = kinds.iter().map(|(_, words)| *words).filter(|words| !words.is_empty());
    let expected = either(words.collect());
    let wrong = if readable {
        let message = format!("the resource ID is not that of {expected}");
        Diagnostic::new(codes::INVALID_RESOURCE_ID, text.span.clone(), message, "another type of resource")
    } else {
        let message = format!("{} is not a resource ID", quote(&text.value));
        let label = format!("expected the ID of {expected}");
        Diagnostic::new(codes::INVALID_RESOURCE_ID, text.span.clone(), message, label)
    };
    let (kind, _) = kinds.first().copied().unwrap_or_default();
    found.push(wrong.help(format!(
        "it looks like `/subscriptions/SUBSCRIPTION/resourceGroups/GROUP/providers/{kind}/NAME`; the URL of its page in the portal will do too"
    )));
    None
}

/// "a", "a or b", "a, b or c".
fn either(mut words: Vec<&str>) -> String {
    match words.pop() {
        Some(last) if !words.is_empty() => format!("{} or {last}", words.join(", ")),
        last => last.unwrap_or_default().to_owned(),
    }
}

/// The path of the resource in a URL copied from the portal, in one of the forms that its pages have.
fn portal_path(text: &str) -> Option<String> {
    let rest = text.trim().strip_prefix("https://")?;
    let (host, rest) = rest.split_at(rest.find(['/', '#', '?'])?);
    let host = host.to_ascii_lowercase();
    let is_portal = ["portal.azure.com", "portal.azure.us", "portal.azure.cn"].iter().any(|portal| {
        host.strip_suffix(portal).is_some_and(|before| before.is_empty() || before.ends_with('.'))
    });
    if !is_portal {
        return None;
    }
    // Some pages have the ID as one escaped segment.
    let rest = percent_decode_str(rest).decode_utf8().ok()?;
    let at = rest.to_ascii_lowercase().find("/subscriptions/")?;
    let path = rest.get(at..)?;
    path.split(['?', '#']).next().map(str::to_owned)
}
