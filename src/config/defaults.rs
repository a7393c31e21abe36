//! What holds for everything declared, said or not: the values behind the keys that no file sets.

use std::time::Duration;

use jiff::SignedDuration;
use jiff::fmt::friendly::SpanPrinter;
use toml::Value;

use crate::model::{Bastion, Behaviour, CredentialKind, Desired, Name, OnOutage, OnPortTaken, Tunnel};

/// The effective value of every key that has one where no file sets it, as pairs of a dotted key and TOML's text.
///
/// Names with a dot in them are quoted in keys. Where a file does set a key, this is what it came to.
pub fn defaults_of(desired: &Desired) -> Vec<(String, String)> {
    let mut all = List(Vec::new());
    all.add("name", text(desired.workspace.as_str()));
    all.add("azure.cloud", text(desired.cloud.name()));
    for (name, bastion) in &desired.bastions {
        all.bastion(&format!("bastions.{}", part(name)), bastion);
    }
    for (name, target) in &desired.targets {
        all.add(&format!("targets.{}.bastion", part(name)), text(target.bastion.as_str()));
    }
    for (name, tunnel) in &desired.tunnels {
        all.tunnel(&format!("tunnels.{}", part(name)), tunnel);
    }
    all.0
}

/// The key of where a tunnel listens.
pub fn listen_key(tunnel: &Name) -> String {
    format!("tunnels.{}.listen", part(tunnel))
}

struct List(Vec<(String, String)>);

impl List {
    fn add(&mut self, key: &str, value: impl Into<Value>) {
        self.0.push((key.to_owned(), value.into().to_string()));
    }

    fn bastion(&mut self, at: &str, bastion: &Bastion) {
        let Bastion { id, identity, limits } = bastion;
        self.add(&format!("{at}.name"), text(id.name()));
        self.add(&format!("{at}.resource_group"), text(id.resource_group()));
        self.add(&format!("{at}.subscription"), text(id.subscription()));
        let credential = CredentialKind::ALL.iter().find(|(_, kind)| *kind == identity.credential);
        if let Some((word, _)) = credential {
            self.add(&format!("{at}.credential"), text(word));
        }
        for (key, value) in [("tenant", &identity.tenant), ("client_id", &identity.client_id)] {
            if let Some(value) = value {
                self.add(&format!("{at}.{key}"), text(value));
            }
        }
        self.add(&format!("{at}.max_sessions"), number(limits.sessions));
        self.add(&format!("{at}.max_setups"), number(limits.setups));
    }

    fn tunnel(&mut self, at: &str, tunnel: &Tunnel) {
        let Behaviour {
            connect_timeout,
            idle_close,
            max_lifetime,
            keepalive,
            drain,
            on_outage,
            max_connections,
            probe,
            lazy,
            prewarm,
            prewarm_dial,
            backoff,
            on_port_taken,
        } = &tunnel.behaviour;
        let profiles = tunnel.profiles.iter().map(|profile| text(profile.as_str())).collect();
        let on_outage = match on_outage {
            OnOutage::Hold => "hold",
            OnOutage::Refuse => "refuse",
        };
        let on_port_taken = match on_port_taken {
            OnPortTaken::Fail => "fail",
            OnPortTaken::Next => "next",
        };
        let all = [
            ("target", text(tunnel.target.as_str())),
            ("enabled", Value::Boolean(true)),
            ("profiles", Value::Array(profiles)),
            ("expose", Value::Boolean(!tunnel.listen.is_loopback())),
            ("connect_timeout", duration(*connect_timeout)),
            ("idle_close", duration(*idle_close)),
            ("max_lifetime", duration(*max_lifetime)),
            ("keepalive", duration(*keepalive)),
            ("drain", duration(*drain)),
            ("on_outage", text(on_outage)),
            ("max_connections", number(*max_connections)),
            ("probe", text(&probe.to_string())),
            ("lazy", Value::Boolean(*lazy)),
            ("prewarm", number(*prewarm)),
            ("prewarm_dial", Value::Boolean(*prewarm_dial)),
            ("backoff.initial", duration(backoff.0)),
            ("backoff.max", duration(backoff.1)),
            ("on_port_taken", text(on_port_taken)),
        ];
        if tunnel.auto {
            self.add(&format!("{at}.listen"), text("auto"));
        }
        for (key, value) in all {
            self.add(&format!("{at}.{key}"), value);
        }
    }
}

/// A name as a part of a dotted key.
fn part(name: &Name) -> String {
    let name = name.as_str();
    if name.contains('.') { format!("\"{name}\"") } else { name.to_owned() }
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

fn number(number: usize) -> Value {
    Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

/// A duration as a file would have it.
fn duration(duration: Duration) -> Value {
    let signed = SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
    Value::String(SpanPrinter::new().duration_to_string(&signed))
}
