//! What is refused before anything is started, and in which words.

use super::{WORKSPACE, said, said_of, words};
use crate::env::TestEnv;
use crate::process;

#[tokio::test]
async fn commands_that_are_not_built_yet_are_refused_by_name() {
    for command in [
        "add",
        "bench",
        "broker",
        "completions",
        "env",
        "export",
        "import",
        "init",
        "list",
        "login",
        "logout",
        "logs",
        "man",
        "proxy",
        "rdp",
        "report",
        "restart",
        "retry",
        "run",
        "ssh",
        "timeline",
        "trust",
    ] {
        let expected = format!(
            "exit 2\n----- err\nerror: `bastion {command}` is not supported yet\nhint: `bastion --help` lists what is"
        );
        assert_eq!(said(&[command]).await, expected);
        assert_eq!(said(&[command, "--with", "arguments"]).await, expected);
    }
}

#[tokio::test]
async fn flags_that_are_not_built_yet_are_refused_by_name() {
    for (arguments, name) in [
        (&["down", "--format", "json"][..], "--format"),
        (&["check", "--online"], "check --online"),
        (&["check", "--online", "--probe"], "check --online --probe"),
        (&["status", "--all"], "status --all"),
        (&["ps", "--watch"], "status --watch"),
        (&["status", "--short"], "status --short"),
        (&["down", "--all"], "down --all"),
        (&["up", "-d"], "up --detach"),
        (&["up", "--detach"], "up --detach"),
        (&["up", "--wait"], "up --wait"),
        (&["up", "--wait=5s"], "up --wait"),
        (&["up", "--best-effort"], "up --best-effort"),
        (&["up", "--metrics", "127.0.0.1:0"], "up --metrics"),
    ] {
        let told = said_of(WORKSPACE, arguments).await;
        assert_eq!(told, format!("exit 2\n----- err\nerror: `{name}` is not supported yet"), "{arguments:?}");
    }
}

/// A full disk takes nothing: a command whose data is lost has not done what it was asked.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn data_that_cannot_be_written_is_a_failure() {
    let env = TestEnv::new();
    env.workspace(WORKSPACE);
    for arguments in [
        &["schema"][..],
        &["config"],
        &["plan"],
        &["check"],
        &["explain"],
        &["status", "--format", "json"],
        &["--quiet", "schema", "status"],
    ] {
        let mut command = env.command(env!("CARGO_BIN_EXE_bastion"));
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        command.args(arguments).stdout(full).stderr(std::process::Stdio::piped());
        let ended = command.spawn().unwrap().wait_with_output();
        let ended = tokio::time::timeout(process::PATIENCE, ended).await.unwrap().unwrap();
        let said = words(&env, &ended);
        assert!(
            said.starts_with("exit 1\n") && said.contains("error: writing to standard output: "),
            "{arguments:?}: {said}"
        );
    }
}

#[tokio::test]
async fn words_that_are_nearly_commands() {
    insta::assert_snapshot!(said(&["upp"]).await, @r#"
    exit 2
    ----- err
    error: there is no command `upp`
    hint: did you mean `bastion up`?
    "#);
    insta::assert_snapshot!(said(&["tunel", "x"]).await, @r#"
    exit 2
    ----- err
    error: there is no command `tunel`
    hint: did you mean `bastion tunnel`?
    "#);
    insta::assert_snapshot!(said(&["statsu"]).await, @r#"
    exit 2
    ----- err
    error: there is no command `statsu`
    hint: did you mean `bastion status`?
    "#);
    insta::assert_snapshot!(said(&["frobnicate"]).await, @r#"
    exit 2
    ----- err
    error: there is no command `frobnicate`
    hint: `bastion --help` lists the commands
    "#);
    insta::assert_snapshot!(said(&["up", "--detatch"]).await, @r#"
    exit 2
    ----- err
    error: unexpected argument '--detatch' found

      tip: a similar argument exists: '--detach'

    Usage: bastion up [OPTIONS] [TUNNEL]...

    For more information, try '--help'.
    "#);
    insta::assert_snapshot!(said(&["tunnel"]).await, @r#"
    exit 2
    ----- err
    error: the following required arguments were not provided:
      --name <NAME>
      --resource-group <GROUP>
      --resource-port <PORT>
      <--target-resource-id <ID>|--target-ip-address <ADDRESS>>

    Usage: bastion tunnel --name <NAME> --resource-group <GROUP> --resource-port <PORT> <--target-resource-id <ID>|--target-ip-address <ADDRESS>>

    For more information, try '--help'.
    "#);
}

#[tokio::test]
async fn no_workspace() {
    insta::assert_snapshot!(said(&["up"]).await, @r#"
    exit 2
    ----- err
    error: there is no bastion.toml in WORK or in the directories above it
    hint: `-f FILE` names one; `bastion tunnel` needs none
    "#);
    insta::assert_snapshot!(said(&["up", "-f", "elsewhere.toml"]).await, @r#"
    exit 2
    ----- err
    error: reading elsewhere.toml: there is no such file
    "#);
    insta::assert_snapshot!(said(&["emulator"]).await, @r#"
    exit 2
    ----- err
    error: there is no bastion.toml in WORK or in the directories above it
    hint: `-f FILE` names one; `bastion tunnel` needs none
    "#);
}

#[tokio::test]
async fn a_file_with_mistakes() {
    let text = WORKSPACE.replace("-> web:80", "-> wbe:80").replace("cloud", "clod");
    insta::assert_snapshot!(said_of(&text, &["up"]).await, @r#"
    exit 2
    ----- err
    error[unknown-key]: unknown key `clod` in `[azure]`
     --> bastion.toml:2:1
      |
    2 | clod = "emulator"
      | ^^^^ not a key of this table
      |
    help: did you mean `cloud`?
      |
    2 | cloud = "emulator"
      |    +

    error[unknown-target]: there is no target `wbe`
      --> bastion.toml:10:14
       |
    10 | page = "0 -> wbe:80"
       |              ^^^ not declared in `[targets]`
       |
    help: did you mean `web`?
       |
    10 - page = "0 -> wbe:80"
    10 + page = "0 -> web:80"
       |

    error: bastion.toml has 2 mistakes; nothing was started
    "#);
    insta::assert_snapshot!(said_of("[tunnels\n", &["up"]).await, @r#"
    exit 2
    ----- err
    error[syntax]: unclosed table, expected `]`
     --> bastion.toml:1:9
      |
    1 | [tunnels
      |         ^

    error: bastion.toml has 1 mistake; nothing was started
    "#);
}

#[tokio::test]
async fn names_of_tunnels() {
    insta::assert_snapshot!(said_of(WORKSPACE, &["up", "pgae"]).await, @r#"
    exit 2
    ----- err
    error: there is no tunnel `pgae` in this workspace [unknown-tunnel]
    hint: did you mean `page`?
    "#);
    insta::assert_snapshot!(said_of(WORKSPACE, &["up", "page", "database"]).await, @r#"
    exit 2
    ----- err
    error: there is no tunnel `database` in this workspace [unknown-tunnel]
    hint: it has: page
    "#);
    insta::assert_snapshot!(said_of("[azure]\ncloud = \"emulator\"\n", &["up"]).await, @r#"
    exit 2
    ----- err
    error: this workspace declares no tunnel
    hint: add one: `[tunnels]` with `web = "8080 -> TARGET:80"`
    "#);
}

#[tokio::test]
async fn an_emulator_of_what_lives_in_azure_itself() {
    let azure = "[azure]\nsubscription = \"s\"\nresource_group = \"rg\"\n";
    let text = WORKSPACE.replace("[azure]\ncloud = \"emulator\"\n", azure);
    assert_ne!(text, WORKSPACE);
    insta::assert_snapshot!(said_of(&text, &["emulator"]).await, @r#"
    exit 2
    ----- err
    error: this workspace lives in Azure itself: there is nothing to emulate
    hint: `cloud = "emulator"` in `[azure]` has it run against an emulator
    "#);
}

#[tokio::test]
async fn a_workspace_of_someone_else() {
    let env = TestEnv::new();
    env.workspace(WORKSPACE);
    // Only root can give a file away.
    if process::output(
        {
            let mut chown = env.command("chown");
            chown.args(["12345", "bastion.toml"]);
            chown
        },
        process::PATIENCE,
    )
    .await
    .status
    .success()
    {
        // Root believes itself only.
        insta::assert_snapshot!(words(&env, &env.run(&["up"]).await), @r#"
        exit 2
        ----- err
        error: WORK/bastion.toml belongs to another user, so it is not used
        hint: a file says where connections go: name it with `-f` if you trust it
        "#);
    } else {
        println!("SKIPPED: a file of another user's can be made by root only");
    }
}

#[tokio::test]
async fn an_emulator_that_is_not_there() {
    let env = TestEnv::new();
    env.workspace(WORKSPACE);
    std::fs::write(env.path("nonsense"), "nonsense").unwrap();
    std::fs::write(env.path("empty"), "{}").unwrap();
    let run = async |file: &str| {
        let mut command = env.bastion(&["up"]);
        command.env("BASTION_EMULATOR", file);
        words(&env, &process::output(command, process::PATIENCE).await)
    };
    insta::assert_snapshot!(run("nowhere").await, @r#"
    exit 2
    ----- err
    error: reading nowhere (BASTION_EMULATOR): there is no such file; has the emulator ended?
    hint: start `bastion emulator`: it says what to set; without BASTION_EMULATOR, Azure is emulated in this process
    "#);
    insta::assert_snapshot!(run("nonsense").await, @r#"
    exit 2
    ----- err
    error: reading nonsense (BASTION_EMULATOR): it is not a file that `bastion emulator` writes
    hint: start `bastion emulator`: it says what to set; without BASTION_EMULATOR, Azure is emulated in this process
    "#);
    insta::assert_snapshot!(run("empty").await, @r#"
    exit 2
    ----- err
    error: reading empty (BASTION_EMULATOR): it is not a file that `bastion emulator` writes: it has no `address`
    hint: start `bastion emulator`: it says what to set; without BASTION_EMULATOR, Azure is emulated in this process
    "#);
}

#[tokio::test]
async fn wrong_proxies() {
    let env = TestEnv::new();
    env.workspace(WORKSPACE);
    let emulator = env.emulator(&[]).await;
    let mut command = env.bastion(&["up"]);
    command.env("BASTION_EMULATOR", env.work().parent().unwrap().join("emulator.json"));
    command.env("HTTPS_PROXY", "socks5://user:secret@proxy:1080");
    let output = process::output(command, process::PATIENCE).await;
    let told = words(&env, &output).replace(&*env.work().parent().unwrap().to_string_lossy(), "ROOT");
    insta::assert_snapshot!(told, @r#"
    exit 2
    ----- err
    error: HTTPS_PROXY cannot be used: it is not of the form http://[USER:PASSWORD@]HOST[:PORT]
    hint: `proxy = "none"` in `[network]` of your own configuration goes without a proxy
    "#);
    emulator.into_running().stop().await;
}

#[tokio::test]
async fn tunnels_of_a_profile_are_not_part_of_the_default_set() {
    let env = TestEnv::new();
    env.workspace(
        "[azure]\ncloud = \"emulator\"\n[bastions.hub]\n[targets]\nweb = { vm = \"vm-web\" }\n\
         [tunnels.web]\nlisten = 0\nport = 80\nprofiles = [\"debug\"]\n",
    );
    let output = env.run(&["up"]).await;
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("every tunnel of this workspace belongs to a profile"), "{said}");
    let up = env.up(&["web"]);
    up.address("web").await;
    up.stop().await;
}
