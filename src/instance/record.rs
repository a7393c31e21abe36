//! What stands in an instance's files, and how it is read back: with care, for another release may have written it.

use std::collections::BTreeMap;
use std::path::PathBuf;

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
