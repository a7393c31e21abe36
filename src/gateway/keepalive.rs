//! When to ask a quiet gateway whether it is still there, and when to believe that it is not. Time is an argument.

use std::time::Duration;

use tokio::time::Instant;

/// One link's liveness.
#[derive(Debug)]
pub(super) struct Keepalive {
    interval: Duration,
    quiet_since: Instant,
    unanswered: u8,
    answers: bool,
}

/// What is due now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing before this moment.
    At(Instant),
    /// Nothing ever: pings are off.
    Never,
    /// A ping.
    Ping,
    /// The link answered pings before and has now ignored three: it is dead.
    Dead,
}

impl Keepalive {
    /// A link that was just opened; `interval` zero turns pings off.
    pub(super) fn new(interval: Duration, now: Instant) -> Self {
        Self { interval, quiet_since: now, unanswered: 0, answers: false }
    }

    /// Any frame arrived.
    pub(super) fn heard(&mut self, now: Instant) {
        self.quiet_since = now;
        self.unanswered = 0;
    }

    /// A pong arrived: from now on silence means something.
    pub(super) fn answered(&mut self) {
        self.answers = true;
    }

    /// A frame was taken by the kernel. It proves nothing once a question is open.
    pub(super) fn sent(&mut self, now: Instant) {
        if self.unanswered == 0 {
            self.quiet_since = now;
        }
    }

    /// What is due. Pings go out after one interval of quiet, then every two thirds of one;
    /// three unanswered make three intervals.
    pub(super) fn due(&mut self, now: Instant) -> Due {
        if self.interval.is_zero() {
            return Due::Never;
        }
        let deadline = self.quiet_since + self.interval + self.interval * 2 / 3 * u32::from(self.unanswered);
        if now < deadline {
            return Due::At(deadline);
        }
        if self.unanswered >= 3 {
            if self.answers {
                return Due::Dead;
            }
            // A gateway that never answered a ping may simply not do so: go on asking, conclude nothing.
            self.quiet_since = now;
            self.unanswered = 0;
            return Due::At(now + self.interval);
        }
        self.unanswered += 1;
        Due::Ping
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn run(link: &mut Keepalive, start: Instant, seconds: u32) -> Vec<(u32, Due)> {
        let mut seen = Vec::new();
        for second in 0..=seconds {
            match link.due(start + S * second) {
                Due::At(_) | Due::Never => {}
                due @ (Due::Ping | Due::Dead) => seen.push((second, due)),
            }
        }
        seen
    }

    #[test]
    fn three_unanswered_pings_end_a_link_that_has_answered_before() {
        let start = Instant::now();
        let mut link = Keepalive::new(S * 30, start);
        link.answered();
        assert_eq!(
            run(&mut link, start, 90),
            [(30, Due::Ping), (50, Due::Ping), (70, Due::Ping), (90, Due::Dead)]
        );
    }

    #[test]
    fn a_link_that_never_answered_is_not_declared_dead() {
        let start = Instant::now();
        let mut link = Keepalive::new(S * 30, start);
        assert!(run(&mut link, start, 3600).iter().all(|(_, due)| *due == Due::Ping));
    }

    #[test]
    fn traffic_puts_the_question_off_but_sending_does_not_answer_it() {
        let start = Instant::now();
        let mut link = Keepalive::new(S * 30, start);
        link.answered();
        link.sent(start + S * 29);
        assert_eq!(run(&mut link, start, 58), []);
        assert_eq!(link.due(start + S * 59), Due::Ping);
        link.sent(start + S * 60);
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
