//! `auto`: the first credential that gives a token, and why those before it did not.

use std::sync::{Arc, Mutex, PoisonError};

use super::commands::az_login;
use super::flaw::{Flaw, SignInError, is_program};
use super::ready::{Ground, Ready};
use super::{Asking, Credential, Environment, Granted, PassedOver};
use crate::model::{CredentialKind, Identity};

/// The order: a person's own sign-ins, what the machine is, what the job is, what was put into the environment.
const ORDER: [CredentialKind; 8] = [
    CredentialKind::AzureCli,
    CredentialKind::AzureDeveloperCli,
    CredentialKind::ManagedIdentity,
    CredentialKind::WorkloadIdentity,
    CredentialKind::Github,
    CredentialKind::AzurePipelines,
    CredentialKind::ClientSecret,
    CredentialKind::ClientCertificate,
];

/// Chooses once, and stays with its choice until that fails or somebody signs in.
#[derive(Debug)]
pub(crate) struct Auto {
    identity: Identity,
    ground: Arc<Ground>,
    chosen: Mutex<Option<Choice>>,
}

#[derive(Clone, Debug)]
struct Choice {
    kind: CredentialKind,
    passed: Vec<PassedOver>,
}

impl Auto {
    pub(in crate::azure) fn new(identity: &Identity, ground: &Arc<Ground>) -> Self {
        Self { identity: identity.clone(), ground: Arc::clone(ground), chosen: Mutex::default() }
    }

    fn choose(&self, choice: Option<Choice>) {
        *self.chosen.lock().unwrap_or_else(PoisonError::into_inner) = choice;
    }

    fn chosen(&self) -> Option<Choice> {
        self.chosen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn ask(&self, audience: &str) -> Result<Granted, SignInError> {
        if let Some(Choice { kind, passed }) = self.chosen() {
            let asked = self.one(kind).token(audience).await;
            if asked.as_ref().is_err_and(|error| !error.is_of_the_way()) {
                // Told as it is; the next question is put to all of them again.
                self.choose(None);
            }
            return asked.map(|granted| Granted { passed, ..granted });
        }
        let mut passed = Vec::new();
        let mut nearest: Option<(u8, Option<String>)> = None;
        for kind in ORDER {
            let asked = match out_of_question(kind, &self.ground.environment) {
                Some(why) => Err(SignInError::new(kind, Flaw::Unset, why)),
                None => self.one(kind).token(audience).await,
            };
            match asked {
                Ok(granted) => {
                    self.choose(Some(Choice { kind, passed: passed.clone() }));
                    return Ok(Granted { passed, ..granted });
                }
                // Another identity is not what a network that is down asks for.
                Err(error) if error.is_of_the_way() => return Err(SignInError { passed, ..error }),
                Err(error) => {
                    let one = PassedOver { credential: kind, flaw: error.flaw, why: error.what };
                    if let Some(rank) = one.rank().filter(|rank| *rank < NOT_INSTALLED)
                        && nearest.as_ref().is_none_or(|(nearest, _)| rank < *nearest)
                    {
                        nearest = Some((rank, error.way_out));
                    }
                    passed.push(one);
                }
            }
        }
        let error = SignInError::new(CredentialKind::Auto, Flaw::None, "no credential gave a token");
        let way_out = nearest.map_or_else(
            || {
                let login = az_login(self.identity.tenant.as_deref(), None, None);
                Some(format!(
                    "install the Azure CLI and {login}, or set AZURE_TENANT_ID, AZURE_CLIENT_ID and a secret"
                ))
            },
            |(_, way_out)| way_out,
        );
        let error = SignInError { way_out, ..error };
        Err(SignInError { passed, ..error })
    }

    fn one(&self, kind: CredentialKind) -> Ready {
        Ready::new(kind, &self.identity, &self.ground)
    }
}

impl Credential for Auto {
    fn token<'a>(&'a self, audience: &'a str) -> Asking<'a> {
        Box::pin(self.ask(audience))
    }

    fn reconsider(&self) {
        self.choose(None);
    }
}

/// The rank of a program that is not installed.
pub(super) const NOT_INSTALLED: u8 = 3;

impl PassedOver {
    /// How far it is from having given a token, 0 being the nearest; none: nobody meant it to.
    pub(super) fn rank(&self) -> Option<u8> {
        match self.flaw {
            Flaw::Unset => None,
            Flaw::Absent if is_program(self.credential) => Some(NOT_INSTALLED),
            Flaw::SignedOut => Some(2),
            Flaw::Absent => Some(1),
            Flaw::Unfit
            | Flaw::Expired
            | Flaw::Interaction
            | Flaw::WrongTenant
            | Flaw::Secret
            | Flaw::None
            | Flaw::NotYet
            | Flaw::Proxy
            | Flaw::Untrusted
            | Flaw::Passing
            | Flaw::Unclear => Some(0),
        }
    }
}

/// Why a credential need not be asked at all.
fn out_of_question(kind: CredentialKind, environment: &Environment) -> Option<String> {
    let hint = "neither IDENTITY_ENDPOINT nor MSI_ENDPOINT is set";
    (kind == CredentialKind::ManagedIdentity && !environment.identity_endpoint).then(|| hint.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metadata_service_is_asked_on_a_hint_only() {
        let out = |identity_endpoint: bool| {
            let environment = Environment { identity_endpoint, ..Environment::default() };
            let all = ORDER.into_iter().filter(|kind| out_of_question(*kind, &environment).is_some());
            all.collect::<Vec<_>>()
        };
        assert_eq!(out(false), [CredentialKind::ManagedIdentity]);
        assert_eq!(out(true), []);
    }
}
