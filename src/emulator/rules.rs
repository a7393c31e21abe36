//! How strict the emulator's sign-in is, and whose its subscriptions are.

use std::collections::BTreeMap;
use std::time::Duration;

use super::access::TENANT;

/// What the sign-in of a running emulator goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignInRules {
    /// How long a token is good that is issued from now on.
    pub token_lifetime: Duration,
    /// Tenants besides the emulator's own, by the subscription that each has.
    pub tenants: BTreeMap<String, String>,
    /// The one client secret that is taken; none: any.
    pub secret: Option<String>,
    /// The certificates that are registered with applications, in DER: no other one signs for them.
    pub certificates: Vec<Vec<u8>>,
    /// The federated credentials of applications: nobody else vouches for them.
    pub federations: Vec<Federation>,
    /// What Resource Manager wants of every token, in base64; none: nothing.
    pub claims: Option<String>,
}

/// A federated credential: whose statement about whom is taken in a secret's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Federation {
    /// `iss` of the statement.
    pub issuer: String,
    /// `sub` of the statement.
    pub subject: String,
    /// The issuer's public RSA key, in DER, which Entra would look up there.
    pub key: Vec<u8>,
}

impl Default for SignInRules {
    /// One tenant, any secret, no certificate, nobody who vouches, a day.
    fn default() -> Self {
        Self {
            token_lifetime: Duration::from_secs(24 * 60 * 60),
            tenants: BTreeMap::new(),
            secret: None,
            certificates: Vec::new(),
            federations: Vec::new(),
            claims: None,
        }
    }
}

impl SignInRules {
    /// Whose a subscription is.
    pub(super) fn tenant_of(&self, subscription: &str) -> &str {
        let owned = self.tenants.iter().find(|(known, _)| known.eq_ignore_ascii_case(subscription));
        owned.map_or(TENANT, |(_, tenant)| tenant)
    }

    /// The tenant that a client names, as it is spelled here.
    pub(super) fn tenant(&self, named: &str) -> Option<&str> {
        let all = self.tenants.values().map(String::as_str).chain([TENANT]);
        all.into_iter().find(|tenant| tenant.eq_ignore_ascii_case(named))
    }
}
