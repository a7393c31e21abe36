//! A real program that copies a large file through one tunnel, while everything else in the file is edited.

use tokio::task::JoinSet;

use super::{Scene, closed, free_port, greeted, live};
use crate::env::TestEnv;
use crate::pattern;
use crate::process::succeed;
use crate::programs::sshd::Sshd;
use crate::programs::{HEAVY, TRANSFER, require};

const COPY: u64 = 48 << 20;
/// In KiB a second: slow enough that all edits usually come within one copy.
const RATE: u32 = 16 << 10;

/// The tunnel that the copies go through, with all that it needs.
fn ssh(sshd: &Sshd, tunnels: &str) -> String {
    format!(
        "{tunnels}ssh = \"0 -> ssh:22\"\n[targets.ssh]\nvm = \"vm-ssh\"\n[emulator.targets.ssh]\n22 = \"{}\"\n",
        sshd.address
    )
}

#[tokio::test]
async fn scp_notices_nothing_of_any_edit() {
    if !require("edits under scp", &["sshd", "ssh", "scp", "ssh-keygen"]) {
        return;
    }
    let _alone = HEAVY.lock().await;
    let keys = TestEnv::new();
    let sshd = Sshd::start(&keys).await;
    let [p, q, r] = [free_port(), free_port(), free_port()];
    let a = |port: u16, target: &str| format!("a = \"{port} -> {target}:7\"\n");
    let b = |port: u16| format!("b = \"{port} -> two:7\"\n");
    let scene = Scene::start(&ssh(&sshd, &a(p, "one"))).await;
    let port = scene.port("ssh").await;
    pattern::write(&keys.path("here"), COPY);
    let copy = |copies: &mut JoinSet<Vec<u8>>| {
        copies.spawn(succeed(sshd.slow_scp(&keys, port, RATE, "here", ":there"), TRANSFER));
    };
    let mut copies = JoinSet::new();
    copy(&mut copies);
    let mut copied = 0;

    let edits = [
        ("moved", a(q, "one"), q, "one"),
        ("moved back", a(p, "one"), p, "one"),
        ("added", a(p, "one") + &b(q), q, "two"),
        ("swapped", a(q, "one") + &b(p), p, "two"),
        ("a chain", a(p, "one") + &b(r), p, "one"),
        ("retargeted", a(p, "three") + &b(r), p, "three"),
        ("handed over", format!("c = \"{p} -> one:7\"\n{}", b(r)), p, "one"),
        ("removed and added", a(q, "one"), q, "one"),
    ];
    for (what, tunnels, port, server) in edits {
        let saved = scene.edit(&ssh(&sshd, &tunnels));
        drop(live(port, server, saved, what).await);
        // Who is faster than all edits copies again: each edit comes while a copy is under way.
        if let Some(done) = copies.try_join_next() {
            done.unwrap();
            copied += 1;
            copy(&mut copies);
        }
    }
    closed(p).await;
    closed(r).await;
    // Mistakes, and no file at all.
    scene.save("[tunnels");
    scene.until("that it is refused", |status| status.rejected.clone()).await;
    std::fs::remove_file(scene.env.path("bastion.toml")).unwrap();
    scene.until("that it is missed", |s| s.rejected.clone().filter(|why| why.contains("no such file"))).await;
    drop(greeted(q).await.unwrap());
    let saved = scene.edit(&ssh(&sshd, &a(p, "two")));
    drop(live(p, "two", saved, "after mistakes").await);

    copied += 1;
    copies.join_next().await.unwrap().unwrap();
    println!("{copied} copies of {} MiB under all these edits", COPY >> 20);
    pattern::check_file(&keys.path("there"), COPY);
    assert_eq!(scene.port("ssh").await, port);
    assert_eq!(scene.sessions_of("vm-ssh"), copied + 1, "one for each copy, and one for the proof");
    scene.env.finish(scene.up).await;
}
