//! What a tunnel costs, beside a plain TLS copy in the same run, and what a thousand of them cost: see
//! docs/measuring.md.
//!
//! This process is source, sink and load; everything that is measured is a process of its own.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

mod instance;
mod least;
mod load;
mod many_tunnels;
mod plain;
mod process;
mod report;

use load::{Pattern, Servers};
use process::{Subject, Way};
use report::{Figures, Row, percentile};

pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const MIB: u64 = 1 << 20;
/// No round begins after this, and none takes longer than `LONGEST_ROUND`.
const LAST_ROUND: Duration = Duration::from_secs(160);
const LONGEST_ROUND: Duration = Duration::from_secs(75);

const USAGE: &str = "\
cargo bench --bench throughput [-- OPTION…]

  --quick           less of everything: half a minute instead of two
  --rounds N        how many rounds the medians are taken over (5)
  --mib N           how much is moved in one direction in one go (384)
  --connections N   how many connections are held open at once (100)
  --tunnels [N]     only the second table, of so many tunnels (1000; with --quick 200)
  --bastion FILE    measure this program in place of the one built with the bench
  --against FILE    measure this one too, in the same rounds";

#[derive(Debug)]
struct Options {
    rounds: usize,
    mib: u64,
    connections: usize,
    connects: usize,
    round_trips: usize,
    bastion: String,
    against: Option<String>,
    /// How many tunnels the second table is about.
    tunnels: usize,
    /// Without the first table.
    only_tunnels: bool,
    quick: bool,
}

impl Options {
    fn read(arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut arguments = arguments.peekable();
        let mut tunnels = None;
        let mut options = Self {
            rounds: 5,
            mib: 384,
            connections: 100,
            connects: 200,
            round_trips: 1000,
            bastion: env!("CARGO_BIN_EXE_bastion").to_owned(),
            against: None,
            tunnels: 0,
            only_tunnels: false,
            quick: false,
        };
        while let Some(argument) = arguments.next() {
            if argument == "--tunnels" {
                options.only_tunnels = true;
                tunnels = arguments.next_if(|next| !next.starts_with('-')).map(|n| n.parse()).transpose()?;
                continue;
            }
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--quick" => (options.rounds, options.mib, options.quick) = (3, 96, true),
                "--rounds" => options.rounds = value()?.parse()?,
                "--mib" => options.mib = value()?.parse()?,
                "--connections" => options.connections = value()?.parse()?,
                "--bastion" => options.bastion = value()?,
                "--against" => options.against = Some(value()?),
                // Said by cargo.
                "--bench" => {}
                _ => return Err(format!("{argument} is unknown\n\n{USAGE}").into()),
            }
        }
        options.tunnels = tunnels.unwrap_or(if options.quick { 200 } else { 1000 });
        if options.tunnels < 2 || options.tunnels > many_tunnels::MOST {
            return Err(format!("--tunnels takes a number from 2 to {}", many_tunnels::MOST).into());
        }
        if options.rounds == 0 || options.mib == 0 || options.connections == 0 {
            return Err("nothing to measure".into());
        }
        Ok(options)
    }

    /// The ways, with what they are called. The second is the limit.
    fn ways(&self) -> Vec<(String, Way)> {
        let mut ways = vec![
            ("direct TCP".to_owned(), Way::Direct),
            ("plain TLS copy".to_owned(), Way::Plain),
            ("bastion, frames ≤ 8 KiB".to_owned(), Way::Bastion(self.bastion.clone(), "natural")),
        ];
        let (name, program) = match &self.against {
            Some(other) => ("the other, frames ≤ 8 KiB", Way::Bastion(other.clone(), "natural")),
            None => ("bastion, frames of 64 KiB", Way::Bastion(self.bastion.clone(), "64 KiB")),
        };
        ways.push((name.to_owned(), program));
        ways
    }
}

const LIMIT: usize = 1;
const ROWS: [Row; 18] = [
    Row { name: "start to ready, ms", digits: 0 },
    Row { name: "memory at rest, MiB", digits: 1 },
    Row { name: "connect to first byte, one at a time: p50, ms", digits: 2 },
    Row { name: "… p99, ms", digits: 2 },
    Row { name: "connect to first byte, ten at a time: p50, ms", digits: 2 },
    Row { name: "… p99, ms", digits: 2 },
    Row { name: "client CPU a connection, ms", digits: 2 },
    Row { name: "round trip of 64 bytes: p50, µs", digits: 0 },
    Row { name: "… p99, µs", digits: 0 },
    Row { name: "connections opened at once: all open after, ms", digits: 0 },
    Row { name: "… memory while open, at most, MiB", digits: 1 },
    Row { name: "down, MiB/s", digits: 0 },
    Row { name: "… client CPU s/GiB", digits: 2 },
    Row { name: "up, MiB/s", digits: 0 },
    Row { name: "… client CPU s/GiB", digits: 2 },
    Row { name: "both ways at once, MiB/s each", digits: 0 },
    Row { name: "… client CPU s/GiB", digits: 2 },
    Row { name: "memory after all that, at most, MiB", digits: 1 },
];

/// One subject's figures of one round, in the order of [`ROWS`].
struct Round<'a> {
    figures: &'a mut Figures,
    at: usize,
    subject: &'a Subject,
    options: &'a Options,
    pattern: &'a Pattern,
}

impl Round<'_> {
    fn note(&mut self, row: usize, value: Option<f64>) {
        self.figures.note(row, self.at, value);
    }

    fn cpu(&self) -> Option<f64> {
        self.subject.client.as_ref()?.cpu()
    }

    fn memory(&self, field: &str) -> Option<f64> {
        self.subject.client.as_ref()?.memory(field)
    }

    fn rest(&mut self) {
        self.note(0, self.subject.ready.map(|ready| ready.as_secs_f64() * 1e3));
        self.note(1, self.memory("VmRSS"));
    }

    async fn connect(&mut self) -> Result<()> {
        let before = self.cpu();
        for (row, at_once) in [(2, 1), (4, 10)] {
            let times = load::connects(self.subject.greet, self.options.connects, at_once).await?;
            let times: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1e3).collect();
            self.note(row, percentile(&times, 50));
            self.note(row + 1, percentile(&times, 99));
        }
        // What follows a connection's end is part of its cost.
        sleep(Duration::from_millis(100)).await;
        let cpu = self.cpu().zip(before).map(|(after, before)| after - before);
        self.note(6, cpu.map(|cpu| cpu * 1e3 / (2 * self.options.connects) as f64));
        Ok(())
    }

    async fn round_trips(&mut self) -> Result<()> {
        let times = load::round_trips(self.subject.greet, self.options.round_trips).await?;
        let times: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1e6).collect();
        self.note(7, percentile(&times, 50));
        self.note(8, percentile(&times, 99));
        Ok(())
    }

    async fn many(&mut self) -> Result<()> {
        let (elapsed, open) = load::open_many(self.subject.greet, self.options.connections).await?;
        self.note(9, Some(elapsed.as_secs_f64() * 1e3));
        self.note(10, self.memory("VmHWM"));
        drop(open);
        sleep(Duration::from_millis(200)).await;
        Ok(())
    }

    async fn bulk(&mut self, row: usize, down: u64, up: u64) -> Result<()> {
        let before = self.cpu();
        let elapsed = load::transfer(self.subject.bulk, self.pattern, down, up).await?;
        let cpu = self.cpu().zip(before).map(|(after, before)| after - before);
        let each = down.max(up) as f64 / MIB as f64;
        self.note(row, Some(each / elapsed.as_secs_f64()));
        self.note(row + 1, cpu.map(|cpu| cpu * 1024.0 / ((down + up) as f64 / MIB as f64)));
        Ok(())
    }
}

const STEPS: usize = 8;

async fn step(round: &mut Round<'_>, step: usize) -> Result<()> {
    let bytes = round.options.mib * MIB;
    match step {
        0 => round.rest(),
        1 => round.connect().await?,
        2 => round.round_trips().await?,
        3 => round.many().await?,
        4 => round.bulk(11, bytes, 0).await?,
        5 => round.bulk(13, 0, bytes).await?,
        6 => round.bulk(15, bytes / 2, bytes / 2).await?,
        _ => round.note(17, round.memory("VmHWM")),
    }
    Ok(())
}

/// Starts everything afresh and goes through all steps, each with every subject before the next. What is agreed on
/// with TLS is answered, by subject.
async fn round(
    number: usize,
    options: &Options,
    servers: &Servers,
    pattern: &Pattern,
    directory: &Path,
    figures: &mut Figures,
) -> Result<Vec<Option<String>>> {
    let ways = options.ways();
    let mut subjects = Vec::new();
    for (_, way) in &ways {
        subjects.push(Subject::start(way, servers, directory).await?);
    }
    for which in 0..STEPS {
        for turn in 0..subjects.len() {
            // Whoever comes first finds the machine quieter: take turns.
            let at = (turn + number) % subjects.len();
            let Some(subject) = subjects.get(at) else { continue };
            let mut one = Round { figures, at, subject, options, pattern };
            let name = ways.get(at).map_or("", |(name, _)| name);
            step(&mut one, which).await.map_err(|error| format!("{name}, step {which}: {error}"))?;
        }
    }
    Ok(subjects.into_iter().map(|subject| subject.cipher).collect())
}

async fn measure(options: &Options) -> Result<String> {
    let pattern = Pattern::new();
    let servers = Servers::start(&pattern).await?;
    let directory = tempfile::tempdir()?;
    plain::write_certificate(directory.path())?;
    let names = options.ways().into_iter().map(|(name, _)| name).collect();
    let mut figures = Figures::new(&ROWS, names, |_, at| (at > LIMIT).then_some(LIMIT));
    let begin = Instant::now();
    let (mut done, mut ciphers) = (0, Vec::new());
    while done < options.rounds && (done == 0 || begin.elapsed() < LAST_ROUND) {
        let one = round(done, options, &servers, &pattern, directory.path(), &mut figures);
        ciphers = timeout(LONGEST_ROUND, one).await.map_err(|_| "a round took too long")??;
        done += 1;
    }
    let mut agreed: Vec<String> = ciphers.into_iter().flatten().collect();
    agreed.dedup();
    if agreed.len() > 1 {
        return Err(format!("the ways do not agree on one cipher: {}", agreed.join("; ")).into());
    }
    let Options { mib, connections, connects, round_trips, .. } = options;
    Ok(format!(
        "{}\n{}; {}\n\n{done} rounds in {:.0} s; each of {mib} MiB one way, half of that both ways at once, {connects} \
         connections one at a time and as many ten at a time, {round_trips} round trips, {connections} connections at once\n",
        figures.table("the plain copy"),
        machine(),
        agreed.join(""),
        begin.elapsed().as_secs_f64(),
    ))
}

/// What the figures depend on.
pub(crate) fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let model = text("/proc/cpuinfo");
    let model = model
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1))
        .unwrap_or("unknown CPU");
    let kernel = text("/proc/sys/kernel/osrelease");
    let commit = std::process::Command::new("git")
        .args(["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty", "--abbrev=10"])
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .unwrap_or_default();
    format!(
        "{cores} cores ({model}), {} {}, bastion {} ({commit})",
        std::env::consts::OS,
        kernel.trim(),
        env!("CARGO_PKG_VERSION")
    )
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "what it prints is what it is for")]
fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    let hidden = [plain::CLIENT, plain::SERVER, least::COMMAND];
    let hidden = arguments.next_if(|first| hidden.contains(&first.as_str()));
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("starting the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(async {
        match hidden.as_deref() {
            Some(least::COMMAND) => return least::run(arguments).await,
            Some(command) => return plain::run(command, arguments).await,
            None => {}
        }
        let options = Options::read(arguments)?;
        if !options.only_tunnels {
            println!("{}", measure(&options).await?);
        }
        if cfg!(unix) || options.only_tunnels {
            println!("{}", many_tunnels::measure(&options).await?);
        }
        Ok(())
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
