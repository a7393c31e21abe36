//! az's current subscription, as it goes over the socket.

use serde::{Deserialize, Serialize};

use crate::model::{AzCurrent, AzSubscription};

/// What az says, a text each. A client that says nothing of it has nobody signed in.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Az {
    /// `current`, or why there is none.
    is: String,
    /// Of the current one.
    #[serde(skip_serializing_if = "String::is_empty")]
    id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    cloud: String,
    /// Why the profile cannot be read.
    #[serde(skip_serializing_if = "String::is_empty")]
    why: String,
}

impl Az {
    /// Whether it says what a client says that knows nothing of it.
    pub(super) fn is_nobody(&self) -> bool {
        self.is.is_empty()
    }
}

impl From<AzCurrent> for Az {
    fn from(current: AzCurrent) -> Self {
        let word = |is: &str| Self { is: is.to_owned(), ..Self::default() };
        match current {
            AzCurrent::SignedOut => Self::default(),
            AzCurrent::NoneChosen => word("unchosen"),
            AzCurrent::NoSubscription => word("none"),
            AzCurrent::Unreadable(why) => Self { why, ..word("unreadable") },
            AzCurrent::Is(current) => Self {
                id: current.id().to_owned(),
                name: current.name().to_owned(),
                tenant: current.tenant().map(str::to_owned),
                cloud: current.cloud().to_owned(),
                ..word("current")
            },
        }
    }
}

impl From<Az> for AzCurrent {
    fn from(az: Az) -> Self {
        let Az { is, id, name, tenant, cloud, why } = az;
        match &*is {
            "" => Self::SignedOut,
            "unchosen" => Self::NoneChosen,
            "none" => Self::NoSubscription,
            "unreadable" => Self::Unreadable(why),
            _ => AzSubscription::new(&id, &name, tenant.as_deref(), &cloud).map_or_else(
                || Self::Unreadable("what was said of it is not understood".to_owned()),
                Self::Is,
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_az_says_arrives_as_it_was() {
        let id = "11111111-2222-3333-4444-555555555555";
        let subscription = |tenant| AzSubscription::new(id, "Shop", tenant, "AzureCloud").unwrap();
        for current in [
            AzCurrent::SignedOut,
            AzCurrent::NoneChosen,
            AzCurrent::NoSubscription,
            AzCurrent::Unreadable("it is a directory".to_owned()),
            AzCurrent::Is(subscription(None)),
            AzCurrent::Is(subscription(Some("contoso.com"))),
        ] {
            let sent = serde_json::to_string(&Az::from(current.clone())).unwrap();
            let read: Az = serde_json::from_str(&sent).unwrap();
            assert_eq!(AzCurrent::from(read), current, "{sent}");
        }
    }

    #[test]
    fn what_is_not_a_subscription_is_none() {
        for text in [r#"{"is":"current","id":"../x","cloud":"AzureCloud"}"#, r#"{"is":"something"}"#] {
            let read: Az = serde_json::from_str(text).unwrap();
            assert!(matches!(AzCurrent::from(read), AzCurrent::Unreadable(_)), "{text}");
        }
    }
}
