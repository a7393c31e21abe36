//! The clouds that Microsoft runs: where each is managed, where one signs in, and whom its tokens are for. Pure.

/// The addresses of a cloud.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Resource Manager's host, with a port where it is not 443.
    pub resource_manager: String,
    /// Where one signs in: an `https` URL without a slash at its end.
    pub authority: String,
    /// Whom access tokens for Resource Manager are for.
    pub audience: String,
}

impl Addresses {
    /// Azure itself.
    pub fn public() -> Self {
        Self::of("management.azure.com", "login.microsoftonline.com", "management.core.windows.net")
    }

    /// Azure Government.
    pub fn us_government() -> Self {
        Self::of(
            "management.usgovcloudapi.net",
            "login.microsoftonline.us",
            "management.core.usgovcloudapi.net",
        )
    }

    /// Azure operated by 21Vianet.
    pub fn china() -> Self {
        Self::of("management.chinacloudapi.cn", "login.chinacloudapi.cn", "management.core.chinacloudapi.cn")
    }

    /// The audience's slash belongs to it: it is the one that az asks for.
    fn of(resource_manager: &str, authority: &str, audience: &str) -> Self {
        Self {
            resource_manager: resource_manager.to_owned(),
            authority: format!("https://{authority}"),
            audience: format!("https://{audience}/"),
        }
    }
}
