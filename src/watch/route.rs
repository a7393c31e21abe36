//! The way to a file: every link that is followed, and the directories in which a change of the way would be seen.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use crate::sys::files::{self, Stamp};

/// How many links are followed before a way is taken for a circle, as systems do.
const LINKS: usize = 40;

/// What is to be watched for some files, and what holds of it at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Route {
    /// The files themselves, the links on the way to them, and the first thing that is absent.
    pub(super) points: BTreeSet<PathBuf>,
    /// The directories that the points are in.
    pub(super) directories: BTreeSet<PathBuf>,
    /// What each point was.
    stamps: Vec<Stamp>,
}

impl Route {
    /// Goes the way to each of the files.
    pub(super) fn find<'a>(files: impl Iterator<Item = &'a PathBuf>) -> Self {
        let mut route = Self::default();
        for file in files {
            route.go(file);
        }
        route.stamps = route.points.iter().map(|point| files::stamp(point)).collect();
        route
    }

    /// The points that are files of their own, to be watched besides their directories.
    pub(super) fn files(&self) -> BTreeSet<PathBuf> {
        let points = self.points.iter().zip(&self.stamps).filter(|(_, stamp)| stamp.is_plain_file());
        points.map(|(point, _)| point.clone()).filter(|_| files::WATCHES_FILES_THEMSELVES).collect()
    }

    fn go(&mut self, file: &Path) {
        let mut real = PathBuf::new();
        let mut ahead: VecDeque<Part> = parts(file).collect();
        let mut links = 0;
        while let Some(part) = ahead.pop_front() {
            let name = match part {
                Part::Root(root) => {
                    real = root;
                    continue;
                }
                Part::Up => {
                    // Above the root is the root.
                    let _at_root = real.pop();
                    continue;
                }
                Part::Name(name) => name,
            };
            let next = real.join(name);
            let metadata = next.symlink_metadata().ok();
            match metadata {
                Some(metadata) if metadata.is_symlink() && links < LINKS => {
                    links += 1;
                    self.mind(&next, &real);
                    let target = next.read_link().unwrap_or_default();
                    for part in parts(&target).collect::<Vec<_>>().into_iter().rev() {
                        ahead.push_front(part);
                    }
                }
                Some(metadata) if metadata.is_dir() && !ahead.is_empty() => real = next,
                // The end of the way, or where it is cut off.
                _ => return self.mind(&next, &real),
            }
        }
    }

    fn mind(&mut self, point: &Path, directory: &Path) {
        self.points.insert(point.to_owned());
        // The links of the system's own root (on macOS, `/tmp` is one) do not change.
        if directory.parent().is_some() || !point.is_symlink() {
            self.directories.insert(directory.to_owned());
        }
    }
}

enum Part {
    Root(PathBuf),
    Up,
    Name(OsString),
}

fn parts(path: &Path) -> impl Iterator<Item = Part> {
    let mut prefix = None;
    path.components().filter_map(move |component| match component {
        Component::Prefix(found) => {
            prefix = Some(found.as_os_str().to_owned());
            None
        }
        Component::RootDir => {
            let mut root = prefix.take().map(PathBuf::from).unwrap_or_default();
            root.push(component);
            Some(Part::Root(root))
        }
        Component::CurDir => None,
        Component::ParentDir => Some(Part::Up),
        Component::Normal(name) => Some(Part::Name(name.to_owned())),
    })
}
