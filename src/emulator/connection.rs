//! One TCP connection: TLS, then requests one after the other, until one of them becomes a WebSocket or the end.
//!
//! Nothing that a request set in motion is undone because its client went away: a session asked for is a session.

use std::sync::Arc;

use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;

use super::answers::{container_page, gateway_error};
use super::ending::{Client, part, sever};
use super::http::{ReadError, Request, Response};
use super::log::{EntryKind, RequestEntry};
use super::tunnel::Handover;
use super::verdict::{Reply, Verdict};
use super::world::World;
use super::{admin, arm, broker, exchange, rdp, sign_in, tunnel, upgrade};

/// Serves one connection until it ends or the emulator does.
pub(super) async fn serve(world: Arc<World>, config: Arc<ServerConfig>, tcp: TcpStream) {
    let stop = world.stop.clone();
    let Some(Some(handover)) = stop.run_until_cancelled(converse(&world, config, tcp)).await else { return };
    tunnel::run(world, handover).await;
}

async fn converse(world: &World, config: Arc<ServerConfig>, tcp: TcpStream) -> Option<Handover> {
    tcp.set_nodelay(true).ok()?;
    let mut client = timeout(world.limits.handshake, handshake(world, config, tcp)).await.ok()??;
    let mut buffer = Vec::with_capacity(2048);
    loop {
        let request = match timeout(world.limits.request, Request::read(&mut client, &mut buffer)).await {
            Ok(Ok(request)) => request,
            Err(_) | Ok(Err(ReadError::Gone)) => break,
            Ok(Err(ReadError::Refused(status, what))) => {
                let mut entry = RequestEntry::new(EntryKind::Other);
                entry.status = Some(status);
                entry.violate(if status == 505 { "G1" } else { "G20" }, what);
                world.record(entry).await;
                let page = Response::new(status, "text/html;charset=utf-8", container_page(status));
                page.write(&mut client, true).await.ok()?;
                break;
            }
        };
        let close = request.has_word("connection", "close");
        let Verdict { mut entry, reply, delay } = judge(world, &request).await;
        entry.status = match &reply {
            Reply::Answer(response) => Some(response.status),
            Reply::Upgrade(_) => Some(101),
            Reply::Cut(_) => None,
        };
        // The shortest sleep lasts a millisecond, also where none is asked for.
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        world.record(entry).await;
        match reply {
            Reply::Answer(response) => response.write(&mut client, close).await.ok()?,
            Reply::Cut(cut) => {
                sever(client, cut).await;
                return None;
            }
            Reply::Upgrade(upgrade) => {
                upgrade.response.write(&mut client, false).await.ok()?;
                return Some(Handover { client, early: buffer, upgrade });
            }
        }
        if close {
            break;
        }
    }
    part(client).await;
    None
}

/// TLS, with a look at what the client offers before it is answered (G1).
async fn handshake(world: &World, config: Arc<ServerConfig>, tcp: TcpStream) -> Option<Client> {
    let start = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), tcp).await.ok()?;
    let hello = start.client_hello();
    let offers_h2 = hello.alpn().is_some_and(|mut protocols| protocols.any(|p| p == b"h2"));
    // Whoever asks the emulator itself may offer what they like, and is given HTTP/1.1.
    let asks_us = world.admin().is_some() && hello.server_name() == Some(admin::HOST);
    if offers_h2 && !asks_us {
        let mut entry = RequestEntry::new(EntryKind::Handshake);
        entry.host = hello.server_name().unwrap_or_default().to_owned();
        entry.violate("G1", "HTTP/2 is offered");
        world.record(entry).await;
        return None;
    }
    start.into_stream(config).await.ok()
}

/// Sends a request to where its `Host` header means it to go.
async fn judge(world: &World, request: &Request) -> Verdict {
    let Some(host) = request.header("host") else {
        let mut entry = RequestEntry::of(EntryKind::Other, request);
        entry.violate("G20", "no Host header");
        return Verdict::answer(entry, Response::text(400, "Bad Request"));
    };
    if world.is_host(host, "management.localhost") {
        return arm::manage(world, request);
    }
    if world.is_host(host, "login.localhost") {
        return sign_in::sign_in(world, request);
    }
    if let Some(admin) = world.admin().filter(|_| world.is_host(host, admin::HOST)) {
        return admin::judge(world, admin, request);
    }
    let terrain = world.terrain();
    if terrain.is_broker(host, world.port) {
        return broker::judge(world, request);
    }
    let Some(bastion) = terrain.bastion_at(host, world.port) else {
        let entry = RequestEntry::of(EntryKind::Other, request);
        return Verdict::answer(entry, Response::text(421, "Misdirected Request"));
    };
    let path = request.path();
    let verdict = match path.strip_prefix("/api/tokens") {
        Some("") if request.method == "POST" && !terrain.knows(bastion) => {
            let entry = RequestEntry::of(EntryKind::Token, request);
            Verdict::answer(entry, gateway_error(404, "Target resource not found"))
        }
        Some("") if request.method == "POST" => exchange::open(world, bastion, request).await,
        Some(rest) if request.method == "DELETE" => {
            // The authToken is hexadecimal: nothing in it needs an escape.
            exchange::close(world, bastion, request, rest.strip_prefix('/').unwrap_or_default())
        }
        Some(_) => {
            let entry = RequestEntry::of(EntryKind::Other, request);
            Verdict::answer(entry, gateway_error(405, "HTTP 405 Method Not Allowed"))
        }
        None if path == "/api/rdpfile" && !bastion.is_developer() => rdp::file(world, bastion, request),
        None if path.contains("webtunnel") => upgrade::upgrade(world, bastion, request),
        None => {
            let entry = RequestEntry::of(EntryKind::Other, request);
            let page = container_page(404);
            Verdict::answer(entry, Response::new(404, "text/html;charset=utf-8", page))
        }
    };
    let mut verdict = verdict;
    verdict.entry.target.get_or_insert_with(|| bastion.id.name().to_owned());
    verdict
}
