//! The user's own configuration: what it may hold, and over what it goes.
//!
//! It holds what is a person's, for all workspaces: defaults, which every workspace may change; a credential, which none
//! may; and what no workspace may say at all: clouds, and the way to Azure. What names bastions, targets or tunnels belongs into a workspace.

use super::codes;
use super::diagnostic::{Diagnostic, quote};
use super::document::{Map, Member, Node, Value};
use super::keys::{AZURE, Keys, PERSONAL, ROOT, USER, USER_ONLY};
use super::suggest::nearest;

/// The user's layer, in the two places where it stands among the others.
#[derive(Debug, Default)]
pub(super) struct User {
    /// Below all others.
    pub(super) defaults: Map,
    /// Over all but the workspace's personal layer.
    pub(super) personal: Map,
    /// What no other layer can hold.
    pub(super) own: Map,
}

/// Takes the user's layer apart; what it may not hold is refused and left out.
pub(super) fn split(layer: Map, found: &mut Vec<Diagnostic>) -> User {
    let mut user = User::default();
    for (name, member) in layer.into_members() {
        match name.as_str() {
            "defaults" => user.defaults.insert(&name, member),
            "azure" => user.personal.insert(&name, personal(member, found)),
            "clouds" | "network" => user.own.insert(&name, member),
            name if USER_ONLY.contains(&name) || USER.later.contains(&name) => {
                let message = format!("`{name}` is not supported yet");
                let label = "this version cannot do it";
                found.push(
                    Diagnostic::new(codes::NOT_SUPPORTED_YET, member.key, message, label)
                        .help("take it out for now; a key is refused rather than ignored"),
                );
            }
            name => {
                let known = ROOT.get(name).is_some() || ROOT.later.contains(&name);
                let holds = "your own configuration holds `azure.credential`, `azure.client_id`, `[defaults]`, `[ssh]`, `[rdp]`, `[clouds]`, `[network]`, `peers` and `unclean_end`";
                found.push(refuse(name, &member, known, &USER, holds));
            }
        }
    }
    user
}

fn personal(mut azure: Member, found: &mut Vec<Diagnostic>) -> Member {
    // What is no table is refused when it is read.
    if let Value::Table(table) = &mut azure.value.value {
        let mut kept = Map::default();
        for (name, member) in std::mem::take(table).into_members() {
            if PERSONAL.get(&name).is_some() {
                kept.insert(&name, member);
            } else {
                let known = AZURE.get(&name).is_some() || AZURE.later.contains(&name.as_str());
                let holds = "`[azure]` in your own configuration holds `credential` and `client_id`";
                found.push(refuse(&name, &member, known, &PERSONAL, holds));
            }
        }
        azure.value = Node { value: Value::Table(kept), ..azure.value };
    }
    azure
}

fn refuse(name: &str, member: &Member, known: bool, allowed: &Keys, holds: &str) -> Diagnostic {
    let span = member.key.clone();
    if known {
        let message = format!("`{name}` may not stand in your own configuration");
        let label = "belongs in a workspace's file";
        return Diagnostic::new(codes::NOT_IN_USER_CONFIG, span, message, label).help(holds);
    }
    let message = format!("unknown key {} in your own configuration", quote(name));
    let unknown = Diagnostic::new(codes::UNKNOWN_KEY, span.clone(), message, "not a key of this file");
    match nearest(name, allowed.names().chain(allowed.later.iter().copied())) {
        Some(near) => unknown.fix(format!("did you mean `{near}`?"), span, near),
        None => unknown.help(holds),
    }
}
