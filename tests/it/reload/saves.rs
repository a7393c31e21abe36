//! Every way of saving a file is one edit.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;

use bastion::control::{Answer, Request};
use bastion::model::AzCurrent;
use tokio::time::{Duration, Instant};

use super::{Scene, closed, free_port, greeted, live};
use crate::env::TestEnv;
use crate::process::{PATIENCE, succeed};
use crate::programs::{found, require};

/// Where the tunnel of these tests listens, and what answers there.
fn tunnel(port: u16, target: &str) -> String {
    format!("a = \"{port} -> {target}:7\"\n")
}

/// Saves this text in some way, and checks that it is one edit.
async fn one_edit(scene: &Scene, what: &str, save: impl AsyncFn(&Scene, &str)) {
    let (port, old) = (free_port(), scene.port("a").await);
    let before = scene.status().await.generation;
    // Until now, each edition had something to carry out.
    let passes = scene.passes(usize::try_from(before).unwrap()).await;
    let begun = Instant::now();
    save(scene, &scene.text(&tunnel(port, "two"))).await;
    let saved = Instant::now();
    drop(live(port, "two", saved, what).await);
    closed(old).await;
    let after = scene.until("the edit", |status| Some(status.generation).filter(|now| *now > before)).await;
    let all = scene.passes(passes + 1).await;
    assert_eq!((after, all), (before + 1, passes + 1), "{what}: more than one edit");
    // What a file is in between is nobody's business, unless the machine took its time.
    if saved - begun < Duration::from_millis(80) {
        let said = scene.up.stderr().join("\n");
        assert!(!said.contains("cannot be used"), "{what}: {said}");
    }
}

/// A scene, and its way of saving.
async fn edited(what: &str, save: impl AsyncFn(&Scene, &str)) {
    let scene = Scene::start(&tunnel(free_port(), "one")).await;
    // Twice: what is watched after the first edit is not what was watched before it.
    for _ in 0..2 {
        one_edit(&scene, what, &save).await;
    }
    scene.env.finish(scene.up).await;
}

fn write(path: &Path, text: &str) {
    let mut file = File::create(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.sync_all().unwrap();
}

#[tokio::test]
async fn as_vim_does() {
    edited("vim: the old file becomes a backup", async |scene, text| {
        let (file, backup) = (scene.env.path("bastion.toml"), scene.env.path("bastion.toml~"));
        // Open in the editor all the time, so its swap file lies there and is written to.
        let swap = scene.env.path(".bastion.toml.swp");
        fs::write(&swap, "b0VIM 9.1").unwrap();
        fs::rename(&file, &backup).unwrap();
        write(&file, text);
        fs::write(&swap, "b0VIM 9.1, saved").unwrap();
        fs::remove_file(&backup).unwrap();
        fs::remove_file(&swap).unwrap();
    })
    .await;
}

#[tokio::test]
async fn as_vim_does_with_a_copy_for_its_backup() {
    edited("vim, backupcopy=yes", async |scene, text| {
        let (file, backup) = (scene.env.path("bastion.toml"), scene.env.path("bastion.toml~"));
        fs::copy(&file, &backup).unwrap();
        write(&file, text);
        fs::remove_file(&backup).unwrap();
    })
    .await;
}

#[tokio::test]
async fn as_vs_code_does() {
    edited("VS Code: in place, in two writes", async |scene, text| {
        let mut file = File::create(scene.env.path("bastion.toml")).unwrap();
        // Cut in a place where neither part is a file.
        let (first, second) = text.split_at(text.find("emulator\"").unwrap());
        file.write_all(first.as_bytes()).unwrap();
        file.write_all(second.as_bytes()).unwrap();
    })
    .await;
}

#[tokio::test]
async fn as_most_programs_do() {
    edited("a new file over the old one", async |scene, text| {
        scene.save(text);
    })
    .await;
}

#[tokio::test]
async fn removed_and_made_again() {
    edited("removed and made again", async |scene, text| {
        fs::remove_file(scene.env.path("bastion.toml")).unwrap();
        write(&scene.env.path("bastion.toml"), text);
    })
    .await;
}

#[tokio::test]
async fn as_git_does() {
    if !require("a checkout", &["git"]) {
        return;
    }
    edited("git checkout", async |scene, text| {
        let env = &scene.env;
        let git = async |directory: &Path, arguments: &[&str]| {
            let mut git = env.command(found("git"));
            git.args(["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]).args(arguments);
            git.current_dir(directory);
            succeed(git, PATIENCE).await;
        };
        let (here, there) = (env.work(), env.path("elsewhere"));
        // Both branches are made elsewhere, so that nothing but the checkout touches the file.
        git(&here, &["init", "-q", "elsewhere"]).await;
        fs::copy(env.path("bastion.toml"), there.join("bastion.toml")).unwrap();
        for branch in ["old", "new"] {
            git(&there, &["checkout", "-q", "-b", branch]).await;
            git(&there, &["add", "bastion.toml"]).await;
            git(&there, &["commit", "-q", "-m", branch]).await;
            write(&there.join("bastion.toml"), text);
        }
        git(&here, &["init", "-q"]).await;
        git(&here, &["fetch", "-q", "elsewhere", "old:old", "new:new"]).await;
        git(&here, &["symbolic-ref", "HEAD", "refs/heads/old"]).await;
        git(&here, &["reset", "-q"]).await;
        git(&here, &["checkout", "-q", "new"]).await;
        assert_eq!(fs::read_to_string(env.path("bastion.toml")).unwrap(), text);
        fs::remove_dir_all(here.join(".git")).unwrap();
        fs::remove_dir_all(there).unwrap();
    })
    .await;
}

#[tokio::test]
async fn as_kubernetes_does() {
    let volume = |env: &TestEnv, version: &str, text: &str| {
        fs::create_dir(env.path(version)).unwrap();
        write(&env.path(version).join("bastion.toml"), text);
        symlink(version, env.path("..data_tmp")).unwrap();
        fs::rename(env.path("..data_tmp"), env.path("..data")).unwrap();
    };
    let scene = Scene::prepared(&tunnel(free_port(), "one"), &["-v"], |env, text| {
        volume(env, "..2026_01_01", text);
        symlink("..data/bastion.toml", env.path("bastion.toml")).unwrap();
    })
    .await;
    for (old, new) in [("..2026_01_01", "..2026_01_02"), ("..2026_01_02", "..2026_01_03")] {
        one_edit(&scene, "a volume of Kubernetes", async |scene, text| {
            volume(&scene.env, new, text);
            fs::remove_dir_all(scene.env.path(old)).unwrap();
        })
        .await;
    }
    scene.env.finish(scene.up).await;
}

#[tokio::test]
async fn a_link_whose_end_is_replaced() {
    let scene = Scene::prepared(&tunnel(free_port(), "one"), &["-v"], |env, text| {
        fs::create_dir(env.path("shared")).unwrap();
        write(&env.path("shared/tunnels.toml"), text);
        symlink("shared/tunnels.toml", env.path("bastion.toml")).unwrap();
    })
    .await;
    for _ in 0..2 {
        one_edit(&scene, "the end of a link", async |scene, text| {
            write(&scene.env.path("shared/new"), text);
            fs::rename(scene.env.path("shared/new"), scene.env.path("shared/tunnels.toml")).unwrap();
        })
        .await;
    }
    scene.env.finish(scene.up).await;
}

#[tokio::test]
async fn ten_saves_in_a_burst() {
    let scene = Scene::start(&tunnel(free_port(), "one")).await;
    let ports: Vec<u16> = (0..10).map(|_| free_port()).collect();
    one_edit(&scene, "ten saves in a burst", async |scene, text| {
        for port in &ports {
            scene.edit(&tunnel(*port, "three"));
        }
        scene.save(text);
    })
    .await;
    let said = scene.env.finish(scene.up).await;
    assert_eq!(said.matches("was changed:").count(), 1, "{said}");
}

#[tokio::test]
async fn the_personal_layer_and_that_of_the_environment_are_watched() {
    let (shared, own, dev) = (free_port(), free_port(), free_port());
    let layer = |port: u16| format!("[tunnels.a]\nlisten = {port}\n");
    let scene = Scene::prepared(&tunnel(shared, "one"), &["-v", "--env", "dev"], |env, text| {
        env.workspace(text);
        write(&env.path("bastion.dev.toml"), "");
    })
    .await;
    drop(greeted(shared).await.unwrap());
    let local = scene.env.path("bastion.local.toml");
    let saved = Instant::now();
    write(&local, &layer(own));
    drop(live(own, "one", saved, "bastion.local.toml was made").await);
    closed(shared).await;
    let saved = Instant::now();
    write(&scene.env.path("bastion.dev.toml"), &layer(dev));
    fs::remove_file(&local).unwrap();
    drop(live(dev, "one", saved, "bastion.local.toml is gone, bastion.dev.toml changed").await);
    let saved = Instant::now();
    write(&scene.env.path("bastion.dev.toml"), "# Nothing.\n");
    drop(live(shared, "one", saved, "bastion.dev.toml says nothing").await);
    // An environment without its file is none.
    fs::remove_file(scene.env.path("bastion.dev.toml")).unwrap();
    let why = scene.until("that it is missed", |status| status.rejected.clone()).await;
    assert!(why.contains("there is no environment `dev`"), "{why}");
    drop(greeted(shared).await.unwrap());
    scene.env.finish(scene.up).await;
}

#[tokio::test]
async fn unwatched_files_are_read_when_somebody_asks() {
    let (old, new) = (free_port(), free_port());
    let scene = Scene::start_with(&tunnel(old, "one"), &["-v", "--no-watch"]).await;
    scene.edit(&tunnel(new, "two"));
    let answer = scene.ask(Request::Plan { variables: [].into(), az: AzCurrent::SignedOut }).await;
    let Answer::Plan { lines, changes } = answer else { panic!("{answer:?}") };
    assert_eq!((lines.len(), changes), (1, 1));
    drop(greeted(old).await.unwrap());
    assert_eq!(scene.status().await.generation, 1);
    let saved = Instant::now();
    scene.ask(Request::Reload { variables: [].into(), az: AzCurrent::SignedOut }).await;
    drop(live(new, "two", saved, "`reload`").await);
    closed(old).await;
    scene.env.finish(scene.up).await;
}
