//! An HTTP/1.1 request, and what counts as an answer to it: any status below 500. A server that wants a sign-in or knows
//! no such page works all the same.

use super::Verdict;

/// `HTTP/1.1 200`, and what stands behind it.
const HEAD: usize = 13;

/// Asks for a path. It ends with the answer: nothing is asked again on the same connection.
pub(super) fn request(path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bastion/{}\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        env!("CARGO_PKG_VERSION")
    )
    .into_bytes()
}

/// Whether this begins the answer of a server that works. No more than its first line is read.
pub(super) fn judge(heard: &[u8]) -> Verdict {
    let version = b"HTTP/1.";
    let begun = heard.len().min(version.len());
    if heard.get(..begun) != version.get(..begun) {
        let hint = "does it want TLS? `probe = \"tls\"` asks for that";
        return Verdict::Differs("answered with something that is not HTTP/1.1".to_owned(), Some(hint));
    }
    let Some((head, _)) = heard.split_at_checked(HEAD) else { return Verdict::More };
    match head {
        [_, _, _, _, _, _, _, b'0' | b'1', b' ', digits @ .., b' ' | b'\r' | b'\n'] => status(digits),
        _ => no_status(),
    }
}

fn status(digits: &[u8]) -> Verdict {
    let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<u16>().ok());
    match number {
        Some(100..=499) => Verdict::Fits,
        Some(number) => Verdict::Differs(format!("answered with HTTP status {number}"), None),
        None => no_status(),
    }
}

fn no_status() -> Verdict {
    Verdict::Differs("answered with a first line that HTTP/1.1 does not have".to_owned(), None)
}
