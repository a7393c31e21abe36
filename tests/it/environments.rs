//! Several instances side by side: environments, checkouts and people, each with its own ports and its own socket.

use std::fs;
use std::path::{Path, PathBuf};

use bastion::control::client::Client;
use bastion::instance::list;
use tokio::time::Instant;

use crate::env::{Running, TestEnv};
use crate::process::{self, PATIENCE};
use crate::reload::{Servers, client_at, closed, free_port, goes_on, greeted, is_ready, live, places, until};

/// What every file here says: one tunnel, and nothing that two emulators would write to.
fn text(servers: &Servers, target: &str) -> String {
    let text = servers.workspace(&format!("a = \"1000 -> {target}:7\"\n"));
    text.replace("log = \"requests.jsonl\"\n", "")
}

/// What has to be added to the port that the file says.
fn offset(port: u16) -> String {
    format!("[defaults]\nport_offset = {}\n", port - 1000)
}

/// An `up` that is ready.
struct Instance {
    up: Running,
    client: Client,
}

impl Instance {
    async fn start(env: &TestEnv, arguments: &[&str], directory: &Path, home: &Path) -> Self {
        let mut command = env.bastion(&[&["up", "-v"], arguments].concat());
        command.current_dir(directory).env("HOME", home);
        let up = env.run_command(command);
        let client = client_at(&places(home), &up).await;
        let all = |status: &bastion::control::Status| {
            (!status.tunnels.is_empty() && status.tunnels.iter().all(is_ready)).then_some(())
        };
        until(&client, &up, "that all is ready", all).await;
        Self { up, client }
    }

    async fn stop(self) {
        let said = self.up.stop().await;
        assert!(said.contains("Stopped; every session is deleted"), "{said}");
    }
}

/// The sockets of the instances of a user, each with its environment.
fn sockets(home: &Path) -> Vec<(PathBuf, Option<String>)> {
    let mut all: Vec<_> =
        list(&places(home)).unwrap().into_iter().map(|owner| (owner.socket, owner.environment)).collect();
    all.sort();
    all.dedup_by(|one, other| one.0 == other.0);
    all
}

#[tokio::test]
async fn environments_run_side_by_side() {
    let (env, servers) = (TestEnv::new(), Servers::start().await);
    let (dev, staging) = (free_port(), free_port());
    env.workspace(&text(&servers, "one"));
    let staged = format!("{}[tunnels]\na = {{ target = \"two\" }}\n", offset(staging));
    fs::write(env.path("bastion.dev.toml"), offset(dev)).unwrap();
    fs::write(env.path("bastion.staging.toml"), staged).unwrap();
    let (work, home) = (env.work(), env.home());
    let one = Instance::start(&env, &["--env", "dev"], &work, &home).await;
    let two = Instance::start(&env, &["--env", "staging"], &work, &home).await;
    let (mut stream, name) = greeted(dev).await.unwrap();
    assert_eq!((&*name, &*greeted(staging).await.unwrap().1), ("one", "two"));
    let known: Vec<_> = sockets(&home).into_iter().filter_map(|(_, environment)| environment).collect();
    assert_eq!(known.len(), 2, "{known:?}");
    for (instance, environment) in [(&one, "dev"), (&two, "staging")] {
        assert_eq!(instance.client.status().await.unwrap().env.as_deref(), Some(environment));
    }

    // What concerns one of them is no edit for the other; what both have in common is one for both.
    let moved = free_port();
    let before = one.client.status().await.unwrap().generation;
    let saved = Instant::now();
    fs::write(env.path("bastion.staging.toml"), offset(moved)).unwrap();
    drop(live(moved, "one", saved, "another environment was edited").await);
    closed(staging).await;
    assert_eq!(one.client.status().await.unwrap().generation, before);
    let saved = Instant::now();
    env.workspace(&text(&servers, "three"));
    drop(live(dev, "three", saved, "what environments share, the one").await);
    drop(live(moved, "three", saved, "what environments share, the other").await);
    goes_on(&mut stream).await;

    two.stop().await;
    closed(moved).await;
    goes_on(&mut stream).await;
    drop(stream);
    one.stop().await;
}

#[tokio::test]
async fn two_checkouts_run_side_by_side() {
    let (env, servers) = (TestEnv::new(), Servers::start().await);
    let home = env.home();
    let mut instances = Vec::new();
    for (checkout, target) in [("main", "one"), ("feature", "two")] {
        let (directory, port) = (env.path(checkout), free_port());
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("bastion.toml"), text(&servers, target)).unwrap();
        fs::write(directory.join("bastion.local.toml"), offset(port)).unwrap();
        let instance = Instance::start(&env, &[], &directory, &home).await;
        instances.push((instance, port, target, checkout));
    }
    assert_eq!(sockets(&home).len(), 2);
    for (instance, port, target, checkout) in &instances {
        assert_eq!(greeted(*port).await.unwrap().1, *target);
        let status = instance.client.status().await.unwrap();
        assert_eq!(&status.workspace, checkout, "a workspace without a name is called like its directory");
    }
    for (instance, port, ..) in instances {
        instance.stop().await;
        closed(port).await;
    }
}

/// A person, with a configuration of their own.
fn person(env: &TestEnv, name: &str, config: &str) -> PathBuf {
    let home = env.path(name);
    fs::create_dir_all(home.join(".config/bastion")).unwrap();
    fs::write(home.join(".config/bastion/config.toml"), config).unwrap();
    home
}

#[tokio::test]
async fn two_people_share_a_workspace_and_no_port() {
    let (env, servers) = (TestEnv::new(), Servers::start().await);
    env.workspace(&text(&servers, "one"));
    let mut people = Vec::new();
    for (name, credential) in [("ada", "azure-cli"), ("bob", "managed-identity")] {
        let port = free_port();
        let config = format!("{}[azure]\ncredential = \"{credential}\"\n", offset(port));
        let home = person(&env, name, &config);
        let instance = Instance::start(&env, &[], &env.work(), &home).await;
        people.push((instance, home, port, credential));
    }
    assert_ne!(sockets(&people[0].1), sockets(&people[1].1));
    for (_, home, port, credential) in &people {
        assert_eq!(sockets(home).len(), 1);
        assert_eq!(greeted(*port).await.unwrap().1, "one");
        // Who signs in is a person's own business: nothing of it stands in what they share.
        let mut config = env.bastion(&["config", "--format", "json"]);
        config.env("HOME", home);
        let text = String::from_utf8(process::succeed(config, PATIENCE).await).unwrap();
        assert!(
            text.contains(&format!("\\\"{credential}\\\"")) && text.contains(&*home.to_string_lossy()),
            "{text}"
        );
    }

    // A person's own configuration is watched as well.
    let (_, home, old, _) = &people[0];
    let moved = free_port();
    let saved = Instant::now();
    fs::write(home.join(".config/bastion/config.toml"), offset(moved)).unwrap();
    drop(live(moved, "one", saved, "one's own configuration").await);
    closed(*old).await;
    drop(greeted(people[1].2).await.unwrap());
    for (instance, ..) in people {
        instance.stop().await;
    }
}

#[tokio::test]
async fn a_configuration_of_ones_own_may_appear_while_it_runs() {
    let (env, servers) = (TestEnv::new(), Servers::start().await);
    let (port, offset_port) = (free_port(), free_port());
    env.workspace(&text(&servers, "one").replace("1000 ->", &format!("{port} ->")));
    let home = env.home();
    let instance = Instance::start(&env, &[], &env.work(), &home).await;
    let saved = Instant::now();
    fs::create_dir_all(home.join(".config/bastion")).unwrap();
    let text = format!("[defaults]\nport_offset = {}\n", i32::from(offset_port) - i32::from(port));
    fs::write(home.join(".config/bastion/config.toml"), text).unwrap();
    drop(live(offset_port, "one", saved, "a configuration of one's own appeared").await);
    closed(port).await;
    fs::remove_dir_all(home.join(".config")).unwrap();
    let saved = Instant::now();
    drop(live(port, "one", saved, "and is gone").await);
    instance.stop().await;
}
