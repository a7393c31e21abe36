//! What Resource Manager says of a token that it does not take (`WWW-Authenticate`). Pure.

/// Its challenge, with nothing in it that could not stand in a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Challenge {
    /// What it wants of the next token, in base64 (continuous access evaluation).
    pub claims: Option<String>,
    /// The tenant whose tokens it takes.
    pub tenant: Option<String>,
    /// Whether the token was of another tenant.
    pub wrong_tenant: bool,
}

impl Challenge {
    /// Reads the header; `code` is ARM's `error.code`.
    pub(super) fn read(header: Option<&str>, code: &str) -> Self {
        let header = header.unwrap_or_default();
        let authority = parameter(header, "authorization_uri").or_else(|| parameter(header, "authorization"));
        let tenant = authority.and_then(|url| url.trim_end_matches('/').rsplit('/').next());
        let plain = |text: &&str| {
            text.len() <= 4096 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._+/=".contains(&b))
        };
        // `common` and `organizations` are no tenants.
        let tenant =
            tenant.filter(plain).filter(|tenant| tenant.contains(['-', '.']) && !tenant.contains('/'));
        Self {
            claims: parameter(header, "claims").filter(plain).map(str::to_owned),
            tenant: tenant.map(str::to_owned),
            wrong_tenant: code.eq_ignore_ascii_case("InvalidAuthenticationTokenTenant"),
        }
    }
}

/// The value of `name="…"`.
fn parameter<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = header;
    loop {
        let (before, after) = rest.split_once(name)?;
        let whole = before.chars().next_back().is_none_or(|c| c == ' ' || c == ',');
        if let (true, Some(value)) = (whole, after.strip_prefix("=\"")) {
            return value.split('"').next().filter(|value| !value.is_empty());
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_arm_wants_is_read_and_nothing_that_could_do_harm() {
        let header = r#"Bearer authorization_uri="https://login.windows.net/t-1", error="insufficient_claims", claims="eyJ0==""#;
        let read = Challenge::read(Some(header), "ExpiredAuthenticationToken");
        let (claims, tenant) = (Some("eyJ0==".to_owned()), Some("t-1".to_owned()));
        assert_eq!(read, Challenge { claims, tenant, wrong_tenant: false });
        assert!(Challenge::read(Some(header), "InvalidAuthenticationTokenTenant").wrong_tenant);
        for hostile in [
            r#"Bearer claims="$(id)""#,
            r#"Bearer claims="""#,
            r#"Bearer my_claims="x""#,
            r#"Bearer authorization_uri="https://x/a b-c""#,
            r#"Bearer authorization_uri="https://x/common""#,
            "Bearer claims",
            "",
        ] {
            assert_eq!(Challenge::read(Some(hostile), ""), Challenge::default(), "{hostile}");
        }
        assert_eq!(Challenge::read(None, ""), Challenge::default());
    }
}
