//! Which of the declared tunnels run: the default set, profiles, names and patterns, and what edits make of them.

use bastion::control::Status;

use crate::process::PATIENCE;
use crate::reload::{Scene, client, closed, free_port, is_ready, live, until};

/// The tunnels that there are, all of them ready.
fn ready(status: &Status) -> Option<Vec<String>> {
    let names = status.tunnels.iter().map(|tunnel| tunnel.name.clone()).collect();
    status.tunnels.iter().all(is_ready).then_some(names)
}

/// Waits until these run, and no others.
async fn run(scene: &Scene, names: &[&str]) {
    scene.until(&format!("{names:?}"), |status| ready(status).filter(|ready| ready == names)).await;
}

/// A tunnel of a profile.
fn of(profile: &str, name: &str) -> String {
    format!("{name} = {{ listen = 0, target = \"two\", port = 7, profiles = [\"{profile}\"] }}\n")
}

const PLAIN: &str = "plain = \"0 -> one:7\"\n";

#[tokio::test]
async fn profiles_run_when_they_are_named() {
    let all = format!("{PLAIN}{}{}", of("debug", "jmx"), of("batch", "queue"));
    let scene = Scene::start(&all).await;
    run(&scene, &["plain"]).await;
    scene.up.stop().await;

    let scene = Scene::start_with(&all, &["-v", "--profile", "debug"]).await;
    run(&scene, &["jmx", "plain"]).await;
    // What belongs to it from now on runs, and what belongs to another one only does not.
    scene.edit(&format!("{all}{}{}", of("debug", "heap"), of("batch", "other")));
    run(&scene, &["heap", "jmx", "plain"]).await;
    scene.edit(&format!("{PLAIN}{}{}", of("batch", "jmx"), of("debug", "queue")));
    run(&scene, &["plain", "queue"]).await;
    scene.env.finish(scene.up).await;
}

#[tokio::test]
async fn the_environment_names_profiles_too() {
    let scene = Scene::start(&format!("{PLAIN}{}{}", of("debug", "jmx"), of("batch", "queue"))).await;
    let Scene { env, up, .. } = scene;
    up.stop().await;
    let mut command = env.bastion(&["up"]);
    command.env("BASTION_PROFILE", "debug, batch");
    let up = env.run_command(command);
    let client = client(&env, &up).await;
    let names = until(&client, &up, "all three", |status| ready(status).filter(|all| all.len() == 3)).await;
    assert_eq!(names, ["jmx", "plain", "queue"]);
    up.stop().await;
}

#[tokio::test]
async fn a_tunnel_is_taken_out_and_put_back() {
    let port = free_port();
    let a = |more: &str| format!("{PLAIN}a = {{ listen = {port}, target = \"two\", port = 7{more} }}\n");
    let scene = Scene::start(&a(", enabled = false")).await;
    run(&scene, &["plain"]).await;
    for _ in 0..2 {
        let saved = scene.edit(&a(""));
        drop(live(port, "two", saved, "put back").await);
        scene.edit(&a(", enabled = false"));
        closed(port).await;
        run(&scene, &["plain"]).await;
    }
    scene.env.finish(scene.up).await;
}

#[tokio::test]
async fn edits_start_nothing_beside_what_was_named() {
    let (old, new) = (free_port(), free_port());
    let a = |port: u16| format!("a = \"{port} -> one:7\"\n");
    let scene = Scene::start_with(&format!("{PLAIN}{}", a(old)), &["-v", "a"]).await;
    run(&scene, &["a"]).await;
    // Another is changed, a third one is new, and what was named is moved.
    let saved = scene.edit(&format!("plain = \"0 -> two:7\"\nb = \"0 -> two:7\"\n{}", a(new)));
    drop(live(new, "one", saved, "the only one that was named").await);
    run(&scene, &["a"]).await;
    // It is gone and comes back; nothing else does.
    scene.edit(PLAIN);
    closed(new).await;
    run(&scene, &[]).await;
    let saved = scene.edit(&format!("{PLAIN}{}", a(old)));
    drop(live(old, "one", saved, "what was named, once it is there again").await);
    run(&scene, &["a"]).await;
    scene.env.finish(scene.up).await;
}

#[tokio::test]
async fn what_fits_a_pattern_later_runs_too() {
    let scene = Scene::start_with(&format!("{PLAIN}db-a = \"0 -> one:7\"\n"), &["-v", "db-*"]).await;
    run(&scene, &["db-a"]).await;
    scene.edit(&format!("{PLAIN}db-a = \"0 -> one:7\"\ndb-b = \"0 -> two:7\"\nweb = \"0 -> two:7\"\n"));
    run(&scene, &["db-a", "db-b"]).await;
    scene.env.finish(scene.up).await;
}

#[tokio::test]
async fn a_name_that_no_tunnel_has_starts_nothing() {
    let scene = Scene::start(PLAIN).await;
    let Scene { env, up, .. } = scene;
    up.stop().await;
    for (arguments, what) in [(["up", "plian"], "plain"), (["up", "db-*"], "db-*")] {
        let output = crate::process::output(env.bastion(&arguments), PATIENCE).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(what), "{said}");
    }
}
