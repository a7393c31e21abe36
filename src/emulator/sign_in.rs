//! Sign-in of applications: `login.localhost`, as far as a token for Resource Manager needs it.

use std::borrow::Cow;

use serde_json::json;

use super::access::guid;
use super::answers::strike;
use super::assertion::{self, Asked};
use super::http::{Request, Response};
use super::log::{EntryKind, RequestEntry};
use super::redact;
use super::verdict::Verdict;
use super::world::World;
use crate::model::FaultPhase;
use crate::sys::clock;

/// Why there is no token, as Entra says it.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) error: &'static str,
    pub(super) code: u32,
    pub(super) text: Cow<'static, str>,
}

impl Refusal {
    /// The request is at fault.
    fn request(code: u32, text: &'static str) -> Self {
        Self { error: "invalid_request", code, text: text.into() }
    }

    /// The application is not believed.
    pub(super) fn client(code: u32, text: impl Into<Cow<'static, str>>) -> Self {
        Self { error: "invalid_client", code, text: text.into() }
    }

    /// Only who is not believed gets a 401 (RFC 6749, 5.2).
    fn status(&self) -> u16 {
        if self.error == "invalid_client" { 401 } else { 400 }
    }
}

/// `login.localhost`.
pub(super) fn sign_in(world: &World, request: &Request) -> Verdict {
    let mut entry = RequestEntry::of(EntryKind::Login, request);
    let fields: Vec<(String, String)> = form_urlencoded::parse(&request.body).into_owned().collect();
    entry.form = redact::form(&fields);
    let delay = match strike(world, FaultPhase::SignIn, None, &mut entry) {
        Ok(delay) => delay,
        Err(reply) => return Verdict::reply(entry, reply),
    };
    let response = match grant(world, request, &fields) {
        Ok(response) => response,
        Err(refusal) => {
            let trace = guid();
            let (code, text) = (refusal.code, &refusal.text);
            let text = format!("AADSTS{code}: {text} Trace ID: {trace} Correlation ID: {trace}");
            let body = json!({
                "error": refusal.error,
                "error_description": text,
                "error_codes": [code],
                "trace_id": trace,
                "correlation_id": trace,
                "error_uri": format!("https://login.localhost:{}/error?code={code}", world.port),
            });
            Response::json(refusal.status(), &body)
        }
    };
    Verdict::answer(entry, response.with("Cache-Control", "no-store, no-cache").with("Pragma", "no-cache"))
        .after(delay)
}

fn grant(world: &World, request: &Request, fields: &[(String, String)]) -> Result<Response, Refusal> {
    let field = |name: &str| {
        fields.iter().find(|(n, value)| n == name && !value.is_empty()).map(|(_, value)| value.as_str())
    };
    let named = request.path().strip_suffix(TOKEN).and_then(|path| path.strip_prefix('/'));
    let Some(named) = named.filter(|_| request.method == "POST") else {
        let text = "The endpoint only accepts POST requests to a token path.";
        return Err(Refusal::request(900_561, text));
    };
    let rules = world.rules();
    let Some(tenant) = rules.tenant(named) else {
        let text = "Tenant not found. Check to make sure you have the correct one.";
        return Err(Refusal::request(90_002, text));
    };
    if !request.is_form() {
        return Err(Refusal::request(900_144, "The request body must be a form."));
    }
    if field("grant_type") != Some("client_credentials") {
        let text = "The app requested an unsupported grant type.";
        return Err(Refusal { error: "unsupported_grant_type", code: 70_003, text: text.into() });
    }
    let Some(client_id) = field("client_id") else {
        let text = "The request body must contain the following parameter: 'client_id'.";
        return Err(Refusal::request(900_144, text));
    };
    match (field("client_assertion"), field("client_secret")) {
        (Some(statement), _) => {
            if field("client_assertion_type") != Some(ASSERTION) {
                return Err(assertion::malformed());
            }
            // The one place that a statement may be for: it is not to be had from elsewhere and shown here.
            let endpoint = format!("https://login.localhost:{}/{named}{TOKEN}", world.port);
            let asked = Asked { client_id, endpoint: &endpoint, now: clock::now() };
            assertion::check(statement, &asked, &rules)?;
        }
        (None, Some(secret)) => {
            if rules.secret.as_ref().is_some_and(|taken| taken != secret) {
                let text = "Invalid client secret provided. Ensure the secret being sent is the client secret value.";
                return Err(Refusal::client(7_000_215, text));
            }
        }
        (None, None) => {
            let text = "The request body must contain 'client_assertion' or 'client_secret'.";
            return Err(Refusal::client(7_000_218, text));
        }
    }
    let Some(audience) = field("scope").and_then(|scope| audience(scope, world.port)) else {
        let text = "The provided value for the input parameter 'scope' is not valid.";
        return Err(Refusal { error: "invalid_scope", code: 70_011, text: text.into() });
    };
    let token = world.tokens.issue(tenant, audience, rules.token_lifetime, clock::now());
    // A client counts from when the answer comes, which is later than now.
    let life = rules.token_lifetime.as_secs().saturating_sub(1).max(1);
    Ok(Response::json(
        200,
        &json!({ "token_type": "Bearer", "expires_in": life, "ext_expires_in": life, "access_token": token }),
    ))
}

/// Whom a token of this scope is for: Resource Manager by its names in Azure, or by its own address, as a cloud that is no
/// one's but the user's calls it. The slash at the end of a name belongs to it.
fn audience(scope: &str, port: u16) -> Option<&str> {
    let audience = scope.strip_suffix("/.default")?;
    let own = format!("https://management.localhost:{port}");
    ["https://management.core.windows.net/", "https://management.azure.com", &own]
        .contains(&audience)
        .then_some(audience)
}

/// The path of every tenant's.
const TOKEN: &str = "/oauth2/v2.0/token";

const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
