//! A cloud of the user's own, signed in to for real: the emulator in a process of its own stands for all of Azure, and the
//! program gets its tokens as it would from Azure itself.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;

use crate::env::{EmulatorProcess, TestEnv, check_no_token};
use crate::process::{self, PATIENCE};

pub(crate) const TENANT: &str = "00000000-0000-4000-8000-0000000e0002";
const CLIENT: &str = "00000000-0000-4000-8000-0000000e0003";

/// The workspace as the emulator reads it; the same in the cloud `lab`, for everybody else.
pub(crate) const EMULATED: &str = r#"
[azure]
cloud = "emulator"
subscription = "00000000-0000-4000-8000-0000000e0001"
resource_group = "rg-emulator"
credential = "client-secret"
[bastions.hub]
[targets]
web = { vm = "vm-web" }
[tunnels]
echo = "0 -> web:7"
[emulator]
log = "requests.jsonl"
"#;

/// An emulator, and the user's own configuration that makes a cloud of it. Tokens are for its Resource Manager's own
/// address, unless this names another one.
pub(crate) async fn lab(audience: Option<&str>) -> (TestEnv, EmulatorProcess) {
    let env = TestEnv::new();
    env.workspace(EMULATED);
    let emulator = env.emulator(&[]).await;
    let arm = emulator.field("resource_manager");
    let login = arm.replace("management", "login");
    std::fs::write(env.home().join("lab.pem"), emulator.field("ca_pem")).unwrap();
    let own = env.home().join(".config/bastion");
    std::fs::create_dir_all(&own).unwrap();
    let audience = audience.map_or(String::new(), |audience| format!("audience = \"{audience}\"\n"));
    let cloud = format!(
        "[clouds.lab]\nresource_manager = \"https://{arm}\"\nauthority = \"https://{login}\"\n{audience}\
         ca_file = \"~/lab.pem\"\n"
    );
    std::fs::write(own.join("config.toml"), cloud).unwrap();
    env.workspace(
        &EMULATED
            .replace("cloud = \"emulator\"", "cloud = \"lab\"")
            .replace("log = \"requests.jsonl\"\n", ""),
    );
    (env, emulator)
}

pub(crate) fn signed_in(env: &TestEnv, arguments: &[&str]) -> Command {
    let mut command = env.bastion(arguments);
    command.env("AZURE_TENANT_ID", TENANT).env("AZURE_CLIENT_ID", CLIENT);
    command.env("AZURE_CLIENT_SECRET", "hunter2-hunter2");
    command
}

#[tokio::test]
async fn an_application_signs_in_and_its_bytes_go_through() {
    works("https://management.azure.com", lab(Some("https://management.azure.com")).await).await;
}

#[tokio::test]
async fn what_a_killed_one_left_is_deleted_as_its_cloud_has_it_and_without_a_sign_in() {
    let (env, _emulator) = lab(None).await;
    let mut up = env.run_command(signed_in(&env, &["up"]));
    let mut stream = TcpStream::connect(up.address("echo").await).await.unwrap();
    stream.write_all(b"x").await.unwrap();
    timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap();
    up.kill();
    up.wait().await;
    let asked = env.requests().len();
    // Its gateway has a port and a certificate that only this cloud's file vouches for.
    let output = env.run(&["gc"]).await;
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("deleted in Azure") && output.status.success(), "{said}");
    let sessions = env.sessions();
    assert_eq!((sessions.deleted, sessions.violations), (sessions.opened, vec![]));
    let kinds: Vec<String> = env.requests().iter().skip(asked).map(|r| r["kind"].to_string()).collect();
    assert!(kinds.iter().all(|kind| kind == "\"delete\""), "{kinds:?}");
}

#[tokio::test]
async fn a_cloud_that_names_no_audience_has_its_resource_managers_address() {
    let (env, emulator) = lab(None).await;
    let own = format!("https://{}", emulator.field("resource_manager"));
    works(&own, (env, emulator)).await;
}

#[tokio::test]
async fn an_audience_that_is_nobodys_is_refused_and_told() {
    let (env, emulator) = lab(Some("https://management.lab.example")).await;
    let who = process::output(signed_in(&env, &["whoami"]), PATIENCE).await;
    let told = String::from_utf8_lossy(&who.stderr).into_owned();
    assert_eq!(who.status.code(), Some(3), "{told}");
    assert!(told.contains("AADSTS70011: ") && told.contains("`audience`"), "{told}");
    emulator.into_running().stop().await;
}

/// Signs in for this audience, and has a tunnel carry bytes with what that gives.
async fn works(audience: &str, (env, emulator): (TestEnv, EmulatorProcess)) {
    let who = process::output(signed_in(&env, &["whoami"]), PATIENCE).await;
    let told = String::from_utf8_lossy(&who.stdout).into_owned();
    assert!(who.status.success() && told.contains("client-secret") && told.contains(TENANT), "{told}");
    check_no_token(&told.replace(TENANT, "").replace("00000000-0000-4000-8000", ""));

    let up = env.run_command(signed_in(&env, &["up"]));
    let mut stream = TcpStream::connect(up.address("echo").await).await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    let mut back = [0; 5];
    timeout(PATIENCE, stream.read_exact(&mut back)).await.unwrap().unwrap();
    assert_eq!(&back, b"hello");
    drop(stream);
    let said = env.finish(up).await;
    assert!(!said.contains("hunter2"), "{said}");
    let requests = env.requests();
    let scopes = requests.iter().filter(|r| r["kind"] == "login").map(|r| r["form"].to_string());
    let scopes: Vec<String> = scopes.collect();
    assert!(!scopes.is_empty() && scopes.iter().all(|form| form.contains(&format!("{audience}/.default"))));
    emulator.into_running().stop().await;
}

#[tokio::test]
async fn without_a_secret_it_is_blocked_and_says_what_to_set() {
    let (env, emulator) = lab(None).await;
    let up = env.up(&[]);
    let line = up.wait_line(|line| line.starts_with("blocked"), "a blocked tunnel").await;
    assert!(line.contains("[sign-in]"), "{line}");
    let hint = up.wait_line(|line| line.starts_with("hint:"), "what mends it").await;
    assert!(hint.contains("AZURE_CLIENT_SECRET") || line.contains("AZURE_"), "{line}\n{hint}");
    let output = env.run(&["wait"]).await;
    assert_eq!(output.status.code(), Some(3));
    up.stop().await;
    emulator.into_running().stop().await;
}
