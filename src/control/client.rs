//! The other side of an instance's socket: asks it, and hears what happens to it.
//!
//! Every question has a connection of its own. What the instance says is bounded, and read with patience: it may be
//! of another release.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use http::{Method, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, Connection};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::{About, Answer, Refused, Request, Status, TunnelEvent, VERSION};
use crate::sys::local::{self, Stream};

/// The most that an answer, or one event, may weigh.
const ANSWER: usize = 16 * 1024 * 1024;
/// How long an instance may take to say what holds; what it is asked to do takes as long as it takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why an instance did not answer as it should.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Its socket cannot be reached, or it is gone.
    #[error("asking the running instance at `{0}`: {1}")]
    Io(PathBuf, #[source] io::Error),
    /// The conversation broke off.
    #[error("the running instance broke off: {0}")]
    Broken(#[source] hyper::Error),
    /// It answered something that is not of this interface.
    #[error("the running instance answered something else than was asked (status {0})")]
    NotUnderstood(StatusCode),
    /// It says more than there can be to say.
    #[error("the running instance answered more than {ANSWER} bytes")]
    TooLong,
    /// It is there, and does not answer.
    #[error("the running instance does not answer; its process may be stopped or stuck")]
    Silent,
    /// It says no, and why.
    #[error(transparent)]
    Refused(Box<Refused>),
}

/// A running instance, for whoever asks it something.
#[derive(Clone, Debug)]
pub struct Client {
    path: PathBuf,
}

impl Client {
    /// Finds out whether an instance listens there; `None` when none does.
    ///
    /// # Errors
    /// When that cannot be found out, or someone else listens there.
    pub async fn connect(path: &Path) -> Result<Option<Self>, ClientError> {
        let there = local::connect(path).await.map_err(|error| ClientError::Io(path.to_owned(), error))?;
        Ok(there.map(|_connection| Self { path: path.to_owned() }))
    }

    /// Which instance it is.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn about(&self) -> Result<About, ClientError> {
        self.get("about").await
    }

    /// What holds now.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.get("status").await
    }

    /// Has it do something. This takes as long as it takes; a caller that has no patience puts a bound on it.
    ///
    /// # Errors
    /// When it refuses, or does not answer.
    pub async fn ask(&self, request: Request) -> Result<Answer, ClientError> {
        let verb = request.verb();
        // Texts alone can always be written.
        let body = request.write().unwrap_or_default();
        let (mut link, answer) = self.send(Method::POST, verb, body.into()).await?;
        read(&mut link, answer).await
    }

    /// Hears what happens from now on.
    ///
    /// # Errors
    /// When it does not answer, or refuses because it is of another release.
    pub async fn events(&self) -> Result<Events, ClientError> {
        let asked = timeout(PATIENCE, self.send(Method::GET, "events", Bytes::new()));
        let (mut link, answer) = asked.await.map_err(|_elapsed| ClientError::Silent)??;
        if answer.status() == StatusCode::OK {
            Ok(Events { link, body: answer.into_body(), held: BytesMut::new(), searched: 0 })
        } else {
            let refused: Result<(), _> = read(&mut link, answer).await;
            Err(refused.err().unwrap_or(ClientError::NotUnderstood(StatusCode::OK)))
        }
    }

    async fn get<T: DeserializeOwned>(&self, what: &str) -> Result<T, ClientError> {
        let asked = async {
            let (mut link, answer) = self.send(Method::GET, what, Bytes::new()).await?;
            read(&mut link, answer).await
        };
        timeout(PATIENCE, asked).await.map_err(|_elapsed| ClientError::Silent)?
    }

    async fn send(
        &self,
        method: Method,
        what: &str,
        body: Bytes,
    ) -> Result<(Link, http::Response<Incoming>), ClientError> {
        let failed = |error: io::Error| ClientError::Io(self.path.clone(), error);
        let stream = local::connect(&self.path).await.map_err(failed)?;
        let stream = stream.ok_or_else(|| failed(io::ErrorKind::ConnectionRefused.into()))?;
        let (mut sender, connection) =
            http1::Builder::new().handshake(TokioIo::new(stream)).await.map_err(ClientError::Broken)?;
        let request = http::Request::builder()
            .method(method)
            .uri(format!("/v{VERSION}/{what}"))
            .header(http::header::HOST, "localhost")
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| failed(io::Error::other(error)))?;
        let mut link = Link(Some(Box::new(connection)));
        let answer = link.during(sender.send_request(request)).await.map_err(ClientError::Broken)?;
        Ok((link, answer))
    }
}

/// A connection, which moves only while somebody waits for something of it.
#[derive(Debug)]
struct Link(Option<Box<Connection<TokioIo<Stream>, Full<Bytes>>>>);

impl Link {
    /// Waits for something that comes by this connection. Cancel-safe when that is.
    async fn during<T>(&mut self, wait: impl Future<Output = T>) -> T {
        let mut wait = std::pin::pin!(wait);
        if let Some(connection) = &mut self.0 {
            tokio::select! {
                biased;
                done = &mut wait => return done,
                // Why it ended is told to whoever waits.
                _ended = connection => self.0 = None,
            }
        }
        wait.await
    }
}

async fn read<T: DeserializeOwned>(
    link: &mut Link,
    answer: http::Response<Incoming>,
) -> Result<T, ClientError> {
    let status = answer.status();
    let body = match link.during(Limited::new(answer.into_body(), ANSWER).collect()).await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Err(ClientError::TooLong),
        Err(error) => {
            return Err(match error.downcast::<hyper::Error>() {
                Ok(error) => ClientError::Broken(*error),
                Err(_) => ClientError::NotUnderstood(status),
            });
        }
    };
    if status.is_success() {
        return serde_json::from_slice(&body).map_err(|_hidden| ClientError::NotUnderstood(status));
    }
    match serde_json::from_slice::<Refused>(&body) {
        Ok(refused) if !refused.what.is_empty() => Err(ClientError::Refused(Box::new(refused))),
        _ => Err(ClientError::NotUnderstood(status)),
    }
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// All that holds: at first, whenever the declared set changed, and where single events were lost.
    Status(Box<Status>),
    /// Something happened to a tunnel.
    Tunnel(Box<TunnelEvent>),
    /// The instance stops; nothing comes after this.
    End,
}

/// What happens to an instance, one thing after another.
#[derive(Debug)]
pub struct Events {
    link: Link,
    body: Incoming,
    held: BytesMut,
    /// How much of it is known to hold no end of an event.
    searched: usize,
}

impl Events {
    /// The next thing; `None` when the instance is gone without a word. Cancel-safe.
    ///
    /// # Errors
    /// When the conversation broke off, or what came is not of this interface.
    pub async fn next(&mut self) -> Result<Option<Event>, ClientError> {
        loop {
            while let Some(block) = self.block() {
                if let Some(event) = event(&block)? {
                    return Ok(Some(event));
                }
            }
            if self.held.len() > ANSWER {
                return Err(ClientError::TooLong);
            }
            match self.link.during(self.body.frame()).await {
                None => return Ok(None),
                Some(Err(error)) => return Err(ClientError::Broken(error)),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.held.extend_from_slice(&data);
                    }
                }
            }
        }
    }

    /// An event's lines, once all of them have come.
    fn block(&mut self) -> Option<Bytes> {
        let fresh = self.held.get(self.searched..).unwrap_or_default();
        let Some(at) = fresh.windows(2).position(|pair| pair == b"\n\n") else {
            self.searched = self.held.len().saturating_sub(1);
            return None;
        };
        let block = self.held.split_to(self.searched + at);
        self.held.advance(2);
        self.searched = 0;
        Some(block.freeze())
    }
}

/// Reads an event's lines; `None` for one of a kind that this release does not know, and for a comment.
fn event(block: &[u8]) -> Result<Option<Event>, ClientError> {
    let (mut kind, mut data) = (&b""[..], Vec::new());
    for line in block.split(|byte| *byte == b'\n') {
        let (name, value) = match line.iter().position(|byte| *byte == b':') {
            Some(at) => (line.get(..at).unwrap_or_default(), line.get(at + 1..).unwrap_or_default()),
            None => (line, &b""[..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"event" => kind = value,
            b"data" => data.extend_from_slice(value),
            _ => {}
        }
    }
    let wrong = |_hidden| ClientError::NotUnderstood(StatusCode::OK);
    Ok(match kind {
        b"status" => Some(Event::Status(serde_json::from_slice(&data).map_err(wrong)?)),
        b"tunnel" => Some(Event::Tunnel(serde_json::from_slice(&data).map_err(wrong)?)),
        b"end" => Some(Event::End),
        _ => None,
    })
}
