//! Tunnels that are moved, added, removed, renamed and retargeted, beside one that is left alone.

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Duration, interval};
use tokio_util::sync::CancellationToken;

use super::calm::Calm;
use super::{Scene, closed, connect, free_port, goes_on, greeted, is_reset, live};

/// Connects to a port again and again. Not once may it be refused.
struct Knocker {
    stop: CancellationToken,
    task: JoinSet<usize>,
}

impl Knocker {
    fn start(port: u16) -> Self {
        let (stop, mut task) = (CancellationToken::new(), JoinSet::new());
        let until = stop.clone();
        task.spawn(async move {
            let mut pace = interval(Duration::from_millis(2));
            let mut knocked = 0;
            while !until.is_cancelled() {
                pace.tick().await;
                let stream = connect(port).await.expect("the port is never let go");
                stream.set_zero_linger().unwrap();
                knocked += 1;
            }
            knocked
        });
        Self { stop, task }
    }

    async fn end(mut self) {
        self.stop.cancel();
        let knocked = self.task.join_next().await.unwrap().unwrap();
        println!("never refused in {knocked} connections");
        assert!(knocked > 5, "only {knocked} connections");
    }
}

/// A connection to a server that is known to have been reached.
async fn reach(port: u16, server: &str) -> TcpStream {
    let (stream, name) = greeted(port).await.unwrap();
    assert_eq!(name, server);
    stream
}

const CALM: &str = "calm = \"0 -> three:7\"\n";

#[tokio::test]
async fn a_tunnel_is_moved_added_and_removed() {
    let (first, second, added) = (free_port(), free_port(), free_port());
    let scene = Scene::start(&format!("{CALM}a = \"{first} -> one:7\"\n")).await;
    let mut calm = Calm::start(&scene).await;
    let mut old = reach(first, "one").await;

    let saved = scene.edit(&format!("{CALM}a = \"{second} -> one:7\"\n"));
    let mut new = live(second, "one", saved, "moved to another port").await;
    closed(first).await;
    goes_on(&mut old).await;
    calm.goes_on().await;

    let both = format!("{CALM}a = \"{second} -> one:7\"\nb = \"{added} -> two:7\"\n");
    let saved = scene.edit(&both);
    let mut other = live(added, "two", saved, "added").await;
    calm.goes_on().await;

    scene.edit(CALM);
    closed(second).await;
    closed(added).await;
    // Connections of a removed tunnel may go on as long as they like.
    for stream in [&mut old, &mut new, &mut other] {
        goes_on(stream).await;
    }
    scene.tunnel("a", |a| a.state == "draining" && a.connections == 2).await;
    drop((old, new, other));
    scene.until("that they are gone", |status| (status.tunnels.len() == 1).then_some(())).await;
    calm.end(&scene).await;
    let said = scene.env.finish(scene.up).await;
    let told = |line: &str| said.lines().any(|said| said.trim() == line);
    for line in [
        "bastion.toml was changed:".to_owned(),
        format!("~ a  listens on localhost:{second} instead of localhost:{first}"),
        format!("+ b  localhost:{added} -> two:7 through hub"),
        "- a".to_owned(),
        "= 1 unchanged".to_owned(),
    ] {
        assert!(told(&line), "{line}:\n{said}");
    }
}

#[tokio::test]
async fn a_renamed_tunnel_is_never_bound_anew() {
    let fixed = free_port();
    let scene = Scene::start(&format!("{CALM}a = \"{fixed} -> one:7\"\nx = \"0 -> two:7\"\n")).await;
    let calm = Calm::start(&scene).await;
    let any = scene.port("x").await;
    let (mut one, mut two) = (reach(fixed, "one").await, reach(any, "two").await);
    let knockers = [Knocker::start(fixed), Knocker::start(any)];

    let saved = scene.edit(&format!("{CALM}b = \"{fixed} -> one:7\"\ny = \"0 -> two:7\"\n"));
    assert_eq!((scene.port("b").await, scene.port("y").await), (fixed, any));
    println!("live after {} ms: renamed", saved.elapsed().as_millis());
    reach(fixed, "one").await;
    reach(any, "two").await;
    for knocker in knockers {
        knocker.end().await;
    }
    goes_on(&mut one).await;
    goes_on(&mut two).await;
    calm.end(&scene).await;
    drop((one, two));
    let said = scene.env.finish(scene.up).await;
    assert!(said.contains(&format!("~ b  was a, keeps localhost:{fixed}")), "{said}");
}

#[tokio::test]
async fn two_tunnels_swap_ports() {
    let (one, two) = (free_port(), free_port());
    let text = |a: u16, b: u16| format!("{CALM}a = \"{a} -> one:7\"\nb = \"{b} -> two:7\"\n");
    let scene = Scene::start(&text(one, two)).await;
    let calm = Calm::start(&scene).await;
    let (mut first, mut second) = (reach(one, "one").await, reach(two, "two").await);
    let knockers = [Knocker::start(one), Knocker::start(two)];

    let saved = scene.edit(&text(two, one));
    drop(live(one, "two", saved, "two swapped ports (the one)").await);
    drop(live(two, "one", saved, "two swapped ports (the other)").await);
    for knocker in knockers {
        knocker.end().await;
    }
    assert_eq!((scene.port("a").await, scene.port("b").await), (two, one));
    goes_on(&mut first).await;
    goes_on(&mut second).await;
    calm.end(&scene).await;
    drop((first, second));
    scene.env.finish(scene.up).await;
}

#[tokio::test]
async fn a_chain_of_moves_comes_out_right() {
    let ports = [free_port(), free_port(), free_port(), free_port()];
    let text = |first: usize| {
        let port = |at: usize| ports[first + at];
        let (a, b, c) = (port(0), port(1), port(2));
        format!("{CALM}a = \"{a} -> one:7\"\nb = \"{b} -> two:7\"\nc = \"{c} -> one:7\"\n")
    };
    let scene = Scene::start(&text(0)).await;
    let mut calm = Calm::start(&scene).await;
    let mut old = [reach(ports[0], "one").await, reach(ports[1], "two").await, reach(ports[2], "one").await];
    for (first, what) in [(1, "a chain of moves"), (0, "the chain back")] {
        let saved = scene.edit(&text(first));
        for (at, server) in ["one", "two", "one"].into_iter().enumerate() {
            drop(live(ports[first + at], server, saved, what).await);
        }
        closed(ports[if first == 1 { 0 } else { 3 }]).await;
        calm.goes_on().await;
    }
    for stream in &mut old {
        goes_on(stream).await;
    }
    calm.end(&scene).await;
    drop(old);
    scene.env.finish(scene.up).await;
}

#[tokio::test]
async fn new_connections_reach_the_new_target_and_old_ones_go_on() {
    let port = free_port();
    let text = |target: &str| format!("{CALM}a = \"{port} -> {target}:7\"\n");
    let scene = Scene::start(&text("one")).await;
    let calm = Calm::start(&scene).await;
    let mut old = reach(port, "one").await;
    let knocker = Knocker::start(port);

    let saved = scene.edit(&text("two"));
    let mut new = live(port, "two", saved, "retargeted").await;
    goes_on(&mut old).await;
    goes_on(&mut new).await;

    // Another name with another target at the same port.
    let saved = scene.edit(&format!("{CALM}other = \"{port} -> one:7\"\n"));
    let mut newest = live(port, "one", saved, "another tunnel at the same port").await;
    knocker.end().await;
    for stream in [&mut old, &mut new, &mut newest] {
        goes_on(stream).await;
    }
    scene.tunnel("a", |a| a.state == "draining" && a.connections == 2).await;
    calm.end(&scene).await;
    drop((old, new, newest));
    scene.env.finish(scene.up).await;
}

#[tokio::test]
async fn old_connections_are_reset_when_they_have_had_their_time() {
    let (one, two) = (free_port(), free_port());
    let tunnel = |name: &str, port: u16, target: &str| {
        format!("{name} = {{ listen = {port}, target = \"{target}\", port = 7, drain = \"300ms\" }}\n")
    };
    let both = |target: &str| format!("{CALM}{}{}", tunnel("a", one, target), tunnel("b", two, "two"));
    let scene = Scene::start(&both("one")).await;
    let calm = Calm::start(&scene).await;
    let (old, removed) = (reach(one, "one").await, reach(two, "two").await);

    let saved = scene.edit(&both("two"));
    let mut new = live(one, "two", saved, "retargeted, with a drain").await;
    is_reset(old).await;
    println!("reset after {} ms", saved.elapsed().as_millis());
    goes_on(&mut new).await;

    // A tunnel that is removed, and one that only moves: its connections are nobody's business.
    let moved = free_port();
    let saved = scene.edit(&format!("{CALM}{}", tunnel("a", moved, "two")));
    drop(live(moved, "two", saved, "moved, with a drain").await);
    is_reset(removed).await;
    println!("reset after {} ms: removed", saved.elapsed().as_millis());
    closed(two).await;
    goes_on(&mut new).await;
    calm.end(&scene).await;
    drop(new);
    scene.env.finish(scene.up).await;
}
