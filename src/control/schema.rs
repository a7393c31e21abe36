//! What `status` and events promise to machines, as JSON Schema, from the very types that are sent.

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema};

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
    // What is taken for a missing value when reading is no promise about writing, where nothing is missing.
    let no_defaults = RecursiveTransform(|schema: &mut Schema| drop(schema.remove("default")));
    let settings = SchemaSettings::draft07().for_serialize().with_transform(no_defaults);
    let schema = settings.into_generator().into_root_schema_for::<T>();
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}
