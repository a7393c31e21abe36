//! `probe`: what is shown before a tunnel is ready, for whom, and how often.

use bastion::control::Request;

use crate::reload::{Scene, Servers, free_port, goes_on, greeted, greeting};
use crate::server::Server;

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

#[tokio::test]
async fn a_target_that_has_answered_is_told_apart_from_a_path_that_works() {
    let banner = ["a", "b"].map(|name| to_one(name, "probe = \"banner\"")).concat();
    let scene = Scene::start(&format!("{banner}{}", to_one("c", ""))).await;
    let told = |status: &bastion::control::Status| {
        let told = |tunnel: &bastion::control::TunnelStatus| (tunnel.verified, tunnel.target_verified);
        status.tunnels.iter().map(told).collect::<Vec<_>>()
    };
    assert_eq!(told(&scene.status().await), [(true, true), (true, true), (true, false)]);
    assert_eq!(scene.sessions_of("vm-one"), 2, "one for what a and b want, one for what c wants");
    // Whoever asks within a minute learns what is known.
    scene.ask(Request::Prove { tunnels: Vec::new() }).await;
    assert_eq!(scene.sessions_of("vm-one"), 2);
    let output = scene.env.run(&["status", "a", "c"]).await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.matches("its target has answered").count(), 1, "{text}");
    scene.env.finish(scene.up).await;
}

/// Servers, and a workspace in which port 9 of the target `two` leads to a port of this machine.
async fn with_port_nine(tunnels: &str, port: u16) -> Scene {
    let servers = Servers::start().await;
    let text =
        servers.workspace(tunnels).replace("two = { 7 =", &format!("two = {{ 9 = \"127.0.0.1:{port}\", 7 ="));
    Scene::of(servers, &["-v"], |env| env.workspace(&text)).await
}

#[tokio::test]
async fn a_target_that_refuses_is_tried_for_whoever_waits_and_no_other_is_concerned() {
    let port = free_port();
    let keys = "probe = \"connect\", backoff = { initial = \"50ms\", max = \"50ms\" }";
    let tunnels =
        format!("{}two = {{ listen = 0, port = 9, {keys} }}\n", to_one("one", "probe = \"connect\""));
    let scene = with_port_nine(&tunnels, port).await;
    let two = scene.tunnel("two", |tunnel| tunnel.code.as_deref() == Some("target-refused")).await;
    assert_eq!(two.state, "connecting");
    // Nobody waits, so it is left in peace.
    assert!(two.next_retry.unwrap() > 30.0, "{two:?}");
    assert!(scene.tunnel("one", |tunnel| tunnel.state == "ready").await.verified);
    let mut program = crate::reload::connect(crate::reload::port(&two)).await.unwrap();
    scene.tunnel("two", |tunnel| tunnel.waiting.iter().any(|waiting| waiting.reason == "path")).await;
    let server = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let server = Server::on(server, |mut stream| async move {
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"at last\n").await.unwrap();
        drop(tokio::io::AsyncReadExt::read(&mut stream, &mut [0]).await);
    });
    assert_eq!(greeting(&mut program).await.unwrap(), "at last");
    scene.tunnel("two", |tunnel| tunnel.state == "ready" && tunnel.verified && !tunnel.target_verified).await;
    drop((program, server));
    scene.env.finish(scene.up).await;
}

#[tokio::test]
async fn a_failing_server_is_no_reason_to_be_ready_and_another_probe_is_an_edit() {
    let server = Server::start(|mut stream| async move {
        drop(tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 1024]).await);
        let answer = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
        drop(tokio::io::AsyncWriteExt::write_all(&mut stream, answer).await);
    })
    .await;
    let tunnel = |probe: &str| {
        format!("two = {{ listen = 0, port = 9, probe = \"{probe}\", on_outage = \"refuse\" }}")
    };
    let scene = with_port_nine(&tunnel("http:/health"), server.address.port()).await;
    let two = scene.tunnel("two", |tunnel| tunnel.code.as_deref() == Some("probe-failed")).await;
    assert_eq!(two.reason.as_deref(), Some("port 9 of vm-two answered with HTTP status 503"));
    crate::reload::is_turned_away(crate::reload::port(&two)).await;
    let text = std::fs::read_to_string(scene.env.path("bastion.toml")).unwrap();
    scene.save(&text.replace("http:/health", "session"));
    scene.tunnel("two", |tunnel| tunnel.state == "ready" && tunnel.verified && tunnel.code.is_none()).await;
    scene.env.finish(scene.up).await;
}
