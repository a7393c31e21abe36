//! What the loop is asked, and what becomes of it once the declaration is read.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::board::Declaration;
use super::declared::{Declared, Rejected, Setting, Unknown, Wanted, meant};
use super::handle::{Applied, Command, Refusal, Reply};
use super::paths::Place;
use super::{Supervisor, paths};
use crate::model::Name;
use crate::plan;

/// What waits for the declaration to be read.
pub(super) enum Job {
    /// The files may have changed.
    Files,
    Up {
        tunnels: Vec<String>,
        profiles: Vec<String>,
        setting: Setting,
        reply: Reply<Applied>,
    },
    Reload {
        setting: Setting,
        reply: Reply<Applied>,
    },
    Plan {
        setting: Setting,
        reply: Reply<Applied>,
    },
}

/// A reading that has ended.
pub(super) struct Read {
    job: Job,
    setting: Setting,
    result: Result<Declared, Rejected>,
}

impl Supervisor {
    pub(super) async fn asked(&mut self, command: Command) {
        match command {
            Command::Up { tunnels, profiles, setting, reply } => {
                self.queue(Job::Up { tunnels, profiles, setting, reply });
            }
            Command::Reload { setting, reply } => self.queue(Job::Reload { setting, reply }),
            Command::Plan { setting, reply } => self.queue(Job::Plan { setting, reply }),
            Command::Down { tunnels, grace, reply } => {
                let answer = self.down(&tunnels, grace).await;
                give(reply, answer);
            }
            Command::Prove { tunnels, reply } => self.prove(&tunnels, reply).await,
            Command::Stop { grace, reply } => {
                let waiting = self.stop(grace).await;
                give(reply, Ok(waiting));
            }
        }
    }

    fn queue(&mut self, job: Job) {
        if self.stopping.is_some() {
            job.refuse(Refusal::Stopping);
        } else {
            self.jobs.push_back(job);
        }
    }

    /// Has the declaration read for whoever waits for it, one after another.
    pub(super) fn read_next(&mut self) {
        if self.stopping.is_some() || !self.reading.is_empty() {
            return;
        }
        let Some(job) = self.jobs.pop_front() else { return };
        if matches!(job, Job::Files) {
            // However often it was changed meanwhile, it is read once.
            self.jobs.retain(|job| !matches!(job, Job::Files));
        }
        let setting = job.setting(&self.setting);
        let source = std::sync::Arc::clone(&self.source);
        self.reading.spawn_blocking(move || {
            let result = source.read(&setting);
            Read { job, setting, result }
        });
    }

    /// The declaration was read.
    pub(super) async fn was_read(&mut self, read: Read) {
        let Read { job, setting, result } = read;
        let declared = match result {
            Ok(declared) => declared,
            Err(rejected) => return self.reject(job, rejected),
        };
        match job {
            Job::Files => {
                if let Err(rejected) = self.take(declared, setting, self.wanted.clone(), "edit").await {
                    self.reject(Job::Files, rejected);
                }
            }
            Job::Up { ref tunnels, ref profiles, .. } => {
                let mut wanted = self.wanted.clone();
                if let Err(Unknown(name)) = wanted.more(tunnels, profiles, &declared.desired) {
                    let known = declared.desired.tunnels.keys().cloned().collect();
                    return job.refuse(Refusal::Unknown { name, known });
                }
                let answer = self.take(declared, setting, wanted, "up").await;
                self.answer(job, answer);
            }
            Job::Reload { .. } => {
                let answer = self.take(declared, setting, self.wanted.clone(), "reload").await;
                self.live.routes.tell_all(|| paths::Message::Retry).await;
                self.answer(job, answer);
            }
            Job::Plan { reply, .. } => {
                let (mut specs, _withheld) = self.wanted.of(&declared);
                self.live.keep_chosen(&mut specs);
                let plan = plan::between(&self.live.actual(), &specs);
                give(reply, Ok(self.applied(&plan, Vec::new())));
            }
        }
    }

    fn answer(&self, job: Job, answer: Result<Applied, Rejected>) {
        match (answer, job) {
            (Err(rejected), job) => self.reject(job, rejected),
            (Ok(applied), Job::Up { reply, .. } | Job::Reload { reply, .. } | Job::Plan { reply, .. }) => {
                give(reply, Ok(applied));
            }
            (Ok(_), Job::Files) => {}
        }
    }

    /// The declaration cannot be carried out: everything stays as it is, and that is told.
    fn reject(&self, job: Job, rejected: Rejected) {
        // With other variables it is whoever brought them that has to know; the files may be well.
        if self.declared.is_some() && matches!(job, Job::Files) {
            self.board.rejected(rejected.told());
        }
        job.refuse(Refusal::Rejected(rejected));
    }

    /// Goes over to a declaration.
    async fn take(
        &mut self,
        declared: Declared,
        setting: Setting,
        wanted: Wanted,
        why: &'static str,
    ) -> Result<Applied, Rejected> {
        let changed = self.declared.as_ref() != Some(&declared);
        if changed {
            self.source.accept(&declared)?;
        }
        let changed = changed || self.wanted != wanted;
        let workspace = Some(declared.desired.workspace.clone());
        self.generation += u64::from(changed);
        (self.declared, self.setting, self.wanted) = (Some(declared), setting, wanted);
        let pass = self.pass(why).await;
        let before = self.board.declaration();
        let lines = if changed { pass.applied.lines.clone() } else { before.lines.clone() };
        // With nothing in between: whoever sees the new edition sees what came of it.
        self.board.declared(Declaration {
            generation: self.generation,
            workspace,
            why: if changed { why } else { before.why },
            lines,
            rejected: None,
            stopping: false,
        });
        let applied = self.publish(pass);
        if changed {
            self.live.routes.tell_all(|| paths::Message::Retry).await;
        }
        Ok(applied)
    }

    async fn down(&mut self, tunnels: &[String], grace: Duration) -> Result<Vec<(Name, usize)>, Refusal> {
        let running = self.live.tunnels.keys().chain(self.withheld.keys());
        let known: Vec<Name> = running.cloned().collect();
        let meant = meant(tunnels, known.iter());
        let meant = meant.map_err(|Unknown(name)| Refusal::Unknown { name, known: known.clone() })?;
        self.wanted.stop(&meant);
        self.live.close(&meant);
        for name in &meant {
            self.live.remove(name, Some(grace)).await;
            self.withheld.remove(name);
        }
        self.show(meant.iter());
        self.board.bastions(self.live.routes.usage());
        Ok(self.live.going_on(|name| meant.contains(name)))
    }

    async fn prove(&mut self, tunnels: &[String], reply: Reply<()>) {
        let known: Vec<Name> = self.live.tunnels.keys().chain(self.withheld.keys()).cloned().collect();
        let meant = match meant(tunnels, known.iter()) {
            Ok(meant) => meant,
            Err(Unknown(name)) => return give(reply, Err(Refusal::Unknown { name, known })),
        };
        let unbound =
            |name: &Name| self.live.tunnels.get(name).is_some_and(|tunnel| tunnel.unbound.is_some());
        if meant.iter().any(unbound) {
            // Whoever had the address may be gone.
            self.reconcile("proof").await;
        }
        let running = self.live.tunnels.iter().filter(|(name, _)| meant.contains(*name));
        let places: BTreeSet<_> = running.map(|(_, tunnel)| Place::of(&tunnel.edition.spec)).collect();
        let mut proofs = Vec::new();
        for place in &places {
            proofs.extend(self.live.routes.prove(place).await);
        }
        self.proofs.spawn(async move {
            for proof in proofs {
                // A path that is gone is proven enough.
                let _gone = proof.await;
            }
            give(reply, Ok(()));
        });
    }

    /// Takes no new connections. What goes on is given so long; asked again, the shorter time holds.
    async fn stop(&mut self, grace: Duration) -> Vec<(Name, usize)> {
        let until = Instant::now() + grace;
        if let Some(before) = self.stopping {
            self.stopping = Some(before.min(until));
        } else {
            self.stopping = Some(until);
            self.watch = None;
            self.board.stopping();
            for job in std::mem::take(&mut self.jobs) {
                job.refuse(Refusal::Stopping);
            }
            let names: Vec<Name> = self.live.tunnels.keys().cloned().collect();
            self.live.close(&names);
            for name in &names {
                self.live.remove(name, None).await;
            }
            self.withheld.clear();
            self.show(self.board.names().iter());
        }
        self.live.going_on(|_| true)
    }
}

impl Job {
    /// What it is read with: what it brings, or what was brought before. What was allowed stays allowed.
    fn setting(&self, before: &Setting) -> Setting {
        match self {
            Self::Files => before.clone(),
            Self::Up { setting, .. } | Self::Reload { setting, .. } | Self::Plan { setting, .. } => {
                setting.clone().allowing(before.allowed.iter().copied())
            }
        }
    }

    fn refuse(self, refusal: Refusal) {
        match self {
            Self::Files => {}
            Self::Up { reply, .. } | Self::Reload { reply, .. } | Self::Plan { reply, .. } => {
                give(reply, Err(refusal));
            }
        }
    }
}

fn give<T>(reply: Reply<T>, answer: Result<T, Refusal>) {
    // Whoever asked may have gone.
    let _unheard = reply.send(answer);
}
