//! An instance between processes: one holds it, and its death, however it comes, frees it.

use std::path::Path;
use std::time::UNIX_EPOCH;

use bastion::instance::{ClaimError, Identity, Lock, Places, Surroundings, holder, list};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::timeout;

use crate::process::PATIENCE;

const HELD: &str = "the instance is held";

fn claim(root: &Path) -> Result<Lock, ClaimError> {
    Lock::claim(&places(root), &identity(), UNIX_EPOCH)
}

fn places(root: &Path) -> Places {
    Places::new(&Surroundings { runtime: None, state: Some(root.to_owned()), temporary: root.to_owned() })
}

fn identity() -> Identity {
    Identity { directory: "/w".into(), file: "bastion.toml".into(), environment: None }
}

/// The other process: it holds the instance below the directory that stands on its standard input, until it is killed.
#[test]
#[ignore = "the other process of the tests here, started by them"]
fn other_process() {
    let mut root = String::new();
    std::io::stdin().read_line(&mut root).unwrap();
    let _lock = claim(Path::new(root.trim_end())).unwrap();
    println!("{HELD}");
    std::io::stdin().read_line(&mut root).unwrap();
}

#[tokio::test]
async fn a_process_that_is_killed_holds_nothing_any_more() {
    let root = tempfile::tempdir().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "--nocapture", "instance::other_process"]);
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).kill_on_drop(true);
    let mut other = command.spawn().unwrap();
    let (mut stdin, stdout) = (other.stdin.take().unwrap(), other.stdout.take().unwrap());
    stdin.write_all(format!("{}\n", root.path().display()).as_bytes()).await.unwrap();
    let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(stdout));
    let held = async {
        while !lines.next_line().await.unwrap().expect("it ended, and never held it").contains(HELD) {}
    };
    timeout(PATIENCE, held).await.unwrap();

    let Err(ClaimError::Held(owner)) = claim(root.path()) else { panic!("two processes hold one instance") };
    assert_eq!(Some(owner.pid), other.id());
    assert_eq!(list(&places(root.path())).unwrap(), [*owner]);
    other.kill().await.unwrap();
    assert_eq!(holder(&places(root.path()), &identity()), None);
    let lock = claim(root.path()).unwrap();
    assert_eq!(lock.owner().pid, std::process::id());
}
