//! The JSON Schemas of `bastion.toml` and of the user's own configuration, for editors: the keys, what each takes and means.
//!
//! It comes from the table of [`keys`](super::keys) alone. It refuses nothing that [`load`](super::load) accepts; what
//! only a reader of the whole file can see (a name that is not declared, two tunnels on one address), it does not see.
//! Keys of later versions are left out, so an editor marks them as this version would.

use serde_json::{Map, Value, json};

use super::keys::{Key, Keys, Kind, NAME, ROOT, USER};
use crate::model::CredentialKind;

/// A variable within a string.
const VARIABLE: &str = r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}";

/// Durations as people write them: "1h 30m", "5 minutes", "01:30:00".
const DURATION: &str = r"^\s*[+]?\s*([0-9]+([.,][0-9]+)?\s*(h|hrs?|hours?|m|mins?|minutes?|s|secs?|seconds?|ms|msecs?|millis?|milliseconds?|us|µs|usecs?|µsecs?|micros?|microseconds?|ns|nsecs?|nanos?|nanoseconds?)\s*,?\s*)+$|^\s*[+]?\s*[0-9]+:[0-9]{2}:[0-9]{2}([.,][0-9]+)?\s*$";

/// The JSON Schema (draft-07) of `bastion.toml`.
pub fn schema() -> String {
    whole(&ROOT, "bastion.toml", "Tunnels through Azure Bastion: which are wanted, and where they lead.")
}

/// The JSON Schema (draft-07) of the user's own configuration.
pub fn user_schema() -> String {
    whole(&USER, "config.toml", "What bastion does for you, in every workspace.")
}

fn whole(keys: &Keys, title: &str, description: &str) -> String {
    let mut root = table(keys);
    let about = [
        ("$schema", json!("http://json-schema.org/draft-07/schema#")),
        ("title", json!(title)),
        ("description", json!(description)),
    ];
    let about = about.map(|(key, value)| (key.to_owned(), value));
    let mut all: Map<String, Value> = about.into_iter().collect();
    all.append(&mut root);
    all.insert(
        "definitions".to_owned(),
        json!({
            "duration": { "type": "string", "pattern": DURATION },
            // A number or a boolean may come from a variable, if nothing else stands in the string.
            "variable": { "type": "string", "pattern": format!("^{VARIABLE}$") },
            "interpolated": { "type": "string", "pattern": VARIABLE },
        }),
    );
    let mut text = format!("{:#}", Value::Object(all));
    text.push('\n');
    text
}

fn table(keys: &Keys) -> Map<String, Value> {
    let properties: Map<String, Value> =
        keys.known.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    let mut table = Map::new();
    table.insert("type".to_owned(), json!("object"));
    table.insert("properties".to_owned(), Value::Object(properties));
    table.insert("additionalProperties".to_owned(), json!(false));
    table
}

fn property(key: &Key) -> Value {
    let mut property = Map::new();
    property.insert("description".to_owned(), json!(key.doc));
    if let Value::Object(mut takes) = one_of(&key.takes) {
        property.append(&mut takes);
    }
    Value::Object(property)
}

/// What a kind accepts, as one schema.
fn one_of(kind: &Kind) -> Value {
    let mut all = Vec::new();
    alternatives(kind, &mut all);
    match all.as_slice() {
        // Beside `$ref`, a description would be ignored.
        [only] if only.get("$ref").is_none() => only.clone(),
        _ => json!({ "anyOf": all }),
    }
}

fn alternatives(kind: &Kind, all: &mut Vec<Value>) {
    let definition = |name: &str| json!({ "$ref": format!("#/definitions/{name}") });
    let mut add = |schema: Value| {
        if !all.contains(&schema) {
            all.push(schema);
        }
    };
    match kind {
        Kind::Text => add(json!({ "type": "string" })),
        Kind::Name => {
            add(json!({ "type": "string", "pattern": NAME }));
            add(definition("interpolated"));
        }
        Kind::Pattern(pattern) => {
            add(json!({ "type": "string", "pattern": pattern }));
            add(definition("interpolated"));
        }
        Kind::Words(words) => {
            add(json!({ "enum": words }));
            add(definition("interpolated"));
        }
        Kind::Credential => {
            let built = CredentialKind::ALL.iter().filter(|(_, kind)| kind.is_built());
            let words: Vec<&str> = built.map(|(word, _)| *word).collect();
            add(json!({ "enum": words }));
            add(definition("interpolated"));
        }
        Kind::Duration => {
            add(definition("duration"));
            add(definition("interpolated"));
        }
        Kind::Number(limits) => {
            let mut number = json!({ "type": "integer", "minimum": limits.start() });
            if let (Some(number), true) = (number.as_object_mut(), *limits.end() < i64::MAX) {
                number.insert("maximum".to_owned(), json!(limits.end()));
            }
            add(number);
            add(definition("variable"));
        }
        Kind::Flag => {
            add(json!({ "type": "boolean" }));
            add(definition("variable"));
        }
        Kind::Either(kinds) => kinds.iter().for_each(|kind| alternatives(kind, all)),
        Kind::List(of) => add(json!({ "type": "array", "items": one_of(of) })),
        Kind::Table(keys) => add(Value::Object(table(keys))),
        Kind::Named(names, of) => add(json!({
            "type": "object",
            "propertyNames": { "pattern": names },
            "additionalProperties": one_of(of),
        })),
    }
}
