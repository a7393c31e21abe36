//! Ports that nobody is given by chance.

use std::ops::RangeInclusive;

/// Above the well-known ones, and below those that systems give to outgoing connections.
const USUAL: RangeInclusive<u16> = 20_000..=29_999;
/// The lowest and the highest that are considered.
const ALL: RangeInclusive<u16> = 10_000..=65_535;
/// Fewer than this would be in each other's way.
const ENOUGH: u16 = 1_000;

/// Ports to choose from for something that is to stay where it is: the system gives them to no outgoing connection.
pub fn quiet_ports() -> RangeInclusive<u16> {
    ephemeral().map_or(USUAL, |ephemeral| beside(&ephemeral))
}

/// Those that the system gives to outgoing connections: an administrator may have changed them.
#[cfg(target_os = "linux")]
fn ephemeral() -> Option<RangeInclusive<u16>> {
    let set = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut ends = set.split_ascii_whitespace().map(|end| end.parse().ok());
    Some(ends.next()??..=ends.next()??)
}

/// The others give 49152 to 65535.
#[cfg(not(target_os = "linux"))]
fn ephemeral() -> Option<RangeInclusive<u16>> {
    None
}

fn beside(ephemeral: &RangeInclusive<u16>) -> RangeInclusive<u16> {
    if ephemeral.end() < USUAL.start() || ephemeral.start() > USUAL.end() {
        return USUAL;
    }
    let below = *ALL.start()..=ephemeral.start().saturating_sub(1);
    let above = ephemeral.end().saturating_add(1)..=*ALL.end();
    let longer = if below.len() >= above.len() { below } else { above };
    // Where it gives nearly all of them, one that is taken has to be stepped over.
    if longer.len() >= usize::from(ENOUGH) { longer } else { USUAL }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_beside_those_of_outgoing_connections() {
        assert_eq!(beside(&(32_768..=60_999)), USUAL);
        assert_eq!(beside(&(15_000..=61_000)), 10_000..=14_999);
        assert_eq!(beside(&(1_024..=40_000)), 40_001..=65_535);
        assert_eq!(beside(&(1_024..=65_535)), USUAL);
        assert!(quiet_ports().len() >= usize::from(ENOUGH));
    }
}
