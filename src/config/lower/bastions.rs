//! `[bastions]`: which Azure Bastion hosts there are.

use std::collections::BTreeMap;

use super::home::{Home, Place};
use super::values::{ResourceKind, azure_name, compose, resource_id, whole};
use super::{Found, entry_name, identity};
use crate::config::codes;
use crate::config::diagnostic::Diagnostic;
use crate::config::keys;
use crate::config::reader::Entry;
use crate::config::shapes::Bastion as RawBastion;
use crate::model::{Bastion, Identity, Limits, Name, ResourceId};

const KIND: ResourceKind = ("Microsoft.Network/bastionHosts", "a bastion");

/// Lowers all bastions; those with a mistake are left out.
pub(super) fn lower(
    entries: &[Entry<Option<RawBastion>>],
    home: &mut Home,
    asked_by: &Identity,
    found: &mut Found,
) -> BTreeMap<Name, Bastion> {
    let mut bastions = BTreeMap::new();
    for entry in entries {
        let name = entry_name(entry, "a bastion", found);
        let Some(raw) = &entry.value else { continue };
        let id = id(entry, raw, home, found);
        let sessions = whole(raw.max_sessions.as_ref(), "max_sessions", keys::SESSIONS, found);
        let setups = whole(raw.max_setups.as_ref(), "max_setups", keys::SETUPS, found);
        let identity = identity::lower(&raw.identity, asked_by, found);
        if let (Some(name), Some(id)) = (name, id) {
            let Limits { sessions: all_sessions, setups: usual_setups } = Limits::default();
            let limits =
                Limits { sessions: sessions.unwrap_or(all_sessions), setups: setups.unwrap_or(usual_setups) };
            bastions.insert(name, Bastion { id, identity, limits });
        }
    }
    bastions
}

fn id(
    entry: &Entry<Option<RawBastion>>,
    raw: &RawBastion,
    home: &mut Home,
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
    let (subscription, resource_group) = home.fill(
        &Place { what: "bastion", name: &entry.name, key: &entry.key, spoilt: raw.spoilt },
        (raw.subscription.is_some(), subscription),
        (raw.resource_group.is_some(), resource_group),
        found,
    )?;
    compose(&subscription, &resource_group, KIND.0, &name)
}
