//! Linux's socket diagnostics (`sock_diag(7)`), asked about one connection: the kernel looks it up by its addresses.
//! Reading the whole table takes milliseconds where there are thousands of connections or the table is large.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

const AF_NETLINK: i32 = 16;
const SOCK_DIAG: i32 = 4;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const REQUEST: u16 = 1;
const ERROR: u16 = 2;
const NOT_FOUND: i32 = -2;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const TCP: u8 = 6;

/// What the kernel says of a connection's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It exists; whether a program has it open.
    Owned(bool),
    /// It is in no table.
    Nowhere,
    /// The kernel cannot be asked this way.
    Unknown,
}

/// Looks a connection up by its end here and its other end.
///
/// # Errors
/// When the kernel offers no such socket, as in some containers.
pub(super) fn look_up(end: SocketAddr, other: SocketAddr) -> io::Result<Found> {
    let mut socket = Socket::new(Domain::from(AF_NETLINK), Type::DGRAM, Some(Protocol::from(SOCK_DIAG)))?;
    // The answer is there when the question has been sent; what is not there will not come.
    socket.set_nonblocking(true)?;
    socket.write_all(&question(end, other))?;
    let mut answer = [0; 1024];
    let length = socket.read(&mut answer)?;
    Ok(read(answer.get(..length).unwrap_or_default()))
}

/// `nlmsghdr` and `inet_diag_req_v2`.
fn question(end: SocketAddr, other: SocketAddr) -> Vec<u8> {
    let family = if end.is_ipv4() { AF_INET } else { AF_INET6 };
    let mut bytes = Vec::with_capacity(72);
    bytes.extend(72_u32.to_ne_bytes());
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend(REQUEST.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([family, TCP, 0, 0]);
    // Any state.
    bytes.extend([0xff; 4]);
    bytes.extend(end.port().to_be_bytes());
    bytes.extend(other.port().to_be_bytes());
    bytes.extend(address(end.ip()));
    bytes.extend(address(other.ip()));
    // Any interface, and no cookie.
    bytes.extend([0; 4]);
    bytes.extend([0xff; 8]);
    bytes
}

fn address(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        }
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// `nlmsghdr`, and an error's number or an `inet_diag_msg`.
fn read(answer: &[u8]) -> Found {
    let four = |at: usize| answer.get(at..)?.first_chunk::<4>().copied();
    let kind = answer.get(4..).and_then(|rest| rest.first_chunk::<2>()).map(|kind| u16::from_ne_bytes(*kind));
    match kind {
        Some(ERROR) if four(16).map(i32::from_ne_bytes) == Some(NOT_FOUND) => Found::Nowhere,
        // The number of the open file is the last field; a connection that nobody has open has none.
        Some(SOCK_DIAG_BY_FAMILY) => four(84).map_or(Found::Unknown, |inode| Found::Owned(inode != [0; 4])),
        Some(_) | None => Found::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn the_kernel_knows_a_connection_and_whether_it_is_open() {
        for host in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(host) else { continue };
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (server, theirs) = listener.accept().unwrap();
            let ours = server.local_addr().unwrap();
            let found = look_up(theirs, ours).unwrap_or(Found::Unknown);
            if found == Found::Unknown {
                eprintln!("SKIPPED: this kernel has no socket diagnostics");
                return;
            }
            assert_eq!(found, Found::Owned(true), "{host}");
            drop(client);
            assert_eq!(look_up(theirs, ours).unwrap(), Found::Owned(false), "{host}");
            drop(listener);
            let nobody = SocketAddr::new(ours.ip(), 1);
            assert_eq!(look_up(nobody, ours).unwrap(), Found::Nowhere, "{host}");
        }
    }

    #[test]
    fn what_is_no_answer_is_unknown() {
        assert_eq!(read(&[]), Found::Unknown);
        assert_eq!(read(&[0; 16]), Found::Unknown);
        assert_eq!(read(&[1; 200]), Found::Unknown);
        let mut refused = [0; 36];
        refused[4..6].copy_from_slice(&ERROR.to_ne_bytes());
        refused[16..20].copy_from_slice(&(-1_i32).to_ne_bytes());
        assert_eq!(read(&refused), Found::Unknown);
    }
}
