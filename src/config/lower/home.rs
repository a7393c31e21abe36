//! Which Azure the workspace lives in, and the subscription and resource group that are meant where none is named.

use std::ops::Range;

use super::az::Current;
use super::clouds::Clouds;
use super::values::azure_name;
use super::{Found, suggest_word};
use crate::config::codes;
use crate::config::diagnostic::{Diagnostic, quote};
use crate::config::shapes::{Azure, File};
use crate::model::{AzCurrent, AzSubscription, Cloud, Emulation};

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
    /// What stands in where no subscription is named.
    pub(super) az: Current,
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
    /// The bastion itself, or the one that leads there, as it is written; none where that cannot be said.
    pub(super) bastion: Option<&'a str>,
    /// Whether a key was refused there that may stand for one that is missing.
    pub(super) spoilt: bool,
}

/// Whether a key is there, and its value, if that was right.
type Own = (bool, Option<String>);

/// Where something is.
#[derive(Debug)]
pub(super) struct Filled {
    pub(super) subscription: String,
    pub(super) resource_group: String,
    /// What az says of the subscription, when it is az's current one.
    pub(super) az: Option<AzSubscription>,
}

impl Home {
    pub(super) fn new(file: &File, cloud: Option<&Cloud>, az: &AzCurrent, found: &mut Found) -> Self {
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
            az: Current::new(az, cloud),
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
    ) -> Option<Filled> {
        let Self { subscription: fallback, resource_group: group_fallback, az } = self;
        let (written, own) = subscription;
        let mut current = None;
        let subscription = match fallback {
            _ if written => own,
            Fallback::Given(name) => Some(name.clone()),
            Fallback::Missing if !place.spoilt => {
                current = az.stand_in(place, found);
                current.as_ref().map(|current| current.id().to_owned())
            }
            Fallback::Missing | Fallback::Told => None,
        };
        let (written, own) = resource_group;
        let resource_group = match group_fallback {
            _ if written => own,
            Fallback::Given(name) => Some(name.clone()),
            Fallback::Missing if !place.spoilt => {
                let message = format!("{} {} needs a `resource_group`", place.what, quote(place.name));
                found.push(
                    Diagnostic::new(codes::MISSING_KEY, place.key.clone(), message, "which one is it in?")
                        .help("add `resource_group = \"…\"` here, or to `[azure]` for all that name none"),
                );
                *group_fallback = Fallback::Told;
                None
            }
            Fallback::Missing | Fallback::Told => None,
        };
        Some(Filled { subscription: subscription?, resource_group: resource_group?, az: current })
    }
}
