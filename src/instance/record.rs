//! What stands in an instance's files, and how it is read back: with care, for another release may have written it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use crate::model::{Grant, GrantKind, Name};

/// Who holds an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Owner {
    /// The edition of this file's form.
    pub version: u32,
    /// The release of the program.
    pub program: String,
    /// The process.
    pub pid: u32,
    /// The workspace's directory.
    pub directory: String,
    /// The workspace's file in it.
    pub file: String,
    /// The environment, when one was chosen.
    pub environment: Option<String>,
    /// Since when (RFC 3339, UTC).
    pub started: String,
    /// Where it listens.
    pub socket: PathBuf,
}

impl Owner {
    /// The workspace's file with its directory.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(&self.directory).join(&self.file)
    }
}

/// The edition of all files' form.
pub(super) const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
pub(super) struct GrantsFile {
    version: u32,
    /// For whoever looks into the file.
    workspace: String,
    granted: Vec<GrantLine>,
}

#[derive(Serialize, Deserialize)]
struct GrantLine {
    kind: String,
    what: String,
}

impl GrantsFile {
    pub(super) fn new(workspace: String, grants: impl Iterator<Item = Grant>) -> Self {
        let granted = grants.map(|grant| GrantLine { kind: grant.kind.word().to_owned(), what: grant.what });
        Self { version: VERSION, workspace, granted: granted.collect() }
    }

    /// What it grants that this release knows; `Err` holds an edition that is not ours.
    pub(super) fn grants(self) -> Result<Vec<Grant>, u32> {
        if self.version != VERSION {
            return Err(self.version);
        }
        let known = |line: GrantLine| {
            let kind = GrantKind::ALL.iter().find(|kind| kind.word() == line.kind)?;
            Some(Grant { kind: *kind, what: line.what })
        };
        Ok(self.granted.into_iter().filter_map(known).collect())
    }
}

/// The first line of a journal: whose it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct JournalHead {
    pub(super) version: u32,
    /// The workspace's file; empty for a tunnel without one.
    pub(super) workspace: String,
    pub(super) environment: Option<String>,
}

/// A line of a journal.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum JournalLine {
    #[serde(rename_all = "camelCase")]
    Granted {
        id: u64,
        at: u64,
        cloud: String,
        host: String,
        node_id: Option<String>,
        auth_token: String,
    },
    Gone {
        gone: u64,
    },
    Head(NewerHead),
}

/// The first line, where something stands before it.
#[derive(Serialize, Deserialize)]
struct NewerHead {
    version: u32,
}

/// A session as it is written down: all that its deletion needs, and nothing else.
#[derive(Clone)]
pub struct Left {
    /// Which Azure it is in, by a word that only whoever wrote it understands.
    pub cloud: String,
    /// The gateway, with its port where it is not 443. Not checked yet.
    pub host: String,
    /// The node that holds it.
    pub node_id: Option<String>,
    /// Names it for its deletion.
    pub auth_token: SecretString,
}

impl std::fmt::Debug for Left {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { cloud, host, node_id, auth_token: _ } = self;
        f.debug_struct("Left")
            .field("cloud", cloud)
            .field("host", host)
            .field("node_id", node_id)
            .finish_non_exhaustive()
    }
}

/// What a line of a journal says.
pub(super) enum Said {
    /// A session was granted, or still in use, at this time (seconds since 1970).
    Granted { id: u64, at: u64, left: Left },
    /// It is deleted.
    Gone(u64),
    /// Whose journal it is; perhaps of another edition.
    Head(JournalHead),
}

/// The line of a session.
pub(super) fn granted_line(id: u64, at: u64, left: &Left) -> Vec<u8> {
    line(&JournalLine::Granted {
        id,
        at,
        cloud: left.cloud.clone(),
        host: left.host.clone(),
        node_id: left.node_id.clone(),
        auth_token: left.auth_token.expose_secret().to_owned(),
    })
}

/// The line of a session that is deleted.
pub(super) fn gone_line(id: u64) -> Vec<u8> {
    line(&JournalLine::Gone { gone: id })
}

/// The first line.
pub(super) fn head_line(head: &JournalHead) -> Vec<u8> {
    line(head)
}

/// Reads a line; none when it is garbage.
pub(super) fn read_line(text: &[u8]) -> Option<Said> {
    Some(match serde_json::from_slice(text).ok()? {
        JournalLine::Granted { id, at, cloud, host, node_id, auth_token } => {
            Said::Granted { id, at, left: Left { cloud, host, node_id, auth_token: auth_token.into() } }
        }
        JournalLine::Gone { gone } => Said::Gone(gone),
        JournalLine::Head(NewerHead { version }) => {
            let head = serde_json::from_slice(text).unwrap_or_default();
            Said::Head(JournalHead { version, ..head })
        }
    })
}

fn line(value: &impl Serialize) -> Vec<u8> {
    // Texts and numbers: there is nothing in it that JSON could not say.
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line
}

/// The ports that were chosen.
#[derive(Serialize, Deserialize)]
pub(super) struct PortsFile {
    version: u32,
    /// For whoever looks into the file.
    workspace: String,
    environment: Option<String>,
    ports: BTreeMap<String, u16>,
}

impl PortsFile {
    pub(super) fn new(workspace: String, environment: Option<&Name>, ports: &BTreeMap<Name, u16>) -> Self {
        let ports = ports.iter().map(|(name, port)| (name.to_string(), *port)).collect();
        Self { version: VERSION, workspace, environment: environment.map(Name::to_string), ports }
    }

    /// The ports by tunnel; `None`: another release wrote them.
    pub(super) fn ports(self) -> Option<BTreeMap<Name, u16>> {
        let port =
            |(name, port): (String, u16)| Some((Name::new(&name).ok()?, port)).filter(|(_, port)| *port != 0);
        (self.version == VERSION).then(|| self.ports.into_iter().filter_map(port).collect())
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct WorktreesFile {
    version: u32,
    /// For whoever looks into the file.
    repository: String,
    worktrees: Vec<WorktreeLine>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct WorktreeLine {
    pub(super) number: u16,
    /// Where it is.
    pub(super) path: String,
    /// What git keeps about it.
    pub(super) git: String,
}

impl WorktreesFile {
    pub(super) fn new(repository: String, worktrees: Vec<WorktreeLine>) -> Self {
        Self { version: VERSION, repository, worktrees }
    }

    /// The worktrees; `None`: another release wrote them.
    pub(super) fn worktrees(self) -> Option<Vec<WorktreeLine>> {
        (self.version == VERSION).then_some(self.worktrees)
    }
}
