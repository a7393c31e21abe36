//! Faults of the emulator that are not in a file: from its command line, and from whoever asks it while it runs. They have
//! the words of `[[emulator.faults]]`, and the same mistakes are told in the same way.

use super::load::{find, read};
use super::settings::Settings;
use super::{ExitStatus, Failure};
use crate::config::{Layer, LayerKind, Variables, load};
use crate::model::{AzCurrent, Fault, printable};
use crate::workspace::Files;

/// Reads faults, with the targets of a workspace in mind.
pub(super) struct Faults {
    files: Files,
    variables: Variables,
    az: AzCurrent,
}

impl Faults {
    /// Of the workspace that is meant, as it is now.
    pub(super) fn new(settings: &Settings) -> Result<Self, Failure> {
        let files = read(&find(settings)?)?;
        let variables = settings.variables(&files.mentioned(), settings.environment.as_deref());
        Ok(Self { files, variables, az: settings.az().clone() })
    }

    /// The fault of a command line: `phase=token do=503 times=3`.
    pub(super) fn typed(&self, text: &str) -> Result<Fault, Failure> {
        let words: Option<Vec<(String, String)>> = text
            .split_whitespace()
            .map(|word| word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())))
            .collect();
        let wrong = |report: &str| {
            let what = format!("`--fault` is not one of the emulator's\n{report}");
            Failure::new(ExitStatus::Usage, what.trim_end().to_owned())
                .hint("it looks like `--fault \"phase=token do=503 times=3\"`, with the keys of `[[emulator.faults]]`")
        };
        let words = words.filter(|words| !words.is_empty()).ok_or_else(|| wrong(""))?;
        self.fault(&words).map_err(|report| wrong(&report))
    }

    /// A fault by its keys and values.
    pub(super) fn fault(&self, fields: &[(String, String)]) -> Result<Fault, String> {
        let mut text = String::from("[[emulator.faults]]\n");
        for (name, value) in fields {
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)) {
                return Err(format!("\"{}\" is not a key of a fault\n", printable(name, 100)));
            }
            let is_number = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
            let value = match value.parse() {
                Ok(number) if is_number && name != "do" => toml::Value::Integer(number),
                _ => toml::Value::from(value.as_str()),
            };
            text.push_str(&format!("{name} = {value}\n"));
        }
        let mut layers = self.files.layers();
        layers.push(Layer { kind: LayerKind::Flags, path: "fault", text: &text });
        let source = self.files.source(&layers, &self.variables, &self.az);
        let loaded = load(&source);
        let report: Vec<String> =
            loaded.diagnostics.iter().map(|diagnostic| diagnostic.render(&source, false)).collect();
        let fault = loaded.desired.and_then(|desired| desired.emulation.faults.into_iter().next());
        fault.ok_or_else(|| format!("{}\n", report.join("\n\n")))
    }
}
