//! How connections to clients end: in order, or as a fault wants it.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::sessions::SessionEnd;

/// The TLS stream of a client.
pub(super) type Client = TlsStream<TcpStream>;

/// How the client's connection is to end; without it, the client is gone already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    Part,
    Cut(Cut),
    /// Its state is dropped; see [`forget`].
    Forget,
}

/// How a connection ends instead of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// It does not end: it says nothing any more.
    Silence,
    /// FIN without close_notify.
    Drop,
    /// RST.
    Reset,
}

/// Ends a connection in order: close_notify, FIN, and what the client still says is heard out.
pub(super) async fn part(mut client: Client) {
    // A client that is gone already has parted as well.
    let _gone = timeout(LINGER, client.shutdown()).await;
    linger(client.into_inner().0).await;
}

/// Ends a connection as a fault wants it.
pub(super) async fn sever(client: Client, cut: Cut) {
    let (mut tcp, _) = client.into_inner();
    match cut {
        Cut::Silence => {
            let mut sink = vec![0; 4096];
            while matches!(tcp.read(&mut sink).await, Ok(n) if n > 0) {}
        }
        Cut::Drop => {
            let _gone = tcp.shutdown().await;
            linger(tcp).await;
        }
        Cut::Reset => reset(tcp),
    }
}

/// Drops a connection's state without a word (G30), as a load balancer does with an idle flow: it stays open, takes
/// what comes and answers nothing, not even the client's FIN. Only when its session ends, or a while after that FIN,
/// it is gone altogether, and a reset is what a late packet would find.
pub(super) async fn forget(client: Client, end: SessionEnd) {
    let (mut tcp, _) = client.into_inner();
    let dead = async {
        let mut sink = vec![0; 4096];
        loop {
            match tcp.read(&mut sink).await {
                Ok(0) => return tokio::time::sleep(DEAD).await,
                Ok(_) => {}
                Err(_) => return,
            }
        }
    };
    tokio::select! {
        () = dead => {}
        () = end.deleted.cancelled() => {}
        () = end.lost.cancelled() => {}
    }
    reset(tcp);
}

/// RST, whatever is still on its way.
pub(super) fn reset(tcp: TcpStream) {
    if let Err(error) = tcp.set_zero_linger() {
        tracing::debug!(%error, "a connection could not be reset");
    }
    drop(tcp);
}

/// Reads what nobody wants until the client's FIN: to close with bytes unread would be a reset, which may overtake
/// the last answer.
async fn linger(mut tcp: TcpStream) {
    let drain = async {
        let mut sink = vec![0; 16 * 1024];
        while tcp.read(&mut sink).await? > 0 {}
        Ok::<(), io::Error>(())
    };
    let _late = timeout(LINGER, drain).await;
}

/// How long a dead connection outlives its client.
const DEAD: Duration = Duration::from_secs(60);
const LINGER: Duration = Duration::from_secs(2);
