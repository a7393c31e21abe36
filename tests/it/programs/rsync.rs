//! rsync over SSH through a tunnel: the trees are equal afterwards.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::sshd::Sshd;
use super::{TRANSFER, found, require};
use crate::env::TestEnv;
use crate::pattern;
use crate::process::succeed;

#[tokio::test]
async fn rsync_makes_trees_equal_both_ways() {
    if !require("rsync", &["sshd", "ssh", "ssh-keygen", "rsync"]) {
        return;
    }
    let env = TestEnv::new();
    let sshd = Sshd::start(&env).await;
    env.forward("ssh", 22, sshd.address, "");
    let up = env.up(&[]);
    let port = up.address("ssh").await.port();
    plant(&env);
    let (here, away) = (env.path("here"), format!("{}@127.0.0.1:{}", sshd.user, env.path("there").display()));
    let sync = |from: String, to: String| {
        let mut rsync = env.command(found("rsync"));
        rsync.args(["-a", "--itemize-changes", "-e", &Sshd::shell(&env, port)]).args([from, to]);
        succeed(rsync, TRANSFER)
    };
    let slash = |path: &std::path::Path| format!("{}/", path.display());
    sync(slash(&here), format!("{away}/")).await;
    sync(format!("{away}/"), slash(&env.path("back"))).await;
    // By content, mode, time and link, not only by size and time.
    for other in ["there", "back"] {
        let mut compare = env.command(found("rsync"));
        compare.args(["-a", "--checksum", "--delete", "--dry-run", "--itemize-changes"]);
        compare.args([slash(&here), slash(&env.path(other))]);
        assert_eq!(String::from_utf8_lossy(&succeed(compare, TRANSFER).await), "", "{other} differs");
    }
    // Nothing to do is seen through the tunnel as well.
    assert_eq!(String::from_utf8_lossy(&sync(slash(&here), format!("{away}/")).await), "");
    env.finish(up).await;
}

/// 321 files in 17 directories: empty, small, one of 20 MiB, a program, a link.
fn plant(env: &TestEnv) {
    for directory in 0..16 {
        let directory = env.path("here").join(format!("d{directory}/inner"));
        std::fs::create_dir_all(&directory).unwrap();
        for file in 0..20_u16 {
            std::fs::write(
                directory.join(format!("f {file}")),
                pattern::bytes(97 * u64::from(file), 311 * usize::from(file)),
            )
            .unwrap();
        }
    }
    pattern::write(&env.path("here/large"), 20 << 20);
    let mode = std::fs::Permissions::from_mode(0o741);
    std::fs::set_permissions(env.path("here/d3/inner/f 7"), mode).unwrap();
    symlink("d3/inner", env.path("here/link")).unwrap();
}
