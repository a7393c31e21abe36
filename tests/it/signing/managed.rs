//! A managed identity through the endpoint that App Service and its like name. The whole program, and a stand-in on this
//! machine.

use bastion::emulator::Emulator;
use serde_json::json;
use tokio::process::Command;

use super::stand_in::{Asked, StandIn};
use super::whoami::{USER, said, under, words};
use super::{emulator, logins};
use crate::env::TestEnv;

const HEADER: &str = "identity-header";

fn managed(env: &TestEnv, credential: &str, emulator: &Emulator, stand_in: &StandIn) -> Command {
    let mut command = under(env, credential, emulator, "");
    command
        .env("IDENTITY_ENDPOINT", format!("{}/msi/token?of=app", stand_in.origin))
        .env("IDENTITY_HEADER", HEADER)
        // What is on this machine is not to be had through a proxy.
        .env("HTTP_PROXY", "http://127.0.0.1:9")
        .env("HTTPS_PROXY", "http://127.0.0.1:9");
    command
}

fn granted() -> (u16, String) {
    let answer = json!({
        "access_token": USER, "expires_on": "4102444800", "token_type": "Bearer", "resource": "r",
    });
    (200, answer.to_string())
}

/// Answers a question that App Service takes, with this in its query besides.
fn app_service(asked: &Asked, more: &str) -> (u16, String) {
    let resource = "https%3A%2F%2Fmanagement.core.windows.net%2F";
    let line = format!("GET /msi/token?of=app&api-version=2019-08-01&resource={resource}{more}");
    if asked.line != line || asked.header("x-identity-header") != Some(HEADER) {
        return (401, format!("{asked:?}"));
    }
    granted()
}

#[tokio::test]
async fn the_identity_of_an_app_by_its_endpoint() {
    let (env, emulator) = (TestEnv::new(), emulator(Vec::new()).await);
    let stand_in = StandIn::plain(|asked| app_service(asked, "")).await;
    let told = said(managed(&env, "auto", &emulator, &stand_in)).await;
    insta::assert_snapshot!(told, @r"
    exit 0
    bastions     hub
    credential   managed-identity
    account      ann@contoso.com
    tenant       contoso
    until        TIME
    passed over  azure-cli: az is not installed (not found on PATH)
    passed over  azure-developer-cli: azd is not installed (not found on PATH)
    ----- err
    ");
    assert_eq!((stand_in.asked().len(), logins(&emulator)), (1, 0));
}

#[tokio::test]
async fn one_of_several_identities_by_its_client_id() {
    let (env, emulator) = (TestEnv::new(), emulator(Vec::new()).await);
    let stand_in = StandIn::plain(|asked| app_service(asked, "&client_id=id-1")).await;
    let mut command = managed(&env, "managed-identity", &emulator, &stand_in);
    command.env("AZURE_CLIENT_ID", "id-1");
    let told = said(command).await;
    assert!(told.starts_with("exit 0") && told.contains("managed-identity"), "{told}");
    // The file's word goes over the variable's.
    let mut command = managed(&env, "managed-identity\"\nclient_id = \"id-1", &emulator, &stand_in);
    command.env("AZURE_CLIENT_ID", "id-2");
    let told = said(command).await;
    assert!(told.starts_with("exit 0") && told.contains("managed-identity"), "{told}");
    assert_eq!(stand_in.asked().len(), 2);
}

#[tokio::test]
async fn what_an_endpoint_says_no_to_and_what_mends_it() {
    let (env, emulator) = (TestEnv::new(), emulator(Vec::new()).await);
    let rows = [
        (400, "{}".to_owned()),
        (401, format!("not with {HEADER}")),
        (403, json!({ "statusCode": 403, "message": "No managed identity\nfound" }).to_string()),
        (404, json!({ "error": "invalid_request", "error_description": "Identity not found" }).to_string()),
        (429, "slowly".to_owned()),
        (500, "broken".to_owned()),
        (302, String::new()),
        (200, "<html>".to_owned()),
        (200, json!(USER).to_string()),
    ];
    let mut all = Vec::new();
    for (status, body) in rows {
        let stand_in = StandIn::plain(move |_| (status, body.clone())).await;
        let told = said(managed(&env, "managed-identity", &emulator, &stand_in)).await;
        assert!(!told.contains(HEADER), "{told}");
        assert_eq!(stand_in.asked().len(), 1, "nobody is asked again by himself");
        all.push(words(&told));
    }
    let stand_in = StandIn::plain(|_| granted()).await;
    let mut command = managed(&env, "managed-identity", &emulator, &stand_in);
    command.env_remove("IDENTITY_ENDPOINT").env("MSI_ENDPOINT", format!("{}/msi", stand_in.origin));
    all.push(words(&said(command).await));
    assert_eq!(stand_in.asked(), []);
    insta::assert_snapshot!(all.join("\n"), @r#"
    exit 3 | error: managed-identity: The requested identity has not been assigned to this resource [sign-in] | hint: assign that identity to this resource, or correct `client_id` or AZURE_CLIENT_ID
    exit 3 | error: managed-identity: HTTP 401 [sign-in] | hint: leave IDENTITY_ENDPOINT and IDENTITY_HEADER as Azure sets them, and give this resource an identity
    exit 3 | error: managed-identity: HTTP 403: No managed identity found [sign-in] | hint: leave IDENTITY_ENDPOINT and IDENTITY_HEADER as Azure sets them, and give this resource an identity
    exit 3 | error: managed-identity: HTTP 404: Identity not found [sign-in] | hint: leave IDENTITY_ENDPOINT and IDENTITY_HEADER as Azure sets them, and give this resource an identity
    exit 1 | error: managed-identity: HTTP 429 [sign-in]
    exit 1 | error: managed-identity: HTTP 500 [sign-in]
    exit 3 | error: managed-identity: HTTP 302 [sign-in] | hint: leave IDENTITY_ENDPOINT and IDENTITY_HEADER as Azure sets them, and give this resource an identity
    exit 3 | error: managed-identity: its answer is not the JSON that it should be (line 1, column 1) [sign-in] | hint: most likely something on the way answered in its place, such as a proxy's page
    exit 3 | error: managed-identity: its answer is not the JSON that it should be (line 1, column 82) [sign-in] | hint: most likely something on the way answered in its place, such as a proxy's page
    exit 3 | error: managed-identity: CloudShell managed identity isn't supported [sign-in] | hint: `credential = "azure-cli"` where there is an az, as in Cloud Shell
    "#);
}
