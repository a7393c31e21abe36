//! The words that Azure's two front doors use: ARM's error bodies, the gateway's, and the plain ones of whatever
//! stands before them.

use std::time::Duration;

use serde_json::json;

use super::access::{TENANT, guid};
use super::ending::Cut;
use super::http::{Response, phrase};
use super::log::RequestEntry;
use super::verdict::Reply;
use super::world::World;
use crate::model::{Endpoint, FaultAction, FaultPhase};

/// An error as ARM tells it.
pub(super) fn arm_error(status: u16, code: &str, message: &str) -> Response {
    arm(Response::json(status, &json!({ "error": { "code": code, "message": message } })))
}

/// Adds what every answer of ARM carries.
pub(super) fn arm(response: Response) -> Response {
    let id = guid();
    response
        .with("x-ms-request-id", id.clone())
        .with("x-ms-correlation-request-id", id)
        .with("x-ms-ratelimit-remaining-subscription-reads", "249")
        .with("X-Content-Type-Options", "nosniff")
        .with("Cache-Control", "no-cache")
}

/// The challenge of a 401 of ARM.
pub(super) fn challenge(response: Response, port: u16, error: &str) -> Response {
    challenge_in(TENANT, None, response, port, error)
}

/// The same of a tenant, perhaps with claims that the next token is to have.
pub(super) fn challenge_in(
    tenant: &str,
    claims: Option<&str>,
    response: Response,
    port: u16,
    error: &str,
) -> Response {
    let authority = format!("https://login.localhost:{port}/{tenant}");
    let mut text = format!(r#"Bearer authorization_uri="{authority}""#);
    text.push_str(&match claims {
        Some(claims) => format!(r#", error="insufficient_claims", claims="{claims}""#),
        None => format!(r#", error="invalid_token", error_description="{error}""#),
    });
    response.with("WWW-Authenticate", text)
}

/// An error as the gateway's REST half tells it.
pub(super) fn gateway_error(status: u16, message: &str) -> Response {
    let kind = match status {
        400 => "BAD_REQUEST",
        401 => "INVALID_CREDENTIALS",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        _ => "INTERNAL_ERROR",
    };
    Response::json(
        status,
        &json!({
            "message": message,
            "translatableMessage": { "key": "APP.TEXT_UNTRANSLATED", "variables": { "MESSAGE": message } },
            "statusCode": null,
            "expected": null,
            "patches": [],
            "type": kind,
        }),
    )
}

/// The page that the servlet container shows.
pub(super) fn container_page(status: u16) -> String {
    let phrase = phrase(status);
    format!(
        "<!doctype html><html lang=\"en\"><head><title>HTTP Status {status} \u{2013} {phrase}</title></head>\
         <body><h1>HTTP Status {status} \u{2013} {phrase}</h1><hr class=\"line\" /><p><b>Type</b> Status Report</p>\
         </body></html>"
    )
}

/// Lets a fault strike at a request, if one is due: how much later the answer comes, or what comes in its place.
pub(super) fn strike(
    world: &World,
    phase: FaultPhase,
    target: Option<&Endpoint>,
    entry: &mut RequestEntry,
) -> Result<Duration, Reply> {
    let Some(action) = world.strike(phase, target, entry) else { return Ok(Duration::ZERO) };
    match (misbehave(&action, phase, world.port), action) {
        (Some(reply), _) => Err(reply),
        (None, FaultAction::Delay(by)) => Ok(by),
        (None, _) => Ok(Duration::ZERO),
    }
}

/// What a fault makes of a request; `None`: nothing that can be seen in an answer.
pub(super) fn misbehave(action: &FaultAction, phase: FaultPhase, port: u16) -> Option<Reply> {
    let response = match action {
        FaultAction::Status(status) if phase == FaultPhase::Arm => arm_status(*status, port),
        FaultAction::Status(status) if phase == FaultPhase::SignIn => sign_in_status(*status),
        FaultAction::Status(status) if phase == FaultPhase::Broker => {
            Response::text(*status, phrase(*status))
        }
        FaultAction::Status(status) => {
            let response = gateway_error(*status, gateway_message(*status));
            if *status == 429 { response.with("Retry-After", "1") } else { response }
        }
        FaultAction::PlainStatus(status @ (401 | 403)) => Response::text(*status, phrase(*status)),
        FaultAction::PlainStatus(status) => {
            Response::new(*status, "text/html;charset=utf-8", container_page(*status))
        }
        FaultAction::EmptyStatus(status) => Response::empty(*status),
        FaultAction::Redirect(status, to) => Response::empty(*status).with("Location", to.clone()),
        FaultAction::Malformed if phase == FaultPhase::Broker => Response::text(200, ""),
        FaultAction::Answer(text) if phase == FaultPhase::Arm => {
            Response::new(200, "application/json; charset=utf-8", text.clone())
        }
        FaultAction::Answer(text) => Response::text(200, text),
        FaultAction::Malformed => Response::json(
            200,
            &json!({ "username": "", "dataSource": "default", "availableDataSources": ["default"] }),
        ),
        FaultAction::Silence => return Some(Reply::Cut(Cut::Silence)),
        FaultAction::Drop => return Some(Reply::Cut(Cut::Drop)),
        FaultAction::Reset => return Some(Reply::Cut(Cut::Reset)),
        FaultAction::Delay(_)
        | FaultAction::CloseNotify
        | FaultAction::Close(_)
        | FaultAction::HttpAfter101
        | FaultAction::Bare101
        | FaultAction::WrongAccept
        | FaultAction::ReservedBit
        | FaultAction::Masked
        | FaultAction::UnknownOpcode
        | FaultAction::Text
        | FaultAction::NoPong
        | FaultAction::Pings(_) => return None,
    };
    Some(Reply::Answer(response))
}

fn arm_status(status: u16, port: u16) -> Response {
    let (code, message) = match status {
        401 => ("InvalidAuthenticationToken", "The access token is invalid."),
        403 => ("AuthorizationFailed", FORBIDDEN),
        404 => ("ResourceNotFound", "The Resource was not found."),
        429 => ("TooManyRequests", "The request is being throttled. Please try again after 1 second."),
        503 => ("ServiceUnavailable", "The service is temporarily unavailable. Please try again."),
        504 => ("GatewayTimeout", "The gateway did not receive a response in time."),
        500..=599 => ("InternalServerError", "An error occurred. Please try again."),
        _ => ("BadRequest", "The request is invalid."),
    };
    let response = arm_error(status, code, message);
    match status {
        401 => challenge(response, port, message),
        429 => response.with("Retry-After", "1"),
        _ => response,
    }
}

fn sign_in_status(status: u16) -> Response {
    let (error, text) = match status {
        400 => ("invalid_request", "AADSTS900144: The request body is not what it should be."),
        401 => ("invalid_client", "AADSTS7000215: Invalid client secret provided."),
        403 => ("access_denied", "AADSTS53003: Access has been blocked by Conditional Access policies."),
        _ => ("temporarily_unavailable", "AADSTS90033: A transient error has occurred. Please try again."),
    };
    let trace = guid();
    let text = format!("{text} Trace ID: {trace} Correlation ID: {trace}");
    let response = Response::json(status, &json!({ "error": error, "error_description": text }));
    if status == 429 { response.with("Retry-After", "1") } else { response }
}

fn gateway_message(status: u16) -> &'static str {
    match status {
        401 => "Unauthorized",
        403 => FORBIDDEN,
        404 => "Target resource not found",
        429 => "Too many requests",
        503 => BUSY,
        _ => INTERNAL,
    }
}

/// The gateway's word for everything that it did not foresee.
pub(super) const INTERNAL: &str = "Unexpected internal error";
/// The gateway's word for being full.
pub(super) const BUSY: &str = "The server is busy. Please try again later.";
/// The word of whoever asks ARM about a caller that may not read.
pub(super) const FORBIDDEN: &str = "The client with object id '00000000-0000-4000-8000-0000000e0003' does not have \
     authorization to perform action 'Microsoft.Network/bastionHosts/read' over the requested scope or the scope is \
     invalid. If access was recently granted, please refresh your credentials.";
