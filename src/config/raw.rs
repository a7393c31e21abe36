//! The file as it was written: every key and value with its span, types checked, nothing resolved.
//!
//! What a key means, and whether what it names exists, is for [`lower`](super::lower).

use std::ops::Range;

use super::diagnostic::Diagnostic;
use super::document::{Map, Node};
use super::reader::{Entry, Reader, Scalar, Table, Takes, Text};
use super::shapes::{
    Azure, Backoff, Bastion, Behaviour, Defaults, Emulator, Fault, File, Identity, LongTunnel, Services,
    Target, Traits, Tunnel,
};
use super::{MAX_TUNNELS, codes, keys};

mod own;

pub(super) use own::read as read_own;

/// Reads a document. There is no file only when reading on would be wasteful.
pub(super) fn read(document: &Map, whole: bool, reader: &mut Reader) -> Option<File> {
    reader.file(document, whole)
}

impl Reader {
    fn file(&mut self, document: &Map, whole: bool) -> Option<File> {
        let root = self.table(document, &keys::ROOT);
        let tunnels = self.entries(&root, "tunnels");
        if let Some(one_too_many) = tunnels.get(MAX_TUNNELS) {
            let message = format!("the file has {} tunnels; at most {MAX_TUNNELS} are read", tunnels.len());
            let label = "the first one too many";
            self.found.push(Diagnostic::new(codes::TOO_LARGE, one_too_many.key.clone(), message, label));
            return None;
        }
        Some(File {
            whole,
            name: self.text(&root, "name", NAME),
            azure: self.azure(&root),
            defaults: self
                .sub(&root, "defaults", &keys::DEFAULTS)
                .map(|t| self.defaults(&t))
                .unwrap_or_default(),
            bastions: self.each(&root, "bastions", "name", Self::bastion),
            targets: self.each(&root, "targets", "vm", Self::target),
            tunnels: tunnels.into_iter().map(|entry| self.tunnel(entry)).collect(),
            emulator: self.emulator(&root).unwrap_or_default(),
        })
    }

    fn azure(&mut self, root: &Table<'_>) -> Azure {
        let Some(table) = self.sub(root, "azure", &keys::AZURE) else {
            return Azure { spoilt: root.key("azure").is_some(), ..Azure::default() };
        };
        Azure {
            spoilt: table.spoilt,
            cloud: self.text(&table, "cloud", NAME),
            subscription: self.text(&table, "subscription", NAME),
            resource_group: self.text(&table, "resource_group", NAME),
            identity: self.identity(&table),
        }
    }

    fn identity(&mut self, table: &Table<'_>) -> Identity {
        Identity {
            tenant: self.text(table, "tenant", Takes::text("a tenant's ID or domain name")),
            credential: self.text(table, "credential", Takes::text("the name of a credential")),
            client_id: self.text(table, "client_id", Takes::text("a client ID")),
        }
    }

    fn defaults(&mut self, table: &Table<'_>) -> Defaults {
        Defaults {
            listen_host: self.text(
                table,
                "listen_host",
                Takes::text("`\"localhost\"` or an address of this machine"),
            ),
            port_offset: self.number(table, "port_offset", OFFSET),
            worktree_offset: self.number(table, "worktree_offset", OFFSET),
            behaviour: self.behaviour(table),
        }
    }

    fn behaviour(&mut self, table: &Table<'_>) -> Behaviour {
        Behaviour {
            connect_timeout: self.text(table, "connect_timeout", Takes::DURATION),
            idle_close: self.text(table, "idle_close", Takes::DURATION),
            max_lifetime: self.text(table, "max_lifetime", Takes::DURATION),
            keepalive: self.text(table, "keepalive", Takes::DURATION),
            drain: self.text(table, "drain", Takes::DURATION),
            on_outage: self.text(table, "on_outage", Takes::text("\"hold\" or \"refuse\"")),
            max_connections: self.number(table, "max_connections", "a number from 0 to 100000"),
            probe: self.text(table, "probe", Takes::text("the name of a probe such as \"session\"")),
            lazy: self.flag(table, "lazy"),
            prewarm_dial: self.flag(table, "prewarm_dial"),
            prewarm: self.number(table, "prewarm", "a number from 0 to 20"),
            on_port_taken: self.text(table, "on_port_taken", Takes::text("\"fail\" or \"next\"")),
            backoff: self.sub(table, "backoff", &keys::BACKOFF).map_or_else(Backoff::default, |table| {
                Backoff {
                    initial: self.text(&table, "initial", Takes::DURATION),
                    max: self.text(&table, "max", Takes::DURATION),
                }
            }),
        }
    }

    /// Reads the entries of a table of tables.
    fn each<T>(
        &mut self,
        table: &Table<'_>,
        key: &str,
        wrap: &str,
        read: fn(&mut Self, &Map) -> T,
    ) -> Vec<Entry<Option<T>>> {
        let entries = self.entries(table, key);
        entries
            .into_iter()
            .map(|Entry { name, key, value }| {
                // A refused entry is still declared: what refers to it is not wrong.
                let items = value.as_table();
                if items.is_none() {
                    // `web = "vm-web"` says enough to tell what was meant.
                    let simple = value.as_str().filter(|text| !text.contains(['"', '\\', '\n']));
                    let fix = simple.map(|text| format!("{{ {wrap} = \"{text}\" }}"));
                    self.wrong_type(&name, value, "a table", fix);
                }
                Entry { name, key, value: items.map(|items| read(self, items)) }
            })
            .collect()
    }

    fn bastion(&mut self, items: &Map) -> Bastion {
        let table = self.table(items, &keys::BASTION);
        Bastion {
            spoilt: table.spoilt,
            name: self.text(&table, "name", NAME),
            resource_group: self.text(&table, "resource_group", NAME),
            subscription: self.text(&table, "subscription", NAME),
            id: self.text(&table, "id", RESOURCE_ID),
            max_sessions: self.number(&table, "max_sessions", "a number from 0 to 10000"),
            max_setups: self.number(&table, "max_setups", "a number from 1 to 10000"),
            identity: self.identity(&table),
        }
    }

    fn target(&mut self, items: &Map) -> Target {
        let table = self.table(items, &keys::TARGET);
        Target {
            spoilt: table.spoilt,
            vm: self.text(&table, "vm", NAME),
            vmss: self.text(&table, "vmss", NAME),
            nic: self.text(&table, "nic", NAME),
            instance: self.scalar(&table, "instance", Takes::number("the number of an instance").or_text()),
            ip: self.text(&table, "ip", Takes::text("an IPv4 address such as \"10.0.0.4\"")),
            id: self.text(&table, "id", RESOURCE_ID),
            bastion: self.text(&table, "bastion", Takes::text("the name of a bastion")),
            resource_group: self.text(&table, "resource_group", NAME),
            subscription: self.text(&table, "subscription", NAME),
        }
    }

    fn tunnel(&mut self, entry: Entry<&Node>) -> Entry<Tunnel> {
        let Entry { name, key, value } = entry;
        let takes = Takes::text("a table, or a string such as \"8080 -> TARGET:80\"");
        let tunnel = match value.as_table() {
            Some(items) => Tunnel::Long(Box::new(self.long_tunnel(items))),
            None => match self.value(&name, value, Takes { unit: " -> TARGET:80", ..takes }) {
                Some(Scalar::Text(text)) => Tunnel::Short(text),
                Some(Scalar::Number(_) | Scalar::Flag(_)) | None => Tunnel::Broken,
            },
        };
        Entry { name, key, value: tunnel }
    }

    fn long_tunnel(&mut self, items: &Map) -> LongTunnel {
        let table = self.table(items, &keys::TUNNEL);
        let listen = Takes::number("a port, \"auto\", or an address such as \"127.0.0.1:5432\"").or_text();
        LongTunnel {
            spoilt: table.spoilt,
            listen: self.scalar(&table, "listen", listen),
            target: self.text(&table, "target", Takes::text("the name of a target")),
            port: self.number(&table, "port", "a port from 1 to 65535"),
            port_offset: self.number(&table, "port_offset", OFFSET),
            expose: self.flag(&table, "expose"),
            enabled: self.flag(&table, "enabled"),
            profiles: self.texts(&table, "profiles", "an array of names such as [\"debug\"]"),
            env: self.strings(&table, "env", Takes::text("a string such as \"http://{addr}\"")),
            behaviour: self.behaviour(&table),
        }
    }

    /// The strings of a table whose keys are names.
    fn strings(&mut self, table: &Table<'_>, key: &str, takes: Takes) -> Vec<Entry<Option<Text>>> {
        let entries = self.entries(table, key);
        let each = |Entry { name, key, value }: Entry<&Node>| {
            let template = self.string(&name, value, takes);
            Entry { name, key, value: template }
        };
        entries.into_iter().map(each).collect()
    }

    fn emulator(&mut self, root: &Table<'_>) -> Option<Emulator> {
        let table = self.sub(root, "emulator", &keys::EMULATOR)?;
        let targets = self.entries(&table, "targets");
        let power = Takes::text("a word such as \"deallocated\"");
        let faults = self.tables(&table, "faults");
        Some(Emulator {
            log: self.text(&table, "log", Takes::text("the path of a file")),
            setup_delay: self.text(&table, "setup_delay", Takes::DURATION),
            idle_limit: self.text(&table, "idle_limit", Takes::DURATION),
            frames: self.text(
                &table,
                "frames",
                Takes { unit: " B", ..Takes::text("\"natural\", \"fragments\" or a size") },
            ),
            bastions: self.each(&table, "bastions", "sku", Self::traits),
            targets: targets.into_iter().map(|entry| self.services(entry)).collect(),
            power: self.strings(&table, "power", power),
            faults: faults.into_iter().map(|(span, items)| self.fault(span, items)).collect(),
        })
    }

    fn traits(&mut self, items: &Map) -> Traits {
        let table = self.table(items, &keys::EMULATOR_BASTION);
        let flag = Takes { flag: true, ..Takes::text("true, false or \"absent\"") };
        Traits {
            sku: self.text(&table, "sku", Takes::text("a SKU such as \"Standard\"")),
            enable_tunneling: self.scalar(&table, "enable_tunneling", flag),
            enable_ip_connect: self.scalar(&table, "enable_ip_connect", flag),
            dns_name: self.text(&table, "dns_name", Takes::text("a string")),
            max_sessions: self.number(&table, "max_sessions", "a number from 0"),
            reader: self.flag(&table, "reader"),
            private_only: self.flag(&table, "private_only"),
        }
    }

    fn services(&mut self, entry: Entry<&Node>) -> Entry<Services> {
        let Entry { name, key, value } = entry;
        let services = if let Some(items) = value.as_table() {
            let each = |Entry { name, key, value }: Entry<&Node>| {
                let service = self.service(&name, value);
                Entry { name, key, value: service }
            };
            Services::ByPort(Self::named(items).into_iter().map(each).collect())
        } else {
            self.service(&name, value).map_or(Services::Broken, Services::Everywhere)
        };
        Entry { name, key, value: services }
    }

    fn service(&mut self, key: &str, value: &Node) -> Option<Text> {
        self.string(key, value, Takes::text("a service such as \"builtin:http\""))
    }

    fn fault(&mut self, span: Range<usize>, items: &Map) -> Fault {
        let table = self.table(items, &keys::FAULT);
        let size = Takes::number("a number of bytes, or a size such as \"64 KiB\"").or_text();
        Fault {
            span,
            spoilt: table.spoilt,
            phase: self.text(&table, "phase", Takes::text("the name of a phase")),
            action: self.text(&table, "do", Takes::text("a fault such as \"reset\" or \"401\"")),
            after: self.scalar(&table, "after", size),
            times: self.number(&table, "times", "a number from 0"),
            target: self.text(&table, "target", Takes::text("the name of a target")),
        }
    }
}

const OFFSET: &str = "a number that is added to ports";
const NAME: Takes = Takes::text("a string");
const RESOURCE_ID: Takes = Takes::text("a resource ID");
