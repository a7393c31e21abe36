//! Edits that cannot be carried out: a port that is taken, mistakes in the file, no file at all.

use tokio::net::TcpListener;

use super::knocker::Knocker;
use super::{Scene, closed, free_port, goes_on, greeted, is_ready, live};
use crate::addresses::anonymous;

const SAYS_NO: &str = "cannot be used as it is now";

/// A program that has the port of a tunnel.
async fn other_program() -> (TcpListener, u16) {
    let port = free_port();
    (TcpListener::bind(("127.0.0.1", port)).await.unwrap(), port)
}

#[tokio::test]
async fn a_port_that_is_taken_leaves_the_old_one_working() {
    let (_other, taken) = other_program().await;
    let (old, free) = (free_port(), free_port());
    let scene = Scene::start(&format!("a = \"{old} -> one:7\"\n")).await;
    let (mut stream, _) = greeted(old).await.unwrap();

    scene.edit(&format!("a = \"{taken} -> one:7\"\nb = \"0 -> two:7\"\n"));
    let line = scene.up.wait_line(|line| line.contains("port-taken"), "the port is taken").await;
    insta::assert_snapshot!(super::words(&anonymous(&line), &[(old, "OLD"), (taken, "TAKEN")]), @"ready    a            127.0.0.1:OLD -> one:7 through hub; but listening on 127.0.0.1:TAKEN: another program listens there [port-taken]");
    let a = scene.tunnel("a", |a| a.code.is_some()).await;
    assert_eq!((&*a.state, a.code.as_deref()), ("ready", Some("port-taken")));
    drop(greeted(old).await.unwrap());
    goes_on(&mut stream).await;
    // It is nobody else's trouble.
    scene.tunnel("b", is_ready).await;

    let saved = scene.edit(&format!("a = \"{free} -> one:7\"\nb = \"0 -> two:7\"\n"));
    drop(live(free, "one", saved, "moved, after the port was taken").await);
    closed(old).await;
    scene.tunnel("a", is_ready).await;
    goes_on(&mut stream).await;
    drop(stream);
    scene.env.finish(scene.up).await;
}

#[tokio::test]
async fn a_port_that_was_taken_is_tried_again_when_the_file_is_saved_again() {
    let (other, taken) = other_program().await;
    let old = free_port();
    let scene = Scene::start(&format!("a = \"{old} -> one:7\"\n")).await;
    scene.edit(&format!("a = \"{taken} -> one:7\"\n"));
    scene.tunnel("a", |a| a.code.as_deref() == Some("port-taken")).await;
    drop(other);
    let saved = scene.edit(&format!("a = \"{taken} -> one:7\"\n# It is free now.\n"));
    drop(live(taken, "one", saved, "moved, once the port was free").await);
    closed(old).await;
    scene.env.finish(scene.up).await;
}

#[tokio::test]
async fn a_new_tunnel_on_a_taken_port_is_blocked_and_others_come_up() {
    let (other, taken) = other_program().await;
    let free = free_port();
    let scene = Scene::start("a = \"0 -> one:7\"\n").await;
    let text = format!("a = \"0 -> one:7\"\nb = \"{taken} -> two:7\"\nc = \"{free} -> three:7\"\n");
    let saved = scene.edit(&text);
    drop(live(free, "three", saved, "added beside a taken port").await);
    let b = scene.tunnel("b", |b| b.state == "blocked").await;
    assert_eq!((b.code.as_deref(), b.listen.len()), (Some("port-taken"), 0));
    let is_it = |line: &str| line.contains("tunnels are ready");
    insta::assert_snapshot!(scene.up.wait_line(is_it, "how many are ready").await, @"2 of 3 tunnels are ready, 1 blocked; Ctrl-C stops it");
    let is_it = |line: &str| line.starts_with("blocked");
    let line = scene.up.wait_line(is_it, "a blocked tunnel").await;
    let (line, _when) = line.split_once("; looked at again in ").unwrap();
    insta::assert_snapshot!(super::words(&anonymous(line), &[(taken, "TAKEN")]), @"blocked  b            listening on 127.0.0.1:TAKEN: another program listens there [port-taken]");
    drop(other);
    let saved = scene.save(&(scene.text(&text) + "# Again.\n"));
    drop(live(taken, "two", saved, "added, once the port was free").await);
    scene.env.finish(scene.up).await;
}

#[tokio::test]
async fn who_takes_back_a_move_to_a_taken_port_has_lost_nothing() {
    let (_other, taken) = other_program().await;
    let old = free_port();
    let scene = Scene::start(&format!("a = \"{old} -> one:7\"\n")).await;
    let knocker = Knocker::start(old);
    for _ in 0..2 {
        scene.edit(&format!("a = \"{taken} -> one:7\"\n"));
        scene.tunnel("a", |a| a.code.as_deref() == Some("port-taken")).await;
        scene.edit(&format!("a = \"{old} -> one:7\"\n"));
        scene.tunnel("a", is_ready).await;
    }
    knocker.end().await;
    scene.env.finish(scene.up).await;
}

#[tokio::test]
async fn edits_do_not_put_off_the_next_look_at_a_taken_port() {
    let (_other, taken) = other_program().await;
    let text = |most: usize| {
        format!(
            "a = \"{taken} -> one:7\"\n\
             b = {{ listen = 0, target = \"two\", port = 7, max_connections = {most} }}\n"
        )
    };
    let scene = Scene::start_with(&text(0), &["-v"]).await;
    scene.tunnel("b", is_ready).await;
    for edit in 1..=4 {
        let generation = scene.status().await.generation;
        scene.edit(&text(edit));
        scene.until("the edit", |status| (status.generation > generation).then_some(())).await;
        let a = scene.tunnel("a", |a| a.state == "blocked").await;
        assert!(a.next_retry.unwrap() <= 60.0, "after {edit} edits: {:?}", a.next_retry);
    }
    scene.env.finish(scene.up).await;
}

#[tokio::test]
async fn taken_on_one_of_the_loopback_addresses_is_taken() {
    let taken = free_port();
    let Ok(_other) = TcpListener::bind(("::1", taken)).await else { return };
    let old = free_port();
    let scene = Scene::start(&format!("a = \"{old} -> one:7\"\n")).await;
    scene.edit(&format!("a = \"{taken} -> one:7\"\n"));
    let a = scene.tunnel("a", |a| a.code.is_some()).await;
    assert!(a.reason.unwrap().contains(&format!("[::1]:{taken}")));
    drop(greeted(old).await.unwrap());
    // Not even the half that was free is kept.
    closed(taken).await;
    scene.env.finish(scene.up).await;
}

#[tokio::test]
async fn mistakes_and_no_file_change_nothing_and_are_shown() {
    let port = free_port();
    let good = format!("a = \"{port} -> one:7\"\n");
    let scene = Scene::start(&good).await;
    let (mut stream, _) = greeted(port).await.unwrap();
    let before = scene.status().await;
    let all_ready = |line: &str| line.starts_with("Everything is ready");
    scene.up.wait_line(all_ready, "that all is ready").await;

    // What is right in it does not take effect either.
    scene.edit(&format!("b = \"0 -> one:7\"\na = \"{port} -> onn:7\"\n"));
    let refused = |line: &str| line.contains(SAYS_NO);
    scene.up.wait_line(refused, "that it is refused").await;
    insta::assert_snapshot!(scene.said_after(all_ready, &[(port, "PORT_")]), @r#"
    error[unknown-target]: there is no target `onn`
      --> bastion.toml:17:15
       |
    17 | a = "PORT_ -> onn:7"
       |               ^^^ not declared in `[targets]`
       |
    help: did you mean `one`?
       |
    17 - a = "PORT_ -> onn:7"
    17 + a = "PORT_ -> one:7"
       |

    warning: bastion.toml cannot be used as it is now; everything stays as it was
    "#);
    let now = scene.until("the mistakes", |status| status.rejected.clone()).await;
    assert!(now.contains('^'), "{now}");

    std::fs::remove_file(scene.env.path("bastion.toml")).unwrap();
    scene.until("that it is missed", |s| s.rejected.clone().filter(|why| why.contains("no such file"))).await;
    scene.up.wait_line(|line| line.contains("no such file"), "that it is missed").await;

    // As it is for a moment when a program empties it to write it again.
    scene.save("\n");
    scene.until("that it is empty", |s| s.rejected.clone().filter(|why| why.ends_with("is empty"))).await;
    scene.up.wait_line(|line| line == "bastion.toml is empty", "that it is empty").await;

    // The old text again, with a comment: nothing was changed.
    scene.save(&(scene.text(&good) + "# A comment.\n"));
    let again = |line: &str| line.contains("can be used again");
    scene.up.wait_line(again, "that it is good again").await;
    insta::assert_snapshot!(scene.said_after(refused, &[(port, "PORT_")]), @r"
    reading bastion.toml: there is no such file

    warning: bastion.toml cannot be used as it is now; everything stays as it was
    bastion.toml is empty

    warning: bastion.toml cannot be used as it is now; everything stays as it was
    bastion.toml can be used again
    ");
    let after = scene.status().await;
    assert_eq!((after.generation, after.rejected), (before.generation, None));
    assert_eq!(after.tunnels[0].since, before.tunnels[0].since);
    assert_eq!(scene.passes(1).await, 1, "the first one");
    goes_on(&mut stream).await;

    let new = free_port();
    let saved = scene.edit(&format!("a = \"{new} -> two:7\"\n"));
    drop(live(new, "two", saved, "a good edit after mistakes").await);
    goes_on(&mut stream).await;
    drop(stream);
    let said = scene.env.finish(scene.up).await;
    assert_eq!(said.matches("was changed:").count(), 1, "{said}");
}

#[tokio::test]
async fn mistakes_from_the_beginning_start_nothing() {
    let scene = Scene::start("a = \"0 -> one:7\"\n").await;
    scene.up.stop().await;
    scene.env.workspace(&scene.servers.workspace("a = \"0 -> onn:7\"\nb = \"0 -> one:7\"\n"));
    let output = scene.env.run(&["up"]).await;
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("did you mean `one`?") && said.contains("nothing was started"), "{said}");
}
