//! `[targets]`: what can be reached, and through which bastion.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;

use super::home::{Filled, Home, Place};
use super::values::{ResourceKind, azure_name, compose, resource_id};
use super::{Declared, Found, Kind, declared, entry_name, resolve};
use crate::config::codes;
use crate::config::diagnostic::{Diagnostic, quote};
use crate::config::reader::{Entry, Field, Scalar, Text};
use crate::config::shapes::{File, Target as RawTarget};
use crate::model::{Endpoint, Locator, Name, ResourceId, Target};

const VM: ResourceKind = ("Microsoft.Compute/virtualMachines", "a virtual machine");
const INSTANCE: ResourceKind =
    ("Microsoft.Compute/virtualMachineScaleSets/virtualMachines", "an instance of a scale set");
const SCALE_SET: ResourceKind = ("Microsoft.Compute/virtualMachineScaleSets", "a scale set");
const INTERFACE: ResourceKind = ("Microsoft.Network/networkInterfaces", "a network interface");
const INSTANCE_INTERFACE: ResourceKind =
    ("Microsoft.Compute/virtualMachineScaleSets/virtualMachines/networkInterfaces", "");

/// Lowers all targets; those with a mistake are left out.
pub(super) fn lower(file: &File, home: &mut Home, found: &mut Found) -> BTreeMap<Name, Target> {
    let known = declared(&file.bastions);
    let mut targets = BTreeMap::new();
    for entry in &file.targets {
        let name = entry_name(entry, "a target", found);
        let Some(raw) = &entry.value else { continue };
        let locator = locator(entry, raw, written(raw, file), home, found);
        let bastion = bastion(entry, raw, file, &known, found);
        if let (Some(name), Some(bastion), Some(locator)) = (name, bastion, locator) {
            targets.insert(name, Target { bastion, locator });
        }
    }
    targets
}

/// The bastion that leads to it, as it is written, whether there is one of that name or not.
fn written<'a>(raw: &'a RawTarget, file: &'a File) -> Option<&'a str> {
    match (&raw.bastion, file.bastions.as_slice()) {
        (Some(field), _) => field.value.as_ref().map(|text| text.value.as_str()),
        (None, [only]) => Some(&only.name),
        (None, _) => None,
    }
}

fn bastion<T>(
    entry: &Entry<T>,
    raw: &RawTarget,
    file: &File,
    known: &Declared<'_>,
    found: &mut Found,
) -> Option<Name> {
    if let Some(field) = &raw.bastion {
        let text = field.value.as_ref()?;
        return resolve(text, 0..text.value.len(), &file.bastions, Kind::Bastion, known, found);
    }
    if raw.spoilt {
        return None;
    }
    let missing = |label: &str| {
        let message = format!("target {} needs a `bastion`", quote(&entry.name));
        Diagnostic::new(codes::MISSING_KEY, entry.key.clone(), message, label)
    };
    match file.bastions.as_slice() {
        // A crooked name was refused where it is declared.
        [only] => Name::new(&only.name).ok(),
        [] => {
            found.push(
                missing("the file declares no bastion")
                    .help("declare the one it is reached through, for example `[bastions.hub]` with `name = \"bas-hub\"`"),
            );
            None
        }
        several => {
            let names: Vec<String> = several.iter().take(8).map(|bastion| quote(&bastion.name)).collect();
            found.push(
                missing("which of the bastions leads to it?")
                    .help(format!("add `bastion = \"…\"` with one of {}", names.join(", "))),
            );
            None
        }
    }
}

fn locator<T>(
    entry: &Entry<T>,
    raw: &RawTarget,
    bastion: Option<&str>,
    home: &mut Home,
    found: &mut Found,
) -> Option<Locator> {
    let place = Place { what: "target", name: &entry.name, key: &entry.key, bastion, spoilt: raw.spoilt };
    let members = [("vm", &raw.vm), ("vmss", &raw.vmss), ("nic", &raw.nic), ("ip", &raw.ip), ("id", &raw.id)];
    let mut chosen = members.into_iter().filter_map(|(key, field)| Some((key, field.as_ref()?)));
    let Some((first, field)) = chosen.next() else {
        if !raw.spoilt {
            let message = format!("target {} does not say what it is", quote(&entry.name));
            found.push(
                Diagnostic::new(codes::MISSING_KEY, entry.key.clone(), message, "needs one of `vm`, `vmss`, `nic`, `ip`, `id`")
                    .help("for example `{ vm = \"vm-web\" }`, `{ ip = \"10.0.0.4\" }` or `{ id = \"/subscriptions/…\" }`"),
            );
        }
        return None;
    };
    let mut alone = true;
    for (key, second) in chosen {
        alone = false;
        found.push(conflict(first, &field.key, key, &second.key, "a target is one thing"));
    }
    if !alone {
        return None;
    }
    let whole = matches!(first, "ip" | "id");
    for (key, second) in [("resource_group", &raw.resource_group), ("subscription", &raw.subscription)] {
        if let (true, Some(second)) = (whole, second) {
            let why = if first == "id" { "the ID holds it already" } else { "an address has none" };
            found.push(conflict(first, &field.key, key, &second.key, why));
        }
    }
    if let (false, Some(instance)) = (first == "vmss", &raw.instance) {
        let why = if first == "id" {
            "an ID says which is meant; that of a scale set means any of its instances"
        } else {
            "only a scale set has instances"
        };
        found.push(conflict(first, &field.key, "instance", &instance.key, why));
    }
    let text = field.value.as_ref();
    match first {
        "ip" => address(text?, found).map(|address| Endpoint::Address(address).into()),
        "id" => {
            let kinds = [VM, INSTANCE, SCALE_SET, INTERFACE, INSTANCE_INTERFACE];
            resource_id(text?, &kinds, found).map(Locator::of)
        }
        "vm" | "nic" => {
            let kind = if first == "vm" { VM } else { INTERFACE };
            let name = azure_name(Some(field), first, found);
            resource(&place, raw, kind.0, name, home, found).map(Locator::of)
        }
        _ => {
            let set = azure_name(Some(field), "vmss", found);
            let which = instance(raw, field, found);
            // What is missing of the ID is told whether or not the instance is right.
            let set = resource(&place, raw, SCALE_SET.0, set, home, found)?;
            match which? {
                Which::Any => Some(Locator::AnyInstance(set)),
                Which::Number(number) => {
                    let id = format!("{set}/virtualMachines/{number}");
                    Some(Locator::of(ResourceId::parse(&id).ok()?))
                }
            }
        }
    }
}

/// Which instance of a scale set.
enum Which {
    Any,
    Number(i64),
}

fn conflict(
    first: &str,
    first_key: &Range<usize>,
    key: &str,
    second: &Range<usize>,
    why: &str,
) -> Diagnostic {
    let message = format!("`{first}` and `{key}` exclude each other: {why}");
    Diagnostic::new(codes::CONFLICTING_KEYS, second.clone(), message, "take this out")
        .also(first_key.clone(), "or this")
}

fn resource(
    place: &Place<'_>,
    raw: &RawTarget,
    kind: &str,
    name: Option<String>,
    home: &mut Home,
    found: &mut Found,
) -> Option<ResourceId> {
    let subscription = azure_name(raw.subscription.as_ref(), "subscription", found);
    let resource_group = azure_name(raw.resource_group.as_ref(), "resource_group", found);
    let Filled { subscription, resource_group, az: _ } = home.fill(
        place,
        (raw.subscription.is_some(), subscription),
        (raw.resource_group.is_some(), resource_group),
        found,
    )?;
    compose(&subscription, &resource_group, kind, &name?)
}

fn instance(raw: &RawTarget, vmss: &Field<Text>, found: &mut Found) -> Option<Which> {
    let Some(field) = &raw.instance else {
        if !raw.spoilt {
            found.push(
                Diagnostic::new(
                    codes::MISSING_KEY,
                    vmss.key.clone(),
                    "a scale set needs an `instance`",
                    "which one?",
                )
                .help("add its number, `instance = 0`, or `instance = \"any\"` for one that runs"),
            );
        }
        return None;
    };
    match field.value.as_ref()? {
        Scalar::Number(number) if *number.get_ref() >= 0 => Some(Which::Number(*number.get_ref())),
        Scalar::Number(number) => {
            let message = "the number of an instance is not negative";
            found.push(Diagnostic::new(codes::INVALID_VALUE, number.span(), message, "too small"));
            None
        }
        Scalar::Text(text) if text.value == "any" => Some(Which::Any),
        Scalar::Text(text) => {
            let message = format!("{} is not the number of an instance", quote(&text.value));
            found.push(Diagnostic::new(
                codes::INVALID_VALUE,
                text.span.clone(),
                message,
                "expected a number, or \"any\"",
            ));
            None
        }
        Scalar::Flag(_) => None,
    }
}

fn address(text: &Text, found: &mut Found) -> Option<Ipv4Addr> {
    match text.value.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) if is_host(address) => return Some(address),
        Ok(_) | Err(_) => {}
    }
    let label = match text.value.parse::<IpAddr>() {
        Ok(IpAddr::V6(_)) => "Azure Bastion connects to IPv4 addresses only",
        Ok(IpAddr::V4(_)) => "not the address of one machine in a network",
        Err(_) => "expected an address such as \"10.0.0.4\"",
    };
    let message = format!("{} is not an address that a bastion can connect to", quote(&text.value));
    found.push(Diagnostic::new(codes::INVALID_VALUE, text.span.clone(), message, label));
    None
}

fn is_host(address: Ipv4Addr) -> bool {
    !(address.is_unspecified() || address.is_loopback() || address.is_multicast() || address.is_broadcast())
}
