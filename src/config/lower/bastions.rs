//! `[bastions]`: which Azure Bastion hosts there are.

use std::collections::BTreeMap;

use super::home::{Filled, Home, Place};
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
        let mut identity = identity::lower(&raw.identity, asked_by, found);
        home.az.asks(&entry.name, identity.credential);
        let id = id(entry, raw, home, found);
        let sessions = whole(raw.max_sessions.as_ref(), "max_sessions", keys::SESSIONS, found);
        let setups = whole(raw.max_setups.as_ref(), "max_setups", keys::SETUPS, found);
        if let (Some(name), Some((id, tenant))) = (name, id) {
            // az may be signed in to several tenants, and only the tokens of one open its current subscription.
            if let (None, Some(tenant)) = (&identity.tenant, tenant) {
                home.az.note(&["bastions", &entry.name, "tenant"], &tenant);
                identity.tenant = Some(tenant);
            }
            let Limits { sessions: all_sessions, setups: usual_setups } = Limits::default();
            let limits =
                Limits { sessions: sessions.unwrap_or(all_sessions), setups: setups.unwrap_or(usual_setups) };
            bastions.insert(name, Bastion { id, identity, limits });
        }
    }
    bastions
}

/// Its ID, and the tenant that its subscription brings with it.
fn id(
    entry: &Entry<Option<RawBastion>>,
    raw: &RawBastion,
    home: &mut Home,
    found: &mut Found,
) -> Option<(ResourceId, Option<String>)> {
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
        return resource_id(id.value.as_ref()?, &[KIND], found).map(|id| (id, None));
    }
    let subscription = azure_name(raw.subscription.as_ref(), "subscription", found);
    let resource_group = azure_name(raw.resource_group.as_ref(), "resource_group", found);
    let name = match &raw.name {
        Some(field) => azure_name(Some(field), "name", found)?,
        None => entry.name.clone(),
    };
    let bastion = Some(entry.name.as_str());
    let Filled { subscription, resource_group, az } = home.fill(
        &Place { what: "bastion", name: &entry.name, key: &entry.key, bastion, spoilt: raw.spoilt },
        (raw.subscription.is_some(), subscription),
        (raw.resource_group.is_some(), resource_group),
        found,
    )?;
    if let Some(current) = &az {
        home.az.note(&["bastions", &entry.name, "subscription"], current.id());
    }
    let tenant = az.and_then(|current| current.tenant().map(str::to_owned));
    compose(&subscription, &resource_group, KIND.0, &name).map(|id| (id, tenant))
}
