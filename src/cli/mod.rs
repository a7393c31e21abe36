//! The command line: what may be typed, and which command it runs.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::model::chain;
use crate::ui::{Color, Printer, flush};

mod azure;
mod check;
mod config;
mod declaration;
mod emulator;
mod explain;
mod instance;
mod load;
mod schema;
mod settings;
mod stop;
mod telling;
mod tunnel;
mod up;

use settings::Settings;

/// Where the options stand that every command understands.
const GLOBAL: &str = "Global options";

/// How a command ended, as scripts see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// Done.
    Done,
    /// Failed while running.
    Failed,
    /// The command line or a file is wrong.
    Usage,
    /// Sign-in or permission.
    SignIn,
    /// Another instance or program in the way.
    InTheWay,
    /// Interrupted from the keyboard.
    Interrupted,
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(match status {
            ExitStatus::Done => 0,
            ExitStatus::Failed => 1,
            ExitStatus::Usage => 2,
            ExitStatus::SignIn => 3,
            ExitStatus::InTheWay => 5,
            ExitStatus::Interrupted => 130,
        })
    }
}

/// Tunnels through Azure Bastion, declared in a file
///
/// Reads bastion.toml in this directory or the nearest one above it, and keeps the tunnels it declares up.
#[derive(Debug, Parser)]
#[command(name = "bastion", version, arg_required_else_help = true, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command understands.
#[derive(Args, Debug)]
struct Global {
    /// The workspace file, in place of the nearest bastion.toml
    #[arg(short, long, global = true, value_name = "FILE", help_heading = GLOBAL)]
    file: Option<PathBuf>,
    /// The environment: bastion.ENV.toml goes over bastion.toml (or BASTION_ENV)
    #[arg(long, global = true, value_name = "ENV", help_heading = GLOBAL)]
    env: Option<String>,
    /// Say more: -v what happens to connections, -vv each one of them
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = GLOBAL)]
    verbose: u8,
    /// Say nothing but errors
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = GLOBAL)]
    quiet: bool,
    /// When to colour
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN", help_heading = GLOBAL)]
    color: Color,
    #[arg(long, global = true, hide = true, value_name = "PROFILE")]
    profile: Vec<String>,
    #[arg(long, global = true, hide = true, value_name = "FORMAT")]
    format: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring tunnels up and keep them up, in the foreground
    Up(up::Arguments),
    /// Open one tunnel without a file, with the options of `az network bastion tunnel`
    Tunnel(tunnel::Arguments),
    /// Run a local stand-in for Azure: sign-in, Resource Manager, Bastion gateway
    Emulator(emulator::Arguments),
    /// Explain a code that stands in brackets behind a message: cause, remedy, who can mend it
    Explain(explain::Arguments),
    /// Check the workspace's files: every mistake in every environment
    Check(check::Arguments),
    /// Show the merged, resolved workspace, with where each value came from
    Config(config::Arguments),
    /// Print a JSON Schema: of bastion.toml, or of what this program answers
    Schema(schema::Arguments),
    #[command(external_subcommand)]
    Other(Vec<OsString>),
}

/// Commands that are planned and not built.
const NOT_YET: &[&str] = &[
    "add",
    "allow",
    "bench",
    "broker",
    "completions",
    "down",
    "env",
    "export",
    "gc",
    "import",
    "init",
    "list",
    "login",
    "logout",
    "logs",
    "man",
    "plan",
    "port",
    "proxy",
    "ps",
    "rdp",
    "reload",
    "report",
    "restart",
    "retry",
    "run",
    "ssh",
    "status",
    "timeline",
    "trust",
    "wait",
    "whoami",
];
/// Commands that can be typed.
const BUILT: &[&str] = &["up", "tunnel", "emulator", "explain", "check", "config", "schema", "help"];

/// For whom data is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

impl std::str::FromStr for Format {
    type Err = Failure;

    fn from_str(word: &str) -> Result<Self, Failure> {
        match word {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => {
                let what = format!("`--format` is `text` or `json`, not `{}`", other.escape_debug());
                Err(Failure::new(ExitStatus::Usage, what))
            }
        }
    }
}

/// Why a command did not do what it was asked.
#[derive(Debug)]
struct Failure {
    status: ExitStatus,
    what: String,
    hint: Option<String>,
}

/// Runs the program.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitStatus {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are data, and no failure.
            let failed = error.use_stderr();
            drop(error.print());
            return if failed { ExitStatus::Usage } else { ExitStatus::Done };
        }
    };
    let printer = Printer::new(cli.global.color, cli.global.quiet);
    settings::log(cli.global.verbose, cli.global.quiet, printer.colors());
    let status = run(cli, printer).unwrap_or_else(|failure| {
        printer.error(&failure.what, failure.hint.as_deref());
        failure.status
    });
    flush();
    status
}

fn run(cli: Cli, printer: Printer) -> Result<ExitStatus, Failure> {
    let Global { file, env, profile, format, verbose: _, quiet: _, color: _ } = cli.global;
    let format = match (&cli.command, format) {
        (Command::Up(_) | Command::Explain(_) | Command::Check(_) | Command::Config(_), Some(format)) => {
            format.parse()?
        }
        (_, format) => {
            refuse("--format", format.is_some())?;
            Format::Text
        }
    };
    let settings = Settings::from_environment(file, env, profile);
    crate::sys::limits::raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(ExitStatus::Failed, format!("starting the runtime: {error}")))?;
    let status = match cli.command {
        Command::Up(arguments) => runtime.block_on(Box::pin(up::run(arguments, &settings, format, printer))),
        Command::Tunnel(arguments) => runtime.block_on(Box::pin(tunnel::run(arguments, &settings, printer))),
        Command::Emulator(arguments) => {
            runtime.block_on(Box::pin(emulator::run(arguments, &settings, printer)))
        }
        Command::Explain(arguments) => explain::run(&arguments, format, printer),
        Command::Check(arguments) => check::run(&arguments, &settings, format, printer),
        Command::Config(config::Arguments {}) => config::run(&settings, format, printer),
        Command::Schema(arguments) => Ok(schema::run(&arguments, printer)),
        Command::Other(words) => Err(unknown(&words)),
    };
    // A name look-up that hangs in the system must not hold up the exit.
    runtime.shutdown_background();
    status
}

/// Refuses what is promised and not built, by name.
fn refuse(what: &str, asked: bool) -> Result<(), Failure> {
    if asked {
        Err(Failure::new(ExitStatus::Usage, format!("`{what}` is not supported yet")))
    } else {
        Ok(())
    }
}

fn unknown(words: &[OsString]) -> Failure {
    let typed: String =
        words.first().map(|word| word.to_string_lossy().escape_debug().collect()).unwrap_or_default();
    if NOT_YET.contains(&typed.as_str()) {
        return Failure::new(ExitStatus::Usage, format!("`bastion {typed}` is not supported yet"))
            .hint("`bastion --help` lists what is");
    }
    let nearest = nearest(&typed, BUILT.iter().chain(NOT_YET).copied());
    let hint = nearest.map_or("`bastion --help` lists the commands".to_owned(), |known| {
        format!("did you mean `bastion {known}`?")
    });
    Failure::new(ExitStatus::Usage, format!("there is no command `{typed}`")).hint(&hint)
}

/// The known word that is most like what was typed, when one is.
fn nearest<'a>(typed: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let scored = known.map(|known| (strsim::jaro_winkler(typed, known), known));
    let near = scored.filter(|(score, _)| *score > 0.8).max_by(|a, b| a.0.total_cmp(&b.0));
    near.map(|(_, known)| known)
}

impl Failure {
    fn new(status: ExitStatus, what: impl Into<String>) -> Self {
        Self { status, what: what.into(), hint: None }
    }

    fn from_error(status: ExitStatus, error: &(dyn std::error::Error + 'static)) -> Self {
        Self::new(status, chain(error))
    }

    fn refused(refused: &crate::control::Refused) -> Self {
        Self { status: ExitStatus::Usage, what: refused.what.clone(), hint: refused.hint.clone() }
    }

    fn hint(mut self, hint: &str) -> Self {
        self.hint = Some(hint.to_owned());
        self
    }
}
