//! Whom a token is for is decided when an instance starts, and by nothing that can be committed.

use crate::env::TestEnv;
use crate::process::{self, PATIENCE};

use super::FakeAz;

const WORKSPACE: &str = "[azure]\ncloud = \"emulator\"\nsubscription = \"s\"\nresource_group = \"rg\"\n[bastions.hub]\n\
                         [targets]\nweb = { vm = \"vm-web\" }\n[tunnels]\npage = \"0 -> web:80\"\n";

#[tokio::test]
async fn no_edit_takes_a_token_elsewhere() {
    let (env, az) = (TestEnv::new(), FakeAz::new());
    env.workspace(WORKSPACE);
    let mut command = env.bastion(&["up", "--no-watch"]);
    command.env("PATH", az.search());
    let up = env.run_command(command);
    up.address("page").await;
    env.workspace(&WORKSPACE.replace("cloud = \"emulator\"\n", ""));
    let output = env.run(&["reload"]).await;
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("[cloud-changed]") && told.contains("`bastion down`"), "{told}");
    assert_eq!(env.run(&["status"]).await.status.code(), Some(0));
    up.stop().await;
    assert_eq!(az.calls(), [""; 0], "an emulator is not signed in to");
}

#[tokio::test]
async fn each_identity_of_a_workspace_is_told_of_and_the_first_that_needs_a_person_counts() {
    let (env, az) = (TestEnv::new(), FakeAz::new());
    az.gives("one.com", "a.e30.c2ln");
    let two = "[bastions.hub]\ntenant = \"one.com\"\ncredential = \"azure-cli\"\n[bastions.spoke]\ntenant = \"two.com\"\n\
               credential = \"azure-cli\"\n";
    let text = WORKSPACE.replace("cloud = \"emulator\"\n", "").replace("[bastions.hub]\n", two);
    env.workspace(&text.replace("{ vm = \"vm-web\" }", "{ vm = \"vm-web\", bastion = \"hub\" }"));
    let mut command = env.bastion(&["whoami"]);
    command.env("PATH", az.search());
    let output = process::output(command, PATIENCE).await;
    let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(3), "{told}");
    assert!(told.contains("bastions    hub\ncredential  azure-cli"), "{told}");
    assert!(
        told.contains("bastions    spoke\ncredential  none") && told.contains("`az login --tenant two.com`"),
        "{told}"
    );
}
