//! `[emulator]`: the simulated Azure behind `cloud = "emulator"`.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Component, PathBuf};

use super::values::{Zero, duration, parse_size, whole};
use super::{Found, Kind, declared, faults, given, machines, resolve_key};
use crate::config::codes;
use crate::config::diagnostic::{Diagnostic, quote};
use crate::config::keys;
use crate::config::reader::{Field, Scalar, Text};
use crate::config::shapes::{File, Traits};
use crate::model::{Bastion, BastionTraits, Emulation, Frames, Name, ResourceId, Sku, Target};

/// Frames above this size are refused by WebSocket clients, ours among them.
const LARGEST_FRAME: u64 = 16 * 1024 * 1024;

/// Lowers the emulator's table, and gives every bastion and target of the workspace a counterpart.
pub(super) fn lower(
    file: &File,
    bastions: &BTreeMap<Name, Bastion>,
    targets: &BTreeMap<Name, Target>,
    found: &mut Found,
) -> Emulation {
    let raw = &file.emulator;
    let log = given(raw.log.as_ref()).and_then(|text| log(text, found));
    Emulation {
        bastions: all_bastions(file, bastions, found),
        machines: machines::lower(file, targets, found),
        loose_interfaces: Vec::new(),
        frames: given(raw.frames.as_ref()).and_then(|text| frames(text, found)).unwrap_or_default(),
        setup_delay: duration(raw.setup_delay.as_ref(), "setup_delay", Zero::Allowed, found)
            .unwrap_or_default(),
        idle_limit: duration(raw.idle_limit.as_ref(), "idle_limit", Zero::Allowed, found)
            .unwrap_or(Emulation::default().idle_limit),
        faults: faults::lower(file, targets, found),
        log,
    }
}

/// A committed file must not make its reader write anywhere else: a plain `.jsonl` file below the workspace.
fn log(text: &Text, found: &mut Found) -> Option<PathBuf> {
    let path = PathBuf::from(&text.value);
    let below = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if !below
        || path.extension().is_none_or(|extension| extension != "jsonl")
        || text.value.contains(['\0', '\\'])
    {
        let message = format!("`log` cannot be {}", quote(&text.value));
        let why = "expected a `.jsonl` file below the workspace's directory";
        found.push(Diagnostic::new(codes::INVALID_VALUE, text.span.clone(), message, why));
        return None;
    }
    Some(path)
}

fn frames(text: &Text, found: &mut Found) -> Option<Frames> {
    match text.value.as_str() {
        "natural" => return Some(Frames::Natural),
        "fragments" => return Some(Frames::Fragments),
        _ => {}
    }
    let why = match parse_size(&text.value) {
        Ok(0) => "must be more than zero",
        Ok(size) if size > LARGEST_FRAME => "the largest is 16 MiB",
        Ok(size) => return usize::try_from(size).ok().map(Frames::Size),
        Err(why) => why,
    };
    let message = format!("`frames` cannot be {}", quote(&text.value));
    found.push(
        Diagnostic::new(codes::INVALID_VALUE, text.span.clone(), message, why)
            .help("`\"natural\"`, `\"fragments\"`, or a size such as `\"64 KiB\"`"),
    );
    None
}

fn all_bastions(
    file: &File,
    bastions: &BTreeMap<Name, Bastion>,
    found: &mut Found,
) -> Vec<(ResourceId, BastionTraits)> {
    let known = declared(&file.bastions);
    let mut own = Own::default();
    for entry in &file.emulator.bastions {
        let known = resolve_key(entry, &file.bastions, Kind::Bastion, &known, found);
        let Some(raw) = &entry.value else { continue };
        let traits = traits(raw, found);
        if let Some(bastion) = known.and_then(|name| bastions.get(&name)) {
            own.set(bastion.id.as_str().to_ascii_lowercase(), traits, entry.key.clone(), found);
        }
    }
    let mut all: BTreeMap<String, (ResourceId, BastionTraits)> = BTreeMap::new();
    for bastion in bastions.values() {
        let key = bastion.id.as_str().to_ascii_lowercase();
        let traits = own.get(&key).unwrap_or_default();
        all.entry(key).or_insert_with(|| (bastion.id.clone(), traits));
    }
    all.into_values().collect()
}

fn traits(raw: &Traits, found: &mut Found) -> BastionTraits {
    let sku = given(raw.sku.as_ref()).and_then(|text| sku(text, found));
    let default = sku.map_or_else(BastionTraits::default, BastionTraits::of);
    BastionTraits {
        sku: default.sku,
        enable_tunneling: flag(
            raw.enable_tunneling.as_ref(),
            "enable_tunneling",
            default.enable_tunneling,
            found,
        ),
        enable_ip_connect: flag(
            raw.enable_ip_connect.as_ref(),
            "enable_ip_connect",
            default.enable_ip_connect,
            found,
        ),
        // Unchecked on purpose: a wrong one is what it is for.
        dns_name: given(raw.dns_name.as_ref()).map(|text| text.value.clone()),
        max_sessions: whole(raw.max_sessions.as_ref(), "max_sessions", keys::EMULATED_SESSIONS, found)
            .unwrap_or(default.max_sessions),
        reader: given(raw.reader.as_ref()).map_or(default.reader, |flag| *flag.get_ref()),
        private_only: given(raw.private_only.as_ref()).map_or(default.private_only, |flag| *flag.get_ref()),
    }
}

fn sku(text: &Text, found: &mut Found) -> Option<Sku> {
    match text.value.to_ascii_lowercase().as_str() {
        "developer" => Some(Sku::Developer),
        "quickconnect" => Some(Sku::QuickConnect),
        "basic" => Some(Sku::Basic),
        "standard" => Some(Sku::Standard),
        "premium" => Some(Sku::Premium),
        _ => {
            let message = format!("`sku` cannot be {}", quote(&text.value));
            let wrong = Diagnostic::new(
                codes::INVALID_VALUE,
                text.span.clone(),
                message,
                "not a SKU that the emulator knows",
            );
            found.push(
                wrong.help(
                    "`\"Developer\"`, `\"QuickConnect\"`, `\"Basic\"`, `\"Standard\"` or `\"Premium\"`",
                ),
            );
            None
        }
    }
}

fn flag(field: Option<&Field<Scalar>>, key: &str, default: Option<bool>, found: &mut Found) -> Option<bool> {
    match given(field) {
        Some(Scalar::Flag(flag)) => Some(*flag.get_ref()),
        Some(Scalar::Text(text)) if text.value == "absent" => None,
        Some(Scalar::Text(text)) => {
            let message = format!("`{key}` takes true, false or \"absent\", not {}", quote(&text.value));
            let mut wrong =
                Diagnostic::new(codes::INVALID_VALUE, text.span.clone(), message, "none of the three");
            if matches!(text.value.as_str(), "true" | "false") {
                wrong = wrong.fix("without quotes", text.span.clone(), &text.value);
            }
            found.push(wrong);
            default
        }
        Some(Scalar::Number(_)) | None => default,
    }
}

/// What the file says about simulated things, by identity: two names may stand for one thing, but not differ about it.
#[derive(Debug)]
pub(super) struct Own<T>(BTreeMap<String, (T, Range<usize>)>);

impl<T> Default for Own<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Clone + PartialEq> Own<T> {
    pub(super) fn set(&mut self, identity: String, value: T, key: Range<usize>, found: &mut Found) {
        match self.0.get(&identity) {
            Some((first, at)) if *first != value => {
                let message =
                    "two names stand for one thing in Azure, and the emulator is told to make it differ";
                let clash = Diagnostic::new(codes::CONFLICTING_KEYS, key, message, "says something else");
                found.push(clash.also(at.clone(), "than this").help("keep one of the two"));
            }
            Some(_) => {}
            None => {
                self.0.insert(identity, (value, key));
            }
        }
    }

    pub(super) fn get(&self, identity: &str) -> Option<T> {
        self.0.get(identity).map(|(value, _)| value.clone())
    }
}
