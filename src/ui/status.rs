//! The table of `bastion status`: every tunnel with its state and addresses, what is wrong below it, what the
//! bastions hold at the end.

use std::time::SystemTime;

use comfy_table::{Cell, Color};

use super::human::{age, count, size};
use super::line::{listen, shown, target, told, why};
use super::others::safe_lines;
use super::table::{Line, Row, paragraph, render, word};
use super::{CARE, HINT};
use crate::model::{BastionStatus, Program, State, Status, TunnelStatus, printable};

const HEADER: [&str; 7] = ["TUNNEL", "STATE", "LISTEN", "TARGET", "CONNS", "IN/OUT", "SINCE"];
/// The longest name of a program that is shown.
const LONGEST: usize = 40;
/// Addresses, then names.
const FIRST: [usize; 3] = [2, 0, 1];

/// Everything that holds now, for a terminal of this width; `None`: as wide as it comes.
pub fn status(status: &Status, now: SystemTime, width: Option<u16>) -> String {
    let mut text = status.rejected.as_deref().map(|report| rejected(report, width)).unwrap_or_default();
    if status.tunnels.is_empty() {
        text.push_str("No tunnel runs.\n");
    } else {
        let rows = status.tunnels.iter().map(|tunnel| row(tunnel, now)).collect();
        text.push_str(&render(&HEADER, &FIRST, rows, width));
    }
    if !status.bastions.is_empty() {
        text.push('\n');
    }
    for bastion in &status.bastions {
        text.push_str(&paragraph(&held_by(bastion), 0, width));
    }
    text
}

/// What the file says and what could not be accepted of it, before everything else.
fn rejected(report: &str, width: Option<u16>) -> String {
    let what = "the file was changed and has mistakes: what runs is as before the change";
    let warning = paragraph(&format!("warning: {what}"), 0, width);
    let warning = warning.replacen("warning:", &format!("{CARE}warning:{CARE:#}"), 1);
    format!("{warning}{}\n\n", safe_lines(report))
}

fn row(tunnel: &TunnelStatus, now: SystemTime) -> Row {
    // A clock that was set back makes nothing negative.
    let since = now.duration_since(tunnel.since).unwrap_or_default();
    let traffic = format!("{} / {}", size(tunnel.bytes_in), size(tunnel.bytes_out));
    let cells = vec![
        Cell::new(tunnel.name.as_str()),
        word(tunnel.state.word(), color(tunnel.state)),
        Cell::new(if tunnel.listen.is_empty() { "-".to_owned() } else { listen(tunnel) }),
        Cell::new(target(tunnel)),
        Cell::new(connections(tunnel)),
        Cell::new(traffic),
        Cell::new(age(since)),
    ];
    let mut below = Vec::new();
    below.extend(why(tunnel).map(Line::Text));
    let hint = tunnel.reason.as_ref().and_then(|reason| reason.hint.as_deref());
    below.extend(hint.map(|hint| Line::Text(format!("hint: {}", shown(hint)))));
    if tunnel.state == State::Ready && !tunnel.verified {
        below.push(Line::Text("it listens; its path was not tried yet".to_owned()));
    }
    if tunnel.state == State::Ready && tunnel.target_verified {
        below.push(Line::Text("its target has answered".to_owned()));
    }
    below.extend(held(tunnel).map(Line::Text));
    if (tunnel.rate_in, tunnel.rate_out) != (0, 0) {
        below.push(Line::Text(format!("{}/s in, {}/s out", size(tunnel.rate_in), size(tunnel.rate_out))));
    }
    if let Some(error) = &tunnel.last_error {
        let ago = age(now.duration_since(error.time).unwrap_or_default());
        below.push(Line::Text(format!("last error {ago} ago: {}", told(&error.reason))));
    }
    for (name, value) in &tunnel.env {
        below.push(Line::Whole(format!("{HINT}{}={}{HINT:#}", shown(name), shown(value))));
    }
    Row { cells, below }
}

/// `2`, and in words what others wait for.
fn connections(tunnel: &TunnelStatus) -> String {
    let mut text = tunnel.connections.to_string();
    let waiting: Vec<_> = tunnel.waiting.iter().filter(|(_, number)| *number > 0).collect();
    for (at, (wait, number)) in waiting.iter().enumerate() {
        let (open, waiting) = if at == 0 { (" (", " waiting") } else { (", ", "") };
        text.push_str(&format!("{open}+{number}{waiting} for {}", wait.words()));
    }
    if !waiting.is_empty() {
        text.push(')');
    }
    text
}

/// `waiting: psql (process 7, 2 connections), one from 127.0.0.1:50000; and 3 more`. Nothing where nobody is known.
fn held(tunnel: &TunnelStatus) -> Option<String> {
    if tunnel.held.is_empty() {
        return None;
    }
    let mut programs: Vec<(&Program, usize)> = Vec::new();
    let mut others = Vec::new();
    for held in &tunnel.held {
        match &held.program {
            Some(program) => match programs.iter_mut().find(|(known, _)| *known == program) {
                Some((_, number)) => *number += 1,
                None => programs.push((program, 1)),
            },
            None => others.push(format!("one from {}", held.from)),
        }
    }
    let program = |(program, number): (&Program, usize)| {
        let name = printable(&program.name, LONGEST);
        let more = if number == 1 { String::new() } else { format!(", {number} connections") };
        format!("{name} (process {}{more})", program.pid)
    };
    let all: Vec<String> = programs.into_iter().map(program).chain(others).collect();
    let waiting: usize = tunnel.waiting.iter().map(|(_, number)| number).sum();
    let rest = match waiting.saturating_sub(tunnel.held.len()) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    Some(format!("waiting: {}{rest}", all.join(", ")))
}

/// What a bastion holds and may hold.
fn held_by(bastion: &BastionStatus) -> String {
    let sku = match &bastion.sku {
        Some(sku) => format!(", {}", shown(sku)),
        None => String::new(),
    };
    let sessions = match bastion.max_sessions {
        0 => format!("{} open", count(bastion.sessions, "session")),
        most => format!("{} of at most {most} sessions open", bastion.sessions),
    };
    format!("bastion {}{sku}: {sessions}", bastion.name)
}

fn color(state: State) -> Color {
    match state {
        State::Ready => Color::DarkGreen,
        State::Pending | State::Resolving | State::Connecting | State::Degraded => Color::DarkYellow,
        State::Blocked => Color::DarkRed,
        State::Draining | State::Stopped => Color::DarkCyan,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::{Held, LastError, Reason, Wait};
    use crate::ui::samples::{bastion, now, reason, tunnel};

    fn shows(tunnels: Vec<TunnelStatus>, width: Option<u16>) -> String {
        let all = Status { tunnels, bastions: vec![bastion("hub")], ..Status::default() };
        plain(&status(&all, now(), width))
    }

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    fn ill(state: State) -> TunnelStatus {
        let what = "the gateway bst-1.bastion.azure.com refused a session: HTTP 503";
        let hint = Some("every instance of a bastion carries a limited number of sessions".to_owned());
        TunnelStatus {
            state,
            reason: Some(Reason { hint, ..reason("gateway-busy", what) }),
            attempt: 3,
            next_retry: Some(Duration::from_millis(4_200)),
            ..tunnel(state.word())
        }
    }

    #[test]
    fn none() {
        assert_eq!(plain(&status(&Status::default(), now(), Some(80))), "No tunnel runs.\n");
    }

    #[test]
    fn one() {
        insta::assert_snapshot!(shows(vec![tunnel("web")], None), @r"
        TUNNEL  STATE  LISTEN                      TARGET              CONNS  IN/OUT     SINCE
        web     ready  127.0.0.1:8080, [::1]:8080  web:80 through hub  0      0 B / 0 B  3 min

        bastion hub, Standard: 2 sessions open
        ");
    }

    #[test]
    fn every_state() {
        let tunnels = State::ALL.map(|state| match state {
            State::Connecting | State::Degraded | State::Blocked => ill(state),
            State::Stopped => TunnelStatus { state, listen: vec![], ..tunnel("stopped") },
            State::Pending | State::Resolving | State::Ready | State::Draining => {
                TunnelStatus { state, ..tunnel(state.word()) }
            }
        });
        insta::assert_snapshot!(shows(tunnels.to_vec(), None), @r"
        TUNNEL      STATE       LISTEN                      TARGET                     CONNS  IN/OUT     SINCE
        pending     pending     127.0.0.1:8080, [::1]:8080  pending:80 through hub     0      0 B / 0 B  3 min
        resolving   resolving   127.0.0.1:8080, [::1]:8080  resolving:80 through hub   0      0 B / 0 B  3 min
        connecting  connecting  127.0.0.1:8080, [::1]:8080  connecting:80 through hub  0      0 B / 0 B  3 min
          the gateway bst-1.bastion.azure.com refused a session: HTTP 503 [gateway-busy]; try 4 in 4.2 s
          hint: every instance of a bastion carries a limited number of sessions
        ready       ready       127.0.0.1:8080, [::1]:8080  ready:80 through hub       0      0 B / 0 B  3 min
        degraded    degraded    127.0.0.1:8080, [::1]:8080  degraded:80 through hub    0      0 B / 0 B  3 min
          the gateway bst-1.bastion.azure.com refused a session: HTTP 503 [gateway-busy]; next try in 4.2 s
          hint: every instance of a bastion carries a limited number of sessions
        blocked     blocked     127.0.0.1:8080, [::1]:8080  blocked:80 through hub     0      0 B / 0 B  3 min
          the gateway bst-1.bastion.azure.com refused a session: HTTP 503 [gateway-busy]; looked at again in 4.2 s
          hint: every instance of a bastion carries a limited number of sessions
        draining    draining    127.0.0.1:8080, [::1]:8080  draining:80 through hub    0      0 B / 0 B  3 min
        stopped     stopped     -                           stopped:80 through hub     0      0 B / 0 B  3 min

        bastion hub, Standard: 2 sessions open
        ");
    }

    fn busy() -> TunnelStatus {
        TunnelStatus {
            connections: 2,
            waiting: vec![(Wait::Path, 0), (Wait::SetUp, 1), (Wait::Sessions, 3)],
            bytes_in: 1_536,
            bytes_out: 5 << 30,
            rate_out: 3 << 20,
            last_error: Some(LastError {
                time: now() - Duration::from_secs(40),
                reason: reason("gateway-lost", "the connection to the gateway was lost"),
            }),
            verified: false,
            env: [("DATABASE_URL".to_owned(), "postgres://app@127.0.0.1:5432/orders".to_owned())].into(),
            ..tunnel("orders-db")
        }
    }

    #[test]
    fn what_is_going_on() {
        insta::assert_snapshot!(shows(vec![busy(), tunnel("web")], None), @r"
        TUNNEL     STATE  LISTEN                      TARGET                    CONNS                                                        IN/OUT             SINCE
        orders-db  ready  127.0.0.1:8080, [::1]:8080  orders-db:80 through hub  2 (+1 waiting for a session to open, +3 for a free session)  1.5 KiB / 5.0 GiB  3 min
          it listens; its path was not tried yet
          0 B/s in, 3.0 MiB/s out
          last error 40 s ago: the connection to the gateway was lost [gateway-lost]
          DATABASE_URL=postgres://app@127.0.0.1:5432/orders
        web        ready  127.0.0.1:8080, [::1]:8080  web:80 through hub        0                                                            0 B / 0 B          3 min

        bastion hub, Standard: 2 sessions open
        ");
    }

    #[test]
    fn who_waits_is_named() {
        let waits = |port, program: Option<(u32, &str)>| Held {
            wait: Wait::Path,
            to: "127.0.0.1:8080".parse().unwrap(),
            from: std::net::SocketAddr::from(([127, 0, 0, 1], port)),
            program: program.map(|(pid, name)| Program { pid, name: name.to_owned() }),
        };
        let held = vec![
            waits(1001, Some((7, "psql"))),
            waits(1002, None),
            waits(1003, Some((7, "psql"))),
            waits(1004, Some((8, "a\u{1b}[31m"))),
        ];
        let some = TunnelStatus { held, waiting: vec![(Wait::Path, 7)], ..tunnel("web") };
        assert_eq!(
            super::held(&some).unwrap(),
            "waiting: psql (process 7, 2 connections), a\u{241b}[31m (process 8), one from 127.0.0.1:1002; and 3 more"
        );
        assert_eq!(super::held(&tunnel("web")), None);
    }

    #[test]
    fn on_a_narrow_terminal() {
        let text = shows(vec![busy(), ill(State::Degraded)], Some(72));
        let long = text.lines().filter(|line| line.chars().count() > 72).count();
        assert_eq!(long, 0, "{text}");
        insta::assert_snapshot!(text, @r"
        TUNNEL     STATE     LISTEN           TARGET   CONNS     IN/OUT  SINCE
        orders-db  ready     127.0.0.1:8080,  orders-  2 (+1     1.5     3 min
                             [::1]:8080       db:80    waiting   KiB /
                                              through  for a     5.0
                                              hub      session   GiB
                                                       to open,
                                                       +3 for a
                                                       free
                                                       session)
          it listens; its path was not tried yet
          0 B/s in, 3.0 MiB/s out
          last error 40 s ago: the connection to the gateway was lost
          [gateway-lost]
          DATABASE_URL=postgres://app@127.0.0.1:5432/orders
        degraded   degraded  127.0.0.1:8080,  degrade  0         0 B /   3 min
                             [::1]:8080       d:80               0 B
                                              through
                                              hub
          the gateway bst-1.bastion.azure.com refused a session: HTTP 503
          [gateway-busy]; next try in 4.2 s
          hint: every instance of a bastion carries a limited number of sessions

        bastion hub, Standard: 2 sessions open
        ");
    }

    #[test]
    fn what_was_not_accepted_comes_first() {
        let report =
            "error[config-port]: `listen` is a number from 0 to 65535\n --> bastion.toml:3:5\n\u{1b}[31m";
        let all = Status {
            rejected: Some(report.to_owned()),
            tunnels: vec![tunnel("web")],
            bastions: vec![BastionStatus { sku: None, sessions: 1, max_sessions: 10, ..bastion("hub") }],
            ..Status::default()
        };
        insta::assert_snapshot!(plain(&status(&all, now(), Some(80))), @r"
        warning: the file was changed and has mistakes: what runs is as before the
        change
        error[config-port]: `listen` is a number from 0 to 65535
         --> bastion.toml:3:5
        ␛[31m

        TUNNEL  STATE  LISTEN           TARGET              CONNS  IN/OUT     SINCE
        web     ready  127.0.0.1:8080,  web:80 through hub  0      0 B / 0 B  3 min
                       [::1]:8080

        bastion hub: 1 of at most 10 sessions open
        ");
    }

    #[test]
    fn colours_change_no_width_and_nothing_from_elsewhere_colours() {
        let mut hostile = ill(State::Blocked);
        hostile.target = "a\u{1b}[31mb\nc".to_owned();
        let text =
            status(&Status { tunnels: vec![hostile, tunnel("web")], ..Status::default() }, now(), None);
        assert!(text.contains("\u{1b}[38;5;2m"), "{text:?}");
        assert!(!text.contains("\u{1b}[31m"), "{text:?}");
        let listens: Vec<_> = plain(&text)
            .lines()
            .filter_map(|line| line.find("127.0.0.1:8080").map(|at| line[..at].chars().count()))
            .collect();
        assert!(listens.len() == 2 && listens[0] == listens[1], "{text}");
    }
}
