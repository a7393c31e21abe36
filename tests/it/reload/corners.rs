//! Edits that meet something else: a port that is half taken, a free port that somebody names, a path that is down.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep, timeout};

use super::calm::Calm;
use super::knocker::{Knocker, reach};
use super::{
    PATIENCE, POLL, SOON, Scene, Servers, closed, connect, free_port, goes_on, greeting, is_ready,
    is_turned_away, live,
};

#[tokio::test]
async fn a_chain_whose_end_is_taken_blocks_only_its_end() {
    let (first, second, taken, free) = (free_port(), free_port(), free_port(), free_port());
    let other = TcpListener::bind(("127.0.0.1", taken)).await.unwrap();
    let text = |a: u16, b: u16| format!("a = \"{a} -> one:7\"\nb = \"{b} -> two:7\"\n");
    let scene = Scene::start(&text(first, second)).await;
    let mut old = reach(second, "two").await;
    let knocker = Knocker::start(second);

    let saved = scene.edit(&text(second, taken));
    drop(live(second, "one", saved, "a chain whose end is taken").await);
    let b = scene.tunnel("b", |b| b.state == "blocked").await;
    assert_eq!((b.code.as_deref(), b.listen.len()), (Some("port-taken"), 0));
    closed(first).await;
    goes_on(&mut old).await;

    let saved = scene.edit(&text(second, free));
    drop(live(free, "two", saved, "its end, once there is a free one").await);
    scene.tunnel("b", is_ready).await;
    // The way back: what was given away is handed over again.
    let saved = scene.edit(&text(first, second));
    drop(live(second, "two", saved, "all of it back").await);
    drop(live(first, "one", saved, "all of it back").await);
    knocker.end().await;
    goes_on(&mut old).await;
    drop((old, other));
    scene.env.finish(scene.up).await;
}

#[tokio::test]
async fn a_free_port_gives_way_to_a_tunnel_that_names_it() {
    let scene = Scene::start("any = \"0 -> one:7\"\n").await;
    let port = scene.port("any").await;
    let mut old = reach(port, "one").await;
    let knocker = Knocker::start(port);
    let saved = scene.edit(&format!("any = \"0 -> one:7\"\nfixed = \"{port} -> two:7\"\n"));
    drop(live(port, "two", saved, "a tunnel that names another's free port").await);
    let other = scene.tunnel("any", |any| is_ready(any) && super::port(any) != port).await;
    reach(super::port(&other), "one").await;
    goes_on(&mut old).await;

    // A free port that is named by its own tunnel stays, and so does one of a tunnel that changes otherwise.
    let mine = super::port(&other);
    let own = Knocker::start(mine);
    scene.edit(&format!("any = \"{mine} -> one:7\"\nfixed = \"{port} -> two:7\"\n"));
    scene.until("the third edition", |status| (status.generation == 3).then_some(())).await;
    assert_eq!(scene.port("any").await, mine);
    own.end().await;
    knocker.end().await;
    drop(old);
    scene.env.finish(scene.up).await;
}

#[tokio::test]
async fn another_address_of_the_same_port_leaves_the_first_one_bound() {
    let port = free_port();
    let scene = Scene::start(&format!("a = \"127.0.0.1:{port} -> one:7\"\n")).await;
    let mut old = reach(port, "one").await;
    let knocker = Knocker::start(port);
    for text in [format!("a = \"{port} -> one:7\"\n"), format!("a = \"127.0.0.1:{port} -> one:7\"\n")] {
        let before = scene.status().await.generation;
        scene.edit(&text);
        scene.until("the edit", |status| (status.generation > before).then_some(())).await;
        scene.tunnel("a", is_ready).await;
        reach(port, "one").await;
    }
    knocker.end().await;
    goes_on(&mut old).await;
    drop(old);
    scene.env.finish(scene.up).await;
}

#[tokio::test]
async fn a_held_connection_follows_its_tunnel_to_a_target_that_works() {
    let (port, servers) = (free_port(), Servers::start().await);
    let down = "[[emulator.faults]]\nphase = \"token\"\ntarget = \"one\"\ndo = \"500\"\ntimes = 0\n";
    let text = |name: &str, target: &str| {
        servers.workspace_with(&format!("{name} = \"{port} -> {target}:7\"\n"), down)
    };
    let (first, second, third) = (text("a", "one"), text("a", "two"), text("b", "three"));
    let scene = Scene::of(servers, &["-v"], |env| env.workspace(&first)).await;
    scene.tunnel("a", |a| a.state == "connecting" && a.attempt > 0).await;
    let mut held = connect(port).await.unwrap();
    held.write_all(b"still there?").await.unwrap();
    scene.tunnel("a", |a| a.waiting.iter().any(|waiting| waiting.reason == "path")).await;

    let saved = scene.save(&second);
    assert_eq!(greeting(&mut held).await.unwrap(), "two");
    println!("a held connection was served {} ms after the edit", saved.elapsed().as_millis());
    assert!(saved.elapsed() < SOON);
    let mut back = [0; 12];
    timeout(PATIENCE, held.read_exact(&mut back)).await.unwrap().unwrap();
    assert_eq!(&back, b"still there?");

    // And to another tunnel, which is then the one that counts it.
    scene.save(&first);
    scene.tunnel("a", |a| a.state == "connecting" && a.target == "one:7").await;
    let mut held_again = connect(port).await.unwrap();
    scene.tunnel("a", |a| a.waiting.iter().any(|waiting| waiting.reason == "path")).await;
    scene.save(&third);
    assert_eq!(greeting(&mut held_again).await.unwrap(), "three");
    scene.tunnel("b", |b| b.connections == 1 && b.waiting.is_empty()).await;
    scene.tunnel("a", |a| a.state == "draining" && a.connections == 1 && a.waiting.is_empty()).await;
    goes_on(&mut held).await;
    drop((held, held_again));
    scene.env.finish(scene.up).await;
}

#[tokio::test]
async fn what_is_held_at_a_tunnel_that_is_removed_is_held_no_longer() {
    let (port, servers) = (free_port(), Servers::start().await);
    let down = "[[emulator.faults]]\nphase = \"token\"\ntarget = \"one\"\ndo = \"500\"\ntimes = 0\n";
    let other = "other = \"0 -> two:7\"\n";
    let text = servers.workspace_with(&format!("{other}a = \"{port} -> one:7\"\n"), down);
    let without = servers.workspace_with(other, down);
    let scene = Scene::of(servers, &["-v"], |env| env.workspace(&text)).await;
    scene.tunnel("a", |a| a.state == "connecting" && a.attempt > 0).await;
    let held = connect(port).await.unwrap();
    scene.tunnel("a", |a| a.waiting.iter().any(|waiting| waiting.reason == "path")).await;
    let saved = scene.save(&without);
    super::is_reset(held).await;
    assert!(saved.elapsed() < SOON, "{:?}", saved.elapsed());
    closed(port).await;
    scene.until("that it is gone", |status| (status.tunnels.len() == 1).then_some(())).await;
    scene.env.finish(scene.up).await;
}

#[tokio::test]
async fn a_workspace_may_be_renamed() {
    let scene = Scene::start("a = \"0 -> one:7\"\n").await;
    assert_eq!(scene.status().await.workspace, "work");
    scene.save(&format!("name = \"orders\"\n{}", scene.text("a = \"0 -> one:7\"\n")));
    scene.until("its name", |status| (status.workspace == "orders").then_some(())).await;
    scene.env.finish(scene.up).await;
}

#[tokio::test]
async fn a_wildcard_that_is_half_taken_leaves_the_old_address_working() {
    let port = free_port();
    // Of the loopback's other addresses, only some systems have any.
    let Ok(_other) = TcpListener::bind(("127.0.0.2", port)).await else { return };
    let a = format!("a = \"{port} -> one:7\"\n");
    let scene = Scene::start_with(&a, &["-v", "--allow", "expose"]).await;
    scene.tunnel("a", is_ready).await;
    scene
        .edit(&format!("a = {{ listen = \"0.0.0.0:{port}\", target = \"one\", port = 7, expose = true }}\n"));
    let now = scene.tunnel("a", |a| a.code.as_deref() == Some("port-taken")).await;
    assert_eq!(&*now.state, "ready", "{now:?}");
    reach(port, "one").await;
    scene.edit(&a);
    scene.tunnel("a", is_ready).await;
    reach(port, "one").await;
    scene.env.finish(scene.up).await;
}

#[tokio::test]
async fn what_was_denied_is_tried_at_once_when_the_file_is_edited() {
    let (port, servers) = (free_port(), Servers::start().await);
    let tunnel = format!("a = \"{port} -> one:7\"\n");
    let denied = "[[emulator.faults]]\nphase = \"token\"\ndo = \"403\"\ntimes = 0\n";
    let (bad, good) = (servers.workspace_with(&tunnel, denied), servers.workspace(&tunnel));
    let scene = Scene::of(servers, &["-v"], |env| env.workspace(&bad)).await;
    scene.tunnel("a", |a| a.state == "blocked" && a.code.as_deref() == Some("denied")).await;
    // It listens, and refuses: to wait would be in vain.
    is_turned_away(port).await;
    let saved = scene.save(&good);
    drop(live(port, "one", saved, "what was denied before").await);
    scene.tunnel("a", is_ready).await;
    scene.env.finish(scene.up).await;
}

#[tokio::test]
async fn a_file_that_never_rests_is_read_all_the_same() {
    let (old, new) = (free_port(), free_port());
    let calm = "calm = \"0 -> three:7\"\n";
    let scene = Scene::start(&format!("{calm}a = \"{old} -> one:7\"\n")).await;
    let untouched = Calm::start(&scene).await;
    let text = scene.text(&format!("{calm}a = \"{new} -> two:7\"\n"));
    let begun = Instant::now();
    let mut saves = 0;
    // Saved again before the last save can settle, until it was read.
    while connect(new).await.is_err() {
        saves += 1;
        scene.save(&format!("{text}# {saves}\n"));
        assert!(begun.elapsed() < PATIENCE, "not read in {saves} saves");
        sleep(POLL).await;
    }
    println!("read after {} ms and {saves} saves", begun.elapsed().as_millis());
    closed(old).await;
    untouched.end(&scene).await;
    scene.env.finish(scene.up).await;
}

#[tokio::test]
async fn another_bastion_under_the_same_name_is_another_way() {
    let port = free_port();
    let scene = Scene::start(&format!("a = \"{port} -> one:7\"\n")).await;
    let mut old = reach(port, "one").await;
    let text = scene.text(&format!("a = \"{port} -> one:7\"\n"));
    let generation = scene.status().await.generation;
    scene.save(&text.replace("[bastions.hub]\n", "[bastions.hub]\nname = \"bas-other\"\n"));
    scene.until("the edit", |status| (status.generation > generation).then_some(())).await;
    let mut new = reach(port, "one").await;
    scene.tunnel("a", |a| is_ready(a) && a.connections == 2).await;
    goes_on(&mut old).await;
    goes_on(&mut new).await;
    drop((old, new));
    scene.env.finish(scene.up).await;
}
