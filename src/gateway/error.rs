//! What goes wrong between us and a gateway, and what to do about it.

use std::io;
use std::sync::Arc;

use super::broker::BrokerError;
use super::refusal::{NOT_FOUND, REDIRECT, said};
use super::wire::AnswerError;
use crate::model::{Blocked, Disposition};
use crate::net::{DialError, HttpError, ProxyError, UNTRUSTED};

/// A failure to open a session or its WebSocket. `Display` says what we were doing; the source says what happened.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// There is no access token.
    #[error("getting an access token")]
    Token(#[source] TokenError),
    /// The broker of a Developer bastion named no gateway. Everybody who waited for its answer has the same.
    #[error(transparent)]
    Broker(Arc<BrokerError>),
    /// The token exchange did not come to an answer.
    #[error("asking the gateway {host} for a session")]
    Exchange {
        /// The gateway.
        host: String,
        /// Why.
        #[source]
        source: HttpError,
    },
    /// The gateway answered the token exchange with a refusal.
    #[error("the gateway {host} refused a session: HTTP {status}{}", said(message.as_deref()))]
    Refused {
        /// The gateway.
        host: String,
        /// The HTTP status.
        status: u16,
        /// What it said, made safe to print.
        message: Option<String>,
        /// When it asks to be asked again.
        retry_after: Option<std::time::Duration>,
    },
    /// The gateway granted a session that cannot be used.
    #[error("reading the session that the gateway {host} granted")]
    Answer {
        /// The gateway.
        host: String,
        /// What is wrong with it.
        #[source]
        source: AnswerError,
    },
    /// No connection for the WebSocket.
    #[error("opening the WebSocket to the gateway {host}")]
    Dial {
        /// The gateway.
        host: String,
        /// Why.
        #[source]
        source: DialError,
    },
    /// The upgrade to a WebSocket failed.
    #[error("opening the WebSocket to the gateway {host}")]
    Upgrade {
        /// The gateway.
        host: String,
        /// Why.
        #[source]
        source: UpgradeError,
    },
}

/// Why an upgrade failed.
#[derive(Debug, thiserror::Error)]
pub enum UpgradeError {
    /// An HTTP status other than 101.
    #[error("it answered HTTP {0} in place of 101")]
    Refused(u16),
    /// 101, but for another key, or with an extension that nobody asked for.
    #[error("its answer does not belong to our request (Sec-WebSocket-Accept)")]
    WrongAccept,
    /// Not HTTP at all, or without end.
    #[error("its answer is not HTTP")]
    NotHttp,
    /// The connection broke.
    #[error("the connection broke before it answered")]
    Broken(#[source] io::Error),
    /// No answer in time.
    #[error("it did not answer within {0} s")]
    Timeout(u64),
}

/// Why there is no access token. The consumer's view: details belong to who gets them.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct TokenError {
    /// What happened, for people.
    pub what: String,
    /// What to do about it.
    pub disposition: Disposition,
    /// The stable code of this class of failure.
    pub code: &'static str,
    /// What mends it, where that is known.
    pub hint: Option<String>,
}

impl GatewayError {
    /// The stable code of this class of failure.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Token(error) => error.code,
            Self::Broker(error) => error.code(),
            Self::Exchange { source: HttpError::TooLong(_), .. } | Self::Answer { .. } => "gateway-answer",
            Self::Exchange { .. } | Self::Dial { .. } if self.is_untrusted() => "untrusted-certificate",
            Self::Exchange { .. } | Self::Dial { .. } => {
                self.proxy().map_or("gateway-unreachable", ProxyError::code)
            }
            Self::Refused { status, message, .. } => refusal(*status, message.as_deref()).0,
            Self::Upgrade { source: UpgradeError::Timeout(_) | UpgradeError::Broken(_), .. } => {
                "gateway-unreachable"
            }
            Self::Upgrade { source: UpgradeError::Refused(_), .. } => "gateway-upgrade",
            Self::Upgrade { source: UpgradeError::WrongAccept | UpgradeError::NotHttp, .. } => {
                "gateway-answer"
            }
        }
    }

    /// What to do about it.
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Token(error) => error.disposition,
            Self::Broker(error) => error.disposition(),
            Self::Refused { status, message, retry_after, .. } => {
                match (refusal(*status, message.as_deref()).1, retry_after) {
                    (Disposition::Retry, Some(after)) => Disposition::RetryAfter(*after),
                    (disposition, _) => disposition,
                }
            }
            Self::Exchange { .. } | Self::Dial { .. } if self.proxy().is_some_and(ProxyError::is_lasting) => {
                Disposition::Blocked(Blocked::Denied)
            }
            Self::Exchange { .. } | Self::Dial { .. } if self.is_untrusted() => {
                Disposition::Blocked(Blocked::Answer)
            }
            // A new session may land on a healthy node, and a network comes back.
            Self::Exchange { .. } | Self::Answer { .. } | Self::Dial { .. } | Self::Upgrade { .. } => {
                Disposition::Retry
            }
        }
    }

    /// The likeliest cause and what mends it, where we know one.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Token(error) => error.hint.as_deref(),
            Self::Broker(error) => error.hint(),
            Self::Refused { status, message, .. } => refusal(*status, message.as_deref()).2,
            Self::Dial { source: DialError::Tls { .. }, .. } => Some(UNTRUSTED),
            Self::Exchange { source, .. } if source.is_tls() => Some(UNTRUSTED),
            Self::Upgrade { source: UpgradeError::Refused(_), .. } => Some(
                "a proxy or firewall on the way may not let WebSockets through; otherwise a node of the bastion is being replaced",
            ),
            Self::Exchange { .. } | Self::Dial { .. } => self.proxy().map(ProxyError::hint),
            Self::Answer { .. } | Self::Upgrade { .. } => None,
        }
    }

    /// Whether it concerns every target behind the bastion; if not, perhaps only the one that was asked for.
    ///
    /// Where it cannot be told, it is the target's: a machine that fails must not take the tunnels to others down.
    /// So is HTTP 500, which a gateway also answers for a machine that does not run, and a failed upgrade: a session
    /// was granted before it.
    pub fn concerns_bastion(&self) -> bool {
        match self {
            Self::Token(_) | Self::Exchange { .. } | Self::Answer { .. } | Self::Dial { .. } => true,
            Self::Broker(error) => error.concerns_bastion(),
            Self::Refused { status, message, .. } => {
                matches!(status, 300..=399 | 401 | 408 | 429 | 501..=599)
                    || refusal(*status, message.as_deref()).0 == "tunneling-disabled"
            }
            Self::Upgrade { .. } => false,
        }
    }

    /// Whether the other side's certificate was refused.
    fn is_untrusted(&self) -> bool {
        match self {
            Self::Exchange { source, .. } => source.is_untrusted(),
            Self::Dial { source, .. } => source.is_untrusted(),
            Self::Broker(error) => error.is_untrusted(),
            Self::Token(_) | Self::Refused { .. } | Self::Answer { .. } | Self::Upgrade { .. } => false,
        }
    }

    /// What a proxy on the way said, where it is the proxy's failure.
    fn proxy(&self) -> Option<&ProxyError> {
        match self {
            Self::Exchange { source, .. } => source.proxy(),
            Self::Dial { source, .. } => source.proxy(),
            Self::Broker(error) => error.proxy(),
            Self::Token(_) | Self::Refused { .. } | Self::Answer { .. } | Self::Upgrade { .. } => None,
        }
    }

    /// Whether the bastion has no room for another session now.
    pub fn is_full(&self) -> bool {
        self.code() == "gateway-busy"
    }

    /// Whether a gateway fails so that is no longer where it was. Refusals that are about the request or the token are
    /// not meant.
    pub(super) fn may_have_moved(&self) -> bool {
        match self {
            Self::Exchange { .. } | Self::Answer { .. } | Self::Dial { .. } | Self::Upgrade { .. } => true,
            Self::Refused { status, .. } => !matches!(status, 400 | 401 | 429),
            Self::Token(_) | Self::Broker(_) => false,
        }
    }

    /// Whether a fresh access token may help.
    pub(super) fn is_unauthorized(&self) -> bool {
        matches!(self, Self::Refused { status: 401, .. })
    }
}

/// Code, disposition and hint of a refused token exchange.
fn refusal(status: u16, message: Option<&str>) -> (&'static str, Disposition, Option<&'static str>) {
    let says = |words: &str| message.is_some_and(|m| m.contains(words));
    match status {
        _ if says("Tunneling is disabled") => (
            "tunneling-disabled",
            Disposition::Blocked(Blocked::Unfit),
            Some(
                "switch native client support on: `az network bastion update --enable-tunneling true …`; it takes minutes",
            ),
        ),
        401 => (
            "sign-in",
            Disposition::Blocked(Blocked::SignIn),
            Some(
                "a fresh access token was refused too: sign in again, with an account of the bastion's tenant",
            ),
        ),
        403 => (
            "denied",
            Disposition::Blocked(Blocked::Denied),
            Some(
                "the account needs Reader on the virtual machine, on its network card, on the bastion and on the virtual network",
            ),
        ),
        404 => ("not-found", Disposition::Blocked(Blocked::NotFound), Some(NOT_FOUND)),
        429 | 503 => (
            "gateway-busy",
            Disposition::Retry,
            Some(
                "every instance of a bastion carries a limited number of sessions; one of the SKU Developer serves one machine at a time",
            ),
        ),
        408 | 500..=599 => ("gateway-error", Disposition::Retry, None),
        300..=399 => ("gateway-redirect", Disposition::Blocked(Blocked::Answer), Some(REDIRECT)),
        _ => ("gateway-answer", Disposition::Blocked(Blocked::Answer), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, message: &str) -> GatewayError {
        let message = (!message.is_empty()).then(|| message.to_owned());
        GatewayError::Refused { host: "bst".into(), status, message, retry_after: None }
    }

    #[test]
    fn permanent_refusals_block_and_passing_ones_are_retried() {
        for (status, message, code, blocked) in [
            (401, "Unauthorized", "sign-in", true),
            (403, "Forbidden", "denied", true),
            (404, "Target resource not found", "not-found", true),
            (400, "Tunneling is disabled", "tunneling-disabled", true),
            (307, "", "gateway-redirect", true),
            (418, "", "gateway-answer", true),
            (429, "", "gateway-busy", false),
            (500, "Unexpected internal error", "gateway-error", false),
            (503, "", "gateway-busy", false),
        ] {
            let error = refused(status, message);
            assert_eq!(error.code(), code, "{status}");
            assert_eq!(matches!(error.disposition(), Disposition::Blocked(_)), blocked, "{status}");
        }
    }

    #[test]
    fn what_concerns_one_target_is_told_from_what_concerns_all() {
        for (status, message, all) in [
            (307, "", true),
            (400, "Bad Request", false),
            (400, "Tunneling is disabled", true),
            (401, "Unauthorized", true),
            (403, "Forbidden", false),
            (403, "Tunneling is disabled", true),
            (404, "Target resource not found", false),
            (408, "", true),
            (429, "", true),
            (500, "Unexpected internal error", false),
            (502, "", true),
            (503, "", true),
        ] {
            let error = refused(status, message);
            assert_eq!(error.concerns_bastion(), all, "{status} {message}");
            assert_eq!(error.is_full(), matches!(status, 429 | 503), "{status} {message}");
        }
        let host = || "bst".to_owned();
        let exchange = GatewayError::Exchange { host: host(), source: HttpError::TooLong(1 << 20) };
        let answer = GatewayError::Answer { host: host(), source: AnswerError::NotJson };
        let token =
            TokenError { what: String::new(), disposition: Disposition::Retry, code: "sign-in", hint: None };
        for all in [exchange, answer, GatewayError::Token(token)] {
            assert!(all.concerns_bastion(), "{all:?}");
        }
        for source in [UpgradeError::Refused(403), UpgradeError::WrongAccept, UpgradeError::Timeout(20)] {
            assert!(!GatewayError::Upgrade { host: host(), source }.concerns_bastion());
        }
    }

    #[test]
    fn the_status_is_never_hidden() {
        assert_eq!(refused(500, "").to_string(), "the gateway bst refused a session: HTTP 500");
        assert_eq!(
            refused(404, "Target resource not found").to_string(),
            "the gateway bst refused a session: HTTP 404, \"Target resource not found\""
        );
    }
}
