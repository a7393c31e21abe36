//! Words of az, azd and Entra, and what becomes of them.

use super::*;

const AUDIENCE: &str = "https://management.core.windows.net/";

fn told(credential: CredentialKind, said: &str) -> String {
    let error = SignInError::said(credential, said, Some("contoso.com"), AUDIENCE);
    let way_out = error.way_out.as_deref().unwrap_or_default();
    format!("{error} | {:?} | {way_out}", error.flaw).trim_end().to_owned()
}

#[test]
fn what_az_says_becomes_what_to_type() {
    let said = [
        "AzureCliCredential authentication failed. az not found on PATH\nTo troubleshoot, visit https://x",
        "AzureCliCredential authentication failed. ERROR: Please run 'az login' to setup account.\n",
        "ERROR: AADSTS700082: The refresh token has expired due to inactivity. Trace ID: 1\nInteractive \
         authentication is needed. Please run:\naz login",
        "ERROR: AADSTS50076: Due to a configuration change, you must use multi-factor authentication.\naz login",
        "ERROR: AADSTS50020: User account 'a' from identity provider 'b' does not exist in tenant 'c'.\naz login",
        "ERROR: AADSTS90002: Tenant 'nowhere' not found.",
        "ERROR: HTTPSConnectionPool(host='login.microsoftonline.com', port=443): Max retries exceeded",
        "ERROR: The command failed with an unexpected error. Here is the traceback:",
        "AzureCliCredential authentication failed. \nTo troubleshoot, visit https://x",
    ];
    let told: Vec<String> = said.map(|said| told(CredentialKind::AzureCli, said)).into();
    insta::assert_snapshot!(told.join("\n"), @r"
    azure-cli: az is not installed (not found on PATH) | Absent | install the Azure CLI, then `az login`; or choose another `credential`
    azure-cli: nobody is signed in to az | SignedOut | `az login --tenant contoso.com`
    azure-cli: AADSTS700082: The refresh token has expired due to inactivity. | Expired | `az login --tenant contoso.com`
    azure-cli: AADSTS50076: Due to a configuration change, you must use multi-factor authentication. | Interaction | `az login --tenant contoso.com --scope https://management.core.windows.net//.default`
    azure-cli: AADSTS50020: User account 'a' from identity provider 'b' does not exist in tenant 'c'. | WrongTenant | `az login --tenant contoso.com`, with an account of that tenant; or correct `tenant`
    azure-cli: AADSTS90002: Tenant 'nowhere' not found. | WrongTenant | `az login --tenant contoso.com`, with an account of that tenant; or correct `tenant`
    azure-cli: HTTPSConnectionPool(host='login.microsoftonline.com', port=443): Max retries exceeded | Passing |
    azure-cli: The command failed with an unexpected error. Here is the traceback: | Unclear | see what `az account get-access-token --query expires_on` answers
    azure-cli: the sign-in service gave no reason that can be read | Unclear | see what `az account get-access-token --query expires_on` answers
    ");
}

#[test]
fn what_entra_says_of_applications() {
    let said = [
        (CredentialKind::ClientSecret, "AADSTS7000215: Invalid client secret provided. Trace ID: 1"),
        (CredentialKind::ClientSecret, "AADSTS7000222: The provided client secret keys are expired."),
        (CredentialKind::ClientSecret, "AADSTS700016: Application with identifier 'x' was not found."),
        (CredentialKind::ClientCertificate, "AADSTS700027: The certificate is not registered."),
        (CredentialKind::Github, "AADSTS700213: No matching federated identity record found."),
        (CredentialKind::AzureDeveloperCli, "\nnot logged in, run `azd auth login` to login"),
    ];
    let told: Vec<String> = said.map(|(credential, said)| told(credential, said)).into();
    insta::assert_snapshot!(told.join("\n"), @r"
    client-secret: AADSTS7000215: Invalid client secret provided. | Secret | give AZURE_CLIENT_SECRET a secret of that application which has not expired
    client-secret: AADSTS7000222: The provided client secret keys are expired. | Secret | give AZURE_CLIENT_SECRET a secret of that application which has not expired
    client-secret: AADSTS700016: Application with identifier 'x' was not found. | WrongTenant | correct `tenant`, AZURE_TENANT_ID and AZURE_CLIENT_ID
    client-certificate: AADSTS700027: The certificate is not registered. | Secret | register the certificate in AZURE_CLIENT_CERTIFICATE_PATH with that application
    github: AADSTS700213: No matching federated identity record found. | Secret | add a federated credential to the application that fits this job's subject
    azure-developer-cli: nobody is signed in to azd | SignedOut | `azd auth login --tenant-id contoso.com`
    ");
}
