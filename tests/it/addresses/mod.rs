//! Local addresses that somebody else has, and those that are chosen for a tunnel.

#[cfg(unix)]
mod auto;
#[cfg(unix)]
mod held;
#[cfg(unix)]
mod holders;
#[cfg(unix)]
mod next;
#[cfg(unix)]
mod worktrees;

/// The words about this process, which has a port, as they are where the system does not tell who has it.
pub(crate) fn anonymous(text: &str) -> String {
    let us = format!("` (process {}) listens there", std::process::id());
    let line = |line: &str| match line.find(&us) {
        Some(at) => {
            let start = line[..at].rfind('`').unwrap();
            format!("{}another program listens there{}", &line[..start], &line[at + us.len()..])
        }
        // What the person is told to type differs from system to system.
        None => match (line.find(": `"), line.find("` names it; stop it")) {
            (Some(from), Some(to)) => format!("{}: stop that program{}", &line[..from], &line[to + 19..]),
            _ => line.to_owned(),
        },
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}
