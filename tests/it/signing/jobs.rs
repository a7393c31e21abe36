//! Jobs: what GitHub and Azure Pipelines say about them, in a secret's place. The whole program, with a stand-in for
//! either, and the emulator's sign-in.

use bastion::emulator::{Emulator, SignInRules};
use serde_json::json;
use tokio::process::Command;

use super::stand_in::{Asked, StandIn};
use super::statements::{SUBJECT, Signer};
use super::whoami::{said, under, words};
use super::{emulator, logins};
use crate::env::TestEnv;

/// What GitHub gives a job to ask with.
const BEARER: &str = "job-bearer";

fn github(env: &TestEnv, emulator: &Emulator, stand_in: &StandIn) -> Command {
    let mut command = under(env, "github", emulator, &stand_in.ca_pem);
    command
        .env("AZURE_TENANT_ID", Emulator::TENANT)
        .env("AZURE_CLIENT_ID", "app")
        .env("ACTIONS_ID_TOKEN_REQUEST_URL", format!("{}/jobs/1?api-version=2.0", stand_in.origin))
        .env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", BEARER);
    command
}

/// A question as GitHub takes it, or what is wrong with it.
fn as_github_takes_it(asked: &Asked) -> Result<(), String> {
    let line = "GET /jobs/1?api-version=2.0&audience=api%3A%2F%2FAzureADTokenExchange";
    if asked.line != line {
        return Err(asked.line.clone());
    }
    match asked.header("authorization") {
        Some("Bearer job-bearer") => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

/// What a command says, which shows neither the job's own token nor the statement about it, however much it is asked to say.
async fn told_without(statement: &str, command: impl Fn() -> Command) -> String {
    let told = said(command()).await;
    let mut loud = command();
    loud.arg("-vv");
    let all = format!("{told}{}", said(loud).await);
    assert!(!all.contains(BEARER) && !all.contains(statement), "{all}");
    told
}

#[tokio::test]
async fn a_job_of_github_shows_what_github_says_about_it() {
    let (env, emulator, signer) = (TestEnv::new(), emulator(Vec::new()).await, Signer::new());
    emulator.set_sign_in(signer.trusted());
    let statement = signer.statement(SUBJECT);
    let value = statement.clone();
    let stand_in = StandIn::tls(move |asked| match as_github_takes_it(asked) {
        Ok(()) => (200, json!({ "count": 1, "value": value }).to_string()),
        Err(why) => (400, why),
    })
    .await;
    let told = told_without(&statement, || github(&env, &emulator, &stand_in)).await;
    insta::assert_snapshot!(told, @r"
    exit 0
    bastions     hub
    credential   github
    application  00000000-0000-4000-8000-0000000e0004
    tenant       00000000-0000-4000-8000-0000000e0002
    until        TIME
    ----- err
    ");
    assert_eq!((stand_in.asked().len(), logins(&emulator)), (2, 2));
}

#[tokio::test]
async fn what_github_and_entra_say_no_to_and_what_mends_it() {
    let (env, emulator, signer) = (TestEnv::new(), emulator(Vec::new()).await, Signer::new());
    let other = json!({ "value": signer.statement("repo:contoso/app:pull_request") }).to_string();
    let good = json!({ "value": signer.statement(SUBJECT) }).to_string();
    let hidden = format!("<p>{BEARER} {}</p>", signer.statement(SUBJECT));
    let rows = [
        (401, hidden.clone(), signer.trusted()),
        (403, hidden.clone(), signer.trusted()),
        (503, hidden.clone(), signer.trusted()),
        (302, hidden.clone(), signer.trusted()),
        (200, hidden, signer.trusted()),
        (200, json!({ "value": "" }).to_string(), signer.trusted()),
        (200, other, signer.trusted()),
        (200, good.clone(), SignInRules::default()),
        (200, good, Signer::new().trusted()),
    ];
    let mut all = Vec::new();
    for (status, body, rules) in rows {
        emulator.set_sign_in(rules);
        let stand_in = StandIn::tls(move |_| (status, body.clone())).await;
        let told = said(github(&env, &emulator, &stand_in)).await;
        assert!(!told.contains(BEARER), "{told}");
        assert_eq!(stand_in.asked().len(), 1);
        all.push(words(&told));
    }
    let stand_in = StandIn::plain(|_| (200, String::new())).await;
    all.push(words(&said(github(&env, &emulator, &stand_in)).await));
    assert_eq!(stand_in.asked(), [], "nothing is sent in the clear");
    insta::assert_snapshot!(all.join("\n"), @r"
    exit 3 | error: github: asking GitHub about this job: HTTP 401 [sign-in] | hint: give the job `permissions: { id-token: write }`; what GitHub set in ACTIONS_ID_TOKEN_REQUEST_TOKEN is good for that one job while it runs
    exit 3 | error: github: asking GitHub about this job: HTTP 403 [sign-in] | hint: give the job `permissions: { id-token: write }`; what GitHub set in ACTIONS_ID_TOKEN_REQUEST_TOKEN is good for that one job while it runs
    exit 1 | error: github: asking GitHub about this job: HTTP 503 [sign-in]
    exit 3 | error: github: asking GitHub about this job: HTTP 302 [sign-in] | hint: give the job `permissions: { id-token: write }`; what GitHub set in ACTIONS_ID_TOKEN_REQUEST_TOKEN is good for that one job while it runs
    exit 3 | error: github: asking GitHub about this job: its answer has no statement in it [sign-in] | hint: leave ACTIONS_ID_TOKEN_REQUEST_URL and ACTIONS_ID_TOKEN_REQUEST_TOKEN as GitHub sets them
    exit 3 | error: github: asking GitHub about this job: its answer has no statement in it [sign-in] | hint: leave ACTIONS_ID_TOKEN_REQUEST_URL and ACTIONS_ID_TOKEN_REQUEST_TOKEN as GitHub sets them
    exit 3 | error: github: AADSTS700213: No matching federated identity record found for presented assertion subject 'repo:contoso/app:pull_request'. Check your federated identity credential Subject, Audience and Issuer against the presented assertion. [sign-in] | hint: add a federated credential to the application that fits this job's subject
    exit 3 | error: github: AADSTS700211: No matching federated identity record found for presented assertion issuer 'https://issuer.example'. Check your federated identity credential Subject, Audience and Issuer against the presented assertion. [sign-in] | hint: add a federated credential to the application that fits this job's subject
    exit 3 | error: github: AADSTS50013: Assertion failed signature validation. [Reason - The provided signature value did not match the expected signature value.] [sign-in] | hint: add a federated credential to the application that fits this job's subject
    exit 3 | error: github: ACTIONS_ID_TOKEN_REQUEST_URL is not an https URL [sign-in] | hint: leave ACTIONS_ID_TOKEN_REQUEST_URL and ACTIONS_ID_TOKEN_REQUEST_TOKEN as GitHub sets them
    ");
}

fn pipelines(env: &TestEnv, emulator: &Emulator, stand_in: &StandIn) -> Command {
    let mut command = under(env, "azure-pipelines", emulator, &stand_in.ca_pem);
    command
        .env("AZURESUBSCRIPTION_SERVICE_CONNECTION_ID", "connection-1")
        .env("AZURESUBSCRIPTION_TENANT_ID", Emulator::TENANT)
        .env("AZURESUBSCRIPTION_CLIENT_ID", "app")
        .env("SYSTEM_OIDCREQUESTURI", format!("{}/org/_apis/oidctoken?job=1", stand_in.origin))
        .env("SYSTEM_ACCESSTOKEN", BEARER);
    command
}

/// A question as Azure Pipelines takes it, or what is wrong with it.
fn as_pipelines_take_it(asked: &Asked) -> Result<(), String> {
    let line = "POST /org/_apis/oidctoken?job=1&api-version=7.1&serviceConnectionId=connection-1";
    let headers = [
        ("authorization", "Bearer job-bearer"),
        // Without it, who is not believed is sent to a page for people.
        ("x-tfs-fedauthredirect", "Suppress"),
        ("content-length", "0"),
    ];
    let missing = headers.iter().find(|(name, value)| asked.header(name) != Some(value));
    match missing {
        _ if asked.line != line => Err(asked.line.clone()),
        Some((name, _)) => Err(format!("{name}: {:?}", asked.header(name))),
        None => Ok(()),
    }
}

#[tokio::test]
async fn a_task_of_azure_pipelines_shows_what_they_say_about_it() {
    let (env, emulator, signer) = (TestEnv::new(), emulator(Vec::new()).await, Signer::new());
    emulator.set_sign_in(signer.trusted());
    let statement = signer.statement(SUBJECT);
    let value = statement.clone();
    let stand_in = StandIn::tls(move |asked| match as_pipelines_take_it(asked) {
        Ok(()) => (200, json!({ "oidcToken": value }).to_string()),
        Err(why) => (400, why),
    })
    .await;
    let told = told_without(&statement, || pipelines(&env, &emulator, &stand_in)).await;
    insta::assert_snapshot!(told, @r"
    exit 0
    bastions     hub
    credential   azure-pipelines
    application  00000000-0000-4000-8000-0000000e0004
    tenant       00000000-0000-4000-8000-0000000e0002
    until        TIME
    ----- err
    ");
    assert_eq!((stand_in.asked().len(), logins(&emulator)), (2, 2));
}

#[tokio::test]
async fn what_azure_pipelines_say_no_to_and_what_mends_it() {
    let (env, emulator, signer) = (TestEnv::new(), emulator(Vec::new()).await, Signer::new());
    emulator.set_sign_in(signer.trusted());
    let other = json!({ "oidcToken": signer.statement("sc://contoso/project/another") }).to_string();
    let hidden = format!("<p>{BEARER} {}</p>", signer.statement(SUBJECT));
    // A parser would quote what it did not expect.
    let quoted = json!(signer.statement(SUBJECT)).to_string();
    let rows = [
        (401, hidden.clone()),
        (403, hidden.clone()),
        (503, hidden.clone()),
        (200, hidden),
        (200, quoted),
        (200, other),
    ];
    let mut all = Vec::new();
    for (status, body) in rows {
        let stand_in = StandIn::tls(move |_| (status, body.clone())).await;
        let told = said(pipelines(&env, &emulator, &stand_in)).await;
        assert!(!told.contains(BEARER), "{told}");
        all.push(words(&told));
    }
    let stand_in = StandIn::tls(|_| (500, String::new())).await;
    for missing in ["SYSTEM_ACCESSTOKEN", "SYSTEM_OIDCREQUESTURI", "AZURESUBSCRIPTION_CLIENT_ID"] {
        let mut command = pipelines(&env, &emulator, &stand_in);
        command.env_remove(missing);
        all.push(words(&said(command).await));
    }
    assert_eq!(stand_in.asked(), []);
    insta::assert_snapshot!(all.join("\n"), @r"
    exit 3 | error: azure-pipelines: 401 response from the OIDC endpoint. Check service connection ID and pipeline configuration. [sign-in] | hint: map `SYSTEM_ACCESSTOKEN: $(System.AccessToken)` in the step's `env`, and let the pipeline use the service connection in AZURESUBSCRIPTION_SERVICE_CONNECTION_ID
    exit 3 | error: azure-pipelines: 403 response from the OIDC endpoint. Check service connection ID and pipeline configuration. [sign-in] | hint: map `SYSTEM_ACCESSTOKEN: $(System.AccessToken)` in the step's `env`, and let the pipeline use the service connection in AZURESUBSCRIPTION_SERVICE_CONNECTION_ID
    exit 1 | error: azure-pipelines: it answered HTTP 503 [sign-in]
    exit 3 | error: azure-pipelines: its answer is not the JSON that it should be (line 1, column 1) [sign-in] | hint: most likely something on the way answered in its place, such as a proxy's page
    exit 3 | error: azure-pipelines: its answer is not the JSON that it should be (line 1, column 614) [sign-in] | hint: most likely something on the way answered in its place, such as a proxy's page
    exit 3 | error: azure-pipelines: AADSTS700213: No matching federated identity record found for presented assertion subject 'sc://contoso/project/another'. Check your federated identity credential Subject, Audience and Issuer against the presented assertion. [sign-in] | hint: add a federated credential to the application that fits this job's subject
    exit 3 | error: azure-pipelines: SYSTEM_ACCESSTOKEN is not set [sign-in] | hint: map `SYSTEM_ACCESSTOKEN: $(System.AccessToken)` in the step's `env`
    exit 3 | error: azure-pipelines: SYSTEM_OIDCREQUESTURI is not set [sign-in] | hint: set SYSTEM_OIDCREQUESTURI, or choose another `credential`
    exit 3 | error: azure-pipelines: AZURESUBSCRIPTION_CLIENT_ID is not set [sign-in] | hint: set AZURESUBSCRIPTION_CLIENT_ID, or choose another `credential`
    ");
}
