//! `[emulator.targets]` and `[emulator.power]`: the machines behind the simulated bastions.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::emulator::Own;
use super::values::{port, word};
use super::{Found, Kind, declared, resolve_key};
use crate::config::codes;
use crate::config::diagnostic::{Diagnostic, quote};
use crate::config::reader::{Entry, Text};
use crate::config::shapes::{File, Services};
use crate::config::suggest::nearest;
use crate::model::{Endpoint, Locator, Machine, MachinePower, Name, Port, Service, Target, is_loopback};

/// What listens on a simulated target.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Listening {
    ports: BTreeMap<Port, Service>,
    otherwise: Option<Service>,
}

impl Default for Listening {
    /// What a target has of which the file says nothing: a page on 80, an echo on 7.
    fn default() -> Self {
        let ports = [(7, Service::Echo), (80, Service::Http)];
        let ports = ports.into_iter().filter_map(|(port, service)| Some((Port::new(port)?, service)));
        Self { ports: ports.collect(), otherwise: None }
    }
}

/// Gives every target of the workspace a counterpart; a scale set of which any instance will do, two instances.
pub(super) fn lower(file: &File, targets: &BTreeMap<Name, Target>, found: &mut Found) -> Vec<Machine> {
    let known = declared(&file.targets);
    let mut services = Own::default();
    for entry in &file.emulator.targets {
        let known = resolve_key(entry, &file.targets, Kind::Target, &known, found);
        let listening = match &entry.value {
            Services::Everywhere(text) => {
                Some(Listening { ports: BTreeMap::new(), otherwise: service(text, found) })
            }
            Services::ByPort(entries) => Some(by_port(entries, found)),
            Services::Broken => None,
        };
        let target = known.and_then(|name| targets.get(&name));
        if let (Some(target), Some(listening)) = (target, listening) {
            services.set(identity(&target.locator), listening, entry.key.clone(), found);
        }
    }
    let mut powers = Own::default();
    for entry in &file.emulator.power {
        let known = resolve_key(entry, &file.targets, Kind::Target, &known, found);
        let power = entry.value.as_ref().and_then(|text| power(text, found));
        let target = known.and_then(|name| targets.get(&name));
        if let (Some(target), Some(power)) = (target, power) {
            powers.set(identity(&target.locator), power, entry.key.clone(), found);
        }
    }
    let mut all: BTreeMap<Endpoint, Machine> = BTreeMap::new();
    let mut locators: Vec<&Locator> = targets.values().map(|target| &target.locator).collect();
    // What the file says of a machine by its own name goes over what it says of all of a scale set.
    locators.sort_by_key(|locator| !matches!(locator, Locator::Endpoint(_)));
    for locator in locators {
        let Listening { ports, otherwise } = services.get(&identity(locator)).unwrap_or_default();
        let power = powers.get(&identity(locator)).unwrap_or_default();
        for machine in Machine::all_of(locator) {
            let there = all.entry(machine.endpoint.clone()).or_insert_with(|| Machine {
                ports: ports.clone(),
                otherwise: otherwise.clone(),
                power,
                ..machine.clone()
            });
            there.interface = there.interface.take().or(machine.interface);
        }
    }
    all.into_values().collect()
}

/// What a fault is about that names a target: a scale set stands for its instances.
pub(super) fn meant(locator: &Locator) -> Option<Endpoint> {
    match locator {
        Locator::AnyInstance(set) => Some(Endpoint::Resource(set.clone())),
        Locator::Endpoint(_) | Locator::Interface(_) => {
            Machine::all_of(locator).into_iter().next().map(|machine| machine.endpoint)
        }
    }
}

/// Two targets with the same identity are one thing.
fn identity(locator: &Locator) -> String {
    locator.id().map_or_else(|| locator.to_string(), |id| id.as_str().to_ascii_lowercase())
}

fn power(text: &Text, found: &mut Found) -> Option<MachinePower> {
    word(text, "power", MachinePower::ALL, found)
}

fn by_port(entries: &[Entry<Option<Text>>], found: &mut Found) -> Listening {
    let mut listening = Listening { ports: BTreeMap::new(), otherwise: None };
    for entry in entries {
        let service = entry.value.as_ref().and_then(|text| service(text, found));
        if entry.name == "default" {
            listening.otherwise = service;
        } else if let Ok(number) = entry.name.parse::<i64>() {
            if let (Some(port), Some(service)) = (port(number, entry.key.clone(), found), service) {
                listening.ports.insert(port, service);
            }
        } else {
            let message = format!("{} is not a port", quote(&entry.name));
            let wrong = Diagnostic::new(
                codes::UNKNOWN_KEY,
                entry.key.clone(),
                message,
                "expected a number or `default`",
            );
            found.push(match nearest(&entry.name, ["default"]) {
                Some(near) => wrong.fix(format!("did you mean `{near}`?"), entry.key.clone(), near),
                None => wrong.help("for example `{ 80 = \"builtin:http\", default = \"builtin:echo\" }`"),
            });
        }
    }
    listening
}

fn service(text: &Text, found: &mut Found) -> Option<Service> {
    match text.value.as_str() {
        "builtin:http" => return Some(Service::Http),
        "builtin:echo" => return Some(Service::Echo),
        _ => {}
    }
    let label = match text.value.parse::<SocketAddr>() {
        Ok(address) if address.port() == 0 => "the port must be more than zero",
        // A file that others can commit to must not make this machine connect anywhere.
        Ok(address) if !is_loopback(&address) => "a real server must be on this machine's loopback",
        Ok(address) => return Some(Service::Tcp(address)),
        Err(_) => "expected a built-in service, or a loopback address and port",
    };
    let message = format!("{} is not a service", quote(&text.value));
    let wrong = Diagnostic::new(codes::INVALID_VALUE, text.span.clone(), message, label);
    found.push(match nearest(&text.value, ["builtin:http", "builtin:echo"]) {
        Some(near) => wrong.fix(format!("did you mean `{near}`?"), text.span.clone(), format!("\"{near}\"")),
        None => wrong.help("`\"builtin:http\"`, `\"builtin:echo\"` or, for example, `\"127.0.0.1:22\"`"),
    });
    None
}
