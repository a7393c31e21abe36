//! Who has a claim to which address, found by overlap without looking at all of them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::model::overlap;

/// Addresses, each with one claimant. Port by port, so that a wildcard finds all that it overlaps.
#[derive(Debug)]
pub(super) struct Claims<T>(BTreeMap<(u16, IpAddr), T>);

impl<T: Copy> Claims<T> {
    /// No claims.
    pub(super) fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Adds a claim; the first one to an address stands.
    pub(super) fn add(&mut self, address: SocketAddr, claimant: T) {
        self.0.entry((address.port(), address.ip())).or_insert(claimant);
    }

    /// Who has the claim to exactly this address.
    pub(super) fn to(&self, address: &SocketAddr) -> Option<T> {
        self.0.get(&(address.port(), address.ip())).copied()
    }

    /// All who claim an address that overlaps this one, see [`overlap`].
    pub(super) fn overlapping(&self, address: &SocketAddr) -> impl Iterator<Item = T> {
        let (port, ip) = (address.port(), address.ip());
        let (everything, itself) = if ip.is_unspecified() {
            (Some(self.0.range((port, LOWEST)..=(port, HIGHEST))), Vec::new())
        } else {
            (None, vec![ip, IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)])
        };
        let itself = itself.into_iter().filter_map(move |ip| self.0.get_key_value(&(port, ip)));
        let near = everything.into_iter().flatten().chain(itself);
        let address = *address;
        near.filter(move |((port, ip), _)| overlap(&SocketAddr::new(*ip, *port), &address))
            .map(|(_, claimant)| *claimant)
    }
}

const LOWEST: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const HIGHEST: IpAddr =
    IpAddr::V6(Ipv6Addr::new(u16::MAX, u16::MAX, u16::MAX, u16::MAX, u16::MAX, u16::MAX, u16::MAX, u16::MAX));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_is_what_overlaps() {
        let ips = ["127.0.0.1", "::1", "0.0.0.0", "::", "10.0.0.4", "ffff::", "0.0.0.1"];
        let addresses: Vec<SocketAddr> = ips
            .iter()
            .flat_map(|ip| [0, 80, 81].map(|port| SocketAddr::new(ip.parse().unwrap(), port)))
            .collect();
        let mut claims = Claims::new();
        for address in &addresses {
            claims.add(*address, *address);
        }
        for address in &addresses {
            let mut found: Vec<_> = claims.overlapping(address).collect();
            let mut expected: Vec<_> =
                addresses.iter().copied().filter(|other| overlap(address, other)).collect();
            found.sort();
            expected.sort();
            assert_eq!(found, expected, "{address}");
        }
    }
}
