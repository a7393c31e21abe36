//! `worktree_offset`: linked git worktrees are up beside each other, each on ports of its own, without another word.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::env::{Running, TestEnv};
use crate::process::{self, PATIENCE};
use crate::reload::{Servers, greeted};

/// A repository whose file counts on its worktrees.
struct Repository {
    env: TestEnv,
    port: u16,
}

impl Repository {
    /// None where there is no git.
    async fn new(servers: &Servers) -> Option<Self> {
        let env = TestEnv::new();
        if env.command(Path::new("git")).arg("--version").output().await.is_err() {
            eprintln!("SKIPPED: `git` is not installed");
            return None;
        }
        // Where no system picks ports for connections: nobody else takes one of them meanwhile.
        let first = 10_000 + u16::try_from(std::process::id() % 5_000).unwrap();
        let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
        let all_free = |port: &u16| [*port, port + 1000, port + 2000].iter().all(is_free);
        let port = (first..first + 1000).find(all_free).unwrap();
        let text = servers.workspace(&format!("a = \"{port} -> one:7\"\n"));
        // Each checkout's emulator writes into its own directory.
        env.workspace(&format!("{text}[defaults]\nworktree_offset = 1000\n"));
        let repository = Self { env, port };
        repository.git(&["init", "--quiet"]).await;
        repository.git(&["add", "bastion.toml"]).await;
        repository.git(&["commit", "--quiet", "--message", "All that there is"]).await;
        Some(repository)
    }

    async fn git(&self, arguments: &[&str]) {
        let mut git = self.env.command(Path::new("git"));
        git.args(["-c", "user.name=A", "-c", "user.email=a@localhost"]).args(arguments);
        let output = process::output(git, PATIENCE).await;
        assert!(output.status.success(), "{output:?}");
    }

    async fn add(&self, name: &str) {
        self.git(&["worktree", "add", "--quiet", "-b", name, &format!("../{name}")]).await;
    }

    fn up(&self, checkout: &str) -> Running {
        let mut up = self.env.bastion(&["up"]);
        up.current_dir(self.env.work().parent().unwrap().join(checkout));
        self.env.run_command(up)
    }

    async fn says(&self, checkout: &str, arguments: &[&str]) -> Value {
        let mut command = self.env.bastion(&[arguments, &["--format", "json"]].concat());
        command.current_dir(self.env.work().parent().unwrap().join(checkout));
        let output = process::output(command, PATIENCE).await;
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    async fn planned(&self, checkout: &str) -> u16 {
        let plan = self.says(checkout, &["plan"]).await;
        let line = plan["lines"][0].as_str().unwrap().to_owned();
        line.split(['>', ' ']).find_map(|word| word.strip_prefix("localhost:")?.parse().ok()).unwrap()
    }
}

#[tokio::test]
async fn checkouts_are_up_at_once_without_another_word() {
    let servers = Servers::start().await;
    let Some(repository) = Repository::new(&servers).await else { return };
    let port = repository.port;
    repository.add("first").await;
    repository.add("second").await;
    // Whoever only asks is given no number.
    assert_eq!(repository.planned("second").await, port + 1000);
    let main = repository.up("work");
    let first = repository.up("first");
    assert_eq!((main.address("a").await.port(), first.address("a").await.port()), (port, port + 1000));
    assert_eq!(repository.planned("second").await, port + 2000);
    let second = repository.up("second");
    assert_eq!(second.address("a").await.port(), port + 2000);
    for offset in [0, 1000, 2000] {
        assert_eq!(greeted(port + offset).await.unwrap().1, "one");
    }
    let listen = repository.says("second", &["port", "a"]).await["listen"][0].clone();
    assert_eq!(listen, format!("127.0.0.1:{}", port + 2000));
    let config = repository.says("second", &["config"]).await;
    let offset = config["values"].as_array().unwrap().iter().find(|v| v["key"] == "defaults.worktree_offset");
    assert_eq!(offset.unwrap()["value"], "1000 # this git worktree has the number 2");
    first.stop().await;
    main.stop().await;

    // Each keeps its own; one that is removed gives its number back.
    let first = repository.up("first");
    assert_eq!(first.address("a").await.port(), port + 1000);
    first.stop().await;
    repository.git(&["worktree", "remove", "--force", "../first"]).await;
    repository.add("third").await;
    let third = repository.up("third");
    assert_eq!(third.address("a").await.port(), port + 1000);
    third.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn a_worktree_that_leaves_the_range_is_told_so() {
    let servers = Servers::start().await;
    let Some(repository) = Repository::new(&servers).await else { return };
    repository.add("first").await;
    let there = repository.env.work().parent().unwrap().join("first/bastion.local.toml");
    fs::write(there, "[defaults]\nworktree_offset = 65000\n").unwrap();
    let (code, said) = repository.up("first").wait().await;
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("in the git worktree with the number 1 this is port"), "{said}");
    assert!(said.contains("added to it once"), "{said}");
}
