//! What the program says of itself.

use super::said;

/// The help of a command without the options that all have.
async fn local(command: &str) -> String {
    let all = said(&[command, "--help"]).await;
    all.split("\n\nGlobal options:").next().unwrap().to_owned()
}

#[tokio::test]
async fn alone() {
    insta::assert_snapshot!(said(&[]).await, @r"
    exit 2
    ----- err
    Tunnels through Azure Bastion, declared in a file

    Usage: bastion [OPTIONS] <COMMAND>

    Commands:
      up        Bring tunnels up and keep them up, in the foreground
      status    Show each tunnel with its state, its addresses and what is wrong [alias: ps]
      wait      Wait until tunnels are ready: for scripts
      port      Print where a tunnel listens, as 127.0.0.1:5432
      plan      Say what the files as they are now would change
      reload    Have the running instance read the files and variables again
      down      Stop tunnels, or the whole instance, and wait until they are gone
      check     Check the workspace's files: every mistake in every environment
      config    Show the merged, resolved workspace, with where each value came from
      allow     Allow what the files ask for and cannot give themselves
      gc        Remove what killed instances left behind, here and in Azure
      whoami    Say who signs in to Azure: which credential, whose account, until when
      explain   Explain a code that stands in brackets behind a message: cause, remedy, who can mend it
      schema    Print a JSON Schema: of bastion.toml, or of what this program answers
      tunnel    Open one tunnel without a file, with the options of `az network bastion tunnel`
      emulator  Run a local stand-in for Azure: sign-in, Resource Manager, Bastion gateway
      help      Print this message or the help of the given subcommand(s)

    Options:
      -h, --help     Print help (see more with '--help')
      -V, --version  Print version

    Global options:
      -f, --file <FILE>        The workspace file, in place of the nearest bastion.toml
          --env <ENV>          The environment: bastion.ENV.toml goes over bastion.toml (or BASTION_ENV)
      -v, --verbose...         Say more: -v what happens to connections, -vv each one of them
      -q, --quiet              Say nothing but errors
          --color <WHEN>       When to colour [default: auto] [possible values: auto, always, never]
          --profile <PROFILE>  Tunnels of this profile too; may be repeated (or BASTION_PROFILE, with
                               commas)
          --format <FORMAT>    For people or for programs: `text` or `json`, where a program may read
    ");
}

#[tokio::test]
async fn help() {
    insta::assert_snapshot!(said(&["--help"]).await, @r"
    exit 0
    ----- out
    Tunnels through Azure Bastion, declared in a file

    Reads bastion.toml in this directory or the nearest one above it, and keeps the tunnels it declares
    up.

    Usage: bastion [OPTIONS] <COMMAND>

    Commands:
      up        Bring tunnels up and keep them up, in the foreground
      status    Show each tunnel with its state, its addresses and what is wrong [alias: ps]
      wait      Wait until tunnels are ready: for scripts
      port      Print where a tunnel listens, as 127.0.0.1:5432
      plan      Say what the files as they are now would change
      reload    Have the running instance read the files and variables again
      down      Stop tunnels, or the whole instance, and wait until they are gone
      check     Check the workspace's files: every mistake in every environment
      config    Show the merged, resolved workspace, with where each value came from
      allow     Allow what the files ask for and cannot give themselves
      gc        Remove what killed instances left behind, here and in Azure
      whoami    Say who signs in to Azure: which credential, whose account, until when
      explain   Explain a code that stands in brackets behind a message: cause, remedy, who can mend it
      schema    Print a JSON Schema: of bastion.toml, or of what this program answers
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

          --env <ENV>
              The environment: bastion.ENV.toml goes over bastion.toml (or BASTION_ENV)

      -v, --verbose...
              Say more: -v what happens to connections, -vv each one of them

      -q, --quiet
              Say nothing but errors

          --color <WHEN>
              When to colour
              
              [default: auto]
              [possible values: auto, always, never]

          --profile <PROFILE>
              Tunnels of this profile too; may be repeated (or BASTION_PROFILE, with commas)

          --format <FORMAT>
              For people or for programs: `text` or `json`, where a program may read
    ");
}

#[tokio::test]
async fn help_of_up() {
    insta::assert_snapshot!(said(&["up", "--help"]).await, @r"
    exit 0
    ----- out
    Bring tunnels up and keep them up, in the foreground

    Every tunnel of the file without a profile and those of the profiles that are named, or just the
    named tunnels. The file is watched: an edit takes effect when it is saved. Ctrl-C stops: connections
    get five seconds, every Bastion session is deleted. Beside an instance that runs already, it adds to
    that and shows what happens there.

    Usage: bastion up [OPTIONS] [TUNNEL]...

    Arguments:
      [TUNNEL]...
              Tunnels by name, or by patterns such as 'db-*'; all without a profile when none is given

    Options:
          --no-watch
              Do not watch the file: `bastion reload` has it read again

          --allow <KIND>
              Allow what the file asks for, of this kind, as long as the instance runs: expose

      -h, --help
              Print help (see a summary with '-h')

    Global options:
      -f, --file <FILE>
              The workspace file, in place of the nearest bastion.toml

          --env <ENV>
              The environment: bastion.ENV.toml goes over bastion.toml (or BASTION_ENV)

      -v, --verbose...
              Say more: -v what happens to connections, -vv each one of them

      -q, --quiet
              Say nothing but errors

          --color <WHEN>
              When to colour
              
              [default: auto]
              [possible values: auto, always, never]

          --profile <PROFILE>
              Tunnels of this profile too; may be repeated (or BASTION_PROFILE, with commas)

          --format <FORMAT>
              For people or for programs: `text` or `json`, where a program may read
    ");
}

#[tokio::test]
async fn help_of_those_that_ask_an_instance() {
    insta::assert_snapshot!(local("status").await, @r"
    exit 0
    ----- out
    Show each tunnel with its state, its addresses and what is wrong

    It says what the running instance says, whatever its version. `--format json` prints it for
    programs, in the form of `bastion schema status`. That nothing runs is no failure: `bastion wait` is
    for scripts that need more.

    Usage: bastion status [OPTIONS] [TUNNEL]...

    Arguments:
      [TUNNEL]...
              Tunnels by name or quoted pattern; all when none is given

    Options:
      -h, --help
              Print help (see a summary with '-h')
    ");
    insta::assert_snapshot!(local("wait").await, @r#"
    exit 0
    ----- out
    Wait until tunnels are ready: for scripts

    Waits for `bastion up` too, when nothing runs yet. Has each path proven anew, unless it was proven
    within the last minute. Ends early when all that is not ready is blocked. Exit code: 0 ready, 4 not
    in time, 5 another program has the address, 3 sign-in or permission, 1 otherwise blocked. `--format
    json` prints the last status for programs.

    Usage: bastion wait [OPTIONS] [TUNNEL]...

    Arguments:
      [TUNNEL]...
              Tunnels by name or quoted pattern; all that run when none is given

    Options:
          --timeout <DURATION>
              How long at most, as in "30s" or "1h 30m"
              
              [default: 2m]

      -h, --help
              Print help (see a summary with '-h')
    "#);
    insta::assert_snapshot!(local("port").await, @r"
    exit 0
    ----- out
    Print where a tunnel listens, as 127.0.0.1:5432

    The first of its addresses; `--format json` prints all. It says nothing of whether the tunnel is
    ready: `bastion wait` does.

    Usage: bastion port [OPTIONS] <TUNNEL>

    Arguments:
      <TUNNEL>
              The tunnel's name

    Options:
      -h, --help
              Print help (see a summary with '-h')
    ");
    insta::assert_snapshot!(local("plan").await, @r"
    exit 0
    ----- out
    Say what the files as they are now would change

    Beside a running instance: what `bastion reload` would do. Otherwise: what `bastion up` would start.
    `+` is new, `~` changes, `-` ends, `=` stays, `!` waits for your `bastion allow`. Nothing is
    changed. `--format json` prints the same for programs.

    Usage: bastion plan [OPTIONS]

    Options:
      -h, --help
              Print help (see a summary with '-h')
    ");
}

#[tokio::test]
async fn help_of_those_that_change_something() {
    insta::assert_snapshot!(local("reload").await, @r"
    exit 0
    ----- out
    Have the running instance read the files and variables again

    It watches the files itself; this is for variables, which it cannot watch, and for `--no-watch`.
    Says what changed. Files with mistakes change nothing. `--format json` prints the same for programs.

    Usage: bastion reload [OPTIONS]

    Options:
      -h, --help
              Print help (see a summary with '-h')
    ");
    insta::assert_snapshot!(local("down").await, @r"
    exit 0
    ----- out
    Stop tunnels, or the whole instance, and wait until they are gone

    Connections that are open get five seconds, and every Bastion session is deleted. Without a TUNNEL
    the instance itself stops. That nothing runs is no failure. This works across versions.

    Usage: bastion down [OPTIONS] [TUNNEL]...

    Arguments:
      [TUNNEL]...
              Tunnels by name or quoted pattern; all, and the instance, when none is given

    Options:
          --now
              Reset connections that are open, without grace

      -h, --help
              Print help (see a summary with '-h')
    ");
    insta::assert_snapshot!(local("allow").await, @r"
    exit 0
    ----- out
    Allow what the files ask for and cannot give themselves

    A tunnel that listens where other machines can reach it is blocked until you allow exactly that.
    Shows what is asked for, asks you, and remembers it for this workspace; a running instance goes on
    with it by itself.

    Usage: bastion allow [OPTIONS] [TUNNEL]...

    Arguments:
      [TUNNEL]...
              Tunnels by name or quoted pattern; all of the file when none is given

    Options:
      -y, --yes
              Allow without asking

      -h, --help
              Print help (see a summary with '-h')
    ");
    insta::assert_snapshot!(local("gc").await, @r"
    exit 0
    ----- out
    Remove what killed instances left behind, here and in Azure

    Of every workspace: the files of instances that do not run, and the sessions that nobody deletes any
    more. What belongs to an instance that runs is left alone. It needs no sign-in.

    Usage: bastion gc [OPTIONS]

    Options:
          --dry-run
              Say what there is, and remove nothing

      -h, --help
              Print help (see a summary with '-h')
    ");
}

#[tokio::test]
async fn help_of_tunnel() {
    insta::assert_snapshot!(said(&["tunnel", "--help"]).await, @r#"
    exit 0
    ----- out
    Open one tunnel without a file, with the options of `az network bastion tunnel`

    Prints "Tunnel is ready, connect on port N" once the bastion has granted a session for the target.

    Usage: bastion tunnel [OPTIONS] --name <NAME> --resource-group <GROUP> --resource-port <PORT> <--target-resource-id <ID>|--target-ip-address <ADDRESS>>

    Options:
      -n, --name <NAME>
              The bastion's name

      -g, --resource-group <GROUP>
              The bastion's resource group

          --subscription <SUBSCRIPTION>
              The bastion's subscription, by its ID; az's current one when none is given

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

          --cloud <NAME>
              Which Azure: public, us-government, china, emulator (in this process, or the one that
              BASTION_EMULATOR names), or one of `[clouds.NAME]` in your own configuration
              
              [default: public]

      -h, --help
              Print help (see a summary with '-h')

    Global options:
      -f, --file <FILE>
              The workspace file, in place of the nearest bastion.toml

          --env <ENV>
              The environment: bastion.ENV.toml goes over bastion.toml (or BASTION_ENV)

      -v, --verbose...
              Say more: -v what happens to connections, -vv each one of them

      -q, --quiet
              Say nothing but errors

          --color <WHEN>
              When to colour
              
              [default: auto]
              [possible values: auto, always, never]

          --profile <PROFILE>
              Tunnels of this profile too; may be repeated (or BASTION_PROFILE, with commas)

          --format <FORMAT>
              For people or for programs: `text` or `json`, where a program may read
    "#);
}

#[tokio::test]
async fn help_of_emulator() {
    insta::assert_snapshot!(said(&["emulator", "--help"]).await, @r"
    exit 0
    ----- out
    Run a local stand-in for Azure: sign-in, Resource Manager, Bastion gateway

    Serves the bastions and targets of bastion.toml and what its `[emulator]` table says. Another
    `bastion` uses it when BASTION_EMULATOR names the file that this one writes.

    Usage: bastion emulator [OPTIONS]

    Options:
          --listen <ADDRESS>
              Where to listen; port 0 takes any free one
              
              [default: 127.0.0.1:0]

          --endpoint <FILE>
              The file to write how to reach it; it holds the emulator's own token and is removed at the
              end

          --log <FILE>
              Write every request to this file, one JSON object a line

          --fault <FAULT>
              Something that goes wrong, with the keys of `[[emulator.faults]]`, as `phase=token do=503
              times=3`; may be repeated

          --admin
              Let whoever has the emulator's token add faults and see sessions while it runs, at
              `admin.localhost` and its own port

      -h, --help
              Print help (see a summary with '-h')

    Global options:
      -f, --file <FILE>
              The workspace file, in place of the nearest bastion.toml

          --env <ENV>
              The environment: bastion.ENV.toml goes over bastion.toml (or BASTION_ENV)

      -v, --verbose...
              Say more: -v what happens to connections, -vv each one of them

      -q, --quiet
              Say nothing but errors

          --color <WHEN>
              When to colour
              
              [default: auto]
              [possible values: auto, always, never]

          --profile <PROFILE>
              Tunnels of this profile too; may be repeated (or BASTION_PROFILE, with commas)

          --format <FORMAT>
              For people or for programs: `text` or `json`, where a program may read
    ");
}

#[tokio::test]
async fn version() {
    assert_eq!(
        said(&["--version"]).await,
        format!("exit 0\n----- out\nbastion {}", env!("CARGO_PKG_VERSION"))
    );
}
