//! az's current subscription, as az's profile names it: what stands in where a file names no subscription.

use std::fmt;

use super::{Cloud, printable};

/// A subscription as az lists it for whoever is signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AzSubscription {
    id: String,
    name: String,
    tenant: Option<String>,
    cloud: String,
}

/// What az's profile says of its current subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AzCurrent {
    /// There is none: nobody is signed in.
    #[default]
    SignedOut,
    /// There are subscriptions, and none of them is the current one.
    NoneChosen,
    /// The account that is signed in has no subscription.
    NoSubscription,
    /// The profile cannot be read, for this reason.
    Unreadable(String),
    /// It is this one.
    Is(AzSubscription),
}

/// Why az's current subscription cannot be taken, and what mends that. Both are parts of sentences.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotCurrent {
    /// What is in the way.
    pub why: String,
    /// What to type.
    pub way_out: String,
}

impl AzSubscription {
    /// Checks what a profile says. `tenant`: whose tokens az uses for it, where that can be said to az; `cloud`: az's
    /// name of the cloud.
    pub fn new(id: &str, name: &str, tenant: Option<&str>, cloud: &str) -> Option<Self> {
        let word = |text: &str| {
            !text.is_empty()
                && text.len() <= 253
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
        };
        let fits = is_guid(id) && tenant.is_none_or(word) && !cloud.is_empty();
        fits.then(|| Self {
            id: id.to_owned(),
            name: printable(name, 100),
            tenant: tenant.map(str::to_owned),
            cloud: printable(cloud, 100),
        })
    }

    /// One that is nobody's, in a cloud: for whoever wants to know what else a file says.
    pub fn unknown(cloud: &Cloud) -> Self {
        let id = "00000000-0000-0000-0000-000000000000".to_owned();
        Self { id, name: "unknown".to_owned(), tenant: None, cloud: az_name(cloud).to_owned() }
    }

    /// Its ID.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its name, safe to show.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The tenant whose tokens az uses for it, where az can be told one.
    pub fn tenant(&self) -> Option<&str> {
        self.tenant.as_deref()
    }

    /// az's name of the cloud that it is in.
    pub fn cloud(&self) -> &str {
        &self.cloud
    }
}

impl fmt::Display for AzSubscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ({})", self.name, self.id)
    }
}

impl AzCurrent {
    /// The current subscription, for a workspace that lives in this cloud.
    ///
    /// # Errors
    /// When there is none, or it is in another cloud.
    pub fn within(&self, cloud: &Cloud) -> Result<&AzSubscription, NotCurrent> {
        let (why, way_out) = match self {
            Self::Is(current) if current.cloud.eq_ignore_ascii_case(az_name(cloud)) => return Ok(current),
            Self::Is(current) => (
                format!("az's current one, {current}, is in {}, not in `{}`", current.cloud, cloud.name()),
                format!("`az cloud set --name {}` and `az login`", az_name(cloud)),
            ),
            Self::SignedOut => {
                ("nobody is signed in to az, so it has no current one".to_owned(), "`az login`".to_owned())
            }
            Self::NoneChosen => (
                "az has no current one".to_owned(),
                "`az account set --subscription NAME-OR-ID` (`az account list` shows all)".to_owned(),
            ),
            Self::NoSubscription => (
                "the account that is signed in to az has none".to_owned(),
                "`az login` with an account that has one".to_owned(),
            ),
            Self::Unreadable(why) => {
                (format!("az's current one is not known: {why}"), "`az login`".to_owned())
            }
        };
        Err(NotCurrent { why, way_out })
    }
}

/// What az calls a cloud. One of the user's own has the name there that it was registered with, which has to be the same.
fn az_name(cloud: &Cloud) -> &str {
    match cloud {
        Cloud::Public => "AzureCloud",
        Cloud::UsGovernment => "AzureUSGovernment",
        Cloud::China => "AzureChinaCloud",
        Cloud::Emulator | Cloud::Defined(_) => cloud.name(),
    }
}

/// Whether a text is made of 8, 4, 4, 4 and 12 hexadecimal digits.
fn is_guid(text: &str) -> bool {
    let lengths = text.split('-').map(|part| {
        let digits = part.bytes().all(|b| b.is_ascii_hexdigit());
        if digits { part.len() } else { 0 }
    });
    lengths.eq([8, 4, 4, 4, 12])
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "11111111-2222-3333-4444-55555555555a";

    fn in_cloud(cloud: &str) -> AzCurrent {
        AzCurrent::Is(AzSubscription::new(ID, "Shop", None, cloud).unwrap())
    }

    #[test]
    fn what_is_no_subscription_is_not_taken() {
        let good = AzSubscription::new(ID, "a\u{1b}[2J", Some("contoso.com"), "AzureCloud").unwrap();
        assert_eq!(good.to_string(), format!("`a\u{241b}[2J` ({ID})"));
        for (id, tenant, cloud) in [
            ("", None, "AzureCloud"),
            ("11111111-2222-3333-4444", None, "AzureCloud"),
            ("11111111-2222-3333-4444-55555555555g", None, "AzureCloud"),
            ("11111111-2222-3333-4444-55555555555/", None, "AzureCloud"),
            (ID, Some("a b"), "AzureCloud"),
            (ID, Some(""), "AzureCloud"),
            (ID, None, ""),
        ] {
            assert_eq!(AzSubscription::new(id, "Shop", tenant, cloud), None, "{id} {tenant:?} {cloud}");
        }
    }

    #[test]
    fn it_counts_in_its_own_cloud_only() {
        let clouds = [Cloud::Public, Cloud::UsGovernment, Cloud::China];
        for (index, name) in ["AzureCloud", "AzureUSGovernment", "AzureChinaCloud"].into_iter().enumerate() {
            for (other, cloud) in clouds.iter().enumerate() {
                assert_eq!(in_cloud(name).within(cloud).is_ok(), index == other, "{name} {cloud:?}");
            }
        }
        let NotCurrent { why, way_out } = in_cloud("AzureUSGovernment").within(&Cloud::Public).unwrap_err();
        assert_eq!(why, format!("az's current one, `Shop` ({ID}), is in AzureUSGovernment, not in `public`"));
        assert_eq!(way_out, "`az cloud set --name AzureCloud` and `az login`");
    }

    #[test]
    fn what_az_does_not_say_is_said() {
        let unreadable = AzCurrent::Unreadable("it is not JSON".to_owned());
        for current in [AzCurrent::default(), AzCurrent::NoneChosen, AzCurrent::NoSubscription, unreadable] {
            let NotCurrent { why, way_out } = current.within(&Cloud::Public).unwrap_err();
            assert!(!why.is_empty() && way_out.starts_with("`az "), "{current:?}");
        }
    }
}
