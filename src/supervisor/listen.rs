//! Local addresses: bound as one, accepted on one by one, handed over to another tunnel without being let go.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::edition::Edition;
use super::{connection, taken};
use crate::limit::Place;
use crate::model::{Reason, chain};
use crate::sys::{limits, socket};

/// How often a free port is asked for that is free on both loopback addresses.
const TRIES: usize = 16;
/// Between two tries to accept, when the system has no room for more.
const NO_ROOM: Duration = Duration::from_millis(200);

/// Why a tunnel does not listen.
#[derive(Debug, thiserror::Error)]
#[error("listening on {address}")]
pub struct ListenError {
    address: SocketAddr,
    #[source]
    source: io::Error,
}

/// One address that is bound, and whose it is.
#[derive(Debug)]
pub(super) struct Listener {
    owner: watch::Sender<Arc<Edition>>,
    stop: CancellationToken,
    closed: oneshot::Receiver<()>,
}

/// Binds addresses, all or none. Port 0 stands for one free port, the same on all of them.
pub(super) async fn bind(addresses: &[SocketAddr]) -> Result<BTreeMap<SocketAddr, TcpListener>, ListenError> {
    let any_port = addresses.iter().any(|address| address.port() == 0);
    let mut tries = if any_port { TRIES } else { 1 };
    loop {
        tries -= 1;
        match bind_once(addresses).await {
            // Free on the one, and taken on the other.
            Err(error) if error.is_taken() && tries > 0 => {}
            bound => return bound,
        }
    }
}

async fn bind_once(addresses: &[SocketAddr]) -> Result<BTreeMap<SocketAddr, TcpListener>, ListenError> {
    let mut bound = BTreeMap::new();
    let mut chosen = 0;
    for address in addresses {
        let port = if address.port() == 0 { chosen } else { address.port() };
        let address = SocketAddr::new(address.ip(), port);
        let failed = |source| ListenError { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let real = listener.local_addr().map_err(failed)?;
        chosen = real.port();
        bound.insert(real, listener);
    }
    Ok(bound)
}

impl Listener {
    /// Accepts on an address for its owner, from now on.
    pub(super) fn start(listener: TcpListener, owner: Arc<Edition>, tasks: &mut JoinSet<()>) -> Self {
        let (owner, _) = watch::channel(owner);
        let (stop, (closing, closed)) = (CancellationToken::new(), oneshot::channel());
        let owned = owner.subscribe();
        let until = stop.clone();
        tasks.spawn(async move {
            until.run_until_cancelled(accept(&listener, &owned)).await;
            drop(listener);
            // Whoever waits for it may have gone.
            let _unheard = closing.send(());
        });
        Self { owner, stop, closed }
    }

    /// Its connections are another's from now on: another tunnel's, or those of the same one as it is now.
    pub(super) fn hand_over(&self, owner: Arc<Edition>) {
        self.owner.send_replace(owner);
    }

    /// Begins to let the address go: whoever has many to release waits for all of them at once.
    pub(super) fn close(&self) {
        self.stop.cancel();
    }

    /// Lets the address go. When this returns, it is free.
    pub(super) async fn release(self) {
        self.close();
        // An error means that it is gone already.
        let _closed = self.closed.await;
    }
}

/// Accepts connections for ever. It never waits for the network.
async fn accept(listener: &TcpListener, owner: &watch::Receiver<Arc<Edition>>) {
    let mut starved = false;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                starved = false;
                match socket::prepare_accepted(&stream) {
                    Ok(()) => {
                        let room = room(owner).await;
                        connection::start(stream, owner.clone(), room);
                    }
                    Err(error) => tracing::debug!(%error, "a connection was gone before it was accepted"),
                }
            }
            // It passes when connections end; there is no event for that.
            Err(error) => {
                if !std::mem::replace(&mut starved, true) {
                    let tunnel = owner.borrow().name.clone();
                    tracing::warn!(
                        %tunnel, %error,
                        "connections cannot be accepted and wait; too many files are open (`ulimit -n`)"
                    );
                }
                tokio::time::sleep(NO_ROOM).await;
            }
        }
    }
}

/// Waits until there are files for one more connection. Others wait in the system's queue meanwhile.
async fn room(owner: &watch::Receiver<Arc<Edition>>) -> Option<Place> {
    let (tunnel, room) = {
        let owner = owner.borrow();
        (owner.name.clone(), owner.room.clone())
    };
    let mut take = std::pin::pin!(room.take());
    let taken = tokio::select! {
        biased;
        taken = &mut take => taken,
        () = tokio::time::sleep(NO_ROOM) => {
            tracing::warn!(
                %tunnel, connections = room.taken(),
                "there are files for no more connections; new ones wait (`ulimit -n`)"
            );
            take.await
        }
    };
    taken.ok()
}

impl ListenError {
    /// Whether another program has the address.
    fn is_taken(&self) -> bool {
        self.source.kind() == io::ErrorKind::AddrInUse
    }

    /// The address that another program has; whoever that is, the reason does not say yet.
    pub(super) fn taken(&self) -> Option<SocketAddr> {
        self.is_taken().then_some(self.address)
    }

    /// Code, words and hint. What the system calls an error is said plainly where we know what it means.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the system's list of errors is open")]
    pub(super) fn reason(&self) -> Reason {
        let port = self.address.port();
        let (code, what, hint) = match self.source.kind() {
            io::ErrorKind::AddrInUse => return taken::reason(self.address, None, None),
            io::ErrorKind::PermissionDenied if socket::is_privileged(port) => return self.privileged(),
            // Windows keeps ranges of ports for itself (Hyper-V, WSL) and says the same of them.
            io::ErrorKind::PermissionDenied => (
                "port-reserved",
                "the system keeps this port for itself",
                "choose another local port; on Windows `netsh int ipv4 show excludedportrange tcp` lists the kept ones",
            ),
            io::ErrorKind::AddrNotAvailable => {
                ("address-unknown", "this machine does not have this address", "use `localhost` or 127.0.0.1")
            }
            _ if limits::is_out_of_files(&self.source) => {
                let hint = Some("`ulimit -n` shows how many files may be open, and raises it".to_owned());
                return Reason { code: "listen".into(), what: chain(self), hint };
            }
            _ => {
                let hint = Some("choose another local address or port".to_owned());
                return Reason { code: "listen".into(), what: chain(self), hint };
            }
        };
        Reason { code: code.into(), what: format!("{self}: {what}"), hint: Some(hint.to_owned()) }
    }
    /// A port that not everybody may have.
    fn privileged(&self) -> Reason {
        let other = "choose a higher local port: `port_offset = 8000` moves all of them";
        let hint = match socket::privilege_remedy(self.address.port()) {
            Some(right) => format!("{other}; {right}"),
            None => other.to_owned(),
        };
        let what = format!("{self}: a port as low as this needs a right that this user lacks");
        Reason { code: "port-privileged".into(), what, hint: Some(hint) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(port: u16, kind: io::ErrorKind) -> Reason {
        ListenError { address: SocketAddr::from(([127, 0, 0, 1], port)), source: kind.into() }.reason()
    }

    #[test]
    fn each_refusal_of_the_system_has_its_code() {
        assert_eq!(refused(80, io::ErrorKind::AddrInUse).code, "port-taken");
        assert_eq!(refused(80, io::ErrorKind::AddrNotAvailable).code, "address-unknown");
        assert_eq!(refused(80, io::ErrorKind::InvalidInput).code, "listen");
        assert_eq!(refused(u16::MAX, io::ErrorKind::PermissionDenied).code, "port-reserved");
        // Where an administrator has opened every port to all, the system's no means something else.
        let low = refused(1, io::ErrorKind::PermissionDenied);
        let code = if socket::is_privileged(1) { "port-privileged" } else { "port-reserved" };
        assert_eq!(low.code, code);
    }
}
