//! A thousand tunnels in one instance: until all are ready, one edit among them, `status` meanwhile, and the end. See
//! docs/measuring.md.
//!
//! The limits are measured in the same rounds: what a start cannot avoid (`least`), and for all else an instance that
//! has one tunnel. Who comes first changes from round to round. Nothing here is a test of times; that what is edited is
//! all that changes, and that no session is left, is a condition for there being figures at all.

use std::net::SocketAddr;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::instance::{Instance, REST, echo, end};
use crate::load::{self, Pattern, Servers};
use crate::process::Process;
use crate::report::{Figures, Row, percentile};
use crate::{LAST_ROUND, LONGEST_ROUND, Options, Result, least, machine};

/// Each tunnel has a port of its machine for itself, and two local ones.
pub(crate) const MOST: usize = 20_000;
/// Edits and mistakes a round.
const EDITS: usize = 5;

const ONE: usize = 1;
const MANY: usize = 2;
/// Rows above this one are held against the least that a start can do, the others against one tunnel.
const OTHERS: usize = 4;
const ROWS: [Row; 11] = [
    Row { name: "start to all ready, ms", digits: 0 },
    Row { name: "… with `status` asked for all the time, ms", digits: 0 },
    Row { name: "client CPU until all sessions are deleted, s", digits: 2 },
    Row { name: "memory at rest, MiB", digits: 1 },
    Row { name: "edit: saved to first connection on the new port, ms", digits: 0 },
    Row { name: "mistake: saved to `rejected` in `status`, ms", digits: 0 },
    Row { name: "`status` at rest: p50, ms", digits: 1 },
    Row { name: "… p99, ms", digits: 1 },
    Row { name: "`status` while all start: p50, ms", digits: 1 },
    Row { name: "… p99, ms", digits: 1 },
    Row { name: "interrupt to end, ms", digits: 0 },
];

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The one and the many, of one round.
struct Round<'a> {
    figures: &'a mut Figures,
    number: usize,
    instances: Vec<Instance>,
}

impl Round<'_> {
    /// Who comes first, and who second: of the table's columns.
    fn turns(&self) -> [usize; 2] {
        if self.number.is_multiple_of(2) { [ONE, MANY] } else { [MANY, ONE] }
    }

    fn of(&mut self, column: usize) -> Result<&mut Instance> {
        Ok(self.instances.get_mut(column - ONE).ok_or("no such instance")?)
    }

    /// Percentiles of what one column took.
    fn percentiles(&mut self, row: usize, column: usize, took: &[f64]) {
        self.figures.note(row, column, percentile(took, 50));
        self.figures.note(row + 1, column, percentile(took, 99));
    }

    async fn starts(&mut self) -> Result<()> {
        for column in self.turns() {
            let instance = self.of(column)?;
            instance.up = Some(instance.start().await?);
            let (cpu, memory) = instance.rest().await?;
            let ready = ms(instance.up()?.ready);
            self.figures.note(0, column, Some(ready));
            self.figures.note(2, column, cpu);
            self.figures.note(3, column, memory);
        }
        Ok(())
    }

    async fn edits(&mut self) -> Result<()> {
        let (mut edits, mut mistakes) = ([const { Vec::new() }; 3], [const { Vec::new() }; 3]);
        for column in self.turns() {
            let instance = self.of(column)?;
            let (_, mut held) = load::greeted(instance.up()?.last).await?;
            for _ in 0..EDITS {
                edits.get_mut(column).ok_or("no column")?.push(ms(instance.edit(&mut held).await?));
            }
            for _ in 0..EDITS {
                mistakes.get_mut(column).ok_or("no column")?.push(ms(instance.mistake().await?));
            }
            echo(&mut held, &[3; 64]).await?;
        }
        for (row, took) in [(4, edits), (5, mistakes)] {
            for (column, took) in took.iter().enumerate() {
                self.figures.note(row, column, percentile(took, 50));
            }
        }
        Ok(())
    }

    async fn statuses(&mut self, count: usize) -> Result<()> {
        let mut all = [const { Vec::new() }; 3];
        for _ in 0..count {
            for column in self.turns() {
                let (took, status) = self.of(column)?.status().await?;
                status.ok_or("no instance at rest")?;
                all.get_mut(column).ok_or("no column")?.push(ms(took));
            }
        }
        for column in [ONE, MANY] {
            self.percentiles(6, column, all.get(column).map_or(&[], Vec::as_slice));
        }
        Ok(())
    }

    async fn stops(&mut self) -> Result<()> {
        for column in self.turns() {
            let took = ms(self.of(column)?.stop().await?);
            self.figures.note(10, column, Some(took));
        }
        Ok(())
    }

    /// Starts both once more; while the many start, both are asked for their status in turn.
    async fn crowded(&mut self) -> Result<()> {
        let turns = self.turns();
        let one = self.of(ONE)?;
        one.up = Some(one.start().await?);
        let [one, many] = self.instances.as_slice() else { return Err("two instances".into()) };
        let mut took = [const { Vec::new() }; 3];
        let up = {
            let mut starting = pin!(many.start());
            'ready: loop {
                for column in turns {
                    let instance = if column == ONE { one } else { many };
                    tokio::select! {
                        up = &mut starting => break 'ready up?,
                        status = instance.status() => {
                            // Before it listens there is nobody to ask.
                            if let (time, Some(_)) = status? {
                                took.get_mut(column).ok_or("no column")?.push(ms(time));
                            }
                        }
                    }
                }
            }
        };
        self.figures.note(1, MANY, Some(ms(up.ready)));
        self.of(MANY)?.up = Some(up);
        // A pair, or neither: what is compared was asked in the same round.
        if took.iter().skip(ONE).all(|took| !took.is_empty()) {
            for column in [ONE, MANY] {
                self.percentiles(8, column, took.get(column).map_or(&[], Vec::as_slice));
            }
        }
        for column in turns {
            self.of(column)?.stop().await?;
        }
        Ok(())
    }
}

/// What a start cannot avoid, on an emulator of its own.
async fn limit(figures: &mut Figures, options: &Options, greet: SocketAddr, directory: &Path) -> Result<()> {
    let mut instance = Instance::new(&options.bastion, options.tunnels, greet, directory).await?;
    let endpoint = instance.endpoint();
    let mut process =
        Process::start(least::command(&endpoint, options.tunnels)?, false, |line| line == least::READY)
            .await?;
    let ready = ms(process.started.elapsed());
    process.hear(|line| line == least::DELETED).await?;
    sleep(REST).await;
    for (row, figure) in
        [(0, Some(ready)), (1, Some(ready)), (2, process.cpu()), (3, process.memory("VmRSS"))]
    {
        figures.note(row, 0, figure);
    }
    drop(process);
    end(&mut instance.emulator).await
}

/// Starts everything afresh.
async fn round(
    number: usize,
    options: &Options,
    greet: SocketAddr,
    directory: &Path,
    figures: &mut Figures,
) -> Result<()> {
    let new = |count| Instance::new(&options.bastion, count, greet, directory);
    let instances = vec![new(1).await?, new(options.tunnels).await?];
    if number.is_multiple_of(2) {
        limit(figures, options, greet, directory).await?;
    }
    let mut round = Round { figures, number, instances };
    round.starts().await?;
    round.statuses(if options.quick { 30 } else { 100 }).await?;
    round.edits().await?;
    round.stops().await?;
    round.crowded().await?;
    for instance in round.instances {
        instance.end().await?;
    }
    if !number.is_multiple_of(2) {
        limit(figures, options, greet, directory).await?;
    }
    Ok(())
}

/// The second table.
pub(crate) async fn measure(options: &Options) -> Result<String> {
    let servers = Servers::start(&Pattern::new()).await?;
    let directory = tempfile::tempdir()?;
    let names = vec![
        format!("what {} cannot avoid", options.tunnels),
        "bastion, 1 tunnel".to_owned(),
        format!("bastion, {} tunnels", options.tunnels),
    ];
    let against = |row, column| (column == MANY).then_some(if row < OTHERS { 0 } else { ONE });
    let mut figures = Figures::new(&ROWS, names, against);
    let begin = Instant::now();
    let mut done = 0;
    while done < options.rounds && (done == 0 || begin.elapsed() < LAST_ROUND) {
        let one = round(done, options, servers.greet, directory.path(), &mut figures);
        timeout(LONGEST_ROUND, one).await.map_err(|_| "a round took too long")??;
        done += 1;
    }
    Ok(format!(
        "{}\n{}\n\n{done} rounds in {:.0} s; in each {EDITS} edits and as many mistakes\n",
        figures.table("the limit of the row"),
        machine(),
        begin.elapsed().as_secs_f64(),
    ))
}
