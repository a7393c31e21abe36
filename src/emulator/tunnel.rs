//! One WebSocket: a client and a target, the two ways between them, and how their ends meet.
//!
//! ```text
//!  client ── close 1000 ──▶ FIN to the target, close echoed, close_notify, FIN
//!         ── vanishes ────▶ RST to the target
//!  target ── FIN ─────────▶ all of its bytes, close 1000
//!         ── RST, refusal ▶ close 1011
//!  session deleted ───────▶ close 1002
//!  broken rule ───────────▶ close 1002, 1003 or 1009
//!  node vanishes ─────────▶ RST, both ways
//!  no frame for too long ─▶ nothing to the client, RST to the target
//! ```
//! A close frame is followed by the client's own for a bounded time, then by the end of the connection.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::downlink::{DownEnd, Downlink, StreamFaults};
use super::ending::{Client, Cut, Leave, forget, part, sever};
use super::frame::{self, Breach};
use super::framing::Framing;
use super::log::{EntryKind, RequestEntry};
use super::sessions::{Admission, SessionEnd};
use super::target::{ConnectError, Target};
use super::traffic::{CLOSED, Traffic};
use super::uplink::{UpEnd, Uplink};
use super::verdict::Upgrade;
use super::world::World;

/// A connection that has become a WebSocket.
pub(super) struct Handover {
    pub(super) client: Client,
    /// What the client sent behind its upgrade.
    pub(super) early: Vec<u8>,
    pub(super) upgrade: Box<Upgrade>,
}

/// Serves a WebSocket until it ends, and writes down how it did.
pub(super) async fn run(world: Arc<World>, handover: Handover) {
    let Handover { client, early, upgrade } = handover;
    let counted = world.sessions.stream();
    let traffic = Arc::new(Traffic::default());
    let mut entry = RequestEntry::new(EntryKind::Stream);
    entry.host = upgrade.host;
    entry.path = upgrade.path;
    entry.session = Some(upgrade.admission.number);
    entry.node = Some(upgrade.admission.node.clone());
    entry.target = Some(upgrade.admission.place.to_string());
    let stop = world.stop.clone();
    let served = match upgrade.page {
        Some(page) => stop
            .run_until_cancelled(show(client, page))
            .await
            .map(|()| Ended { end: "HTTP where the first frame belongs".to_owned(), ..Ended::default() }),
        None => {
            let tunnel = tunnel(&world, client, &early, &upgrade.admission, &traffic);
            stop.run_until_cancelled(tunnel).await
        }
    };
    let Ended { end, breach, faults, leaving } =
        served.unwrap_or_else(|| Ended { end: "the emulator stopped".to_owned(), ..Ended::default() });
    if let Some(breach) = breach {
        entry.violate(breach.rule, &breach.reason);
    }
    let large = traffic.large.load(Ordering::Relaxed);
    if large > 0 {
        entry.warnings.push(format!("G26: {large} messages of more than {} bytes", frame::MESSAGE_ADVICE));
    }
    entry.fault = (!faults.is_empty()).then(|| faults.join(", "));
    entry.bytes_up = traffic.up.load(Ordering::Relaxed);
    entry.bytes_down = traffic.down.load(Ordering::Relaxed);
    entry.end = Some(end);
    drop(counted);
    world.record(entry).await;
    if let Some(leaving) = leaving {
        let _stopped = stop.run_until_cancelled(leave(leaving)).await;
    }
}

/// How a WebSocket ended.
#[derive(Default)]
struct Ended {
    end: String,
    breach: Option<Breach>,
    faults: Vec<String>,
    leaving: Option<Leaving>,
}

/// What is left to do for a connection whose end is known.
enum Leaving {
    Part(Client),
    Sever(Client, Cut),
    Forget(Client, SessionEnd),
}

async fn leave(leaving: Leaving) {
    match leaving {
        Leaving::Part(client) => part(client).await,
        Leaving::Sever(client, cut) => sever(client, cut).await,
        Leaving::Forget(client, end) => forget(client, end).await,
    }
}

/// A raw answer in the place of frames, as a proxy gives it whose backend refused.
async fn show(mut client: Client, page: Vec<u8>) {
    if client.write_all(&page).await.is_ok() && client.flush().await.is_ok() {
        part(client).await;
    }
}

async fn tunnel(
    world: &Arc<World>,
    client: Client,
    early: &[u8],
    admission: &Admission,
    traffic: &Arc<Traffic>,
) -> Ended {
    let terrain = world.terrain();
    let target = match Target::connect(world, admission, traffic).await {
        Ok(target) => target,
        Err(error) => return unreachable(world, client, early, &error).await,
    };
    let (from_client, to_client) = tokio::io::split(client);
    let (from_target, to_target) = tokio::io::split(target);
    let (sender, receiver) = mpsc::channel(CONTROLS);
    let mut up = Uplink { client: from_client, target: to_target, control: sender };
    let mut down = Downlink {
        client: to_client,
        target: from_target,
        control: receiver,
        deleted: admission.end.deleted.clone(),
        traffic,
        world,
        faults: StreamFaults::new(world, &admission.place.endpoint),
        framing: Framing::new(terrain.frames),
        out: Vec::with_capacity(OUT),
        breach: None,
    };
    let (end, how) = tokio::select! {
        met = meet(world, traffic, early, &mut up, &mut down) => met,
        () = admission.end.lost.cancelled() => ("the node vanished".to_owned(), Some(Leave::Cut(Cut::Reset))),
        () = traffic.idle(terrain.idle_limit) => {
            (format!("no frame for {:?}: dropped without a word", terrain.idle_limit), Some(Leave::Forget))
        }
    };
    let Downlink { client: to_client, target: from_target, faults, breach, .. } = down;
    let client = up.client.unsplit(to_client);
    let target = from_target.unsplit(up.target);

    // Only a close frame says that every byte before it is there: anything less is no end but a break.
    let code = traffic.client_closed.load(Ordering::Relaxed);
    let orderly = code & CLOSED != 0 && matches!(code & 0xffff, 0 | 1000 | 1001);
    if orderly && breach.is_none() && how == Some(Leave::Part) {
        retire(world, target);
    } else {
        target.abort();
    }
    let leaving = how.map(|how| match how {
        Leave::Part => Leaving::Part(client),
        Leave::Cut(cut) => Leaving::Sever(client, cut),
        Leave::Forget => Leaving::Forget(client, admission.end.clone()),
    });
    Ended { end, breach, faults: faults.struck, leaving }
}

/// Runs both ways until the stream has ended.
async fn meet<R, W, TR, TW>(
    world: &World,
    traffic: &Traffic,
    early: &[u8],
    up: &mut Uplink<R, TW>,
    down: &mut Downlink<'_, TR, W>,
) -> (String, Option<Leave>)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    TR: AsyncRead + Unpin,
    TW: AsyncWrite + Unpin,
{
    let closing = world.limits.closing;
    let mut up = pin!(up.run(early, traffic));
    let mut down = pin!(down.run());
    let first = tokio::select! {
        biased;
        end = &mut down => Ok(end),
        end = &mut up => Err(end),
    };
    let closed = || traffic.client_closed.load(Ordering::Relaxed);
    match first {
        Ok(DownEnd::Closed(what)) => {
            if closed() & CLOSED == 0 {
                // Its answer is awaited, and how it came changes nothing.
                let _late = timeout(closing, up).await;
            }
            let whose = if traffic.close_sent.load(Ordering::Relaxed) && closed() & CLOSED != 0 {
                format!("{what}; client {}", describe(closed()))
            } else {
                format!("{what}; client did not answer")
            };
            (whose, Some(Leave::Part))
        }
        Ok(DownEnd::Refused(what)) => (what, Some(Leave::Part)),
        Ok(DownEnd::Stalled) => {
            ("the client read nothing for too long".to_owned(), Some(Leave::Cut(Cut::Drop)))
        }
        Ok(DownEnd::Lost) => ("the client could not be written to".to_owned(), Some(Leave::Cut(Cut::Drop))),
        Ok(DownEnd::Fault(what, leave)) => (what, Some(leave)),
        Err(UpEnd::Gone(how)) if closed() & CLOSED == 0 => (format!("client gone: {how}"), None),
        Err(UpEnd::Gone(_) | UpEnd::Closed) => {
            // The echo may still be on its way out.
            let _late = timeout(closing, down).await;
            (format!("client {}, then hung up", describe(closed())), Some(Leave::Part))
        }
    }
}

fn describe(closed: u32) -> String {
    match closed & 0xffff {
        0 => "closed without a code".to_owned(),
        code => format!("closed {code}"),
    }
}

/// A target that cannot be reached is told in a close frame, not in the handshake (G32).
async fn unreachable(world: &World, mut client: Client, early: &[u8], error: &ConnectError) -> Ended {
    let reason = match error {
        ConnectError::Refused => "the target refused the connection".to_owned(),
        ConnectError::TimedOut => "the target did not answer".to_owned(),
        ConnectError::Failed(error) => format!("the target could not be reached: {}", error.kind()),
    };
    let mut out = Vec::new();
    frame::put_close(&mut out, 1011, &reason);
    let heard = Traffic::default();
    heard.close_sent.store(true, Ordering::Relaxed);
    let (control, _) = mpsc::channel(1);
    let farewell = async {
        client.write_all(&out).await?;
        client.flush().await?;
        // What the client sent meanwhile goes nowhere; its own close frame is the end of it.
        let mut up = Uplink { client: &mut client, target: tokio::io::sink(), control };
        up.run(early, &heard).await;
        Ok::<(), std::io::Error>(())
    };
    let _late = timeout(world.limits.closing, farewell).await;
    Ended { end: format!("close 1011 ({reason})"), leaving: Some(Leaving::Part(client)), ..Ended::default() }
}

/// Lets a target finish: it has our FIN, and to hang up on what it still sends would take back bytes it has not read.
fn retire(world: &World, mut target: Target) {
    let stop = world.stop.clone();
    world.tasks.spawn(async move {
        let finish = async {
            // Sent already if the client closed first.
            let _gone = target.shutdown().await;
            let mut sink = vec![0; 16 * 1024];
            while matches!(target.read(&mut sink).await, Ok(n) if n > 0) {}
        };
        let _late = stop.run_until_cancelled(timeout(RETIRE, finish)).await;
    });
}

/// Control frames under way from one way to the other.
const CONTROLS: usize = 16;
/// One reading of a target, in frames.
const OUT: usize = 66 * 1024;
const RETIRE: Duration = Duration::from_secs(30);
