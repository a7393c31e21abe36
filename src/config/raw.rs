//! The file as it was written: every key and value with its span, types checked, nothing resolved.
//!
//! What a key means, and whether what it names exists, is for [`lower`](super::lower).

use std::ops::Range;

use toml::Spanned;

use super::diagnostic::Diagnostic;
use super::document::{Map, Node};
use super::reader::{Entry, Field, Reader, Scalar, Table, Takes, Text};
use super::{MAX_TUNNELS, codes, keys};

/// A workspace's file.
#[derive(Debug, Default)]
pub(super) struct File {
    /// Whether all of it was TOML; if not, what seems to be absent may be there.
    pub(super) whole: bool,
    pub(super) name: Option<Field<Text>>,
    pub(super) azure: Azure,
    pub(super) defaults: Defaults,
    pub(super) bastions: Vec<Entry<Option<Bastion>>>,
    pub(super) targets: Vec<Entry<Option<Target>>>,
    pub(super) tunnels: Vec<Entry<Tunnel>>,
    pub(super) emulator: Emulator,
}

/// `[azure]`.
#[derive(Debug, Default)]
pub(super) struct Azure {
    /// Where the table's name stands.
    pub(super) key: Option<Range<usize>>,
    /// Whether a key was refused that may stand for one that is needed.
    pub(super) spoilt: bool,
    pub(super) cloud: Option<Field<Text>>,
    pub(super) subscription: Option<Field<Text>>,
    pub(super) resource_group: Option<Field<Text>>,
}

/// `[defaults]`.
#[derive(Debug, Default)]
pub(super) struct Defaults {
    pub(super) listen_host: Option<Field<Text>>,
    pub(super) times: Times,
}

/// The durations that `[defaults]` and each tunnel may set.
#[derive(Debug, Default)]
pub(super) struct Times {
    pub(super) connect_timeout: Option<Field<Text>>,
    pub(super) keepalive: Option<Field<Text>>,
}

/// `[bastions.NAME]`.
#[derive(Debug)]
pub(super) struct Bastion {
    pub(super) name: Option<Field<Text>>,
    pub(super) resource_group: Option<Field<Text>>,
    pub(super) subscription: Option<Field<Text>>,
    pub(super) id: Option<Field<Text>>,
    pub(super) max_setups: Option<Field<Spanned<i64>>>,
}

/// An entry of `[targets]`.
#[derive(Debug)]
pub(super) struct Target {
    /// Whether a key was refused that may stand for one that is needed.
    pub(super) spoilt: bool,
    pub(super) vm: Option<Field<Text>>,
    pub(super) vmss: Option<Field<Text>>,
    pub(super) instance: Option<Field<Scalar>>,
    pub(super) ip: Option<Field<Text>>,
    pub(super) id: Option<Field<Text>>,
    pub(super) bastion: Option<Field<Text>>,
    pub(super) resource_group: Option<Field<Text>>,
    pub(super) subscription: Option<Field<Text>>,
}

/// An entry of `[tunnels]`.
#[derive(Debug)]
pub(super) enum Tunnel {
    /// `"LISTEN -> TARGET:PORT"`.
    Short(Text),
    /// A table.
    Long(Box<LongTunnel>),
    /// Neither; refused already.
    Broken,
}

/// `[tunnels.NAME]`.
#[derive(Debug)]
pub(super) struct LongTunnel {
    /// Whether a key was refused that may stand for one that is needed.
    pub(super) spoilt: bool,
    pub(super) listen: Option<Field<Scalar>>,
    pub(super) target: Option<Field<Text>>,
    pub(super) port: Option<Field<Spanned<i64>>>,
    pub(super) times: Times,
}

/// `[emulator]`.
#[derive(Debug, Default)]
pub(super) struct Emulator {
    pub(super) log: Option<Field<Text>>,
    pub(super) setup_delay: Option<Field<Text>>,
    pub(super) idle_limit: Option<Field<Text>>,
    pub(super) frames: Option<Field<Text>>,
    pub(super) bastions: Vec<Entry<Option<Traits>>>,
    pub(super) targets: Vec<Entry<Services>>,
    pub(super) faults: Vec<Fault>,
}

/// `[emulator.bastions.NAME]`.
#[derive(Debug)]
pub(super) struct Traits {
    pub(super) sku: Option<Field<Text>>,
    pub(super) enable_tunneling: Option<Field<Scalar>>,
    pub(super) enable_ip_connect: Option<Field<Scalar>>,
    pub(super) dns_name: Option<Field<Text>>,
    pub(super) max_sessions: Option<Field<Spanned<i64>>>,
    pub(super) reader: Option<Field<Spanned<bool>>>,
}

/// An entry of `[emulator.targets]`.
#[derive(Debug)]
pub(super) enum Services {
    /// The same service on every port.
    Everywhere(Text),
    /// By port, or `default`.
    ByPort(Vec<Entry<Option<Text>>>),
    /// Neither; refused already.
    Broken,
}

/// One of `[[emulator.faults]]`.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) span: Range<usize>,
    /// Whether a key was refused that may stand for one that is needed.
    pub(super) spoilt: bool,
    pub(super) phase: Option<Field<Text>>,
    pub(super) action: Option<Field<Text>>,
    pub(super) after: Option<Field<Scalar>>,
    pub(super) times: Option<Field<Spanned<i64>>>,
    pub(super) target: Option<Field<Text>>,
}

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
            key: root.key("azure"),
            spoilt: table.spoilt,
            cloud: self.text(&table, "cloud", NAME),
            subscription: self.text(&table, "subscription", NAME),
            resource_group: self.text(&table, "resource_group", NAME),
        }
    }

    fn defaults(&mut self, table: &Table<'_>) -> Defaults {
        Defaults {
            listen_host: self.text(
                table,
                "listen_host",
                Takes::text("`\"localhost\"` or a loopback address"),
            ),
            times: self.times(table),
        }
    }

    fn times(&mut self, table: &Table<'_>) -> Times {
        Times {
            connect_timeout: self.text(table, "connect_timeout", Takes::DURATION),
            keepalive: self.text(table, "keepalive", Takes::DURATION),
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
            name: self.text(&table, "name", NAME),
            resource_group: self.text(&table, "resource_group", NAME),
            subscription: self.text(&table, "subscription", NAME),
            id: self.text(&table, "id", RESOURCE_ID),
            max_setups: self.number(&table, "max_setups", "a number from 1 to 10000"),
        }
    }

    fn target(&mut self, items: &Map) -> Target {
        let table = self.table(items, &keys::TARGET);
        Target {
            spoilt: table.spoilt,
            vm: self.text(&table, "vm", NAME),
            vmss: self.text(&table, "vmss", NAME),
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
        let listen = Takes::number("a port, or an address such as \"127.0.0.1:5432\"").or_text();
        LongTunnel {
            spoilt: table.spoilt,
            listen: self.scalar(&table, "listen", listen),
            target: self.text(&table, "target", Takes::text("the name of a target")),
            port: self.number(&table, "port", "a port from 1 to 65535"),
            times: self.times(&table),
        }
    }

    fn emulator(&mut self, root: &Table<'_>) -> Option<Emulator> {
        let table = self.sub(root, "emulator", &keys::EMULATOR)?;
        let targets = self.entries(&table, "targets");
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
        match self.value(key, value, Takes::text("a service such as \"builtin:http\"")) {
            Some(Scalar::Text(text)) => Some(text),
            Some(Scalar::Number(_) | Scalar::Flag(_)) | None => None,
        }
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

const NAME: Takes = Takes::text("a string");
const RESOURCE_ID: Takes = Takes::text("a resource ID");
