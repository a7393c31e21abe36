//! Properties of a route's life: whatever happens in whatever order, it neither does a thing twice nor falls asleep.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bastion::lifecycle::{Action, Failure, Input, PathOptions, PathState, Route, Scope};
use bastion::model::{Blocked, Disposition, Probe, Reason};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// What happens, and how many milliseconds later.
type Event = (u64, Input<u8>);

fn reason() -> Reason {
    Reason { code: "test".into(), what: "it did not work".to_owned(), hint: None }
}

fn any_result() -> impl Strategy<Value = Result<(), Failure>> {
    let disposition = prop_oneof![
        3 => Just(Disposition::Retry),
        1 => Just(Disposition::RetryAfter(Duration::from_secs(7))),
        1 => Just(Disposition::Blocked(Blocked::SignIn)),
    ];
    let failure = (select(&[Scope::Bastion, Scope::Target][..]), disposition)
        .prop_map(|(scope, disposition)| Failure { scope, disposition, reason: reason() });
    prop_oneof![Just(Ok(())), failure.prop_map(Err)]
}

fn any_input() -> impl Strategy<Value = Input<u8>> {
    let backoff = (Duration::from_secs(1), Duration::from_secs(8));
    let options = (select(&[Probe::Session, Probe::Session, Probe::None, Probe::Banner][..]), any::<bool>())
        .prop_map(move |(probe, lazy)| PathOptions { probe, lazy, backoff });
    let path = 0..4_u8;
    prop_oneof![
        3 => (path.clone(), options.clone()).prop_map(|(path, options)| Input::Add { path, options }),
        1 => (path.clone(), options).prop_map(|(path, options)| Input::Update { path, options }),
        1 => path.clone().prop_map(Input::Remove),
        3 => any_result().prop_map(Input::Resolved),
        5 => (path.clone(), any_result()).prop_map(|(path, result)| Input::Probed { path, result }),
        3 => (path.clone(), any_result()).prop_map(|(path, result)| Input::SetUp { path, result }),
        2 => (path.clone(), any::<bool>()).prop_map(|(path, waiting)| Input::Waiting { path, waiting }),
        4 => Just(Input::Timer),
        1 => proptest::option::of(path.clone()).prop_map(Input::Retry),
        1 => Just(Input::Wake),
        1 => path.prop_map(Input::Prove),
        1 => Just(Input::Crashed(reason())),
    ]
}

fn any_events() -> impl Strategy<Value = Vec<Event>> {
    let pause = prop_oneof![3 => Just(0_u64), 3 => 0..3_000_u64, 1 => 0..700_000_u64];
    vec((pause, any_input()), 0..60)
}

/// The route, and what can be seen of it from outside.
struct Watched {
    route: Route<u8>,
    now: Instant,
    seed: u64,
    paths: BTreeSet<u8>,
    /// Those that sleep.
    asleep: BTreeSet<u8>,
    resolved: bool,
    resolving: bool,
    probing: BTreeSet<u8>,
    told: BTreeMap<u8, PathState>,
}

impl Watched {
    fn new(seed: u64) -> Self {
        Self {
            route: Route::new(),
            now: tokio::time::Instant::now().into_std(),
            seed,
            paths: BTreeSet::new(),
            asleep: BTreeSet::new(),
            resolved: false,
            resolving: false,
            probing: BTreeSet::new(),
            told: BTreeMap::new(),
        }
    }

    fn step(&mut self, input: &Input<u8>) {
        self.note(input);
        let mut seed = self.seed;
        let mut dice = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            f64::from(u32::try_from(seed >> 33).unwrap()) / f64::from(1_u32 << 31)
        };
        let actions = self.route.step(input.clone(), self.now, &mut dice);
        self.seed = seed;
        for action in actions {
            match action {
                Action::Resolve => assert!(!std::mem::replace(&mut self.resolving, true), "two resolutions"),
                Action::Probe(path) => {
                    assert!(self.paths.contains(&path), "{path} is probed, and gone");
                    assert!(!self.asleep.contains(&path), "{path} is probed, and sleeps");
                    assert!(self.probing.insert(path), "two probes of {path}");
                }
            }
        }
        self.check(input);
    }

    fn note(&mut self, input: &Input<u8>) {
        match input {
            Input::Add { path, options } => {
                if self.paths.insert(*path) && options.lazy {
                    self.asleep.insert(*path);
                } else if !options.lazy {
                    self.asleep.remove(path);
                }
            }
            Input::Update { path, options } => {
                if !options.lazy {
                    self.asleep.remove(path);
                }
            }
            Input::SetUp { path, result } => {
                self.resolved |= self.asleep.remove(path) && result.is_ok();
            }
            Input::Remove(path) => {
                self.paths.remove(path);
                self.asleep.remove(path);
                self.told.remove(path);
            }
            Input::Resolved(result) => {
                self.resolving = false;
                self.resolved |= result.is_ok();
            }
            Input::Probed { path, .. } => {
                self.probing.remove(path);
            }
            Input::Crashed(_) => {
                self.resolving = false;
                self.probing.clear();
            }
            Input::Waiting { .. } | Input::Timer | Input::Retry(_) | Input::Wake | Input::Prove(_) => {}
        }
    }

    fn check(&mut self, input: &Input<u8>) {
        let timer = self.route.timer();
        assert!(timer.is_none_or(|at| at >= self.now), "a timer in the past after {input:?}");
        assert!(self.paths.len() > self.asleep.len() || timer.is_none(), "a timer for nothing");
        for path in self.route.take_changed() {
            let before = self.told.insert(path, self.route.path(&path));
            assert_ne!(before, self.told.get(&path).cloned(), "{path} did not change after {input:?}");
        }
        for path in &self.paths {
            let state = self.route.path(path);
            assert_eq!(self.told.get(path), Some(&state), "untold after {input:?}");
            if self.asleep.contains(path) {
                assert_eq!(
                    state,
                    PathState::Ready { verified: false, target: false },
                    "nobody asked, after {input:?}"
                );
                continue;
            }
            if let PathState::Ready { .. } = state {
                assert!(self.resolved, "ready without a bastion");
                continue;
            }
            let busy = self.resolving || !self.probing.is_empty();
            assert!(busy || timer.is_some(), "{path} is {state:?}, and nothing will come after {input:?}");
            // What says when the next try comes has a timer for it.
            if let PathState::Connecting { next_retry: Some(at), .. }
            | PathState::Degraded { next_retry: Some(at), .. } = state
            {
                assert!(timer.is_some_and(|timer| timer <= at), "{path} has no timer for {state:?}");
            }
        }
    }

    /// Everything goes well from now on.
    fn let_it_work(&mut self) {
        for _ in 0..200 {
            if self.resolving {
                self.step(&Input::Resolved(Ok(())));
            } else if let Some(path) = self.probing.first().copied() {
                self.step(&Input::Probed { path, result: Ok(()) });
            } else if let Some(at) = self.route.timer() {
                self.now = at;
                self.step(&Input::Timer);
            } else {
                return;
            }
        }
        panic!("it never comes to rest");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    /// The laws are checked after every step; at the end all comes right when the world does.
    #[test]
    fn nothing_is_done_twice_and_nothing_falls_asleep(events in any_events(), seed in any::<u64>()) {
        let mut watched = Watched::new(seed);
        for (pause, input) in events {
            watched.now += Duration::from_millis(pause);
            watched.step(&input);
        }
        watched.let_it_work();
        for path in &watched.paths {
            let state = watched.route.path(path);
            prop_assert!(matches!(state, PathState::Ready { .. }), "{} is {:?}", path, state);
        }
    }

    /// The same with answers only to what was asked, as a supervisor would have it.
    #[test]
    fn nor_when_only_what_was_asked_is_answered(events in any_events(), seed in any::<u64>()) {
        let mut watched = Watched::new(seed);
        for (pause, input) in events {
            watched.now += Duration::from_millis(pause);
            let asked = if let Input::Probed { path, .. } = &input {
                watched.probing.contains(path)
            } else {
                watched.resolving || !matches!(input, Input::Resolved(_))
            };
            if asked {
                watched.step(&input);
            } else if let Some(at) = watched.route.timer() {
                watched.now = at;
                watched.step(&Input::Timer);
            }
        }
        watched.let_it_work();
        for path in &watched.paths {
            let state = watched.route.path(path);
            prop_assert!(matches!(state, PathState::Ready { .. }), "{} is {:?}", path, state);
        }
    }
}
