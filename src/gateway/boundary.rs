//! Where in the gateway's bytes a message ends. Pure.
//!
//! The WebSocket library says 'the connection ended' without saying whether that was in the middle of a
//! message. A tunnel must know: the one is an end, the other has lost bytes.

/// Follows the frame headers in a stream of bytes; payloads are skipped, nothing is kept.
#[derive(Debug, Default)]
pub(super) struct Boundary {
    /// The frame header so far.
    header: [u8; 10],
    have: usize,
    /// Payload bytes of the current frame still to come.
    remaining: u64,
    /// Inside a message of several frames.
    in_message: bool,
}

impl Boundary {
    /// Takes the next bytes, however they were cut.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.remaining > 0 {
                let skip = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(bytes.len());
                bytes = bytes.get(skip..).unwrap_or_default();
                self.remaining -= skip as u64;
                continue;
            }
            let Some((byte, rest)) = bytes.split_first() else { return };
            bytes = rest;
            if let Some(place) = self.header.get_mut(self.have) {
                *place = *byte;
            }
            self.have += 1;
            self.finish_header();
        }
    }

    /// Whether everything so far was whole messages.
    pub(super) fn between_messages(&self) -> bool {
        self.remaining == 0 && self.have == 0 && !self.in_message
    }

    /// Payload bytes of the current frame that are still to come, where its header has been seen.
    pub(super) fn rest_of_frame(&self) -> usize {
        usize::try_from(self.remaining).unwrap_or(usize::MAX)
    }

    fn finish_header(&mut self) {
        let [first, second, long @ ..] = self.header;
        let extended = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let masked = second & 0x80 != 0;
        if self.have < 2 + extended {
            return;
        }
        self.remaining = match second & 0x7f {
            126 => u64::from(u16::from_be_bytes([long[0], long[1]])),
            127 => u64::from_be_bytes(long),
            short => u64::from(short),
        };
        // Servers do not mask; the library refuses it, so here it only has to stay in step.
        self.remaining = self.remaining.saturating_add(if masked { 4 } else { 0 });
        let (last, opcode) = (first & 0x80 != 0, first & 0x0f);
        if opcode < 8 {
            self.in_message = !last;
        }
        self.have = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first];
        match payload.len() {
            n @ 0..=125 => frame.push(u8::try_from(n).unwrap()),
            n @ 126..=65535 => {
                frame.push(126);
                frame.extend(u16::try_from(n).unwrap().to_be_bytes());
            }
            n => {
                frame.push(127);
                frame.extend((n as u64).to_be_bytes());
            }
        }
        frame.extend(payload);
        frame
    }

    #[test]
    fn only_whole_messages_are_a_boundary_however_they_are_cut() {
        let mut bytes = Vec::new();
        let mut ends = vec![0];
        for part in [
            vec![frame(0x82, b"hello")],
            vec![frame(0x82, &[0x88; 300])],
            vec![frame(0x89, b"ping")],
            vec![frame(0x82, &vec![1; 70_000])],
            vec![frame(0x02, b"first"), frame(0x89, b""), frame(0x00, b"more"), frame(0x80, b"last")],
            vec![frame(0x82, b"")],
        ] {
            bytes.extend(part.concat());
            ends.push(bytes.len());
        }
        for step in [1, 2, 7, 4096, 1 << 20] {
            let mut boundary = Boundary::default();
            let mut at = 0;
            for piece in bytes.chunks(step) {
                boundary.feed(piece);
                at += piece.len();
                // The ping inside the fragmented message is no boundary; a control frame between messages is.
                assert_eq!(
                    boundary.between_messages(),
                    ends.contains(&at),
                    "after {at} bytes in steps of {step}"
                );
            }
        }
    }
}
