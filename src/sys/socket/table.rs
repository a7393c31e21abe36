//! Linux's table of TCP connections, asked about one of this machine's own.

use std::net::{IpAddr, SocketAddr};

use super::diag::{self, Found};

/// Whether the connection's end at `end` still exists while no program has it open. An end that is not in the table
/// belongs to another machine or network namespace (nothing is known of it), or is gone for good.
pub(super) async fn has_no_owner(end: SocketAddr, other: SocketAddr) -> bool {
    match diag::look_up(end, other) {
        Ok(Found::Owned(owned)) => !owned,
        Ok(Found::Nowhere) => false,
        Ok(Found::Unknown) | Err(_) => listed_without_owner(end, other).await,
    }
}

/// The same from the table as text.
async fn listed_without_owner(end: SocketAddr, other: SocketAddr) -> bool {
    let path = if end.is_ipv4() { "/proc/net/tcp" } else { "/proc/net/tcp6" };
    let Ok(table) = tokio::fs::read_to_string(path).await else { return false };
    let (end, other) = (notation(end), notation(other));
    table.lines().skip(1).any(|line| {
        let mut columns = line.split_ascii_whitespace();
        columns.nth(1) == Some(&end) && columns.next() == Some(&other) && columns.nth(6) == Some("0")
    })
}

/// How many bytes wait at one end of a connection to be sent and acknowledged, and at the other to be read. `None`: the
/// table tells of neither.
pub(super) async fn under_way(from: SocketAddr, to: SocketAddr) -> Option<u64> {
    let path = if from.is_ipv4() { "/proc/net/tcp" } else { "/proc/net/tcp6" };
    let table = tokio::fs::read_to_string(path).await.ok()?;
    let (from, to) = (notation(from), notation(to));
    let mut sum = None;
    for line in table.lines().skip(1) {
        let columns: Vec<&str> = line.split_ascii_whitespace().take(5).collect();
        let [_, end, other, _, queues] = columns.as_slice() else { continue };
        let Some((sending, receiving)) = queues.split_once(':') else { continue };
        let bytes = if (*end, *other) == (from.as_str(), to.as_str()) {
            sending
        } else if (*end, *other) == (to.as_str(), from.as_str()) {
            receiving
        } else {
            continue;
        };
        sum = Some(sum.unwrap_or(0) + u64::from_str_radix(bytes, 16).unwrap_or(0));
    }
    sum
}

/// An address as the table writes it: the words of the address in the machine's own byte order.
fn notation(address: SocketAddr) -> String {
    let octets = match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let words = octets.chunks_exact(4).filter_map(|word| <[u8; 4]>::try_from(word).ok());
    let words: String = words.map(|word| format!("{:08X}", u32::from_ne_bytes(word))).collect();
    format!("{words}:{:04X}", address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn addresses_are_written_as_the_kernel_writes_them() {
        assert_eq!(notation("127.0.0.1:8080".parse().unwrap()), "0100007F:1F90");
        assert_eq!(notation("[::1]:22".parse().unwrap()), "00000000000000000000000001000000:0016");
    }
}
