//! The command line: what may be typed, and which command it runs.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::ui::{Color, Printer, flush};

mod allow;
mod attach;
mod azure;
mod check;
mod config;
mod declaration;
mod down;
mod emulator;
mod explain;
mod failure;
mod faults;
mod following;
mod gc;
mod instance;
mod journal;
mod listening;
mod load;
mod neighbour;
mod network;
mod pick;
mod plan;
mod port;
mod reload;
mod running;
mod schema;
mod settings;
mod status;
mod stop;
mod telling;
mod tunnel;
mod up;
mod verdict;
mod wait;
mod whoami;

use failure::Failure;
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
    /// Not ready in time.
    NotReady,
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
            ExitStatus::NotReady => 4,
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
    /// Tunnels of this profile too; may be repeated (or BASTION_PROFILE, with commas)
    #[arg(long, global = true, value_name = "PROFILE", help_heading = GLOBAL)]
    profile: Vec<String>,
    /// For people or for programs: `text` or `json`, where a program may read
    #[arg(long, global = true, value_name = "FORMAT", help_heading = GLOBAL)]
    format: Option<String>,
}

/// What can be typed, in the order in which one meets it. What each does is said where its arguments are.
#[derive(Debug, Subcommand)]
enum Command {
    Up(up::Arguments),
    #[command(visible_alias = "ps")]
    Status(status::Arguments),
    Wait(wait::Arguments),
    Port(port::Arguments),
    Plan(plan::Arguments),
    Reload(reload::Arguments),
    Down(down::Arguments),
    Check(check::Arguments),
    Config(config::Arguments),
    Allow(allow::Arguments),
    Gc(gc::Arguments),
    Whoami(whoami::Arguments),
    Explain(explain::Arguments),
    Schema(schema::Arguments),
    Tunnel(tunnel::Arguments),
    Emulator(emulator::Arguments),
    #[command(external_subcommand)]
    Other(Vec<OsString>),
}

/// Commands that are planned and not built.
const NOT_YET: &[&str] = &[
    "add",
    "bench",
    "broker",
    "completions",
    "env",
    "export",
    "import",
    "init",
    "list",
    "login",
    "logout",
    "logs",
    "man",
    "proxy",
    "rdp",
    "report",
    "restart",
    "retry",
    "run",
    "ssh",
    "timeline",
    "trust",
];
/// Commands that can be typed.
const BUILT: &[&str] = &[
    "up", "status", "ps", "wait", "port", "plan", "reload", "down", "check", "config", "allow", "gc",
    "whoami", "explain", "schema", "tunnel", "emulator", "help",
];

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
        failure.tell(printer);
        failure.status
    });
    let status = written(status, printer);
    flush();
    status
}

/// A success whose data did not arrive is none.
fn written(status: ExitStatus, printer: Printer) -> ExitStatus {
    let Some(error) = printer.unwritten() else { return status };
    printer.error(&format!("writing to standard output: {error}"), None);
    if status == ExitStatus::Done { ExitStatus::Failed } else { status }
}

fn run(cli: Cli, printer: Printer) -> Result<ExitStatus, Failure> {
    let Global { file, env, profile, format, verbose: _, quiet: _, color: _ } = cli.global;
    let format = match (cli.command.writes_for_programs(), format) {
        (_, None) => Format::Text,
        (true, Some(format)) => format.parse()?,
        (false, Some(_)) => return Err(Failure::new(ExitStatus::Usage, "`--format` is not supported yet")),
    };
    let settings = Settings::from_environment(file, env, profile);
    crate::sys::limits::raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(ExitStatus::Failed, format!("starting the runtime: {error}")))?;
    let status = runtime.block_on(Box::pin(cli.command.run(&settings, format, printer)));
    // A name look-up that hangs in the system must not hold up the exit; so tasks are not waited for, nor what they run.
    crate::sys::process::end_all();
    runtime.shutdown_background();
    status
}

impl Command {
    /// Whether `--format` means something to it.
    fn writes_for_programs(&self) -> bool {
        match self {
            Self::Up(_)
            | Self::Status(_)
            | Self::Wait(_)
            | Self::Port(_)
            | Self::Plan(_)
            | Self::Reload(_)
            | Self::Check(_)
            | Self::Config(_)
            | Self::Gc(_)
            | Self::Whoami(_)
            | Self::Explain(_) => true,
            Self::Down(_)
            | Self::Allow(_)
            | Self::Schema(_)
            | Self::Tunnel(_)
            | Self::Emulator(_)
            | Self::Other(_) => false,
        }
    }

    async fn run(self, settings: &Settings, format: Format, printer: Printer) -> Result<ExitStatus, Failure> {
        match self {
            Self::Up(arguments) => Box::pin(up::run(arguments, settings, format, printer)).await,
            Self::Status(arguments) => status::run(arguments, settings, format, printer).await,
            Self::Wait(arguments) => wait::run(arguments, settings, format, printer).await,
            Self::Port(arguments) => port::run(arguments, settings, format, printer).await,
            Self::Plan(plan::Arguments {}) => plan::run(settings, format, printer).await,
            Self::Reload(reload::Arguments {}) => reload::run(settings, format, printer).await,
            Self::Down(arguments) => down::run(arguments, settings, printer).await,
            Self::Check(arguments) => check::run(&arguments, settings, format, printer),
            Self::Config(config::Arguments {}) => config::run(settings, format, printer),
            Self::Allow(arguments) => allow::run(&arguments, settings, printer),
            Self::Gc(arguments) => gc::run(&arguments, settings, format, printer).await,
            Self::Whoami(whoami::Arguments {}) => whoami::run(settings, format, printer).await,
            Self::Explain(arguments) => explain::run(&arguments, format, printer),
            Self::Schema(arguments) => Ok(schema::run(&arguments, printer)),
            Self::Tunnel(arguments) => tunnel::run(arguments, settings, printer).await,
            Self::Emulator(arguments) => emulator::run(arguments, settings, printer).await,
            Self::Other(words) => Err(unknown(&words)),
        }
    }
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

/// The known word that is most like what was typed, when one is: by its beginning, or by one slip of the finger, for
/// which short words have no beginning left. Case is no difference.
fn nearest<'a>(typed: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let folded = typed.to_lowercase();
    let scored = known.map(|known| {
        let other = known.to_lowercase();
        let slips = strsim::osa_distance(&folded, &other);
        let slip = slips <= 1 && slips < other.chars().count().min(folded.chars().count());
        (slip, strsim::jaro_winkler(&folded, &other), known)
    });
    let near = scored.filter(|(slip, score, _)| *slip || *score > 0.8);
    near.max_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))).map(|(_, _, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_seen_through() {
        let known = ["web", "db", "orders", "up"];
        let meant = |typed| nearest(typed, known.into_iter());
        for typed in ["wbe", "WEB", "Web", "weeb"] {
            assert_eq!(meant(typed), Some("web"), "{typed}");
        }
        assert_eq!(
            (meant("oders"), meant("ORDRES"), meant("bd")),
            (Some("orders"), Some("orders"), Some("db"))
        );
        assert_eq!((meant("x"), meant("mail"), meant("")), (None, None, None));
    }
}
