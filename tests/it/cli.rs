//! Every word that a user sees of the commands: exit code, standard output, standard error.

use std::process::Output;

use tokio::net::TcpListener;

use crate::env::TestEnv;
use crate::process;

const WORKSPACE: &str = r#"[azure]
cloud = "emulator"

[bastions.hub]

[targets]
web = { vm = "vm-web" }

[tunnels]
page = "0 -> web:80"
"#;

/// What a command said, and how it ended; what differs from run to run is replaced.
fn words(env: &TestEnv, output: &Output) -> String {
    let text = |bytes: &[u8]| {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let text = text.replace(&env.work().display().to_string(), "WORK");
        text.replace(&env.work().canonicalize().unwrap().display().to_string(), "WORK").trim_end().to_owned()
    };
    let mut all = format!("exit {}", output.status.code().unwrap_or(-1));
    for (name, bytes) in [("out", &output.stdout), ("err", &output.stderr)] {
        if !bytes.is_empty() {
            all.push_str(&format!("\n----- {name}\n{}", text(bytes)));
        }
    }
    all
}

async fn said(arguments: &[&str]) -> String {
    let env = TestEnv::new();
    words(&env, &env.run(arguments).await)
}

/// With a workspace.
async fn said_of(workspace: &str, arguments: &[&str]) -> String {
    let env = TestEnv::new();
    env.workspace(workspace);
    words(&env, &env.run(arguments).await)
}

#[tokio::test]
async fn alone() {
    insta::assert_snapshot!(said(&[]).await, @r#"
    exit 2
    ----- err
    Tunnels through Azure Bastion, declared in a file

    Usage: bastion [OPTIONS] <COMMAND>

    Commands:
      up        Bring tunnels up and keep them up, in the foreground
      tunnel    Open one tunnel without a file, with the options of `az network bastion tunnel`
      emulator  Run a local stand-in for Azure: sign-in, Resource Manager, Bastion gateway
      help      Print this message or the help of the given subcommand(s)

    Options:
      -h, --help     Print help (see more with '--help')
      -V, --version  Print version

    Global options:
      -f, --file <FILE>   The workspace file, in place of the nearest bastion.toml
      -v, --verbose...    Say more: -v what happens to connections, -vv each one of them
      -q, --quiet         Say nothing but errors
          --color <WHEN>  When to colour [default: auto] [possible values: auto, always, never]
    "#);
}

#[tokio::test]
async fn help() {
    insta::assert_snapshot!(said(&["--help"]).await, @r#"
    exit 0
    ----- out
    Tunnels through Azure Bastion, declared in a file

    Reads bastion.toml in this directory or the nearest one above it, and keeps the tunnels it declares
    up.

    Usage: bastion [OPTIONS] <COMMAND>

    Commands:
      up        Bring tunnels up and keep them up, in the foreground
      tunnel    Open one tunnel without a file, with the options of `az network bastion tunnel`
      emulator  Run a local stand-in for Azure: sign-in, Resource Manager, Bastion gateway
      help      Print this message or the help of the given subcommand(s)

    Options:
      -h, --help
              Print help (see a summary with '-h')

      -V, --version
              Print version

    Global options:
      -f, --file <FILE>
              The workspace file, in place of the nearest bastion.toml

      -v, --verbose...
              Say more: -v what happens to connections, -vv each one of them

      -q, --quiet
              Say nothing but errors

          --color <WHEN>
              When to colour
              
              [default: auto]
              [possible values: auto, always, never]
    "#);
}

#[tokio::test]
async fn help_of_up() {
    insta::assert_snapshot!(said(&["up", "--help"]).await, @r#"
    exit 0
    ----- out
    Bring tunnels up and keep them up, in the foreground

    Usage: bastion up [OPTIONS] [TUNNEL]...

    Arguments:
      [TUNNEL]...  Tunnels by name; all of the file when none is given

    Options:
      -h, --help  Print help

    Global options:
      -f, --file <FILE>   The workspace file, in place of the nearest bastion.toml
      -v, --verbose...    Say more: -v what happens to connections, -vv each one of them
      -q, --quiet         Say nothing but errors
          --color <WHEN>  When to colour [default: auto] [possible values: auto, always, never]
    "#);
}

#[tokio::test]
async fn help_of_tunnel() {
    insta::assert_snapshot!(said(&["tunnel", "--help"]).await, @r#"
    exit 0
    ----- out
    Open one tunnel without a file, with the options of `az network bastion tunnel`

    Usage: bastion tunnel [OPTIONS] --name <NAME> --resource-group <GROUP> --resource-port <PORT> <--target-resource-id <ID>|--target-ip-address <ADDRESS>>

    Options:
      -n, --name <NAME>
              The bastion's name

      -g, --resource-group <GROUP>
              The bastion's resource group

          --subscription <SUBSCRIPTION>
              The bastion's subscription

          --target-resource-id <ID>
              The target's resource ID

          --target-ip-address <ADDRESS>
              The target's IPv4 address (IP-based connection)

          --resource-port <PORT>
              The port on the target

          --port <PORT>
              The local port; 0 takes any free one
              
              [default: 0]

          --timeout <SECONDS>
              End after this many seconds

          --cloud <CLOUD>
              Which Azure

              Possible values:
              - public:   Azure (signing in is not supported yet)
              - emulator: The emulator: in this process, or the one that BASTION_EMULATOR names
              
              [default: public]

      -h, --help
              Print help (see a summary with '-h')

    Global options:
      -f, --file <FILE>
              The workspace file, in place of the nearest bastion.toml

      -v, --verbose...
              Say more: -v what happens to connections, -vv each one of them

      -q, --quiet
              Say nothing but errors

          --color <WHEN>
              When to colour
              
              [default: auto]
              [possible values: auto, always, never]
    "#);
}

#[tokio::test]
async fn help_of_emulator() {
    insta::assert_snapshot!(said(&["emulator", "--help"]).await, @r#"
    exit 0
    ----- out
    Run a local stand-in for Azure: sign-in, Resource Manager, Bastion gateway

    Usage: bastion emulator [OPTIONS]

    Options:
          --listen <ADDRESS>  Where to listen; port 0 takes any free one [default: 127.0.0.1:0]
          --endpoint <FILE>   The file to write how to reach it; it holds the emulator's own token and
                              is removed at the end
          --log <FILE>        Write every request to this file, one JSON object a line
      -h, --help              Print help

    Global options:
      -f, --file <FILE>   The workspace file, in place of the nearest bastion.toml
      -v, --verbose...    Say more: -v what happens to connections, -vv each one of them
      -q, --quiet         Say nothing but errors
          --color <WHEN>  When to colour [default: auto] [possible values: auto, always, never]
    "#);
}

#[tokio::test]
async fn version() {
    assert_eq!(
        said(&["--version"]).await,
        format!("exit 0\n----- out\nbastion {}", env!("CARGO_PKG_VERSION"))
    );
}

#[tokio::test]
async fn commands_that_are_not_built_yet_are_refused_by_name() {
    for command in [
        "add",
        "allow",
        "bench",
        "broker",
        "check",
        "completions",
        "config",
        "down",
        "env",
        "explain",
        "export",
        "gc",
        "import",
        "init",
        "list",
        "login",
        "logout",
        "logs",
        "man",
        "plan",
        "port",
        "proxy",
        "ps",
        "rdp",
        "reload",
        "report",
        "restart",
        "retry",
        "run",
        "schema",
        "ssh",
        "status",
        "timeline",
        "trust",
        "wait",
        "whoami",
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
        (&["--env", "prod", "up"][..], "--env"),
        (&["up", "--profile", "debug"], "--profile"),
        (&["up", "--format", "json"], "--format"),
        (&["up", "-d"], "up --detach"),
        (&["up", "--detach"], "up --detach"),
        (&["up", "--wait"], "up --wait"),
        (&["up", "--wait=5s"], "up --wait"),
        (&["up", "--best-effort"], "up --best-effort"),
        (&["up", "--no-watch"], "up --no-watch"),
        (&["up", "--metrics", "127.0.0.1:0"], "up --metrics"),
        (&["up", "--allow", "expose"], "up --allow"),
    ] {
        let told = said_of(WORKSPACE, arguments).await;
        assert_eq!(told, format!("exit 2\n----- err\nerror: `{name}` is not supported yet"), "{arguments:?}");
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
    error: there is no tunnel `pgae` in this workspace
    hint: did you mean `page`?
    "#);
    insta::assert_snapshot!(said_of(WORKSPACE, &["up", "page", "database"]).await, @r#"
    exit 2
    ----- err
    error: there is no tunnel `database` in this workspace
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
    error: HTTPS_PROXY is not of the form http://[USER:PASSWORD@]HOST[:PORT]
    "#);
    emulator.into_running().stop().await;
}

const TUNNEL: &[&str] = &[
    "tunnel",
    "--cloud",
    "emulator",
    "--name",
    "hub",
    "--resource-group",
    "rg-emulator",
    "--resource-port",
    "80",
    "--target-resource-id",
    "/subscriptions/00000000-0000-4000-8000-0000000e0001/resourceGroups/rg-emulator/providers/Microsoft.Compute/virtualMachines/vm-web",
];

#[tokio::test]
async fn one_tunnel_until_its_time_is_up() {
    let env = TestEnv::new();
    let output = env.run(&[TUNNEL, &["--timeout", "1"]].concat()).await;
    let told = words(&env, &output);
    let port = told.lines().find_map(|line| line.strip_prefix("Tunnel is ready, connect on port ")).unwrap();
    assert!(port.parse::<u16>().is_ok_and(|port| port != 0), "{told}");
    insta::assert_snapshot!(told.replace(port, "PORT"), @r#"
    exit 0
    ----- err
    Azure is emulated in this process: no account, no cost, no bytes beyond this machine
    Tunnel is ready, connect on port PORT
    Ctrl + C to close
    Stopped; every session is deleted
    "#);
}

#[tokio::test]
async fn one_tunnel_that_cannot_be() {
    insta::assert_snapshot!(said(&["tunnel", "--name", "hub", "-g", "rg", "--resource-port", "80", "--target-ip-address", "10.0.0.4"]).await, @r#"
    exit 2
    ----- err
    error: signing in to Azure is not supported yet
    hint: `--cloud emulator` runs the same tunnel against the embedded emulator
    "#);
    let mut wrong = TUNNEL.to_vec();
    wrong.pop();
    wrong.push("vm-web");
    insta::assert_snapshot!(said(&wrong).await, @r#"
    exit 2
    ----- err
    error: `--target-resource-id`: a resource ID looks like /subscriptions/SUBSCRIPTION/resourceGroups/GROUP/providers/Microsoft.Compute/virtualMachines/NAME
    "#);
}

#[tokio::test]
async fn a_port_that_is_taken() {
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = other.local_addr().unwrap().port().to_string();
    let told = said(&[TUNNEL, &["--port", &port]].concat()).await;
    insta::assert_snapshot!(told.replace(&port, "PORT"), @r#"
    exit 5
    ----- err
    Azure is emulated in this process: no account, no cost, no bytes beyond this machine
    error: listening on 127.0.0.1:PORT: another program listens there [port-taken]
    hint: stop that program, or choose another local port (0 takes any free one)
    "#);

    let env = TestEnv::new();
    env.workspace(&WORKSPACE.replace("\"0 ->", &format!("\"{port} ->")));
    let up = env.up(&[]);
    let line = up.wait_line(|line| line.starts_with("blocked"), "a blocked tunnel").await;
    insta::assert_snapshot!(line.replace(&port, "PORT"), @"blocked  page         listening on 127.0.0.1:PORT: another program listens there [port-taken]; looked at again in 60 s");
    up.stop().await;
}

#[tokio::test]
async fn one_tunnel_that_is_denied() {
    let env = TestEnv::new();
    env.workspace(&format!("{WORKSPACE}[[emulator.faults]]\nphase = \"token\"\ndo = \"403\"\ntimes = 0\n"));
    let emulator = env.emulator(&[]).await;
    let denied = env.start_on(&emulator, TUNNEL);
    let (code, told) = denied.wait().await;
    let told = told.replace(&*env.work().parent().unwrap().to_string_lossy(), "ROOT");
    insta::with_settings!({filters => vec![(r"bst-[0-9a-f-]+\.bastion\.localhost:\d+", "GATEWAY")]}, {
        insta::assert_snapshot!(format!("exit {code}\n{told}"), @r#"
        exit 3
        Azure is emulated by the process that wrote ROOT/emulator.json
        error: the gateway GATEWAY refused a session: HTTP 403, "The client with object id '00000000-0000-4000-8000-0000000e0003' does not have authorization to perform action 'Microsoft.Network/bastionHosts/read' over the requested scope or the scope is invalid. If access was recently granted, please refresh your credentials." [denied]
        hint: the account needs Reader on the virtual machine, on its network card, on the bastion and on the virtual network
        "#);
    });
    emulator.into_running().stop().await;
}

#[tokio::test]
async fn up_from_start_to_stop() {
    let env = TestEnv::new();
    env.workspace(WORKSPACE);
    let up = env.up(&[]);
    up.address("page").await;
    let told = up.stop().await;
    insta::with_settings!({filters => vec![(r"(127\.0\.0\.1|\[::1\]):\d+", "$1:PORT")]}, {
        insta::assert_snapshot!(told, @r#"
        Azure is emulated in this process: no account, no cost, no bytes beyond this machine
        ready    page         127.0.0.1:PORT, [::1]:PORT -> web:80 through hub
        Stopped; every session is deleted
        "#);
    });
}
