//! Sign-in of applications, as one meets it at `login.localhost`.

use super::client::*;
use crate::emulator::access::{TENANT, base64url_decode};

#[tokio::test]
async fn sign_in_issues_tokens_that_count() {
    let site = Site::start().await;
    let host = format!("login.localhost:{}", site.endpoint.address.port());
    let line = format!("POST /{TENANT}/oauth2/v2.0/token");
    let form = "Content-Type: application/x-www-form-urlencoded";
    let body = "grant_type=client_credentials&client_id=x&client_secret=y\
                &scope=https%3A%2F%2Fmanagement.azure.com%2F.default";
    let answer = site.ask(&host, &line, &[form], body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let json = answer.json();
    assert_eq!(json["token_type"], "Bearer");
    let token = json["access_token"].as_str().unwrap();
    assert_ne!(token, site.endpoint.token);
    Session::of(&site.exchange(&site.form(ECHO, &[("aztoken", token)]), &[]).await);

    // Resource Manager by its own address, as a cloud of the user's calls it; nobody's in another emulator.
    let port = site.endpoint.address.port();
    let own = |port: u16| body.replace("management.azure.com", &format!("management.localhost%3A{port}"));
    let answer = site.ask(&host, &line, &[form], &own(port)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    let claims = base64url_decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(claims["aud"], format!("https://management.localhost:{port}"));

    let statement = "client_assertion=e30.e30.c2ln&client_assertion_type=\
                     urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
    for (line, body, status, error) in [
        (line.as_str(), body.replace("client_credentials", "password"), 400, "unsupported_grant_type"),
        (line.as_str(), body.replace("&client_secret=y", ""), 401, "invalid_client"),
        // Whoever shows a statement is not believed for a secret beside it.
        (line.as_str(), format!("{body}&{statement}"), 401, "invalid_client"),
        (line.as_str(), body.replace("management.azure", "graph.microsoft"), 400, "invalid_scope"),
        (line.as_str(), own(port.wrapping_add(1)), 400, "invalid_scope"),
        ("POST /elsewhere/oauth2/v2.0/token", body.to_owned(), 400, "invalid_request"),
    ] {
        let answer = site.ask(&host, line, &[form], &body).await;
        assert_eq!((answer.status, answer.json()["error"].as_str()), (status, Some(error)));
        assert!(answer.json()["error_description"].as_str().unwrap().starts_with("AADSTS"));
    }
}
