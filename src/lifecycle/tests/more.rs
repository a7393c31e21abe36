//! Stories of paths without a probe, of waking, of people who ask, and of paths that come and go.

use super::*;
use crate::model::Endpoint;

#[test]
fn without_a_probe_a_path_is_ready_until_it_is_shown_not_to_be() {
    let mut story = Story::begin(&["a"], &UNPROVEN);
    assert_eq!(story.tell(Input::Resolved(Ok(()))), []);
    assert_eq!(story.state("a"), PathState::Ready { verified: false, target: false });
    story.set_up("a", target(Disposition::Retry));
    story.degraded("a", 1, Some(400 * MS), "target");
    assert_eq!(story.after(400 * MS), []);
    assert_eq!(story.state("a"), PathState::Ready { verified: false, target: false });
    // Nothing has shown that it works: the next failure is the second.
    story.set_up("a", target(Disposition::Retry));
    story.degraded("a", 2, Some(800 * MS), "target");
    story.set_up("a", Ok(()));
    assert_eq!(story.state("a"), PathState::Ready { verified: true, target: false });
    story.set_up("a", bastion(Disposition::Retry));
    assert_eq!(story.after(400 * MS), [Action::Resolve], "all that can be asked");
    story.tell(Input::Resolved(Ok(())));
    assert_eq!(story.state("a"), PathState::Ready { verified: false, target: false });
    story.set_up("a", bastion(Disposition::Retry));
    story.degraded("a", 2, Some(800 * MS), "bastion");
}

#[test]
fn a_laptop_wakes() {
    let mut story = Story::ready(&["a", "b", "c", "d"]);
    for path in ["a", "b", "c"] {
        story.set_up(path, target(Disposition::RetryAfter(600 * S)));
    }
    story.wait_for("c");
    assert_eq!(story.tell(Input::Wake), probes(&["c"]), "somebody waits for it");
    story.degraded("a", 1, Some(1_500 * MS), "target");
    assert_eq!(
        story.state("d"),
        PathState::Ready { verified: true, target: false },
        "what works is left alone"
    );
    assert_eq!(story.after(1_500 * MS), probes(&["a", "b"]));
    story.probed("a", target(Disposition::Retry));
    story.degraded("a", 2, Some(400 * MS), "target");
}

#[test]
fn a_laptop_wakes_in_an_outage() {
    let mut story = Story::ready(&["a", "b"]);
    story.set_up("a", bastion(SIGN_IN));
    story.tell(Input::Wake);
    story.blocked("b", 1_500 * MS, "bastion");
    story.wait_for("b");
    assert_eq!(story.tell(Input::Wake), probes(&["b"]));
    assert_eq!(story.tell(Input::Wake), [], "it is under way");
}

#[test]
fn a_wake_never_makes_anybody_wait_longer() {
    let mut story = Story::ready(&["a"]);
    story.set_up("a", target(Disposition::Retry));
    story.tell(Input::Wake);
    assert_eq!(story.timer(), Some(400 * MS));
}

#[test]
fn somebody_wants_to_know() {
    let mut story = Story::ready(&["a"]);
    assert_eq!(story.tell(Input::Prove("a")), [], "it was proven just now");
    story.now += 60 * S;
    assert_eq!(story.tell(Input::Prove("a")), probes(&["a"]));
    assert_eq!(story.tell(Input::Prove("a")), [], "one is enough");
    assert_eq!(story.state("a"), PathState::Ready { verified: true, target: false });
    story.probed("a", target(Disposition::Retry));
    story.degraded("a", 1, Some(400 * MS), "target");
    assert_eq!(story.tell(Input::Prove("a")), [], "its next try will tell");
}

#[test]
fn a_person_does_not_wait() {
    let mut story = Story::ready(&["a", "b"]);
    story.set_up("a", target(Disposition::RetryAfter(600 * S)));
    assert_eq!(story.tell(Input::Retry(None)), probes(&["a"]));
    assert_eq!(story.tell(Input::Retry(None)), [], "it is under way");
    assert_eq!(story.state("b"), PathState::Ready { verified: true, target: false });
}

#[test]
fn the_last_path_leaves_nothing_behind() {
    let mut story = Story::ready(&["a"]);
    story.set_up("a", bastion(Disposition::RetryAfter(20 * S)));
    assert_eq!(story.tell(Input::Remove("a")), []);
    assert_eq!(story.timer(), None);
    assert_eq!(story.probed("a", Ok(())), [], "a result of what is gone");
    // What comes back finds what was known.
    assert_eq!(story.tell(Input::Add { path: "b", options: OPTIONS }), []);
    assert_eq!(story.timer(), Some(20 * S));
}

#[test]
fn the_path_of_the_one_try_goes() {
    let mut story = Story::ready(&["a", "b"]);
    story.set_up("a", bastion(Disposition::Retry));
    assert_eq!(story.after(400 * MS), probes(&["a"]));
    assert_eq!(story.tell(Input::Remove("a")), probes(&["b"]), "another one has to do");
    assert_eq!(story.probed("a", bastion(Disposition::Retry)), []);
    story.degraded("b", 1, None, "bastion");
}

#[test]
fn a_wait_of_its_own_outlasts_an_outage() {
    let mut story = Story::ready(&["a", "b"]);
    story.set_up("a", target(Disposition::RetryAfter(600 * S)));
    story.set_up("b", bastion(Disposition::Retry));
    assert_eq!(story.after(400 * MS), probes(&["b"]), "a is known not to answer");
    assert_eq!(story.probed("b", Ok(())), []);
    assert_eq!(story.timer(), Some(600 * S - 400 * MS), "as its target asked");
}

#[test]
fn a_path_that_failed_before_is_the_one_try() {
    let mut story = Story::ready(&["a"]);
    story.set_up("a", target(Disposition::Retry));
    story.set_up("a", bastion(Disposition::RetryAfter(20 * S)));
    assert_eq!(story.after(20 * S), probes(&["a"]));
    assert_eq!(story.probed("a", target(Disposition::Retry)), [], "it is not tried again at once");
    story.degraded("a", 2, Some(800 * MS), "target");
}

#[test]
fn a_path_goes_and_comes_back_while_it_is_probed() {
    let mut story = Story::begin(&["a", "b"], &OPTIONS);
    assert_eq!(story.tell(Input::Resolved(Ok(()))), probes(&["a", "b"]));
    story.tell(Input::Remove("a"));
    assert_eq!(story.tell(Input::Add { path: "a", options: OPTIONS }), [], "one is in flight");
    story.probed("a", Ok(()));
    assert_eq!(story.state("a"), PathState::Ready { verified: true, target: false });
}

#[test]
fn a_path_comes_later() {
    let mut story = Story::ready(&["a"]);
    assert_eq!(story.tell(Input::Add { path: "b", options: OPTIONS }), probes(&["b"]));
    story.set_up("a", bastion(Disposition::Retry));
    assert_eq!(story.tell(Input::Add { path: "c", options: OPTIONS }), [], "not in an outage");
    let next_retry = Some(story.now + 400 * MS);
    let reason = Some(reason("bastion"));
    assert_eq!(story.state("c"), PathState::Connecting { attempt: 1, next_retry, reason });
}

#[test]
fn options_change() {
    let mut story = Story::ready(&["a"]);
    story.set_up("a", target(Disposition::Retry));
    let options = PathOptions { backoff: (10 * S, 60 * S), ..OPTIONS };
    assert_eq!(story.tell(Input::Update { path: "a", options }), []);
    assert_eq!(story.timer(), Some(400 * MS), "what is armed stays armed");
    story.after(400 * MS);
    story.probed("a", target(Disposition::Retry));
    story.degraded("a", 2, Some(5 * S), "target");
    // What was taken on trust is to be shown now.
    let mut story = Story::begin(&["a"], &UNPROVEN);
    story.tell(Input::Resolved(Ok(())));
    assert_eq!(story.tell(Input::Add { path: "a", options: OPTIONS }), probes(&["a"]));
}

#[test]
fn a_panic_is_a_failure_like_any_other() {
    let mut story = Story::begin(&["a", "b"], &OPTIONS);
    assert_eq!(story.tell(Input::Resolved(Ok(()))), probes(&["a", "b"]));
    story.probed("b", Ok(()));
    assert_eq!(story.tell(Input::Crashed(reason("bug"))), []);
    story.degraded("b", 1, Some(400 * MS), "bug");
    assert_eq!(story.tell(Input::Crashed(reason("bug"))), []);
    story.degraded("b", 1, Some(400 * MS), "bug");
    assert_eq!(story.after(400 * MS), probes(&["a"]), "what was in flight is not any more");
    story.tell(Input::Crashed(reason("bug")));
    story.degraded("b", 2, Some(800 * MS), "bug");
}

#[test]
fn a_tunnel_is_its_listener_and_its_path() {
    let now = tokio::time::Instant::now().into_std();
    let ready = PathState::Ready { verified: true, target: false };
    let taken = Listener::Blocked { reason: reason("port-taken"), next_retry: Some(now + S) };
    let elsewhere = Listener::Elsewhere(reason("port-taken"));
    let broken = PathState::Degraded { attempt: 3, next_retry: None, reason: reason("bastion") };

    let state = tunnel_state(&Listener::Bound, &ready);
    let expected = TunnelState {
        state: State::Ready,
        reason: None,
        attempt: 0,
        next_retry: None,
        verified: true,
        target_verified: false,
    };
    assert_eq!(state, expected);
    assert_eq!(tunnel_state(&Listener::Unbound, &ready).state, State::Connecting);
    assert_eq!(tunnel_state(&Listener::Unbound, &PathState::Resolving).state, State::Resolving);
    let state = tunnel_state(&taken, &ready);
    assert_eq!((state.state, state.next_retry), (State::Blocked, Some(now + S)));
    assert_eq!(state.reason, Some(reason("port-taken")));
    let state = tunnel_state(&elsewhere, &ready);
    assert_eq!((state.state, state.reason), (State::Ready, Some(reason("port-taken"))));
    let state = tunnel_state(&elsewhere, &broken);
    assert_eq!((state.state, state.attempt), (State::Degraded, 3));
    assert_eq!(state.reason, Some(reason("bastion")), "the path is the greater trouble");
}

#[test]
fn a_path_whose_probes_pass_and_whose_connections_fail_is_tried_ever_less_often() {
    let mut story = Story::ready(&["db"]);
    for wait in [400, 800, 1600] {
        story.set_up("db", target(Disposition::Retry));
        assert_eq!(story.timer(), Some(wait * MS), "a session is granted each time, and comes to nothing");
        assert_eq!(story.after(wait * MS), probes(&["db"]));
        story.probed("db", Ok(()));
        assert_eq!(story.state("db"), PathState::Ready { verified: true, target: false });
    }
    story.set_up("db", Ok(()));
    story.set_up("db", target(Disposition::Retry));
    assert_eq!(story.timer(), Some(400 * MS), "a connection is the proof");
}

#[test]
fn keys_are_told_apart_by_endpoint_and_port() {
    let key = |ip: &str, port| Key {
        probe: Probe::Session,
        locator: Endpoint::Address(ip.parse().unwrap()).into(),
        port: Port::new(port).unwrap(),
    };
    let mut keys = [key("10.0.0.5", 22), key("10.0.0.4", 23), key("10.0.0.4", 22)];
    keys.sort();
    assert_eq!(keys, [key("10.0.0.4", 22), key("10.0.0.4", 23), key("10.0.0.5", 22)]);
}
