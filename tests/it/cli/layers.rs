//! Workspaces of several files, as the program reads them.

use super::{WORKSPACE, words};
use crate::env::TestEnv;
use crate::process::{self, PATIENCE};

/// What people share. (Of the loopback's addresses, macOS has 127.0.0.1 only.)
#[cfg(not(target_os = "macos"))]
const SHARED: &str = "[azure]\ncloud = \"emulator\"\n[bastions.hub]\n[targets]\nweb = { vm = \"vm-web\" }\n\
                      [tunnels]\nweb = \"127.0.0.2:0 -> web:80\"\npage = \"127.0.0.2:0 -> web:80\"\n";

/// Where the tunnel `web` listens.
#[cfg(not(target_os = "macos"))]
async fn host(env: &TestEnv, arguments: &[&str]) -> String {
    let up = env.start(&[&["up", "web"], arguments].concat());
    let host = up.address("web").await.ip().to_string();
    up.stop().await;
    host
}

/// Each layer names another address of the loopback, so that who won can be seen from outside.
#[cfg(not(target_os = "macos"))]
#[tokio::test]
async fn later_layers_go_over_earlier_ones() {
    let env = TestEnv::new();
    let layer = |last: u8| format!("[tunnels.web]\nlisten = \"127.0.0.{last}:0\"\n");
    env.workspace(SHARED);
    std::fs::write(env.path("bastion.prod.toml"), layer(3)).unwrap();
    assert_eq!(host(&env, &[]).await, "127.0.0.2");
    assert_eq!(host(&env, &["--env", "prod"]).await, "127.0.0.3");
    std::fs::write(env.path("bastion.local.toml"), layer(4)).unwrap();
    assert_eq!(host(&env, &[]).await, "127.0.0.4");
    assert_eq!(host(&env, &["--env", "prod"]).await, "127.0.0.4");
}

/// Two people share a workspace and each has a configuration at home.
#[cfg(not(target_os = "macos"))]
#[tokio::test]
async fn each_person_has_defaults_of_their_own() {
    let env = TestEnv::new();
    env.workspace(&SHARED.replace("127.0.0.2:0 ->", "${BASTION_PORT:-0} ->"));
    for (person, ip) in [("ada", "127.0.0.5"), ("bob", "127.0.0.6")] {
        let home = env.path(person);
        let directory = home.join(".config/bastion");
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("config.toml"), "[defaults]\nlisten_host = \"${WHERE}\"\n").unwrap();
        let mut command = env.bastion(&["up", "web"]);
        command.env("HOME", &home).env("WHERE", ip);
        let up = env.run_command(command);
        assert_eq!(up.address("web").await.ip().to_string(), ip);
        up.stop().await;
    }
}

#[tokio::test]
async fn an_environment_must_have_a_file() {
    let env = TestEnv::new();
    env.workspace(WORKSPACE);
    insta::assert_snapshot!(words(&env, &env.run(&["up", "--env", "prod"]).await), @r#"
    exit 2
    ----- err
    error: there is no environment `prod`: bastion.prod.toml does not exist
    hint: this workspace has no environments; a file of that name would make one
    "#);
    std::fs::write(env.path("bastion.dev.toml"), "").unwrap();
    std::fs::write(env.path("bastion.test.toml"), "").unwrap();
    let mut command = env.bastion(&["up"]);
    command.env("BASTION_ENV", "prod");
    insta::assert_snapshot!(words(&env, &process::output(command, PATIENCE).await), @r#"
    exit 2
    ----- err
    error: there is no environment `prod`: bastion.prod.toml does not exist
    hint: there are: dev, test
    "#);
    insta::assert_snapshot!(words(&env, &env.run(&["up", "--env", "local"]).await), @r#"
    exit 2
    ----- err
    error: no environment can be called `local`
    hint: bastion.local.toml is the personal layer: it is always read
    "#);
    insta::assert_snapshot!(words(&env, &env.run(&["up", "--env", "../prod"]).await), @r#"
    exit 2
    ----- err
    error: `../prod` cannot be the name of an environment: a name is made of letters, digits, `-`, `_` and `.`
    hint: `--env` and BASTION_ENV name one
    "#);
}

#[tokio::test]
async fn a_mistake_names_the_file_that_it_is_in() {
    let env = TestEnv::new();
    env.workspace(WORKSPACE);
    std::fs::write(env.path("bastion.local.toml"), "[network]\n[tunnels]\npage = \"0 -> wbe:80\"\n").unwrap();
    insta::assert_snapshot!(words(&env, &env.run(&["up"]).await), @r#"
    exit 2
    ----- err
    error[user-config-only]: `network` may not stand in a workspace's file
     --> bastion.local.toml:1:2
      |
    1 | [network]
      |  ^^^^^^^ belongs in your own configuration
      |
      = help: put it into `~/.config/bastion/config.toml`: it decides where tokens go or who may use your tunnels, and a file that others can commit to must not

    error[unknown-target]: there is no target `wbe`
     --> bastion.local.toml:3:14
      |
    3 | page = "0 -> wbe:80"
      |              ^^^ not declared in `[targets]`
      |
    help: did you mean `web`?
      |
    3 - page = "0 -> wbe:80"
    3 + page = "0 -> web:80"
      |

    error: bastion.local.toml has 2 mistakes; nothing was started
    "#);
}

#[tokio::test]
async fn what_variables_a_workspace_may_name() {
    let env = TestEnv::new();
    env.workspace(&WORKSPACE.replace("vm-web", "${PATH}").replace("0 ->", "${BASTION_PORT} ->"));
    insta::assert_snapshot!(words(&env, &env.run(&["up"]).await), @r#"
    exit 2
    ----- err
    error[foreign-variable]: a workspace's file may not name the variable `PATH`
     --> bastion.toml:7:15
      |
    7 | web = { vm = "${PATH}" }
      |               ^^^^^^^ not one that files may name
      |
      = help: a file that others can commit to may name BASTION_… and AZURE_SUBSCRIPTION_ID, AZURE_TENANT_ID, AZURE_CLIENT_ID, USER, HOME; set one of those to what is meant, or use it in your own configuration

    error[unset-variable]: the variable `BASTION_PORT` is not set
      --> bastion.toml:10:9
       |
    10 | page = "${BASTION_PORT} -> web:80"
       |         ^^^^^^^^^^^^^^^ has no value, and no default here
       |
       = help: set it, or give a default: `${BASTION_PORT:-…}`

    error: bastion.toml has 2 mistakes; nothing was started
    "#);
}

#[tokio::test]
async fn a_user_config_that_holds_a_workspace() {
    let env = TestEnv::new();
    env.workspace(WORKSPACE);
    std::fs::create_dir_all(env.path("config/bastion")).unwrap();
    let text = "[rdp]\nuser = \"me\"\n[tunnels]\nx = \"1 -> web:1\"\n";
    std::fs::write(env.path("config/bastion/config.toml"), text).unwrap();
    let mut command = env.bastion(&["up"]);
    command.env("XDG_CONFIG_HOME", env.path("config"));
    insta::assert_snapshot!(words(&env, &process::output(command, PATIENCE).await), @r#"
    exit 2
    ----- err
    error[not-supported-yet]: `rdp` is not supported yet
     --> WORK/config/bastion/config.toml:1:2
      |
    1 | [rdp]
      |  ^^^ this version cannot do it
      |
      = help: take it out for now; a key is refused rather than ignored

    error[not-in-user-config]: `tunnels` may not stand in your own configuration
     --> WORK/config/bastion/config.toml:3:2
      |
    3 | [tunnels]
      |  ^^^^^^^ belongs in a workspace's file
      |
      = help: your own configuration holds `azure.credential`, `azure.client_id`, `[defaults]`, `[ssh]`, `[rdp]`, `[clouds]`, `[network]`, `peers` and `unclean_end`

    error: WORK/config/bastion/config.toml has 2 mistakes; nothing was started
    "#);
}

#[tokio::test]
async fn the_flag_goes_over_the_variable_in_the_files_too() {
    let env = TestEnv::new();
    std::fs::write(env.path("hub.toml"), WORKSPACE).unwrap();
    std::fs::write(env.path("hub.prod.toml"), "[emulator]\nframes = \"${BASTION_ENV}\"\n").unwrap();
    let mut command = env.bastion(&["up", "-f", "hub.toml", "--env", "prod"]);
    command.env("BASTION_ENV", "dev");
    insta::assert_snapshot!(words(&env, &process::output(command, PATIENCE).await), @r#"
    exit 2
    ----- err
    error[invalid-value]: `frames` cannot be `prod`
     --> hub.prod.toml:2:10
      |
    2 | frames = "${BASTION_ENV}"
      |          ^^^^^^^^^^^^^^^^ not a size
      |
      = help: `"natural"`, `"fragments"`, or a size such as `"64 KiB"`

    error: hub.prod.toml has 1 mistake; nothing was started
    "#);
}

/// A file that somebody else put above the project, or beside its file.
#[tokio::test]
async fn what_someone_else_planted() {
    let env = TestEnv::new();
    let give_away = async |name: &str| {
        let mut chown = env.command("chown");
        chown.args(["12345", name]);
        process::output(chown, PATIENCE).await.status.success()
    };
    env.workspace(WORKSPACE);
    std::fs::create_dir(env.path("project")).unwrap();
    if !give_away("bastion.toml").await {
        println!("SKIPPED: a file of another user's can be made by root only");
        return;
    }
    let mut above = env.bastion(&["up"]);
    above.current_dir(env.path("project"));
    insta::assert_snapshot!(words(&env, &process::output(above, PATIENCE).await), @r#"
    exit 2
    ----- err
    error: WORK/bastion.toml belongs to another user, so it is not used
    hint: a file says where connections go: name it with `-f` if you trust it
    "#);

    std::fs::write(env.path("own.toml"), WORKSPACE).unwrap();
    std::fs::write(env.path("own.local.toml"), "").unwrap();
    assert!(give_away("own.local.toml").await);
    insta::assert_snapshot!(words(&env, &env.run(&["up", "-f", "own.toml"]).await), @r#"
    exit 2
    ----- err
    error: own.local.toml belongs to another user, so it is not used
    hint: a layer says where connections go: remove it, or make it your own
    "#);

    // Who names a file of somebody else's trusts it, and what that somebody put beside it.
    assert!(give_away("own.toml").await);
    std::fs::write(env.path("own.local.toml"), "x = 1").unwrap();
    insta::assert_snapshot!(words(&env, &env.run(&["up", "-f", "own.toml"]).await), @r#"
    exit 2
    ----- err
    error[unknown-key]: unknown key `x` at the top of the file
     --> own.local.toml:1:1
      |
    1 | x = 1
      | ^ not a key of this table
      |
      = help: keys here: name, azure, defaults, bastions, targets, tunnels, emulator

    error: own.local.toml has 1 mistake; nothing was started
    "#);
}
