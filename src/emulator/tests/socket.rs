//! A WebSocket by hand: any frame can be sent, and every way of ending is told apart.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::client::WITHIN;

/// A WebSocket by hand.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) tls: TlsStream<TcpStream>,
    pub(super) buffer: Vec<u8>,
}

/// What comes out of a WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Frame(u8, Vec<u8>),
    /// TLS close_notify.
    Notify,
    /// FIN without close_notify.
    Fin,
    Reset,
}

impl Socket {
    pub(super) async fn raw(&mut self, bytes: &[u8]) {
        self.tls.write_all(bytes).await.unwrap();
        self.tls.flush().await.unwrap();
    }

    /// A masked frame with any first byte.
    pub(super) async fn send(&mut self, first: u8, payload: &[u8]) {
        let bytes = masked(first, payload);
        self.raw(&bytes).await;
    }

    pub(super) async fn data(&mut self, payload: &[u8]) {
        self.send(0x82, payload).await;
    }

    pub(super) async fn close(&mut self, code: u16) {
        self.send(0x88, &code.to_be_bytes()).await;
    }

    pub(super) async fn next(&mut self) -> Event {
        tokio::time::timeout(WITHIN, self.read()).await.expect("something from the gateway in time")
    }

    /// Like [`Self::next`], for a test that expects nothing.
    pub(super) async fn next_forever(&mut self) -> Event {
        self.read().await
    }

    async fn read(&mut self) -> Event {
        loop {
            if let Some(event) = self.parse() {
                return event;
            }
            match self.tls.read_buf(&mut self.buffer).await {
                Ok(0) => return Event::Notify,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Event::Fin,
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Event::Reset,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn parse(&mut self) -> Option<Event> {
        let (first, second) = (*self.buffer.first()?, *self.buffer.get(1)?);
        let (size, at) = match second & 0x7f {
            126 => (usize::from(u16::from_be_bytes(*self.buffer.get(2..)?.first_chunk()?)), 4),
            127 => (usize::try_from(u64::from_be_bytes(*self.buffer.get(2..)?.first_chunk()?)).unwrap(), 10),
            n => (usize::from(n), 2),
        };
        let at = if second & 0x80 == 0 { at } else { at + 4 };
        let payload = self.buffer.get(at..at + size)?.to_vec();
        self.buffer.drain(..at + size);
        Some(Event::Frame(first, payload))
    }

    /// The payload of the next messages until there are `n` bytes; control frames in between are skipped.
    pub(super) async fn bytes(&mut self, n: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < n {
            match self.next().await {
                Event::Frame(first, payload) if first & 0x08 == 0 => bytes.extend(payload),
                Event::Frame(0x89 | 0x8a, _) => {}
                other @ (Event::Frame(..) | Event::Notify | Event::Fin | Event::Reset) => {
                    panic!("{other:?} after {} bytes", bytes.len())
                }
            }
        }
        bytes
    }

    /// The close frame's code, which has to be next.
    pub(super) async fn closed(&mut self) -> u16 {
        match self.next().await {
            Event::Frame(0x88, payload) => payload.first_chunk().map_or(0, |code| u16::from_be_bytes(*code)),
            other @ (Event::Frame(..) | Event::Notify | Event::Fin | Event::Reset) => {
                panic!("{other:?} instead of a close frame")
            }
        }
    }
}

pub(super) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x12, 0x34, 0x56, 0x78];
    let mut bytes = vec![first];
    match u16::try_from(payload.len()).unwrap() {
        n if n < 126 => bytes.push(0x80 | u8::try_from(n).unwrap()),
        n => {
            bytes.push(0x80 | 126);
            bytes.extend(n.to_be_bytes());
        }
    }
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}
