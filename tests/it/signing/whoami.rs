//! `bastion whoami`, the whole program with a fake az and the emulator's sign-in.

use bastion::emulator::Emulator;
use tokio::process::Command;

use super::{FakeAz, emulator};
use crate::env::{TestEnv, check_no_token};
use crate::process::{self, PATIENCE};

/// Claims of a user, signed by nobody.
pub(super) const USER: &str =
    "eyJhbGciOiJub25lIn0.eyJ1cG4iOiJhbm5AY29udG9zby5jb20iLCJ0aWQiOiJjb250b3NvIn0.c2ln";

fn whoami(env: &TestEnv, az: &FakeAz, arguments: &[&str]) -> Command {
    let mut command = env.bastion(&[&["whoami"], arguments].concat());
    command.env("PATH", az.search()).env("AZURE_CONFIG_DIR", az.path("profile"));
    command
}

/// The same in a workspace whose bastion is under this credential. It signs in to the emulator, believes it and this
/// authority, and has no program at hand.
pub(super) fn under(env: &TestEnv, credential: &str, emulator: &Emulator, ca_pem: &str) -> Command {
    env.workspace(&format!(
        "[azure]\nsubscription = \"s\"\nresource_group = \"rg\"\ncredential = \"{credential}\"\n[bastions.hub]\n\
         [targets]\nweb = {{ vm = \"vm-web\" }}\n[tunnels]\npage = \"0 -> web:80\"\n"
    ));
    let (endpoint, authority) = (emulator.endpoint(), env.path("ca.pem"));
    std::fs::write(&authority, format!("{}{ca_pem}", endpoint.ca_pem)).unwrap();
    let mut command = env.bastion(&["whoami"]);
    command
        .env("PATH", env.path("bin"))
        .env("BASTION_CA_FILE", &authority)
        .env("AZURE_AUTHORITY_HOST", format!("https://login.localhost:{}/", endpoint.address.port()));
    command
}

/// How it ended, and what it says of that, in a line.
pub(super) fn words(told: &str) -> String {
    let (head, err) = told.split_once("----- err\n").unwrap();
    format!("{} | {}", head.lines().next().unwrap(), err.trim_end().replace('\n', " | "))
}

pub(super) async fn said(command: Command) -> String {
    let output = process::output(command, PATIENCE).await;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    check_no_token(&format!("{out}{err}"));
    let times = out.lines().map(|line| match line.split_once("until") {
        Some((before, _)) if !line.contains('{') => format!("{before}until        TIME\n"),
        _ => format!("{line}\n"),
    });
    format!("exit {}\n{}----- err\n{err}", output.status.code().unwrap(), times.collect::<String>())
}

#[tokio::test]
async fn a_person_by_az_without_a_workspace() {
    let (env, az) = (TestEnv::new(), FakeAz::new());
    az.gives("own", USER);
    insta::assert_snapshot!(said(whoami(&env, &az, &[])).await, @r"
    exit 0
    credential  azure-cli
    account     ann@contoso.com
    tenant      contoso
    until        TIME
    ----- err
    ");
    let json = said(whoami(&env, &az, &["--format", "json"])).await;
    assert!(
        json.contains(r#""account":"ann@contoso.com""#) && json.contains(r#""passed_over":[]"#),
        "{json}"
    );
}

#[tokio::test]
async fn a_broken_az_does_not_keep_others_from_being_asked_and_a_network_that_is_down_does() {
    let (env, az) = (TestEnv::new(), FakeAz::new());
    az.fails("Traceback (most recent call last): ModuleNotFoundError");
    let told = said(whoami(&env, &az, &[])).await;
    assert!(told.starts_with("exit 3") && told.contains("client-secret: AZURE_CLIENT_SECRET"), "{told}");
    az.fails("ERROR: HTTPSConnectionPool(host='login.microsoftonline.com', port=443): Max retries exceeded");
    let told = said(whoami(&env, &az, &[])).await;
    assert!(told.starts_with("exit 1") && !told.contains("client-secret"), "{told}");
}

/// Az goes to Azure by itself: the proxy of the user's own configuration is nothing that it reads.
#[tokio::test]
async fn az_is_told_of_the_users_own_proxy_unless_the_environment_names_one() {
    let (env, az) = (TestEnv::new(), FakeAz::new());
    let own = env.home().join(".config/bastion");
    std::fs::create_dir_all(&own).unwrap();
    let text = "[network]\nproxy = \"http://me:hunter2@proxy.example:3128\"\nno_proxy = [\".internal\", \"10.0.0.0/8\"]\n";
    std::fs::write(own.join("config.toml"), text).unwrap();
    let told = az.path("told");
    az.does(&format!("echo \"$* $HTTPS_PROXY $NO_PROXY\" > '{}'\nexit 1", told.display()));
    let found = |environment: &'static [(&'static str, &'static str)]| {
        let (mut command, told) = (whoami(&env, &az, &[]), told.clone());
        command.envs(environment.iter().copied());
        async move {
            assert!(!said(command).await.contains("hunter2"));
            let text = std::fs::read_to_string(told).unwrap();
            text.trim_end().rsplit_once("/.default ").unwrap().1.to_owned()
        }
    };
    assert_eq!(found(&[]).await, "http://me:hunter2@proxy.example:3128 .internal,10.0.0.0/8");
    let theirs = &[("HTTPS_PROXY", "http://other:1"), ("NO_PROXY", "*")];
    assert_eq!(found(theirs).await, "http://other:1 *");
}

#[tokio::test]
async fn nobody_and_why() {
    let (env, az) = (TestEnv::new(), FakeAz::new());
    insta::assert_snapshot!(said(whoami(&env, &az, &[])).await, @r"
    exit 3
    credential   none
    passed over  azure-cli: nobody is signed in to az
    passed over  azure-developer-cli: azd is not installed (not found on PATH)
    passed over  managed-identity: neither IDENTITY_ENDPOINT nor MSI_ENDPOINT is set
    passed over  workload-identity: AZURE_FEDERATED_TOKEN_FILE is not set
    passed over  github: ACTIONS_ID_TOKEN_REQUEST_URL is not set
    passed over  azure-pipelines: AZURESUBSCRIPTION_SERVICE_CONNECTION_ID is not set
    passed over  client-secret: AZURE_CLIENT_SECRET is not set
    passed over  client-certificate: AZURE_CLIENT_CERTIFICATE_PATH is not set
    ----- err
    error: no credential gave a token [sign-in]
    hint: `az login`
    ");
}

#[tokio::test]
async fn an_application_by_its_secret() {
    let (env, az, emulator) = (TestEnv::new(), FakeAz::new(), emulator(Vec::new()).await);
    let endpoint = emulator.endpoint();
    let authority = env.path("ca.pem");
    std::fs::write(&authority, &endpoint.ca_pem).unwrap();
    let mut command = whoami(&env, &az, &[]);
    command
        .env("BASTION_CA_FILE", &authority)
        .env("AZURE_AUTHORITY_HOST", format!("https://login.localhost:{}/", endpoint.address.port()))
        .env("AZURE_TENANT_ID", Emulator::TENANT)
        .env("AZURE_CLIENT_ID", "app")
        .env("AZURE_CLIENT_SECRET", "very-secret");
    let told = said(command).await;
    assert!(!told.contains("very-secret"), "{told}");
    insta::assert_snapshot!(told, @r"
    exit 0
    credential   client-secret
    application  00000000-0000-4000-8000-0000000e0004
    tenant       00000000-0000-4000-8000-0000000e0002
    until        TIME
    passed over  azure-cli: nobody is signed in to az
    passed over  azure-developer-cli: azd is not installed (not found on PATH)
    passed over  managed-identity: neither IDENTITY_ENDPOINT nor MSI_ENDPOINT is set
    passed over  workload-identity: AZURE_FEDERATED_TOKEN_FILE is not set
    passed over  github: ACTIONS_ID_TOKEN_REQUEST_URL is not set
    passed over  azure-pipelines: AZURESUBSCRIPTION_SERVICE_CONNECTION_ID is not set
    ----- err
    ");
}

#[tokio::test]
async fn a_variable_that_names_no_authorities_is_named_itself() {
    let (env, az) = (TestEnv::new(), FakeAz::new());
    let mut command = whoami(&env, &az, &[]);
    command.env("SSL_CERT_FILE", "/nonexistent/ca.pem");
    insta::assert_snapshot!(said(command).await, @r"
    exit 2
    ----- err
    error: `SSL_CERT_FILE` cannot be used: reading the certificate authorities in /nonexistent/ca.pem: No such file or directory (os error 2) [ca-file]
    hint: name a PEM file with a certificate in it, or `unset SSL_CERT_FILE`
    ");
}
