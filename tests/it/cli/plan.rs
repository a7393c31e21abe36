//! What `plan` says: from nothing, and beside a running instance.

#[cfg(unix)]
use bastion::control::{Answer, Refused, Request};

#[cfg(unix)]
use super::stage::Stage;
use super::{said_of, words};
use crate::env::TestEnv;
use crate::process::{PATIENCE, output};

const FILE: &str = r#"[azure]
cloud = "emulator"
[bastions.hub]
[targets]
web = { vm = "vm-web" }
[tunnels]
page = "8080 -> web:80"
[tunnels.open]
listen = "0.0.0.0:8081"
target = "web"
port = 80
expose = true
[tunnels.debug]
listen = 9229
target = "web"
port = 9229
profiles = ["debug"]
"#;

#[tokio::test]
async fn from_nothing() {
    insta::assert_snapshot!(said_of(FILE, &["plan"]).await, @r"
    exit 0
    ----- out
    + open  0.0.0.0:8081 -> web:80 through hub
    + page  localhost:8080 -> web:80 through hub
    ! open  needs your permission (expose): tunnel `open` listens on 0.0.0.0:8081 (every network of this machine) and leads to port 80 of /subscriptions/00000000-0000-4000-8000-0000000e0001/resourceGroups/rg-emulator/providers/Microsoft.Compute/virtualMachines/vm-web through /subscriptions/00000000-0000-4000-8000-0000000e0001/resourceGroups/rg-emulator/providers/Microsoft.Network/bastionHosts/hub
    ----- err
    hint: `bastion allow` gives it; until then such a tunnel is blocked
    ");
    insta::assert_snapshot!(said_of(FILE, &["plan", "--format", "json"]).await, @r#"
    exit 0
    ----- out
    {"version":1,"changes":2,"lines":["+ open  0.0.0.0:8081 -> web:80 through hub","+ page  localhost:8080 -> web:80 through hub","! open  needs your permission (expose): tunnel `open` listens on 0.0.0.0:8081 (every network of this machine) and leads to port 80 of /subscriptions/00000000-0000-4000-8000-0000000e0001/resourceGroups/rg-emulator/providers/Microsoft.Compute/virtualMachines/vm-web through /subscriptions/00000000-0000-4000-8000-0000000e0001/resourceGroups/rg-emulator/providers/Microsoft.Network/bastionHosts/hub"]}
    ----- err
    hint: `bastion allow` gives it; until then such a tunnel is blocked
    "#);
    insta::assert_snapshot!(said_of("[azure]\ncloud = \"emulator\"\n", &["plan"]).await, @r"
    exit 0
    ----- out
    = 0 unchanged
    ");
}

#[tokio::test]
async fn profiles_come_on_top() {
    let with_debug = said_of(FILE, &["plan", "--profile", "debug"]).await;
    assert!(with_debug.contains("+ debug  localhost:9229 -> web:9229 through hub"), "{with_debug}");
    let env = TestEnv::new();
    env.workspace(FILE);
    let mut command = env.bastion(&["plan"]);
    command.env("BASTION_PROFILE", "other, debug,");
    let said = words(&env, &output(command, PATIENCE).await);
    let warning = "warning: no tunnel belongs to the profile `other`\n";
    assert_eq!(said.replace(warning, ""), with_debug, "{said}");
    assert!(said.contains(warning), "{said}");
}

#[tokio::test]
async fn what_is_allowed_waits_for_nothing() {
    let env = TestEnv::new();
    env.workspace(FILE);
    assert!(env.run(&["allow", "--yes"]).await.status.success());
    insta::assert_snapshot!(words(&env, &env.run(&["plan"]).await), @r"
    exit 0
    ----- out
    + open  0.0.0.0:8081 -> web:80 through hub
    + page  localhost:8080 -> web:80 through hub
    ");
}

#[tokio::test]
async fn a_file_with_mistakes() {
    insta::assert_snapshot!(said_of("[tunnels", &["plan"]).await, @r"
    exit 2
    ----- err
    error[syntax]: unclosed table, expected `]`
     --> bastion.toml:1:9
      |
    1 | [tunnels
      |         ^

    error: bastion.toml has 1 mistake; there is no plan
    ");
}

#[cfg(unix)]
#[tokio::test]
async fn beside_an_instance() {
    let stage = Stage::answering(Vec::new(), |request| {
        assert!(matches!(request, Request::Plan { .. }), "{request:?}");
        Ok(Answer::Plan { lines: vec!["~ page  drain 5s instead of 0s\u{9b}".to_owned()], changes: 1 })
    });
    insta::assert_snapshot!(stage.said(&["plan"]).await, @r"
    exit 0
    ----- out
    ~ page  drain 5s instead of 0s�
    ");
    insta::assert_snapshot!(stage.said(&["plan", "--format", "json"]).await, @r#"
    exit 0
    ----- out
    {"version":1,"changes":1,"lines":["~ page  drain 5s instead of 0s�"]}
    "#);
}

#[cfg(unix)]
#[tokio::test]
async fn an_instance_that_refuses() {
    let stage = Stage::answering(Vec::new(), |_| {
        Err(Refused {
            report: Some("error[syntax]: unclosed table".to_owned()),
            ..Refused::new("rejected", "bastion.toml has 1 mistake", Some("mend it"))
        })
    });
    insta::assert_snapshot!(stage.said(&["plan"]).await, @r"
    exit 2
    ----- err
    error[syntax]: unclosed table

    error: bastion.toml has 1 mistake [rejected]
    hint: mend it
    ");
}
