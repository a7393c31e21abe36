//! A story for each failure, told with a hand-held clock.

use std::time::{Duration, Instant};

use super::*;
use crate::model::{Blocked, Disposition, Port};

const MS: Duration = Duration::from_millis(1);
const S: Duration = Duration::from_secs(1);
const OPTIONS: PathOptions = PathOptions {
    probe: Probe::Session,
    lazy: false,
    backoff: (Duration::from_millis(800), Duration::from_secs(30)),
};
const UNPROVEN: PathOptions = PathOptions { probe: Probe::None, ..OPTIONS };

/// A route, and someone who holds the clock and the dice.
struct Story {
    route: Route<&'static str>,
    now: Instant,
    dice: f64,
}

fn reason(code: &'static str) -> Reason {
    Reason { code: code.into(), what: "x".to_owned(), hint: None }
}

fn bastion(disposition: Disposition) -> Result<(), Failure> {
    Err(Failure { scope: Scope::Bastion, disposition, reason: reason("bastion") })
}

fn target(disposition: Disposition) -> Result<(), Failure> {
    Err(Failure { scope: Scope::Target, disposition, reason: reason("target") })
}

const SIGN_IN: Disposition = Disposition::Blocked(Blocked::SignIn);

impl Story {
    /// Paths on a route of which nothing is known; the dice always show half.
    fn begin(paths: &[&'static str], options: &PathOptions) -> Self {
        let mut story = Self { route: Route::new(), now: tokio::time::Instant::now().into_std(), dice: 0.5 };
        let mut asked = Vec::new();
        for path in paths {
            asked.extend(story.tell(Input::Add { path: *path, options: options.clone() }));
        }
        assert_eq!(asked, [Action::Resolve], "once for all");
        story
    }

    /// The same, up and proven.
    fn ready(paths: &[&'static str]) -> Self {
        let mut story = Self::begin(paths, &OPTIONS);
        assert_eq!(story.tell(Input::Resolved(Ok(()))), probes(paths));
        for path in paths {
            assert_eq!(story.probed(path, Ok(())), []);
            assert_eq!(story.state(path), PathState::Ready { verified: true, target: false });
        }
        assert_eq!(story.route.timer(), None, "nothing is probed from time to time");
        story.route.take_changed();
        story
    }

    fn tell(&mut self, input: Input<&'static str>) -> Vec<Action<&'static str>> {
        let dice = self.dice;
        self.route.step(input, self.now, &mut || dice)
    }

    fn probed(&mut self, path: &'static str, result: Result<(), Failure>) -> Vec<Action<&'static str>> {
        self.tell(Input::Probed { path, result })
    }

    fn set_up(&mut self, path: &'static str, result: Result<(), Failure>) -> Vec<Action<&'static str>> {
        self.tell(Input::SetUp { path, result })
    }

    fn wait_for(&mut self, path: &'static str) -> Vec<Action<&'static str>> {
        self.tell(Input::Waiting { path, waiting: true })
    }

    /// Lets time pass, and says that it has.
    fn after(&mut self, time: Duration) -> Vec<Action<&'static str>> {
        self.now += time;
        self.tell(Input::Timer)
    }

    /// How long until the timer.
    fn timer(&self) -> Option<Duration> {
        self.route.timer().map(|at| at - self.now)
    }

    fn state(&self, path: &'static str) -> PathState {
        self.route.path(&path)
    }

    fn degraded(&self, path: &'static str, attempt: u32, wait: Option<Duration>, code: &'static str) {
        let next_retry = wait.map(|wait| self.now + wait);
        assert_eq!(self.state(path), PathState::Degraded { attempt, next_retry, reason: reason(code) });
    }

    fn blocked(&self, path: &'static str, wait: Duration, code: &'static str) {
        assert_eq!(
            self.state(path),
            PathState::Blocked { next_retry: self.now + wait, reason: reason(code) }
        );
    }
}

fn probes(paths: &[&'static str]) -> Vec<Action<&'static str>> {
    paths.iter().map(|path| Action::Probe(*path)).collect()
}

#[test]
fn a_route_comes_up() {
    let mut story = Story::begin(&["a", "b"], &OPTIONS);
    assert_eq!(story.state("a"), PathState::Resolving);
    assert_eq!(story.timer(), None);
    assert_eq!(story.tell(Input::Resolved(Ok(()))), probes(&["a", "b"]));
    assert_eq!(story.state("a"), PathState::Connecting { attempt: 0, next_retry: None, reason: None });
    story.route.take_changed();
    story.probed("a", Ok(()));
    assert_eq!(story.route.take_changed(), ["a"]);
    assert_eq!(story.route.take_changed(), [""; 0]);
    assert_eq!(story.state("a").state(), State::Ready);
    assert_eq!(story.state("b").state(), State::Connecting, "each for itself");
    assert_eq!(story.state("nobody"), PathState::Pending);
}

#[test]
fn a_gateway_recovers_while_connections_wait() {
    let mut story = Story::ready(&["db"]);
    // The dump runs again, and the dial is answered with 503: half of 0.8 s is 0.4 s.
    assert_eq!(story.set_up("db", bastion(Disposition::Retry)), []);
    story.degraded("db", 1, Some(400 * MS), "bastion");
    assert_eq!(story.wait_for("db"), [], "a connection that waits does not shorten the wait");
    assert_eq!(story.timer(), Some(400 * MS));
    assert_eq!(story.after(400 * MS), probes(&["db"]));
    story.degraded("db", 1, None, "bastion");
    story.probed("db", bastion(Disposition::Retry));
    story.degraded("db", 2, Some(800 * MS), "bastion");
    // A gateway that has failed twice may be another one by now.
    assert_eq!(story.after(800 * MS), [Action::Resolve]);
    assert_eq!(story.tell(Input::Resolved(Ok(()))), probes(&["db"]));
    story.probed("db", Ok(()));
    assert_eq!(story.state("db"), PathState::Ready { verified: true, target: false });
    story.set_up("db", bastion(Disposition::Retry));
    story.degraded("db", 1, Some(400 * MS), "bastion");
}

#[test]
fn waits_double_to_the_limit_and_a_failed_try_keeps_its_place() {
    let mut story = Story::ready(&["a"]);
    story.set_up("a", target(Disposition::Retry));
    for wait in [400, 800, 1_600, 3_200, 6_400, 12_800, 15_000, 15_000] {
        assert_eq!(story.timer(), Some(wait * MS));
        assert_eq!(story.after(wait * MS), probes(&["a"]));
        assert_eq!(story.timer(), None, "it is under way");
        story.probed("a", target(Disposition::Retry));
    }
    story.degraded("a", 9, Some(15_000 * MS), "target");
}

#[test]
fn resource_manager_is_away_at_the_start() {
    let mut story = Story::begin(&["a", "b"], &OPTIONS);
    assert_eq!(story.tell(Input::Resolved(bastion(Disposition::Retry))), []);
    let next_retry = Some(story.now + 400 * MS);
    assert_eq!(
        story.state("b"),
        PathState::Connecting { attempt: 1, next_retry, reason: Some(reason("bastion")) }
    );
    assert_eq!(story.after(400 * MS), [Action::Resolve]);
    assert_eq!(story.tell(Input::Resolved(Ok(()))), [], "those who do not wait are spread");
    assert_eq!(story.after(1_500 * MS), probes(&["a", "b"]));
}

#[test]
fn a_dead_target_is_nobody_elses_trouble() {
    let mut story = Story::ready(&["a", "b"]);
    story.set_up("a", target(Disposition::Retry));
    story.degraded("a", 1, Some(400 * MS), "target");
    assert_eq!(story.state("b"), PathState::Ready { verified: true, target: false });
    assert_eq!(story.route.take_changed(), ["a"]);
}

#[test]
fn a_bastion_in_backoff_has_one_try_for_all() {
    let mut story = Story::ready(&["a", "b", "c", "d"]);
    story.set_up("a", bastion(Disposition::Retry));
    for path in ["a", "b", "c", "d"] {
        story.degraded(path, 1, Some(400 * MS), "bastion");
    }
    story.wait_for("c");
    story.wait_for("d");
    assert_eq!(story.after(400 * MS), probes(&["c"]), "one, for which somebody waits");
    // It works: d, for which somebody waits, at once; the others within three seconds.
    assert_eq!(story.probed("c", Ok(())), probes(&["d"]));
    assert_eq!(story.state("c"), PathState::Ready { verified: true, target: false });
    story.degraded("a", 0, Some(1_500 * MS), "bastion");
    assert_eq!(story.wait_for("b"), probes(&["b"]), "what is only spread may be had at once");
    assert_eq!(story.after(1_500 * MS), probes(&["a"]));
}

#[test]
fn who_does_not_answer_behind_a_bastion_shows_that_the_bastion_does() {
    let mut story = Story::ready(&["a", "b"]);
    story.set_up("a", bastion(Disposition::Retry));
    assert_eq!(story.after(400 * MS), probes(&["a"]));
    story.probed("a", target(Disposition::Retry));
    story.degraded("a", 1, Some(400 * MS), "target");
    assert_eq!(story.after(1_500 * MS), probes(&["a", "b"]));
}

#[test]
fn a_set_up_that_succeeds_ends_an_outage_without_a_probe() {
    let mut story = Story::ready(&["a", "b"]);
    story.set_up("a", bastion(Disposition::Retry));
    assert_eq!(story.set_up("b", Ok(())), [], "b needs none, a has one soon");
    assert_eq!(story.state("b"), PathState::Ready { verified: true, target: false });
    story.degraded("a", 0, Some(1_500 * MS), "bastion");
}

#[test]
fn connections_that_fail_in_a_row_are_one_failure() {
    let mut story = Story::ready(&["a", "b"]);
    for scope in [bastion, target] {
        story.set_up("a", scope(Disposition::Retry));
        let before = story.state("a");
        for _ in 0..50 {
            story.now += 2 * MS;
            assert_eq!(story.set_up("a", scope(Disposition::Retry)), []);
            assert_eq!(story.state("a"), before, "neither shorter nor longer");
        }
        assert_eq!(story.after(300 * MS), probes(&["a"]));
        assert_eq!(story.set_up("a", scope(Disposition::Retry)), [], "the try is under way");
        assert_eq!(story.timer(), None);
        story.probed("a", Ok(()));
        story.after(3 * S);
        story.probed("b", Ok(()));
    }
}

#[test]
fn azure_says_when_to_come_again() {
    let mut story = Story::ready(&["a"]);
    story.set_up("a", bastion(Disposition::RetryAfter(20 * S)));
    assert_eq!(story.timer(), Some(20 * S));
    // A connection that was in flight is told the same, later and longer.
    story.now += S;
    story.set_up("a", bastion(Disposition::RetryAfter(40 * S)));
    assert_eq!(story.timer(), Some(40 * S));
    story.set_up("a", bastion(Disposition::RetryAfter(S)));
    assert_eq!(story.timer(), Some(40 * S));
}

#[test]
fn nobody_is_signed_in() {
    let mut story = Story::ready(&["a"]);
    story.set_up("a", bastion(Disposition::Retry));
    story.set_up("a", bastion(SIGN_IN));
    story.blocked("a", 60 * S, "bastion");
    for wait in [60, 120, 240, 480, 600, 600] {
        story.blocked("a", wait * S, "bastion");
        assert_eq!(story.timer(), Some(wait * S));
        assert_eq!(story.after(wait * S).len(), 1);
        assert_eq!(story.state("a").state(), State::Blocked, "a look changes nothing");
        story.tell(Input::Resolved(Ok(())));
        story.probed("a", bastion(SIGN_IN));
    }
    // Somebody signs in.
    assert_eq!(story.tell(Input::Retry(None)), [Action::Resolve]);
    story.degraded("a", 8, None, "bastion");
    assert_eq!(story.tell(Input::Resolved(Ok(()))), probes(&["a"]));
    story.probed("a", Ok(()));
    assert_eq!(story.state("a"), PathState::Ready { verified: true, target: false });
}

#[test]
fn who_has_signed_in_sees_it_at_once() {
    let mut story = Story::ready(&["a", "b"]);
    story.set_up("a", bastion(SIGN_IN));
    story.tell(Input::Retry(None));
    story.tell(Input::Resolved(Ok(())));
    story.probed("a", Ok(()));
    assert_eq!(story.state("a"), PathState::Ready { verified: true, target: false });
    // Everything else is looked at now, not some time within three seconds.
    assert_eq!(story.timer(), None, "nothing is put off");
}

#[test]
fn a_target_is_not_found_until_an_edit() {
    let mut story = Story::ready(&["a", "b"]);
    story.set_up("a", target(Disposition::Blocked(Blocked::NotFound)));
    story.blocked("a", 60 * S, "target");
    assert_eq!(story.tell(Input::Retry(Some("b"))), [], "b works, and a was not meant");
    assert_eq!(story.tell(Input::Retry(Some("a"))), probes(&["a"]));
    story.degraded("a", 1, None, "target");
    story.probed("a", target(Disposition::Blocked(Blocked::NotFound)));
    story.blocked("a", 60 * S, "target");
}

#[test]
fn resource_manager_is_away_and_the_gateway_comes_back() {
    let mut story = Story::ready(&["a"]);
    story.set_up("a", bastion(Disposition::Retry));
    assert_eq!(story.after(S), probes(&["a"]));
    story.probed("a", bastion(Disposition::Retry));
    assert_eq!(story.after(S), [Action::Resolve]);
    story.tell(Input::Resolved(bastion(Disposition::Retry)));
    assert_eq!(story.after(2 * S), probes(&["a"]), "the gateway that is known is tried again");
    story.probed("a", Ok(()));
    assert_eq!(story.state("a"), PathState::Ready { verified: true, target: false });
}

#[test]
fn a_late_answer_of_resource_manager_breaks_nothing_that_works() {
    let mut story = Story::ready(&["a"]);
    story.set_up("a", bastion(Disposition::Retry));
    story.after(S);
    story.probed("a", bastion(Disposition::Retry));
    assert_eq!(story.after(S), [Action::Resolve]);
    story.set_up("a", Ok(()));
    story.tell(Input::Resolved(bastion(SIGN_IN)));
    assert_eq!(story.state("a"), PathState::Ready { verified: true, target: false });
}

mod lazy;
mod more;
mod target;
