//! `idle_close` and `max_lifetime`: connections that neither side has ended.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::process::PATIENCE;
use crate::reload::{Scene, goes_on, greeted, is_reset, live};

/// A tunnel to a server that says its name, then sends everything back.
fn tunnel(keys: &str) -> String {
    format!("web = {{ listen = 0, target = \"one\", port = 7, {keys} }}")
}

/// The log says that a connection was closed for this, and for nothing else.
async fn told(scene: &Scene, code: &str) {
    let is_it = |line: &str| line.contains("closed, with a reset");
    let line = scene.up.wait_line(is_it, "the end of the connection").await;
    assert!(line.contains(&format!("code=\"{code}\"")), "{line}");
}

#[tokio::test]
async fn a_quiet_connection_is_reset_and_pings_are_no_bytes() {
    let scene = Scene::start(&tunnel("idle_close = \"1s\", keepalive = \"100ms\"")).await;
    let port = scene.port("web").await;
    let (mut stream, _) = greeted(port).await.unwrap();
    goes_on(&mut stream).await;
    is_reset(stream).await;
    told(&scene, "idle-close").await;
    // Nothing failed: the file wants it so.
    let web = scene.tunnel("web", |tunnel| tunnel.connections == 0).await;
    assert_eq!((&*web.state, web.last_error), ("ready", None));
    scene.env.settled().await;
    scene.env.finish(scene.up).await;
}

#[tokio::test]
async fn a_connection_that_is_never_quiet_is_reset_at_the_end_of_its_life() {
    let scene = Scene::start(&tunnel("max_lifetime = \"1s\", idle_close = \"900ms\"")).await;
    let (stream, _) = greeted(scene.port("web").await).await.unwrap();
    let (mut from, mut to) = stream.into_split();
    let chat = async {
        loop {
            // One byte at a time, each after the one before has come back.
            to.write_all(b"?").await?;
            from.read_u8().await?;
        }
    };
    let end: std::io::Result<()> = timeout(PATIENCE, chat).await.expect("an end");
    let kind = end.unwrap_err().kind();
    // Whoever writes may learn of it first.
    assert!(matches!(kind, std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe), "{kind}");
    told(&scene, "max-lifetime").await;
    scene.env.finish(scene.up).await;
}

#[tokio::test]
async fn an_edit_of_them_holds_for_connections_from_then_on() {
    let scene = Scene::start(&tunnel("env = {}")).await;
    let port = scene.port("web").await;
    let (mut before, _) = greeted(port).await.unwrap();
    let edited = scene.edit(&tunnel("env = {}, idle_close = \"500ms\", max_lifetime = \"1h\""));
    let changed =
        |line: &str| line.ends_with("idle_close 500ms instead of 0s; max_lifetime 3600s instead of 0s");
    scene.up.wait_line(changed, "the change in words").await;
    is_reset(live(port, "one", edited, "another idle_close").await).await;
    goes_on(&mut before).await;
    drop(before);
    scene.env.finish(scene.up).await;
}
