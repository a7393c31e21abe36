//! `lazy`: nothing is asked of Azure before the first connection.

use std::time::Duration;

use bastion::control::Request;
use serde_json::Value;

use crate::reload::{Scene, goes_on, greeted, live};

/// Two lazy tunnels, and more.
fn tunnels(keys: &str, more: &str) -> String {
    format!(
        "web = {{ listen = 0, target = \"one\", port = 7, {keys} }}\n\
         other = {{ listen = 0, target = \"two\", port = 7, {keys} }}\n{more}"
    )
}

fn kinds(requests: &[Value]) -> Vec<String> {
    requests.iter().map(|request| request["kind"].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
async fn nothing_is_asked_until_a_program_connects_and_then_for_that_alone() {
    let scene = Scene::start(&tunnels("lazy = true", "")).await;
    let web = scene.tunnel("web", |tunnel| tunnel.state == "ready").await;
    assert!(!web.verified && web.code.is_none(), "{web:?}");
    // Whoever waits for it, or asks for another try, wakes nobody.
    for request in
        [Request::Prove { tunnels: Vec::new() }, Request::Prove { tunnels: vec!["web".to_owned()] }]
    {
        scene.ask(request).await;
    }
    let waited = scene.env.run(&["wait", "--timeout", "20s"]).await;
    assert_eq!(waited.status.code(), Some(0), "{}", String::from_utf8_lossy(&waited.stderr));
    assert_eq!(kinds(&scene.env.requests()), [""; 0]);

    let (mut stream, name) = greeted(scene.port("web").await).await.unwrap();
    assert_eq!(name, "one");
    goes_on(&mut stream).await;
    assert!(scene.tunnel("web", |tunnel| tunnel.verified).await.connections > 0);
    drop(stream);
    let sessions = scene.env.settled().await;
    assert_eq!(sessions.opened, 1, "no probe");
    // It is as any other now: who waits for it has nothing to wait for, and the other one sleeps.
    scene.ask(Request::Prove { tunnels: Vec::new() }).await;
    let other = scene.tunnel("other", |tunnel| tunnel.state == "ready").await;
    assert!(!other.verified);
    assert_eq!((scene.env.sessions().opened, scene.sessions_of("vm-two")), (1, 0));
    scene.env.finish(scene.up).await;
}

#[tokio::test]
async fn a_first_connection_is_held_while_the_way_is_found_and_what_fails_is_shown() {
    let fault = "[[emulator.faults]]\nphase = \"token\"\ndo = \"503\"\ntimes = 2\n";
    let keys = "lazy = true, backoff = { initial = \"100ms\", max = \"100ms\" }";
    let servers = crate::reload::Servers::start().await;
    let text = servers.workspace_with(&tunnels(keys, ""), fault);
    let scene = Scene::of(servers, &["-v"], |env| env.workspace(&text)).await;
    let web = scene.tunnel("web", |tunnel| tunnel.state == "ready").await;
    let port = crate::reload::port(&web);
    let (_stream, name) = greeted(port).await.unwrap();
    assert_eq!(name, "one");
    scene.up.wait_line(|line| line.contains("held, trying again"), "what failed").await;
    scene.tunnel("web", |tunnel| tunnel.state == "ready" && tunnel.verified).await;
    let other = scene.tunnel("other", |tunnel| tunnel.state == "ready").await;
    assert!(!other.verified);
    scene.up.stop().await;
}

#[tokio::test]
async fn an_edit_wakes_what_is_lazy_no_longer_and_lets_none_fall_asleep() {
    let scene = Scene::start(&tunnels("lazy = true", "")).await;
    assert_eq!(kinds(&scene.env.requests()), [""; 0]);
    scene.edit(&tunnels("lazy = false", ""));
    scene.up.wait_line(|line| line.ends_with("lazy false instead of true"), "the change in words").await;
    for name in ["web", "other"] {
        scene.tunnel(name, |tunnel| tunnel.state == "ready" && tunnel.verified).await;
    }
    let edited = scene
        .edit(&tunnels("lazy = true", "new = { listen = 0, target = \"three\", port = 7, lazy = true }"));
    scene.tunnel("new", |tunnel| tunnel.state == "ready" && !tunnel.verified).await;
    let web = scene.tunnel("web", |tunnel| tunnel.state == "ready").await;
    assert!(web.verified);
    assert_eq!((scene.sessions_of("vm-one"), scene.sessions_of("vm-three")), (1, 0));
    drop(live(scene.port("new").await, "three", edited, "a new lazy tunnel").await);
    assert_eq!(scene.sessions_of("vm-three"), 1);
    scene.env.finish(scene.up).await;
}

#[tokio::test]
async fn a_lazy_tunnel_shares_the_path_of_one_that_is_not() {
    let eager = "eager = { listen = 0, target = \"one\", port = 7 }";
    let scene = Scene::start(&tunnels("lazy = true", eager)).await;
    for name in ["web", "eager"] {
        scene.tunnel(name, |tunnel| tunnel.state == "ready" && tunnel.verified).await;
    }
    let other = scene.tunnel("other", |tunnel| tunnel.state == "ready").await;
    assert!(!other.verified);
    assert_eq!((scene.sessions_of("vm-one"), scene.sessions_of("vm-two")), (1, 0));
    // With a little patience: had it been asked, it would have been at once.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(scene.sessions_of("vm-two"), 0);
    scene.env.finish(scene.up).await;
}
