//! Who may come near the socket, and what becomes of one that a dead instance left behind.

use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;

use bastion::control::client::Client;
use bastion::control::server;
use tokio::process::Command;

use super::{Stage, socket};
use crate::process::{PATIENCE, output};

#[tokio::test]
async fn a_socket_is_closed_to_others_and_gone_with_its_instance() {
    let mut stage = Stage::new();
    let metadata = stage.path.symlink_metadata().unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    stage.stopped().await;
    assert!(!stage.path.exists());
}

#[tokio::test]
async fn a_socket_that_was_left_behind_is_replaced_and_nothing_else_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = socket(directory.path());
    drop(UnixListener::bind(&path).unwrap());
    assert!(Client::connect(&path).await.unwrap().is_none(), "nobody listens on it");
    let listener = server::bind(&path).unwrap();
    assert!(Client::connect(&path).await.unwrap().is_some());
    drop(listener);
    std::fs::write(&path, "mine").unwrap();
    assert!(server::bind(&path).is_err());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
}

/// Only root can become another user; elsewhere there is nobody to be refused.
#[tokio::test]
async fn another_user_is_turned_away_even_when_the_doors_are_open() {
    let stage = Stage::new();
    let probe = |user: &str| {
        let mut command = Command::new("setpriv");
        command.args([user, "--clear-groups", "curl", "-v", "-sS", "--max-time", "20", "--unix-socket"]);
        command.arg(&stage.path).arg("http://localhost/v1/about");
        command
    };
    let possible = probe("--reuid=0").output().await.is_ok_and(|output| output.status.success());
    if !possible {
        return;
    }
    let open = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(stage.path.parent().unwrap(), open.clone()).unwrap();
    std::fs::set_permissions(&stage.path, open).unwrap();
    let theirs = output(probe("--reuid=65534"), PATIENCE).await;
    let said = String::from_utf8_lossy(&theirs.stderr).into_owned();
    assert!(theirs.stdout.is_empty(), "{}", String::from_utf8_lossy(&theirs.stdout));
    // It came as far as the socket, and was turned away there: no answer (52), a reset (56), or both before it looked (7).
    assert!([Some(7), Some(52), Some(56)].contains(&theirs.status.code()), "{} {said}", theirs.status);
    assert!(!said.contains("Permission denied") && !said.contains("Immediate connect fail"), "{said}");
    stage.client().await.about().await.unwrap();
}
