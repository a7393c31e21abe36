//! The web server of a simulated machine: a page that says how the request got here, and bytes to measure with.
//!
//! It speaks HTTP/1.1 through the tunnel and knows no more than a machine behind a bastion would: the client's local
//! port is what the request's `Host` says.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::io::{AsyncWriteExt as _, DuplexStream};
use tokio::time::Instant;

use super::http::{ReadError, Request, Response};
use super::tunnel::Traffic;

/// What the page tells of its visitor's way.
pub(super) struct Visit {
    pub(super) machine: String,
    pub(super) port: u16,
    pub(super) session: u64,
    pub(super) node: String,
    pub(super) since: Instant,
    pub(super) traffic: Arc<Traffic>,
}

/// Answers requests until the visitor ends it.
pub(super) async fn serve(mut stream: DuplexStream, visit: Visit) -> io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        let request = match Request::read(&mut stream, &mut buffer).await {
            Ok(request) => request,
            Err(ReadError::Gone) => break,
            Err(ReadError::Refused(status, what)) => {
                Response::text(status, &format!("{what}\n")).write(&mut stream, true).await?;
                break;
            }
        };
        let close = request.has_word("connection", "close");
        let head = request.method == "HEAD";
        let path = request.path();
        if !head && request.method != "GET" {
            let response = Response::text(405, "GET or HEAD\n").with("Allow", "GET, HEAD");
            response.write(&mut stream, close).await?;
        } else if let Some(size) = path.strip_prefix("/bytes/").and_then(size) {
            bytes(&mut stream, size, head, close).await?;
        } else {
            let response = match path {
                "/" => front(&request, &visit),
                "/whoami" => Response::text(200, &whoami(&request, &visit)),
                "/healthz" => Response::text(200, "ok\n"),
                _ => Response::text(404, "Nothing here. Try /, /whoami, /bytes/10MiB or /healthz.\n"),
            };
            let mut bytes = response.with("Cache-Control", "no-store").bytes(close);
            if head {
                let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
                bytes.truncate(end);
            }
            stream.write_all(&bytes).await?;
        }
        if close {
            break;
        }
    }
    stream.shutdown().await
}

/// `10MiB` as a number.
fn size(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text.strip_prefix(digits)? {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<u64>().ok()?.checked_mul(unit))?
}

/// So many bytes: the numbers from 0 to 250, over and over.
async fn bytes(stream: &mut DuplexStream, size: u64, head: bool, close: bool) -> io::Result<()> {
    let connection = if close { "Connection: close\r\n" } else { "" };
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {size}\r\n{connection}\r\n"
    );
    stream.write_all(answer.as_bytes()).await?;
    if head {
        return Ok(());
    }
    let block: Vec<u8> = (0..=250u8).cycle().take(BLOCK).collect();
    let mut left = size;
    while left > 0 {
        let now = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
        stream.write_all(block.get(..now).unwrap_or_default()).await?;
        left -= u64::try_from(now).unwrap_or(left);
    }
    Ok(())
}

fn whoami(request: &Request, visit: &Visit) -> String {
    let Visit { machine, port, session, node, since, traffic } = visit;
    format!(
        "machine {machine}\nport    {port}\nsession {session}\nnode    {node}\nlocal   {}\nup      {} bytes\n\
         down    {} bytes\nfor     {} ms\n",
        local(request),
        traffic.up.load(Ordering::Relaxed),
        traffic.down.load(Ordering::Relaxed),
        since.elapsed().as_millis()
    )
}

/// The address that the visitor typed, as far as it is one.
fn local(request: &Request) -> &str {
    let plain = |host: &&str| {
        host.len() <= 255 && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b))
    };
    request.header("host").filter(plain).unwrap_or("localhost")
}

/// The same words as a page or, for whoever did not ask for one, as text.
fn front(request: &Request, visit: &Visit) -> Response {
    let Visit { machine, port, session, node, since, traffic } = visit;
    let local = local(request);
    let title = format!("You are on {machine}, port {port}");
    let lead =
        "Your request came through a Bastion tunnel. Nothing of it was Azure: the emulator plays its part.";
    let steps = [
        (
            format!("You asked for http://{local}/"),
            "curl or your browser connected to a local port.".to_owned(),
        ),
        (
            "A local listener accepted".to_owned(),
            "bastion owns that port and knows which machine and port it stands for.".to_owned(),
        ),
        (
            "A token was exchanged".to_owned(),
            format!("POST /api/tokens: the gateway checked the access token and granted session {session}."),
        ),
        (
            format!("A WebSocket was opened to node {node}"),
            "From there on every binary message is a piece of your TCP stream, and nothing else.".to_owned(),
        ),
        (
            format!("The gateway connected to {machine}:{port}"),
            "That is this page. When you hang up, the session is deleted.".to_owned(),
        ),
    ];
    let tries = [
        (format!("curl {local}/bytes/10MiB -o /dev/null"), "ten mebibytes through the tunnel"),
        (format!("curl {local}/whoami"), "who and where this is, and what has passed so far"),
        (
            "log = \"requests.jsonl\"".to_owned(),
            "below [emulator] in bastion.toml: every request to the simulated Azure is written down, without tokens",
        ),
        (
            "web = { 80 = \"127.0.0.1:3000\" }".to_owned(),
            "below [emulator.targets]: a program of your own answers here, through the same path",
        ),
    ];
    let facts = format!(
        "Session {session} on node {node}: {} bytes up, {} bytes down, open for {} ms.",
        traffic.up.load(Ordering::Relaxed),
        traffic.down.load(Ordering::Relaxed),
        since.elapsed().as_millis()
    );
    if !request.header("accept").is_some_and(|accept| accept.contains("text/html")) {
        let mut text = format!("{title}\n{lead}\n\n");
        for (number, (step, detail)) in (1..).zip(&steps) {
            text.push_str(&format!("  {number}. {step}\n     {detail}\n"));
        }
        text.push_str("\nWhat to try next\n\n");
        for (what, why) in &tries {
            text.push_str(&format!("  {what}\n     {why}\n"));
        }
        return Response::text(200, &format!("{text}\n{facts}\n"));
    }
    let list = |b: &str, a: &str, what: &str, why: &str| {
        format!("<li><{b}>{}</{b}>{a}<span>{}</span></li>\n", escape(what), escape(why))
    };
    let steps: String = steps.iter().map(|(step, detail)| list("b", "", step, detail)).collect();
    let tries: String = tries.iter().map(|(what, why)| list("code", "<br>", what, why)).collect();
    let page = PAGE
        .replace("{{title}}", &escape(&title))
        .replace("{{lead}}", &escape(lead))
        .replace("{{steps}}", &steps)
        .replace("{{tries}}", &tries)
        .replace("{{facts}}", &escape(&facts));
    Response::new(200, "text/html;charset=utf-8", page)
        .with("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const PAGE: &str = include_str!("page.html");
/// A multiple of 251 near 64 KiB, so that every block begins where the last one ended.
const BLOCK: usize = 251 * 260;
