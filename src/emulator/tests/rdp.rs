//! The file for remote desktop clients (G38).

use super::client::*;
use crate::emulator::EntryKind;
use crate::model::{BastionTraits, Emulation, Sku};

async fn get(site: &Site, query: &str, token: Option<&str>) -> Answer {
    let bearer = token.map(|token| format!("Authorization: Bearer {token}"));
    let headers: Vec<&str> = bearer.iter().map(String::as_str).collect();
    site.ask(&site.gateway, &format!("GET /api/rdpfile?{query}"), &headers, "").await
}

fn query(more: &str) -> String {
    format!("resourceId={}&format=rdp{more}", escape(vm_id().as_str()))
}

#[tokio::test]
async fn g38_the_file_has_every_key() {
    let site = Site::start().await;
    let token = site.endpoint.token.clone();
    let answer = get(&site, &query("&rdpport=3390&enablerdsaad=True"), Some(&token)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let text = answer.text();
    let host = format!("gatewayhostname:s:{}", site.gateway);
    for key in [
        "full address:s:vm-web:3390",
        "alternate full address:s:vm-web:3390",
        "hostname:s:vm-web",
        "use multimon:i:1",
        "server port:i:3390",
        host.as_str(),
        "gatewaycredentialssource:i:5",
        "gatewayusagemethod:i:1",
        "gatewayprofileusagemethod:i:1",
        "enablerdsaadauth:i:1",
        "signscope:s:Full Address",
        "signature:s:",
    ] {
        assert!(text.split("\r\n").any(|line| line.starts_with(key)), "{key} in {text}");
    }
    let secret = text.split("gatewayaccesstoken:s:").nth(1).unwrap().lines().next().unwrap();
    assert_eq!(secret.len(), 64);
    let entry = site.entry(|entry| entry.kind == EntryKind::Rdp).await;
    assert_eq!(entry.target.as_deref(), Some("vm-web:3390"));
    assert!(entry.path.contains("rdpport=3390"), "{}", entry.path);
    let log = format!("{:?}", site.emulator.log().entries());
    assert!(!log.contains(secret) && !log.contains(&token));
    site.innocent();

    let plain = get(&site, &query(""), Some(&token)).await;
    assert!(plain.text().contains("server port:i:3389\r\n") && !plain.text().contains("enablerdsaadauth"));
    assert!(!plain.text().contains(secret), "each has its own");
    assert_eq!(site.emulator.sessions().opened, 0);
}

#[tokio::test]
async fn g38_the_token_is_a_bearers() {
    let site = Site::start().await;
    let answer = get(&site, &query(""), None).await;
    assert_eq!((answer.status, answer.text()), (401, "Unauthorized"));
    site.violated("G38").await;
    assert_eq!(get(&site, &query(""), Some("a.e30.c")).await.status, 401, "expired");
    for token in ["opaque", "a.eyJleHAiOjk5OTk5OTk5OTl9.c"] {
        let answer = get(&site, &query(""), Some(token)).await;
        assert_eq!(answer.status, 403);
        assert!(!answer.message().is_empty());
    }
}

#[tokio::test]
async fn g38_the_query_counts() {
    let site = Site::start().await;
    let token = site.endpoint.token.clone();
    let without = format!("resourceId={}", escape(vm_id().as_str()));
    for wrong in [
        "format=rdp".to_owned(),
        without,
        query("&rdpport=x"),
        query("&rdpport=0"),
        query("&enablerdsaad=yes"),
    ] {
        let answer = get(&site, &wrong, Some(&token)).await;
        assert_eq!((answer.status, answer.message().as_str()), (500, "Unexpected internal error"), "{wrong}");
    }
    site.violated("G38").await;
    let elsewhere = query("").replace("vm%2Dweb", "vm%2Dx");
    assert_eq!(get(&site, &elsewhere, Some(&token)).await.status, 404);
}

#[tokio::test]
async fn g38_what_tunnels_need_the_file_needs() {
    for traits in [
        BastionTraits { enable_tunneling: None, ..BastionTraits::default() },
        BastionTraits { reader: false, ..BastionTraits::default() },
        BastionTraits::of(Sku::Basic),
    ] {
        let site = Site::with(Emulation { bastions: vec![(bastion_id(), traits)], ..emulation(None) }).await;
        let token = site.endpoint.token.clone();
        assert_eq!(get(&site, &query(""), Some(&token)).await.status, 403);
    }
}
