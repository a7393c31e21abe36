//! Listen addresses: what they may look like, and that no two tunnels share one.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;

use super::{Found, given};
use crate::config::codes;
use crate::config::diagnostic::{Diagnostic, quote};
use crate::config::raw::Defaults;
use crate::config::reader::Text;
use crate::model::{Listen, is_loopback};

use super::values::port_range;

/// The addresses on which a bare port listens.
#[derive(Clone, Copy, Debug)]
pub(super) enum Host {
    /// Both loopback addresses.
    Localhost,
    /// One.
    Address(IpAddr),
}

impl Host {
    /// Reads `defaults.listen_host`.
    pub(super) fn read(defaults: &Defaults, found: &mut Found) -> Self {
        let Some(text) = given(defaults.listen_host.as_ref()) else { return Self::Localhost };
        let written = text.value.as_str();
        if written == "localhost" {
            return Self::Localhost;
        }
        let bare = written.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(written);
        match bare.parse::<IpAddr>() {
            Ok(ip) if is_loopback(&SocketAddr::new(ip, 0)) => return Self::Address(ip.to_canonical()),
            Ok(_) => found.push(exposed(written, text.span.clone())),
            Err(_) => found.push(
                Diagnostic::new(
                    codes::INVALID_LISTEN,
                    text.span.clone(),
                    format!("{} is not an address to listen on", quote(written)),
                    "expected \"localhost\" or an address of this machine's loopback",
                )
                .help("`\"localhost\"` is both 127.0.0.1 and ::1"),
            ),
        }
        Self::Localhost
    }

    /// The addresses of one port on this host.
    pub(super) fn port(self, port: u16) -> Listen {
        match self {
            Self::Localhost => Listen::Localhost(port),
            Self::Address(ip) => Listen::Address(ip, port),
        }
    }
}

/// Reads a listen address out of a part of a string.
pub(super) fn parse(text: &Text, part: Range<usize>, host: Host, found: &mut Found) -> Option<Listen> {
    let written = text.value.get(part.clone()).unwrap_or_default();
    let span = if part.len() == text.value.len() { text.span.clone() } else { text.part(part) };
    if is_number(written) {
        return port(written, span, found).map(|port| host.port(port));
    }
    if written == "auto" || written.starts_with("unix:") {
        let what = if written == "auto" { "auto" } else { "unix:" };
        let message = format!("`{what}` as a listen address is not supported yet");
        found.push(
            Diagnostic::new(codes::NOT_SUPPORTED_YET, span, message, "this version cannot do it")
                .help("give a port, such as 5432; 0 takes any free one"),
        );
        return None;
    }
    if let Some((host, digits)) = written.rsplit_once(':').filter(|(_, digits)| is_number(digits)) {
        let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let ip = match bracketed {
            Some(v6) => v6.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            None => host.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        };
        match ip {
            Some(ip) if is_loopback(&SocketAddr::new(ip, 0)) => {
                return port(digits, span, found).map(|port| Listen::Address(ip.to_canonical(), port));
            }
            Some(_) => {
                found.push(exposed(host, span));
                return None;
            }
            None if host == "localhost" => return port(digits, span, found).map(Listen::Localhost),
            None if host == "*" || host.is_empty() => {
                found.push(exposed("*", span));
                return None;
            }
            None => {}
        }
    }
    let message = format!("{} is not a listen address", quote(written));
    let wrong = Diagnostic::new(
        codes::INVALID_LISTEN,
        span.clone(),
        message,
        "expected a port, or an address and a port",
    );
    let v6 = written
        .rsplit_once(':')
        .filter(|(host, digits)| host.parse::<Ipv6Addr>().is_ok() && is_number(digits));
    found.push(match v6 {
        Some((host, digits)) => {
            wrong.help(format!("an IPv6 address goes into brackets: `[{host}]:{digits}`"))
        }
        None => wrong.help(
            "it looks like `5432`, `127.0.0.1:5432`, `[::1]:5432` or `localhost:5432`; 0 takes any free port",
        ),
    });
    None
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn port(digits: &str, span: Range<usize>, found: &mut Found) -> Option<u16> {
    let port = digits.parse().ok();
    if port.is_none() {
        found.push(port_range(digits, span, "0 to 65535, where 0 takes any free one"));
    }
    port
}

/// Whoever can reach the machine could use the tunnel: that needs the file's `expose` and the user's grant.
fn exposed(written: &str, span: Range<usize>) -> Diagnostic {
    Diagnostic::new(
        codes::NOT_SUPPORTED_YET,
        span,
        format!("listening on {} is not supported yet", quote(written)),
        "other machines could use the tunnel",
    )
    .help("use `localhost` or a loopback address; more will need `expose = true` and your grant")
}

/// The addresses that are taken, and by whom.
#[derive(Debug, Default)]
pub(super) struct Taken(BTreeMap<SocketAddr, (String, Range<usize>)>);

impl Taken {
    /// Notes what a tunnel owns, or says who owned it before.
    pub(super) fn claim(&mut self, name: &str, listen: &Listen, span: Range<usize>, found: &mut Found) {
        let (ips, port) = match *listen {
            Listen::Localhost(port) => (vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()], port),
            Listen::Address(ip, port) => (vec![ip], port),
        };
        // Zero is a free port each time.
        if port == 0 {
            return;
        }
        let addresses: Vec<SocketAddr> = ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect();
        let clash = addresses.iter().find_map(|address| Some((address, self.0.get(address)?)));
        if let Some((address, (owner, first))) = clash {
            let message = format!("tunnels {} and {} both listen on {address}", quote(owner), quote(name));
            let clash = Diagnostic::new(codes::DUPLICATE_LISTEN_ADDRESS, span.clone(), message, "second use")
                .also(first.clone(), "first use");
            found.push(clash.help("give one of them another port"));
        }
        for address in addresses {
            self.0.entry(address).or_insert_with(|| (name.to_owned(), span.clone()));
        }
    }
}
