//! `[bastions]`: which Azure Bastion hosts there are.

use std::collections::BTreeMap;

use super::values::{ResourceKind, azure_name, compose, resource_id, whole};
use super::{Found, Home, entry_name};
use crate::config::codes;
use crate::config::diagnostic::Diagnostic;
use crate::config::raw::Bastion as RawBastion;
use crate::config::reader::Entry;
use crate::model::{Bastion, Identity, Limits, Name, ResourceId};

const KIND: ResourceKind = ("Microsoft.Network/bastionHosts", "a bastion");

/// How many set-ups are in flight where the file does not say.
const MAX_SETUPS: usize = 32;

/// More connections than this at once is beyond any bastion.
const MOST_SETUPS: i64 = 10_000;

/// Lowers all bastions; those with a mistake are left out.
pub(super) fn lower(
    entries: &[Entry<Option<RawBastion>>],
    home: &Home,
    found: &mut Found,
) -> BTreeMap<Name, Bastion> {
    let mut bastions = BTreeMap::new();
    for entry in entries {
        let name = entry_name(entry, "a bastion", found);
        let Some(raw) = &entry.value else { continue };
        let id = id(entry, raw, home, found);
        let max_setups =
            whole(raw.max_setups.as_ref(), "max_setups", 1..=MOST_SETUPS, found).unwrap_or(MAX_SETUPS);
        if let (Some(name), Some(id)) = (name, id) {
            let limits = Limits { setups: max_setups, ..Limits::default() };
            bastions.insert(name, Bastion { id, identity: Identity::default(), limits });
        }
    }
    bastions
}

fn id(
    entry: &Entry<Option<RawBastion>>,
    raw: &RawBastion,
    home: &Home,
    found: &mut Found,
) -> Option<ResourceId> {
    if let Some(id) = &raw.id {
        let parts = [
            ("name", &raw.name),
            ("resource_group", &raw.resource_group),
            ("subscription", &raw.subscription),
        ];
        for (key, field) in parts {
            let Some(field) = field else { continue };
            let message = format!("`id` and `{key}` exclude each other: the ID holds it already");
            found.push(
                Diagnostic::new(codes::CONFLICTING_KEYS, field.key.clone(), message, "take this out")
                    .also(id.key.clone(), "or this"),
            );
        }
        return resource_id(id.value.as_ref()?, &[KIND], found);
    }
    let subscription = azure_name(raw.subscription.as_ref(), "subscription", found);
    let resource_group = azure_name(raw.resource_group.as_ref(), "resource_group", found);
    let name = match &raw.name {
        Some(field) => azure_name(Some(field), "name", found)?,
        None => entry.name.clone(),
    };
    compose(
        subscription.as_deref().unwrap_or(&home.subscription),
        resource_group.as_deref().unwrap_or(&home.resource_group),
        KIND.0,
        &name,
    )
}
