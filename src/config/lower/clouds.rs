//! The clouds of the user's own: where tokens go is said there and nowhere else.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::url::https;
use super::{Found, entry_name, given};
use crate::config::codes;
use crate::config::diagnostic::{Diagnostic, quote};
use crate::config::reader::{Entry, Field, Text};
use crate::config::shapes::Cloud as Raw;
use crate::model::{Cloud, CloudDefinition};

/// The clouds that are defined, by name. One whose definition was refused is there, and empty: what names it is right.
pub(super) type Clouds = BTreeMap<String, Option<CloudDefinition>>;

/// Lowers all of them.
pub(super) fn lower(entries: &[Entry<Option<Raw>>], found: &mut Found) -> Clouds {
    entries.iter().map(|entry| (entry.name.clone(), one(entry, found))).collect()
}

fn one(entry: &Entry<Option<Raw>>, found: &mut Found) -> Option<CloudDefinition> {
    let name = entry_name(entry, "a cloud", found);
    if Cloud::BUILT_IN.iter().any(|(word, _)| *word == entry.name) {
        let message = format!("the cloud {} is built in and cannot be defined", quote(&entry.name));
        let label = "the name of a cloud that everybody knows";
        found.push(
            Diagnostic::new(codes::BUILT_IN_CLOUD, entry.key.clone(), message, label)
                .help("choose another name: what a workspace means by this one must be the same everywhere"),
        );
        return None;
    }
    let raw = entry.value.as_ref()?;
    let resource_manager =
        needed(entry, raw, raw.resource_manager.as_ref(), "resource_manager", RESOURCE_MANAGER, found)
            .and_then(|text| origin(text, found));
    let authority = needed(entry, raw, raw.authority.as_ref(), "authority", AUTHORITY, found)
        .and_then(|text| https(text, "authority", AUTHORITY, found))
        .map(|(host, path)| format!("https://{host}{path}"));
    let audience = match given(raw.audience.as_ref()) {
        Some(text) => audience(text, found),
        None => resource_manager.as_ref().map(|host| format!("https://{host}")),
    };
    let ca_file = ca_file(raw.ca_file.as_ref(), found);
    Some(CloudDefinition {
        name: name?,
        resource_manager: resource_manager?,
        authority: authority?,
        audience: audience?,
        ca_file,
    })
}

const RESOURCE_MANAGER: &str = "https://management.lab.example";
const AUTHORITY: &str = "https://login.lab.example";

/// The value of a key that has no default.
fn needed<'a>(
    entry: &Entry<Option<Raw>>,
    raw: &Raw,
    field: Option<&'a Field<Text>>,
    key: &str,
    example: &str,
    found: &mut Found,
) -> Option<&'a Text> {
    if field.is_none() && !raw.spoilt {
        let message = format!("the cloud {} needs `{key}`", quote(&entry.name));
        found.push(
            Diagnostic::new(codes::MISSING_KEY, entry.key.clone(), message, "where is it?")
                .help(format!("add `{key} = \"{example}\"`")),
        );
    }
    given(field)
}

/// Resource Manager's host. A path would make other URLs of its own.
fn origin(text: &Text, found: &mut Found) -> Option<String> {
    let (host, path) = https(text, "resource_manager", RESOURCE_MANAGER, found)?;
    if path.is_empty() {
        return Some(host);
    }
    let message = format!("`resource_manager` cannot be {}", quote(&text.value));
    found.push(
        Diagnostic::new(codes::INVALID_URL, text.span.clone(), message, "nothing may follow the host")
            .help(format!("it looks like `\"{RESOURCE_MANAGER}\"`")),
    );
    None
}

/// Whom tokens are for: a URI or an ID, which goes into requests as it is.
fn audience(text: &Text, found: &mut Found) -> Option<String> {
    if !text.value.is_empty() && text.value.len() <= 500 && text.value.bytes().all(|b| b.is_ascii_graphic()) {
        return Some(text.value.clone());
    }
    let message = format!("`audience` cannot be {}", quote(&text.value));
    let label = "expected a URL or an ID without spaces";
    found.push(Diagnostic::new(codes::INVALID_VALUE, text.span.clone(), message, label));
    None
}

/// A path as it is written; whoever reads the files knows from where it leads.
pub(super) fn ca_file(field: Option<&Field<Text>>, found: &mut Found) -> Option<PathBuf> {
    let text = given(field)?;
    if text.value.is_empty() {
        let message = "`ca_file` names no file";
        found.push(Diagnostic::new(codes::CA_FILE, text.span.clone(), message, "empty"));
        return None;
    }
    Some(PathBuf::from(&text.value))
}
