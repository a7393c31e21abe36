//! Why there is no way through a bastion, and what that asks for.

use crate::azure::{ArmError, NoMachine, Refusal, Subject};
use crate::gateway::{GatewayError, TokenError};
use crate::model::{Blocked, Disposition, Failure, Reason, Scope, chain};
use crate::net::HttpError;

/// Why there is no way through a bastion.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// No access token for ARM.
    #[error("getting an access token")]
    Token(#[source] TokenError),
    /// ARM did not tell what the bastion is.
    #[error(transparent)]
    Arm(ArmError),
    /// There is no machine behind what the target names.
    #[error(transparent)]
    NoMachine(NoMachine),
    /// The bastion does not let native clients through.
    #[error(transparent)]
    Refused(Refusal),
    /// No client for the gateway.
    #[error("setting up the connection to the gateway")]
    Client(#[source] HttpError),
    /// The gateway did not let us through.
    #[error(transparent)]
    Gateway(GatewayError),
}

impl RouteError {
    /// What to do about it.
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Token(error) => error.disposition,
            Self::Arm(error) => error.disposition(),
            Self::NoMachine(none) => none.disposition(),
            Self::Refused(_) => Disposition::Blocked(Blocked::Unfit),
            Self::Client(_) => Disposition::Blocked(Blocked::Answer),
            Self::Gateway(error) => error.disposition(),
        }
    }

    fn scope(&self) -> Scope {
        let whole = match self {
            Self::Token(_) | Self::Client(_) => true,
            // A token that is not believed is not believed of anything.
            Self::Arm(error) => matches!(error.subject(), Subject::Bastion(_)) || error.status() == Some(401),
            Self::NoMachine(_) => false,
            // The other refusals are about a switch for all; these only about such targets.
            Self::Refused(refusal) => !matches!(refusal, Refusal::IpConnect { .. } | Refusal::Shared { .. }),
            Self::Gateway(error) => error.concerns_bastion(),
        };
        if whole { Scope::Bastion } else { Scope::Target }
    }

    /// What it is to those who wait.
    pub(super) fn failure(&self) -> Failure {
        let (code, hint) = match self {
            Self::Token(error) => (error.code, error.hint.clone()),
            Self::Arm(error) => (error.code(), error.hint()),
            Self::NoMachine(none) => (none.code(), Some(none.hint())),
            Self::Refused(refusal) => (refusal.code(), refusal.hint()),
            Self::Client(_) => ("network", None),
            Self::Gateway(error) => (error.code(), error.hint().map(str::to_owned)),
        };
        let reason = Reason { code: code.into(), what: chain(self), hint };
        Failure { scope: self.scope(), disposition: self.disposition(), reason }
    }
}
