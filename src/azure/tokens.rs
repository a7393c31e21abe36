//! What is remembered of one identity's sign-in: its access token, by the wall clock.
//!
//! However many ask, its source is asked once; what it answers, or why it does not, all of them hear. A token is
//! replaced ahead of its end, in the background, when somebody uses it then; one past its end is handed to nobody. A
//! failure is not remembered, but its source is asked at most once a second, so that a storm of connections is no
//! storm of sign-ins.
//!
//! ```text
//!            fetched          ageing: handed out, and replaced meanwhile      expired
//! ──────────────┼───────────────────────────────┼───────────────────────────────┼──────▶ asked for before anything
//!                                     min(5 min, 20 % of its life)                        is handed out
//! ```

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use secrecy::ExposeSecret as _;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::credential::{Credential, Flaw, Granted, SignInError};
use crate::model::CredentialKind;

/// The source is asked at most once in this time.
const PACE: Duration = Duration::from_secs(1);
/// A token that is still good is replaced at most so often when that fails.
const AHEAD_PACE: Duration = Duration::from_secs(30);
/// A token is replaced this long before its end, or a fifth of its life before it, whichever is less.
const AHEAD: Duration = Duration::from_secs(5 * 60);
/// When the clock says that a token is fetched this much later than now, it was set back.
const BACK: Duration = Duration::from_secs(5 * 60);

/// The access token of one identity for one audience.
pub struct Tokens {
    shared: Arc<Shared>,
    /// The question that is under way, at most one. It ends with this.
    tasks: Mutex<JoinSet<()>>,
}

struct Shared {
    credential: Arc<dyn Credential>,
    audience: String,
    clock: fn() -> SystemTime,
    state: Mutex<State>,
}

type Outcome = Result<Granted, SignInError>;

#[derive(Default)]
struct State {
    held: Option<Held>,
    /// The question that is under way, and who waits for its answer.
    flight: Option<watch::Receiver<Option<Outcome>>>,
    /// When the source was last asked.
    asked: Option<Instant>,
    /// Since when a token ahead of the end of the last one could not be had.
    failed: Option<Instant>,
}

struct Held {
    granted: Granted,
    fetched: SystemTime,
    /// Whether somebody has it.
    handed: bool,
    /// Somebody may have signed in as another: it is only used when nothing newer can be had.
    doubted: bool,
    /// It is the one that was held before.
    repeated: bool,
}

/// What a token is worth now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Age {
    Good,
    Ageing,
    Expired,
}

impl Tokens {
    /// Nothing is asked yet.
    pub fn new(credential: Arc<dyn Credential>, audience: &str, clock: fn() -> SystemTime) -> Self {
        let state = Mutex::default();
        let shared = Shared { credential, audience: audience.to_owned(), clock, state };
        Self { shared: Arc::new(shared), tasks: Mutex::default() }
    }

    /// A token that is good now. With `fresh`, one that was not handed out before, as far as its source has one: az and
    /// metadata services have a memory of their own, which they cannot be told to look past. What they give again is
    /// handed out again: the refusal may have been a passing one.
    ///
    /// # Errors
    /// Says why there is none. Whoever asked meanwhile hears the same.
    pub async fn token(&self, fresh: bool) -> Outcome {
        let now = (self.shared.clock)();
        let mut outcome = {
            let mut state = self.shared.state();
            if let Some(granted) = state.at_hand(now, fresh) {
                if state.is_ageing(now) && state.failed.is_none_or(|at| at.elapsed() >= AHEAD_PACE) {
                    self.ask(&mut state);
                }
                return Ok(granted);
            }
            self.ask(&mut state)
        };
        let answer = match outcome.wait_for(Option::is_some).await {
            Ok(answer) => answer.clone(),
            Err(_gone) => None,
        };
        match answer {
            Some(Ok(granted)) => {
                self.shared.state().was_handed(&granted);
                Ok(granted)
            }
            Some(Err(error)) => self.shared.state().still_good((self.shared.clock)(), fresh).ok_or(error),
            None => Err(SignInError::new(
                CredentialKind::Auto,
                Flaw::Passing,
                "asking for a token ended by a mistake of ours; please report it",
            )),
        }
    }

    /// Somebody may have signed in, or as another: what is remembered is looked into again.
    pub fn reconsider(&self) {
        self.shared.credential.reconsider();
        let mut state = self.shared.state();
        if let Some(held) = &mut state.held {
            held.doubted = true;
        }
        state.failed = None;
    }

    /// The token that was had last, good or not.
    pub(super) fn held(&self) -> Option<Granted> {
        self.shared.state().held.as_ref().map(|held| held.granted.clone())
    }

    /// The source, if it gave the token that it had given before when it was last asked.
    pub fn repeated(&self) -> Option<CredentialKind> {
        self.shared.state().held.as_ref().filter(|held| held.repeated).map(|held| held.granted.by)
    }

    /// The answer to the question that is under way, or to one that is begun now.
    fn ask(&self, state: &mut State) -> watch::Receiver<Option<Outcome>> {
        // One whose task is gone is never answered.
        if let Some(flight) = state.flight.as_ref().filter(|flight| flight.has_changed().is_ok()) {
            return flight.clone();
        }
        let (answer, outcome) = watch::channel(None);
        state.flight = Some(outcome.clone());
        let due = state.asked.map_or_else(Instant::now, |asked| asked + PACE);
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(Arc::clone(&self.shared).fetch(due, answer));
        outcome
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("audience", &self.shared.audience).finish_non_exhaustive()
    }
}

impl Shared {
    async fn fetch(self: Arc<Self>, due: Instant, answer: watch::Sender<Option<Outcome>>) {
        sleep_until(due).await;
        self.state().asked = Some(Instant::now());
        let outcome = self.credential.token(&self.audience).await.and_then(|granted| self.unexpired(granted));
        let mut state = self.state();
        match &outcome {
            Ok(granted) => {
                tracing::debug!(credential = ?granted.by, "an access token was had");
                let repeated = state.holds(granted);
                let (granted, fetched) = (granted.clone(), (self.clock)());
                state.held = Some(Held { granted, fetched, handed: false, doubted: false, repeated });
                state.failed = None;
            }
            Err(error) => {
                tracing::info!(%error, "no access token");
                state.failed = Some(Instant::now());
            }
        }
        state.flight = None;
        drop(state);
        answer.send_replace(Some(outcome));
    }

    fn unexpired(&self, granted: Granted) -> Outcome {
        if granted.expires > (self.clock)() {
            return Ok(granted);
        }
        let what = "it gave a token that has expired already: is the clock of this machine right?";
        Err(SignInError::new(granted.by, Flaw::Passing, what))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The token to hand out without asking anybody, if there is one.
    fn at_hand(&mut self, now: SystemTime, fresh: bool) -> Option<Granted> {
        let held = self.held.as_mut().filter(|held| held.age(now) != Age::Expired)?;
        if held.doubted || (fresh && held.handed) {
            return None;
        }
        held.handed = true;
        Some(held.granted.clone())
    }

    /// The token that was there before a question was in vain: good still, though somebody may have signed out.
    fn still_good(&mut self, now: SystemTime, fresh: bool) -> Option<Granted> {
        let held = self.held.as_mut().filter(|held| !fresh && held.age(now) != Age::Expired)?;
        (held.doubted, held.handed) = (false, true);
        Some(held.granted.clone())
    }

    fn is_ageing(&self, now: SystemTime) -> bool {
        self.held.as_ref().is_some_and(|held| held.age(now) == Age::Ageing)
    }

    /// Whether this is the token that is held.
    fn holds(&self, granted: &Granted) -> bool {
        let same = |held: &Held| held.granted.token.expose_secret() == granted.token.expose_secret();
        self.held.as_ref().is_some_and(same)
    }

    fn was_handed(&mut self, granted: &Granted) {
        let same = self.holds(granted);
        if let Some(held) = &mut self.held {
            held.handed |= same;
        }
    }
}

impl Held {
    fn age(&self, now: SystemTime) -> Age {
        let Ok(left) = self.granted.expires.duration_since(now) else { return Age::Expired };
        if left.is_zero() || now + BACK < self.fetched {
            return Age::Expired;
        }
        let life = self.granted.expires.duration_since(self.fetched).unwrap_or_default();
        if left <= AHEAD.min(life / 5) { Age::Ageing } else { Age::Good }
    }
}

#[cfg(test)]
mod tests;
