//! Which files belong to a workspace.

use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::config::{LayerKind, Variables};
use crate::model::AzCurrent;

/// A directory `orders` with these files in it.
fn place(files: &[(&str, &str)]) -> (TempDir, PathBuf) {
    let root = TempDir::new().unwrap();
    let directory = root.path().join("orders");
    std::fs::create_dir(&directory).unwrap();
    for (name, text) in files {
        std::fs::write(directory.join(name), text).unwrap();
    }
    (root, directory)
}

fn named(file: &Path, environment: Option<&str>) -> Result<Workspace, FindError> {
    let environment = environment.map(|name| Name::new(name).unwrap());
    Workspace::find(&Where { file: Some(file.to_owned()), environment, ..Where::default() })
}

#[test]
fn the_layers_of_a_file_are_named_after_it() {
    let (_root, directory) = place(&[
        ("hub.toml", "[azure]\ncloud = \"emulator\"\n"),
        ("hub.prod.toml", ""),
        ("hub.local.toml", ""),
        ("bastion.local.toml", "nonsense"),
        ("user.toml", ""),
    ]);
    let file = directory.join("hub.toml");
    let mut workspace = named(&file, Some("prod")).unwrap();
    assert_eq!((workspace.directory(), workspace.file()), (&*directory, &*file));
    workspace.user_config = Some(directory.join("user.toml"));
    let files = workspace.read().unwrap();
    let kinds: Vec<_> = files.layers().iter().map(|layer| layer.kind).collect();
    assert_eq!(kinds, [LayerKind::User, LayerKind::Workspace, LayerKind::Environment, LayerKind::Local]);
    let expected =
        ["user.toml", "hub.toml", "hub.prod.toml", "hub.local.toml"].map(|name| directory.join(name));
    assert_eq!(files.paths(), expected);
    assert_eq!(
        files.load(&Variables::default(), &AzCurrent::SignedOut).desired.unwrap().workspace.as_str(),
        "orders"
    );
}

#[test]
fn paths_are_followed_before_there_is_anything() {
    let (_root, directory) = place(&[("bastion.toml", "")]);
    let workspace = named(&directory.join("bastion.toml"), None).unwrap();
    let expected = ["bastion.toml", "bastion.local.toml"].map(|name| directory.join(name));
    assert_eq!(workspace.paths(), expected);
    assert_eq!(workspace.read().unwrap().layers().len(), 1);
    let gone = named(&directory.join("gone.toml"), None).unwrap();
    assert!(matches!(gone.read(), Err(ReadError::Unreadable { .. })));
    assert_eq!(gone.paths().len(), 2);
}

#[test]
fn environments_are_found_beside_the_file() {
    let (_root, directory) = place(&[
        ("bastion.toml", ""),
        ("bastion.prod.toml", ""),
        ("bastion.eu-west.toml", ""),
        ("bastion.local.toml", ""),
        ("bastion.prod.local.toml", ""),
        ("bastion..toml", ""),
        ("bastion.not a name.toml", ""),
        ("bastion.toml.bak", ""),
        ("other.dev.toml", ""),
    ]);
    let workspace = named(&directory.join("bastion.toml"), None).unwrap();
    let names: Vec<_> = workspace.environments().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(names, ["eu-west", "prod"]);
    let nowhere = workspace.with_environment(Some(Name::new("dev").unwrap())).read().unwrap_err();
    assert_eq!(nowhere.hint().unwrap(), "there are: eu-west, prod");
    assert!(workspace.with_environment(Some(Name::new("prod").unwrap())).read().is_ok());
    for local in ["local", "LOCAL", "dev.local"] {
        assert!(matches!(named(Path::new("bastion.toml"), Some(local)), Err(FindError::Local)), "{local}");
    }
}

#[test]
fn a_layer_that_cannot_be_read_is_not_passed_over() {
    let (_root, directory) = place(&[("bastion.toml", "")]);
    std::fs::create_dir(directory.join("bastion.local.toml")).unwrap();
    let error = named(&directory.join("bastion.toml"), None).unwrap().read().unwrap_err();
    assert!(error.to_string().ends_with("bastion.local.toml: it is a directory"), "{error}");
}

#[test]
fn the_log_stays_below_the_workspace() {
    let text = "[azure]\ncloud = \"emulator\"\n[emulator]\nlog = \"logs/x.jsonl\"\n";
    let (_root, directory) = place(&[("bastion.toml", text)]);
    let files = named(&directory.join("bastion.toml"), None).unwrap().read().unwrap();
    let loaded = files.load(&Variables::default(), &AzCurrent::SignedOut);
    let codes: Vec<_> = loaded.diagnostics.iter().map(|found| found.code).collect();
    assert_eq!((codes, loaded.desired), (vec!["invalid-value"], None));
    let place = loaded.diagnostics[0].labels[0].range.clone();
    assert_eq!(&text[place], "\"logs/x.jsonl\"");
    std::fs::create_dir(directory.join("logs")).unwrap();
    let desired = files.load(&Variables::default(), &AzCurrent::SignedOut).desired.unwrap();
    assert_eq!(desired.emulation.log.unwrap(), directory.join("logs/x.jsonl"));
}

#[test]
fn a_file_has_one_name_whichever_directory_it_is_named_from() {
    let (_root, directory) = place(&[("bastion.toml", "")]);
    let sub = directory.join("sub");
    std::fs::create_dir(&sub).unwrap();
    let file = directory.join("bastion.toml");
    for way in [sub.join("../bastion.toml"), sub.join("../../orders/sub/.././bastion.toml")] {
        let found = named(&way, None).unwrap();
        assert_eq!((found.file(), found.directory()), (&*file, &*directory), "{}", way.display());
    }
    #[cfg(unix)]
    {
        // What is above a link's end is not what is above the link; other links stay as they were found.
        let elsewhere = directory.join("link");
        std::os::unix::fs::symlink(std::env::temp_dir(), &elsewhere).unwrap();
        let above = std::env::temp_dir().canonicalize().unwrap().parent().unwrap().join("bastion.toml");
        assert_eq!(named(&elsewhere.join("../bastion.toml"), None).unwrap().file(), above);
        assert_eq!(named(&elsewhere.join("bastion.toml"), None).unwrap().directory(), elsewhere);
    }
}
