//! `bastion schema`: what files and answers look like, for editors and programs.

use clap::{Args, ValueEnum};

use super::ExitStatus;
use crate::ui::Printer;
use crate::{config, control};

/// Print a JSON Schema: of bastion.toml, or of what this program answers
///
/// An editor that has it completes and checks as one types.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// Of what
    #[arg(value_enum, default_value_t, value_name = "WHAT")]
    what: What,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum What {
    /// The file bastion.toml
    #[default]
    Bastion,
    /// Your own configuration, config.toml
    Config,
    /// The answer of `status --format json`
    Status,
    /// A line of `up --format json`
    Event,
}

pub(super) fn run(arguments: &Arguments, printer: Printer) -> ExitStatus {
    let text = match arguments.what {
        What::Bastion => config::schema(),
        What::Config => config::user_schema(),
        What::Status => control::schema(),
        What::Event => control::event_schema(),
    };
    // Whoever stops reading has read enough.
    printer.data(text.trim_end());
    ExitStatus::Done
}
