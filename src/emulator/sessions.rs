//! Sessions: granted by the token exchange, used by one WebSocket, gone when they are deleted and not before.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::net::Ipv4Addr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::access::hex;
use crate::model::{BastionTraits, Endpoint};

/// How many sessions there were and are, and what clients did wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionCounts {
    /// Granted so far.
    pub opened: u64,
    /// Deleted by a client so far.
    pub deleted: u64,
    /// Gone with the node that they lived on.
    pub lost: u64,
    /// Granted, and neither deleted nor lost.
    pub live: u64,
    /// WebSockets open now.
    pub streams: u64,
    /// Rules that clients broke, in order; the newest thousand.
    pub violations: Vec<String>,
    /// Rules that clients bent, and faults that could not be; the newest thousand.
    pub warnings: Vec<String>,
}

/// What a session leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) endpoint: Endpoint,
    pub(super) port: u16,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.endpoint, self.port)
    }
}

/// What the token exchange answers.
#[derive(Clone, Debug)]
pub(super) struct Grant {
    pub(super) number: u64,
    pub(super) auth_token: String,
    pub(super) websocket_token: String,
    pub(super) node: String,
}

/// What an upgrade gets.
#[derive(Clone, Debug)]
pub(super) struct Admission {
    pub(super) number: u64,
    pub(super) node: String,
    pub(super) place: Place,
    pub(super) end: SessionEnd,
}

/// How a session's WebSocket learns that the session is no more.
#[derive(Clone, Debug, Default)]
pub(super) struct SessionEnd {
    /// Cancelled when the session is deleted.
    pub(super) deleted: CancellationToken,
    /// Cancelled when its node vanishes.
    pub(super) lost: CancellationToken,
}

/// Why an upgrade does not get in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No such token.
    Unknown,
    /// It is an authToken (G16).
    AuthToken,
    /// Used before (G18).
    Used,
    /// Too old (G18).
    Expired,
    /// Never used, and its session is gone: a client that gives up deletes it while its upgrade is still on the way.
    Gone,
}

/// What became of a deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Deletion {
    Done(u64),
    /// Another node, or none, was named.
    WrongNode(u64),
    Unknown,
}

/// Every session of an emulator.
pub(super) struct Sessions {
    table: Mutex<Table>,
    life: Duration,
}

struct Table {
    /// By authToken.
    live: HashMap<String, Session>,
    /// authToken by websocketToken.
    tickets: HashMap<String, String>,
    /// Unused websocketTokens of sessions that are gone; the newest thousand.
    gone: VecDeque<String>,
    /// The nodes of every bastion, in turn (G14); always two.
    nodes: [String; 2],
    /// What the next node's address ends with.
    next_node: u32,
    opened: u64,
    deleted: u64,
    lost: u64,
    streams: u64,
    violations: VecDeque<String>,
    warnings: VecDeque<String>,
}

struct Session {
    number: u64,
    bastion: usize,
    node: String,
    place: Place,
    ticket: String,
    issued: Instant,
    used: bool,
    end: SessionEnd,
}

impl Sessions {
    /// No sessions; a websocketToken will be good for `life`.
    pub(super) fn new(life: Duration) -> Self {
        let table = Table {
            live: HashMap::new(),
            tickets: HashMap::new(),
            gone: VecDeque::new(),
            nodes: [node(0), node(1)],
            next_node: 2,
            opened: 0,
            deleted: 0,
            lost: 0,
            streams: 0,
            violations: VecDeque::new(),
            warnings: VecDeque::new(),
        };
        Self { table: Mutex::new(table), life }
    }

    /// Grants a session, unless as many are open on this bastion as it may have, or it is a shared one and has some of
    /// another machine.
    pub(super) fn grant(&self, bastion: usize, traits: &BastionTraits, place: Place) -> Option<Grant> {
        let mut table = self.table();
        let limit = traits.max_sessions;
        let open = || table.live.values().filter(|s| s.bastion == bastion);
        let other = traits.sku.is_shared() && open().any(|s| s.place.endpoint != place.endpoint);
        if other || (limit != 0 && open().count() >= limit) || table.live.len() >= MOST {
            return None;
        }
        table.opened += 1;
        table.nodes.rotate_left(1);
        let [node, _] = table.nodes.clone();
        let auth_token = hex(&rand::random::<[u8; 32]>());
        let ticket = ticket();
        let session = Session {
            number: table.opened,
            bastion,
            node: node.clone(),
            place,
            ticket: ticket.clone(),
            issued: Instant::now(),
            used: false,
            end: SessionEnd::default(),
        };
        let number = session.number;
        table.live.insert(auth_token.clone(), session);
        table.tickets.insert(ticket.clone(), auth_token.clone());
        Some(Grant { number, auth_token, websocket_token: ticket, node })
    }

    /// Goes on with a session that this node knows: same authToken, new websocketToken (G13).
    pub(super) fn renew(&self, bastion: usize, auth: &str, node: &str, place: Place) -> Option<Grant> {
        let mut table = self.table();
        let table = &mut *table;
        let session = table.live.get_mut(auth).filter(|s| s.bastion == bastion && s.node == node)?;
        table.tickets.remove(&session.ticket);
        session.ticket = ticket();
        session.issued = Instant::now();
        session.used = false;
        session.place = place;
        table.tickets.insert(session.ticket.clone(), auth.to_owned());
        Some(Grant {
            number: session.number,
            auth_token: auth.to_owned(),
            websocket_token: session.ticket.clone(),
            node: session.node.clone(),
        })
    }

    /// Takes a websocketToken, which is good once.
    pub(super) fn admit(&self, bastion: usize, ticket: &str) -> Result<Admission, Refusal> {
        let mut table = self.table();
        let table = &mut *table;
        if table.live.contains_key(ticket) {
            return Err(Refusal::AuthToken);
        }
        if table.gone.iter().any(|gone| gone == ticket) {
            return Err(Refusal::Gone);
        }
        let auth = table.tickets.get(ticket).ok_or(Refusal::Unknown)?;
        let session = table.live.get_mut(auth).filter(|s| s.bastion == bastion).ok_or(Refusal::Unknown)?;
        if session.used {
            return Err(Refusal::Used);
        }
        session.used = true;
        if session.issued.elapsed() > self.life {
            return Err(Refusal::Expired);
        }
        Ok(Admission {
            number: session.number,
            node: session.node.clone(),
            place: session.place.clone(),
            end: session.end.clone(),
        })
    }

    /// Where a session leads, for a deletion's target filter.
    pub(super) fn place(&self, bastion: usize, auth: &str) -> Option<Place> {
        self.table().live.get(auth).filter(|s| s.bastion == bastion).map(|s| s.place.clone())
    }

    /// Deletes a session; its WebSocket closes.
    pub(super) fn delete(&self, bastion: usize, auth: &str, node: Option<&str>) -> Deletion {
        let mut table = self.table();
        let Some(session) = table.live.get(auth).filter(|s| s.bastion == bastion) else {
            return Deletion::Unknown;
        };
        if node != Some(session.node.as_str()) {
            return Deletion::WrongNode(session.number);
        }
        let Some(session) = table.live.remove(auth) else { return Deletion::Unknown };
        session.end.deleted.cancel();
        table.deleted += 1;
        let number = session.number;
        table.forget(session);
        Deletion::Done(number)
    }

    /// Takes a node away with everything on it, and puts a new one in its place (G42).
    pub(super) fn vanish(&self, name: &str) -> usize {
        let mut table = self.table();
        let table = &mut *table;
        let Some(place) = table.nodes.iter_mut().find(|node| *node == name) else { return 0 };
        *place = node(table.next_node);
        table.next_node = table.next_node.wrapping_add(1);
        let gone: Vec<Session> =
            table.live.extract_if(|_, session| session.node == name).map(|(_, session)| session).collect();
        let count = gone.len();
        for session in gone {
            session.end.lost.cancel();
            table.lost += 1;
            table.forget(session);
        }
        count
    }

    /// Takes away every node that there is. How many sessions were on them?
    pub(super) fn vanish_all(&self) -> usize {
        let nodes: Vec<String> = self.table().nodes.to_vec();
        nodes.iter().map(|node| self.vanish(node)).sum()
    }

    /// Whether a bastion holds a session.
    pub(super) fn any_on(&self, bastion: usize) -> bool {
        self.table().live.values().any(|session| session.bastion == bastion)
    }

    /// Counts a WebSocket for as long as the guard lives.
    pub(super) fn stream(&self) -> StreamGuard<'_> {
        self.table().streams += 1;
        StreamGuard(self)
    }

    pub(super) fn note(&self, violations: &[String], warnings: &[String]) {
        if violations.is_empty() && warnings.is_empty() {
            return;
        }
        let mut table = self.table();
        let table = &mut *table;
        for (kept, new) in [(&mut table.violations, violations), (&mut table.warnings, warnings)] {
            kept.extend(new.iter().cloned());
            let surplus = kept.len().saturating_sub(NOTES);
            kept.drain(..surplus);
        }
    }

    pub(super) fn counts(&self) -> SessionCounts {
        let table = self.table();
        SessionCounts {
            opened: table.opened,
            deleted: table.deleted,
            lost: table.lost,
            live: table.opened - table.deleted - table.lost,
            streams: table.streams,
            violations: table.violations.iter().cloned().collect(),
            warnings: table.warnings.iter().cloned().collect(),
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// The websocketToken of a session that is gone opens nothing.
    fn forget(&mut self, session: Session) {
        self.tickets.remove(&session.ticket);
        if !session.used {
            self.gone.push_back(session.ticket);
            let surplus = self.gone.len().saturating_sub(NOTES);
            self.gone.drain(..surplus);
        }
    }
}

/// See [`Sessions::stream`].
pub(super) struct StreamGuard<'a>(&'a Sessions);

impl Drop for StreamGuard<'_> {
    fn drop(&mut self) {
        self.0.table().streams -= 1;
    }
}

/// A websocketToken with every character that escaping can get wrong: `%2F` tells who decodes twice (G19).
fn ticket() -> String {
    let part = || hex(&rand::random::<[u8; 8]>());
    format!("{}/{}%2F{}+{}", part(), part(), part(), part())
}

/// The address of a node: the first ones of a subnet that Azure does not keep for itself, and so on.
fn node(number: u32) -> String {
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 1, 4).to_bits().wrapping_add(number)).to_string()
}

/// A client that never deletes must not fill the memory.
const MOST: usize = 10_000;
const NOTES: usize = 1_000;
