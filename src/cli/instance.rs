//! The running instance, as its socket shows it: what others ask is handed to the supervisor, in its words.

use std::time::Duration;

use tokio::sync::{broadcast, watch};

use super::nearest;
use super::stop::GRACE;
use crate::control::{About, Answer, Answering, Instance, Refused, Request};
use crate::model::{self, GrantKind, Name, Status};
use crate::supervisor::{Applied, Handle, Refusal, Rejected, Setting};

/// More names than these are not listed.
const LISTED: usize = 20;

/// A running instance.
pub(super) struct Running {
    pub(super) about: About,
    pub(super) handle: Handle,
}

impl Instance for Running {
    fn about(&self) -> About {
        // An edit may have renamed it.
        let workspace = self.handle.declaration().workspace.as_ref().map(ToString::to_string);
        let about = self.about.clone();
        About { workspace: workspace.unwrap_or_else(|| about.workspace.clone()), ..about }
    }

    fn status(&self) -> Status {
        self.handle.status()
    }

    fn events(&self) -> broadcast::Receiver<model::TunnelEvent> {
        self.handle.events()
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.handle.changed()
    }

    fn ask(&self, request: Request) -> Answering<'_> {
        Box::pin(self.answer(request))
    }
}

impl Running {
    async fn answer(&self, request: Request) -> Result<Answer, Refused> {
        let handle = &self.handle;
        match request {
            Request::Up { tunnels, profiles, variables, az, allow } => {
                let setting = Setting { variables, az, ..Setting::default() }.allowing(kinds(&allow)?);
                handle.up(tunnels, profiles, setting).await.map(applied).map_err(refused)
            }
            Request::Down { tunnels, now } => {
                let grace = if now { Duration::ZERO } else { GRACE };
                let whole = tunnels.is_empty();
                let stopping =
                    if whole { handle.stop(grace).await } else { handle.down(tunnels, grace).await };
                let waiting = stopping.map_err(refused)?;
                let waiting = waiting.into_iter().map(|(name, count)| (name.to_string(), count));
                Ok(Answer::Stopping { waiting: waiting.collect(), whole })
            }
            Request::Reload { variables, az } => {
                let setting = Setting { variables, az, ..Setting::default() };
                handle.reload(setting).await.map(applied).map_err(refused)
            }
            Request::Plan { variables, az } => {
                let setting = Setting { variables, az, ..Setting::default() };
                let Applied { lines, changes, .. } = handle.plan(setting).await.map_err(refused)?;
                Ok(Answer::Plan { lines: lines.iter().map(ToString::to_string).collect(), changes })
            }
            Request::Prove { tunnels } => handle.prove(tunnels).await.map(|()| Answer::Done).map_err(refused),
        }
    }
}

/// The kinds of grants by their words.
pub(super) fn kinds(words: &[String]) -> Result<Vec<GrantKind>, Refused> {
    let kind = |word: &String| {
        let known = GrantKind::ALL.iter().find(|kind| kind.word() == word);
        known.copied().ok_or_else(|| {
            let words: Vec<&str> = GrantKind::ALL.iter().map(|kind| kind.word()).collect();
            let what = format!("nothing of the kind `{}` can be allowed", word.escape_debug());
            Refused::new("bad-request", what, Some(&format!("the kinds are: {}", words.join(", "))))
        })
    };
    words.iter().map(kind).collect()
}

fn applied(applied: Applied) -> Answer {
    let Applied { generation, started, lines, changes: _ } = applied;
    Answer::Applied {
        generation,
        started: started.iter().map(Name::to_string).collect(),
        lines: lines.iter().map(ToString::to_string).collect(),
    }
}

/// A refusal in words.
pub(super) fn refused(refusal: Refusal) -> Refused {
    match refusal {
        Refusal::Rejected(Rejected { code, what, hint, report }) => {
            Refused { code: code.to_owned(), what, hint, report }
        }
        Refusal::Unknown { name, known } => unknown(&name, &known),
        Refusal::Stopping => Refused::new("stopping", "the instance is stopping", None),
    }
}

/// A name that no tunnel has, with the nearest that one has.
pub(super) fn unknown(name: &str, known: &[Name]) -> Refused {
    let words = || known.iter().map(Name::as_str);
    let hint = match nearest(name, words()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.len() > LISTED => format!("there are {} tunnels", known.len()),
        None => format!("there are: {}", words().collect::<Vec<_>>().join(", ")),
    };
    let what = format!("there is no tunnel `{}` in this workspace", name.escape_debug());
    Refused::new("unknown-tunnel", what, Some(&hint))
}
