//! Who signs in for which bastion: joins what `azure` knows of credentials with what a gateway needs of one.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use secrecy::SecretString;

use crate::azure::{Challenge, SignIns, Tokens};
use crate::gateway::{AccessTokens, TokenError};
use crate::model::Identity;

/// Where access tokens come from, for each identity its own.
pub trait SignIn: Send + Sync {
    /// The tokens of an identity.
    fn tokens(&self, identity: &Identity) -> Arc<dyn AccessTokens>;

    /// What mends it that an identity's token is not believed; Resource Manager says with a challenge why that is.
    fn way_out(&self, _identity: &Identity, _challenge: &Challenge) -> Option<String> {
        None
    }

    /// Files whose change may mean that somebody has signed in.
    fn files(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// Somebody may have signed in.
    fn reconsider(&self) {}
}

/// One source for everybody: an emulator's token, which nobody else believes.
pub struct OneSource(pub Arc<dyn AccessTokens>);

impl SignIn for OneSource {
    fn tokens(&self, _identity: &Identity) -> Arc<dyn AccessTokens> {
        Arc::clone(&self.0)
    }
}

impl std::fmt::Debug for OneSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OneSource").finish_non_exhaustive()
    }
}

impl SignIn for SignIns {
    fn tokens(&self, identity: &Identity) -> Arc<dyn AccessTokens> {
        Arc::new(Source(Self::tokens(self, identity)))
    }

    fn way_out(&self, identity: &Identity, challenge: &Challenge) -> Option<String> {
        Some(Self::way_out(self, identity, challenge))
    }

    fn files(&self) -> Vec<PathBuf> {
        Self::files(self)
    }

    fn reconsider(&self) {
        Self::reconsider(self);
    }
}

/// The tokens of one identity, as a gateway sees them.
struct Source(Arc<Tokens>);

impl AccessTokens for Source {
    fn token(
        &self,
        fresh: bool,
    ) -> Pin<Box<dyn Future<Output = Result<SecretString, TokenError>> + Send + '_>> {
        Box::pin(async move {
            let granted = self.0.token(fresh).await;
            let granted = granted.map_err(|error| TokenError {
                what: error.to_string(),
                disposition: error.disposition(),
                code: error.code,
                hint: error.way_out,
            })?;
            Ok(granted.token)
        })
    }
}
