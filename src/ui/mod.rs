//! The words a person reads: data to standard output, everything else to standard error, colour where it is wanted.

use std::io::{self, Write as _};
use std::sync::OnceLock;

use anstyle::{AnsiColor, Style};

mod explain;
mod human;
mod line;
mod others;
#[cfg(test)]
mod samples;
mod status;
mod table;
mod terminal;
mod values;

pub use explain::{Explanation, codes, explained, explanation, explanations};
pub use human::{age, count, seconds, size};
pub use line::{plain_line, tunnel_line};
pub use others::{safe_json, safe_lines};
pub use status::status;
pub use table::{pairs, terminal_width};
pub use terminal::{LogWriter, flush};
pub use values::values;

use crate::model::TunnelStatus;

const BAD: Style = AnsiColor::Red.on_default().bold();
const GOOD: Style = AnsiColor::Green.on_default().bold();
const CARE: Style = AnsiColor::Yellow.on_default().bold();
const HINT: Style = AnsiColor::Cyan.on_default();

/// The first failure to write data. The program has one standard output, and printers are copied freely.
static UNWRITTEN: OnceLock<io::Error> = OnceLock::new();

/// When to colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
#[expect(missing_docs, reason = "each would only repeat its name, in the help as well")]
pub enum Color {
    #[default]
    Auto,
    Always,
    Never,
}

/// Where words go.
#[derive(Clone, Copy, Debug)]
pub struct Printer {
    quiet: bool,
}

/// The mark at the beginning of a line about a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// It works.
    Ready,
    /// It does not work yet, and is tried again.
    Waiting,
    /// Only a person can mend it.
    Blocked,
}

impl Printer {
    /// A printer for the whole program. `quiet`: errors only.
    pub fn new(color: Color, quiet: bool) -> Self {
        match color {
            Color::Auto => anstream::ColorChoice::Auto,
            Color::Always => anstream::ColorChoice::Always,
            Color::Never => anstream::ColorChoice::Never,
        }
        .write_global();
        Self { quiet }
    }

    /// Whether standard error is coloured.
    pub fn colors(self) -> bool {
        anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never
    }

    /// A line of data on standard output. Says whether anyone still reads it. That nobody does is no failure: whoever
    /// stops reading has read enough. Any other is kept for [`Printer::unwritten`].
    pub fn data(self, line: &str) -> bool {
        let mut out = anstream::stdout().lock();
        match writeln!(out, "{line}").and_then(|()| out.flush()) {
            Ok(()) => true,
            Err(error) => {
                if error.kind() != io::ErrorKind::BrokenPipe {
                    // Only the first is told: what follows comes from it.
                    let _told_already = UNWRITTEN.set(error);
                }
                false
            }
        }
    }

    /// Why data did not arrive on standard output, if some did not.
    pub fn unwritten(self) -> Option<&'static io::Error> {
        UNWRITTEN.get()
    }

    /// A line of talk.
    pub fn say(self, line: &str) {
        if !self.quiet {
            talk(line);
        }
    }

    /// A line about a tunnel.
    pub fn tunnel(self, mark: Mark, name: &str, text: &str) {
        let (style, word) = match mark {
            Mark::Ready => (GOOD, "ready"),
            Mark::Waiting => (CARE, "waiting"),
            Mark::Blocked => (BAD, "blocked"),
        };
        self.say(&format!("{style}{word:<8}{style:#} {name:<12} {text}"));
    }

    /// What a tunnel has come to: a line, and what mends it where a person has to.
    pub fn change(self, tunnel: &TunnelStatus) {
        self.say(&tunnel_line(tunnel));
        let hint = tunnel.reason.as_ref().and_then(|reason| reason.hint.as_deref());
        if let Some(hint) = hint {
            self.hint(&line::shown(hint));
        }
    }

    /// What mends something.
    pub fn hint(self, text: &str) {
        self.say(&format!("{HINT}hint:{HINT:#} {text}"));
    }

    /// Something that a person should know about, though we go on.
    pub fn warn(self, text: &str) {
        self.say(&format!("{CARE}warning:{CARE:#} {text}"));
    }

    /// Why we stop, shown even when quiet.
    pub fn error(self, text: &str, hint: Option<&str>) {
        talk(&format!("{BAD}error:{BAD:#} {text}"));
        if let Some(hint) = hint {
            talk(&format!("{HINT}hint:{HINT:#} {hint}"));
        }
    }

    /// A question; the answer is typed behind it. The talk before it is shown first.
    pub fn ask(self, text: &str) {
        terminal::write(text.as_bytes().to_vec());
        flush();
    }

    /// A text that was rendered elsewhere, shown even when quiet.
    pub fn report(self, text: &str) {
        talk(text.trim_end());
    }
}

fn talk(line: &str) {
    terminal::write(format!("{line}\n").into_bytes());
}
