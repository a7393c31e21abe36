//! Why there is no access token, and what to type. Pure: it reads what az, azd and Entra say.

use std::fmt;
use std::time::Duration;

use super::answer::NoToken;
use super::auto::NOT_INSTALLED;
use super::commands::{az_login, azd_login};
use super::{PassedOver, credential_word};
use crate::model::{Blocked, CredentialKind, Disposition, printable};

/// What is in the way of a sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Nothing is configured for the credential.
    Unset,
    /// The credential is not there: a program is not installed, or something that it needs besides is not configured.
    Absent,
    /// A program is there and of no use: it is too old, or cannot run.
    Unfit,
    /// Nobody is signed in.
    SignedOut,
    /// A sign-in has expired or was revoked.
    Expired,
    /// A person has to do something: another factor, a policy.
    Interaction,
    /// The account is not known in that tenant, or there is no such tenant.
    WrongTenant,
    /// The secret, certificate or assertion is not accepted.
    Secret,
    /// None of the credentials that were tried gave a token.
    None,
    /// The credential is promised and not built.
    NotYet,
    /// A proxy on the way lets nobody through, and only a person can mend that.
    Proxy,
    /// The certificate of the sign-in service is not believed.
    Untrusted,
    /// Something that may pass by itself.
    Passing,
    /// A program failed in a way that is not known: it may pass, and it may not.
    Unclear,
}

/// Why there is no access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignInError {
    /// The credential that was asked.
    pub credential: CredentialKind,
    /// What kind of failure it is.
    pub flaw: Flaw,
    /// What happened, in words; nothing in it is secret.
    pub what: String,
    /// What to type or to change.
    pub way_out: Option<String>,
    /// The stable code of this class of failure.
    pub code: &'static str,
    /// When the other side wants to be asked again.
    pub after: Option<Duration>,
    /// Those that `auto` asked in vain.
    pub passed: Vec<PassedOver>,
}

impl fmt::Display for SignInError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.flaw != Flaw::None {
            return write!(f, "{}: {}", credential_word(self.credential), self.what);
        }
        f.write_str("no credential gave a token")?;
        // What is merely not there is not what anybody wants to read, unless there is nothing else.
        let mut told: Vec<_> = self.passed.iter().filter_map(|one| Some((one.rank()?, one))).collect();
        told.sort_by_key(|(rank, _)| *rank);
        let failed = told.iter().any(|(rank, _)| *rank < NOT_INSTALLED);
        for (_, one) in told.iter().filter(|(rank, _)| !failed || *rank < NOT_INSTALLED) {
            write!(f, "; {}: {}", credential_word(one.credential), one.why)?;
        }
        Ok(())
    }
}

impl std::error::Error for SignInError {}

impl SignInError {
    /// One without anything to type.
    pub(in crate::azure) fn new(credential: CredentialKind, flaw: Flaw, what: impl Into<String>) -> Self {
        let (what, passed) = (what.into(), Vec::new());
        Self { credential, flaw, what, way_out: None, code: "sign-in", after: None, passed }
    }

    /// What to type, if it is known.
    pub(super) fn way_out(mut self, way_out: impl Into<String>) -> Self {
        self.way_out = Some(way_out.into());
        self
    }

    /// What to do about it.
    pub fn disposition(&self) -> Disposition {
        match self.flaw {
            Flaw::Passing | Flaw::Unclear => self.after.map_or(Disposition::Retry, Disposition::RetryAfter),
            Flaw::Proxy => Disposition::Blocked(Blocked::Denied),
            Flaw::Untrusted => Disposition::Blocked(Blocked::Answer),
            Flaw::Unset
            | Flaw::Absent
            | Flaw::Unfit
            | Flaw::SignedOut
            | Flaw::Expired
            | Flaw::Interaction
            | Flaw::WrongTenant
            | Flaw::Secret
            | Flaw::None
            | Flaw::NotYet => Disposition::Blocked(Blocked::SignIn),
        }
    }

    /// What a source said, understood as far as it can be.
    pub(super) fn said(credential: CredentialKind, said: &str, tenant: Option<&str>, audience: &str) -> Self {
        if is_program(credential)
            && let Some(error) = Self::new(credential, Flaw::Passing, first_line(said)).of_its_way(said)
        {
            return error;
        }
        let found = flaw(said);
        // An application has no sign-in that could expire, only what it shows.
        let shown = found == Flaw::Expired && !is_program(credential);
        let flaw = if shown { Flaw::Secret } else { found };
        let what = match (flaw, credential) {
            (Flaw::Absent, _) => format!("{} is not installed (not found on PATH)", program(credential)),
            (Flaw::Unfit, _) => "az is too old: it does not say until when a token is good".to_owned(),
            (Flaw::SignedOut, _) => format!("nobody is signed in to {}", program(credential)),
            _ => first_line(said),
        };
        let way_out =
            by_reason(credential, flaw, said).or_else(|| way_out(credential, flaw, tenant, audience));
        // Entra and the metadata service say no in so many words; none of them passes by itself.
        let said_no = flaw == Flaw::Unclear && !is_program(credential);
        let flaw = if said_no { Flaw::Secret } else { flaw };
        Self { way_out, ..Self::new(credential, flaw, what) }
    }

    /// The same of an answer of a sign-in service that is no token.
    pub(super) fn refused(self, no: &NoToken) -> Self {
        if is_passing(no.status) {
            // What a busy or broken server did is not mended by signing in, whatever its words are.
            return Self { after: no.after, ..Self::new(self.credential, Flaw::Passing, self.what) };
        }
        if no.in_words {
            return self;
        }
        let way_out = match no.status {
            300..=399 => {
                "is the authority the right one (AZURE_AUTHORITY_HOST, or `authority` of the cloud in your own configuration)?"
            }
            _ => "most likely something on the way answered in its place, such as a proxy's page",
        };
        Self::new(self.credential, Flaw::Secret, self.what).way_out(way_out)
    }

    /// The same of an answer of a metadata service. What is not said in words may be anything, and is not told.
    pub(super) fn of_metadata(self, status: u16, body: &[u8]) -> Self {
        if !self.what.starts_with("The request failed:") {
            return self;
        }
        let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let words = ["error_description", "message"].iter().find_map(|name| body.get(name)?.as_str());
        let what = match words {
            Some(words) => format!("HTTP {status}: {}", printable(words, 300)),
            None => format!("HTTP {status}"),
        };
        Self { what, ..self }
    }

    /// The same of an answer that is not the JSON that it should be. What it is instead may be a token, so it is not told.
    pub(super) fn not_json(self, line: usize, column: usize) -> Self {
        let what = format!("its answer is not the JSON that it should be (line {line}, column {column})");
        let way_out = if !is_program(self.credential) {
            "most likely something on the way answered in its place, such as a proxy's page"
        } else {
            see(self.credential)
        };
        Self { what, way_out: Some(way_out.to_owned()), ..self }
    }
}

/// Whether a status is one of a server that is busy, broken or being moved.
pub(super) fn is_passing(status: u16) -> bool {
    matches!(status, 408 | 410 | 429 | 500..=599)
}

/// What shows how a program answers.
pub(super) fn see(credential: CredentialKind) -> &'static str {
    if credential == CredentialKind::AzureDeveloperCli {
        "see whether `azd auth token -o json` answers with JSON"
    } else {
        "see what `az account get-access-token --query expires_on` answers"
    }
}

pub(super) fn is_program(credential: CredentialKind) -> bool {
    matches!(credential, CredentialKind::AzureCli | CredentialKind::AzureDeveloperCli)
}

/// What mends it where the words themselves say what that is.
fn by_reason(credential: CredentialKind, flaw: Flaw, said: &str) -> Option<String> {
    if !matches!(flaw, Flaw::Secret | Flaw::Unclear) {
        return None;
    }
    let has = |wanted: &[u32]| codes(said).any(|code| wanted.contains(&code));
    let way_out = match credential {
        _ if has(&[70_011, 500_011]) => {
            "tokens are not given for that audience there: correct the cloud's `audience` in your own configuration"
        }
        CredentialKind::ClientCertificate if has(&[OUT_OF_TIME]) => {
            "set the clock of this machine: what it signs is not good yet, or no longer, by Entra's clock"
        }
        CredentialKind::WorkloadIdentity if has(&[OUT_OF_TIME]) => {
            "the token in AZURE_FEDERATED_TOKEN_FILE is out of date: is it still being renewed?"
        }
        CredentialKind::AzurePipelines if said.contains("OIDC endpoint") => {
            "map `SYSTEM_ACCESSTOKEN: $(System.AccessToken)` in the step's `env`, and let the pipeline use the service \
             connection in AZURESUBSCRIPTION_SERVICE_CONNECTION_ID"
        }
        CredentialKind::ManagedIdentity if said.contains("has not been assigned") => {
            "assign that identity to this resource, or correct `client_id` or AZURE_CLIENT_ID"
        }
        CredentialKind::ManagedIdentity => {
            "leave IDENTITY_ENDPOINT and IDENTITY_HEADER as Azure sets them, and give this resource an identity"
        }
        CredentialKind::Auto
        | CredentialKind::AzureCli
        | CredentialKind::AzureDeveloperCli
        | CredentialKind::AzurePipelines
        | CredentialKind::Broker
        | CredentialKind::ClientCertificate
        | CredentialKind::ClientSecret
        | CredentialKind::Github
        | CredentialKind::Login
        | CredentialKind::WorkloadIdentity => return None,
    };
    Some(way_out.to_owned())
}

/// A statement was not good yet, or no longer.
const OUT_OF_TIME: u32 = 700_024;

fn program(credential: CredentialKind) -> &'static str {
    if credential == CredentialKind::AzureDeveloperCli { "azd" } else { "az" }
}

fn way_out(credential: CredentialKind, flaw: Flaw, tenant: Option<&str>, audience: &str) -> Option<String> {
    match (credential, flaw) {
        (_, Flaw::Passing | Flaw::Proxy | Flaw::Untrusted | Flaw::None | Flaw::NotYet | Flaw::Unset) => None,
        (_, Flaw::Unclear) => is_program(credential).then(|| see(credential).to_owned()),
        (CredentialKind::AzureCli, Flaw::Unfit) => {
            Some("update the Azure CLI to 2.54 or later: `az upgrade`".to_owned())
        }
        (CredentialKind::AzureCli, Flaw::Absent) => {
            Some("install the Azure CLI, then `az login`; or choose another `credential`".to_owned())
        }
        (CredentialKind::AzureDeveloperCli, Flaw::Absent) => {
            Some("install azd, then `azd auth login`; or choose another `credential`".to_owned())
        }
        (CredentialKind::AzureCli, Flaw::Interaction) => Some(az_login(tenant, Some(audience), None)),
        (CredentialKind::AzureCli, Flaw::WrongTenant) => Some(format!(
            "{}, with an account of that tenant; or correct `tenant`",
            az_login(tenant, None, None)
        )),
        (CredentialKind::AzureCli, _) => Some(az_login(tenant, None, None)),
        (CredentialKind::AzureDeveloperCli, _) => Some(azd_login(tenant)),
        (CredentialKind::ClientSecret, Flaw::Secret) => {
            Some("give AZURE_CLIENT_SECRET a secret of that application which has not expired".to_owned())
        }
        (CredentialKind::ClientCertificate, Flaw::Secret) => {
            Some("register the certificate in AZURE_CLIENT_CERTIFICATE_PATH with that application".to_owned())
        }
        (
            CredentialKind::WorkloadIdentity | CredentialKind::Github | CredentialKind::AzurePipelines,
            Flaw::Secret,
        ) => Some("add a federated credential to the application that fits this job's subject".to_owned()),
        (_, Flaw::WrongTenant) => Some("correct `tenant`, AZURE_TENANT_ID and AZURE_CLIENT_ID".to_owned()),
        _ => None,
    }
}

/// What a source means. The codes are Entra's; az hands them on in its own text.
fn flaw(said: &str) -> Flaw {
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if said.contains("not found on PATH") {
        return Flaw::Absent;
    }
    if said.contains("expires_on field not found") {
        return Flaw::Unfit;
    }
    for code in codes(said) {
        match code {
            // Another factor, a device, terms of use, a policy.
            50_072 | 50_074 | 50_076 | 50_079 | 50_097 | 50_105 | 50_158 | 53_000..=53_011 | 65_001 => {
                return Flaw::Interaction;
            }
            // A grant or a refresh token that is no longer good, a changed password.
            50_013 | 50_078 | 50_089 | 50_133 | 50_173 | 54_005 | 70_008 | 70_043 | 70_044 | 700_082
            | 700_084 => {
                return Flaw::Expired;
            }
            // Unknown account, application or tenant.
            50_020 | 50_034 | 50_059 | 50_128 | 90_002 | 90_072 | 700_016 => return Flaw::WrongTenant,
            // Secret, certificate, federated assertion; and an audience that nobody is.
            50_012
            | 50_027
            | 70_021
            | 700_021
            | 700_023
            | 700_024
            | 700_027
            | 700_211..=700_213
            | 5_002_723
            | 7_000_215
            | 7_000_218
            | 7_000_222
            | 7_002_138 => {
                return Flaw::Secret;
            }
            _ => {}
        }
    }
    if has(&["User cancelled the Accounts Control", "Interaction required", "interaction_required"]) {
        return Flaw::Interaction;
    }
    if has(&["does not exist in tenant", "doesn't exist in tenant", "Tenant not found"]) {
        return Flaw::WrongTenant;
    }
    if has(&NETWORK) {
        return Flaw::Passing;
    }
    // az says so of tenants that nobody signed in to, too.
    if has(&["az login", "azd auth login", "not logged in", "MSAL cache"]) {
        return Flaw::SignedOut;
    }
    Flaw::Unclear
}

/// What az, azd and their libraries say when the network is at fault.
const NETWORK: [&str; 8] = [
    "Max retries exceeded",
    "ConnectionError",
    "Connection aborted",
    "Failed to establish a new connection",
    "Temporary failure in name resolution",
    "timed out",
    "dial tcp",
    "connection reset",
];

/// Every `AADSTSnnn` in a text.
fn codes(said: &str) -> impl Iterator<Item = u32> {
    said.match_indices("AADSTS").filter_map(|(at, mark)| {
        let digits = said.get(at + mark.len()..)?;
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        digits.get(..end)?.parse().ok()
    })
}

/// What a person wants to read of it: its first line with words, without what the library adds.
fn first_line(said: &str) -> String {
    let without = said.split_once("authentication failed.").map_or(said, |(_, rest)| rest);
    let mut lines = without.lines().map(|line| line.trim().trim_start_matches("ERROR:").trim());
    // Where the authority's answer is not one that it knows, the library has nothing to say but where to read on.
    let is_reason = |line: &&str| !line.is_empty() && !line.starts_with("To troubleshoot");
    let line = lines.find(is_reason).unwrap_or("the sign-in service gave no reason that can be read");
    // Entra adds identifiers of the request, and the library headers, where there are any.
    let line = line.split(" Trace ID:").next().unwrap_or(line);
    let line = line.strip_suffix(" Headers").unwrap_or(line);
    printable(line, 300)
}

#[cfg(test)]
mod tests;
