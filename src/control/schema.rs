//! What `status` and events promise to machines, as JSON Schema, from the very types that are sent.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;

use super::wire::{Status, TunnelEvent};

/// The JSON Schema (draft-07) of what `status --format json` writes.
pub fn schema() -> String {
    text::<Status>()
}

/// The JSON Schema (draft-07) of the events of tunnels, one a line.
pub fn event_schema() -> String {
    text::<TunnelEvent>()
}

fn text<T: JsonSchema>() -> String {
    let schema = SchemaSettings::draft07().for_serialize().into_generator().into_root_schema_for::<T>();
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}
