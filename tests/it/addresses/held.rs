//! Connections that wait are named in `status`: from where, and by which program.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use tokio::net::TcpStream;

use crate::reload::{Scene, greeted, is_ready};

#[tokio::test]
async fn who_waits_is_named_and_the_rest_is_counted() {
    let tunnels = "a = { listen = 0, target = \"one\", port = 7, max_connections = 1 }\n";
    let scene = Scene::start(tunnels).await;
    let at: SocketAddr = scene.tunnel("a", is_ready).await.listen[0].parse().unwrap();
    let (served, _) = greeted(at.port()).await.unwrap();
    let mut waiting = Vec::new();
    for _ in 0..10 {
        waiting.push(TcpStream::connect(at).await.unwrap());
    }
    let count = |tunnel: &bastion::control::TunnelStatus| {
        tunnel.waiting.iter().map(|waiting| waiting.count).sum::<u64>()
    };
    let a = scene.tunnel("a", |a| count(a) == 10).await;
    let told: BTreeSet<String> = a.held.iter().map(|held| held.from.clone()).collect();
    let ours: BTreeSet<String> = waiting.iter().map(|one| one.local_addr().unwrap().to_string()).collect();
    assert!(told.len() == 8 && told.is_subset(&ours), "{told:?} {ours:?}");
    for held in &a.held {
        assert_eq!((&*held.reason, &*held.to), ("connections", &*at.to_string()));
        let pid = cfg!(target_os = "linux").then(std::process::id);
        assert_eq!((held.pid, held.program.is_some()), (pid, pid.is_some()), "{held:?}");
    }
    let status = scene.env.run(&["status"]).await;
    let status = String::from_utf8(status.stdout).unwrap();
    if cfg!(target_os = "linux") {
        let named = format!(" (process {}, 8 connections); and 2 more", std::process::id());
        assert!(status.contains("  waiting: ") && status.contains(&named), "{status}");
    } else {
        assert!(status.contains("  waiting: one from 127.0.0.1:"), "{status}");
    }
    // Each has its turn; whoever was served or is gone is told of no more.
    drop((served, waiting));
    let a = scene.tunnel("a", |a| count(a) == 0).await;
    assert_eq!(a.held, []);
    scene.env.finish(scene.up).await;
}
