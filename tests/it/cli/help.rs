//! What the program says of itself.

use super::said;

#[tokio::test]
async fn alone() {
    insta::assert_snapshot!(said(&[]).await, @r"
    exit 2
    ----- err
    Tunnels through Azure Bastion, declared in a file

    Usage: bastion [OPTIONS] <COMMAND>

    Commands:
      up        Bring tunnels up and keep them up, in the foreground
      tunnel    Open one tunnel without a file, with the options of `az network bastion tunnel`
      emulator  Run a local stand-in for Azure: sign-in, Resource Manager, Bastion gateway
      explain   Explain a code that stands in brackets behind a message: cause, remedy, who can mend it
      check     Check the workspace's files: every mistake in every environment
      config    Show the merged, resolved workspace, with where each value came from
      schema    Print a JSON Schema: of bastion.toml, or of what this program answers
      help      Print this message or the help of the given subcommand(s)

    Options:
      -h, --help     Print help (see more with '--help')
      -V, --version  Print version

    Global options:
      -f, --file <FILE>   The workspace file, in place of the nearest bastion.toml
          --env <ENV>     The environment: bastion.ENV.toml goes over bastion.toml (or BASTION_ENV)
      -v, --verbose...    Say more: -v what happens to connections, -vv each one of them
      -q, --quiet         Say nothing but errors
          --color <WHEN>  When to colour [default: auto] [possible values: auto, always, never]
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
      tunnel    Open one tunnel without a file, with the options of `az network bastion tunnel`
      emulator  Run a local stand-in for Azure: sign-in, Resource Manager, Bastion gateway
      explain   Explain a code that stands in brackets behind a message: cause, remedy, who can mend it
      check     Check the workspace's files: every mistake in every environment
      config    Show the merged, resolved workspace, with where each value came from
      schema    Print a JSON Schema: of bastion.toml, or of what this program answers
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
    ");
}

#[tokio::test]
async fn help_of_up() {
    insta::assert_snapshot!(said(&["up", "--help"]).await, @r"
    exit 0
    ----- out
    Bring tunnels up and keep them up, in the foreground

    Usage: bastion up [OPTIONS] [TUNNEL]...

    Arguments:
      [TUNNEL]...  Tunnels by name; all of the file without a profile when none is given

    Options:
      -h, --help  Print help

    Global options:
      -f, --file <FILE>   The workspace file, in place of the nearest bastion.toml
          --env <ENV>     The environment: bastion.ENV.toml goes over bastion.toml (or BASTION_ENV)
      -v, --verbose...    Say more: -v what happens to connections, -vv each one of them
      -q, --quiet         Say nothing but errors
          --color <WHEN>  When to colour [default: auto] [possible values: auto, always, never]
    ");
}

#[tokio::test]
async fn help_of_tunnel() {
    insta::assert_snapshot!(said(&["tunnel", "--help"]).await, @r"
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
    ");
}

#[tokio::test]
async fn help_of_emulator() {
    insta::assert_snapshot!(said(&["emulator", "--help"]).await, @r"
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
          --env <ENV>     The environment: bastion.ENV.toml goes over bastion.toml (or BASTION_ENV)
      -v, --verbose...    Say more: -v what happens to connections, -vv each one of them
      -q, --quiet         Say nothing but errors
          --color <WHEN>  When to colour [default: auto] [possible values: auto, always, never]
    ");
}

#[tokio::test]
async fn version() {
    assert_eq!(
        said(&["--version"]).await,
        format!("exit 0\n----- out\nbastion {}", env!("CARGO_PKG_VERSION"))
    );
}
