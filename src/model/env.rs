//! Templates of a tunnel's variables: text in which `{host}`, `{port}` and `{addr}` stand for where it listens.
//!
//! `{{` and `}}` are braces themselves. What else stands in braces is a [`Fault`]; `config` refuses it, so that a
//! template of a [`Tunnel`](super::Tunnel) has none.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;

/// The words that stand for something.
pub const PLACEHOLDERS: &[&str] = &["host", "port", "addr"];

/// A part of a template that means nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where it stands, with its braces.
    pub range: Range<usize>,
    /// What stands between the braces; none where a brace has no partner.
    pub word: Option<String>,
}

/// What a template is made of.
enum Piece<'a> {
    /// As it is.
    Text(&'a str),
    /// One of [`PLACEHOLDERS`].
    Word(&'a str),
    /// Neither.
    Fault(Fault),
}

/// Everything in a template that means nothing, in order.
pub fn faults(template: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    pieces(template, |piece| match piece {
        Piece::Fault(fault) => faults.push(fault),
        Piece::Text(_) | Piece::Word(_) => {}
    });
    faults
}

/// The variable of a program that is to use this address. What means nothing is kept as it was written.
///
/// A program connects, so the wildcard is filled in as the loopback address of its family. In `{addr}` an IPv6 address
/// stands in brackets, as URLs want it; in `{host}` it does not.
pub fn fill(template: &str, address: SocketAddr) -> String {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    let mut filled = String::new();
    pieces(template, |piece| match piece {
        Piece::Text(text) => filled.push_str(text),
        Piece::Word("host") => filled.push_str(&ip.to_string()),
        Piece::Word("port") => filled.push_str(&address.port().to_string()),
        Piece::Word(_) => filled.push_str(&SocketAddr::new(ip, address.port()).to_string()),
        Piece::Fault(fault) => filled.push_str(template.get(fault.range).unwrap_or_default()),
    });
    filled
}

fn pieces<'a>(template: &'a str, mut each: impl FnMut(Piece<'a>)) {
    let mut at = 0;
    while let Some(rest) = template.get(at..).filter(|rest| !rest.is_empty()) {
        let brace = rest.find(['{', '}']).unwrap_or(rest.len());
        let (text, rest) = rest.split_at(brace);
        if !text.is_empty() {
            each(Piece::Text(text));
        }
        at += brace;
        let length = if rest.is_empty() {
            0
        } else if rest.starts_with("{{") || rest.starts_with("}}") {
            each(Piece::Text(if rest.starts_with('{') { "{" } else { "}" }));
            2
        } else {
            let word = rest.strip_prefix('{').and_then(word_of);
            let length = word.map_or(1, |word| word.len() + 2);
            each(match word {
                Some(word) if PLACEHOLDERS.contains(&word) => Piece::Word(word),
                word => Piece::Fault(Fault { range: at..at + length, word: word.map(str::to_owned) }),
            });
            length
        };
        at += length;
    }
}

/// What stands before the closing brace, if that is the next one.
fn word_of(rest: &str) -> Option<&str> {
    let (word, after) = rest.split_at(rest.find(['{', '}'])?);
    after.starts_with('}').then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &str, address: &str) -> String {
        fill(template, address.parse().unwrap())
    }

    #[test]
    fn words_become_the_address() {
        let url = "postgres://app@{addr}/orders?host={host}&port={port}";
        assert_eq!(
            filled(url, "127.0.0.1:5432"),
            "postgres://app@127.0.0.1:5432/orders?host=127.0.0.1&port=5432"
        );
        assert_eq!(filled("{addr} {host}", "[::1]:80"), "[::1]:80 ::1");
        assert_eq!(filled("", "[::1]:80"), "");
    }

    #[test]
    fn a_wildcard_becomes_the_loopback_address_of_its_family() {
        assert_eq!(filled("{addr}", "0.0.0.0:80"), "127.0.0.1:80");
        assert_eq!(filled("{addr} {host}", "[::]:80"), "[::1]:80 ::1");
        assert_eq!(filled("{addr}", "192.168.1.5:80"), "192.168.1.5:80");
    }

    #[test]
    fn doubled_braces_are_braces() {
        assert_eq!(filled("{{\"at\": \"{addr}\"}}", "127.0.0.1:1"), "{\"at\": \"127.0.0.1:1\"}");
        assert_eq!(filled("{{{port}}}", "127.0.0.1:1"), "{1}");
        assert_eq!(faults("{{host}} {{{{"), []);
    }

    #[test]
    fn what_means_nothing_is_found_and_kept() {
        let found = |template: &str| -> Vec<_> {
            let named = |fault: Fault| (template[fault.range].to_owned(), fault.word);
            faults(template).into_iter().map(named).collect()
        };
        let word = |word: &str| Some(word.to_owned());
        assert_eq!(
            found("{hsot}:{port}/{}"),
            [("{hsot}".to_owned(), word("hsot")), ("{}".to_owned(), word(""))]
        );
        assert_eq!(found("é{ü}"), [("{ü}".to_owned(), word("ü"))]);
        assert_eq!(found("{host"), [("{".to_owned(), None)]);
        assert_eq!(found("host}"), [("}".to_owned(), None)]);
        assert_eq!(found("{\"at\": {port}}"), [("{".to_owned(), None), ("}".to_owned(), None)]);
        assert_eq!(filled("{hsot}{port}}{", "127.0.0.1:1"), "{hsot}1}{");
    }
}
