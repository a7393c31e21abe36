//! Which Azure the workspace lives in, and the subscription and resource group that are meant where none is named.

use std::ops::Range;

use super::clouds::Clouds;
use super::values::azure_name;
use super::{Found, suggest_word};
use crate::config::codes;
use crate::config::diagnostic::{Diagnostic, quote};
use crate::config::shapes::{Azure, File};
use crate::model::{Cloud, Emulation};

/// Which Azure is meant; none where that was refused. It decides where tokens go, so there is no guessing.
pub(super) fn cloud(azure: &Azure, defined: &Clouds, found: &mut Found) -> Option<Cloud> {
    let Some(field) = &azure.cloud else { return Some(Cloud::Public) };
    let text = field.value.as_ref()?;
    if let Some((_, cloud)) = Cloud::BUILT_IN.iter().find(|(word, _)| *word == text.value) {
        return Some(cloud.clone());
    }
    if let Some(definition) = defined.get(&text.value) {
        return definition.clone().map(|definition| Cloud::Defined(Box::new(definition)));
    }
    let message = format!("there is no cloud {}", quote(&text.value));
    let label = "not the name of a cloud";
    let unknown = Diagnostic::new(codes::UNKNOWN_CLOUD, text.span.clone(), message, label);
    let words = Cloud::BUILT_IN.iter().map(|(word, _)| *word).chain(defined.keys().map(String::as_str));
    found.push(suggest_word(unknown, text, words).help(
        "other clouds are defined in your own configuration, `~/.config/bastion/config.toml`, as `[clouds.NAME]`",
    ));
    None
}

/// What `[azure]` says for everything that does not name its own.
#[derive(Debug)]
pub(super) struct Home {
    subscription: Fallback,
    resource_group: Fallback,
}

#[derive(Debug)]
enum Fallback {
    /// It is known.
    Given(String),
    /// It is not, and nobody was told so.
    Missing,
    /// It is not, and that was said, or may be due to what was refused elsewhere.
    Told,
}

/// What is to have an ID.
#[derive(Debug)]
pub(super) struct Place<'a> {
    /// The kind of thing, in a word.
    pub(super) what: &'static str,
    pub(super) name: &'a str,
    pub(super) key: &'a Range<usize>,
    /// Whether a key was refused there that may stand for one that is missing.
    pub(super) spoilt: bool,
}

/// Whether a key is there, and its value, if that was right.
type Own = (bool, Option<String>);

impl Home {
    pub(super) fn new(file: &File, cloud: Option<&Cloud>, found: &mut Found) -> Self {
        let azure = &file.azure;
        let readable = file.whole && !azure.spoilt;
        let fallback = |written: bool, name: Option<String>, emulated: &str| match (name, cloud) {
            (Some(name), _) => Fallback::Given(name),
            (None, Some(Cloud::Emulator)) => Fallback::Given(emulated.to_owned()),
            (None, Some(Cloud::Public | Cloud::UsGovernment | Cloud::China | Cloud::Defined(_)))
                if readable && !written =>
            {
                Fallback::Missing
            }
            (None, _) => Fallback::Told,
        };
        let subscription = azure_name(azure.subscription.as_ref(), "subscription", found);
        let resource_group = azure_name(azure.resource_group.as_ref(), "resource_group", found);
        Self {
            subscription: fallback(azure.subscription.is_some(), subscription, Emulation::SUBSCRIPTION),
            resource_group: fallback(
                azure.resource_group.is_some(),
                resource_group,
                Emulation::RESOURCE_GROUP,
            ),
        }
    }

    /// The subscription and the resource group of something: its own, or those of `[azure]`. What is missing for all
    /// is said once, at the first thing that needs it.
    pub(super) fn fill(
        &mut self,
        place: &Place<'_>,
        subscription: Own,
        resource_group: Own,
        found: &mut Found,
    ) -> Option<(String, String)> {
        let subscription = self.subscription.or(
            place,
            subscription,
            || {
                let message = format!("{} {} is in no subscription", place.what, quote(place.name));
                let label = "without one, the current one of az would be used; this is not supported yet";
                Diagnostic::new(codes::NOT_SUPPORTED_YET, place.key.clone(), message, label)
                    .help("add `subscription = \"…\"` to `[azure]`; `az account show` says what it is")
            },
            found,
        );
        let resource_group = self.resource_group.or(
            place,
            resource_group,
            || {
                let message = format!("{} {} needs a `resource_group`", place.what, quote(place.name));
                Diagnostic::new(codes::MISSING_KEY, place.key.clone(), message, "which one is it in?")
                    .help("add `resource_group = \"…\"` here, or to `[azure]` for all that name none")
            },
            found,
        );
        Some((subscription?, resource_group?))
    }
}

impl Fallback {
    fn or(
        &mut self,
        place: &Place<'_>,
        (written, own): Own,
        missing: impl FnOnce() -> Diagnostic,
        found: &mut Found,
    ) -> Option<String> {
        match self {
            _ if written => own,
            Self::Given(name) => Some(name.clone()),
            Self::Missing if !place.spoilt => {
                found.push(missing());
                *self = Self::Told;
                None
            }
            Self::Missing | Self::Told => None,
        }
    }
}
