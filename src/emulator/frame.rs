//! WebSocket frames as the gateway reads and writes them: pure, and stricter than RFC 6455 asks.
//!
//! A client's frame is masked, whole (FIN), without reserved bits, at most [`MESSAGE_LIMIT`] bytes, and binary, a
//! ping, a pong or a close. Everything else is a [`Breach`], which names the rule and the close code it earns.

/// What a whole message may weigh: the default buffer of the gateway's servlet container.
pub(super) const MESSAGE_LIMIT: usize = 8192;
/// Above this a message is allowed and noted: the reference client never sends more.
pub(super) const MESSAGE_ADVICE: usize = 4096;
/// The longest header that a client's frame can have.
const HEADER_LIMIT: usize = 14;

/// The kinds of frame that a client may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Binary,
    Close,
    Ping,
    Pong,
}

/// The head of one frame from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: Kind,
    /// Bytes of the head itself.
    pub(super) size: usize,
    /// Bytes of payload after it.
    pub(super) payload: usize,
    pub(super) mask: [u8; 4],
}

/// A frame that the gateway does not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Breach {
    /// The rule, as in `docs/emulator.md`.
    pub(super) rule: &'static str,
    /// The close code that follows.
    pub(super) code: u16,
    /// What the close frame and the log say.
    pub(super) reason: String,
}

impl Breach {
    fn new(rule: &'static str, code: u16, reason: impl Into<String>) -> Self {
        Self { rule, code, reason: reason.into() }
    }
}

impl Head {
    /// Reads a head from the front of `bytes`; `None`: there is not enough yet.
    pub(super) fn read(bytes: &[u8]) -> Result<Option<Self>, Breach> {
        let [first, second, rest @ ..] = bytes else { return Ok(None) };
        let (fin, reserved, opcode) = (first & 0x80 != 0, first & 0x70, first & 0x0f);
        if reserved != 0 {
            return Err(Breach::new("G23", 1002, "reserved bits are set and no extension was negotiated"));
        }
        if second & 0x80 == 0 {
            return Err(Breach::new("G23", 1002, "the client's frame is not masked"));
        }
        let short = usize::from(second & 0x7f);
        let kind = match opcode {
            0 => return Err(Breach::new("G24", 1002, "a continuation frame")),
            1 => return Err(Breach::new("G27", 1003, "a text message")),
            2 if !fin => return Err(Breach::new("G24", 1002, "a fragmented message")),
            2 => Kind::Binary,
            8..=10 if !fin => return Err(Breach::new("G23", 1002, "a fragmented control frame")),
            8..=10 if short > 125 => {
                return Err(Breach::new("G23", 1002, "a control frame of more than 125 bytes"));
            }
            8 if short == 1 => return Err(Breach::new("G23", 1002, "a close frame with half a code")),
            8 => Kind::Close,
            9 => Kind::Ping,
            10 => Kind::Pong,
            _ => return Err(Breach::new("G23", 1002, "a reserved opcode")),
        };
        let (payload, width) = match (short, rest) {
            (126, [a, b, ..]) => (u64::from(u16::from_be_bytes([*a, *b])), 2),
            (127, [a, b, c, d, e, f, g, h, ..]) => (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), 8),
            (126 | 127, _) => return Ok(None),
            _ => (u64::try_from(short).unwrap_or_default(), 0),
        };
        let payload = usize::try_from(payload).ok().filter(|n| *n <= MESSAGE_LIMIT).ok_or_else(|| {
            let size = format!("Buffer size: [{MESSAGE_LIMIT}], Message size: [{payload}]");
            Breach::new("G25", 1009, format!("No async message support and buffer too small. {size}"))
        })?;
        let Some([a, b, c, d]) = rest.get(width..).and_then(|r| r.first_chunk::<4>()) else {
            return Ok(None);
        };
        Ok(Some(Self { kind, size: 2 + width + 4, payload, mask: [*a, *b, *c, *d] }))
    }
}

/// Takes the mask off, eight bytes at a time.
pub(super) fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, tail) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip([a, b, c, d, a, b, c, d]) {
        *byte ^= key;
    }
}

/// Writes the head of a frame of the gateway's: never masked.
pub(super) fn put_head(out: &mut Vec<u8>, first: u8, payload: usize) {
    match (u8::try_from(payload), u16::try_from(payload)) {
        (Ok(short), _) if short < 126 => out.extend_from_slice(&[first, short]),
        (_, Ok(medium)) => {
            let [a, b] = medium.to_be_bytes();
            out.extend_from_slice(&[first, 126, a, b]);
        }
        _ => {
            out.extend_from_slice(&[first, 127]);
            out.extend_from_slice(&u64::try_from(payload).unwrap_or(u64::MAX).to_be_bytes());
        }
    }
}

/// Writes a whole frame of the gateway's.
pub(super) fn put(out: &mut Vec<u8>, first: u8, payload: &[u8]) {
    put_head(out, first, payload.len());
    out.extend_from_slice(payload);
}

/// Writes a close frame; code 0: without a code.
pub(super) fn put_close(out: &mut Vec<u8>, code: u16, reason: &str) {
    if code == 0 {
        return put(out, CLOSE, &[]);
    }
    let mut payload = code.to_be_bytes().to_vec();
    let fits = reason.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= 123).last();
    payload.extend_from_slice(reason.get(..fits.unwrap_or(0)).unwrap_or_default().as_bytes());
    put(out, CLOSE, &payload);
}

/// The first bytes of the gateway's frames.
pub(super) const BINARY: u8 = 0x82;
pub(super) const BINARY_BEGIN: u8 = 0x02;
pub(super) const CONTINUE: u8 = 0x00;
pub(super) const CONTINUE_END: u8 = 0x80;
pub(super) const TEXT: u8 = 0x81;
pub(super) const TEXT_BEGIN: u8 = 0x01;
pub(super) const CLOSE: u8 = 0x88;
pub(super) const PING: u8 = 0x89;
pub(super) const PONG: u8 = 0x8a;

/// Enough for the head of any frame and the largest message behind it, several times over.
pub(super) const READ_BUFFER: usize = 64 * 1024 + HEADER_LIMIT;
