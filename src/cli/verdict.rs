//! What waiting for tunnels has come to: whether it is over, and the exit status that says how.

use super::ExitStatus;
use crate::model::{State, TunnelStatus};

/// What the tunnels that are waited for have come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Whether waiting longer is of no use: each is ready, or only a person can mend it.
    pub(super) settled: bool,
    /// How the command ends when nobody waits any longer.
    pub(super) status: ExitStatus,
}

impl Verdict {
    /// What these tunnels have come to. That none is meant is no success.
    pub(super) fn of<'a>(tunnels: impl IntoIterator<Item = &'a TunnelStatus>) -> Self {
        Self::judge(tunnels.into_iter().map(|tunnel| {
            let code = tunnel.reason.as_ref().map_or("", |reason| &reason.code);
            (tunnel.state, code)
        }))
    }

    /// By state and code of each. What another program holds comes first, for waiting does not mend it; then what a
    /// sign-in mends, then whatever else is blocked, at last what only took too long.
    fn judge<'a>(tunnels: impl IntoIterator<Item = (State, &'a str)>) -> Self {
        let one = |(state, code): (State, &str)| match state {
            State::Ready => ExitStatus::Done,
            State::Blocked => ExitStatus::of_code(code),
            State::Pending
            | State::Resolving
            | State::Connecting
            | State::Degraded
            | State::Draining
            | State::Stopped => ExitStatus::NotReady,
        };
        let all: Vec<ExitStatus> = tunnels.into_iter().map(one).collect();
        let worst = all.iter().copied().max_by_key(|status| rank(*status));
        Self { settled: !all.contains(&ExitStatus::NotReady), status: worst.unwrap_or(ExitStatus::Failed) }
    }
}

/// The first that applies has the highest.
fn rank(status: ExitStatus) -> u8 {
    match status {
        ExitStatus::Usage => 6,
        ExitStatus::InTheWay => 5,
        ExitStatus::SignIn => 4,
        ExitStatus::Failed => 3,
        ExitStatus::NotReady => 2,
        ExitStatus::Interrupted => 1,
        ExitStatus::Done => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_applies() {
        let (ready, slow) = ((State::Ready, ""), (State::Connecting, "gateway-busy"));
        let blocked = |code| (State::Blocked, code);
        let (taken, denied, other) = (blocked("port-taken"), blocked("denied"), blocked("wrong-sku"));
        for (tunnels, settled, status) in [
            (vec![], true, ExitStatus::Failed),
            (vec![ready], true, ExitStatus::Done),
            (vec![ready, ready], true, ExitStatus::Done),
            // What of the file could not be done does not make a ready tunnel less ready.
            (vec![(State::Ready, "port-taken")], true, ExitStatus::Done),
            (vec![ready, slow], false, ExitStatus::NotReady),
            (vec![(State::Degraded, "sign-in")], false, ExitStatus::NotReady),
            (vec![ready, other], true, ExitStatus::Failed),
            (vec![blocked("needs-allow")], true, ExitStatus::Failed),
            (vec![blocked("")], true, ExitStatus::Failed),
            (vec![other, denied], true, ExitStatus::SignIn),
            (vec![blocked("sign-in"), other], true, ExitStatus::SignIn),
            (vec![denied, taken, other], true, ExitStatus::InTheWay),
            (vec![slow, other], false, ExitStatus::Failed),
            (vec![slow, denied, other], false, ExitStatus::SignIn),
            (vec![slow, taken, denied], false, ExitStatus::InTheWay),
        ] {
            assert_eq!(Verdict::judge(tunnels.clone()), Verdict { settled, status }, "{tunnels:?}");
        }
    }

    #[test]
    fn only_ready_and_blocked_are_not_waited_for() {
        for state in State::ALL {
            let settled = matches!(state, State::Ready | State::Blocked);
            assert_eq!(Verdict::judge([(State::Ready, ""), (state, "x")]).settled, settled, "{state:?}");
        }
    }
}
