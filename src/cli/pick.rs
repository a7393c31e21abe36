//! Which tunnels are meant: by names and patterns on the command line, or by profiles.

use super::{ExitStatus, Failure, nearest};
use crate::model::{Desired, Name, Pattern, Tunnel};
use crate::ui::Printer;

/// More names than these are not listed.
const LISTED: usize = 20;

/// The patterns of a command line, by whether what they mean runs.
#[derive(Debug)]
pub(super) struct Picked {
    /// Those that mean a tunnel that runs.
    pub(super) running: Vec<Pattern>,
    /// Those that mean only tunnels that are declared and do not run.
    pub(super) idle: Vec<Pattern>,
}

/// Reads what was typed.
pub(super) fn patterns(typed: &[String]) -> Result<Vec<Pattern>, Failure> {
    let read = |text: &String| {
        Pattern::new(text).map_err(|error| Failure::new(ExitStatus::Usage, error.to_string()))
    };
    typed.iter().map(read).collect()
}

/// Whether a tunnel is meant: by one of the patterns, or because there is none.
pub(super) fn is_meant(patterns: &[Pattern], name: &Name) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(name))
}

/// Sorts patterns by whether what they mean runs. What is declared is asked for only when it matters; where nobody knows
/// it and nothing runs, nothing can be called a mistake.
pub(super) fn pick(
    patterns: Vec<Pattern>,
    running: &[Name],
    declared: impl FnOnce() -> Option<Vec<Name>>,
) -> Result<Picked, Failure> {
    let means = |pattern: &Pattern, names: &[Name]| names.iter().any(|name| pattern.matches(name));
    let (running_ones, others): (Vec<_>, Vec<_>) =
        patterns.into_iter().partition(|pattern| means(pattern, running));
    let declared = if others.is_empty() { Some(Vec::new()) } else { declared() };
    if declared.is_none() && running.is_empty() {
        return Ok(Picked { running: running_ones, idle: others });
    }
    let declared = declared.unwrap_or_default();
    if let Some(unknown) = others.iter().find(|pattern| !means(pattern, &declared)) {
        let known: Vec<&Name> = running.iter().chain(&declared).collect();
        return Err(none(unknown, &known));
    }
    Ok(Picked { running: running_ones, idle: others })
}

/// Checks that each pattern means one of these.
pub(super) fn known<'a>(
    patterns: &[Pattern],
    names: impl Iterator<Item = &'a Name> + Clone,
) -> Result<(), Failure> {
    match patterns.iter().find(|pattern| !names.clone().any(|name| pattern.matches(name))) {
        Some(unknown) => Err(none(unknown, &names.collect::<Vec<_>>())),
        None => Ok(()),
    }
}

/// That a tunnel which is declared does not run.
pub(super) fn idle(pattern: &Pattern) -> Failure {
    Failure::new(ExitStatus::Failed, format!("tunnel `{pattern}` does not run [not-running]"))
        .hint(&format!("`bastion up {pattern}` starts it"))
}

/// Whether a tunnel runs when none is named: the default set, and what belongs to one of the profiles.
pub(super) fn by_default(tunnel: &Tunnel, profiles: &[String]) -> bool {
    tunnel.profiles.is_empty() || profiles.iter().any(|profile| has_profile(tunnel, profile))
}

/// Says which profiles no tunnel belongs to: a variable may name some of another workspace.
pub(super) fn warn_of_profiles(desired: &Desired, profiles: &[String], printer: Printer) {
    for profile in profiles {
        if !desired.tunnels.values().any(|tunnel| has_profile(tunnel, profile)) {
            printer.warn(&format!("no tunnel belongs to the profile `{}`", profile.escape_debug()));
        }
    }
}

fn has_profile(tunnel: &Tunnel, profile: &str) -> bool {
    tunnel.profiles.iter().any(|name| name.as_str() == profile)
}

fn none(pattern: &Pattern, known: &[&Name]) -> Failure {
    let mut known: Vec<&str> = known.iter().map(|name| name.as_str()).collect();
    known.sort_unstable();
    known.dedup();
    let hint = match nearest(pattern.as_str(), known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "it has none".to_owned(),
        None if known.len() > LISTED => format!("it has {}", known.len()),
        None => format!("it has: {}", known.join(", ")),
    };
    let what = format!("there is no tunnel `{pattern}` in this workspace [unknown-tunnel]");
    Failure::new(ExitStatus::Usage, what).hint(&hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(all: &[&str]) -> Vec<Name> {
        all.iter().map(|name| Name::new(name).unwrap()).collect()
    }

    #[test]
    fn patterns_are_sorted_by_what_runs() {
        let (running, declared) = (names(&["web", "web-2"]), names(&["web", "web-2", "db"]));
        let typed = ["w*".to_owned(), "db".to_owned()];
        let picked = pick(patterns(&typed).unwrap(), &running, || Some(declared)).unwrap();
        assert_eq!(picked.running, patterns(&typed[..1]).unwrap());
        assert_eq!(picked.idle, patterns(&typed[1..]).unwrap());
        // Nobody reads the files when every name is known without them.
        let read = || panic!("the files were read");
        assert!(pick(patterns(&typed[..1]).unwrap(), &running, read).unwrap().idle.is_empty());
        assert!(pick(Vec::new(), &running, read).unwrap().running.is_empty());
    }

    #[test]
    fn what_means_nothing_is_a_mistake() {
        let failure = pick(patterns(&["pgae".to_owned()]).unwrap(), &names(&["page"]), || None).unwrap_err();
        assert_eq!(failure.status, ExitStatus::Usage);
        assert!(format!("{failure:?}").contains("did you mean `page`?"), "{failure:?}");
        let nobody_knows = pick(patterns(&["pgae".to_owned()]).unwrap(), &[], || None).unwrap();
        assert_eq!(nobody_knows.idle.len(), 1);
    }
}
