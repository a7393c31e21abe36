//! What `check`, `config` and `schema` say.

use super::{WORKSPACE, said, said_of, words};
use crate::env::TestEnv;

#[tokio::test]
async fn a_file_that_is_fine() {
    insta::assert_snapshot!(said_of(WORKSPACE, &["check"]).await, @r"
    exit 0
    ----- out
    bastion.toml is fine: 1 tunnel through 1 bastion
    ");
    insta::assert_snapshot!(said_of(WORKSPACE, &["check", "--format", "json"]).await, @r#"
    exit 0
    ----- out
    {"version":1,"diagnostics":[]}
    "#);
}

/// A mistake in the file, which every environment has, and one in an environment.
fn mistaken() -> TestEnv {
    let env = TestEnv::new();
    env.workspace(&WORKSPACE.replace("[bastions.hub]", "[bastions.hub]\ncolour = 1"));
    std::fs::write(env.work().join("bastion.prod.toml"), "[tunnels]\npage = \"0 -> wbe:80\"\n").unwrap();
    std::fs::write(env.work().join("bastion.test.toml"), "").unwrap();
    env
}

#[tokio::test]
async fn mistakes_of_all_environments_each_once() {
    let env = mistaken();
    insta::assert_snapshot!(words(&env, &env.run(&["check"]).await), @r#"
    exit 2
    ----- err
    error[unknown-key]: unknown key `colour` in `[bastions.NAME]`
     --> bastion.toml:5:1
      |
    5 | colour = 1
      | ^^^^^^ not a key of this table
      |
      = help: keys here: name, resource_group, subscription, id, tenant, credential, client_id, max_sessions, max_setups

    error[unknown-target]: there is no target `wbe`
     --> bastion.prod.toml:2:14
      |
    2 | page = "0 -> wbe:80"
      |              ^^^ not declared in `[targets]`
      |
    help: did you mean `web`?
      |
    2 - page = "0 -> wbe:80"
    2 + page = "0 -> web:80"
      |

    error: 2 mistakes in bastion.prod.toml, bastion.toml
    "#);
}

#[tokio::test]
async fn mistakes_for_programs() {
    let env = mistaken();
    insta::assert_snapshot!(words(&env, &env.run(&["check", "--format", "json"]).await), @r#"
    exit 2
    ----- out
    {"version":1,"diagnostics":[{"code":"unknown-key","severity":"error","message":"unknown key `colour` in `[bastions.NAME]`","path":"bastion.toml","line":5,"column":1,"help":[{"text":"keys here: name, resource_group, subscription, id, tenant, credential, client_id, max_sessions, max_setups","replacement":null}]},{"code":"unknown-target","severity":"error","message":"there is no target `wbe`","path":"bastion.prod.toml","line":2,"column":14,"help":[{"text":"did you mean `web`?","replacement":"web"}]}]}
    "#);
}

#[tokio::test]
async fn environments_that_are_fine() {
    let env = TestEnv::new();
    env.workspace(WORKSPACE);
    let second = "[tunnels]\nother = \"0 -> web:81\"\n";
    std::fs::write(env.work().join("bastion.prod.toml"), second).unwrap();
    insta::assert_snapshot!(words(&env, &env.run(&["check"]).await), @r"
    exit 0
    ----- out
    bastion.toml is fine: 1 tunnel through 1 bastion
    bastion.toml in the environment `prod` is fine: 2 tunnels through 1 bastion
    ");
    insta::assert_snapshot!(words(&env, &env.run(&["check", "--env", "prod"]).await), @r"
    exit 0
    ----- out
    bastion.toml in the environment `prod` is fine: 2 tunnels through 1 bastion
    ");
    insta::assert_snapshot!(words(&env, &env.run(&["check", "--env", "pord"]).await), @r"
    exit 2
    ----- err
    error: there is no environment `pord`: bastion.pord.toml does not exist
    hint: there are: prod
    ");
}

#[tokio::test]
async fn values_and_where_they_came_from() {
    let env = TestEnv::new();
    env.workspace(WORKSPACE);
    std::fs::write(env.work().join("bastion.local.toml"), "[tunnels.page]\nlisten = 8080\n").unwrap();
    insta::assert_snapshot!(words(&env, &env.run(&["config"]).await), @r#"
    exit 0
    ----- out
    KEY                           VALUE                                   FROM
    azure.cloud                   "emulator"                              bastion.toml:2
    bastions.hub.credential       "auto"                                  default
    bastions.hub.max_sessions     0                                       default
    bastions.hub.max_setups       32                                      default
    bastions.hub.name             "hub"                                   default
    bastions.hub.resource_group   "rg-emulator"                           default
    bastions.hub.subscription     "00000000-0000-4000-8000-0000000e0001"  default
    name                          "work"                                  default
    targets.web.bastion           "hub"                                   default
    targets.web.vm                "vm-web"                                bastion.toml:7
    tunnels.page.backoff.initial  "800ms"                                 default
    tunnels.page.backoff.max      "30s"                                   default
    tunnels.page.connect_timeout  "20s"                                   default
    tunnels.page.drain            "0s"                                    default
    tunnels.page.enabled          true                                    default
    tunnels.page.expose           false                                   default
    tunnels.page.idle_close       "0s"                                    default
    tunnels.page.keepalive        "30s"                                   default
    tunnels.page.lazy             false                                   default
    tunnels.page.listen           8080                                    bastion.local.toml:2
    tunnels.page.max_connections  0                                       default
    tunnels.page.max_lifetime     "0s"                                    default
    tunnels.page.on_outage        "hold"                                  default
    tunnels.page.on_port_taken    "fail"                                  default
    tunnels.page.port             80                                      bastion.toml:10
    tunnels.page.prewarm          0                                       default
    tunnels.page.prewarm_dial     false                                   default
    tunnels.page.probe            "session"                               default
    tunnels.page.profiles         []                                      default
    tunnels.page.target           "web"                                   bastion.toml:10
    "#);
    let json = words(&env, &env.run(&["config", "--format", "json"]).await);
    let json: serde_json::Value = serde_json::from_str(json.split_once("out\n").unwrap().1).unwrap();
    let listen =
        json["values"].as_array().unwrap().iter().find(|value| value["key"] == "tunnels.page.listen");
    insta::assert_snapshot!(listen.unwrap(), @r#"
    {"key":"tunnels.page.listen","value":"8080","from":"file","path":"bastion.local.toml","line":2,"variables":[]}
    "#);
}

#[tokio::test]
async fn values_of_a_file_with_mistakes_are_not_shown() {
    let env = mistaken();
    insta::assert_snapshot!(words(&env, &env.run(&["config"]).await), @r"
    exit 2
    ----- err
    error[unknown-key]: unknown key `colour` in `[bastions.NAME]`
     --> bastion.toml:5:1
      |
    5 | colour = 1
      | ^^^^^^ not a key of this table
      |
      = help: keys here: name, resource_group, subscription, id, tenant, credential, client_id, max_sessions, max_setups

    error: bastion.toml has 1 mistake; nothing is shown
    ");
}

#[tokio::test]
async fn schemas() {
    for (what, text) in [
        (&["schema"][..], bastion::config::schema()),
        (&["schema", "config"], bastion::config::user_schema()),
        (&["schema", "status"], bastion::control::schema()),
        (&["schema", "event"], bastion::control::event_schema()),
    ] {
        assert_eq!(said(what).await, format!("exit 0\n----- out\n{}", text.trim_end()), "{what:?}");
        let schema: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
    }
}

/// A configuration of the user's own.
#[cfg(unix)]
fn own(env: &TestEnv, text: &str) {
    let directory = env.work().parent().unwrap().join("home/.config/bastion");
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("config.toml"), text).unwrap();
}

#[cfg(unix)]
const LAB: &str = "[azure]\ncloud = \"lab\"\nsubscription = \"s\"\nresource_group = \"rg\"\n[bastions.hub]\n";

#[tokio::test]
#[cfg(unix)]
async fn a_cloud_of_the_users_own_is_known_offline() {
    let env = TestEnv::new();
    env.workspace(LAB);
    let text = "[clouds.lab]\nresource_manager = \"https://management.lab.example\"\n\
                authority = \"https://login.lab.example\"\n";
    own(&env, text);
    let check =
        async || words(&env, &env.run(&["check"]).await).replace(&*env.home().to_string_lossy(), "HOME");
    insta::assert_snapshot!(check().await, @r"
    exit 0
    ----- out
    bastion.toml is fine: 0 tunnels through 1 bastion
    ");
    own(&env, &format!("{text}ca_file = \"~/lab.pem\"\n"));
    insta::assert_snapshot!(check().await, @r#"
    exit 2
    ----- err
    error[ca-file]: no certificate authority can be read from HOME/lab.pem
     --> HOME/.config/bastion/config.toml:4:11
      |
    4 | ca_file = "~/lab.pem"
      |           ^^^^^^^^^^^ there is no such file
      |
      = help: name a PEM file; `~/…` is in your home, another path leads from the directory of your own configuration

    error: 1 mistake in HOME/.config/bastion/config.toml
    "#);
    // Not for somebody who goes to another cloud.
    env.workspace(&LAB.replace("lab", "public"));
    insta::assert_snapshot!(check().await, @r"
    exit 0
    ----- out
    bastion.toml is fine: 0 tunnels through 1 bastion
    ");
}

#[tokio::test]
#[cfg(unix)]
async fn a_proxys_password_is_not_shown_by_config() {
    let env = TestEnv::new();
    env.workspace(WORKSPACE);
    own(&env, "[network]\nproxy = \"http://me:hunter2@proxy.example:3128\"\n");
    for format in ["text", "json"] {
        let told = words(&env, &env.run(&["config", "--format", format]).await);
        assert!(told.contains("http://**********@proxy.example:3128"), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
}
