//! `[network]`: how the user has this machine's way to Azure.

use super::clouds::ca_file;
use super::url;
use super::{Found, given};
use crate::config::codes;
use crate::config::diagnostic::Diagnostic;
use crate::config::reader::Text;
use crate::config::shapes::Network;
use crate::model::{NetworkRules, ProxyRule, ProxyUrl};

/// Lowers the table. No word about a proxy repeats what was written: it may hold a password.
pub(super) fn lower(raw: &Network, found: &mut Found) -> NetworkRules {
    NetworkRules {
        proxy: given(raw.proxy.as_ref()).and_then(|text| proxy(text, found)).unwrap_or_default(),
        no_proxy: no_proxy(raw, found),
        ca_file: ca_file(raw.ca_file.as_ref(), found),
    }
}

fn proxy(text: &Text, found: &mut Found) -> Option<ProxyRule> {
    let why = match text.value.as_str() {
        "system" => return Some(ProxyRule::System),
        "none" => return Some(ProxyRule::Direct),
        url => match url::proxy(url) {
            Ok(()) => return Some(ProxyRule::Through(ProxyUrl::new(url))),
            Err(why) => why,
        },
    };
    let message = "`proxy` is not the URL of an HTTP proxy";
    found.push(Diagnostic::new(codes::INVALID_URL, text.span.clone(), message, why).help(
        "it is `\"system\"`, `\"none\"` or `\"http://[USER:PASSWORD@]HOST[:PORT]\"`; in a user name or a password, `@` is %40, `:` %3A, `/` %2F and `%` %25",
    ));
    None
}

fn no_proxy(raw: &Network, found: &mut Found) -> Option<String> {
    let parts = raw.no_proxy.as_ref()?;
    for text in parts {
        if !text.value.chars().all(|c| c.is_ascii_graphic() || c == ' ') {
            let message = "`no_proxy` names something that is no host";
            let label = "expected hosts, domains and networks, with commas between them";
            found.push(Diagnostic::new(codes::INVALID_VALUE, text.span.clone(), message, label));
        }
    }
    Some(parts.iter().map(|text| text.value.as_str()).collect::<Vec<_>>().join(","))
}
