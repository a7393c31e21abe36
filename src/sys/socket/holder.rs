//! Linux: which program has a local address, or the other end of a local connection.
//!
//! The table of connections names the socket and its user; whose open file that is, is found among the processes that
//! this user may look into. That takes milliseconds: it is asked when somebody wants to know, never for a connection.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use super::{Holder, Process};

/// The state of a socket that listens, as the table writes it.
const LISTENS: &str = "0A";

/// One line of the table.
struct Socket {
    local: SocketAddr,
    remote: SocketAddr,
    listens: bool,
    user: u32,
    inode: u64,
}

/// Who has each of these addresses, where that can be known.
pub(super) fn of_addresses(addresses: &[SocketAddr]) -> BTreeMap<SocketAddr, Holder> {
    let table = table();
    let in_the_way = |address: &SocketAddr| {
        let all = table.iter().filter(|socket| socket.inode != 0 && takes(&socket.local, address));
        // Whoever listens there, before whoever happens to have it as its own end.
        all.max_by_key(|socket| socket.listens)
    };
    let found: Vec<_> = addresses.iter().filter_map(|at| Some((*at, in_the_way(at)?))).collect();
    let processes = processes(&found.iter().map(|(_, socket)| socket.inode).collect());
    let us = rustix::process::geteuid().as_raw();
    let holder = |(address, socket): (SocketAddr, &Socket)| {
        let holder = match processes.get(&socket.inode) {
            Some(process) => Holder::Process { process: process.clone(), listens: socket.listens },
            None if socket.user != us => Holder::User(user_name(socket.user)),
            None => return None,
        };
        Some((address, holder))
    };
    found.into_iter().filter_map(holder).collect()
}

/// Who has the other ends of these connections: ours and theirs, as we see them.
pub(super) fn of_peers(connections: &[(SocketAddr, SocketAddr)]) -> BTreeMap<SocketAddr, Process> {
    let ends: BTreeSet<(SocketAddr, SocketAddr)> =
        connections.iter().map(|(ours, theirs)| (canonical(*theirs), canonical(*ours))).collect();
    let theirs = |socket: &Socket| socket.inode != 0 && ends.contains(&(socket.local, socket.remote));
    let found: Vec<(SocketAddr, u64)> =
        table().iter().filter(|socket| theirs(socket)).map(|socket| (socket.local, socket.inode)).collect();
    let processes = processes(&found.iter().map(|(_, inode)| *inode).collect());
    found.into_iter().filter_map(|(end, inode)| Some((end, processes.get(&inode)?.clone()))).collect()
}

/// Whether who has the one address keeps others from the other.
fn takes(one: &SocketAddr, other: &SocketAddr) -> bool {
    let (ip, wanted) = (one.ip(), other.ip().to_canonical());
    // `[::]` takes IPv4 too, unless it was told not to; it is the likeliest all the same.
    let wide = |wide: IpAddr, narrow: IpAddr| wide.is_unspecified() && (wide.is_ipv6() || narrow.is_ipv4());
    one.port() == other.port() && (ip == wanted || wide(ip, wanted) || wide(wanted, ip))
}

/// All TCP sockets of this network namespace.
fn table() -> Vec<Socket> {
    let texts =
        ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| std::fs::read_to_string(path).unwrap_or_default());
    texts.iter().flat_map(|text| text.lines().skip(1).filter_map(socket)).collect()
}

fn socket(line: &str) -> Option<Socket> {
    let mut columns = line.split_ascii_whitespace().skip(1);
    let (local, remote) = (address(columns.next()?)?, address(columns.next()?)?);
    let listens = columns.next()? == LISTENS;
    let user = columns.nth(3)?.parse().ok()?;
    let inode = columns.nth(1)?.parse().ok()?;
    Some(Socket { local, remote, listens, user, inode })
}

/// An address as the table writes it; one of IPv4 in a socket of IPv6 is that of IPv4.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| {
        let word = u32::from_str_radix(ip.get(at * 8..at * 8 + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    let ip: IpAddr = match ip.len() {
        8 => word(0)?.into(),
        32 => {
            let mut octets = [0; 16];
            for (at, four) in octets.chunks_exact_mut(4).enumerate() {
                four.copy_from_slice(&word(at)?);
            }
            octets.into()
        }
        _ => return None,
    };
    Some(canonical(SocketAddr::new(ip, port)))
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// The processes that have these sockets open, as far as this user may see. Of several, the one that was there first.
fn processes(inodes: &BTreeSet<u64>) -> BTreeMap<u64, Process> {
    let mut found = BTreeMap::new();
    let Ok(all) = Path::new("/proc").read_dir() else { return found };
    let ids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let ids: BTreeSet<u32> = if inodes.is_empty() { BTreeSet::new() } else { ids.collect() };
    for id in ids {
        if inodes.iter().all(|inode| found.contains_key(inode)) {
            break;
        }
        let place = Path::new("/proc").join(id.to_string());
        // Another user's, or it has just ended.
        let Ok(files) = place.join("fd").read_dir() else { continue };
        for file in files.flatten() {
            let inode = file.path().read_link().ok().and_then(|link| socket_number(link.to_str()?));
            if let Some(inode) = inode.filter(|inode| inodes.contains(inode)) {
                found.entry(inode).or_insert_with(|| {
                    let name = std::fs::read_to_string(place.join("comm")).unwrap_or_default();
                    Process { id, name: name.trim_end().to_owned() }
                });
            }
        }
    }
    found
}

fn socket_number(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// A user's name, or the number when it has none here.
fn user_name(id: u32) -> String {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let number = id.to_string();
    let is_it = |line: &&str| line.split(':').nth(2) == Some(&number);
    let name = users.lines().find(is_it).and_then(|line| line.split(':').next());
    name.map_or(number.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn is_us(process: &Process) -> bool {
        process.id == std::process::id() && !process.name.is_empty()
    }

    #[test]
    fn whoever_listens_is_found_by_every_address_that_it_takes() {
        let one = TcpListener::bind("127.0.0.1:0").unwrap();
        let all = TcpListener::bind("0.0.0.0:0").unwrap();
        let (one, all) = (one.local_addr().unwrap(), all.local_addr().unwrap());
        let under_all = SocketAddr::from(([127, 0, 0, 1], all.port()));
        let over_one = SocketAddr::from(([0, 0, 0, 0], one.port()));
        let free = SocketAddr::from(([127, 0, 0, 9], one.port()));
        let found = of_addresses(&[one, under_all, over_one, free]);
        assert_eq!(found.keys().copied().collect::<BTreeSet<_>>(), [one, under_all, over_one].into());
        for holder in found.values() {
            assert!(
                matches!(holder, Holder::Process { process, listens: true } if is_us(process)),
                "{holder:?}"
            );
        }
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn an_address_of_ipv4_is_one_in_either_table() {
        let mapped = address("0000000000000000FFFF00000100007F:1F90");
        assert_eq!(mapped, Some("127.0.0.1:8080".parse().unwrap()));
        assert_eq!(address("0100007F:1F90"), mapped);
        let ipv6 = address("00000000000000000000000001000000:0016");
        assert_eq!(ipv6, Some("[::1]:22".parse().unwrap()));
    }

    #[test]
    fn the_program_at_the_other_end_is_found_also_when_its_socket_is_of_ipv6() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let _client = TcpStream::connect(at).unwrap();
        let (server, theirs) = listener.accept().unwrap();
        let found = of_peers(&[(server.local_addr().unwrap(), theirs)]);
        assert!(found.get(&theirs).is_some_and(is_us), "{found:?}");
    }

    #[test]
    fn what_is_no_line_of_the_table_is_passed_over() {
        assert!(socket("").is_none());
        assert!(socket("0: 0100007F:1F90 00000000:0000 0A").is_none());
        assert!(
            address("0100007F").is_none() && address("01:02").is_none() && address("ä100007:1").is_none()
        );
        assert_eq!(socket_number("socket:[12]"), Some(12));
        assert_eq!(socket_number("/dev/null"), None);
    }

    #[test]
    fn users_have_names_where_the_system_has_them() {
        assert_eq!(user_name(0), "root");
        assert_eq!(user_name(4_000_000_000), "4000000000");
    }
}
