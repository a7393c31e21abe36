//! Paths that nothing is asked for before their first connection.

use super::*;

const LAZY: PathOptions = PathOptions { lazy: true, ..OPTIONS };
const SLEEPS: PathState = PathState::Ready { verified: false, target: false };

/// Lazy paths on a route of which nothing is known.
fn asleep(paths: &[&'static str]) -> Story {
    let mut story = Story { route: Route::new(), now: tokio::time::Instant::now().into_std(), dice: 0.5 };
    for path in paths {
        assert_eq!(story.tell(Input::Add { path: *path, options: LAZY }), []);
        assert_eq!(story.state(path), SLEEPS);
    }
    story
}

#[test]
fn nothing_is_asked_whatever_else_happens() {
    let mut story = asleep(&["a", "b"]);
    for input in [Input::Timer, Input::Wake, Input::Retry(None), Input::Retry(Some("a")), Input::Prove("a")] {
        assert_eq!(story.tell(input.clone()), [], "{input:?}");
        assert!(!story.route.is_trying(&"a"), "who wants it proven has not to wait");
        assert_eq!((story.state("a"), story.timer()), (SLEEPS, None), "{input:?}");
    }
    assert_eq!(story.tell(Input::Crashed(reason("bug"))), []);
    assert_eq!((story.state("a"), story.timer()), (SLEEPS, None));
}

#[test]
fn the_first_connection_wakes_it_without_a_probe() {
    let mut story = asleep(&["a", "b"]);
    assert_eq!(story.set_up("a", Ok(())), []);
    assert_eq!(story.state("a"), PathState::Ready { verified: true, target: false });
    assert_eq!(story.state("b"), SLEEPS);
    // From then on it is like any other.
    assert_eq!(story.set_up("a", target(Disposition::Retry)), []);
    story.degraded("a", 1, Some(400 * MS), "target");
    assert_eq!(story.after(400 * MS), probes(&["a"]));
    story.probed("a", Ok(()));
    story.now += 61 * S;
    assert_eq!(story.tell(Input::Prove("a")), probes(&["a"]));
    assert_eq!(story.timer(), None);
}

#[test]
fn a_first_connection_that_fails_wakes_it_too() {
    // The bastion does not answer: that is looked into, as at any other start.
    let mut story = asleep(&["a", "b"]);
    assert_eq!(story.set_up("a", bastion(Disposition::Retry)), []);
    assert_eq!(story.timer(), Some(400 * MS));
    assert_eq!(story.after(400 * MS), [Action::Resolve]);
    assert_eq!(story.tell(Input::Resolved(Ok(()))), probes(&["a"]));
    story.probed("a", Ok(()));
    assert_eq!(
        (story.state("a"), story.state("b")),
        (PathState::Ready { verified: true, target: false }, SLEEPS)
    );
    assert_eq!(story.timer(), None);
    // The target does not.
    let mut story = asleep(&["a"]);
    assert_eq!(story.set_up("a", target(Disposition::Retry)), [Action::Resolve]);
    assert_eq!(story.tell(Input::Resolved(Ok(()))), []);
    let (next_retry, reason) = (Some(story.now + 400 * MS), Some(reason("target")));
    assert_eq!(story.state("a"), PathState::Connecting { attempt: 1, next_retry, reason });
    assert_eq!(story.after(400 * MS), probes(&["a"]));
}

#[test]
fn it_sleeps_through_an_outage_of_others() {
    let mut story = Story::ready(&["a"]);
    assert_eq!(story.tell(Input::Add { path: "b", options: LAZY }), []);
    story.set_up("a", bastion(SIGN_IN));
    story.blocked("a", 60 * S, "bastion");
    assert_eq!(story.state("b"), SLEEPS);
    assert_eq!(story.after(60 * S), probes(&["a"]));
    story.probed("a", Ok(()));
    assert_eq!((story.state("b"), story.timer()), (SLEEPS, None));
}

#[test]
fn one_that_is_lazy_no_longer_is_tried_at_once_and_none_falls_asleep() {
    let mut story = asleep(&["a", "b"]);
    assert_eq!(story.tell(Input::Update { path: "a", options: OPTIONS }), [Action::Resolve]);
    assert_eq!(story.tell(Input::Resolved(Ok(()))), probes(&["a"]));
    story.probed("a", Ok(()));
    assert_eq!(story.tell(Input::Update { path: "a", options: LAZY }), []);
    assert_eq!(story.state("a"), PathState::Ready { verified: true, target: false });
    // Another tunnel shares the path, and is not lazy.
    assert_eq!(story.tell(Input::Add { path: "b", options: OPTIONS }), probes(&["b"]));
}
