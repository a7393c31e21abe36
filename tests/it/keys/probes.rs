//! `probe`: what is shown before a tunnel is ready, for whom, and how often.

use crate::reload::{Scene, goes_on, greeted};

/// A tunnel to port 7 of the server `one`.
fn to_one(name: &str, keys: &str) -> String {
    format!("{name} = {{ listen = 0, target = \"one\", port = 7, {keys} }}\n")
}

#[tokio::test]
async fn who_wants_the_same_shown_shares_what_was_found_out() {
    let same = ["a", "b"].map(|name| to_one(name, "probe = \"session\"")).concat();
    let scene = Scene::start(&format!("{same}{}", to_one("c", "probe = \"none\""))).await;
    assert_eq!(scene.sessions_of("vm-one"), 1, "one probe for two");
    let c = scene.tunnel("c", |tunnel| tunnel.state == "ready").await;
    assert!(!c.verified);
    let (mut stream, _) = greeted(scene.port("a").await).await.unwrap();
    // To want another thing shown changes nothing for connections, and what was shown already is not shown again.
    scene.edit(&format!("{same}{}", to_one("c", "probe = \"session\"")));
    scene.tunnel("c", |tunnel| tunnel.state == "ready" && tunnel.verified).await;
    scene.edit(&["a", "b", "c"].map(|name| to_one(name, "probe = \"none\"")).concat());
    scene
        .up
        .wait_line(|line| line.ends_with("a  probe none instead of session"), "the change in words")
        .await;
    scene.tunnel("a", |tunnel| tunnel.state == "ready" && !tunnel.verified).await;
    goes_on(&mut stream).await;
    drop(stream);
    assert_eq!(scene.sessions_of("vm-one"), 2, "the probe, and the connection");
    scene.env.finish(scene.up).await;
}
