//! What an instance can be asked to do, and what it answers. Like all that goes over its socket, it is read with
//! patience: what is missing is empty, what is unknown is passed over.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::az::Az;
use crate::model::AzCurrent;

/// Why something was not done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[serde(default)]
#[error("{what}")]
pub struct Refused {
    /// The stable code of the class of failure.
    pub code: String,
    /// What we were doing and what happened.
    pub what: String,
    /// What mends it, where we know.
    pub hint: Option<String>,
    /// When files are wrong: the mistakes, as `check` shows them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<String>,
}

impl Refused {
    /// A refusal without a report.
    pub fn new(code: &str, what: impl Into<String>, hint: Option<&str>) -> Self {
        Self { code: code.to_owned(), what: what.into(), hint: hint.map(str::to_owned), report: None }
    }
}

/// What an instance is asked to do. Variables may hold secrets: they are never printed.
#[derive(Clone, PartialEq, Eq)]
pub enum Request {
    /// Ensure tunnels: those named, or the default set and those of the profiles.
    Up {
        /// Names or patterns; none: the default set and `profiles`.
        tunnels: Vec<String>,
        /// Profiles besides the default set.
        profiles: Vec<String>,
        /// The variables that files may name, as they are where this is asked.
        variables: BTreeMap<String, String>,
        /// What az says is its current subscription, where this is asked.
        az: AzCurrent,
        /// Kinds of grants that are given for as long as the instance lives.
        allow: Vec<String>,
    },
    /// Stop tunnels, or the instance.
    Down {
        /// Names or patterns; none: the instance.
        tunnels: Vec<String>,
        /// Without grace.
        now: bool,
    },
    /// Read the files again.
    Reload {
        /// The variables that files may name, as they are where this is asked.
        variables: BTreeMap<String, String>,
        /// What az says is its current subscription, where this is asked.
        az: AzCurrent,
    },
    /// Say what reading the files again would change.
    Plan {
        /// The variables that files may name, as they are where this is asked.
        variables: BTreeMap<String, String>,
        /// What az says is its current subscription, where this is asked.
        az: AzCurrent,
    },
    /// Prove the path of tunnels again, unless it was proven within the last minute.
    Prove {
        /// Names or patterns; none: all.
        tunnels: Vec<String>,
    },
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// The declared set is what was asked for.
    Applied {
        /// The edition of the declared set.
        #[serde(default)]
        generation: u64,
        /// The tunnels that did not run before.
        #[serde(default)]
        started: Vec<String>,
        /// What changed: the plan in words, a line each.
        #[serde(default)]
        lines: Vec<String>,
    },
    /// What was named is being stopped.
    Stopping {
        /// Tunnels whose connections are waited for, with how many.
        #[serde(default)]
        waiting: Vec<(String, usize)>,
        /// Whether it is the instance that stops.
        #[serde(default)]
        whole: bool,
    },
    /// What would change.
    Plan {
        /// In words, a line each.
        #[serde(default)]
        lines: Vec<String>,
        /// How many changes.
        #[serde(default)]
        changes: usize,
    },
    /// Done, with nothing to say.
    Done,
}

/// The body of every request; each verb looks at what is its own.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Body {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tunnels: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    profiles: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    variables: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Az::is_nobody")]
    az: Az,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allow: Vec<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    now: bool,
}

impl Request {
    /// The last part of its path.
    pub(super) fn verb(&self) -> &'static str {
        match self {
            Self::Up { .. } => "up",
            Self::Down { .. } => "down",
            Self::Reload { .. } => "reload",
            Self::Plan { .. } => "plan",
            Self::Prove { .. } => "prove",
        }
    }

    /// Reads one; `None` when there is no such verb.
    pub(super) fn read(verb: &str, body: &[u8]) -> Option<Result<Self, serde_json::Error>> {
        let known = ["up", "down", "reload", "plan", "prove"].contains(&verb);
        let read = |body: &[u8]| {
            let body = if body.is_empty() { Body::default() } else { serde_json::from_slice(body)? };
            let Body { tunnels, profiles, variables, az, allow, now } = body;
            let az = AzCurrent::from(az);
            Ok(match verb {
                "up" => Self::Up { tunnels, profiles, variables, az, allow },
                "down" => Self::Down { tunnels, now },
                "reload" => Self::Reload { variables, az },
                "plan" => Self::Plan { variables, az },
                _ => Self::Prove { tunnels },
            })
        };
        known.then(|| read(body))
    }

    pub(super) fn write(self) -> Result<Vec<u8>, serde_json::Error> {
        let none = Body::default();
        serde_json::to_vec(&match self {
            Self::Up { tunnels, profiles, variables, az, allow } => {
                Body { tunnels, profiles, variables, az: az.into(), allow, ..none }
            }
            Self::Down { tunnels, now } => Body { tunnels, now, ..none },
            Self::Reload { variables, az } | Self::Plan { variables, az } => {
                Body { variables, az: az.into(), ..none }
            }
            Self::Prove { tunnels } => Body { tunnels, ..none },
        })
    }
}

impl fmt::Debug for Request {
    /// Variables by name only; nothing of az, whose profile tells of accounts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct(self.verb());
        match self {
            Self::Up { tunnels, profiles, variables, az: _, allow } => {
                let names: Vec<&String> = variables.keys().collect();
                out.field("tunnels", tunnels).field("profiles", profiles);
                out.field("variables", &names).field("allow", allow)
            }
            Self::Down { tunnels, now } => out.field("tunnels", tunnels).field("now", now),
            Self::Reload { variables, az: _ } | Self::Plan { variables, az: _ } => {
                out.field("variables", &variables.keys().collect::<Vec<_>>())
            }
            Self::Prove { tunnels } => out.field("tunnels", tunnels),
        };
        out.finish()
    }
}
