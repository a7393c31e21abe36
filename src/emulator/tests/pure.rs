//! Frames, tokens and masks without a socket.

use std::time::{Duration, SystemTime};

use crate::emulator::access::{AccessTokens, TokenFlaw, base64url, guid};
use crate::emulator::frame::{Head, put_close, put_head, unmask};
use crate::emulator::redact;

#[test]
fn base64url_as_the_rfc_has_it() {
    for (plain, encoded) in [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
        assert_eq!(base64url(plain.as_bytes()), encoded);
    }
    assert_eq!(base64url(&[0xfb, 0xff]), "-_8");
}

#[test]
fn a_token_is_good_for_a_day() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let tokens = AccessTokens::new(now);
    let token = tokens.first().to_owned();
    assert_eq!(token.split('.').count(), 3);
    assert_eq!(tokens.check(&token, now), Ok(()));
    assert_eq!(tokens.check(&token, now + Duration::from_secs(86_401)), Err(TokenFlaw::Expired));
    assert_eq!(AccessTokens::new(now).check(&token, now), Err(TokenFlaw::Unknown), "another emulator's");
    let mut text = format!("x {token} y");
    tokens.scrub(&mut text);
    assert_eq!(text, "x … y");
}

#[test]
fn a_guid_is_a_dns_label() {
    let guid = guid();
    assert_eq!(guid.len(), 36);
    assert_ne!(guid, super::super::access::guid());
}

#[test]
fn masks_come_off_at_every_length() {
    for length in 0..40 {
        let plain: Vec<u8> = (0..length).collect();
        let mask = [1, 2, 3, 200];
        let mut bytes: Vec<u8> = plain.iter().zip(mask.iter().cycle()).map(|(b, k)| b ^ k).collect();
        unmask(&mut bytes, mask);
        assert_eq!(bytes, plain);
    }
}

#[test]
fn a_head_waits_for_its_last_byte() {
    let frame = super::socket::masked(0x82, &[0; 300]);
    for n in 0..8 {
        assert_eq!(Head::read(&frame[..n]), Ok(None), "{n}");
    }
    assert_eq!(Head::read(&frame[..8]).unwrap().unwrap().payload, 300);
    let huge = [0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    assert_eq!(Head::read(&huge).unwrap_err().code, 1009);
}

#[test]
fn heads_use_the_shortest_form() {
    let head = |n| {
        let mut out = Vec::new();
        put_head(&mut out, 0x82, n);
        out
    };
    assert_eq!(head(125), [0x82, 125]);
    assert_eq!(head(126), [0x82, 126, 0, 126]);
    assert_eq!(head(65_535), [0x82, 126, 255, 255]);
    assert_eq!(head(65_536), [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    let mut out = Vec::new();
    put_close(&mut out, 1011, &"ä".repeat(100));
    assert_eq!(out.len(), 2 + 2 + 122, "a reason is cut between characters");
}

#[test]
fn what_is_not_known_to_be_harmless_is_masked() {
    assert_eq!(redact::target("/api/tokens/abc"), "/api/tokens/…");
    assert_eq!(
        redact::target("/webtunnelv2/a%2Fb?X-Node-Id=10.0.1.4&t=1"),
        "/webtunnelv2/…?X-Node-Id=10.0.1.4&t=…"
    );
    assert_eq!(
        redact::target("/subscriptions/s/x?api-version=1&secret=2"),
        "/subscriptions/s/x?api-version=1&secret=…"
    );
    assert_eq!(redact::target("/secret"), "/…");
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(redact::headers(&[pair("Authorization", "Bearer x")]), [pair("Authorization", "Bearer …")]);
    assert_eq!(redact::headers(&[pair("Cookie", "x"), pair("Accept", "*/*")])[0].1, "…");
    assert_eq!(
        redact::form(&[pair("aztoken", "x"), pair("token", "")]),
        [pair("aztoken", "…"), pair("token", "")]
    );
}
