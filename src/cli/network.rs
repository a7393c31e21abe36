//! How bytes leave this machine, as the user's own configuration and the environment say together.

use std::path::PathBuf;

use secrecy::SecretString;

use super::settings::Settings;
use super::{ExitStatus, Failure};
use crate::model::{Cloud, NetworkRules, ProxyRule, chain};
use crate::net::{Proxy, check_authorities};

/// What a command's [`Network`](crate::net::Network) is made of.
pub(super) struct Way {
    /// Through which proxy.
    pub(super) proxy: Option<Proxy>,
    /// Authorities to believe besides those that are believed anyway.
    pub(super) ca_files: Vec<PathBuf>,
}

impl Way {
    /// The way to a cloud. What the configuration says of the proxy goes over the environment; files of authorities
    /// add up, and a cloud's own is for that cloud only.
    pub(super) fn new(cloud: &Cloud, rules: &NetworkRules, settings: &Settings) -> Result<Self, Failure> {
        let named = match &rules.proxy {
            ProxyRule::Direct => None,
            ProxyRule::Through(url) => Some(("`proxy` of `[network]`", url.expose())),
            ProxyRule::System => settings.proxy.as_ref().map(|(variable, url)| (*variable, url.as_str())),
        };
        let no_proxy = rules.no_proxy.as_ref().unwrap_or(&settings.no_proxy);
        let proxy = named.map(|(origin, url)| {
            Proxy::new(url, no_proxy).map_err(|error| {
                Failure::new(ExitStatus::Usage, format!("{origin} cannot be used: {error}"))
                    .hint("`proxy = \"none\"` in `[network]` of your own configuration goes without a proxy")
            })
        });
        let own = match cloud {
            Cloud::Defined(definition) => definition.ca_file.as_ref(),
            Cloud::Public | Cloud::UsGovernment | Cloud::China | Cloud::Emulator => None,
        };
        for (variable, path) in &settings.ca_files {
            check_authorities(path).map_err(|error| {
                let what = format!("`{variable}` cannot be used: {} [ca-file]", chain(&error));
                Failure::new(ExitStatus::Usage, what)
                    .hint(&format!("name a PEM file with a certificate in it, or `unset {variable}`"))
            })?;
        }
        let ours = settings.ca_files.iter().map(|(_, path)| path);
        let ca_files = ours.chain(&rules.ca_file).chain(own).cloned().collect();
        Ok(Self { proxy: proxy.transpose()?, ca_files })
    }
}

/// What az and azd, which go to Azure by themselves, are told of the user's own configuration: what the environment does
/// not say to them already. Not `ca_file`: az would believe those authorities and no others.
pub(super) fn for_programs(rules: &NetworkRules, settings: &Settings) -> Vec<(&'static str, SecretString)> {
    let proxy = match &rules.proxy {
        ProxyRule::Through(url) if settings.proxy.is_none() => Some(("HTTPS_PROXY", url.expose().into())),
        ProxyRule::Through(_) | ProxyRule::Direct | ProxyRule::System => None,
    };
    let no_proxy = rules.no_proxy.as_ref().filter(|_| settings.no_proxy.is_empty());
    let no_proxy = no_proxy.map(|hosts| ("NO_PROXY", hosts.as_str().into()));
    proxy.into_iter().chain(no_proxy).collect()
}
