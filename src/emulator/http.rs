//! HTTP/1.1 by hand: heads are read strictly and bounded, answers are built as bytes.
//!
//! Written here rather than taken from a library because a gateway for tests has to be able to misbehave on purpose.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// The most that a request's head may weigh.
const HEAD_LIMIT: usize = 16 * 1024;
/// The most that a request's body may weigh.
const BODY_LIMIT: usize = 64 * 1024;
const HEADER_COUNT: usize = 64;

/// A request, read whole.
#[derive(Clone, Debug, Default)]
pub(super) struct Request {
    pub(super) method: String,
    /// Path and query, exactly as sent.
    pub(super) target: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// Why a request could not be read.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The connection ended or failed.
    Gone,
    /// What came is answered with this and ends the connection.
    Refused(u16, &'static str),
}

impl Request {
    /// The value of a header that stands at most once; of several, the first.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// Whether one of a header's comma-separated words is this one.
    pub(super) fn has_word(&self, name: &str, word: &str) -> bool {
        self.headers
            .iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .any(|(_, value)| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(word)))
    }

    /// Whether `Content-Type` says that the body is of this type, whatever its parameters.
    pub(super) fn is_type(&self, kind: &str) -> bool {
        let stated = self.header("content-type").unwrap_or_default();
        stated.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(kind)
    }

    /// Whether the body is a form.
    pub(super) fn is_form(&self) -> bool {
        self.is_type("application/x-www-form-urlencoded")
    }

    pub(super) fn path(&self) -> &str {
        self.target.split_once('?').map_or(self.target.as_str(), |(path, _)| path)
    }

    /// The query's pairs, escapes undone once.
    pub(super) fn query(&self) -> Vec<(String, String)> {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        form_urlencoded::parse(query.as_bytes()).into_owned().collect()
    }

    /// Reads one request; `buffer` keeps what came after it.
    pub(super) async fn read(
        stream: &mut (impl AsyncRead + Unpin),
        buffer: &mut Vec<u8>,
    ) -> Result<Self, ReadError> {
        let (mut request, length) = loop {
            if let Some((request, length, used)) = parse(buffer)? {
                buffer.drain(..used);
                break (request, length);
            }
            if buffer.len() >= HEAD_LIMIT {
                return Err(ReadError::Refused(431, "the request's head is too large"));
            }
            fill(stream, buffer).await?;
        };
        while buffer.len() < length {
            fill(stream, buffer).await?;
        }
        request.body = buffer.drain(..length).collect();
        Ok(request)
    }
}

async fn fill(stream: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> Result<(), ReadError> {
    match stream.read_buf(buffer).await {
        Ok(n) if n > 0 => Ok(()),
        Ok(_) | Err(_) => Err(ReadError::Gone),
    }
}

fn parse(bytes: &[u8]) -> Result<Option<(Request, usize, usize)>, ReadError> {
    let mut headers = [httparse::EMPTY_HEADER; HEADER_COUNT];
    let mut head = httparse::Request::new(&mut headers);
    let used = match head.parse(bytes) {
        Ok(httparse::Status::Complete(used)) => used,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::Version) => return Err(ReadError::Refused(505, "HTTP/1.1 only")),
        Err(httparse::Error::TooManyHeaders) => return Err(ReadError::Refused(431, "too many headers")),
        Err(_) => return Err(ReadError::Refused(400, "not an HTTP request")),
    };
    if head.version != Some(1) {
        return Err(ReadError::Refused(505, "HTTP/1.1 only"));
    }
    let headers: Vec<(String, String)> = head
        .headers
        .iter()
        .map(|h| (h.name.to_owned(), String::from_utf8_lossy(h.value).trim().to_owned()))
        .collect();
    let request = Request {
        method: head.method.unwrap_or_default().to_owned(),
        target: head.path.unwrap_or_default().to_owned(),
        headers,
        body: Vec::new(),
    };
    for single in ["host", "content-length", "content-type", "x-node-id", "sec-websocket-key"] {
        if request.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(single)).count() > 1 {
            return Err(ReadError::Refused(400, "a header stands twice"));
        }
    }
    if request.header("transfer-encoding").is_some() {
        return Err(ReadError::Refused(501, "a body needs Content-Length"));
    }
    let length = match request.header("content-length") {
        None => 0,
        Some(text) if !text.bytes().all(|b| b.is_ascii_digit()) => {
            return Err(ReadError::Refused(400, "Content-Length is not a number"));
        }
        Some(text) => text.parse().map_err(|_| ReadError::Refused(400, "Content-Length is not a number"))?,
    };
    if length > BODY_LIMIT {
        return Err(ReadError::Refused(413, "the request's body is too large"));
    }
    Ok(Some((request, length, used)))
}

/// An answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
}

impl Response {
    pub(super) fn empty(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    pub(super) fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::empty(status).with("Content-Type", content_type).body(body.into())
    }

    pub(super) fn json(status: u16, value: &serde_json::Value) -> Self {
        Self::new(status, "application/json", value.to_string())
    }

    pub(super) fn text(status: u16, text: &str) -> Self {
        Self::new(status, "text/plain;charset=UTF-8", text)
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn body(mut self, body: Vec<u8>) -> Self {
        self.body = body;
        self
    }

    /// The answer as bytes; `close` says that none follows on this connection.
    pub(super) fn bytes(&self, close: bool) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, phrase(self.status));
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if self.status >= 200 && self.status != 204 {
            head.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        head.push_str(if close { "Connection: close\r\n\r\n" } else { "\r\n" });
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    pub(super) async fn write(&self, to: &mut (impl AsyncWrite + Unpin), close: bool) -> io::Result<()> {
        to.write_all(&self.bytes(close)).await?;
        to.flush().await
    }
}

/// The words that go with a status.
pub(super) fn phrase(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        200 => "OK",
        202 => "Accepted",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        421 => "Misdirected Request",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Unknown",
    }
}
