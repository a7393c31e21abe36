//! A tunnel's `env`: variables that say where something is, and no others.

use std::collections::BTreeMap;

use super::{Found, nearest};
use crate::config::codes;
use crate::config::diagnostic::{Diagnostic, quote};
use crate::config::reader::{Entry, Text};
use crate::model::env::{PLACEHOLDERS, faults};

/// How the name of a variable ends that says where something is. A workspace's file must not set `PATH`, `LD_PRELOAD`
/// or what else makes a program do something new.
const ENDINGS: [&str; 7] = ["HOST", "PORT", "ADDR", "URL", "URI", "DSN", "ENDPOINT"];

/// More mistakes than these in one template are one.
const SHOWN: usize = 8;

/// Lowers the variables of a tunnel; those with a mistake are left out.
pub(super) fn lower(entries: &[Entry<Option<Text>>], found: &mut Found) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for entry in entries {
        let named = name(entry, found);
        let Some(text) = &entry.value else { continue };
        if template(text, found) && named {
            variables.insert(entry.name.clone(), text.value.clone());
        }
    }
    variables
}

fn fits(name: &str) -> bool {
    is_variable(name) && ENDINGS.iter().any(|ending| name.ends_with(ending))
}

fn is_variable(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

fn name(entry: &Entry<Option<Text>>, found: &mut Found) -> bool {
    if fits(&entry.name) {
        return true;
    }
    let label = if is_variable(&entry.name) {
        "its name does not say that it is an address"
    } else {
        "names of variables have A to Z, 0 to 9 and `_`"
    };
    let message = format!("{} cannot be a variable of a tunnel", quote(&entry.name));
    let wrong = Diagnostic::new(codes::ENV_NAME, entry.key.clone(), message, label);
    let upper = entry.name.to_ascii_uppercase().replace('-', "_");
    found.push(if fits(&upper) {
        wrong.fix("write it as", entry.key.clone(), upper)
    } else {
        wrong.help(format!("names here end in one of {}", ENDINGS.join(", ")))
    });
    false
}

fn template(text: &Text, found: &mut Found) -> bool {
    let faults = faults(&text.value);
    for fault in faults.iter().take(SHOWN) {
        let written = text.value.get(fault.range.clone()).unwrap_or_default();
        let span = text.part(fault.range.clone());
        let wrong = |message: String, label: &str| {
            Diagnostic::new(codes::ENV_PLACEHOLDER, span.clone(), message, label)
        };
        const BRACE: &str = "a brace itself is written twice: `{{` or `}}`";
        found.push(match &fault.word {
            None => wrong(format!("{} has no partner", quote(written)), "a brace alone").help(BRACE),
            Some(word) => {
                let unknown = wrong(
                    format!("{} stands for nothing", quote(written)),
                    "expected `{host}`, `{port}` or `{addr}`",
                );
                // Where the place of the part is not known, a correction would replace too much.
                match nearest(word, PLACEHOLDERS.iter().copied()).filter(|_| span != text.span) {
                    Some(near) => unknown.fix(
                        format!("did you mean `{{{near}}}`?"),
                        span.clone(),
                        format!("{{{near}}}"),
                    ),
                    None => unknown.help(BRACE),
                }
            }
        });
    }
    faults.is_empty()
}
