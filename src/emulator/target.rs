//! What the gateway connects to: a real server, or one of the services that the emulator brings along.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf};
use tokio::net::TcpStream;

use super::ending::reset;
use super::page;
use super::sessions::Admission;
use super::traffic::Traffic;
use super::world::World;
use crate::model::Service;

/// A connection to a target.
pub(super) enum Target {
    Tcp(TcpStream),
    Memory(DuplexStream),
}

/// Why a target does not answer.
#[derive(Debug)]
pub(super) enum ConnectError {
    /// Nothing listens there.
    Refused,
    /// It could not be reached.
    Failed(io::Error),
    /// It took too long.
    TimedOut,
}

impl Target {
    /// Connects to what a session leads to.
    pub(super) async fn connect(
        world: &World,
        admission: &Admission,
        traffic: &Arc<Traffic>,
    ) -> Result<Self, ConnectError> {
        let place = &admission.place;
        match world.terrain().service(&place.endpoint, place.port) {
            None => Err(ConnectError::Refused),
            Some(Service::Tcp(address)) => dial(world, *address).await,
            Some(Service::Echo) => Ok(Self::within(world, echo)),
            Some(Service::Http) => {
                let visit = page::Visit {
                    machine: place.endpoint.to_string(),
                    port: place.port,
                    session: admission.number,
                    node: admission.node.clone(),
                    since: tokio::time::Instant::now(),
                    traffic: Arc::clone(traffic),
                };
                Ok(Self::within(world, move |stream| page::serve(stream, visit)))
            }
        }
    }

    /// A service in this process, which ends with the emulator or when its stream does.
    fn within<F>(world: &World, service: impl FnOnce(DuplexStream) -> F) -> Self
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let (ours, theirs) = tokio::io::duplex(PIPE);
        let stop = world.stop.clone();
        let service = service(theirs);
        world.tasks.spawn(async move {
            if let Some(Err(error)) = stop.run_until_cancelled(service).await {
                tracing::debug!(%error, "a service's connection broke");
            }
        });
        Self::Memory(ours)
    }

    /// Ends the connection as a machine that vanished would.
    pub(super) fn abort(self) {
        match self {
            Self::Tcp(tcp) => reset(tcp),
            Self::Memory(pipe) => drop(pipe),
        }
    }
}

async fn dial(world: &World, address: SocketAddr) -> Result<Target, ConnectError> {
    let tcp = tokio::time::timeout(world.limits.connect, TcpStream::connect(address))
        .await
        .map_err(|_| ConnectError::TimedOut)?
        .map_err(|error| {
            let refused = error.kind() == io::ErrorKind::ConnectionRefused;
            if refused { ConnectError::Refused } else { ConnectError::Failed(error) }
        })?;
    tcp.set_nodelay(true).map_err(ConnectError::Failed)?;
    Ok(Target::Tcp(tcp))
}

/// Sends back what it receives; after the end of that, its own.
async fn echo(stream: DuplexStream) -> io::Result<()> {
    let (mut from, mut to) = tokio::io::split(stream);
    let mut buffer = vec![0; PIPE];
    loop {
        let n = from.read(&mut buffer).await?;
        let Some(read) = buffer.get(..n).filter(|read| !read.is_empty()) else { break };
        to.write_all(read).await?;
    }
    to.shutdown().await
}

impl AsyncRead for Target {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Memory(pipe) => Pin::new(pipe).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Target {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Memory(pipe) => Pin::new(pipe).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Memory(pipe) => Pin::new(pipe).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Memory(pipe) => Pin::new(pipe).poll_shutdown(cx),
        }
    }
}

/// What may be under way inside the process, each way.
const PIPE: usize = 64 * 1024;
