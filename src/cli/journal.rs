//! The journal of a command that opens sessions: written as they are granted, and what one before it left, deleted.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::azure::{Azure, Realm};
use super::settings::Settings;
use crate::gateway::{self, Remnant, sweep};
use crate::instance::{Journal, Left, Whose};
use crate::model::{chain, printable};
use crate::net::Network;
use crate::supervisor::Surroundings;
use crate::sys::clock;
use crate::ui::{Printer, count};

/// How long the deletion of what another one left may take.
const RECOVERY: Duration = Duration::from_secs(10);
/// The longest reason that is shown.
const LONGEST: usize = 400;

/// A journal, and the Azure that its sessions are in.
#[derive(Debug)]
pub(super) struct Journaled {
    journal: Journal,
    realm: Realm,
    network: Network,
}

impl Journaled {
    /// Has a journal. None for an emulator in this process: its sessions end with it. None either where none can be had,
    /// which is told and stops no tunnel.
    pub(super) fn open(
        azure: &Azure,
        whose: Whose<'_>,
        settings: &Settings,
        printer: Printer,
    ) -> Option<Arc<Self>> {
        let realm = azure.realm.clone()?;
        match Journal::open(&settings.places(), whose, clock::now) {
            Ok(journal) => {
                for problem in journal.problems() {
                    printer.warn(&format!(
                        "what an earlier `bastion` wrote down: {} [journal]",
                        printable(problem, LONGEST)
                    ));
                }
                Some(Arc::new(Self { journal, realm, network: azure.surroundings.network.clone() }))
            }
            Err(error) => {
                printer.warn(&format!(
                    "the sessions that will be open cannot be written down: {}. Tunnels work all the same; what is left of them when this is killed, Azure ends by itself after a while [journal]",
                    printable(&chain(&error), LONGEST)
                ));
                None
            }
        }
    }

    /// Deletes what one before this left in the same Azure, and says so. What cannot be deleted stays in the journal.
    async fn recover(&self, printer: Printer) {
        let mut remnants = Vec::new();
        for (id, left) in self.journal.inherited() {
            if left.cloud != self.realm.word {
                // Another configuration, or another emulator: `bastion gc` goes there.
                continue;
            }
            match read(&left, &self.realm) {
                Ok(remnant) => remnants.push((id, remnant)),
                Err(why) => {
                    self.journal.gone(id);
                    printer.warn(&format!(
                        "an earlier `bastion` wrote down what is no session: {why} [journal]"
                    ));
                }
            }
        }
        if remnants.is_empty() {
            return;
        }
        let (all, mut deleted, mut failed) = (remnants.len(), 0, None);
        let mut told = |id, outcome: Result<(), gateway::NotDeleted>| match outcome {
            Ok(()) => {
                deleted += 1;
                self.journal.gone(id);
            }
            Err(error) => failed = Some(chain(&error)),
        };
        match self.network.http() {
            Ok(http) => sweep(&http, remnants, Instant::now() + RECOVERY, &mut told).await,
            Err(error) => failed = Some(chain(&error)),
        }
        match failed {
            None => printer.say(&format!(
                "Deleted {} that a `bastion` before this one left in Azure",
                count(all, "session")
            )),
            Some(why) => printer.warn(&format!(
                "{} of {} that a `bastion` before this one left in Azure could not be deleted: {}; the next one, or `bastion gc`, tries again [journal]",
                all - deleted,
                count(all, "session"),
                printable(&why, LONGEST)
            )),
        }
    }
}

/// Reads what was written down, as strictly as if it came from elsewhere.
pub(super) fn read(left: &Left, realm: &Realm) -> Result<Remnant, String> {
    let Left { cloud: _, host, node_id, auth_token } = left;
    Remnant::parse(host, realm.ports, node_id.as_deref(), auth_token)
        .map_err(|error| format!("{}: {error}", printable(host, 100)))
}

/// The ways to Azure, with a journal of what is opened there.
pub(super) fn with(azure: &Azure, journal: Option<&Arc<Journaled>>) -> Surroundings {
    let journal = journal.map(|journal| Arc::<Journaled>::clone(journal) as Arc<dyn gateway::Journal>);
    Surroundings { journal, ..azure.surroundings.clone() }
}

/// See [`Journaled::recover`].
pub(super) async fn recover(journal: Option<&Journaled>, printer: Printer) {
    if let Some(journal) = journal {
        journal.recover(printer).await;
    }
}

/// Writes the last lines; call it when the last session is deleted.
pub(super) async fn close(journal: Option<&Journaled>) {
    if let Some(journal) = journal {
        journal.journal.close().await;
    }
}

impl gateway::Journal for Journaled {
    fn granted<'a>(&'a self, remnant: &'a Remnant) -> Pin<Box<dyn Future<Output = u64> + Send + 'a>> {
        Box::pin(self.journal.granted(Left {
            cloud: self.realm.word.clone(),
            host: remnant.host().to_string(),
            node_id: remnant.node_id().map(str::to_owned),
            auth_token: remnant.auth_token().clone(),
        }))
    }

    fn deleted(&self, entry: u64) {
        self.journal.gone(entry);
    }
}
