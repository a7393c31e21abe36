//! Connections that have to wait: for their turn, for a path that is down, for nothing at all.

use bastion::control::TunnelStatus;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::{Duration, Instant, timeout};

use crate::process::PATIENCE;
use crate::reload::{
    Scene, Servers, connect, free_port, goes_on, greeted, greeting, is_ready, is_turned_away, live,
};

/// How many connections wait for this.
fn waiting(tunnel: &TunnelStatus, reason: &str) -> u64 {
    tunnel.waiting.iter().filter(|waiting| waiting.reason == reason).map(|waiting| waiting.count).sum()
}

/// Connects, and waits until so many connections wait for this.
async fn queue(scene: &Scene, name: &str, port: u16, reason: &str, count: u64) -> TcpStream {
    let stream = connect(port).await.unwrap();
    scene.tunnel(name, |tunnel| waiting(tunnel, reason) == count).await;
    stream
}

/// Nobody has said anything yet.
async fn is_silent(stream: &TcpStream) {
    let soon = timeout(Duration::from_millis(20), stream.readable()).await;
    assert!(soon.is_err(), "it was served, or ended, out of turn");
}

fn limited(port: u16, target: &str, most: usize) -> String {
    format!("{{ listen = {port}, target = \"{target}\", port = 7, max_connections = {most} }}\n")
}

#[tokio::test]
async fn five_connections_at_two_at_once_are_served_in_turn() {
    let port = free_port();
    let scene = Scene::start(&format!("a = {}", limited(port, "one", 2))).await;
    let (first, _) = greeted(port).await.unwrap();
    let (mut second, _) = greeted(port).await.unwrap();
    let mut third = queue(&scene, "a", port, "connections", 1).await;
    let fourth = queue(&scene, "a", port, "connections", 2).await;
    let mut fifth = queue(&scene, "a", port, "connections", 3).await;
    let a = scene.tunnel("a", |a| a.connections == 2).await;
    assert_eq!((&*a.state, waiting(&a, "connections")), ("ready", 3));

    drop(first);
    assert_eq!(greeting(&mut third).await.unwrap(), "one");
    is_silent(&fourth).await;
    is_silent(&fifth).await;
    // Who gives up has no turn.
    fourth.set_zero_linger().unwrap();
    drop(fourth);
    scene.tunnel("a", |a| waiting(a, "connections") == 1).await;
    goes_on(&mut second).await;
    drop(second);
    assert_eq!(greeting(&mut fifth).await.unwrap(), "one");
    goes_on(&mut third).await;
    goes_on(&mut fifth).await;
    drop((third, fifth));
    scene.tunnel("a", |a| a.connections == 0 && a.waiting.is_empty()).await;
    scene.env.finish(scene.up).await;
}

#[tokio::test]
async fn a_limit_that_is_raised_lets_in_who_waits() {
    let port = free_port();
    let scene = Scene::start(&format!("a = {}", limited(port, "one", 1))).await;
    let (mut first, _) = greeted(port).await.unwrap();
    let mut second = queue(&scene, "a", port, "connections", 1).await;
    let third = queue(&scene, "a", port, "connections", 2).await;
    scene.edit(&format!("a = {}", limited(port, "one", 2)));
    assert_eq!(greeting(&mut second).await.unwrap(), "one");
    is_silent(&third).await;
    // Nobody is cut off by a smaller one.
    scene.edit(&format!("a = {}", limited(port, "one", 1)));
    scene.until("the third edition", |status| (status.generation == 3).then_some(())).await;
    goes_on(&mut first).await;
    goes_on(&mut second).await;
    drop((first, second, third));
    scene.env.finish(scene.up).await;
}

#[tokio::test]
async fn who_waits_at_an_address_goes_with_it_to_another_tunnel() {
    let port = free_port();
    let scene = Scene::start(&format!("a = {}", limited(port, "one", 1))).await;
    let (mut old, _) = greeted(port).await.unwrap();
    let mut second = queue(&scene, "a", port, "connections", 1).await;
    let mut third = queue(&scene, "a", port, "connections", 2).await;
    let saved = scene.edit(&format!("b = {}", limited(port, "two", 1)));
    // There is no line at the new one's door yet: either may come first.
    let (name, second_is_in) = tokio::select! {
        name = greeting(&mut second) => (name, true),
        name = greeting(&mut third) => (name, false),
    };
    let (mut new, waits) = if second_is_in { (second, third) } else { (third, second) };
    assert_eq!(name.unwrap(), "two");
    println!("served by its new owner after {} ms", saved.elapsed().as_millis());
    // Each counts its own, and its limit is for its own.
    scene.tunnel("a", |a| a.state == "draining" && a.connections == 1 && a.waiting.is_empty()).await;
    scene.tunnel("b", |b| b.connections == 1 && waiting(b, "connections") == 1).await;
    is_silent(&waits).await;
    goes_on(&mut old).await;
    goes_on(&mut new).await;
    drop((old, new, waits));
    scene.env.finish(scene.up).await;
}

/// From now on, or no longer, no session is granted.
fn outage(servers: &Servers, tunnels: &str, on: bool) -> String {
    let faults = if on { "[[emulator.faults]]\nphase = \"token\"\ndo = \"500\"\ntimes = 0\n" } else { "" };
    servers.workspace_with(tunnels, faults)
}

#[tokio::test]
async fn in_an_outage_a_connection_is_held_or_refused_as_its_tunnel_says() {
    let (held, refused) = (free_port(), free_port());
    let tunnels = format!(
        "held = \"{held} -> one:7\"\n\
         refused = {{ listen = {refused}, target = \"two\", port = 7, on_outage = \"refuse\" }}\n"
    );
    let scene = Scene::start(&tunnels).await;
    let (mut before, _) = greeted(refused).await.unwrap();
    scene.save(&outage(scene.servers(), &tunnels, true));
    scene.until("the outage", |status| (status.generation == 2).then_some(())).await;

    let mut stream = queue(&scene, "held", held, "path", 1).await;
    stream.write_all(b"still there?").await.unwrap();
    scene.tunnel("held", |tunnel| tunnel.state == "degraded" && tunnel.connections == 0).await;
    // The first one finds out.
    is_turned_away(refused).await;
    scene.tunnel("refused", |tunnel| tunnel.state == "degraded").await;
    let begun = Instant::now();
    is_turned_away(refused).await;
    println!("refused after {} ms", begun.elapsed().as_millis());
    is_silent(&stream).await;
    // What was there goes on.
    goes_on(&mut before).await;

    let saved = scene.save(&outage(scene.servers(), &tunnels, false));
    assert_eq!(greeting(&mut stream).await.unwrap(), "one");
    println!("a held connection was served {} ms after the edit", saved.elapsed().as_millis());
    // What it had said was not read meanwhile, and is not lost.
    let mut back = [0; 12];
    let read = tokio::io::AsyncReadExt::read_exact(&mut stream, &mut back);
    timeout(PATIENCE, read).await.unwrap().unwrap();
    assert_eq!(&back, b"still there?");
    scene.tunnel("refused", is_ready).await;
    drop(live(refused, "two", saved, "after an outage").await);
    drop((before, stream));
    scene.env.finish(scene.up).await;
}

#[tokio::test]
async fn a_held_connection_is_reset_when_its_time_is_up() {
    let port = free_port();
    let tunnels =
        format!("a = {{ listen = {port}, target = \"one\", port = 7, connect_timeout = \"700ms\" }}\n");
    let scene = Scene::start(&tunnels).await;
    scene.save(&outage(scene.servers(), &tunnels, true));
    scene.until("the outage", |status| (status.generation == 2).then_some(())).await;
    let begun = Instant::now();
    is_turned_away(port).await;
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(700) && took < Duration::from_secs(6), "{took:?}");
    scene.tunnel("a", |a| a.waiting.is_empty()).await;
    scene.up.stop().await;
}

#[tokio::test]
async fn a_held_connection_outlives_an_outage_that_outlives_the_first_tries() {
    let port = free_port();
    // The proof has its answer, and then three exchanges in a row have none.
    let faults = "[[emulator.faults]]\nphase = \"token\"\ndo = \"delay:1ms\"\n\
                  [[emulator.faults]]\nphase = \"token\"\ndo = \"500\"\ntimes = 3\n";
    let servers = Servers::start().await;
    let text = servers.workspace_with(&format!("a = \"{port} -> one:7\"\n"), faults);
    let scene = Scene::of(servers, &["-v"], |env| env.workspace(&text)).await;
    scene.tunnel("a", is_ready).await;
    let begun = Instant::now();
    let (mut stream, name) = greeted(port).await.unwrap();
    println!("served after {} ms of an outage", begun.elapsed().as_millis());
    assert_eq!(name, "one");
    goes_on(&mut stream).await;
    let refused = scene.env.requests().iter().filter(|r| r["kind"] == "token" && r["status"] == 500).count();
    assert_eq!(refused, 3);
    scene.tunnel("a", is_ready).await;
    drop(stream);
    scene.env.finish(scene.up).await;
}

#[tokio::test]
async fn without_a_probe_no_session_is_spent_before_the_first_connection() {
    let port = free_port();
    let tunnel = format!("a = {{ listen = {port}, target = \"one\", port = 7, probe = \"none\" }}\n");
    let scene = Scene::start(&tunnel).await;
    let line = scene.up.wait_line(|line| line.starts_with("ready "), "that it is ready").await;
    assert!(line.ends_with("; not verified"), "{line}");
    assert_eq!(scene.env.sessions().opened, 0);
    drop(greeted(port).await.unwrap());
    scene.env.finish(scene.up).await;
    assert_eq!(scene.env.sessions().opened, 1);
}

#[tokio::test]
async fn in_a_burst_too_who_came_first_is_served_first() {
    let port = free_port();
    let scene = Scene::start(&format!("a = {}", limited(port, "one", 1))).await;
    let mut burst = Vec::new();
    for _ in 0..12 {
        burst.push(connect(port).await.unwrap());
    }
    for mut next in burst {
        assert_eq!(greeting(&mut next).await.unwrap(), "one");
    }
    scene.env.finish(scene.up).await;
}

#[tokio::test]
async fn where_files_are_short_connections_wait_and_commands_do_not() {
    let port = free_port();
    let servers = Servers::start().await;
    let env = crate::env::TestEnv::new();
    env.workspace(&servers.workspace(&format!("a = \"{port} -> one:7\"\n")));
    // In a process of its own, which has files enough.
    let emulator = env.emulator(&[]).await;
    let mut command = env.command("sh");
    command.env("BASTION_EMULATOR", emulator.endpoint());
    command.args(["-c", "ulimit -n 150 && exec \"$0\" up", env!("CARGO_BIN_EXE_bastion")]);
    let up = env.run_command(command);
    up.wait_line(|line| line.starts_with("Everything is ready"), "that all is ready").await;
    let mut all = Vec::new();
    for _ in 0..60 {
        all.push(connect(port).await.unwrap());
    }
    up.wait_line(|line| line.contains("there are files for no more connections"), "that files are short")
        .await;
    let asked = Instant::now();
    let output = env.run(&["status"]).await;
    assert!(output.status.success() && asked.elapsed() < Duration::from_secs(5), "{output:?}");
    // Each of them is served in the end.
    for mut next in all {
        let greeted = timeout(PATIENCE, greeting(&mut next)).await.unwrap();
        assert_eq!(greeted.as_deref().ok(), Some("one"), "{:#?}", up.stderr());
    }
    env.finish(up).await;
    emulator.into_running().stop().await;
}
