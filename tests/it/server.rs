//! Small servers in the test's own process, on a free port, that end with the test.

use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::pattern;

/// A server; what it runs ends when it is dropped.
pub(crate) struct Server {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Server {
    /// Serves every connection with this.
    pub(crate) async fn start<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), serve)
    }

    /// The same where it is bound already.
    pub(crate) fn on<F>(listener: TcpListener, serve: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                connections.spawn(serve(stream));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, _tasks: tasks }
    }

    /// Sends back what it gets, and ends when its client does.
    pub(crate) async fn echo() -> Self {
        Self::start(|mut stream| async move {
            let mut buffer = vec![0; 1 << 16];
            while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                if stream.write_all(&buffer[..read]).await.is_err() {
                    return;
                }
            }
        })
        .await
    }

    /// Says its name on a line, then sends back what it gets.
    #[cfg(unix)]
    pub(crate) async fn named(name: &'static str) -> Self {
        Self::start(move |mut stream| async move {
            let mut buffer = vec![0; 1 << 16];
            if stream.write_all(format!("{name}\n").as_bytes()).await.is_err() {
                return;
            }
            while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                if stream.write_all(&buffer[..read]).await.is_err() {
                    return;
                }
            }
        })
        .await
    }

    /// Sends lines back, and ends after one that ends with `bye`.
    pub(crate) async fn lines() -> Self {
        Self::start(|stream| async move {
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            while let Ok(1..) = stream.read_line(&mut line).await {
                if stream.write_all(line.as_bytes()).await.is_err() || line.ends_with("bye\n") {
                    return;
                }
                line.clear();
            }
        })
        .await
    }

    /// Reads a line with a number, sends so many bytes of the pattern, and ends.
    pub(crate) async fn bytes() -> Self {
        Self::start(|mut stream| async move {
            let mut line = Vec::new();
            while !line.ends_with(b"\n") {
                let Ok(byte) = stream.read_u8().await else { return };
                line.push(byte);
            }
            let len: u64 = String::from_utf8_lossy(&line).trim().parse().unwrap();
            let mut at = 0;
            while at < len {
                let part = usize::try_from((len - at).min(1 << 20)).unwrap();
                if stream.write_all(&pattern::bytes(at, part)).await.is_err() {
                    return;
                }
                at += part as u64;
            }
        })
        .await
    }
}
