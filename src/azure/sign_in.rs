//! The sign-ins of one program: one for each identity that a file names, each with its own tenant's token.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::account::Account;
use super::challenge::Challenge;
use super::cloud::Addresses;
use super::credential::{Auto, Credential, Environment, Ground, Ready, az_login, azd_login};
use super::tokens::Tokens;
use crate::model::{CredentialKind, Identity};
use crate::net::Http;

/// Everybody who signs in, for Resource Manager of one cloud.
#[derive(Debug)]
pub struct SignIns {
    ground: Arc<Ground>,
    audience: String,
    identities: Mutex<BTreeMap<Identity, Arc<Tokens>>>,
}

impl SignIns {
    /// Nobody is asked yet.
    pub fn new(
        addresses: &Addresses,
        environment: Environment,
        http: Http,
        clock: fn() -> SystemTime,
    ) -> Self {
        let ground = Ground { http, authority: addresses.authority.clone(), environment, clock };
        let audience = addresses.audience.clone();
        Self { ground: Arc::new(ground), audience, identities: Mutex::default() }
    }

    /// The tokens of an identity.
    pub fn tokens(&self, identity: &Identity) -> Arc<Tokens> {
        let new = || {
            let credential: Arc<dyn Credential> = if identity.credential == CredentialKind::Auto {
                Arc::new(Auto::new(identity, &self.ground))
            } else {
                Arc::new(Ready::new(identity.credential, identity, &self.ground))
            };
            Arc::new(Tokens::new(credential, &self.audience, self.ground.clock))
        };
        Arc::clone(self.identities().entry(identity.clone()).or_insert_with(new))
    }

    /// Files whose change may mean that somebody has signed in, or out.
    pub fn files(&self) -> Vec<PathBuf> {
        self.ground.environment.profile_files()
    }

    /// Somebody may have signed in: everybody's token is looked into again when it is next wanted.
    pub fn reconsider(&self) {
        let all: Vec<_> = self.identities().values().cloned().collect();
        all.iter().for_each(|tokens| tokens.reconsider());
    }

    /// What mends it that an identity's token is not believed.
    pub fn way_out(&self, identity: &Identity, challenge: &Challenge) -> String {
        let named = identity.tenant.as_deref();
        let tenant = challenge.tenant.as_deref().or(named);
        let tokens = self.tokens(identity);
        let again = tokens.repeated();
        let again =
            again.filter(|by| matches!(by, CredentialKind::AzureCli | CredentialKind::AzureDeveloperCli));
        let held = tokens.held();
        // Where nobody names a tenant, the one that the token is of is signed in to again.
        let own = held.as_ref().and_then(|held| Account::of(&held.token).tenant);
        let again_in = tenant.or(own.as_deref());
        let credential = match (identity.credential, &held) {
            (CredentialKind::Auto, Some(held)) => held.by,
            (credential, _) => credential,
        };
        let login = |tenant: Option<&str>| match credential {
            CredentialKind::AzureDeveloperCli => Some(azd_login(tenant)),
            CredentialKind::Auto | CredentialKind::AzureCli => Some(az_login(tenant, None, None)),
            CredentialKind::AzurePipelines
            | CredentialKind::Broker
            | CredentialKind::ClientCertificate
            | CredentialKind::ClientSecret
            | CredentialKind::Github
            | CredentialKind::Login
            | CredentialKind::ManagedIdentity
            | CredentialKind::WorkloadIdentity => None,
        };
        let az = matches!(credential, CredentialKind::Auto | CredentialKind::AzureCli);
        match (&challenge.claims, challenge.wrong_tenant) {
            (Some(claims), _) if az => {
                format!("type {}", az_login(again_in, Some(&self.audience), Some(claims)))
            }
            (Some(_), _) => match login(again_in) {
                Some(login) => format!("type {login}: a policy of the tenant wants more of the sign-in"),
                None => {
                    "a policy of the tenant wants more of this application (conditional access)".to_owned()
                }
            },
            (None, true) => match tenant.filter(|tenant| Some(*tenant) != named) {
                Some(tenant) => match login(Some(tenant)) {
                    Some(login) => format!("say `tenant = \"{tenant}\"` of the bastion, and type {login}"),
                    None => format!("say `tenant = \"{tenant}\"` of the bastion"),
                },
                None => "sign in with an account of the bastion's tenant".to_owned(),
            },
            (None, false) => match (login(again_in), again) {
                // It cannot be told to look past its memory; a sign-in puts another token there.
                (Some(login), Some(by)) => format!(
                    "type {login}, with an account of the bastion's tenant: until then {} gives the refused token again",
                    if by == CredentialKind::AzureCli { "az" } else { "azd" }
                ),
                (Some(login), None) => format!("type {login}, with an account of the bastion's tenant"),
                (None, _) => {
                    "is the application's sign-in still good, and of the bastion's tenant?".to_owned()
                }
            },
        }
    }

    fn identities(&self) -> MutexGuard<'_, BTreeMap<Identity, Arc<Tokens>>> {
        self.identities.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
