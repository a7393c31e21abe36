//! From an accepted connection to a stream: held while the path is down, set up when it is not, tried again after a
//! failure that may pass, given up when its time is up.

use std::pin::pin;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::edition::{Edition, Entry};
use super::paths::Hold;
use crate::carrier::{ByteStream, OpenOptions};
use crate::lifecycle::PathState;
use crate::model::{Disposition, Failure, OnOutage, Reason, Scope, Wait};

/// How many connections of a tunnel are held at once while its path is down.
const HELD: usize = 256;

/// Why no stream was opened.
pub(super) enum NotOpened {
    /// It cannot be, or not in time.
    Failed(Reason),
    /// The local program is gone.
    LocalGone,
    /// The tunnel is gone, or stops.
    Stopped,
}

/// The time that a connection may spend before it is connected. Waiting for its turn costs nothing.
pub(super) struct Patience {
    whole: Duration,
    left: Duration,
}

/// A connection while it is being opened.
pub(super) struct Opening<'a> {
    pub(super) edition: &'a Edition,
    pub(super) entry: &'a mut Entry,
    pub(super) patience: &'a mut Patience,
}

/// What a path's state means for a connection.
enum Verdict {
    /// It works.
    Go,
    /// It does not: why, if anything failed so far.
    Hold(Option<Reason>),
    /// Waiting would be in vain.
    Refuse(Reason),
}

impl Patience {
    pub(super) fn new(whole: Duration) -> Self {
        Self { whole, left: whole }
    }

    /// Waits, but no longer than there is time; `None`: it is up.
    async fn spend<T>(&mut self, wait: impl Future<Output = T>) -> Option<T> {
        let begun = Instant::now();
        let done = timeout(self.left, wait).await;
        self.left = self.left.saturating_sub(begun.elapsed());
        done.ok()
    }

    fn slow(&self) -> Reason {
        Reason {
            code: "gateway-slow".into(),
            what: format!("no session within {} s", self.whole.as_secs_f64()),
            hint: Some("`connect_timeout` says how long a connection may wait".to_owned()),
        }
    }
}

impl Opening<'_> {
    pub(super) async fn open(mut self) -> Result<Box<dyn ByteStream>, NotOpened> {
        let mut last = None;
        loop {
            self.path(&mut last).await?;
            let way = &self.edition.way;
            match self.set_up().await {
                Some(Ok(stream)) => {
                    way.set_up(Ok(())).await;
                    return Ok(stream);
                }
                Some(Err(failure)) => {
                    let Failure { disposition, reason, .. } = failure.clone();
                    way.set_up(Err(failure)).await;
                    if matches!(disposition, Disposition::Blocked(_)) {
                        return Err(NotOpened::Failed(reason));
                    }
                    // Nothing tells any more what the path comes to: what it came to last says nothing.
                    if way.state.has_changed().is_err() {
                        return Err(NotOpened::Failed(reason));
                    }
                    let (tunnel, connection) = (&self.edition.name, self.entry.number());
                    tracing::info!(%tunnel, connection, code = &*reason.code, "{}; held, trying again", reason.what);
                    last = Some(reason);
                }
                None => {
                    // It was told of what failed before; that nothing came of it at all is news.
                    let reason = self.patience.slow();
                    if last.is_none() {
                        let (scope, disposition) = (Scope::Target, Disposition::Retry);
                        way.set_up(Err(Failure { scope, disposition, reason: reason.clone() })).await;
                    }
                    return Err(NotOpened::Failed(last.unwrap_or(reason)));
                }
            }
        }
    }

    /// Waits until the path works, as long as there is time. `last` is why it did not.
    async fn path(&mut self, last: &mut Option<Reason>) -> Result<(), NotOpened> {
        let mut state = self.edition.way.state.clone();
        let mut hold: Option<Hold> = None;
        loop {
            let verdict = self.judge(&state.borrow_and_update());
            let reason = match verdict {
                Verdict::Go => return Ok(()),
                Verdict::Refuse(reason) => return Err(NotOpened::Failed(reason)),
                Verdict::Hold(reason) => reason,
            };
            let full = reason.as_ref().is_some_and(|reason| reason.code == "gateway-busy");
            if hold.is_none() {
                if self.edition.tally.waiting(if full { Wait::Sessions } else { Wait::Path }) >= HELD {
                    return Err(NotOpened::Failed(reason.unwrap_or_else(crowded)));
                }
                hold = Some(self.edition.way.hold());
            }
            self.entry.wait(if full { Wait::Sessions } else { Wait::Path });
            *last = reason.or_else(|| last.take());
            match self.patience.spend(state.changed()).await {
                Some(Ok(())) => {}
                // The path is needed no longer.
                Some(Err(_closed)) => return Err(NotOpened::Stopped),
                None => return Err(NotOpened::Failed(last.take().unwrap_or_else(|| self.patience.slow()))),
            }
        }
    }

    fn judge(&self, state: &PathState) -> Verdict {
        let refuses = self.edition.spec.behaviour.on_outage == OnOutage::Refuse;
        match state {
            PathState::Ready { .. } => Verdict::Go,
            PathState::Blocked { reason, .. } => Verdict::Refuse(reason.clone()),
            PathState::Connecting { reason: Some(reason), .. } | PathState::Degraded { reason, .. }
                if refuses =>
            {
                Verdict::Refuse(reason.clone())
            }
            PathState::Degraded { reason, .. } => Verdict::Hold(Some(reason.clone())),
            PathState::Connecting { reason, .. } => Verdict::Hold(reason.clone()),
            PathState::Pending | PathState::Resolving => Verdict::Hold(None),
        }
    }

    /// Opens a stream on a path that works; `None`: not in time. While it waits for its turn, its time stands still.
    async fn set_up(&mut self) -> Option<Result<Box<dyn ByteStream>, Failure>> {
        let (tell, mut told) = watch::channel(Wait::SetUp);
        let options = OpenOptions { waiting: Some(tell), ..self.edition.open_options() };
        let way = &self.edition.way;
        let mut opening = pin!(way.carrier.open(&way.key.locator, way.key.port, &options));
        loop {
            let wait = *told.borrow_and_update();
            self.entry.wait(wait);
            let step = async {
                tokio::select! {
                    biased;
                    opened = &mut opening => Some(opened),
                    // The other end is in the options, so this is never closed.
                    _ = told.changed() => None,
                }
            };
            let step = match wait {
                Wait::Sessions | Wait::Connections => step.await,
                Wait::SetUp | Wait::Path => self.patience.spend(step).await?,
            };
            if let Some(opened) = step {
                return Some(opened);
            }
        }
    }
}

fn crowded() -> Reason {
    Reason {
        code: "too-many-waiting".into(),
        what: format!("{HELD} connections wait for this path already"),
        hint: None,
    }
}
