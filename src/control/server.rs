//! The instance's side of its socket. What comes is bounded: connections, bodies, and how long a request may trickle.

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path as PathParts, State};
use axum::http::{StatusCode, Uri};
use axum::response::sse::Sse;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use futures_util::stream;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::feed::Feed;
use super::{Instance, Refused, Request, VERSION, wire};
use crate::model::{self, Program, is_loopback};
use crate::sys::local::{self, LocalListener, Stream};
use crate::sys::socket;

/// How many connections there may be at once; further ones are closed.
const CONNECTIONS: usize = 64;
/// The most that a request's body may weigh.
const BODY: usize = 1024 * 1024;
/// How long a request may take to arrive, its head and its body each.
const ARRIVAL: Duration = Duration::from_secs(5);
/// How long connections may take to hear of the end.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long it may take to find out which programs wait; without the answer, none is named.
const LOOKING: Duration = Duration::from_secs(1);
/// Between two attempts to accept, when the system has no room for more.
const NO_ROOM: Duration = Duration::from_millis(100);

/// Listens on the socket of an instance, in place of whatever a dead one left there. Its lock has to be held.
///
/// # Errors
/// What the system said.
pub fn bind(path: &Path) -> io::Result<LocalListener> {
    local::bind(path)
}

/// Serves until it is told to stop; then every reader of events hears the end.
pub async fn serve(listener: LocalListener, instance: Arc<dyn Instance>, stop: CancellationToken) {
    let router = router(Shared { instance, stop: stop.clone() });
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_ended) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((_, false)) => {
                tracing::warn!("another user connected to the instance's socket and was turned away");
            }
            Ok((_, true)) if connections.len() >= CONNECTIONS => {
                tracing::warn!("more than {CONNECTIONS} connections to the instance's socket");
            }
            Ok((stream, true)) => {
                connections.spawn(converse(stream, router.clone(), stop.clone()));
            }
            Err(error) => {
                tracing::warn!("accepting on the instance's socket: {error}");
                sleep(NO_ROOM).await;
            }
        }
    }
    let told = async { while connections.join_next().await.is_some() {} };
    if timeout(FAREWELL, told).await.is_err() {
        connections.shutdown().await;
    }
}

/// One connection, to its end.
async fn converse(stream: Stream, router: Router, stop: CancellationToken) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(ARRIVAL)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("a connection to the instance's socket: {error}");
    }
}

#[derive(Clone)]
struct Shared {
    instance: Arc<dyn Instance>,
    stop: CancellationToken,
}

fn router(shared: Shared) -> Router {
    // `status` and `down` are served to every edition; the others say which one this is.
    Router::new()
        .route("/{version}/about", get(about))
        .route("/{version}/status", get(status))
        .route("/{version}/events", get(events))
        .route("/{version}/{verb}", post(ask))
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        .with_state(shared)
}

async fn about(State(shared): State<Shared>) -> Response {
    json(StatusCode::OK, &shared.instance.about())
}

async fn status(State(shared): State<Shared>) -> Response {
    let mut status = shared.instance.status();
    name_held(&mut status).await;
    json(StatusCode::OK, &wire::status(&shared.instance.about(), status))
}

/// Names the programs whose connections wait, where the system tells: looked up when somebody asks, all at once.
async fn name_held(status: &mut model::Status) {
    let held = status.tunnels.iter().flat_map(|tunnel| &tunnel.held);
    // Who comes from another machine is no program of this one.
    let local = held.filter(|held| is_loopback(&held.from)).map(|held| (held.to, held.from));
    let local: Vec<_> = local.collect();
    if local.is_empty() {
        return;
    }
    let mut looking = JoinSet::new();
    looking.spawn_blocking(move || socket::peers(&local));
    let Ok(Some(Ok(found))) = timeout(LOOKING, looking.join_next()).await else { return };
    for held in status.tunnels.iter_mut().flat_map(|tunnel| &mut tunnel.held) {
        let program = found.get(&held.from);
        held.program = program.map(|program| Program { pid: program.id, name: program.name.clone() });
    }
}

async fn events(State(shared): State<Shared>, PathParts(version): PathParts<String>) -> Response {
    if let Some(skew) = skew(&version) {
        return skew;
    }
    let feed = Feed::new(shared.instance, shared.stop);
    let next = |mut feed: Feed| async { feed.next().await.map(|event| (Ok::<_, Infallible>(event), feed)) };
    Sse::new(stream::unfold(feed, next)).into_response()
}

async fn ask(
    State(shared): State<Shared>,
    PathParts((version, verb)): PathParts<(String, String)>,
    uri: Uri,
    body: Body,
) -> Response {
    if let Some(skew) = skew(&version).filter(|_| verb != "down") {
        return skew;
    }
    let body = match arrive(body).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    match Request::read(&verb, &body) {
        None => unknown(uri).await,
        Some(Err(error)) => {
            // Where it is wrong, never what it says: it may be a secret.
            let place = format!("line {}, column {}", error.line(), error.column());
            let what = format!("the request's body is not the JSON that `{verb}` takes ({place})");
            refuse(StatusCode::BAD_REQUEST, &Refused::new("bad-request", what, None))
        }
        Some(Ok(request)) => match shared.instance.ask(request).await {
            Ok(answer) => json(StatusCode::OK, &answer),
            Err(refused) => refuse(StatusCode::CONFLICT, &refused),
        },
    }
}

async fn arrive(body: Body) -> Result<Vec<u8>, Response> {
    match timeout(ARRIVAL, Limited::new(body, BODY).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes().into()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let what = format!("the request's body is longer than {BODY} bytes");
            Err(refuse(StatusCode::PAYLOAD_TOO_LARGE, &Refused::new("bad-request", what, None)))
        }
        Ok(Err(_)) => {
            let broken = Refused::new("bad-request", "the request's body broke off", None);
            Err(refuse(StatusCode::BAD_REQUEST, &broken))
        }
        Err(_elapsed) => {
            let slow = Refused::new("bad-request", "the request's body did not arrive in time", None);
            Err(refuse(StatusCode::REQUEST_TIMEOUT, &slow))
        }
    }
}

/// What is answered to an edition of the interface that is not ours.
fn skew(version: &str) -> Option<Response> {
    if version.strip_prefix('v').and_then(|number| number.parse().ok()) == Some(VERSION) {
        return None;
    }
    let what = format!(
        "the running instance is bastion {}, whose interface is edition {VERSION}; it was asked for `{}`",
        env!("CARGO_PKG_VERSION"),
        model::printable(version, 16),
    );
    let hint = "`bastion down` stops it whatever its release; then start it again with this one";
    Some(refuse(StatusCode::NOT_FOUND, &Refused::new("version-skew", what, Some(hint))))
}

async fn unknown(uri: Uri) -> Response {
    let path = model::printable(uri.path(), 100);
    let what = format!("the instance's interface (edition {VERSION}) has nothing to do there: `{path}`");
    refuse(StatusCode::NOT_FOUND, &Refused::new("bad-request", what, None))
}

fn refuse(status: StatusCode, refused: &Refused) -> Response {
    json(status, refused)
}

fn json(status: StatusCode, what: &impl Serialize) -> Response {
    (status, axum::Json(what)).into_response()
}
