//! The table of `bastion config`: keys, values, and where they came from.

use comfy_table::{Attribute, Cell};

use super::table::{Row, render};
use crate::config::{Origin, Value};

/// Every value, for a terminal of this width.
pub fn values(values: &[Value], width: Option<u16>) -> String {
    let rows = values.iter().map(|value| {
        let from = Cell::new(value.origin.to_string());
        let from = match value.origin {
            Origin::Default => from.add_attribute(Attribute::Dim),
            Origin::File { .. } | Origin::Az => from,
        };
        Row { cells: vec![Cell::new(&value.key), Cell::new(&value.text), from], below: Vec::new() }
    });
    render(&["KEY", "VALUE", "FROM"], &[0, 2], rows.collect(), width)
}
