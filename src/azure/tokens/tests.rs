//! A credential by a script, in paused time, with a clock that can be set.

use std::cell::Cell;
use std::collections::VecDeque;
use std::time::UNIX_EPOCH;

use secrecy::ExposeSecret as _;
use tokio::time::{advance, sleep};

use super::*;
use crate::azure::credential::Asking;

const HOUR: Duration = Duration::from_secs(3600);

thread_local! {
    static BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
    static AHEAD_BY: Cell<i64> = const { Cell::new(0) };
}

/// Runs with the paused time of the test, and can be set.
fn clock() -> SystemTime {
    let began = BEGAN.get().unwrap_or_else(|| {
        BEGAN.set(Some(Instant::now()));
        Instant::now()
    });
    let noon = UNIX_EPOCH + Duration::from_secs(1_800_000_000) + began.elapsed();
    let set = AHEAD_BY.get();
    let by = Duration::from_secs(set.unsigned_abs());
    if set < 0 { noon - by } else { noon + by }
}

/// Gives what it is told to, numbered; when that is all, tokens for an hour.
#[derive(Default)]
struct Script {
    answers: Mutex<VecDeque<Result<Duration, Flaw>>>,
    /// How long an answer takes.
    takes: Duration,
    asked: Mutex<Vec<Instant>>,
    reconsidered: Mutex<usize>,
}

impl Script {
    fn of(answers: &[Result<Duration, Flaw>]) -> Arc<Self> {
        Arc::new(Self { answers: Mutex::new(answers.iter().copied().collect()), ..Self::default() })
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl Credential for Script {
    fn token<'a>(&'a self, _audience: &'a str) -> Asking<'a> {
        Box::pin(async {
            self.asked.lock().unwrap().push(Instant::now());
            let number = self.asked();
            sleep(self.takes).await;
            let answer = self.answers.lock().unwrap().pop_front().unwrap_or(Ok(HOUR));
            let life = answer.map_err(|flaw| SignInError::new(CredentialKind::AzureCli, flaw, "no"))?;
            Ok(Granted {
                token: format!("token {number}").into(),
                expires: clock() + life,
                by: CredentialKind::AzureCli,
                passed: Vec::new(),
            })
        })
    }

    fn reconsider(&self) {
        *self.reconsidered.lock().unwrap() += 1;
    }
}

fn tokens(script: &Arc<Script>) -> Tokens {
    let credential: Arc<dyn Credential> = Arc::<Script>::clone(script);
    Tokens::new(credential, "https://management.example/", clock)
}

async fn had(tokens: &Tokens, fresh: bool) -> String {
    match tokens.token(fresh).await {
        Ok(granted) => granted.token.expose_secret().to_owned(),
        Err(error) => format!("{:?}", error.flaw),
    }
}

#[tokio::test(start_paused = true)]
async fn however_many_ask_the_source_is_asked_once() {
    let script = Arc::new(Script { takes: Duration::from_secs(2), ..Script::default() });
    let tokens = Arc::new(tokens(&script));
    let mut all = JoinSet::new();
    for _ in 0..100 {
        let tokens = Arc::clone(&tokens);
        all.spawn(async move { had(&tokens, false).await });
    }
    assert!(all.join_all().await.iter().all(|token| token == "token 1"));
    assert_eq!(script.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn whoever_stops_waiting_takes_nothing_from_the_others() {
    let script = Arc::new(Script { takes: Duration::from_secs(2), ..Script::default() });
    let tokens = tokens(&script);
    let given_up = tokio::time::timeout(Duration::from_secs(1), tokens.token(false)).await;
    assert!(given_up.is_err());
    assert_eq!(had(&tokens, false).await, "token 1");
    assert_eq!(script.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_replaced_ahead_of_its_end_while_it_is_still_handed_out() {
    let script = Script::of(&[]);
    let tokens = tokens(&script);
    assert_eq!(had(&tokens, false).await, "token 1");
    advance(HOUR - AHEAD - Duration::from_secs(1)).await;
    assert_eq!(had(&tokens, false).await, "token 1");
    sleep(Duration::from_millis(10)).await;
    assert_eq!(script.asked(), 1, "nobody is asked before that is of use");
    advance(Duration::from_secs(2)).await;
    assert_eq!(had(&tokens, false).await, "token 1", "nobody waits for the next one");
    sleep(Duration::from_millis(10)).await;
    assert_eq!(had(&tokens, false).await, "token 2");
    assert_eq!(script.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_short_life_is_used_for_four_fifths() {
    let script = Script::of(&[Ok(Duration::from_secs(100))]);
    let tokens = tokens(&script);
    had(&tokens, false).await;
    advance(Duration::from_secs(79)).await;
    had(&tokens, false).await;
    sleep(Duration::from_millis(10)).await;
    assert_eq!(script.asked(), 1);
    advance(Duration::from_secs(2)).await;
    had(&tokens, false).await;
    sleep(Duration::from_millis(10)).await;
    assert_eq!(script.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_replaced_is_handed_out_until_its_end_and_not_after() {
    let no = Err(Flaw::SignedOut);
    let script = Script::of(&[Ok(HOUR), no, no, no, no, no, no, no, no, no, no, no, no]);
    let tokens = tokens(&script);
    had(&tokens, false).await;
    advance(HOUR - AHEAD).await;
    for _ in 0..299 {
        assert_eq!(had(&tokens, false).await, "token 1");
        sleep(Duration::from_secs(1)).await;
    }
    assert!(script.asked() <= 1 + 10, "asked {} times in five minutes", script.asked());
    sleep(Duration::from_secs(1)).await;
    assert_eq!(had(&tokens, false).await, "SignedOut");
}

#[tokio::test(start_paused = true)]
async fn a_clock_set_forward_or_back_makes_it_ask_anew() {
    let script = Script::of(&[]);
    let tokens = tokens(&script);
    assert_eq!(had(&tokens, false).await, "token 1");
    sleep(PACE).await;
    AHEAD_BY.set(2 * 3600);
    assert_eq!(had(&tokens, false).await, "token 2");
    sleep(PACE).await;
    AHEAD_BY.set(-3600);
    assert_eq!(had(&tokens, false).await, "token 3");
    AHEAD_BY.set(-3590);
    assert_eq!(had(&tokens, false).await, "token 3", "a little is no jump");
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_replaced_once_for_all_who_had_it() {
    let script = Arc::new(Script { takes: Duration::from_secs(1), ..Script::default() });
    let tokens = Arc::new(tokens(&script));
    assert_eq!(had(&tokens, false).await, "token 1");
    let mut all = JoinSet::new();
    for _ in 0..100 {
        let tokens = Arc::clone(&tokens);
        all.spawn(async move { had(&tokens, true).await });
    }
    assert!(all.join_all().await.iter().all(|token| token == "token 2"));
    assert_eq!(had(&tokens, true).await, "token 3", "it was handed out before");
    assert_eq!(script.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_source_with_a_memory_of_its_own_is_known_by_what_it_gives_again() {
    struct Remembering(Mutex<&'static str>);
    impl Credential for Remembering {
        fn token<'a>(&'a self, _audience: &'a str) -> Asking<'a> {
            let token = (*self.0.lock().unwrap()).to_owned().into();
            let (expires, by) = (clock() + HOUR, CredentialKind::AzureCli);
            Box::pin(async move { Ok(Granted { token, expires, by, passed: Vec::new() }) })
        }
    }
    let source = Arc::new(Remembering(Mutex::new("old")));
    let credential: Arc<dyn Credential> = Arc::<Remembering>::clone(&source);
    let tokens = Tokens::new(credential, "x", clock);
    assert_eq!((&*had(&tokens, false).await, tokens.repeated()), ("old", None));
    assert_eq!((&*had(&tokens, true).await, tokens.repeated()), ("old", Some(CredentialKind::AzureCli)));
    *source.0.lock().unwrap() = "new";
    assert_eq!((&*had(&tokens, true).await, tokens.repeated()), ("new", None));
}

#[tokio::test(start_paused = true)]
async fn one_that_nobody_had_yet_is_fresh() {
    let script = Script::of(&[Ok(Duration::from_secs(100))]);
    let tokens = tokens(&script);
    had(&tokens, false).await;
    advance(Duration::from_secs(85)).await;
    had(&tokens, false).await;
    sleep(Duration::from_millis(10)).await;
    assert_eq!(had(&tokens, true).await, "token 2");
    assert_eq!(script.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_told_to_all_who_wait_and_not_remembered() {
    let script = Script::of(&[Err(Flaw::SignedOut)]);
    let tokens = Arc::new(tokens(&script));
    let mut all = JoinSet::new();
    for _ in 0..100 {
        let tokens = Arc::clone(&tokens);
        all.spawn(async move { had(&tokens, false).await });
    }
    assert!(all.join_all().await.iter().all(|error| error == "SignedOut"));
    assert_eq!(had(&tokens, false).await, "token 2");
    assert_eq!(script.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_more_than_once_a_second() {
    let script = Script::of(&[Err(Flaw::SignedOut); 100]);
    let tokens = tokens(&script);
    let end = Instant::now() + Duration::from_secs(10);
    while Instant::now() < end {
        assert_eq!(had(&tokens, false).await, "SignedOut");
    }
    assert!(script.asked() <= 11, "asked {} times in ten seconds", script.asked());
    let asked = script.asked.lock().unwrap().clone();
    assert!(asked.windows(2).all(|pair| pair[1] - pair[0] >= PACE));
}

#[tokio::test(start_paused = true)]
async fn after_a_sign_in_the_source_is_asked_and_the_old_token_kept_for_need() {
    let script = Script::of(&[Ok(HOUR), Ok(HOUR), Err(Flaw::SignedOut)]);
    let tokens = tokens(&script);
    assert_eq!(had(&tokens, false).await, "token 1");
    tokens.reconsider();
    assert_eq!(had(&tokens, false).await, "token 2", "it may be of another account");
    tokens.reconsider();
    assert_eq!(had(&tokens, false).await, "token 2", "signed out, but good still");
    assert_eq!(had(&tokens, false).await, "token 2");
    assert_eq!((script.asked(), *script.reconsidered.lock().unwrap()), (3, 2));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_has_expired_already_is_none() {
    let script = Script::of(&[Ok(Duration::ZERO)]);
    let tokens = tokens(&script);
    let error = tokens.token(false).await.unwrap_err();
    assert_eq!(error.flaw, Flaw::Passing);
    assert!(error.to_string().contains("clock"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn what_is_under_way_ends_with_its_owner() {
    let script = Arc::new(Script { takes: HOUR, ..Script::default() });
    let tokens = tokens(&script);
    let waited = tokio::time::timeout(Duration::from_secs(1), tokens.token(false)).await;
    assert!(waited.is_err());
    drop(tokens);
    tokio::task::yield_now().await;
    assert_eq!(Arc::strong_count(&script), 1);
}

#[tokio::test(start_paused = true)]
async fn a_mistake_of_the_source_does_not_end_the_asking() {
    struct Mistaken(Mutex<bool>);
    impl Credential for Mistaken {
        fn token<'a>(&'a self, _audience: &'a str) -> Asking<'a> {
            let first = std::mem::replace(&mut *self.0.lock().unwrap(), false);
            Box::pin(async move {
                assert!(!first, "a mistake");
                Err(SignInError::new(CredentialKind::AzureCli, Flaw::SignedOut, "no"))
            })
        }
    }
    let tokens = Tokens::new(Arc::new(Mistaken(Mutex::new(true))), "x", clock);
    assert_eq!(had(&tokens, false).await, "Passing");
    assert_eq!(had(&tokens, false).await, "SignedOut");
}

#[test]
fn nothing_that_can_be_printed_has_the_token_in_it() {
    let granted = Granted {
        token: "very secret".to_owned().into(),
        expires: UNIX_EPOCH,
        by: CredentialKind::Auto,
        passed: Vec::new(),
    };
    assert!(!format!("{granted:?}").contains("secret"));
}
