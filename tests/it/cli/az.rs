//! Where no subscription is named: what is said of az's current one, or of there being none.

use super::{said, words};
use crate::env::TestEnv;
use crate::process::{self, PATIENCE};

const WORKSPACE: &str =
    "[azure]\nresource_group = \"rg\"\n\n[bastions.hub]\n\n[targets]\nweb = { vm = \"vm-web\" }\n";
const PROFILE: &str = r#"{"installationId":"i","subscriptions":[
  {"id":"11111111-2222-3333-4444-555555555555","name":"Shop","state":"Enabled","isDefault":true,
   "user":{"name":"ann@contoso.com","type":"user"},"tenantId":"99999999-2222-3333-4444-555555555555","environmentName":"AzureCloud"}]}"#;

/// A workspace, and a home in which az has this profile.
fn home(workspace: &str, profile: &str) -> TestEnv {
    let env = TestEnv::new();
    env.workspace(workspace);
    std::fs::create_dir(env.home().join(".azure")).unwrap();
    std::fs::write(env.home().join(".azure/azureProfile.json"), profile).unwrap();
    env
}

async fn told(env: &TestEnv, arguments: &[&str]) -> String {
    let told = words(env, &env.run(arguments).await);
    assert!(!told.contains("ann@"), "whose account it is concerns nobody: {told}");
    told.replace(&*env.home().to_string_lossy(), "HOME")
}

#[tokio::test]
async fn check_warns_and_is_content() {
    // As az writes it on Windows.
    let env = home(WORKSPACE, &format!("\u{feff}{PROFILE}"));
    insta::assert_snapshot!(told(&env, &["check"]).await, @r#"
    exit 0
    ----- out
    bastion.toml is fine: 0 tunnels through 1 bastion
    ----- err
    warning[az-subscription]: bastion `hub` is looked for in az's current subscription, `Shop` (11111111-2222-3333-4444-555555555555)
     --> bastion.toml:4:11
      |
    4 | [bastions.hub]
      |           ^^^ no file says which one it is in, and another person's az may have another current one
      |
      = help: to have the same one everywhere, add `subscription = "11111111-2222-3333-4444-555555555555"` to `[azure]`
    "#);
    insta::assert_snapshot!(told(&env, &["check", "--format", "json"]).await, @r#"
    exit 0
    ----- out
    {"version":1,"diagnostics":[{"code":"az-subscription","severity":"warning","message":"bastion `hub` is looked for in az's current subscription, `Shop` (11111111-2222-3333-4444-555555555555)","path":"bastion.toml","line":4,"column":11,"help":[{"text":"to have the same one everywhere, add `subscription = \"11111111-2222-3333-4444-555555555555\"` to `[azure]`","replacement":null}]}]}
    "#);
}

#[tokio::test]
async fn config_says_where_it_came_from() {
    let env = home(WORKSPACE, PROFILE);
    insta::assert_snapshot!(told(&env, &["config"]).await, @r#"
    exit 0
    ----- out
    KEY                          VALUE                                   FROM
    azure.cloud                  "public"                                default
    azure.resource_group         "rg"                                    bastion.toml:2
    azure.subscription           "11111111-2222-3333-4444-555555555555"  az's current subscription
    bastions.hub.credential      "auto"                                  default
    bastions.hub.max_sessions    0                                       default
    bastions.hub.max_setups      32                                      default
    bastions.hub.name            "hub"                                   default
    bastions.hub.resource_group  "rg"                                    default
    bastions.hub.subscription    "11111111-2222-3333-4444-555555555555"  az's current subscription
    bastions.hub.tenant          "99999999-2222-3333-4444-555555555555"  az's current subscription
    name                         "work"                                  default
    targets.web.bastion          "hub"                                   default
    targets.web.vm               "vm-web"                                bastion.toml:7
    "#);
    let json = told(&env, &["config", "--format", "json"]).await;
    let json: serde_json::Value = serde_json::from_str(json.split_once("out\n").unwrap().1).unwrap();
    let values = json["values"].as_array().unwrap();
    let by_az: Vec<_> =
        values.iter().filter(|value| value["from"] == "az").map(|value| &value["key"]).collect();
    assert_eq!(by_az, ["azure.subscription", "bastions.hub.subscription", "bastions.hub.tenant"]);
}

#[tokio::test]
async fn az_may_keep_its_profile_elsewhere() {
    let env = home(WORKSPACE, "{}");
    std::fs::create_dir(env.path("az")).unwrap();
    std::fs::write(env.path("az/azureProfile.json"), PROFILE).unwrap();
    let mut command = env.bastion(&["check"]);
    command.env("AZURE_CONFIG_DIR", env.path("az"));
    let told = words(&env, &process::output(command, PATIENCE).await);
    assert!(told.starts_with("exit 0") && told.contains("`Shop`"), "{told}");
}

#[tokio::test]
async fn there_may_be_none_and_what_mends_it() {
    let mut all = Vec::new();
    for profile in [
        "{\"subscriptions\":[]}",
        &PROFILE.replace("\"isDefault\":true", "\"isDefault\":false"),
        &PROFILE.replace("Shop", "N/A(tenant level account)"),
        &PROFILE[..100],
        &PROFILE.replace("AzureCloud", "AzureUSGovernment"),
    ] {
        let env = home(WORKSPACE, profile);
        let told = told(&env, &["check"]).await;
        assert!(told.starts_with("exit 2"), "{told}");
        let lines = told.lines().filter(|line| line.contains("^^^") || line.contains("= help"));
        all.extend(lines.map(|line| line.trim().to_owned()));
    }
    insta::assert_snapshot!(all.join("\n"), @r#"
    |           ^^^ nobody is signed in to az, so it has no current one
    = help: `az login`, or add `subscription = "…"` to `[azure]`
    |           ^^^ az has no current one
    = help: `az account set --subscription NAME-OR-ID` (`az account list` shows all), or add `subscription = "…"` to `[azure]`
    |           ^^^ the account that is signed in to az has none
    = help: `az login` with an account that has one, or add `subscription = "…"` to `[azure]`
    |           ^^^ az's current one is not known: reading HOME/.azure/azureProfile.json: it is not JSON from line 2 on
    = help: `az login`, or add `subscription = "…"` to `[azure]`
    |           ^^^ az's current one, `Shop` (11111111-2222-3333-4444-555555555555), is in AzureUSGovernment, not in `public`
    = help: `az cloud set --name AzureCloud` and `az login`, or add `subscription = "…"` to `[azure]`
    "#);
}

#[tokio::test]
async fn whoever_signs_in_otherwise_has_to_name_it() {
    let env = home(&WORKSPACE.replace("\n\n[b", "\ncredential = \"client-secret\"\n\n[b"), PROFILE);
    insta::assert_snapshot!(told(&env, &["check"]).await, @r#"
    exit 2
    ----- err
    error[no-subscription]: bastion `hub` is in no subscription
     --> bastion.toml:5:11
      |
    5 | [bastions.hub]
      |           ^^^ `client-secret` signs in for it, and only az has a current subscription
      |
      = help: if az's current one, `Shop`, is meant, add `subscription = "11111111-2222-3333-4444-555555555555"` to `[azure]`

    error: 1 mistake in bastion.toml
    "#);
}

const TUNNEL: &[&str] =
    &["tunnel", "--name", "hub", "-g", "rg", "--resource-port", "22", "--target-ip-address", "10.0.0.4"];

#[tokio::test]
async fn a_tunnel_without_a_subscription() {
    let env = home(WORKSPACE, &PROFILE.replace("AzureCloud", "AzureChinaCloud"));
    insta::assert_snapshot!(told(&env, TUNNEL).await, @r#"
    exit 2
    ----- err
    error: `--subscription` is needed: az's current one, `Shop` (11111111-2222-3333-4444-555555555555), is in AzureChinaCloud, not in `public` [no-subscription]
    hint: `az cloud set --name AzureCloud` and `az login`, or name the one that the bastion is in: `--subscription ID`
    "#);
}

#[tokio::test]
async fn a_tunnel_in_a_cloud_that_nobody_knows() {
    insta::assert_snapshot!(said(&[TUNNEL, &["--cloud", "emulater"]].concat()).await, @r#"
    exit 2
    ----- err
    error: there is no cloud `emulater` [unknown-cloud]
    hint: did you mean `emulator`?
    "#);
    let env = TestEnv::new();
    let own = env.home().join(".config/bastion");
    std::fs::create_dir_all(&own).unwrap();
    let lab = "[clouds.lab]\nresource_manager = \"https://management.lab.example\"\n\
               authority = \"https://login.lab.example\"\nca_file = \"~/lab.pem\"\n";
    std::fs::write(own.join("config.toml"), lab).unwrap();
    insta::assert_snapshot!(told(&env, &[TUNNEL, &["--cloud", "lba"]].concat()).await, @r#"
    exit 2
    ----- err
    error: there is no cloud `lba` [unknown-cloud]
    hint: did you mean `lab`?
    "#);
    insta::assert_snapshot!(told(&env, &[TUNNEL, &["--cloud", "frobnicate"]].concat()).await, @r#"
    exit 2
    ----- err
    error: there is no cloud `frobnicate` [unknown-cloud]
    hint: there are: public, us-government, china, emulator, lab; your own configuration defines others as `[clouds.NAME]`
    "#);
    insta::assert_snapshot!(told(&env, &[TUNNEL, &["--cloud", "lab"]].concat()).await, @r#"
    exit 2
    ----- err
    error[ca-file]: no certificate authority can be read from HOME/lab.pem
     --> HOME/.config/bastion/config.toml:4:11
      |
    4 | ca_file = "~/lab.pem"
      |           ^^^^^^^^^^^ there is no such file
      |
      = help: name a PEM file; `~/…` is in your home, another path leads from the directory of your own configuration

    error: HOME/.config/bastion/config.toml has 1 mistake; nothing was started
    "#);
}
