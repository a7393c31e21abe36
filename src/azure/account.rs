//! Whose an access token is: what it says of itself, read and believed only to be shown.

use azure_core::base64::decode_url_safe;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use crate::model::printable;

/// What a token says of whom it is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// A user's name, or an application's.
    pub name: Option<String>,
    /// The application that signed in, where no user did.
    pub application: Option<String>,
    /// The tenant.
    pub tenant: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Claims {
    upn: Option<String>,
    preferred_username: Option<String>,
    unique_name: Option<String>,
    email: Option<String>,
    app_displayname: Option<String>,
    idtyp: Option<String>,
    appid: Option<String>,
    azp: Option<String>,
    tid: Option<String>,
}

impl Account {
    /// Reads a token. One that is not of the usual form says nothing.
    pub fn of(token: &SecretString) -> Self {
        let payload = token.expose_secret().split('.').nth(1).and_then(|part| decode_url_safe(part).ok());
        let claims: Option<Claims> = payload.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let claims = claims.unwrap_or_default();
        let shown = |text: String| printable(&text, 120);
        let user = claims.upn.or(claims.preferred_username).or(claims.unique_name).or(claims.email);
        let is_application = claims.idtyp.as_deref() == Some("app") || user.is_none();
        let application = claims.appid.or(claims.azp).filter(|_| is_application);
        Self {
            name: user.or(claims.app_displayname).map(shown),
            application: application.map(shown),
            tenant: claims.tid.map(shown),
        }
    }
}

#[cfg(test)]
mod tests {
    use azure_core::base64::encode_url_safe;

    use super::*;

    fn account(claims: &str) -> Account {
        Account::of(&format!("e30.{}.c2ln", encode_url_safe(claims)).into())
    }

    #[test]
    fn users_and_applications_are_told_apart() {
        let user = account(r#"{"upn":"ann@contoso.com","appid":"az","tid":"t"}"#);
        let (name, tenant) = (Some("ann@contoso.com".to_owned()), Some("t".to_owned()));
        assert_eq!(user, Account { name, application: None, tenant });
        let app = account(r#"{"appid":"a-1","idtyp":"app","tid":"t"}"#);
        assert_eq!((app.name, app.application.as_deref()), (None, Some("a-1")));
        for none in ["", "a", "a.b.c", "a.%%.c"] {
            assert_eq!(Account::of(&none.to_owned().into()), Account::default(), "{none}");
        }
    }
}
