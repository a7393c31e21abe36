//! What `up` says while it runs: a line for what a tunnel has come to, what an edit changed, and once that all is ready.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{broadcast, watch};

use super::Format;
use crate::control::{Status, TunnelEvent as Wire};
use crate::model::{Name, Reason, State, TunnelEvent, TunnelStatus};
use crate::supervisor::{Declaration, Handle};
use crate::sys::clock;
use crate::ui::{Printer, safe_json, safe_lines};

/// Says what happens.
pub(super) struct Telling {
    format: Format,
    printer: Printer,
    /// The file, as it is shown to a person.
    file: String,
    states: BTreeMap<Name, State>,
    /// What was last said of each tunnel.
    said: BTreeMap<Name, Said>,
    /// Tunnels that do not listen where the file says.
    elsewhere: BTreeSet<Name>,
    /// How many were ready and blocked when that was last said.
    told: Option<(usize, usize)>,
    /// Whether a tunnel has become ready or blocked since.
    news: bool,
    /// What Ctrl-C does.
    interrupt: &'static str,
    declaration: Arc<Declaration>,
}

/// More tunnels than these are not listed that wait for the same.
const LISTED: usize = 5;

/// What a line says of a tunnel that the next one need not say again.
#[derive(PartialEq)]
struct Said {
    state: State,
    reason: Option<Reason>,
    listen: Vec<SocketAddr>,
    way: (String, String),
    connections: usize,
}

impl Said {
    fn of(tunnel: &TunnelStatus) -> Self {
        Self {
            state: tunnel.state,
            reason: tunnel.reason.clone(),
            listen: tunnel.listen.clone(),
            way: (tunnel.target.clone(), tunnel.route.clone()),
            // Only what is draining is told with them.
            connections: if tunnel.state == State::Draining { tunnel.connections } else { 0 },
        }
    }
}

/// What happens, one thing after another.
pub(super) struct Happening {
    events: broadcast::Receiver<TunnelEvent>,
    changed: watch::Receiver<u64>,
}

/// One of them.
pub(super) enum News {
    /// Something happened to a tunnel.
    Event(Box<TunnelEvent>),
    /// There was more than could be told.
    Lost,
    /// Something else changed.
    Changed,
}

impl Happening {
    /// The next thing. Cancel-safe.
    pub(super) async fn next(&mut self) -> News {
        tokio::select! {
            biased;
            // What an edit changed is told before what comes of it.
            changed = self.changed.changed() => match changed {
                Ok(()) => News::Changed,
                Err(_ended) => std::future::pending().await,
            },
            event = self.events.recv() => match event {
                Ok(event) => News::Event(Box::new(event)),
                Err(broadcast::error::RecvError::Lagged(_)) => News::Lost,
                // The end comes by another way.
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            },
        }
    }

    /// Whether that was all so far.
    fn is_over(&self) -> bool {
        self.events.is_empty() && !self.changed.has_changed().unwrap_or_default()
    }
}

impl Telling {
    pub(super) fn new(format: Format, printer: Printer, file: String) -> Self {
        let (states, declaration) = (BTreeMap::new(), Arc::default());
        Self {
            format,
            printer,
            file,
            states,
            said: BTreeMap::new(),
            elsewhere: BTreeSet::new(),
            told: None,
            news: false,
            interrupt: "Ctrl-C stops it",
            declaration,
        }
    }

    /// As for an instance in another process.
    pub(super) fn attached(&self) -> Self {
        Self {
            interrupt: "Ctrl-C leaves it running",
            ..Self::new(self.format, self.printer, self.file.clone())
        }
    }

    /// Begins to listen.
    pub(super) fn listen(&self, handle: &Handle) -> Happening {
        Happening { events: handle.events(), changed: handle.changed() }
    }

    /// Tells what has happened; it is summed up when that was the last of it.
    pub(super) fn tell(&mut self, handle: &Handle, news: News, happening: &Happening) {
        match news {
            News::Event(event) => self.event(&event),
            News::Lost => self.whole(handle.status().tunnels),
            News::Changed => self.declaration(handle.declaration()),
        }
        if happening.is_over() {
            self.sum_up();
        }
    }

    fn event(&mut self, event: &TunnelEvent) {
        if self.format == Format::Json {
            self.json(&Wire::from(event.clone()));
        }
        self.tunnel(&event.tunnel);
    }

    /// Nothing has come of some tunnels for a while: says what they wait for.
    pub(super) fn still_waiting(&self, all: &[TunnelStatus]) {
        if self.format == Format::Json {
            return;
        }
        let silent = |tunnel: &&TunnelStatus| !self.said.contains_key(&tunnel.name);
        let silent: Vec<&TunnelStatus> = all.iter().filter(silent).collect();
        for tunnel in silent.iter().take(LISTED) {
            let (name, to, route) = (tunnel.name.as_str(), &tunnel.target, &tunnel.route);
            let what = if tunnel.state == State::Resolving {
                format!("Azure Resource Manager has not said yet what the bastion `{route}` is")
            } else {
                format!("the gateway of `{route}` has not answered yet for {to}")
            };
            self.printer.say(&format!("waiting  {name:<12} {what}"));
        }
        if silent.len() > LISTED {
            self.printer.say(&format!("… and {} more", silent.len() - LISTED));
        }
    }

    /// Something happened to a tunnel of an instance in another process.
    pub(super) fn remote(&mut self, event: Wire, program: &str) {
        if self.format == Format::Json {
            self.json(&event);
        }
        self.tunnel(&event.now.into_model(program, clock::now()));
        self.sum_up();
    }

    /// All that holds of an instance in another process.
    pub(super) fn remote_whole(&mut self, status: Status) {
        let all = status.into_model(clock::now());
        self.declaration(Arc::new(Declaration {
            generation: all.generation,
            workspace: None,
            why: "edit",
            lines: Vec::new(),
            rejected: all.rejected,
            stopping: false,
        }));
        self.whole(all.tunnels);
        self.sum_up();
    }

    /// All tunnels as they are now; those that are as they were are not told again.
    fn whole(&mut self, all: Vec<TunnelStatus>) {
        self.states.retain(|name, _| all.iter().any(|tunnel| tunnel.name == *name));
        for tunnel in all {
            if self.states.get(&tunnel.name) != Some(&tunnel.state) {
                self.tunnel(&tunnel);
            }
        }
    }

    fn json(&self, event: &Wire) {
        // Texts and numbers can always be written. What is not ours must not reach a terminal as it is.
        self.printer.data(&safe_json(&serde_json::to_string(event).unwrap_or_default()));
    }

    fn tunnel(&mut self, tunnel: &TunnelStatus) {
        // Where everything stops, each line would say the same.
        let stopping = self.declaration.stopping && tunnel.state == State::Stopped;
        let said = Said::of(tunnel);
        if self.format == Format::Text && is_worth_a_line(tunnel) && !stopping {
            // A try that fails as the one before did is no news.
            if self.said.get(&tunnel.name) != Some(&said) {
                self.printer.change(tunnel);
            }
            self.said.insert(tunnel.name.clone(), said);
        }
        if (tunnel.state, &tunnel.reason) == (State::Ready, &None) || tunnel.state == State::Stopped {
            self.elsewhere.remove(&tunnel.name);
        } else if tunnel.state == State::Ready {
            self.elsewhere.insert(tunnel.name.clone());
        }
        if tunnel.state == State::Stopped {
            self.states.remove(&tunnel.name);
            self.said.remove(&tunnel.name);
        } else {
            self.states.insert(tunnel.name.clone(), tunnel.state);
        }
        // That others end says nothing of how far the rest has come.
        self.news |= matches!(tunnel.state, State::Ready | State::Blocked);
    }

    fn declaration(&mut self, now: Arc<Declaration>) {
        let before = std::mem::replace(&mut self.declaration, now);
        let now = &self.declaration;
        if now.stopping && !before.stopping {
            self.printer.say("`bastion down` stops it");
        }
        if now.rejected != before.rejected {
            match &now.rejected {
                Some(report) => {
                    self.printer.report(&safe_lines(report));
                    self.printer.report("");
                    self.printer.warn(&format!(
                        "{} cannot be used as it is now; everything stays as it was",
                        self.file
                    ));
                }
                None => self.printer.say(&format!("{} can be used again", self.file)),
            }
        }
        // The first one is what was asked for.
        if now.generation != before.generation && before.generation > 0 {
            let colon = if now.lines.is_empty() { "" } else { ":" };
            let what = match now.why {
                "up" => "More is asked for".to_owned(),
                "reload" => format!("{} was read again", self.file),
                _ => format!("{} was changed", self.file),
            };
            self.printer.say(&format!("{what}{colon}"));
            for line in &now.lines {
                self.printer.say(&format!("  {line}"));
            }
            self.told = None;
        }
    }

    /// Says how far it has come, once nothing more is to be expected of it.
    fn sum_up(&mut self) {
        if !std::mem::take(&mut self.news) || self.declaration.stopping {
            return;
        }
        let count = |state| self.states.values().filter(|s| **s == state).count();
        let going = self.states.values().filter(|state| **state != State::Draining).count();
        let (ready, blocked) = (count(State::Ready), count(State::Blocked));
        if going == 0 || ready + blocked < going || self.told == Some((ready, blocked)) {
            return;
        }
        self.told = Some((ready, blocked));
        match blocked {
            0 if !self.elsewhere.is_empty() => self.printer.say(&format!(
                "Everything is ready, but {} where the file says; {}",
                match self.elsewhere.len() {
                    1 => "one tunnel does not listen".to_owned(),
                    several => format!("{several} tunnels do not listen"),
                },
                self.interrupt
            )),
            0 => self.printer.say(&format!("Everything is ready; {}", self.interrupt)),
            _ => self
                .printer
                .say(&format!("{ready} of {going} tunnels are ready, {blocked} blocked; {}", self.interrupt)),
        }
    }
}

/// Steps on the way to a first result are not: they are over before anybody reads them.
fn is_worth_a_line(tunnel: &TunnelStatus) -> bool {
    match tunnel.state {
        State::Pending | State::Resolving => false,
        State::Connecting => tunnel.reason.is_some(),
        State::Ready | State::Degraded | State::Blocked | State::Draining | State::Stopped => true,
    }
}
