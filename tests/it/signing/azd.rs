//! A person's sign-in, by azd. The whole program, and an azd that takes the arguments that the real one takes.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use bastion::azure::Environment;
use bastion::emulator::Emulator;
use bastion::model::{CredentialKind, Emulation, State};
use tokio::process::Command;

use super::whoami::{USER, said, under, words};
use super::{desired, emulator, identity, logins, surroundings, unauthorized};
use crate::env::TestEnv;
use crate::supervised::Supervised;

const SCOPE: &str = "https://management.core.windows.net//.default";
/// As azd says it, where JSON is asked for.
const SIGNED_OUT: &str = r#"{"type":"consoleMessage","timestamp":"2026-01-02T03:04:05Z","data":{"message":"\nERROR: not logged in, run `azd auth login` to login\n"}}"#;

/// An azd that says this when it is asked rightly, and something else when it is not.
fn install(env: &TestEnv, answer: &str, code: u8) {
    let (directory, program) = (env.path("bin"), env.path("bin/azd"));
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(env.path("answer"), answer).unwrap();
    let home = env.work();
    let home = home.display();
    let (stream, right) =
        (if code == 0 { 1 } else { 2 }, format!("auth token -o json --no-prompt --scope {SCOPE}"));
    let script = format!(
        "#!/bin/sh\necho \"$*\" >> '{home}/calls'\ncase \"$*\" in\n  '{right}'|'{right} --tenant-id contoso.com') ;;\n  \
         *) echo \"ERROR: unknown arguments: $*\" >&2; exit 64;;\nesac\n/bin/cat '{home}/answer' >&{stream}\nexit {code}\n"
    );
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn calls(env: &TestEnv) -> Vec<String> {
    let text = std::fs::read_to_string(env.path("calls")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn azd(env: &TestEnv, emulator: &Emulator) -> Command {
    under(env, "azure-developer-cli\"\ntenant = \"contoso.com", emulator, "")
}

#[tokio::test]
async fn whoever_is_signed_in_to_azd() {
    let (env, emulator) = (TestEnv::new(), emulator(Vec::new()).await);
    install(&env, &format!(r#"{{"token":"{USER}","expiresOn":"2099-01-02T03:04:05Z"}}"#), 0);
    insta::assert_snapshot!(said(azd(&env, &emulator)).await, @r"
    exit 0
    bastions    hub
    credential  azure-developer-cli
    account     ann@contoso.com
    tenant      contoso
    until        TIME
    ----- err
    ");
    let without = said(under(&env, "auto", &emulator, "")).await;
    assert!(without.starts_with("exit 0") && without.contains("azure-developer-cli"), "{without}");
    let asked = format!("auth token -o json --no-prompt --scope {SCOPE}");
    assert_eq!(calls(&env), [format!("{asked} --tenant-id contoso.com"), asked]);
    assert_eq!(logins(&emulator), 0);
}

/// It has no profile before anybody ever signed in.
async fn start(env: &TestEnv, emulator: &Emulator) -> Supervised {
    let (path, azd_profile) = (Some(env.path("bin").into_os_string()), Some(env.path("azd-profile")));
    let environment = Environment { path, azd_profile, ..Environment::default() };
    let user = identity(CredentialKind::AzureDeveloperCli, Some("contoso.com"));
    let dialer = Arc::new(surroundings(emulator, environment));
    Supervised::start(desired(&[(Emulation::SUBSCRIPTION, user)]), dialer).await
}

#[tokio::test]
async fn a_401_for_ever_blocks_and_azd_is_left_alone() {
    let (env, emulator) = (TestEnv::new(), emulator(vec![unauthorized(0)]).await);
    let token = emulator.endpoint().token;
    install(&env, &format!(r#"{{"token":"{token}","expiresOn":"2099-01-02T03:04:05Z"}}"#), 0);
    let supervised = start(&env, &emulator).await;
    let blocked = supervised.until_state("a", State::Blocked).await;
    let hint = blocked.reason.unwrap().hint.unwrap().replace(Emulator::TENANT, "TENANT");
    insta::assert_snapshot!(hint, @"type `azd auth login --tenant-id TENANT`, with an account of the bastion's tenant: until then azd gives the refused token again");
    supervised.stop().await;
    assert_eq!(calls(&env).len(), 2, "{:?}", calls(&env));
}

#[tokio::test]
async fn signed_out_and_in_again() {
    let (env, emulator) = (TestEnv::new(), emulator(Vec::new()).await);
    install(&env, SIGNED_OUT, 1);
    let supervised = start(&env, &emulator).await;
    let blocked = supervised.until_state("a", State::Blocked).await;
    assert_eq!(blocked.reason.unwrap().hint.as_deref(), Some("`azd auth login --tenant-id contoso.com`"));

    let token = emulator.endpoint().token;
    install(&env, &format!(r#"{{"token":"{token}","expiresOn":"2099-01-02T03:04:05Z"}}"#), 0);
    let directory = env.path("azd-profile");
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("auth.json"), "{}").unwrap();
    supervised.until_state("a", State::Ready).await;
    assert_eq!(calls(&env).len(), 2, "{:?}", calls(&env));
    supervised.stop().await;
}

#[tokio::test]
async fn what_azd_says_and_what_to_type() {
    let (env, emulator) = (TestEnv::new(), emulator(Vec::new()).await);
    let message = |text: &str| SIGNED_OUT.replace("not logged in, run `azd auth login` to login", text);
    let mut all = vec![words(&said(azd(&env, &emulator)).await)];
    for (answer, code) in [
        (SIGNED_OUT, 1),
        ("ERROR: not logged in, run `azd auth login` to login", 1),
        (&message("AADSTS50076: you must use multi-factor authentication. Trace ID: 1"), 1),
        (&message("AADSTS700082: The refresh token has expired due to inactivity. Trace ID: 1"), 1),
        (&message("fetching token: Post: dial tcp: lookup login.microsoftonline.com: no such host"), 1),
        (&message("something else"), 1),
        (&format!("\"{USER}\""), 0),
        (&format!(r#"{{"token":"{USER}","expiresOn":"2020-01-02T03:04:05Z"}}"#), 0),
    ] {
        install(&env, answer, code);
        all.push(words(&said(azd(&env, &emulator)).await));
    }
    insta::assert_snapshot!(all.join("\n"), @r"
    exit 3 | error: azure-developer-cli: azd is not installed (not found on PATH) [sign-in] | hint: install azd, then `azd auth login`; or choose another `credential`
    exit 3 | error: azure-developer-cli: nobody is signed in to azd [sign-in] | hint: `azd auth login --tenant-id contoso.com`
    exit 3 | error: azure-developer-cli: nobody is signed in to azd [sign-in] | hint: `azd auth login --tenant-id contoso.com`
    exit 3 | error: azure-developer-cli: AADSTS50076: you must use multi-factor authentication. [sign-in] | hint: `azd auth login --tenant-id contoso.com`
    exit 3 | error: azure-developer-cli: AADSTS700082: The refresh token has expired due to inactivity. [sign-in] | hint: `azd auth login --tenant-id contoso.com`
    exit 1 | error: azure-developer-cli: fetching token: Post: dial tcp: lookup login.microsoftonline.com: no such host [sign-in]
    exit 1 | error: azure-developer-cli: something else [sign-in] | hint: see whether `azd auth token -o json` answers with JSON
    exit 1 | error: azure-developer-cli: its answer is not the JSON that it should be (line 1, column 82) [sign-in] | hint: see whether `azd auth token -o json` answers with JSON
    exit 1 | error: azure-developer-cli: it gave a token that has expired already: is the clock of this machine right? [sign-in]
    ");
}
