//! When to ask a quiet gateway whether it is still there, and when to believe that it is not. Time is an argument.

use std::time::Duration;

use tokio::time::Instant;

/// One link's liveness.
#[derive(Debug)]
pub(super) struct Keepalive {
    interval: Duration,
    /// When something is due.
    next: Instant,
    unanswered: u8,
    answers: bool,
    /// Bytes sent since anything was received.
    owed: u64,
}

/// How many pings in a row a link may ignore.
const PATIENCE: u8 = 3;
/// The same while much was sent: a gateway answers a ping when it has taken what stands before it, and a target that
/// reads slowly keeps it from that.
const PATIENCE_WITH_A_BUSY_ONE: u8 = 12;
/// How much that is.
const MUCH: u64 = 64 * 1024;

/// What is due now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing before this moment.
    At(Instant),
    /// Nothing ever: pings are off.
    Never,
    /// A ping.
    Ping,
    /// The link answered pings before and ignores them now: it is dead.
    Dead,
}

impl Keepalive {
    /// A link that was just opened; `interval` zero turns pings off.
    pub(super) fn new(interval: Duration, now: Instant) -> Self {
        Self { interval, next: now + interval, unanswered: 0, answers: false, owed: 0 }
    }

    /// Something arrived.
    pub(super) fn heard(&mut self, now: Instant) {
        self.next = now + self.interval;
        self.unanswered = 0;
        self.owed = 0;
    }

    /// A pong arrived: from now on silence means something.
    pub(super) fn answered(&mut self) {
        self.answers = true;
    }

    /// Whether it ever answered a ping.
    pub(super) fn answers(&self) -> bool {
        self.answers
    }

    /// Bytes were taken for sending. They prove nothing once a question is open.
    pub(super) fn sent(&mut self, now: Instant, bytes: usize) {
        self.owed = self.owed.saturating_add(bytes as u64);
        if self.unanswered == 0 {
            self.next = now + self.interval;
        }
    }

    /// A ping went out.
    pub(super) fn pinged(&mut self, now: Instant) {
        self.unanswered = self.unanswered.saturating_add(1);
        self.postponed(now);
    }

    /// A ping could not go out, because the link takes nothing at present: that is no silence.
    pub(super) fn postponed(&mut self, now: Instant) {
        self.next = now + self.interval * 2 / 3;
    }

    /// What is due. Pings go out after one interval of quiet, then every two thirds of one; three unanswered make three
    /// intervals. However late it is asked, a question comes before a conclusion.
    pub(super) fn due(&mut self, now: Instant) -> Due {
        if self.interval.is_zero() {
            return Due::Never;
        }
        if now < self.next {
            return Due::At(self.next);
        }
        let patience = if self.owed >= MUCH { PATIENCE_WITH_A_BUSY_ONE } else { PATIENCE };
        if self.unanswered < patience {
            return Due::Ping;
        }
        if self.answers {
            return Due::Dead;
        }
        // A gateway that never answered a ping may simply not do so: go on asking, conclude nothing.
        self.unanswered = 0;
        self.next = now + self.interval;
        Due::At(self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn run(link: &mut Keepalive, start: Instant, seconds: u32) -> Vec<(u32, Due)> {
        let mut seen = Vec::new();
        for second in 0..=seconds {
            let now = start + S * second;
            match link.due(now) {
                Due::At(_) | Due::Never => {}
                Due::Ping => {
                    link.pinged(now);
                    seen.push((second, Due::Ping));
                }
                Due::Dead => {
                    seen.push((second, Due::Dead));
                    return seen;
                }
            }
        }
        seen
    }

    #[test]
    fn three_unanswered_pings_end_a_link_that_has_answered_before() {
        let start = Instant::now();
        let mut link = Keepalive::new(S * 30, start);
        link.answered();
        let seen = run(&mut link, start, 3600);
        assert_eq!(seen, [(30, Due::Ping), (50, Due::Ping), (70, Due::Ping), (90, Due::Dead)]);
    }

    #[test]
    fn a_link_with_much_to_take_has_more_time() {
        let start = Instant::now();
        let mut link = Keepalive::new(S * 30, start);
        link.answered();
        link.sent(start, 64 * 1024);
        assert_eq!(run(&mut link, start, 3600).last(), Some(&(30 + 12 * 20, Due::Dead)));
    }

    #[test]
    fn a_link_that_never_answered_is_not_declared_dead() {
        let start = Instant::now();
        let mut link = Keepalive::new(S * 30, start);
        assert!(run(&mut link, start, 3600).iter().all(|(_, due)| *due == Due::Ping));
    }

    #[test]
    fn a_ping_that_could_not_go_out_is_no_question() {
        let start = Instant::now();
        let mut link = Keepalive::new(S * 30, start);
        link.answered();
        for second in 0..3600 {
            let now = start + S * second;
            match link.due(now) {
                Due::Ping => link.postponed(now),
                Due::Dead => panic!("dead after {second} s"),
                Due::At(_) | Due::Never => {}
            }
        }
    }

    #[test]
    fn a_late_look_asks_before_it_concludes() {
        let start = Instant::now();
        let mut link = Keepalive::new(S * 30, start);
        link.answered();
        let late = start + S * 3600;
        assert_eq!(link.due(late), Due::Ping);
        link.pinged(late);
        assert_eq!(link.due(late), Due::At(late + S * 20));
    }

    #[test]
    fn traffic_puts_the_question_off_but_sending_does_not_answer_it() {
        let start = Instant::now();
        let mut link = Keepalive::new(S * 30, start);
        link.answered();
        link.sent(start + S * 29, 1);
        assert_eq!(link.due(start + S * 58), Due::At(start + S * 59));
        assert_eq!(link.due(start + S * 59), Due::Ping);
        link.pinged(start + S * 59);
        link.sent(start + S * 60, 1);
        assert_eq!(link.due(start + S * 79), Due::Ping, "sending is no sign of life");
        link.heard(start + S * 80);
        assert_eq!(link.due(start + S * 81), Due::At(start + S * 110));
    }

    #[test]
    fn zero_turns_it_off() {
        let start = Instant::now();
        assert_eq!(Keepalive::new(Duration::ZERO, start).due(start + S * 1000), Due::Never);
    }
}
