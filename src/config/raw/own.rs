//! What only the user's own configuration holds, as it was written.

use super::super::document::Map;
use super::super::keys;
use super::super::reader::{Reader, Takes, Text};
use super::super::shapes::{Cloud, Network, Own};

/// Reads `[clouds]` and `[network]`.
pub(in crate::config) fn read(document: &Map, reader: &mut Reader) -> Own {
    let root = reader.table(document, &keys::OWN);
    Own {
        clouds: reader.each(&root, "clouds", "resource_manager", Reader::cloud),
        network: reader.network(document),
    }
}

impl Reader {
    fn cloud(&mut self, items: &Map) -> Cloud {
        let table = self.table(items, &keys::CLOUD);
        Cloud {
            spoilt: table.spoilt,
            resource_manager: self.text(&table, "resource_manager", Takes::text("an `https` URL")),
            audience: self.text(&table, "audience", Takes::text("a string")),
            authority: self.text(&table, "authority", Takes::text("an `https` URL")),
            ca_file: self.text(&table, "ca_file", Takes::text("the path of a file")),
        }
    }

    fn network(&mut self, document: &Map) -> Network {
        let Some(member) = document.get("network") else { return Network::default() };
        let Some(items) = self.expect_table("network", &member.value) else { return Network::default() };
        let table = self.table(items, &keys::NETWORK);
        Network {
            proxy: self.text(&table, "proxy", Takes::text("`\"system\"`, `\"none\"` or a URL")),
            no_proxy: self.no_proxy(items),
            ca_file: self.text(&table, "ca_file", Takes::text("the path of a file")),
        }
    }

    /// A text as NO_PROXY has it, or an array of its parts.
    fn no_proxy(&mut self, items: &Map) -> Option<Vec<Text>> {
        let value = &items.get("no_proxy")?.value;
        let takes = Takes::text("hosts, as a string or as an array of strings");
        match value.as_array() {
            Some(parts) => {
                Some(parts.iter().filter_map(|part| self.string("no_proxy", part, takes)).collect())
            }
            None => Some(vec![self.string("no_proxy", value, takes)?]),
        }
    }
}
