//! Reading the layers, and loading what they say.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use super::{LOCAL, ReadError, Workspace};
use crate::config::{self, Layer, LayerKind, Loaded, Source, Variables};
use crate::model::{AzCurrent, Cloud, printable};
use crate::sys::files;

/// The longest file of authorities that is read.
const MOST_AUTHORITIES: u64 = 4 << 20;
const CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// The files of a workspace as they were at one time.
#[derive(Clone, Debug)]
pub struct Files {
    workspace: Workspace,
    read: Vec<Text>,
    /// The directory's name.
    default_name: String,
}

/// One file.
#[derive(Clone, Debug)]
struct Text {
    kind: LayerKind,
    shown: String,
    text: String,
}

impl Workspace {
    /// Reads all layers: the user's own configuration, the file, the environment's layer and the personal one.
    ///
    /// # Errors
    /// When a layer that has to be there is not, when one cannot be read, or belongs to another user.
    pub fn read(&self) -> Result<Files, ReadError> {
        let mut read: Vec<Text> = self.read_user()?.into_iter().collect();
        if self.user_config.as_ref() == Some(&self.file) {
            return Ok(Files { workspace: self.clone(), read, default_name: String::new() });
        }
        // It was looked at when it was found, and may have been replaced since.
        let trusted = self.named || (files::is_ours(&self.file) && files::is_ours(&self.directory));
        check(&self.file, &self.shown, trusted)?;
        read.push(text(LayerKind::Workspace, &self.file, &self.shown)?);
        if let Some(environment) = &self.environment {
            let layer = self.layer(LayerKind::Environment, environment.as_str())?;
            read.push(layer.ok_or_else(|| ReadError::NoEnvironment {
                environment: environment.clone(),
                path: self.beside(&self.shown, environment.as_str()),
                known: self.environments().unwrap_or_default(),
            })?);
        }
        read.extend(self.layer(LayerKind::Local, LOCAL)?);
        let name = self.directory.file_name();
        let default_name = name.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Files { workspace: self.clone(), read, default_name })
    }

    fn read_user(&self) -> Result<Option<Text>, ReadError> {
        let Some(path) = self.user_config.as_ref().filter(|path| there(path)) else { return Ok(None) };
        check(path, path, files::is_ours(path))?;
        text(LayerKind::User, path, path).map(Some)
    }

    /// A path of the user's own configuration: in the home directory, or from where that file is.
    fn authorities(&self, path: &Path) -> PathBuf {
        let home = path.strip_prefix("~").ok().zip(self.home.as_ref());
        let directory = self.user_config.as_deref().and_then(Path::parent);
        match (home, directory) {
            (Some((rest, home)), _) => home.join(rest),
            (None, Some(directory)) => directory.join(path),
            (None, None) => path.to_owned(),
        }
    }

    /// A layer beside the file, if it is there.
    fn layer(&self, kind: LayerKind, name: &str) -> Result<Option<Text>, ReadError> {
        let path = self.beside(&self.file, name);
        if !there(&path) {
            return Ok(None);
        }
        let shown = self.beside(&self.shown, name);
        // Whoever named a file of somebody else's trusts that one, and its layers too.
        let trusted = files::is_ours(&path) || (self.named && files::same_owner(&path, &self.file));
        check(&path, &shown, trusted)?;
        text(kind, &path, &shown).map(Some)
    }
}

/// A link that leads nowhere is there: that it is broken is said, not passed over.
fn there(path: &Path) -> bool {
    match path.symlink_metadata() {
        Ok(_) => true,
        Err(error) => !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory),
    }
}

/// Refuses a file that is not to be believed. One that cannot be looked at, such as the end of a broken link, is
/// nobody's: then that is what is wrong with it.
fn check(path: &Path, shown: &Path, trusted: bool) -> Result<(), ReadError> {
    if trusted {
        return Ok(());
    }
    let path_shown = shown.to_owned();
    Err(match path.metadata() {
        Ok(_) => ReadError::Foreign { path: path_shown },
        Err(source) => ReadError::Unreadable { path: path_shown, source },
    })
}

fn text(kind: LayerKind, path: &Path, shown: &Path) -> Result<Text, ReadError> {
    let text = files::read_text(path, config::MAX_BYTES as u64)
        .map_err(|source| ReadError::Unreadable { path: shown.to_owned(), source })?;
    Ok(Text { kind, shown: shown.to_string_lossy().into_owned(), text })
}

impl Files {
    /// The workspace whose files these are.
    pub fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    /// The same files read as those of another linked worktree.
    #[must_use]
    pub fn in_worktree(self, number: u16) -> Self {
        Self { workspace: self.workspace.in_worktree(number), ..self }
    }

    /// Every path whose appearance, change or disappearance may change what the workspace says.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.workspace.paths()
    }

    /// The variables that the user's own configuration names: it may name any.
    pub fn mentioned(&self) -> BTreeSet<String> {
        let user = self.read.iter().filter(|file| file.kind == LayerKind::User);
        user.flat_map(|file| config::mentioned(&file.text)).collect()
    }

    /// Whether the workspace's own file says nothing at all.
    pub fn is_blank(&self) -> bool {
        let own = self.read.iter().find(|file| file.kind == LayerKind::Workspace);
        own.is_some_and(|file| file.text.trim().is_empty())
    }

    /// The files as layers.
    pub fn layers(&self) -> Vec<Layer<'_>> {
        let files = self.read.iter();
        files.map(|file| Layer { kind: file.kind, path: &file.shown, text: &file.text }).collect()
    }

    /// What is to be loaded, and what its diagnostics are rendered with.
    pub fn source<'a>(
        &'a self,
        layers: &'a [Layer<'a>],
        variables: &'a Variables,
        az: &'a AzCurrent,
    ) -> Source<'a> {
        let worktree = self.workspace.worktree;
        Source { layers, default_name: &self.default_name, worktree, variables, az }
    }

    /// Checks what the files say. Paths in it are absolute, and below the workspace.
    pub fn load(&self, variables: &Variables, az: &AzCurrent) -> Loaded {
        let layers = self.layers();
        let mut loaded = config::load(&self.source(&layers, variables, az));
        if let Some(log) = loaded.desired.as_mut().and_then(|desired| desired.emulation.log.as_mut()) {
            let path = self.workspace.directory.join(&*log);
            if below(&self.workspace.directory, &path) {
                *log = path;
            } else {
                let log = printable(&log.to_string_lossy(), 400);
                let message =
                    format!("`log` of `[emulator]`: {log} is not in a directory below the workspace");
                let help = "name a file in an existing directory beside bastion.toml";
                loaded.refuse("emulator.log", &message, "leads out of it, or nowhere", help);
            }
        }
        self.find_authorities(&mut loaded);
        loaded
    }

    /// Makes the paths of files with certificate authorities absolute, and looks at those that will be read.
    fn find_authorities(&self, loaded: &mut Loaded) {
        let place = &self.workspace;
        if let Some(path) = &mut loaded.network.ca_file {
            *path = place.authorities(path);
            let path = path.clone();
            look_at("network.ca_file", &path, loaded);
        }
        for cloud in &mut loaded.clouds {
            cloud.ca_file = cloud.ca_file.as_ref().map(|path| place.authorities(path));
        }
        if let Some(Cloud::Defined(cloud)) = loaded.desired.as_mut().map(|desired| &mut desired.cloud) {
            cloud.ca_file = cloud.ca_file.as_ref().map(|path| place.authorities(path));
        }
        let named = loaded.desired.as_ref().map(|desired| desired.cloud.name().to_owned());
        // Only where somebody goes is looked at: another cloud's file may be missing.
        let Some(name) = place.cloud.clone().or(named) else { return };
        let cloud = loaded.clouds.iter().find(|cloud| cloud.name.as_str() == name);
        if let Some(path) = cloud.and_then(|cloud| cloud.ca_file.clone()) {
            look_at(&cloud_key(&name), &path, loaded);
        }
    }
}

/// The key of a cloud's `ca_file`, as values have it.
fn cloud_key(name: &str) -> String {
    let part = if name.contains('.') { format!("\"{name}\"") } else { name.to_owned() };
    format!("clouds.{part}.ca_file")
}

/// Refuses a file that no certificate can be read from.
fn look_at(key: &str, path: &Path, loaded: &mut Loaded) {
    let why = match files::read(path, MOST_AUTHORITIES) {
        Ok(text) if text.windows(CERTIFICATE.len()).any(|part| part == CERTIFICATE) => return,
        Ok(_) => "it holds no certificate in PEM".to_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => "there is no such file".to_owned(),
        Err(error) => error.to_string(),
    };
    let shown = printable(&path.to_string_lossy(), 400);
    let message = format!("no certificate authority can be read from {shown}");
    let help = "name a PEM file; `~/…` is in your home, another path leads from the directory of your own configuration";
    loaded.refuse_ca_file(key, &message, &why, help);
}

/// Whether a file is below a directory: a link on the way must not lead out of it.
fn below(directory: &Path, file: &Path) -> bool {
    match (file.parent().map(Path::canonicalize), directory.canonicalize()) {
        (Some(Ok(parent)), Ok(directory)) => parent.starts_with(directory),
        _ => false,
    }
}
