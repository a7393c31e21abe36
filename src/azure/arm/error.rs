//! What went wrong when something was read from ARM, and what to do about it.

use std::fmt;
use std::time::Duration;

use crate::azure::bastion_host::ReadError;
use crate::azure::challenge::Challenge;
use crate::model::{Blocked, Disposition, ResourceId};
use crate::net::{HttpError, ProxyError, UNTRUSTED};

/// The hint where the answer is a redirect.
const REDIRECT: &str = "a redirect is not followed, because the request carries an access token; is a captive portal or proxy on the way?";

/// What is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// An Azure Bastion host.
    Bastion(ResourceId),
    /// A virtual machine, or an instance of a scale set.
    Machine(ResourceId),
    /// A scale set, and its instances.
    ScaleSet(ResourceId),
    /// A network interface.
    Interface(ResourceId),
}

/// A read that failed. `Display` says what we were doing; the source says what happened.
#[derive(Debug, thiserror::Error)]
pub enum ArmError {
    /// No answer.
    #[error("reading {subject} from Azure Resource Manager")]
    Send {
        /// What was read.
        subject: Box<Subject>,
        /// Why.
        #[source]
        source: HttpError,
    },
    /// An answer other than 200.
    #[error("reading {subject} from Azure Resource Manager: HTTP {status}{}", said(code, message))]
    Refused {
        /// What was read.
        subject: Box<Subject>,
        /// The HTTP status.
        status: u16,
        /// ARM's `error.code`.
        code: String,
        /// ARM's `error.message`.
        message: String,
        /// When ARM asks to be asked again.
        retry_after: Option<Duration>,
        /// What it says of the token, with a 401.
        challenge: Option<Box<Challenge>>,
    },
    /// An answer that does not describe what was asked for.
    #[error("reading what Azure Resource Manager says of {subject}")]
    Answer {
        /// What was read.
        subject: Box<Subject>,
        /// What is wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Why an answer, or a link in it, is not one that we go on with.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unlike {
    #[error("it is not the JSON of a list")]
    List,
    #[error("the next page of the list is said to be at \"{0}\", which is not Azure Resource Manager")]
    Foreign(String),
    #[error("the list does not end")]
    Endless,
    #[error("\"{0}\" is not a URL")]
    Address(String),
}

impl Subject {
    /// Its resource ID.
    pub fn id(&self) -> &ResourceId {
        match self {
            Self::Bastion(id) | Self::Machine(id) | Self::ScaleSet(id) | Self::Interface(id) => id,
        }
    }

    pub(super) fn unlike(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ArmError {
        ArmError::Answer { subject: Box::new(self.clone()), source: source.into() }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Bastion(_) => "the bastion",
            Self::Machine(id) => match id.parent() {
                Some(set) => return write!(f, "instance {} of the scale set `{}`", id.name(), set.name()),
                None => "the machine",
            },
            Self::ScaleSet(_) => "the scale set",
            Self::Interface(_) => "the network interface",
        };
        write!(f, "{kind} `{}`", self.id().name())
    }
}

impl ArmError {
    /// What was read.
    pub fn subject(&self) -> &Subject {
        match self {
            Self::Send { subject, .. } | Self::Refused { subject, .. } | Self::Answer { subject, .. } => {
                subject
            }
        }
    }

    /// The HTTP status of a refusal.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            Self::Send { .. } | Self::Answer { .. } => None,
        }
    }

    /// The stable code of this class of failure.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Send { source: HttpError::TooLong(_), .. } | Self::Answer { .. } => "arm-answer",
            Self::Send { source, .. } if source.is_untrusted() => "untrusted-certificate",
            Self::Send { source, .. } => source.proxy().map_or("arm-unreachable", ProxyError::code),
            Self::Refused { status: 401, .. } => "sign-in",
            Self::Refused { status: 403, .. } => "denied",
            Self::Refused { status: 404, .. } => "not-found",
            Self::Refused { status: 300..=399, .. } => "arm-redirect",
            Self::Refused { .. } => "arm-error",
        }
    }

    /// What it says of a token that it does not take.
    pub fn challenge(&self) -> Option<&Challenge> {
        match self {
            Self::Refused { challenge, .. } => challenge.as_deref(),
            Self::Send { .. } | Self::Answer { .. } => None,
        }
    }

    /// What to do about it.
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Send { source: HttpError::TooLong(_), .. } | Self::Answer { .. } => {
                Disposition::Blocked(Blocked::Answer)
            }
            Self::Send { source, .. } if source.proxy().is_some_and(ProxyError::is_lasting) => {
                Disposition::Blocked(Blocked::Denied)
            }
            Self::Send { source, .. } if source.is_untrusted() => Disposition::Blocked(Blocked::Answer),
            Self::Send { .. } => Disposition::Retry,
            Self::Refused { status, retry_after, .. } => match (*status, retry_after) {
                (401, _) => Disposition::Blocked(Blocked::SignIn),
                (403, _) => Disposition::Blocked(Blocked::Denied),
                (404, _) => Disposition::Blocked(Blocked::NotFound),
                (408 | 429 | 500..=599, Some(after)) => Disposition::RetryAfter(*after),
                (408 | 429 | 500..=599, None) => Disposition::Retry,
                _ => Disposition::Blocked(Blocked::Answer),
            },
        }
    }

    /// The likeliest cause and what mends it, where we know one.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Refused { status: 401, .. } => {
                Some("sign in again, with an account of the bastion's tenant".to_owned())
            }
            Self::Refused { status: 403, subject, .. } => {
                Some(format!("the account needs Reader on {subject}"))
            }
            Self::Refused { status: 404, subject, .. } => {
                let whose = match &**subject {
                    Subject::Bastion(_) => "bastion",
                    Subject::Machine(_) => "machine",
                    Subject::ScaleSet(_) => "scale set",
                    Subject::Interface(_) => "network interface",
                };
                Some(format!("check the {whose}'s name, resource group and subscription"))
            }
            Self::Refused { status: 300..=399, .. } => Some(REDIRECT.to_owned()),
            Self::Answer { source, .. } if source.downcast_ref().is_some_and(ReadError::is_host) => Some(
                "a token goes only to a bare DNS name that ARM answered; is a proxy on the way?".to_owned(),
            ),
            Self::Answer { .. } => Some("is a proxy on the way that answers in ARM's place?".to_owned()),
            Self::Send { source, .. } if source.is_tls() => Some(UNTRUSTED.to_owned()),
            Self::Send { source, .. } => source.proxy().map(|proxy| proxy.hint().to_owned()),
            Self::Refused { .. } => None,
        }
    }
}

fn said(code: &str, message: &str) -> String {
    match (code.is_empty(), message.is_empty()) {
        (true, true) => String::new(),
        (false, true) => format!(", {code}"),
        (true, false) => format!(", \"{message}\""),
        (false, false) => format!(", {code}: \"{message}\""),
    }
}
