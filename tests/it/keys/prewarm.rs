//! `prewarm`: sessions that are granted before a program wants them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use crate::reload::{Scene, Servers, goes_on, greeted};
use crate::server::Server;

const WEB: &str = "web = { listen = 0, target = \"one\", port = 7, prewarm = 2 }\n";

/// Waits until so many sessions were opened for the target `one`, and so many of all are not deleted.
async fn until(scene: &Scene, opened: usize, open: usize) {
    let fits = |_: &[serde_json::Value]| {
        let sessions = scene.env.sessions();
        (scene.sessions_of("vm-one") == opened && sessions.opened - sessions.deleted == open).then_some(())
    };
    scene.env.wait_requests(&format!("{opened} sessions of which {open} are open"), fits).await;
}

#[tokio::test]
async fn the_next_connection_has_a_session_already_and_nothing_is_left() {
    let scene = Scene::start(WEB).await;
    let port = scene.port("web").await;
    // Nobody has used it yet.
    until(&scene, 1, 0).await;
    let (mut first, _) = greeted(port).await.unwrap();
    until(&scene, 4, 3).await;
    let (mut second, _) = greeted(port).await.unwrap();
    goes_on(&mut second).await;
    // One was taken, and one has taken its place.
    until(&scene, 5, 4).await;
    let hub = scene.status().await.bastions.remove(0);
    assert_eq!(hub.sessions, 4, "what is kept counts");
    goes_on(&mut first).await;
    drop((first, second));
    until(&scene, 5, 2).await;
    // Whoever wants none any more has none.
    scene.edit(&WEB.replace("prewarm = 2", "prewarm = 0"));
    scene.up.wait_line(|line| line.ends_with("prewarm 0 instead of 2"), "the change in words").await;
    until(&scene, 5, 0).await;
    scene.env.finish(scene.up).await;
}

#[tokio::test]
async fn what_is_kept_is_deleted_at_the_stop_of_its_tunnel_and_at_the_end() {
    let scene = Scene::start(&format!("{WEB}{}", WEB.replace("web", "more").replace("one", "two"))).await;
    for name in ["web", "more"] {
        drop(greeted(scene.port(name).await).await.unwrap());
    }
    until(&scene, 4, 4).await;
    scene.env.run(&["down", "web"]).await;
    until(&scene, 4, 2).await;
    scene.up.stop().await;
    scene.env.check_sessions();
}

#[tokio::test]
async fn whoever_needs_a_session_now_goes_before_those_that_are_kept() {
    let servers = Servers::start().await;
    let tunnels = format!("{WEB}other = {{ listen = 0, target = \"two\", port = 7 }}\n");
    let text = servers.workspace(&tunnels).replace("[bastions.hub]", "[bastions.hub]\nmax_sessions = 3");
    let scene = Scene::of(servers, &["-v"], |env| env.workspace(&text)).await;
    let (port, other) = (scene.port("web").await, scene.port("other").await);
    let (mut first, _) = greeted(port).await.unwrap();
    until(&scene, 4, 3).await;
    // Sooner than anything that is kept would have been too old.
    let second = timeout(Duration::from_secs(10), greeted(other)).await.expect("a session in time");
    let (mut second, name) = second.unwrap();
    assert_eq!(name, "two");
    goes_on(&mut first).await;
    goes_on(&mut second).await;
    // The last one that is kept is for the tunnel's own next connection.
    let (mut third, _) =
        timeout(Duration::from_secs(10), greeted(port)).await.expect("a session in time").unwrap();
    goes_on(&mut third).await;
    until(&scene, 4, 3).await;
    drop((first, second, third));
    scene.up.stop().await;
    scene.env.check_sessions();
}

#[tokio::test]
async fn a_kept_session_that_is_of_no_use_is_no_failure() {
    let scene = Scene::start(WEB).await;
    let port = scene.port("web").await;
    let (first, _) = greeted(port).await.unwrap();
    until(&scene, 4, 3).await;
    let fault = "[[emulator.faults]]\nphase = \"upgrade\"\ndo = \"503\"\n";
    scene.save(&scene.servers().workspace_with(WEB, fault));
    scene.until("the edit", |status| (status.generation == 2).then_some(())).await;
    let (mut second, _) = greeted(port).await.unwrap();
    goes_on(&mut second).await;
    let web = scene.tunnel("web", |tunnel| tunnel.state == "ready").await;
    assert_eq!(web.last_error, None);
    let said = scene.up.stderr().join("\n");
    assert!(!said.contains("held, trying again"), "{said}");
    drop((first, second));
    scene.up.stop().await;
    scene.env.check_sessions();
}

/// Says how many came before, then sends back what it gets.
async fn counting() -> Server {
    let count = Arc::new(AtomicUsize::new(0));
    Server::start(move |mut stream| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        async move {
            if stream.write_all(format!("{number}\n").as_bytes()).await.is_ok() {
                let (mut from, mut to) = stream.split();
                drop(tokio::io::copy(&mut from, &mut to).await);
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_connection_that_was_dialled_before_has_what_the_target_said() {
    let counting = counting().await;
    let servers = Servers::start().await;
    let tunnel = "two = { listen = 0, port = 9, prewarm = 2, prewarm_dial = true }\n";
    let place = format!("two = {{ 9 = \"{}\", 7 =", counting.address);
    let text = servers.workspace(tunnel).replace("two = { 7 =", &place);
    let scene = Scene::of(servers, &["-v"], |env| env.workspace(&text)).await;
    let port = scene.port("two").await;
    let (mut first, name) = greeted(port).await.unwrap();
    assert_eq!(name, "0");
    // As many as are wanted are open: one of its own, and two that nobody uses yet.
    let fits = |_: &[serde_json::Value]| (scene.env.sessions().opened == 4).then_some(());
    scene.env.wait_requests("a probe's session, one in use and two that are kept", fits).await;
    let upgrades = |requests: &[serde_json::Value]| {
        let upgraded = requests.iter().filter(|request| request["kind"] == "upgrade").count();
        (upgraded == 3).then_some(())
    };
    scene.env.wait_requests("three WebSockets", upgrades).await;
    let (mut second, name) = greeted(port).await.unwrap();
    assert_eq!(name, "1", "the oldest that is kept");
    goes_on(&mut first).await;
    goes_on(&mut second).await;
    drop((first, second));
    scene.up.stop().await;
    scene.env.check_sessions();
}
