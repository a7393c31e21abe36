//! Laying one layer over another.
//!
//! Tables merge key by key; everything else replaces what was there. Members of one choice exclude each other across
//! layers: who names another one drops the earlier one, with all that belonged to it. Two in one layer stay, and are
//! refused when they are read.

use super::diagnostic::Diagnostic;
use super::document::{Map, Member, Node, Value};

/// Members that exclude each other, in every entry of a table.
struct Choice {
    /// The table of the entries.
    table: &'static str,
    /// The members, each with all of its keys.
    members: &'static [&'static [&'static str]],
    /// Keys that go with some members, and name none: each with a key of those that it goes with.
    companions: &'static [(&'static str, &'static [&'static str])],
}

const CHOICES: &[Choice] = &[
    Choice {
        table: "bastions",
        members: &[&["id"], &["name", "resource_group", "subscription"]],
        companions: &[],
    },
    Choice {
        table: "targets",
        members: &[&["id"], &["vm"], &["vmss"], &["nic"], &["aks"], &["ip"], &["via", "host"]],
        companions: &[
            ("instance", &["vmss"]),
            ("resource_group", &["vm", "vmss", "nic", "aks"]),
            ("subscription", &["vm", "vmss", "nic", "aks"]),
        ],
    },
    Choice { table: "tunnels", members: &[&["target"], &["via", "host"]], companions: &[] },
];

/// Lays one layer over the earlier ones.
pub(super) fn lay_over(under: &mut Map, over: Map, found: &mut Vec<Diagnostic>) {
    for (key, over) in over.into_members() {
        let choice = CHOICES.iter().find(|choice| choice.table == key);
        if let (Some(choice), Some(under), Value::Table(entries)) =
            (choice, under.get_mut(&key), &over.value.value)
            && let Value::Table(under) = &mut under.value.value
        {
            for (name, entry) in entries.in_order() {
                if let (Some(under), Some(over)) = (under.get_mut(name), entry.value.as_table())
                    && let Value::Table(under) = &mut under.value.value
                {
                    choice.decide(under, over);
                }
            }
        }
        member(under, &key, over, found);
    }
}

impl Choice {
    /// Takes out of the earlier layers what the later one excludes.
    fn decide(&self, under: &mut Map, over: &Map) {
        let named = |member: &[&str]| member.iter().any(|key| over.get(key).is_some());
        if !self.members.iter().any(|member| named(member)) {
            return;
        }
        for member in self.members.iter().filter(|member| !named(member)) {
            for key in *member {
                under.remove(key);
            }
        }
        for (key, with) in self.companions {
            if !named(with) {
                under.remove(key);
            }
        }
    }
}

fn member(under: &mut Map, key: &str, over: Member, found: &mut Vec<Diagnostic>) {
    match under.get_mut(key) {
        Some(earlier) => node(earlier, over, found),
        None => under.insert(key, over),
    }
}

/// A table's key stays where it was first: that is where it is declared.
fn node(under: &mut Member, over: Member, found: &mut Vec<Diagnostic>) {
    match (&mut under.value.value, over.value.value) {
        (Value::Table(under), Value::Table(over)) => {
            for (key, over) in over.into_members() {
                member(under, &key, over, found);
            }
        }
        // A short form with a variable that is not set: a table over it that changes only a part cannot stand alone.
        (Value::Refused(why), Value::Table(over)) if !stands_alone(&over) => found.append(why),
        (_, value) => {
            under.key = over.key;
            under.value = Node { value, ..over.value };
        }
    }
}

/// Whether a tunnel's table says all that a short form does.
fn stands_alone(tunnel: &Map) -> bool {
    ["listen", "port"].iter().all(|key| tunnel.get(key).is_some())
}

/// What was refused for a reason that only counts if the value is used, and is used.
pub(super) fn refused(merged: &mut Map, found: &mut Vec<Diagnostic>) {
    let mut left: Vec<&mut Node> = merged.values_mut().collect();
    while let Some(node) = left.pop() {
        match &mut node.value {
            Value::Refused(why) => found.append(why),
            Value::Array(items) => left.extend(items),
            Value::Table(table) => left.extend(table.values_mut()),
            Value::Text(..) | Value::Number { .. } | Value::Float(_) | Value::Flag(_) | Value::Date(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;
