//! URLs of the user's own configuration. They say where tokens go, so each is read as strictly as it can be.

use crate::config::codes;
use crate::config::diagnostic::Diagnostic;
use crate::config::reader::Text;
use crate::model::{GatewayHost, HostError, PortRule};

use super::Found;

/// The host, with a port where one is written, and the path of an `https` URL that has nothing else.
pub(super) fn https(text: &Text, key: &str, example: &str, found: &mut Found) -> Option<(String, String)> {
    let url = text.value.as_str();
    let insecure = url.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://"));
    if insecure {
        let message = format!("`{key}` must be an `https` URL");
        let label = "would be spoken to in the clear";
        let wrong = Diagnostic::new(codes::INSECURE_URL, text.span.clone(), message, label);
        let secure = url.get(7..).unwrap_or_default();
        found.push(match text.replaceable() {
            Some(true) if !url.contains('@') => {
                wrong.fix("write it as", text.span.clone(), format!("\"https://{secure}\""))
            }
            Some(_) | None => wrong.help("access tokens are sent there: TLS is used always"),
        });
        return None;
    }
    let mut refuse = |label: &str| {
        let message = format!("`{key}` is not the URL of a server");
        found.push(
            Diagnostic::new(codes::INVALID_URL, text.span.clone(), message, label)
                .help(format!("it looks like `\"{example}\"`")),
        );
        None
    };
    let Some(rest) = url.strip_prefix("https://") else { return refuse("not an `https` URL") };
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    match GatewayHost::parse(authority, PortRule::Allowed) {
        Ok(host) => Some((host.to_string(), path.trim_end_matches('/').to_owned())),
        Err(_) if authority.contains('@') => refuse("a user name or a password may not stand in it"),
        Err(HostError::Port) => refuse("its port is not a number from 1 to 65535"),
        Err(error) => refuse(&format!("its host: {error}")),
    }
}

/// Why a text is not the URL of an HTTP proxy. It may hold a password, so the words do not repeat it.
pub(super) fn proxy(url: &str) -> Result<(), &'static str> {
    let Some(rest) = url.strip_prefix("http://") else {
        return Err("does not begin with `http://`");
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (credentials, address) = match rest.rsplit_once('@') {
        Some((credentials, address)) => (Some(credentials), address),
        None => (None, rest),
    };
    let escaped = |c: char| c.is_ascii_graphic() && !"@/?#[]\"<>\\^`{|}".contains(c);
    if credentials.is_some_and(|all| !all.chars().all(escaped)) {
        return Err("a character of the user name or of the password is not escaped");
    }
    let (host, port) = match address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((v6, port)) if v6.parse::<std::net::Ipv6Addr>().is_ok() => ("", port),
        Some(_) => return Err("its host is not a name or an address"),
        None => match address.find(':') {
            Some(at) => address.split_at(at),
            None => (address, ""),
        },
    };
    let part = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if !address.starts_with('[') && !host.strip_suffix('.').unwrap_or(host).split('.').all(part) {
        return Err("its host is not a name or an address");
    }
    match port.strip_prefix(':') {
        None if port.is_empty() => Ok(()),
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => match digits.parse::<u16>() {
            Ok(1..) => Ok(()),
            Ok(0) | Err(_) => Err("its port is out of range"),
        },
        None | Some(_) => Err("its port is not a number"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies() {
        for good in [
            "http://proxy.example:3128",
            "http://proxy",
            "http://proxy./",
            "http://user:p%40ss%3Aw@proxy.example:8080/",
            "http://user@10.0.0.1",
            "http://[::1]:3128",
            "http://DOMAIN%5Cuser:a!$&'()*+,;=~%-._@p_1:1",
        ] {
            assert_eq!(proxy(good), Ok(()), "{good}");
        }
        for bad in [
            "proxy.example:3128",
            "https://proxy.example",
            "socks5://proxy.example",
            "http://",
            "http://user:p@ss@proxy",
            "http://user:p/ss@proxy",
            "http://proxy:",
            "http://proxy:0",
            "http://proxy:65536",
            "http://proxy:31a",
            "http://proxy/path",
            "http://[::1",
            "http://[::1]x",
            "http://a b",
            "http://..",
        ] {
            assert!(proxy(bad).is_err(), "{bad}");
        }
    }
}
