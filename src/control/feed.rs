//! What happens, told one thing after another: first all that holds, then each change.
//!
//! A reader that is too slow misses steps and never the outcome: where events were lost, all that holds is told again.

use std::sync::Arc;

use axum::response::sse::Event;
use serde::Serialize;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

use super::{Instance, wire};
use crate::model;

/// One reader's view.
pub(super) struct Feed {
    instance: Arc<dyn Instance>,
    events: broadcast::Receiver<model::TunnelEvent>,
    changed: watch::Receiver<u64>,
    stop: CancellationToken,
    /// What the last whole status said of the declared set; none: it is to be told.
    told: Option<Edition>,
    ended: bool,
}

/// What makes a whole status worth telling again.
type Edition = (u64, Option<String>);

impl Feed {
    pub(super) fn new(instance: Arc<dyn Instance>, stop: CancellationToken) -> Self {
        // Before the first status is taken, so that nothing falls between.
        let (events, changed) = (instance.events(), instance.changed());
        Self { instance, events, changed, stop, told: None, ended: false }
    }

    /// The next thing to tell; none after the end.
    pub(super) async fn next(&mut self) -> Option<Event> {
        if self.ended {
            return None;
        }
        if self.told.is_none() {
            return Some(self.whole(self.instance.status()));
        }
        loop {
            tokio::select! {
                biased;
                event = self.events.recv() => return Some(match event {
                    Ok(event) => said("tunnel", &wire::TunnelEvent::from(event)),
                    Err(broadcast::error::RecvError::Lagged(_)) => {
                        // What is still queued is older than the status.
                        self.events = self.events.resubscribe();
                        self.whole(self.instance.status())
                    }
                    Err(broadcast::error::RecvError::Closed) => self.end(),
                }),
                () = self.stop.cancelled() => return Some(self.end()),
                changed = self.changed.changed() => {
                    if changed.is_err() {
                        return Some(self.end());
                    }
                    let status = self.instance.status();
                    if self.told.as_ref() != Some(&(status.generation, status.rejected.clone())) {
                        return Some(self.whole(status));
                    }
                }
            }
        }
    }

    fn whole(&mut self, mut status: model::Status) -> Event {
        self.told = Some((status.generation, status.rejected.clone()));
        // Nobody has looked up who they are.
        status.tunnels.iter_mut().for_each(|tunnel| tunnel.held.clear());
        said("status", &wire::status(&self.instance.about(), status))
    }

    fn end(&mut self) -> Event {
        self.ended = true;
        said("end", &serde_json::json!({}))
    }
}

fn said(kind: &str, what: &impl Serialize) -> Event {
    // Only a map whose keys are no texts cannot be written, and there is none.
    Event::default().event(kind).data(serde_json::to_string(what).unwrap_or_default())
}
