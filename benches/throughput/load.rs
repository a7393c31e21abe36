//! Source, sink and echo behind the tunnels, and the programs in front of them. Every byte is compared.
//!
//! `bulk` takes two lengths and says that it has them, sends the first many bytes and takes the second many, both at
//! once, and answers with how many it has taken. `greet` speaks first, with one byte, and then sends back what it receives.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::Result;

/// The bytes repeat after this many: a prime, so that no buffer or message size is in step with them.
const PERIOD: usize = 65_521;
/// How much is read and written at once.
const CHUNK: usize = 256 * 1024;
/// No single exchange takes this long unless something hangs.
const PATIENCE: Duration = Duration::from_secs(60);
const GREETING: u8 = b'!';

/// The bytes that are sent, at whatever offset.
#[derive(Debug)]
pub(crate) struct Pattern(Vec<u8>);

impl Pattern {
    pub(crate) fn new() -> Arc<Self> {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        };
        let period: Vec<u8> = (0..PERIOD).map(|_| next()).collect();
        let mut bytes = period.repeat(CHUNK / PERIOD + 2);
        bytes.truncate(PERIOD + CHUNK);
        Arc::new(Self(bytes))
    }

    /// The bytes from `offset` on, `length` of them at most.
    fn at(&self, offset: u64, length: u64) -> &[u8] {
        let from = usize::try_from(offset % PERIOD as u64).unwrap_or(0);
        let length = usize::try_from(length).unwrap_or(CHUNK).min(CHUNK);
        self.0.get(from..from + length).unwrap_or_default()
    }

    async fn send<W: AsyncWrite + Unpin>(&self, to: &mut W, total: u64) -> Result<()> {
        let mut sent = 0;
        while sent < total {
            sent += to.write(self.at(sent, total - sent)).await? as u64;
        }
        Ok(to.flush().await?)
    }

    async fn receive<R: AsyncRead + Unpin>(&self, from: &mut R, total: u64) -> Result<()> {
        let mut buffer = vec![0; CHUNK];
        let mut got = 0;
        while got < total {
            let most = usize::try_from(total - got).unwrap_or(CHUNK).min(CHUNK);
            let n = from.read(buffer.get_mut(..most).unwrap_or_default()).await?;
            if n == 0 {
                return Err(format!("the stream ended after {got} of {total} bytes").into());
            }
            if buffer.get(..n) != Some(self.at(got, n as u64)) {
                return Err(format!("wrong bytes between {got} and {}", got + n as u64).into());
            }
            got += n as u64;
        }
        Ok(())
    }

    /// Both at once, until both are done.
    async fn exchange(&self, stream: &mut TcpStream, send: u64, receive: u64) -> Result<()> {
        let (mut from, mut to) = stream.split();
        tokio::try_join!(self.send(&mut to, send), self.receive(&mut from, receive))?;
        Ok(())
    }
}

/// The servers, on addresses of their own. They end when this is dropped.
#[derive(Debug)]
pub(crate) struct Servers {
    pub(crate) bulk: SocketAddr,
    pub(crate) greet: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Servers {
    pub(crate) async fn start(pattern: &Arc<Pattern>) -> Result<Self> {
        let bulk = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let greet = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addresses = (bulk.local_addr()?, greet.local_addr()?);
        let mut tasks = JoinSet::new();
        let pattern = Arc::clone(pattern);
        tasks.spawn(serve(bulk, move |stream| serve_bulk(stream, Arc::clone(&pattern))));
        tasks.spawn(serve(greet, serve_greet));
        Ok(Self { bulk: addresses.0, greet: addresses.1, _tasks: tasks })
    }
}

async fn serve<F>(listener: TcpListener, service: impl Fn(TcpStream) -> F)
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => drop(connections.spawn(service(stream))),
            // What went wrong is seen by the client, which has no answer.
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve_bulk(mut stream: TcpStream, pattern: Arc<Pattern>) -> Result<()> {
    stream.set_nodelay(true)?;
    let (send, receive) = (stream.read_u64().await?, stream.read_u64().await?);
    stream.write_all(&[GREETING]).await?;
    pattern.exchange(&mut stream, send, receive).await?;
    stream.write_u64(receive).await?;
    Ok(stream.shutdown().await?)
}

async fn serve_greet(mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    stream.write_all(&[GREETING]).await?;
    let mut buffer = vec![0; 4096];
    loop {
        let n = stream.read(&mut buffer).await?;
        if n == 0 {
            return Ok(());
        }
        stream.write_all(buffer.get(..n).unwrap_or_default()).await?;
    }
}

async fn in_time<T>(what: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(PATIENCE, what).await.map_err(|_| "it hangs")?
}

/// Moves bytes both ways over one connection. Says how long it took, from the connection being there to the last
/// byte being acknowledged by the other end.
pub(crate) async fn transfer(to: SocketAddr, pattern: &Pattern, down: u64, up: u64) -> Result<Duration> {
    in_time(async {
        let mut stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        stream.write_u64(down).await?;
        stream.write_u64(up).await?;
        // The clock starts when the way is there.
        if stream.read_u8().await? != GREETING {
            return Err("the first byte is wrong".into());
        }
        let begin = Instant::now();
        pattern.exchange(&mut stream, up, down).await?;
        let taken = stream.read_u64().await?;
        let elapsed = begin.elapsed();
        if taken != up {
            return Err(format!("{taken} of {up} bytes arrived").into());
        }
        if stream.read(&mut [0]).await? != 0 {
            return Err("more bytes than were sent".into());
        }
        Ok(elapsed)
    })
    .await
}

/// Opens a connection and waits for the server's first byte.
pub(crate) async fn greeted(to: SocketAddr) -> Result<(Duration, TcpStream)> {
    in_time(async {
        let begin = Instant::now();
        let mut stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        if stream.read_u8().await? != GREETING {
            return Err("the first byte is wrong".into());
        }
        Ok((begin.elapsed(), stream))
    })
    .await
}

/// Connects `count` times, `at_once` at a time. The times until the first byte.
pub(crate) async fn connects(to: SocketAddr, count: usize, at_once: usize) -> Result<Vec<Duration>> {
    let mut workers = JoinSet::new();
    for worker in 0..at_once {
        let share = (count + at_once - 1 - worker) / at_once;
        workers.spawn(async move {
            let mut times = Vec::with_capacity(share);
            for _ in 0..share {
                times.push(greeted(to).await?.0);
            }
            Result::Ok(times)
        });
    }
    let mut times = Vec::with_capacity(count);
    while let Some(done) = workers.join_next().await {
        times.extend(done??);
    }
    Ok(times)
}

/// Opens `count` connections at once and keeps them. How long it took until the last had its first byte.
pub(crate) async fn open_many(to: SocketAddr, count: usize) -> Result<(Duration, Vec<TcpStream>)> {
    let begin = Instant::now();
    let mut opening = JoinSet::new();
    for _ in 0..count {
        opening.spawn(greeted(to));
    }
    let mut open = Vec::with_capacity(count);
    while let Some(done) = opening.join_next().await {
        open.push(done??.1);
    }
    Ok((begin.elapsed(), open))
}

/// 64 bytes there and back, over and over on one connection.
pub(crate) async fn round_trips(to: SocketAddr, count: usize) -> Result<Vec<Duration>> {
    let (_, mut stream) = greeted(to).await?;
    in_time(async {
        let mut times = Vec::with_capacity(count);
        for turn in 0..count {
            let sent = [turn.to_le_bytes()[0]; 64];
            let mut got = [0; 64];
            let begin = Instant::now();
            stream.write_all(&sent).await?;
            stream.read_exact(&mut got).await?;
            times.push(begin.elapsed());
            if sent != got {
                return Err("the echo differs".into());
            }
        }
        Ok(times)
    })
    .await
}
