//! Why a workspace was not found or not read, and what mends it.

use std::io;
use std::path::{Path, PathBuf};

use crate::model::{Name, printable};

/// Why there is no workspace.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// The system does not say where we are.
    #[error("finding the current directory: {0}")]
    CurrentDirectory(#[source] io::Error),
    /// There is no file.
    #[error("there is no bastion.toml in {} or in the directories above it", shown(start))]
    None {
        /// Where the walk began.
        start: PathBuf,
    },
    /// The nearest one is not to be believed.
    #[error("{} belongs to another user, so it is not used", shown(path))]
    Foreign {
        /// What belongs to somebody else: the file or its directory.
        path: PathBuf,
    },
    /// An environment that cannot be.
    #[error("no environment can be called `local`")]
    Local,
}

impl FindError {
    /// What mends it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::CurrentDirectory(_) => None,
            Self::None { .. } => Some("`-f FILE` names one; `bastion tunnel` needs none"),
            Self::Foreign { .. } => {
                Some("a file says where connections go: name it with `-f` if you trust it")
            }
            Self::Local => Some("bastion.local.toml is the personal layer: it is always read"),
        }
    }
}

/// Why the files of a workspace could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// One of them.
    #[error("reading {}: {}", shown(path), why(source))]
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A layer that is not to be believed.
    #[error("{} belongs to another user, so it is not used", shown(path))]
    Foreign {
        /// Which one.
        path: PathBuf,
    },
    /// No file for the environment.
    #[error("there is no environment `{environment}`: {} does not exist", shown(path))]
    NoEnvironment {
        /// The one that was asked for.
        environment: Name,
        /// Its file.
        path: PathBuf,
        /// Those that there are.
        known: Vec<Name>,
    },
}

impl ReadError {
    /// What mends it.
    pub fn hint(&self) -> Option<String> {
        /// More names than these are not listed.
        const LISTED: usize = 20;
        match self {
            Self::Unreadable { .. } => None,
            Self::Foreign { .. } => {
                Some("a layer says where connections go: remove it, or make it your own".to_owned())
            }
            Self::NoEnvironment { known, .. } if known.is_empty() => {
                Some("this workspace has no environments; a file of that name would make one".to_owned())
            }
            Self::NoEnvironment { known, .. } => {
                let names: Vec<&str> = known.iter().take(LISTED).map(Name::as_str).collect();
                let more = if known.len() > LISTED { ", …" } else { "" };
                Some(format!("there are: {}{more}", names.join(", ")))
            }
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the system's list of errors is open")]
fn why(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::InvalidData => "it is not UTF-8 text".to_owned(),
        io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        _ => error.to_string(),
    }
}

/// A path for messages: whoever named a directory must not write to the terminal with it.
fn shown(path: &Path) -> String {
    printable(&path.to_string_lossy(), 400)
}
