//! Probes that the target notices: what they show, and how often they are made.

use super::*;

const BANNER: PathOptions = PathOptions { probe: Probe::Banner, ..OPTIONS };
const HEARD: PathState = PathState::Ready { verified: true, target: true };
const MINUTE: Duration = Duration::from_secs(60);

fn heard(paths: &[&'static str]) -> Story {
    let mut story = Story::begin(paths, &BANNER);
    story.tell(Input::Resolved(Ok(())));
    for path in paths {
        story.probed(path, Ok(()));
        assert_eq!(story.state(path), HEARD);
    }
    story
}

#[test]
fn a_session_shows_the_path_and_a_word_of_the_target_shows_that() {
    let mut story = heard(&["a"]);
    // A connection that cannot be set up takes both away, one that can gives only the path back.
    story.set_up("a", target(Disposition::Retry));
    story.set_up("a", Ok(()));
    assert_eq!(story.state("a"), PathState::Ready { verified: true, target: false });
    // Somebody wants to know: the target was not heard, however fresh the proof of the path is.
    assert_eq!(story.tell(Input::Prove("a")), probes(&["a"]));
    story.probed("a", Ok(()));
    assert_eq!(story.state("a"), HEARD);
    assert_eq!(story.tell(Input::Prove("a")), []);
    assert_eq!(Story::ready(&["b"]).state("b"), PathState::Ready { verified: true, target: false });
}

#[test]
fn a_target_that_does_not_answer_is_asked_once_a_minute_unless_somebody_waits() {
    let mut story = Story::begin(&["a"], &BANNER);
    story.tell(Input::Resolved(Ok(())));
    story.probed("a", target(Disposition::Retry));
    assert_eq!(story.timer(), Some(MINUTE));
    // A connection that waits has the try as soon as after any failure, and then the next ones.
    assert_eq!(story.wait_for("a"), []);
    assert_eq!(story.timer(), Some(400 * MS));
    assert_eq!(story.after(400 * MS), probes(&["a"]));
    story.probed("a", target(Disposition::Retry));
    assert_eq!(story.timer(), Some(800 * MS));
    assert_eq!(story.after(800 * MS), probes(&["a"]));
    story.tell(Input::Waiting { path: "a", waiting: false });
    story.probed("a", target(Disposition::Retry));
    assert_eq!(story.timer(), Some(MINUTE));
    // Somebody who asks has it at once; and the wait that a gateway asks for is kept.
    assert_eq!(story.tell(Input::Retry(Some("a"))), probes(&["a"]));
    story.probed("a", target(Disposition::RetryAfter(90 * S)));
    assert_eq!(story.timer(), Some(90 * S));
    story.wait_for("a");
    assert_eq!(story.timer(), Some(90 * S));
    // What does not reach the target has nobody to spare.
    let mut story = Story::begin(&["a"], &OPTIONS);
    story.tell(Input::Resolved(Ok(())));
    story.probed("a", target(Disposition::Retry));
    assert_eq!(story.timer(), Some(400 * MS));
}

#[test]
fn a_session_does_not_make_up_for_a_target_that_did_not_answer() {
    let mut story = heard(&["a"]);
    story.now += 2 * MINUTE;
    assert_eq!(story.tell(Input::Prove("a")), probes(&["a"]));
    story.probed("a", target(Disposition::Retry));
    story.degraded("a", 1, Some(MINUTE), "target");
    story.set_up("a", Ok(()));
    story.degraded("a", 1, Some(MINUTE), "target");
    assert_eq!(story.after(MINUTE), probes(&["a"]));
    story.probed("a", Ok(()));
    assert_eq!(story.state("a"), HEARD);
}

#[test]
fn it_answers_for_its_bastion() {
    let mut story = heard(&["a", "b"]);
    story.set_up("a", bastion(Disposition::Retry));
    assert_eq!(story.after(400 * MS), probes(&["a"]));
    // The target is silent, and so the bastion works.
    assert_eq!(story.probed("a", target(Disposition::Retry)), []);
    story.degraded("a", 1, Some(MINUTE), "target");
    assert_eq!(story.after(1500 * MS), probes(&["b"]));
    story.probed("b", Ok(()));
    assert_eq!(story.state("b"), HEARD);
}
