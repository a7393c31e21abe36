//! The task behind one route: it feeds the state machine of [`lifecycle`] and does what that asks
//! for. It alone asks what time it is. A mistake of ours in it ends it and nothing else; it is started again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::paths::{Message, Paths};
use super::warm::{self, Use};
use crate::carrier::{ByteStream, Carrier, Closing, OpenOptions};
use crate::lifecycle::{self, Action, Failure, Input, Key, PathOptions, PathState};
use crate::model::{Behaviour, Disposition, Reason, Scope};
use crate::{probe, relay};

/// How many messages may wait for the task; who has more to say waits.
const INBOX: usize = 256;

/// Where messages go and where they are kept: they outlive a task that ends by a mistake of ours.
pub(super) fn inbox() -> (mpsc::Sender<Message>, Inbox) {
    let (sender, receiver) = mpsc::channel(INBOX);
    (sender, Arc::new(Mutex::new(receiver)))
}

/// The task's end of its messages.
pub(super) type Inbox = Arc<Mutex<mpsc::Receiver<Message>>>;

/// What the task is made of.
pub(super) struct Task {
    pub(super) carrier: Arc<dyn Carrier>,
    pub(super) paths: Arc<Paths>,
    pub(super) inbox: Inbox,
    pub(super) stop: CancellationToken,
}

/// Why a task is started again, and after how long it tries something.
pub(super) struct Crash {
    pub(super) reason: Reason,
    pub(super) wait: Duration,
}

/// How something that was in flight went.
enum Landed {
    Resolved(Result<(), Failure>),
    Probed(Key, Result<(), Failure>, Option<Box<dyn ByteStream>>),
    /// A stream that was opened for a probe is closed, or nothing more is kept ready.
    Over,
}

/// The task while it runs.
struct Running {
    carrier: Arc<dyn Carrier>,
    paths: Arc<Paths>,
    machine: lifecycle::Route<Key>,
    flights: JoinSet<Landed>,
    /// What probes are made with.
    open: BTreeMap<Key, OpenOptions>,
    /// What is kept ready is told here that its path was used.
    warm: BTreeMap<Key, watch::Sender<Use>>,
    /// Who waits for a proof.
    provers: Vec<(Key, oneshot::Sender<()>)>,
}

impl Task {
    /// Runs until it is told to stop. `known` are the paths that are needed; after a `crash` it begins with a wait.
    pub(super) async fn run(self, known: Vec<(Key, PathOptions, OpenOptions)>, crash: Option<Crash>) {
        let Self { carrier, paths, inbox, stop } = self;
        let mut running = Running {
            carrier,
            paths,
            machine: lifecycle::Route::new(),
            flights: JoinSet::new(),
            open: BTreeMap::new(),
            warm: BTreeMap::new(),
            provers: Vec::new(),
        };
        let mut inbox = inbox.lock().await;
        running.begin(known, crash);
        stop.run_until_cancelled(running.work(&mut inbox)).await;
    }
}

impl Running {
    fn begin(&mut self, known: Vec<(Key, PathOptions, OpenOptions)>, crash: Option<Crash>) {
        let now = Instant::now().into_std();
        for (path, options, open) in known {
            self.open.insert(path.clone(), open);
            let actions = self.machine.step(Input::Add { path, options }, now, &mut rand::random);
            if crash.is_none() {
                actions.into_iter().for_each(|action| self.act(action));
            }
        }
        if let Some(Crash { reason, wait }) = crash {
            // What the machine has begun with is called off, and tried again after the wait.
            let disposition = Disposition::RetryAfter(wait);
            self.step(Input::Resolved(Err(Failure { scope: Scope::Bastion, disposition, reason })));
        }
        self.tell();
    }

    async fn work(&mut self, inbox: &mut mpsc::Receiver<Message>) {
        let paths = Arc::clone(&self.paths);
        loop {
            let timer = self.machine.timer().map(Instant::from_std);
            let due = async {
                match timer {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(message) = inbox.recv() => self.message(message),
                Some(landed) = self.flights.join_next() => self.landed(landed),
                held = paths.heard() => {
                    for path in held {
                        let waiting = paths.holds(&path);
                        self.step(Input::Waiting { path, waiting });
                    }
                }
                () = due => self.step(Input::Timer),
            }
            self.tell();
        }
    }

    fn message(&mut self, message: Message) {
        match message {
            Message::Add { path, options, open } => {
                self.open.insert(path.clone(), open);
                self.step(Input::Add { path, options });
            }
            Message::Update { path, options, open } => {
                if let Some(used) = self.warm.get(&path) {
                    used.send_modify(|used| used.open = open.clone());
                }
                self.open.insert(path.clone(), open);
                self.step(Input::Update { path, options });
            }
            Message::Remove(path) => {
                self.open.remove(&path);
                self.warm.remove(&path);
                self.step(Input::Remove(path));
            }
            Message::SetUp { path, result, noted } => {
                if result.is_ok() {
                    self.used(&path);
                }
                self.step(Input::SetUp { path, result });
                self.tell();
                // Whoever waited for it may have gone.
                let _unheard = noted.send(());
            }
            Message::Prove { path, proven } => {
                // Somebody wants to know now, and may have mended what was in the way.
                if matches!(self.machine.path(&path), PathState::Ready { .. }) {
                    self.step(Input::Prove(path.clone()));
                } else {
                    self.carrier.doubt();
                    self.step(Input::Retry(Some(path.clone())));
                }
                self.provers.push((path, proven));
            }
            Message::Retry => {
                self.carrier.doubt();
                self.step(Input::Retry(None));
            }
            Message::Wake => self.step(Input::Wake),
        }
    }

    /// A connection uses a path: the next ones may find something kept ready.
    fn used(&mut self, path: &Key) {
        let Some(open) = self.open.get(path).filter(|open| open.prewarm > 0) else { return };
        let last = Instant::now();
        match self.warm.get(path) {
            Some(used) if !used.is_closed() => used.send_modify(|used| used.last = last),
            Some(_) | None => {
                let (used, seen) = watch::channel(Use { last, open: open.clone() });
                self.warm.insert(path.clone(), used);
                let keep = warm::keep(Arc::clone(&self.carrier), path.clone(), seen);
                self.flights.spawn(async move {
                    keep.await;
                    Landed::Over
                });
            }
        }
    }

    fn landed(&mut self, landed: Result<Landed, JoinError>) {
        match landed {
            Ok(Landed::Resolved(result)) => self.step(Input::Resolved(result)),
            Ok(Landed::Probed(path, result, stream)) => {
                self.step(Input::Probed { path, result });
                // What was shown is known already, however long the goodbye takes.
                if let Some(mut stream) = stream {
                    self.flights.spawn(async move {
                        relay::close(&mut stream, Closing::Done).await;
                        Landed::Over
                    });
                }
            }
            Ok(Landed::Over) => {}
            Err(error) => {
                tracing::error!(%error, "what a route was doing ended by a mistake of ours; please report it");
                // The machine takes everything for landed.
                self.flights.abort_all();
                self.flights = JoinSet::new();
                self.step(Input::Crashed(mistake()));
            }
        }
    }

    fn step(&mut self, input: Input<Key>) {
        let actions = self.machine.step(input, Instant::now().into_std(), &mut rand::random);
        for action in actions {
            self.act(action);
        }
    }

    fn act(&mut self, action: Action<Key>) {
        let carrier = Arc::clone(&self.carrier);
        match action {
            Action::Resolve => {
                self.flights.spawn(async move { Landed::Resolved(carrier.resolve().await) });
            }
            Action::Probe(path) => {
                // A path that is gone by now is asked for under no tunnel's name.
                let open = self.open.get(&path).cloned().unwrap_or_else(|| OpenOptions {
                    user_agent: concat!("bastion/", env!("CARGO_PKG_VERSION")).to_owned(),
                    keepalive: Behaviour::default().keepalive,
                    prewarm: 0,
                    prewarm_dial: false,
                    waiting: None,
                });
                self.flights.spawn(async move {
                    let (result, stream) = show(&*carrier, &path, &open).await;
                    Landed::Probed(path, result, stream)
                });
            }
        }
    }

    /// Tells of what has changed.
    fn tell(&mut self) {
        for path in self.machine.take_changed() {
            self.paths.set(&path, self.machine.path(&path));
        }
        let machine = &self.machine;
        for (_, proven) in self.provers.extract_if(.., |(path, _)| !machine.is_trying(path)) {
            let _unheard = proven.send(());
        }
    }
}

/// Shows what is to be shown of a path. The stream that was opened for it is still to be closed.
async fn show(
    carrier: &dyn Carrier,
    path: &Key,
    open: &OpenOptions,
) -> (Result<(), Failure>, Option<Box<dyn ByteStream>>) {
    let Key { locator, port, probe } = path;
    if !probe.reaches_target() {
        return (carrier.probe(locator, *port, open).await, None);
    }
    let mut stream = match carrier.open(locator, *port, open).await {
        Ok(stream) => stream,
        Err(failure) => return (Err(failure), None),
    };
    let shown = probe::ask(probe, &mut stream, &format!("port {port} of {locator}")).await;
    let failed = |reason| Failure { scope: Scope::Target, disposition: Disposition::Retry, reason };
    (shown.result.map_err(failed), (!shown.broken).then_some(stream))
}

/// Why a route does not work for the moment, when that is our fault.
pub(super) fn mistake() -> Reason {
    Reason {
        code: "internal".into(),
        what: "what keeps this route ended by a mistake of ours, and is started again".to_owned(),
        hint: Some("please report it, with what `-vv` says".to_owned()),
    }
}
