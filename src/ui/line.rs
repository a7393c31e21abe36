//! One line about one tunnel: what it has come to, and why.

use super::human::{count, seconds};
use super::{BAD, CARE, GOOD, HINT};
use crate::model::{Reason, State, TunnelStatus, printable};
use anstyle::Style;

/// The longest text from elsewhere that is shown.
const LONGEST: usize = 400;

/// How a state looks.
pub(super) fn style(state: State) -> Style {
    match state {
        State::Ready => GOOD,
        State::Pending | State::Resolving | State::Connecting | State::Degraded => CARE,
        State::Blocked => BAD,
        State::Draining | State::Stopped => HINT,
    }
}

/// What a tunnel has come to, on one line; without the hint.
pub fn tunnel_line(tunnel: &TunnelStatus) -> String {
    let word = if tunnel.state == State::Connecting { "waiting" } else { tunnel.state.word() };
    let (style, name) = (style(tunnel.state), tunnel.name.as_str());
    let line = format!("{style}{word:<8}{style:#} {name:<12} {}", text(tunnel));
    line.trim_end().to_owned()
}

/// The same without name and colour, for the middle of a sentence.
pub fn plain_line(tunnel: &TunnelStatus) -> String {
    match text(tunnel) {
        empty if empty.is_empty() => format!("it is {}", tunnel.state.word()),
        text => text,
    }
}

fn text(tunnel: &TunnelStatus) -> String {
    match tunnel.state {
        State::Ready => {
            let but = match why(tunnel) {
                Some(why) => format!("; but {why}"),
                None if tunnel.verified => String::new(),
                None => "; not verified".to_owned(),
            };
            format!("{}{but}", way(tunnel))
        }
        State::Pending => way(tunnel),
        State::Resolving => format!("asking Azure what the bastion `{}` is", shown(&tunnel.route)),
        State::Connecting | State::Degraded | State::Blocked => why(tunnel).unwrap_or_else(|| way(tunnel)),
        State::Draining => match tunnel.connections {
            0 => "its last connections are ending".to_owned(),
            1 => "1 connection goes on".to_owned(),
            several => format!("{} go on", count(several, "connection")),
        },
        State::Stopped => tunnel.reason.as_ref().map(told).unwrap_or_default(),
    }
}

/// Where it listens and where that leads.
fn way(tunnel: &TunnelStatus) -> String {
    let to = target(tunnel);
    if tunnel.listen.is_empty() { format!("-> {to}") } else { format!("{} -> {to}", listen(tunnel)) }
}

/// The addresses that it owns.
pub(super) fn listen(tunnel: &TunnelStatus) -> String {
    tunnel.listen.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The target, and the way there.
pub(super) fn target(tunnel: &TunnelStatus) -> String {
    format!("{} through {}", shown(&tunnel.target), shown(&tunnel.route))
}

/// What is wrong, and when it is tried again.
pub(super) fn why(tunnel: &TunnelStatus) -> Option<String> {
    let reason = told(tunnel.reason.as_ref()?);
    let next = match (tunnel.state, tunnel.next_retry.map(seconds)) {
        (State::Blocked, Some(next)) => format!("; looked at again in {next}"),
        (State::Connecting, Some(next)) => format!("; try {} in {next}", tunnel.attempt.saturating_add(1)),
        (State::Degraded, Some(next)) => format!("; next try in {next}"),
        (State::Connecting | State::Degraded, None) => "; trying now".to_owned(),
        (
            State::Pending
            | State::Resolving
            | State::Ready
            | State::Blocked
            | State::Draining
            | State::Stopped,
            _,
        ) => String::new(),
    };
    Some(format!("{reason}{next}"))
}

pub(super) fn told(reason: &Reason) -> String {
    format!("{} [{}]", shown(&reason.what), reason.code)
}

/// A text from elsewhere.
pub(super) fn shown(text: &str) -> String {
    printable(text, LONGEST)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ui::samples::{reason, tunnel};

    fn line(tunnel: &TunnelStatus) -> String {
        anstream::adapter::strip_str(&tunnel_line(tunnel)).to_string()
    }

    #[test]
    fn every_state_has_its_line() {
        let busy = || Some(reason("gateway-busy", "the gateway bst refused a session: HTTP 503"));
        let next = Some(Duration::from_millis(1_200));
        let mut lines = Vec::new();
        for state in State::ALL {
            let well = TunnelStatus { state, ..tunnel("web") };
            lines.push(line(&well));
            let ill = TunnelStatus { reason: busy(), next_retry: next, attempt: 2, ..well };
            lines.push(line(&ill));
        }
        insta::assert_snapshot!(lines.join("\n"), @r"
        pending  web          127.0.0.1:8080, [::1]:8080 -> web:80 through hub
        pending  web          127.0.0.1:8080, [::1]:8080 -> web:80 through hub
        resolving web          asking Azure what the bastion `hub` is
        resolving web          asking Azure what the bastion `hub` is
        waiting  web          127.0.0.1:8080, [::1]:8080 -> web:80 through hub
        waiting  web          the gateway bst refused a session: HTTP 503 [gateway-busy]; try 3 in 1.2 s
        ready    web          127.0.0.1:8080, [::1]:8080 -> web:80 through hub
        ready    web          127.0.0.1:8080, [::1]:8080 -> web:80 through hub; but the gateway bst refused a session: HTTP 503 [gateway-busy]
        degraded web          127.0.0.1:8080, [::1]:8080 -> web:80 through hub
        degraded web          the gateway bst refused a session: HTTP 503 [gateway-busy]; next try in 1.2 s
        blocked  web          127.0.0.1:8080, [::1]:8080 -> web:80 through hub
        blocked  web          the gateway bst refused a session: HTTP 503 [gateway-busy]; looked at again in 1.2 s
        draining web          its last connections are ending
        draining web          its last connections are ending
        stopped  web
        stopped  web          the gateway bst refused a session: HTTP 503 [gateway-busy]
        ");
    }

    #[test]
    fn what_else_there_is_to_say() {
        let unverified = TunnelStatus { verified: false, ..tunnel("web") };
        let moving = TunnelStatus { reason: Some(reason("port-taken", "port 80 is taken")), ..tunnel("web") };
        let trying = TunnelStatus {
            state: State::Degraded,
            reason: Some(reason("gateway-error", "two\nlines \u{1b}[31m")),
            ..tunnel("web")
        };
        let draining = TunnelStatus { state: State::Draining, connections: 2, ..tunnel("web") };
        let unbound = TunnelStatus { state: State::Pending, listen: vec![], ..tunnel("web") };
        let lines: Vec<_> = [unverified, moving, trying, draining, unbound].iter().map(line).collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        ready    web          127.0.0.1:8080, [::1]:8080 -> web:80 through hub; not verified
        ready    web          127.0.0.1:8080, [::1]:8080 -> web:80 through hub; but port 80 is taken [port-taken]
        degraded web          two lines ␛[31m [gateway-error]; trying now
        draining web          2 connections go on
        pending  web          -> web:80 through hub
        ");
    }
}
