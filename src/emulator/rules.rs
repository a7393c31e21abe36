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
    /// What Resource Manager wants of every token, in base64; none: nothing.
    pub claims: Option<String>,
}

impl Default for SignInRules {
    /// One tenant, any secret, a day.
    fn default() -> Self {
        Self {
            token_lifetime: Duration::from_secs(24 * 60 * 60),
            tenants: BTreeMap::new(),
            secret: None,
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
