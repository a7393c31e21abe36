//! Finding the workspace's file, and reading it.

use std::path::{Path, PathBuf};

use super::settings::Settings;
use super::{ExitStatus, Failure, refuse};
use crate::config::{self, Layer, LayerKind, Loaded, Source, Variables};
use crate::model::{Desired, printable};
use crate::sys::files;
use crate::ui::Printer;

/// The file's name where none is given.
const FILE: &str = "bastion.toml";

/// Finds, reads and checks the workspace's file; every mistake in it is shown.
pub(super) fn load(settings: &Settings, printer: Printer) -> Result<Desired, Failure> {
    let path = match &settings.file {
        Some(path) => path.clone(),
        None => find(settings.home.as_deref())?,
    };
    let text =
        files::read_text(&path, config::MAX_BYTES as u64).map_err(|error| unreadable(&path, &error))?;
    refuse_layers(&path)?;
    let directory = std::path::absolute(&path)
        .ok()
        .and_then(|path| path.parent().map(Path::to_owned))
        .unwrap_or_default();
    let default_name =
        directory.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let layers = [Layer { kind: LayerKind::Workspace, path: &path.to_string_lossy(), text: &text }];
    let source = Source { layers: &layers, default_name: &default_name, variables: &Variables::default() };
    let Loaded { desired, diagnostics, warnings: _, values: _ } = config::load(&source);
    for diagnostic in &diagnostics {
        printer.report(&diagnostic.render(&source, printer.colors()));
        printer.report("");
    }
    let Some(mut desired) = desired else {
        let number = diagnostics.len();
        let mistakes = if number == 1 { "1 mistake".to_owned() } else { format!("{number} mistakes") };
        return Err(Failure::new(
            ExitStatus::Usage,
            format!("{} has {mistakes}; nothing was started", shown(&path)),
        ));
    };
    if let Some(log) = &mut desired.emulation.log {
        *log = below(&directory, log)?;
    }
    Ok(desired)
}

/// A file below the workspace's directory: a link on the way must not lead out of it.
fn below(directory: &Path, file: &Path) -> Result<PathBuf, Failure> {
    let path = directory.join(file);
    let inside = match (path.parent().map(Path::canonicalize), directory.canonicalize()) {
        (Some(Ok(parent)), Ok(directory)) => parent.starts_with(directory),
        _ => false,
    };
    if inside {
        return Ok(path);
    }
    let what = format!("`log` of `[emulator]`: {} is not in a directory below the workspace", shown(file));
    Err(Failure::new(ExitStatus::Usage, what)
        .hint("name a file in an existing directory beside bastion.toml"))
}

/// Layers over the file are promised and not built: refused, never ignored.
fn refuse_layers(path: &Path) -> Result<(), Failure> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let local = path.with_file_name(format!("{stem}.local.toml"));
    refuse(&shown(&local), local.symlink_metadata().is_ok())
}

/// Walks up from the current directory. Stops at the home directory and at the border of the file system, and does
/// not believe a file that someone else put there.
fn find(home: Option<&Path>) -> Result<PathBuf, Failure> {
    let start = std::env::current_dir().map_err(|error| {
        Failure::new(ExitStatus::Failed, format!("finding the current directory: {error}"))
    })?;
    for directory in start.ancestors() {
        let candidate = directory.join(FILE);
        if candidate.symlink_metadata().is_ok() {
            for owned in [directory, candidate.as_path()] {
                if !files::is_ours(owned) {
                    let what = format!("{} belongs to another user, so it is not used", shown(owned));
                    let hint = "a file says where connections go: name it with `-f` if you trust it";
                    return Err(Failure::new(ExitStatus::Usage, what).hint(hint));
                }
            }
            // Shown as short as it can be.
            return Ok(candidate.strip_prefix(&start).map(Path::to_owned).unwrap_or(candidate));
        }
        let Some(parent) = directory.parent() else { break };
        if Some(directory) == home || !files::same_file_system(directory, parent) {
            break;
        }
    }
    let what = format!("there is no {FILE} in {} or in the directories above it", shown(&start));
    Err(Failure::new(ExitStatus::Usage, what).hint("`-f FILE` names one; `bastion tunnel` needs none"))
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the system's list of errors is open")]
fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    let why = match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::InvalidData => "it is not UTF-8 text".to_owned(),
        std::io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        _ => error.to_string(),
    };
    Failure::new(ExitStatus::Usage, format!("reading {}: {why}", shown(path)))
}

/// A path for messages: whoever named a directory must not write to the terminal with it.
fn shown(path: &Path) -> String {
    printable(&path.to_string_lossy(), 400)
}
