//! What the user allowed a workspace, remembered for the path of its file whatever the environment.
//!
//! Only the user's own state directory says it. A file there that cannot be read, or that others could have written,
//! grants nothing, and that is told.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::record::GrantsFile;
use super::{Places, key_of};
use crate::model::Grant;
use crate::sys::directory::{self, DirectoryError};

/// The most that the file may weigh.
const MOST: u64 = 1024 * 1024;

/// What the user allowed one workspace.
#[derive(Clone, Debug)]
pub struct Grants {
    places: Places,
    workspace: PathBuf,
    path: PathBuf,
    granted: BTreeSet<Grant>,
    problem: Option<String>,
}

/// Why something that the user allowed is not remembered.
#[derive(Debug, thiserror::Error)]
pub enum GrantsError {
    /// There is no safe place for it.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// It cannot be written.
    #[error("remembering what you allowed in `{0}`: {1}")]
    Io(PathBuf, #[source] io::Error),
}

impl Grants {
    /// Reads what was allowed for the workspace whose file this is (absolute, as it was found).
    pub fn load(places: &Places, workspace: &Path) -> Self {
        let path = places.grants().join(key_of(workspace)).with_extension("json");
        let (granted, problem) = match read(&path) {
            Ok(granted) => (granted, None),
            Err(why) => {
                let path = path.display();
                let what = format!("`{path}`, which holds what you allowed, grants nothing: {why}");
                (BTreeSet::new(), Some(what))
            }
        };
        Self { places: places.clone(), workspace: workspace.to_owned(), path, granted, problem }
    }

    /// Whether the user allowed exactly this.
    pub fn contains(&self, grant: &Grant) -> bool {
        self.granted.contains(grant)
    }

    /// Why a file that is there grants nothing. It is told to the user, who may allow again.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Remembers what the user allows besides what was allowed before.
    ///
    /// # Errors
    /// When it cannot be written; it is not granted then.
    pub fn remember(&mut self, grants: &[Grant]) -> Result<(), GrantsError> {
        self.places.prepare_grants()?;
        // Another process may have written since.
        let mut granted = read(&self.path).unwrap_or_default();
        granted.extend(grants.iter().cloned());
        let failed = |error: io::Error| GrantsError::Io(self.path.clone(), error);
        let file = GrantsFile::new(self.workspace.to_string_lossy().into_owned(), granted.iter().cloned());
        let content = serde_json::to_vec_pretty(&file).map_err(|error| failed(error.into()))?;
        drop(directory::replace(&self.path, &content, File::sync_all).map_err(failed)?);
        self.granted = granted;
        self.problem = None;
        Ok(())
    }

    /// Where it is remembered, so that a change of it can be seen. The file may not be there.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn read(path: &Path) -> Result<BTreeSet<Grant>, String> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => return Err(error.to_string()),
    };
    if !directory::is_only_ours(&file) {
        return Err("others can write to it".to_owned());
    }
    let mut content = Vec::new();
    file.take(MOST + 1).read_to_end(&mut content).map_err(|error| error.to_string())?;
    if content.len() as u64 > MOST {
        return Err(format!("it is longer than {MOST} bytes"));
    }
    let file: GrantsFile = serde_json::from_slice(&content)
        .map_err(|error| format!("it is not what was written there: {error}"))?;
    let granted = file.grants().map_err(|version| format!("another release wrote it (edition {version})"))?;
    Ok(granted.into_iter().collect())
}
