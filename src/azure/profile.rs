//! az's profile: which subscription az would use now. Only that is looked at; whose account it is stays unread.

use std::io;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::model::{AzCurrent, AzSubscription, printable};
use crate::sys::files;

/// The longest profile that is read: an account may have thousands of subscriptions.
const MOST: u64 = 8 << 20;

/// What `az login --allow-no-subscriptions` calls what stands in the place of a subscription.
const TENANT_LEVEL: &str = "N/A(tenant level account)";

/// The accounts whose token az refuses to get for a named tenant, in some of its versions.
const WITHOUT_TENANT: [&str; 2] = ["systemAssignedIdentity", "userAssignedIdentity"];

#[derive(Deserialize)]
struct Profile {
    #[serde(default)]
    subscriptions: Option<Vec<Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    id: String,
    #[serde(default)]
    name: String,
    tenant_id: Option<String>,
    environment_name: String,
    #[serde(default)]
    user: User,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct User {
    name: Option<String>,
    #[serde(rename = "cloudShellID")]
    cloud_shell: Option<bool>,
}

/// Reads az's current subscription from the directory in which az keeps its profile.
pub fn current_subscription(directory: Option<&Path>) -> AzCurrent {
    let Some(path) = directory.map(|directory| directory.join("azureProfile.json")) else {
        return AzCurrent::SignedOut;
    };
    let said = match files::read(&path, MOST) {
        Ok(bytes) => current(&bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return AzCurrent::SignedOut,
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => unreadable("it is a directory"),
        Err(error) => unreadable(&error.to_string()),
    };
    match said {
        AzCurrent::Unreadable(why) => {
            let path = printable(&path.to_string_lossy(), 400);
            AzCurrent::Unreadable(format!("reading {path}: {why}"))
        }
        AzCurrent::SignedOut | AzCurrent::NoneChosen | AzCurrent::NoSubscription | AzCurrent::Is(_) => said,
    }
}

/// What a profile says. Its own words are never shown: an account's name may be among them.
fn current(bytes: &[u8]) -> AzCurrent {
    // az writes one on Windows, and reads both.
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let profile: Profile = match serde_json::from_slice(bytes) {
        Ok(profile) => profile,
        Err(error) if error.is_data() => return unreadable("it is not a profile of az"),
        Err(error) => return unreadable(&format!("it is not JSON from line {} on", error.line())),
    };
    let all = profile.subscriptions.unwrap_or_default();
    if all.is_empty() {
        return AzCurrent::SignedOut;
    }
    let Some(entry) = all.into_iter().find(|entry| entry.get("isDefault") == Some(&Value::Bool(true))) else {
        return AzCurrent::NoneChosen;
    };
    let entry: Option<Entry> = serde_json::from_value(entry).ok();
    match entry {
        Some(entry) if entry.name == TENANT_LEVEL => AzCurrent::NoSubscription,
        entry => entry
            .and_then(|entry| entry.subscription())
            .map_or_else(|| unreadable("its current subscription is not understood"), AzCurrent::Is),
    }
}

impl Entry {
    fn subscription(&self) -> Option<AzSubscription> {
        let fixed = self.user.name.as_deref().is_some_and(|name| WITHOUT_TENANT.contains(&name));
        let tenant = self.tenant_id.as_deref().filter(|_| !fixed && self.user.cloud_shell != Some(true));
        AzSubscription::new(&self.id, &self.name, tenant, &self.environment_name)
    }
}

fn unreadable(why: &str) -> AzCurrent {
    AzCurrent::Unreadable(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = r#"{
  "installationId": "i",
  "subscriptions": [
    {"id":"11111111-2222-3333-4444-555555555555","name":"Other","state":"Enabled","isDefault":false,
     "user":{"name":"ann@contoso.com","type":"user"},"tenantId":"t-other","environmentName":"AzureCloud"},
    {"id":"11111111-2222-3333-4444-666666666666","name":"Shop","state":"Enabled","isDefault":true,
     "user":{"name":"ann@contoso.com","type":"user"},"tenantId":"t-shop","environmentName":"AzureCloud",
     "homeTenantId":"t-home","managedByTenants":[{"tenantId":"t-managing"}]}
  ]
}"#;

    fn shop(tenant: Option<&str>) -> AzCurrent {
        let id = "11111111-2222-3333-4444-666666666666";
        AzCurrent::Is(AzSubscription::new(id, "Shop", tenant, "AzureCloud").unwrap())
    }

    #[test]
    fn the_default_one_is_current_with_the_tenant_of_its_tokens() {
        assert_eq!(current(ONE.as_bytes()), shop(Some("t-shop")));
        assert_eq!(current(format!("\u{feff}{ONE}").as_bytes()), shop(Some("t-shop")));
        let broken = ONE.replace(r#""id":"11111111-2222-3333-4444-555555555555""#, r#""id":7"#);
        assert_eq!(current(broken.as_bytes()), shop(Some("t-shop")), "another one's flaw is not its own");
    }

    #[test]
    fn an_identity_that_has_one_tenant_is_asked_for_none() {
        let person = r#""name":"ann@contoso.com","type":"user""#;
        for user in [
            r#""name":"systemAssignedIdentity","type":"servicePrincipal","assignedIdentityInfo":"MSI""#,
            r#""name":"userAssignedIdentity","type":"servicePrincipal","assignedIdentityInfo":"MSIClient-1""#,
            r#""name":"ann@contoso.com","type":"user","cloudShellID":true"#,
        ] {
            assert_eq!(current(ONE.replace(person, user).as_bytes()), shop(None), "{user}");
        }
        let application = r#""name":"app","type":"servicePrincipal""#;
        assert_eq!(current(ONE.replace(person, application).as_bytes()), shop(Some("t-shop")));
    }

    #[test]
    fn there_may_be_none() {
        for text in ["{}", r#"{"subscriptions":[]}"#, r#"{"subscriptions":null,"installationId":"i"}"#] {
            assert_eq!(current(text.as_bytes()), AzCurrent::SignedOut, "{text}");
        }
        let none = ONE.replace("\"isDefault\":true", "\"isDefault\":false");
        assert_eq!(current(none.as_bytes()), AzCurrent::NoneChosen);
        assert_eq!(current(ONE.replace("Shop", TENANT_LEVEL).as_bytes()), AzCurrent::NoSubscription);
    }

    #[test]
    fn what_is_not_understood_is_told_without_its_words() {
        let told = |text: &[u8]| {
            let AzCurrent::Unreadable(why) = current(text) else { panic!("it was understood") };
            why
        };
        assert_eq!(told(b""), "it is not JSON from line 1 on");
        assert_eq!(told(&ONE.as_bytes()[..200]), "it is not JSON from line 5 on");
        assert_eq!(told(b"\xff\xfe{\0"), "it is not JSON from line 1 on");
        assert_eq!(told(br#"["ann@contoso.com"]"#), "it is not a profile of az");
        assert_eq!(told(br#"{"subscriptions":"ann@contoso.com"}"#), "it is not a profile of az");
        for (good, bad) in [
            ("11111111-2222-3333-4444-666666666666", "../ann"),
            ("t-shop", "ann@contoso.com"),
            ("\"environmentName\":\"AzureCloud\",\n     \"home", "\"home"),
        ] {
            let text = ONE.replace(good, bad);
            assert_ne!(text, ONE);
            assert_eq!(told(text.as_bytes()), "its current subscription is not understood", "{bad}");
        }
    }

    #[test]
    fn a_profile_that_breaks_off_names_nobody() {
        for length in 0..ONE.len() {
            let told = current(&ONE.as_bytes()[..length]);
            assert!(
                matches!(&told, AzCurrent::Unreadable(why) if !why.contains("ann")),
                "{length}: {told:?}"
            );
        }
    }

    #[test]
    fn only_a_plain_file_of_some_size_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("azureProfile.json");
        let read = || current_subscription(Some(directory.path()));
        assert_eq!((read(), current_subscription(None)), (AzCurrent::SignedOut, AzCurrent::SignedOut));
        std::fs::write(&path, ONE).unwrap();
        assert_eq!(read(), shop(Some("t-shop")));
        std::fs::File::create(&path).unwrap().set_len(MOST + 1).unwrap();
        assert!(
            matches!(read(), AzCurrent::Unreadable(why) if why.contains("azureProfile.json: it is longer"))
        );
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(matches!(read(), AzCurrent::Unreadable(why) if why.ends_with("it is a directory")));
    }
}
