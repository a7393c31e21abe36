//! What every client asked, and what it was told: kept in memory, and written to a file where one is named.
//!
//! No token ever enters an entry: what is masked is masked before it gets here (`redact`), and `Journal::record`
//! looks once more. Memory is bounded: the newest [`KEPT`] entries stay.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{mpsc, watch};

use super::access::AccessTokens;
use super::http::Request;
use super::redact;
use crate::sys::clock;

/// What kind of request an entry is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EntryKind {
    /// A read from ARM.
    Arm,
    /// A sign-in.
    Login,
    /// A question to the broker: `POST /api/connection`.
    Broker,
    /// `GET /api/rdpfile`.
    Rdp,
    /// `POST /api/tokens`.
    Token,
    /// A WebSocket upgrade.
    Upgrade,
    /// `DELETE /api/tokens/…`.
    Delete,
    /// The end of a WebSocket.
    Stream,
    /// A TLS handshake that was refused.
    Handshake,
    /// Something that its owner asked of the emulator itself.
    Admin,
    /// Anything else.
    #[default]
    Other,
}

impl EntryKind {
    /// The kind as it stands in the log file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Arm => "arm",
            Self::Login => "login",
            Self::Broker => "broker",
            Self::Rdp => "rdp",
            Self::Token => "token",
            Self::Upgrade => "upgrade",
            Self::Delete => "delete",
            Self::Stream => "stream",
            Self::Handshake => "handshake",
            Self::Admin => "admin",
            Self::Other => "other",
        }
    }
}

/// One request, or the end of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestEntry {
    /// When it was written down.
    pub time: SystemTime,
    /// What it is about.
    pub kind: EntryKind,
    /// The `Host` header.
    pub host: String,
    /// The method.
    pub method: String,
    /// Path and query, tokens masked.
    pub path: String,
    /// Header names and values, secrets masked.
    pub headers: Vec<(String, String)>,
    /// Form fields, secrets masked.
    pub form: Vec<(String, String)>,
    /// The status that was answered; `None`: no answer was given.
    pub status: Option<u16>,
    /// The node that the session lives on.
    pub node: Option<String>,
    /// The session's number, from 1.
    pub session: Option<u64>,
    /// The target and port that the request was about.
    pub target: Option<String>,
    /// Rules that the client broke, each as `G12: …`.
    pub violations: Vec<String>,
    /// Rules that the client bent, likewise.
    pub warnings: Vec<String>,
    /// The fault that struck.
    pub fault: Option<String>,
    /// Payload from the client, of a stream.
    pub bytes_up: u64,
    /// Payload to the client, of a stream.
    pub bytes_down: u64,
    /// How a stream ended.
    pub end: Option<String>,
}

impl RequestEntry {
    pub(super) fn new(kind: EntryKind) -> Self {
        Self {
            time: clock::now(),
            kind,
            host: String::new(),
            method: String::new(),
            path: String::new(),
            headers: Vec::new(),
            form: Vec::new(),
            status: None,
            node: None,
            session: None,
            target: None,
            violations: Vec::new(),
            warnings: Vec::new(),
            fault: None,
            bytes_up: 0,
            bytes_down: 0,
            end: None,
        }
    }

    pub(super) fn of(kind: EntryKind, request: &Request) -> Self {
        Self {
            host: request.header("host").unwrap_or_default().to_owned(),
            method: request.method.clone(),
            path: redact::target(&request.target),
            headers: redact::headers(&request.headers),
            ..Self::new(kind)
        }
    }

    pub(super) fn violate(&mut self, rule: &str, what: &str) {
        self.violations.push(format!("{rule}: {what}"));
    }

    fn texts(&mut self) -> impl Iterator<Item = &mut String> {
        let pairs = self.headers.iter_mut().chain(&mut self.form).flat_map(|(name, value)| [name, value]);
        [&mut self.host, &mut self.method, &mut self.path].into_iter().chain(pairs)
    }

    fn to_json(&self) -> Value {
        let pairs = |pairs: &[(String, String)]| -> Value {
            pairs.iter().map(|(name, value)| json!([name, value])).collect()
        };
        let time = jiff::Timestamp::try_from(self.time).map(|t| format!("{t:.3}")).unwrap_or_default();
        let mut object = json!({
            "time": time,
            "kind": self.kind.as_str(),
            "host": self.host,
            "method": self.method,
            "path": self.path,
            "headers": pairs(&self.headers),
            "form": pairs(&self.form),
            "status": self.status,
            "node": self.node,
            "session": self.session,
            "target": self.target,
            "violations": self.violations,
            "warnings": self.warnings,
            "fault": self.fault,
        });
        if let (EntryKind::Stream, Some(map)) = (self.kind, object.as_object_mut()) {
            map.insert("bytes_up".to_owned(), json!(self.bytes_up));
            map.insert("bytes_down".to_owned(), json!(self.bytes_down));
            map.insert("end".to_owned(), json!(self.end));
        }
        object
    }
}

/// The newest entries, for whoever watches an emulator from within its process.
#[derive(Clone, Debug)]
pub struct RequestLog {
    entries: Arc<Mutex<VecDeque<RequestEntry>>>,
    changed: watch::Sender<u64>,
}

impl RequestLog {
    pub(super) fn new() -> Self {
        Self { entries: Arc::default(), changed: watch::Sender::new(0) }
    }

    /// What is kept, oldest first.
    pub fn entries(&self) -> Vec<RequestEntry> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Waits until the entries satisfy a condition; `false`: they did not in time.
    ///
    /// The condition is asked again after each new entry, and must not ask this log itself.
    pub async fn wait_for(&self, condition: impl Fn(&[RequestEntry]) -> bool, within: Duration) -> bool {
        let mut changed = self.changed.subscribe();
        let satisfied = || {
            let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
            condition(entries.make_contiguous())
        };
        let wait = async {
            while !satisfied() {
                if changed.changed().await.is_err() {
                    return satisfied();
                }
            }
            true
        };
        tokio::time::timeout(within, wait).await.unwrap_or(false)
    }

    fn push(&self, entry: RequestEntry) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= KEPT {
            drop(entries.pop_front());
        }
        entries.push_back(entry);
        drop(entries);
        self.stir();
    }

    /// Has whoever waits look again.
    pub(super) fn stir(&self) {
        self.changed.send_modify(|n| *n = n.wrapping_add(1));
    }
}

/// Where entries are handed in.
pub(super) struct Journal {
    log: RequestLog,
    file: Mutex<Option<mpsc::Sender<String>>>,
}

impl Journal {
    pub(super) fn new(log: RequestLog, file: Option<mpsc::Sender<String>>) -> Self {
        Self { log, file: Mutex::new(file) }
    }

    /// From here on, entries go to another file, or to none. What was handed in before is still written.
    pub(super) fn turn(&self, file: Option<mpsc::Sender<String>>) {
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = file;
    }

    pub(super) fn log(&self) -> &RequestLog {
        &self.log
    }

    /// Writes an entry down; waits while the file is behind.
    pub(super) async fn record(&self, mut entry: RequestEntry, tokens: &AccessTokens) {
        entry.texts().for_each(|text| tokens.scrub(text));
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(file) = file {
            // The writer only goes when everyone has turned away from it.
            let _gone = file.send(entry.to_json().to_string()).await;
        }
        self.log.push(entry);
    }
}

/// Opens the log file, readable by its owner only: host names and resource IDs are nobody else's business.
pub(super) fn open(path: &Path) -> std::io::Result<tokio::fs::File> {
    Ok(tokio::fs::File::from_std(crate::sys::files::append_private(path)?))
}

/// Appends lines until every sender is gone.
pub(super) async fn write(mut file: tokio::fs::File, path: PathBuf, mut lines: mpsc::Receiver<String>) {
    let mut failed = false;
    let mut batch = Vec::with_capacity(LINES);
    while lines.recv_many(&mut batch, LINES).await > 0 {
        let mut text = batch.join("\n");
        text.push('\n');
        batch.clear();
        let written = async {
            file.write_all(text.as_bytes()).await?;
            file.flush().await
        };
        if let (Err(error), false) = (written.await, failed) {
            failed = true;
            tracing::warn!(path = %path.display(), %error, "could not write the emulator's log");
        }
    }
}

/// How many entries are kept in memory.
pub const KEPT: usize = 10_000;
/// How many lines may wait for the file.
pub(super) const LINES: usize = 256;
