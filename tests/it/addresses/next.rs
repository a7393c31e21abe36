//! `on_port_taken = "next"`: who finds its port taken has the next one, and keeps it.

use bastion::control::TunnelStatus;
use tokio::net::TcpListener;

use crate::reload::{Scene, closed, free_port, goes_on, greeted, live};

/// The loopback addresses of this machine.
fn hosts() -> Vec<&'static str> {
    let there = |host: &&str| std::net::TcpListener::bind((*host, 0)).is_ok();
    ["127.0.0.1", "::1"].into_iter().filter(there).collect()
}

/// A port that somebody has on the last of the loopback addresses, and after it two that nobody has.
async fn taken() -> (TcpListener, u16) {
    let hosts = hosts();
    loop {
        let port = free_port();
        let free = |port: u16| hosts.iter().all(|host| std::net::TcpListener::bind((*host, port)).is_ok());
        if port < 65_000 && free(port) && free(port + 1) && free(port + 2) {
            return (TcpListener::bind((*hosts.last().unwrap(), port)).await.unwrap(), port);
        }
    }
}

/// Also one that has the next port, and says why.
fn is_ready(tunnel: &TunnelStatus) -> bool {
    tunnel.state == "ready"
}

fn text(port: u16, more: &str) -> String {
    format!("a = {{ listen = {port}, target = \"one\", port = 7, on_port_taken = \"next\"{more} }}\n")
}

#[tokio::test]
async fn a_taken_port_gives_the_next_one_which_is_told_and_kept() {
    // Taken on either address is taken.
    let (other, port) = taken().await;
    let scene = Scene::start_with(&text(port, ""), &["-v"]).await;
    let line = scene.up.wait_line(|line| line.starts_with("ready"), "it is ready").await;
    let a = scene.tunnel("a", is_ready).await;
    let real: std::net::SocketAddr = a.listen[0].parse().unwrap();
    assert!(real.port() > port && a.listen.len() == hosts().len(), "{a:?}");
    assert!(line.contains(&format!("{} -> one:7", a.listen.join(", "))), "{line}");
    let own = other.local_addr().unwrap();
    assert!(line.contains(&format!("but listening on {own}: ")) && line.ends_with("[port-taken]"), "{line}");
    assert_eq!((&*a.state, a.code.as_deref()), ("ready", Some("port-taken")));
    let said = scene.env.run(&["port", "a"]).await;
    assert_eq!(String::from_utf8(said.stdout).unwrap().trim(), real.to_string());
    let (mut stream, name) = greeted(real.port()).await.unwrap();
    assert_eq!(name, "one");

    // Whatever else is edited, and although its own port is free again, it stays where it is.
    drop(other);
    let b = free_port();
    let saved = scene.edit(&(text(port, ", max_connections = 3") + &format!("b = \"{b} -> two:7\"\n")));
    drop(live(b, "two", saved, "another tunnel").await);
    assert_eq!(scene.tunnel("a", is_ready).await.listen, a.listen);
    goes_on(&mut stream).await;

    // That it is not to be the next one any more is an edit of it.
    let saved = scene.edit(&text(port, "").replace("\"next\"", "\"fail\""));
    drop(live(port, "one", saved, "back on its own port").await);
    closed(real.port()).await;
    assert_eq!(scene.tunnel("a", |a| a.code.is_none()).await.listen[0], format!("127.0.0.1:{port}"));
    goes_on(&mut stream).await;
    drop(stream);
    scene.env.finish(scene.up).await;
}

#[tokio::test]
async fn the_next_port_is_none_that_the_file_names_and_gives_way_to_who_names_it() {
    let (_other, port) = taken().await;
    // One that is named, although its tunnel does not run.
    let named =
        format!("b = {{ listen = {}, target = \"two\", port = 7, profiles = [\"more\"] }}\n", port + 1);
    let scene = Scene::start_with(&(text(port, "") + &named), &["-v"]).await;
    let a = scene.tunnel("a", is_ready).await;
    let real: std::net::SocketAddr = a.listen[0].parse().unwrap();
    assert!(real.port() > port + 1, "{a:?}");

    let saved = scene.edit(&(text(port, "") + &format!("b = \"{} -> two:7\"\n", real.port())));
    drop(live(real.port(), "two", saved, "named by another").await);
    let a = scene
        .tunnel("a", |a| is_ready(a) && !a.listen.is_empty() && !a.listen.contains(&real.to_string()))
        .await;
    let moved: std::net::SocketAddr = a.listen[0].parse().unwrap();
    assert_eq!(greeted(moved.port()).await.unwrap().1, "one");
    scene.env.finish(scene.up).await;
}
