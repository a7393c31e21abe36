//! The files of a workspace: which ones there are, whose they are, and what they hold.
//!
//! Finding is by walking up from the current directory; it believes no file that another user may have put there.
//! Reading brings all layers together with the paths whose change matters, whether they exist or not, so that somebody
//! can watch them. What the files say is for `config`; nothing is written here, and the environment is not asked.

use std::io;
use std::path::{Component, Path, PathBuf};

use crate::model::Name;
use crate::sys::files;

mod checkout;
mod error;
mod read;

pub use checkout::Checkout;
pub use error::{FindError, ReadError};
pub use read::Files;

/// The file's name where none is given.
const FILE: &str = "bastion.toml";

/// The layer that has this name is personal, and no environment.
const LOCAL: &str = "local";

/// Where to look.
#[derive(Clone, Debug, Default)]
pub struct Where {
    /// The file, if a person named one.
    pub file: Option<PathBuf>,
    /// The environment, if one is meant.
    pub environment: Option<Name>,
    /// The home directory, where the walk stops.
    pub home: Option<PathBuf>,
    /// Where the user's own configuration would be.
    pub user_config: Option<PathBuf>,
}

/// A workspace that was found. Its files may come and go.
#[derive(Clone, Debug)]
pub struct Workspace {
    directory: PathBuf,
    file: PathBuf,
    /// The file as it is shown to a person: as short as it can be, or as it was named.
    shown: PathBuf,
    /// Whether a person named the file, and so trusts it.
    named: bool,
    environment: Option<Name>,
    user_config: Option<PathBuf>,
    home: Option<PathBuf>,
    /// The cloud that is meant, where no file names it.
    cloud: Option<String>,
    /// The number of the git worktree; 0 for the main checkout, and where there is none.
    worktree: u16,
}

impl Workspace {
    /// Finds the workspace's file: the one that is named, or the nearest `bastion.toml` in the current directory and
    /// those above it. The walk stops at the home directory and at the border of the file system.
    ///
    /// # Errors
    /// When there is none, or the nearest belongs, itself or its directory, to another user.
    pub fn find(place: &Where) -> Result<Self, FindError> {
        if place.environment.as_ref().is_some_and(|name| !is_environment(name.as_str())) {
            return Err(FindError::Local);
        }
        let start = std::env::current_dir().map_err(FindError::CurrentDirectory)?;
        let shown = match &place.file {
            Some(file) => file.clone(),
            None => walk(&start, place.home.as_deref())?,
        };
        let file =
            without_dots(&std::path::absolute(start.join(&shown)).map_err(FindError::CurrentDirectory)?);
        Ok(Self {
            directory: file.parent().map(Path::to_owned).unwrap_or_default(),
            file,
            shown,
            named: place.file.is_some(),
            environment: place.environment.clone(),
            user_config: place.user_config.clone(),
            home: place.home.clone(),
            cloud: None,
            worktree: 0,
        })
    }

    /// No workspace: the user's own configuration alone, for commands that need no other file, in the cloud that is
    /// meant. None when there is no place for it.
    pub fn none(place: &Where, cloud: Option<&str>) -> Option<Self> {
        let user_config = place.user_config.clone()?;
        Some(Self {
            directory: user_config.parent().map(Path::to_owned).unwrap_or_default(),
            file: user_config.clone(),
            shown: user_config.clone(),
            named: false,
            environment: None,
            user_config: Some(user_config),
            home: place.home.clone(),
            cloud: cloud.map(str::to_owned),
            worktree: 0,
        })
    }

    /// The directory of the file, as found: links are not followed.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The file itself, with its directory.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The file as it is shown to a person.
    pub fn shown(&self) -> &Path {
        &self.shown
    }

    /// The environment that is meant.
    pub fn environment(&self) -> Option<&Name> {
        self.environment.as_ref()
    }

    /// The environments that there are: each has a file `bastion.ENV.toml` beside the workspace's.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn environments(&self) -> io::Result<Vec<Name>> {
        let prefix = format!("{}.", self.stem());
        let mut all = Vec::new();
        for entry in std::fs::read_dir(&self.directory)? {
            let name = entry?.file_name();
            let word = name.to_str().and_then(|name| name.strip_prefix(&prefix)?.strip_suffix(".toml"));
            all.extend(word.filter(|word| is_environment(word)).and_then(|word| Name::new(word).ok()));
        }
        all.sort();
        Ok(all)
    }

    /// The same workspace in another environment.
    #[must_use]
    pub fn with_environment(&self, environment: Option<Name>) -> Self {
        Self { environment, ..self.clone() }
    }

    /// The linked git worktree that it is in; none in a main checkout, and outside of git.
    pub fn checkout(&self) -> Option<Checkout> {
        checkout::of(&self.directory)
    }

    /// The same workspace in the worktree that has this number.
    #[must_use]
    pub fn in_worktree(self, number: u16) -> Self {
        Self { worktree: number, ..self }
    }

    /// The number of the worktree that it is in.
    pub fn worktree(&self) -> u16 {
        self.worktree
    }

    /// Every path whose appearance, change or disappearance may change what the workspace says.
    pub fn paths(&self) -> Vec<PathBuf> {
        let environment = self.environment.as_ref().map(|name| self.beside(&self.file, name.as_str()));
        let local = self.beside(&self.file, LOCAL);
        let layers = [self.user_config.clone(), Some(self.file.clone()), environment, Some(local)];
        layers.into_iter().flatten().collect()
    }

    /// The path of a layer beside the file: `bastion.local.toml`.
    fn beside(&self, file: &Path, layer: &str) -> PathBuf {
        file.with_file_name(format!("{}.{layer}.toml", self.stem()))
    }

    fn stem(&self) -> String {
        self.file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// The same place without `..`, so that a file has one name whichever directory it is named from. Links stay as they are,
/// but those that are left by a `..`: there, the directory above is not the one that is written.
fn without_dots(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        if part != Component::ParentDir {
            plain.push(part);
            continue;
        }
        if plain.is_symlink() {
            plain = plain.canonicalize().unwrap_or(plain);
        }
        // Above the root is the root.
        let _at_root = plain.pop();
    }
    plain
}

/// Whether a layer of this name is an environment's: the personal layer is not, nor is that of another workspace
/// (`bastion.dev.local.toml` belongs to `bastion.dev.toml`). Some file systems do not tell `LOCAL` from `local`.
fn is_environment(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    !last.eq_ignore_ascii_case(LOCAL)
}

/// Walks up. What is found is shown as short as it can be.
fn walk(start: &Path, home: Option<&Path>) -> Result<PathBuf, FindError> {
    for directory in start.ancestors() {
        let candidate = directory.join(FILE);
        if candidate.symlink_metadata().is_ok() {
            // What is at the end of a link that leads nowhere belongs to nobody; reading it says what is wrong.
            let leads_nowhere = candidate.metadata().is_err() && files::is_our_link(&candidate);
            for (owned, ours) in [
                (directory, files::is_ours(directory)),
                (candidate.as_path(), leads_nowhere || files::is_ours(&candidate)),
            ] {
                if !ours {
                    return Err(FindError::Foreign { path: owned.to_owned() });
                }
            }
            return Ok(candidate.strip_prefix(start).map(Path::to_owned).unwrap_or(candidate));
        }
        let Some(parent) = directory.parent() else { break };
        if Some(directory) == home || !files::same_file_system(directory, parent) {
            break;
        }
    }
    Err(FindError::None { start: start.to_owned() })
}

#[cfg(test)]
mod tests;
