//! az's current subscription, where no file and no flag names one, from az's profile to bytes that go through.

use bastion::model::Emulation;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;

use super::{AUDIENCE, FakeAz, OTHER_SUBSCRIPTION};
use crate::env::{EmulatorProcess, Running, TestEnv, check_no_token};
use crate::lab::{EMULATED, TENANT, lab, signed_in};
use crate::process::{self, PATIENCE};

const VM: &str = "/subscriptions/00000000-0000-4000-8000-0000000e0001/resourceGroups/rg-emulator/providers/\
                  Microsoft.Compute/virtualMachines/vm-web";

/// Chooses a subscription, as `az account set` does.
fn chooses(az: &FakeAz, id: &str, name: &str) {
    let profile = serde_json::json!({ "subscriptions": [
        { "id": "00000000-0000-4000-8000-0000000e0077", "name": "Another", "isDefault": false, "state": "Enabled",
          "user": { "name": "ann@contoso.com", "type": "user" }, "tenantId": "t", "environmentName": "lab" },
        { "id": id, "name": name, "isDefault": true, "state": "Enabled",
          "user": { "name": "ann@contoso.com", "type": "user" }, "tenantId": TENANT, "environmentName": "lab" },
    ] });
    std::fs::write(az.path("profile/azureProfile.json"), profile.to_string()).unwrap();
}

/// A person who is signed in by az to the tenant of the emulator, and to no other, in a workspace that names no
/// subscription.
async fn person() -> (TestEnv, EmulatorProcess, FakeAz) {
    let (env, emulator) = lab(Some(AUDIENCE)).await;
    let az = FakeAz::new();
    az.gives(TENANT, &emulator.token());
    chooses(&az, Emulation::SUBSCRIPTION, "Shop");
    workspace(&env, "echo = \"0 -> web:7\"\n");
    (env, emulator, az)
}

fn workspace(env: &TestEnv, tunnels: &str) {
    let (before, _) = EMULATED.split_once("[tunnels]").unwrap();
    let text = before
        .replace("cloud = \"emulator\"", "cloud = \"lab\"")
        .replace("subscription = \"00000000-0000-4000-8000-0000000e0001\"\n", "")
        .replace("credential = \"client-secret\"\n", "");
    assert!(!text.contains("subscription") && !text.contains("credential"));
    env.workspace(&format!("{text}[tunnels]\n{tunnels}"));
}

fn by_az(env: &TestEnv, az: &FakeAz, arguments: &[&str]) -> Command {
    let mut command = env.bastion(arguments);
    command.env("PATH", az.search()).env("AZURE_CONFIG_DIR", az.path("profile"));
    command
}

async fn echoes(running: &Running, tunnel: &str) {
    let mut stream = TcpStream::connect(running.address(tunnel).await).await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    let mut back = [0; 5];
    timeout(PATIENCE, stream.read_exact(&mut back)).await.unwrap().unwrap();
    assert_eq!(&back, b"hello");
}

#[tokio::test]
async fn it_is_where_the_bastion_is_and_its_tenant_is_who_signs_in() {
    let (env, emulator, az) = person().await;
    let up = env.run_command(by_az(&env, &az, &["up"]));
    echoes(&up, "echo").await;
    let asked = az.calls();
    assert!(
        !asked.is_empty() && asked.iter().all(|call| call.contains(&format!("--tenant {TENANT}"))),
        "{asked:?}"
    );
    let said = env.finish(up).await;
    let line = "The subscription is `Shop` (00000000-0000-4000-8000-0000000e0001), az's current one";
    assert!(said.lines().any(|said| said == line) && !said.contains("ann@"), "{said}");
    emulator.into_running().stop().await;
}

#[tokio::test]
async fn another_current_one_moves_nothing_until_a_reload_names_it() {
    let (env, emulator, az) = person().await;
    let up = env.run_command(by_az(&env, &az, &["up"]));
    echoes(&up, "echo").await;
    chooses(&az, OTHER_SUBSCRIPTION, "Elsewhere");
    // An edit is read with what az said before.
    workspace(&env, "echo = \"0 -> web:7\"\nsecond = \"0 -> web:7\"\n");
    echoes(&up, "second").await;
    // And that does not change when somebody looks.
    let plan = process::output(by_az(&env, &az, &["plan"]), PATIENCE).await;
    let plan = String::from_utf8_lossy(&plan.stdout).into_owned();
    assert!(
        plan.contains("echo") && plan.contains("second"),
        "with what az says now, both would move: {plan}"
    );
    let wait = process::output(by_az(&env, &az, &["wait"]), PATIENCE).await;
    assert!(wait.status.success(), "{wait:?}");

    let reload = process::output(by_az(&env, &az, &["reload"]), PATIENCE).await;
    assert!(reload.status.success(), "{reload:?}");
    // Nobody has a bastion there.
    for tunnel in ["echo", "second"] {
        let is_it =
            |line: &str| line.starts_with("blocked") && line.contains(tunnel) && line.contains("not-found");
        up.wait_line(is_it, "a bastion that is not in the other subscription").await;
    }
    up.stop().await;
    emulator.into_running().stop().await;
}

#[tokio::test]
async fn a_second_up_brings_what_az_says_where_it_is_typed() {
    let (env, emulator, az) = person().await;
    let first = env.run_command(by_az(&env, &az, &["up"]));
    echoes(&first, "echo").await;
    chooses(&az, OTHER_SUBSCRIPTION, "Elsewhere");
    let second = env.run_command(by_az(&env, &az, &["up"]));
    second.wait_line(|line| line.contains("`Elsewhere`"), "which one it is").await;
    first.wait_line(|line| line.starts_with("blocked") && line.contains("not-found"), "the other one").await;
    second.stop().await;
    first.stop().await;
    emulator.into_running().stop().await;
}

#[tokio::test]
async fn an_edit_that_would_need_it_is_refused_with_the_way_to_ask_az_again() {
    let (env, emulator, az) = person().await;
    std::fs::remove_file(az.path("profile/azureProfile.json")).unwrap();
    let named = |name: &str| {
        workspace(&env, "echo = \"0 -> web:7\"\n");
        let text = std::fs::read_to_string(env.path("bastion.toml")).unwrap();
        env.workspace(&text.replace("[azure]\n", &format!("[azure]\ntenant = \"{TENANT}\"\n{name}")));
    };
    named("subscription = \"00000000-0000-4000-8000-0000000e0001\"\n");
    let up = env.run_command(by_az(&env, &az, &["up"]));
    echoes(&up, "echo").await;
    chooses(&az, Emulation::SUBSCRIPTION, "Shop");
    named("");
    up.wait_line(|line| line.contains("error[no-subscription]"), "the mistake").await;
    up.wait_line(|line| line.contains("`bastion reload`"), "what asks az").await;
    let reload = process::output(by_az(&env, &az, &["reload"]), PATIENCE).await;
    assert!(reload.status.success(), "{reload:?}");
    echoes(&up, "echo").await;
    env.finish(up).await;
    emulator.into_running().stop().await;
}

#[tokio::test]
async fn a_tunnel_without_a_file_is_where_az_is() {
    let (env, emulator, az) = person().await;
    let options = ["tunnel", "--cloud", "lab", "--name", "hub", "--resource-group", "rg-emulator"];
    let target = ["--resource-port", "7", "--target-resource-id", VM];
    let tunnel = env.run_command(by_az(&env, &az, &[&options[..], &target].concat()));
    let ready = tunnel.wait_line(|line| line.starts_with("Tunnel is ready"), "a tunnel").await;
    let port: u16 = ready.rsplit(' ').next().unwrap().parse().unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    let mut back = [0; 5];
    timeout(PATIENCE, stream.read_exact(&mut back)).await.unwrap().unwrap();
    drop(stream);
    assert!(az.calls().iter().all(|call| call.contains(&format!("--tenant {TENANT}"))), "{:?}", az.calls());
    let said = tunnel.stop().await;
    assert!(said.contains("The subscription is `Shop`") && !said.contains("ann@"), "{said}");
    check_no_token(&said);
    emulator.into_running().stop().await;
}

#[tokio::test]
async fn a_tunnel_in_a_cloud_of_the_users_own_is_signed_in_as_a_workspace_is() {
    let (env, emulator) = lab(Some(AUDIENCE)).await;
    let options = ["tunnel", "--cloud", "lab", "--name", "hub", "--resource-group", "rg-emulator"];
    let target =
        ["--subscription", Emulation::SUBSCRIPTION, "--resource-port", "7", "--target-resource-id", VM];
    let command = signed_in(&env, &[&options[..], &target].concat());
    let tunnel = env.run_command(command);
    tunnel.wait_line(|line| line.starts_with("Tunnel is ready"), "a tunnel").await;
    let said = tunnel.stop().await;
    assert!(!said.contains("The subscription is") && !said.contains("hunter2"), "{said}");
    emulator.into_running().stop().await;
}

#[tokio::test]
async fn whoever_is_signed_out_of_az_is_asked_to_sign_in_and_not_to_edit() {
    let (env, az) = (TestEnv::new(), FakeAz::new());
    env.workspace(
        "[azure]\nresource_group = \"rg\"\n[bastions.hub]\n[targets]\nweb = { vm = \"vm-web\" }\n[tunnels]\npage = \"0 -> web:80\"\n",
    );
    for command in ["whoami", "up"] {
        let output = process::output(by_az(&env, &az, &[command]), PATIENCE).await;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{command}: {told}");
        assert!(told.contains("[sign-in]") && told.contains("hint: `az login`"), "{command}: {told}");
        assert_eq!(command == "up", told.contains("no-subscription"), "{told}");
    }
    // Who is signed in can be said without one.
    az.gives("own", super::whoami::USER);
    let output = process::output(by_az(&env, &az, &["whoami"]), PATIENCE).await;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && told.contains("ann@contoso.com"), "{output:?}");
    // A mistake is one all the same.
    env.workspace("[azure]\nresource_group = 1\n[bastions.hub]\n");
    let output = process::output(by_az(&env, &az, &["up"]), PATIENCE).await;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}
