//! The repository as text, and how a broken law is told.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A rule of the house and why it is one; printed whole when it is broken.
pub(crate) struct Law {
    pub(crate) rule: &'static str,
    pub(crate) reason: &'static str,
}

/// One place that breaks a law.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Breach {
    pub(crate) path: String,
    /// Counted from 1; 0 where the whole file is meant.
    pub(crate) line: usize,
    pub(crate) what: String,
}

impl Breach {
    pub(crate) fn new(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, what: what.into() }
    }
}

impl Law {
    /// Every place, then the rule and its reason.
    pub(crate) fn report(&self, breaches: &[Breach]) -> String {
        let mut text = String::from("\n");
        for breach in breaches {
            match breach.line {
                0 => text.push_str(&format!("  {}: {}\n", breach.path, breach.what)),
                line => text.push_str(&format!("  {}:{line}: {}\n", breach.path, breach.what)),
            }
        }
        text + &format!("\nrule:   {}\nreason: {}\n", self.rule, self.reason)
    }
}

/// A text file, by its path from the repository's root (with `/` on every system).
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// All text files of the repository.
pub(crate) struct Tree {
    pub(crate) root: PathBuf,
    pub(crate) files: Vec<File>,
}

/// What a checkout contains besides the repository.
const NOT_OURS: [&str; 4] = [".git", "target", ".bastion", "node_modules"];
/// Nothing written by hand is as long as this.
const LONGEST: u64 = 1 << 20;

impl Tree {
    /// Reads the checkout that this test was compiled from.
    pub(crate) fn read() -> io::Result<Self> {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let mut files = Vec::new();
        walk(&root, &root, &mut files)?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self { root, files })
    }

    /// A tree that breaks every law by being unreadable.
    #[expect(clippy::panic, reason = "a test that cannot read the repository has nothing to check")]
    pub(crate) fn unreadable(error: &io::Error) -> Self {
        panic!("the repository cannot be read: {error}")
    }

    /// Every Rust file of the program.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &File> {
        self.rust().filter(|f| f.path.starts_with("src/"))
    }

    /// Every Rust file.
    pub(crate) fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|f| f.path.ends_with(".rs"))
    }

    pub(crate) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|f| f.path == path)
    }

    /// A file's text; empty when there is no such file, which the laws about papers report.
    pub(crate) fn text(&self, path: &str) -> &str {
        self.file(path).map_or("", |f| f.text.as_str())
    }

    /// Whether a file or a folder is there, by its path from the root.
    pub(crate) fn exists(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }
}

fn walk(root: &Path, folder: &Path, files: &mut Vec<File>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if NOT_OURS.iter().any(|skip| name == *skip) {
            continue;
        }
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() {
            walk(root, &path, files)?;
        } else if kind.is_file() && entry.metadata()?.len() < LONGEST {
            let Ok(text) = String::from_utf8(fs::read(&path)?) else { continue };
            let relative = path.strip_prefix(root).unwrap_or(&path);
            let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
            files.push(File { path: parts.join("/"), text });
        }
    }
    Ok(())
}

#[test]
fn a_report_names_place_rule_and_reason() {
    let law = Law { rule: "no x", reason: "x hurts" };
    let report = law.report(&[Breach::new("a.rs", 3, "x"), Breach::new("b.rs", 0, "y")]);
    assert_eq!(report, "\n  a.rs:3: x\n  b.rs: y\n\nrule:   no x\nreason: x hurts\n");
}
