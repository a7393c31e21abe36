//! What an instance tells, as the house's own values. It may be of another release: what this one has no word for is
//! passed over, but no tunnel is left out, and a state that is not ours is told as what it is.

use std::time::{Duration, SystemTime};

use super::wire::{BastionStatus, Held, Status, TunnelStatus};
use crate::model::{self, Name, Reason, State, printable};

/// The longest code that is believed to be one.
const LONGEST_CODE: usize = 60;

impl Status {
    /// The same as the house's value. What has no time that can be read is as it is since `now`.
    pub fn into_model(self, now: SystemTime) -> model::Status {
        let program = self.instance.map(|instance| instance.program).unwrap_or_default();
        let tunnels = self.tunnels.into_iter().map(|tunnel| tunnel.into_model(&program, now)).collect();
        model::Status {
            generation: self.generation,
            rejected: self.rejected,
            tunnels,
            bastions: self.bastions.into_iter().map(bastion).collect(),
        }
    }
}

impl TunnelStatus {
    /// The same as the house's value, told by this release of the program. A state that is not ours counts as pending,
    /// with that as its reason.
    pub fn into_model(self, program: &str, now: SystemTime) -> model::TunnelStatus {
        let unknown = self.state().is_none().then(|| unknown(&self.state, program));
        let told = self.code.or(self.reason.is_some().then(String::new)).map(|code| Reason {
            // It stands between brackets, and whoever reads it may type it.
            code: printable(&code, LONGEST_CODE).into(),
            what: self.reason.unwrap_or_default(),
            hint: self.hint,
        });
        let waiting = self.waiting.iter().filter_map(|waiting| Some((waiting.wait()?, size(waiting.count))));
        model::TunnelStatus {
            name: name(&self.name),
            state: State::ALL.into_iter().find(|known| known.word() == self.state).unwrap_or(State::Pending),
            reason: unknown.or(told),
            attempt: self.attempt,
            next_retry: self.next_retry.and_then(|wait| Duration::try_from_secs_f64(wait).ok()),
            listen: self.listen.iter().filter_map(|address| address.parse().ok()).collect(),
            target: self.target,
            route: self.route,
            verified: self.verified,
            target_verified: self.target_verified,
            connections: size(self.connections),
            waiting: waiting.collect(),
            held: self.held.iter().filter_map(held).collect(),
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            rate_in: self.rate_in,
            rate_out: self.rate_out,
            last_error: self.last_error.map(|error| model::LastError {
                time: error.time.parse::<jiff::Timestamp>().map_or(now, SystemTime::from),
                reason: Reason {
                    code: printable(&error.code, LONGEST_CODE).into(),
                    what: error.reason,
                    hint: None,
                },
            }),
            since: self.since.parse::<jiff::Timestamp>().map_or(now, SystemTime::from),
            env: self.env,
        }
    }
}

fn unknown(state: &str, program: &str) -> Reason {
    let what = format!(
        "it is `{}`, a state of bastion {} that bastion {} does not know",
        printable(state, LONGEST_CODE),
        printable(program, LONGEST_CODE),
        env!("CARGO_PKG_VERSION"),
    );
    Reason { code: "version-skew".into(), what, hint: None }
}

fn held(held: &Held) -> Option<model::Held> {
    let program = held.pid.map(|pid| model::Program { pid, name: held.program.clone().unwrap_or_default() });
    Some(model::Held {
        wait: held.wait()?,
        to: held.to.parse().ok()?,
        from: held.from.parse().ok()?,
        program,
    })
}

fn bastion(bastion: BastionStatus) -> model::BastionStatus {
    model::BastionStatus {
        name: name(&bastion.name),
        sku: bastion.sku,
        sessions: size(bastion.sessions),
        max_sessions: size(bastion.max_sessions),
    }
}

/// A name, or what can be made one.
fn name(text: &str) -> Name {
    Name::new(text).unwrap_or_else(|_| {
        let letters = text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' });
        let fitting: String = ['x'].into_iter().chain(letters).take(63).collect();
        // Letters, digits and hyphens behind an `x` are a name; whoever reads this need not rely on it.
        Name::new(&fitting).unwrap_or_else(|_| name("x"))
    })
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::super::wire::{Instance, Waiting};
    use super::*;
    use crate::model::Wait;

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_000_000)
    }

    #[test]
    fn what_another_release_says_loses_no_row() {
        let strange = TunnelStatus {
            name: "\u{1b}[31m\u{e9}".to_owned(),
            state: "hibernating".to_owned(),
            code: Some("cold\u{1b}[0m".to_owned()),
            next_retry: Some(-1.0),
            listen: vec!["unix:/run/db.sock".to_owned(), "[::1]:80".to_owned()],
            waiting: vec![
                Waiting { reason: "spring".to_owned(), count: 2 },
                Waiting { reason: "path".to_owned(), count: u64::MAX },
            ],
            since: "yesterday".to_owned(),
            ..TunnelStatus::default()
        };
        let status = Status {
            instance: Some(Instance { program: "9.0\u{9b}".to_owned(), ..Instance::default() }),
            tunnels: vec![strange, TunnelStatus::default()],
            bastions: vec![BastionStatus::default()],
            ..Status::default()
        }
        .into_model(now());
        let [strange, empty] = status.tunnels.as_slice() else { panic!("{status:?}") };
        assert_eq!(strange.name.as_str(), "x--31m-");
        assert_eq!((strange.state, strange.next_retry, strange.since), (State::Pending, None, now()));
        assert_eq!(strange.listen, ["[::1]:80".parse().unwrap()]);
        assert_eq!(strange.waiting, [(Wait::Path, usize::MAX)]);
        let reason = strange.reason.as_ref().unwrap();
        assert_eq!(reason.code, "version-skew");
        assert!(
            reason.what.starts_with("it is `hibernating`, a state of bastion 9.0\u{fffd} that"),
            "{reason:?}"
        );
        assert_eq!(empty.name.as_str(), "x");
        assert_eq!(status.bastions[0].name.as_str(), "x");
    }

    #[test]
    fn a_reason_without_a_code_is_one() {
        let told = |code: Option<&str>, what: Option<&str>| {
            let tunnel = TunnelStatus {
                state: "blocked".to_owned(),
                code: code.map(str::to_owned),
                reason: what.map(str::to_owned),
                since: "1970-01-01T00:00:01.500Z".to_owned(),
                ..TunnelStatus::default()
            };
            let tunnel = tunnel.into_model("0", now());
            assert_eq!(tunnel.since, UNIX_EPOCH + Duration::from_millis(1500));
            tunnel.reason.map(|reason| (reason.code.into_owned(), reason.what))
        };
        assert_eq!(told(None, None), None);
        assert_eq!(told(None, Some("a")), Some((String::new(), "a".to_owned())));
        assert_eq!(told(Some("b\u{1b}"), None), Some(("b\u{241b}".to_owned(), String::new())));
    }
}
