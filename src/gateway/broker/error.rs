//! What goes wrong between us and a broker, and what to do about it.

use std::time::Duration;

use crate::gateway::refusal::{NOT_FOUND, REDIRECT, said};
use crate::gateway::wire::PodError;
use crate::model::{Blocked, Disposition};
use crate::net::{HttpError, ProxyError, UNTRUSTED};

/// The broker named no data pod. `Display` says what we were doing; the source says what happened.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The question did not come to an answer.
    #[error("asking the broker {host} for the data pod of {target}")]
    Question {
        /// The broker.
        host: String,
        /// The machine and port.
        target: String,
        /// Why.
        #[source]
        source: HttpError,
    },
    /// An answer other than 200.
    #[error("the broker {host} named no data pod for {target}: HTTP {status}{}", said(message.as_deref()))]
    Refused {
        /// The broker.
        host: String,
        /// The machine and port.
        target: String,
        /// The HTTP status.
        status: u16,
        /// What it said, made safe to print.
        message: Option<String>,
        /// When it asks to be asked again.
        retry_after: Option<Duration>,
    },
    /// A 200 with something else than a host to which a token may go.
    #[error("the broker {host} named no data pod for {target}: HTTP 200, \"{said}\", to which no token goes")]
    Answer {
        /// The broker.
        host: String,
        /// The machine and port.
        target: String,
        /// Its first words, made safe to print.
        said: String,
        /// What is wrong with it.
        #[source]
        source: PodError,
    },
}

impl BrokerError {
    /// The stable code of this class of failure.
    pub(in crate::gateway) fn code(&self) -> &'static str {
        match self {
            Self::Question { source: HttpError::TooLong(_), .. } | Self::Answer { .. } => "broker-answer",
            Self::Question { .. } => "broker-unreachable",
            Self::Refused { status, .. } => refusal(*status).0,
        }
    }

    /// Whether the other side's certificate was refused.
    pub(in crate::gateway) fn is_untrusted(&self) -> bool {
        matches!(self, Self::Question { source, .. } if source.is_untrusted())
    }

    /// What a proxy on the way said, where it is the proxy's failure.
    pub(in crate::gateway) fn proxy(&self) -> Option<&ProxyError> {
        match self {
            Self::Question { source, .. } => source.proxy(),
            Self::Refused { .. } | Self::Answer { .. } => None,
        }
    }

    /// What to do about it.
    pub(in crate::gateway) fn disposition(&self) -> Disposition {
        match self {
            Self::Question { .. } if self.is_untrusted() => Disposition::Blocked(Blocked::Answer),
            Self::Question { .. } if self.proxy().is_some_and(ProxyError::is_lasting) => {
                Disposition::Blocked(Blocked::Denied)
            }
            // It may have no pod for the moment; anything else that is no host is for a person to look at.
            Self::Answer { source: PodError::Empty, .. } => Disposition::Retry,
            Self::Question { source: HttpError::TooLong(_), .. } | Self::Answer { .. } => {
                Disposition::Blocked(Blocked::Answer)
            }
            Self::Question { .. } => Disposition::Retry,
            Self::Refused { status, retry_after, .. } => match (refusal(*status).1, retry_after) {
                (Disposition::Retry, Some(after)) => Disposition::RetryAfter(*after),
                (disposition, _) => disposition,
            },
        }
    }

    /// The likeliest cause and what mends it, where we know one.
    pub(in crate::gateway) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Question { source, .. } if source.is_tls() => Some(UNTRUSTED),
            Self::Question { .. } => None,
            Self::Refused { status, .. } => refusal(*status).2,
            Self::Answer { source: PodError::Empty, .. } => {
                Some("the region may have no data pod to give; if it lasts, look at Azure's service health")
            }
            Self::Answer { .. } => Some(
                "a token goes only to a bare DNS name that the broker answered; is a proxy or captive portal on the way?",
            ),
        }
    }

    /// Whether it concerns every target behind the bastion; where it cannot be told, it is the target's.
    pub(in crate::gateway) fn concerns_bastion(&self) -> bool {
        match self {
            Self::Question { .. } | Self::Answer { .. } => true,
            Self::Refused { status, .. } => !matches!(status, 400 | 403 | 404),
        }
    }
}

/// Code, disposition and hint of a broker's refusal.
fn refusal(status: u16) -> (&'static str, Disposition, Option<&'static str>) {
    match status {
        401 => (
            "sign-in",
            Disposition::Blocked(Blocked::SignIn),
            Some(
                "a fresh access token was refused too: sign in again, with an account of the bastion's tenant",
            ),
        ),
        403 => (
            "broker-denied",
            Disposition::Blocked(Blocked::Denied),
            Some(
                "the account needs Reader on the bastion and on the virtual machine, and this machine's public address must be among the bastion's `networkAcls.ipRules` where there are any",
            ),
        ),
        404 => ("not-found", Disposition::Blocked(Blocked::NotFound), Some(NOT_FOUND)),
        408 | 429 | 500..=599 => ("broker-error", Disposition::Retry, None),
        300..=399 => ("broker-redirect", Disposition::Blocked(Blocked::Answer), Some(REDIRECT)),
        _ => ("broker-answer", Disposition::Blocked(Blocked::Answer), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_tried_again_and_what_does_not_is_not() {
        for (status, code, blocked, all) in [
            (204, "broker-answer", true, true),
            (302, "broker-redirect", true, true),
            (400, "broker-answer", true, false),
            (401, "sign-in", true, true),
            (403, "broker-denied", true, false),
            (404, "not-found", true, false),
            (408, "broker-error", false, true),
            (429, "broker-error", false, true),
            (500, "broker-error", false, true),
            (503, "broker-error", false, true),
        ] {
            let (host, target) = ("omnibrain".to_owned(), "vm:22".to_owned());
            let error = BrokerError::Refused { host, target, status, message: None, retry_after: None };
            let is_blocked = matches!(error.disposition(), Disposition::Blocked(_));
            assert_eq!(
                (error.code(), is_blocked, error.concerns_bastion()),
                (code, blocked, all),
                "{status}"
            );
        }
    }
}
