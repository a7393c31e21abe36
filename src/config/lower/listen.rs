//! Listen addresses: what they may look like, and that no two tunnels share one.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;

use super::{Found, given};
use crate::config::codes;
use crate::config::diagnostic::{Diagnostic, quote};
use crate::config::reader::Text;
use crate::config::shapes::Defaults;
use crate::model::Listen;

use super::values::port_range;

/// The addresses on which a bare port listens.
#[derive(Clone, Debug, Default)]
pub(super) struct Host {
    /// One; none: both loopback addresses.
    address: Option<IpAddr>,
    /// Where `listen_host` stands.
    at: Option<Range<usize>>,
}

/// A listen address as it was written.
#[derive(Debug)]
pub(super) struct Place {
    listen: Listen,
    /// Whether its port is ours to choose.
    pub(super) auto: bool,
    pub(super) span: Range<usize>,
    /// Where the address itself stands, if it came from `listen_host`.
    host_at: Option<Range<usize>>,
}

/// `port_offset` or `worktree_offset`, and where it stands.
pub(super) type Offset = (i64, Range<usize>);

/// What is added to a port.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offsets<'a> {
    /// `port_offset`.
    pub(super) port: Option<&'a Offset>,
    /// `worktree_offset`, and the number of the worktree: how often that is added.
    pub(super) worktree: Option<(&'a Offset, u16)>,
}

/// What a tunnel says about being reached from other machines.
#[derive(Debug)]
pub(super) enum Exposed {
    /// `expose = true`, or something in its place that was refused.
    Allowed,
    /// Nothing, or `false`.
    Unsaid,
    /// Nothing, and as it stands there is no room for it: this is how it would be written.
    NoRoom(String),
}

impl Host {
    /// Reads `defaults.listen_host`.
    pub(super) fn read(defaults: &Defaults, found: &mut Found) -> Self {
        let Some(text) = given(defaults.listen_host.as_ref()) else { return Self::default() };
        let written = text.value.as_str();
        if written == "localhost" {
            return Self::default();
        }
        let bare = written.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(written);
        match bare.parse::<IpAddr>() {
            Ok(ip) if is_one_machine(ip) => {
                return Self { address: Some(ip.to_canonical()), at: Some(text.span.clone()) };
            }
            Ok(_) => found.push(not_a_machine(written, text.span.clone())),
            Err(_) if written == "*" => found.push(star("\"0.0.0.0\"", "\"::\"", text.span.clone())),
            Err(_) => found.push(
                Diagnostic::new(
                    codes::INVALID_LISTEN,
                    text.span.clone(),
                    format!("{} is not an address to listen on", quote(written)),
                    "expected \"localhost\" or an address of this machine",
                )
                .help("`\"localhost\"` is both 127.0.0.1 and ::1"),
            ),
        }
        Self::default()
    }

    /// One port on this host.
    pub(super) fn port(&self, port: u16, span: Range<usize>) -> Place {
        let listen = self.address.map_or(Listen::Localhost(port), |ip| Listen::Address(ip, port));
        Place { listen, auto: false, span, host_at: self.at.clone() }
    }

    /// A port on this host that is ours to choose.
    pub(super) fn auto(&self, span: Range<usize>) -> Place {
        Place { auto: true, ..self.port(0, span) }
    }
}

/// Reads a listen address out of a part of a string.
pub(super) fn parse(text: &Text, part: Range<usize>, host: &Host, found: &mut Found) -> Option<Place> {
    let written = text.value.get(part.clone()).unwrap_or_default();
    let span = if part.len() == text.value.len() { text.span.clone() } else { text.part(part) };
    if is_number(written) {
        return port(written, span.clone(), found).map(|port| host.port(port, span));
    }
    if written == "auto" {
        return Some(host.auto(span));
    }
    if written.starts_with("unix:") {
        let message = "`unix:` as a listen address is not supported yet";
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
        let listen: Option<fn(IpAddr, u16) -> Listen> = match ip {
            Some(ip) if is_one_machine(ip) => Some(|ip, port| Listen::Address(ip.to_canonical(), port)),
            Some(_) => {
                found.push(not_a_machine(host, span));
                return None;
            }
            None if host == "*" || host.is_empty() => {
                let (v4, v6) = (format!("0.0.0.0:{digits}"), format!("[::]:{digits}"));
                found.push(star(&v4, &v6, span));
                return None;
            }
            None if host == "localhost" => Some(|_, port| Listen::Localhost(port)),
            None => None,
        };
        if let Some(listen) = listen {
            let ip = ip.unwrap_or(Ipv4Addr::LOCALHOST.into());
            return port(digits, span.clone(), found).map(|port| Place {
                listen: listen(ip, port),
                auto: false,
                span,
                host_at: None,
            });
        }
    }
    found.push(no_address(written, span));
    None
}

fn no_address(written: &str, span: Range<usize>) -> Diagnostic {
    let message = format!("{} is not a listen address", quote(written));
    let label = "expected a port, or an address and a port";
    let wrong = Diagnostic::new(codes::INVALID_LISTEN, span, message, label);
    let v6 = written
        .rsplit_once(':')
        .filter(|(host, digits)| host.parse::<Ipv6Addr>().is_ok() && is_number(digits));
    match v6 {
        Some((host, digits)) => {
            wrong.help(format!("an IPv6 address goes into brackets: `[{host}]:{digits}`"))
        }
        None => wrong.help(
            "it looks like `5432`, `127.0.0.1:5432`, `[::1]:5432` or `localhost:5432`; 0 takes any free port, `auto` one that \
             stays the same",
        ),
    }
}

impl Place {
    /// The address with the offset added, once it is known that it may be listened on.
    pub(super) fn settle(
        &self,
        exposed: &Exposed,
        offsets: Offsets<'_>,
        found: &mut Found,
    ) -> Option<Listen> {
        if !self.listen.is_loopback() {
            self.check_exposed(exposed, found);
        }
        if self.listen.port() == 0 {
            return Some(self.listen);
        }
        let Offsets { port, worktree } = offsets;
        let worktree = worktree.map(|((by, at), number)| (by * i64::from(number), at, number));
        let sum = i64::from(self.listen.port())
            + port.map_or(0, |(by, _)| *by)
            + worktree.as_ref().map_or(0, |(by, ..)| *by);
        match u16::try_from(sum) {
            Ok(port) if port != 0 => Some(self.listen.at(port)),
            Ok(_) | Err(_) => {
                let with = match (port, &worktree) {
                    (Some(_), None) => "with `port_offset`".to_owned(),
                    (_, Some((.., number))) => format!("in the git worktree with the number {number}"),
                    (None, None) => String::new(),
                };
                let message = format!("{with} this is port {sum}, which is out of range");
                let label = "ports here are 1 to 65535";
                let mut wrong = Diagnostic::new(codes::PORT_OUT_OF_RANGE, self.span.clone(), message, label);
                if let Some((_, at)) = port {
                    wrong = wrong.also(at.clone(), "added to it");
                }
                if let Some((_, at, number)) = worktree {
                    let times = if number == 1 { "once".to_owned() } else { format!("{number} times") };
                    wrong = wrong.also(at.clone(), format!("added to it {times}"));
                }
                found.push(wrong);
                None
            }
        }
    }

    /// Whoever can reach the machine could use the tunnel: that has to be said.
    fn check_exposed(&self, exposed: &Exposed, found: &mut Found) {
        let way_out = match exposed {
            Exposed::Allowed => return,
            Exposed::Unsaid => "if that is meant, add `expose = true` to the tunnel".to_owned(),
            Exposed::NoRoom(long) => format!("if that is meant, write the tunnel as a table: {long}"),
        };
        let address = match self.listen {
            Listen::Address(ip, _) => ip.to_string(),
            Listen::Localhost(_) => return,
        };
        let message = format!("listening on {address} needs `expose = true`");
        let label = "other machines could use the tunnel";
        let wrong = Diagnostic::new(codes::EXPOSE, self.span.clone(), message, label);
        let wrong = match &self.host_at {
            Some(at) => wrong.also(at.clone(), "the address is from here"),
            None => wrong,
        };
        found.push(wrong.help(format!("{way_out}; if not, use `localhost` or a loopback address")));
    }
}

/// Whether a machine can have this address, or all of its addresses be meant.
fn is_one_machine(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    !ip.is_multicast() && ip != IpAddr::V4(Ipv4Addr::BROADCAST)
}

fn not_a_machine(written: &str, span: Range<usize>) -> Diagnostic {
    let message = format!("{} is not an address to listen on", quote(written));
    Diagnostic::new(codes::INVALID_LISTEN, span, message, "no machine has it: it stands for several")
}

/// The star of other programs: which family it means differs among them, so it is not read.
fn star(v4: &str, v6: &str, span: Range<usize>) -> Diagnostic {
    let label = "which addresses are meant?";
    Diagnostic::new(codes::INVALID_LISTEN, span, "`*` is not an address to listen on", label).help(format!(
        "every IPv4 address of this machine is `{v4}`, every IPv6 address `{v6}`; both need `expose = true` in the tunnel"
    ))
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

/// The addresses that are taken, and by whom.
#[derive(Debug, Default)]
pub(super) struct Taken(BTreeMap<(u16, IpAddr), (String, Range<usize>)>);

impl Taken {
    /// Notes what a tunnel owns, or says who owned it before.
    pub(super) fn claim(&mut self, name: &str, listen: Listen, span: &Range<usize>, found: &mut Found) {
        // Zero is a free port each time.
        if listen.port() == 0 {
            return;
        }
        let addresses = listen.addresses(true);
        if let Some((address, other)) =
            addresses.iter().find_map(|address| Some((address, self.rival(address)?)))
        {
            let (owner, first) = self.0.get(&(other.port(), other.ip())).cloned().unwrap_or_default();
            let (owner, name) = (quote(&owner), quote(name));
            let (message, way_out) = if *address == other {
                (
                    format!("tunnels {owner} and {name} both listen on {address}"),
                    "give one of them another port",
                )
            } else {
                (
                    format!("tunnels {owner} and {name} cannot listen on both {other} and {address}"),
                    "give one of them another port: 0.0.0.0 and [::] take every address of theirs",
                )
            };
            let clash = Diagnostic::new(codes::DUPLICATE_LISTEN_ADDRESS, span.clone(), message, "second use")
                .also(first, "first use");
            found.push(clash.help(way_out));
        }
        for address in addresses {
            let owner = || (name.to_owned(), span.clone());
            self.0.entry((address.port(), address.ip())).or_insert_with(owner);
        }
    }

    /// An address that is taken and [overlaps](crate::model::overlap) this one.
    fn rival(&self, address: &SocketAddr) -> Option<SocketAddr> {
        // Asked for in particular, so that ten thousand tunnels are not compared with each other.
        let (port, ip) = (address.port(), address.ip());
        let wildcards = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        let of_port = || {
            let lowest = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
            let mut range = self.0.range((port, lowest)..).take_while(|((other, _), _)| *other == port);
            range.next().filter(|_| ip.is_unspecified()).map(|((_, ip), _)| *ip)
        };
        let named = || [ip].into_iter().chain(wildcards).find(|ip| self.0.contains_key(&(port, *ip)));
        named().or_else(of_port).map(|ip| SocketAddr::new(ip, port))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::overlap;

    fn listen() -> impl Strategy<Value = Listen> {
        let ips = ["127.0.0.1", "127.0.0.2", "0.0.0.0", "::", "::1", "192.168.1.5", "fe80::1"];
        let ip = proptest::sample::select(ips.map(|ip| ip.parse::<IpAddr>().unwrap()).to_vec());
        let port = || 0..3_u16;
        prop_oneof![
            port().prop_map(Listen::Localhost),
            (ip, port()).prop_map(|(ip, port)| Listen::Address(ip, port)),
        ]
    }

    proptest! {
        #[test]
        fn what_overlaps_clashes_and_nothing_else(all in prop::collection::vec(listen(), 0..6)) {
            let mut taken = Taken::default();
            let mut owned: Vec<SocketAddr> = Vec::new();
            for listen in all {
                let mut found = Vec::new();
                taken.claim("x", listen, &(0..0), &mut found);
                let addresses = listen.addresses(true);
                let clash = addresses.iter().any(|one| owned.iter().any(|other| overlap(one, other)));
                prop_assert_eq!(!found.is_empty(), clash, "{} beside {:?}", listen, owned);
                owned.extend(addresses);
            }
        }
    }
}
