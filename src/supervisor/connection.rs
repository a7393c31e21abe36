//! One accepted connection: opened, held while the path is down, relayed, ended as the remote ended.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_rustls::client::TlsStream;

use super::link::RouteError;
use super::tunnel::{BACKOFF, Tunnel};
use crate::backoff::Backoff;
use crate::carrier::Closing;
use crate::gateway::GatewayStream;
use crate::relay::{self, Counts, Outcome, Relay};
use crate::sys::socket;

/// How often a stream that never came to life is replaced by one of a new session.
const REPLACEMENTS: u32 = 3;
/// After how long without a byte a server that speaks first is taken for unreachable, and said so.
const FIRST_BYTE: Duration = Duration::from_secs(10);
/// Ports whose servers speak first: FTP, SSH, Telnet, SMTP, POP3, IMAP, MySQL, VNC.
const SPEAK_FIRST: &[u16] = &[21, 22, 23, 25, 110, 143, 587, 3306, 5900];

type Stream = GatewayStream<TlsStream<TcpStream>>;

/// One connection of a tunnel.
pub(super) struct Connection {
    pub(super) tunnel: Arc<Tunnel>,
    pub(super) number: u64,
}

/// Why no stream was opened.
enum NotOpened {
    Failed(RouteError),
    LocalGone,
    Stopped,
}

impl Connection {
    /// Serves it to its end.
    pub(super) async fn serve(self, local: TcpStream) {
        let counts = Arc::new(Counts::default());
        let mut relay = Relay::new(local, Arc::clone(&counts));
        let mut unsent = None;
        let mut replacements = 0;
        let deadline = Instant::now() + self.tunnel.declared.behaviour.connect_timeout;
        loop {
            let mut remote = match self.open(relay.local(), deadline).await {
                Ok(remote) => remote,
                Err(why) => return self.refuse(relay, why),
            };
            let mut outcome = self.relay(&mut relay, &mut remote, unsent.take(), &counts).await;
            if let Outcome::Broken(broken) = &mut outcome
                && replacements < REPLACEMENTS
                && let Some(bytes) = broken.unsent.take()
            {
                replacements += 1;
                let (tunnel, connection) = (&self.tunnel.name, self.number);
                tracing::info!(%tunnel, connection, code = broken.code, "{broken}; trying another session");
                unsent = Some(bytes);
                continue;
            }
            return self.end(relay, remote, &outcome, &counts).await;
        }
    }

    async fn relay(
        &self,
        relay: &mut Relay,
        remote: &mut Stream,
        unsent: Option<Vec<u8>>,
        counts: &Counts,
    ) -> Outcome {
        let run = relay.run(remote, unsent);
        tokio::pin!(run);
        let silent = sleep(FIRST_BYTE);
        tokio::select! {
            outcome = &mut run => return outcome,
            () = self.tunnel.stop.connections.cancelled() => return Outcome::Stopped,
            () = silent => {}
        }
        if counts.down.load(Ordering::Relaxed) == 0 && SPEAK_FIRST.contains(&self.tunnel.declared.port.get())
        {
            tracing::warn!(
                tunnel = %self.tunnel.name, connection = self.number, code = "target-silent",
                "the gateway is connected, but not one byte came from port {} of the target in {} s; \
                 is the machine running, does something listen there, does its network security group let the bastion in?",
                self.tunnel.declared.port, FIRST_BYTE.as_secs()
            );
        }
        tokio::select! {
            outcome = &mut run => outcome,
            () = self.tunnel.stop.connections.cancelled() => Outcome::Stopped,
        }
    }

    /// Opens a stream; while the path is down, holds the connection and tries again, up to its time limit.
    async fn open(&self, local: &TcpStream, deadline: Instant) -> Result<Stream, NotOpened> {
        tokio::select! {
            biased;
            () = self.tunnel.stop.connections.cancelled() => Err(NotOpened::Stopped),
            () = socket::reset(local) => Err(NotOpened::LocalGone),
            opened = self.open_until(deadline) => opened.map_err(NotOpened::Failed),
        }
    }

    async fn open_until(&self, deadline: Instant) -> Result<Stream, RouteError> {
        let tunnel = &self.tunnel;
        let options = tunnel.open_options();
        let mut backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
        let mut last = None;
        loop {
            let open = tunnel.link.open(&tunnel.endpoint, tunnel.declared.port, &options);
            let error = match timeout_at(deadline, open).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => error,
                Err(_elapsed) => {
                    return Err(last.unwrap_or(RouteError::Slow(tunnel.declared.behaviour.connect_timeout)));
                }
            };
            if error.is_blocked() {
                return Err(error);
            }
            let pause = backoff.next(rand::random()).max(error.retry_after().unwrap_or_default());
            let reason = error.reason();
            tracing::info!(
                tunnel = %tunnel.name, connection = self.number, code = &*reason.code,
                "{}; held, trying again", reason.what
            );
            let next = Instant::now() + pause;
            // It is held to the end of its time, and there is no last try at it.
            sleep_until(deadline.min(next)).await;
            if next >= deadline {
                return Err(error);
            }
            last = Some(error);
        }
    }

    /// The relay that is dropped here resets the local side.
    fn refuse(&self, relay: Relay, why: NotOpened) {
        let (tunnel, connection) = (&self.tunnel.name, self.number);
        match why {
            NotOpened::Failed(error) => {
                let reason = error.reason();
                tracing::warn!(%tunnel, connection, code = &*reason.code, hint = reason.hint, "{}", reason.what);
            }
            NotOpened::LocalGone => {
                tracing::debug!(%tunnel, connection, "the local program was gone before a session was there");
            }
            NotOpened::Stopped => {}
        }
        drop(relay);
    }

    fn log(&self, outcome: &Outcome, counts: &Counts) {
        let (tunnel, connection) = (&self.tunnel.name, self.number);
        let (up, down) = (counts.up.load(Ordering::Relaxed), counts.down.load(Ordering::Relaxed));
        match outcome {
            Outcome::RemoteEnd { clean: true } => {
                tracing::debug!(%tunnel, connection, up, down, "the target ended");
            }
            Outcome::RemoteEnd { clean: false } => {
                tracing::info!(%tunnel, connection, up, down, code = "end-unclean", "the gateway ended without a close frame");
            }
            Outcome::LocalEnd => {
                tracing::debug!(%tunnel, connection, up, down, "the local program ended");
            }
            Outcome::LocalReset(error) => {
                tracing::debug!(%tunnel, connection, up, down, %error, "the local program reset the connection");
            }
            Outcome::Broken(broken) => {
                tracing::warn!(%tunnel, connection, up, down, code = broken.code, "{broken}; the local program sees a reset");
            }
            Outcome::Stopped => tracing::info!(%tunnel, connection, up, down, "stopped"),
        }
    }

    /// Tells both sides at once how it ended; what is written down counts every byte that was delivered.
    async fn end(&self, mut relay: Relay, mut remote: Stream, outcome: &Outcome, counts: &Counts) {
        let goodbye = async {
            match outcome {
                // There is nobody to say goodbye to.
                Outcome::Broken(_) => {}
                Outcome::RemoteEnd { .. } | Outcome::LocalEnd => {
                    relay::close(&mut remote, Closing::Done).await;
                }
                Outcome::LocalReset(_) | Outcome::Stopped => {
                    relay::close(&mut remote, Closing::Abandoned).await;
                }
            }
            // The session is deleted now, however long the local side takes.
            drop(remote);
        };
        let local = async {
            // Who stops us may not wait.
            if !matches!(outcome, Outcome::Stopped) {
                relay.deliver().await;
            }
            self.log(outcome, counts);
            relay.finish(outcome).await;
        };
        tokio::join!(goodbye, local);
    }
}
