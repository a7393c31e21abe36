//! What std and tokio do not offer on a TCP socket.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

#[cfg(target_os = "linux")]
mod diag;
#[cfg(target_os = "linux")]
mod holder;
#[cfg(target_os = "linux")]
mod table;

mod privileged;
mod quiet;

pub use privileged::{is_privileged, privilege_remedy};
pub use quiet::quiet_ports;

/// A program that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub id: u32,
    /// Its name, as the system has it: anything may stand there.
    pub name: String,
}

/// Who has a local address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A program of this user, or one that this user may look into.
    Process {
        /// Which.
        process: Process,
        /// Whether it listens there; otherwise it is its end of a connection to elsewhere.
        listens: bool,
    },
    /// A program of another user, whose name or number this is. Which program is not for this user to see.
    User(String),
}

/// How much the kernel takes beyond what the other end lets it send: what stands behind more than this, a ping for
/// one, has not left.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 256 * 1024;
/// TCP keepalive: when a connection has been silent for this long, the kernel asks the peer.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);

/// Sets up a connection to a gateway: no delay, keepalive, and little unsent.
///
/// # Errors
/// What the kernel said.
pub fn prepare_outgoing(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(
        &TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(Duration::from_secs(15)),
    )?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_notsent_lowat(UNSENT)?;
    Ok(())
}

/// Whether this machine has `::1`. Systems without it say so in several ways.
pub fn has_ipv6_loopback() -> bool {
    std::net::TcpListener::bind((std::net::Ipv6Addr::LOCALHOST, 0)).is_ok()
}

/// Who has each of these local addresses, where the system tells. It reads much: not for the runtime's own threads.
#[cfg(target_os = "linux")]
pub fn holders(addresses: &[SocketAddr]) -> BTreeMap<SocketAddr, Holder> {
    holder::of_addresses(addresses)
}

/// Here the system does not tell without calls that std has not.
#[cfg(not(target_os = "linux"))]
pub fn holders(_addresses: &[SocketAddr]) -> BTreeMap<SocketAddr, Holder> {
    BTreeMap::new()
}

/// The programs at the other ends of local connections, by their address there, where the system tells. Each connection is
/// given by its end here and its other end. It reads much: not for the runtime's own threads.
#[cfg(target_os = "linux")]
pub fn peers(connections: &[(SocketAddr, SocketAddr)]) -> BTreeMap<SocketAddr, Process> {
    holder::of_peers(connections)
}

/// Here the system does not tell without calls that std has not.
#[cfg(not(target_os = "linux"))]
pub fn peers(_connections: &[(SocketAddr, SocketAddr)]) -> BTreeMap<SocketAddr, Process> {
    BTreeMap::new()
}

/// What a person types to see who has a port, with the rights that this takes.
#[cfg(target_os = "linux")]
pub fn who_has(port: u16) -> String {
    format!("sudo ss -tanp 'sport = :{port}'")
}

/// What a person types to see who has a port, with the rights that this takes.
#[cfg(all(unix, not(target_os = "linux")))]
pub fn who_has(port: u16) -> String {
    format!("sudo lsof -nP -iTCP:{port}")
}

/// What a person types to see who has a port, in PowerShell.
#[cfg(windows)]
pub fn who_has(port: u16) -> String {
    format!("Get-Process -Id (Get-NetTCPConnection -LocalPort {port}).OwningProcess")
}

/// Sets up an accepted local connection.
///
/// # Errors
/// What the kernel said.
pub fn prepare_accepted(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)
}

/// Waits until the kernel has handed everything written so far to the network.
///
/// A reset throws away what the kernel has not sent yet, so it is asked before one. Cancel-safe.
///
/// # Errors
/// What the kernel said; the connection is then of no use anyway.
#[cfg(target_os = "linux")]
pub async fn sent(stream: &TcpStream) -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    // With this mark, Linux calls a socket writable only while nothing waits to be sent.
    SockRef::from(stream).set_tcp_notsent_lowat(1)?;
    loop {
        stream.writable().await?;
        let asked = stream.try_io(tokio::io::Interest::WRITABLE, || {
            let mut fds = [PollFd::new(stream, PollFlags::OUT)];
            match poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? {
                0 => Err(io::ErrorKind::WouldBlock.into()),
                _ => Ok(()),
            }
        });
        match asked {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            answer => return answer,
        }
    }
}

/// Gives the kernel a moment to hand what was written to the network: these systems cannot be asked.
///
/// # Errors
/// None here; the signature is that of the systems that can be asked.
#[cfg(not(target_os = "linux"))]
pub async fn sent(_stream: &TcpStream) -> io::Result<()> {
    tokio::time::sleep(Duration::from_millis(250)).await;
    Ok(())
}

/// How many of the bytes written so far the program at the other end of a local connection has not read yet. `None`
/// where the system cannot be asked.
#[cfg(target_os = "linux")]
pub async fn unread(stream: &TcpStream) -> Option<u64> {
    let (ours, theirs) = (stream.local_addr().ok()?, stream.peer_addr().ok()?);
    table::under_way(ours, theirs).await
}

/// Where the system cannot be asked, nothing is known.
#[cfg(not(target_os = "linux"))]
pub async fn unread(_stream: &TcpStream) -> Option<u64> {
    None
}

/// Waits until no program has the other end of a local connection any more, although it may not have been reset.
///
/// A program that ends its sending (`shutdown`) and one that is gone (`close`) send the same FIN; the first waits
/// for the answer, to the second nothing can be delivered. Cancel-safe. Where the system cannot be asked, it never returns.
#[cfg(target_os = "linux")]
pub async fn peer_gone(ours: SocketAddr, theirs: SocketAddr) {
    // There is no event for it. The first look often comes a moment before the other program's close is through.
    for pause in [5, 20, 100, 500].into_iter().chain(std::iter::repeat(2000)) {
        tokio::time::sleep(Duration::from_millis(pause)).await;
        if table::has_no_owner(theirs, ours).await {
            return;
        }
    }
}

/// Where the system cannot be asked, it never returns.
#[cfg(not(target_os = "linux"))]
pub async fn peer_gone(_ours: SocketAddr, _theirs: SocketAddr) {
    std::future::pending().await
}

/// Waits until the peer resets the connection, without reading from it. Cancel-safe.
pub async fn reset(stream: &TcpStream) {
    loop {
        match stream.ready(tokio::io::Interest::ERROR).await {
            Err(_) => return,
            Ok(_) if !matches!(stream.take_error(), Ok(None)) => return,
            // Woken for nothing: forget the readiness, or this would spin.
            Ok(_) => drop(stream.try_io(tokio::io::Interest::ERROR, || {
                Err::<(), _>(io::Error::from(io::ErrorKind::WouldBlock))
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_reset_after_sent_loses_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let total = 3_000_000;
        let reader = async {
            let mut client = client;
            let mut got = 0;
            let mut buffer = vec![0; 4096];
            loop {
                match client.read(&mut buffer).await {
                    Ok(0) => return (got, "end"),
                    Ok(n) => got += n,
                    Err(_) => return (got, "reset"),
                }
            }
        };
        let writer = async {
            server.write_all(&vec![7; total]).await.unwrap();
            sent(&server).await.unwrap();
            server.set_zero_linger().unwrap();
            drop(server);
        };
        let ((got, how), ()) = tokio::join!(reader, writer);
        assert_eq!((got, how), (total, "reset"));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn what_a_program_has_not_read_is_known() {
        // Bytes that have arrived and are not acknowledged yet count twice, for a moment.
        async fn becomes(stream: &TcpStream, expected: u64) {
            let same = async { while unread(stream).await != Some(expected) {} };
            let in_time = timeout(Duration::from_secs(5), same).await;
            assert!(in_time.is_ok(), "{:?} in place of {expected}", unread(stream).await);
        }
        for host in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(host).await else { continue };
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (server, _) = listener.accept().await.unwrap();
            becomes(&server, 0).await;
            let mut written = 0;
            while let Ok(more) = server.try_write(&[7; 65536]) {
                written += more as u64;
            }
            becomes(&server, written).await;
            client.read_exact(&mut [0; 1000]).await.unwrap();
            becomes(&server, written - 1000).await;
        }
    }

    #[tokio::test]
    async fn a_program_that_only_finished_sending_is_not_gone() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut server, theirs) = listener.accept().await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(server.read(&mut [0; 1]).await.unwrap(), 0);
        let gone = peer_gone(server.local_addr().unwrap(), theirs);
        tokio::pin!(gone);
        assert!(timeout(Duration::from_millis(50), &mut gone).await.is_err());
        drop(client);
        if cfg!(target_os = "linux") {
            timeout(Duration::from_secs(5), gone).await.expect("nobody has the other end any more");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn sent_waits_for_a_reader() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        while server.try_write(&[7; 65536]).is_ok() {}
        if cfg!(target_os = "linux") {
            assert!(timeout(Duration::from_secs(2), sent(&server)).await.is_err(), "the reader has not read");
        }
        drop(client);
    }
}
