//! Commands that a person is asked to type.

/// What `.default` of an audience is called, its own slash kept: Entra wants exactly that.
pub(super) fn scope(audience: &str) -> String {
    format!("{audience}/.default")
}

/// The sign-in to az that fits.
pub(in crate::azure) fn az_login(
    tenant: Option<&str>,
    audience: Option<&str>,
    claims: Option<&str>,
) -> String {
    let mut command = "az login".to_owned();
    for (option, value) in [("--tenant", tenant.map(str::to_owned)), ("--scope", audience.map(scope))] {
        if let Some(value) = value.filter(|value| is_plain(value)) {
            command.push_str(&format!(" {option} {value}"));
        }
    }
    if let Some(claims) = claims.filter(|claims| is_plain(claims)) {
        command.push_str(&format!(" --claims-challenge \"{claims}\""));
    }
    format!("`{command}`")
}

/// The sign-in to azd that fits.
pub(in crate::azure) fn azd_login(tenant: Option<&str>) -> String {
    match tenant.filter(|tenant| is_plain(tenant)) {
        Some(tenant) => format!("`azd auth login --tenant-id {tenant}`"),
        None => "`azd auth login`".to_owned(),
    }
}

/// Whether a text from elsewhere may stand in a command that a person is asked to type.
fn is_plain(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._:/+=".contains(&b);
    !text.is_empty() && !text.starts_with('-') && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_elsewhere_gets_into_a_command() {
        for hostile in ["x; rm -rf ~", "$(id)", "`id`", "a b", "--help", "a\"b", ""] {
            assert_eq!(az_login(Some(hostile), None, Some(hostile)), "`az login`", "{hostile}");
        }
        assert_eq!(
            az_login(Some("t-1"), Some("https://management.core.windows.net/"), Some("eyJ0==")),
            "`az login --tenant t-1 --scope https://management.core.windows.net//.default --claims-challenge \"eyJ0==\"`"
        );
    }
}
