//! The limit of a start: what cannot be avoided for so many tunnels, and nothing else. As many loopback listeners are
//! bound, the bastion is read once, and as many sessions are granted and deleted, over connections that are kept.
//! It is this program, started again under a hidden name: `ENDPOINT COUNT`. The requests are those of docs/protocol.md.

use std::io::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::{Result, plain};

/// The first argument of the hidden command.
pub(crate) const COMMAND: &str = "least";
/// What it prints when every listener is bound and every session was granted.
pub(crate) const READY: &str = "ready";
/// What it prints when every session is deleted.
pub(crate) const DELETED: &str = "deleted";
/// Where the workspace says that its bastion and its machine are.
pub(crate) const SUBSCRIPTION: &str = "00000000-0000-4000-8000-00000000be4c";
pub(crate) const GROUP: &str = "rg-many";
/// What the client has in flight at most, by its default.
const AT_ONCE: usize = 32;

/// The command that starts it.
pub(crate) fn command(endpoint: &Path, count: usize) -> Result<tokio::process::Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(COMMAND).arg(endpoint).arg(count.to_string());
    Ok(command.into())
}

/// Does it, says so, and keeps the listeners until it is ended.
pub(crate) async fn run(mut arguments: impl Iterator<Item = String>) -> Result<()> {
    let endpoint = std::fs::read_to_string(arguments.next().ok_or("no endpoint")?)?;
    let count: usize = arguments.next().ok_or("no count")?.parse()?;
    let azure = Arc::new(Azure::read(&serde_json::from_str(&endpoint)?)?);
    let gateway = azure.gateway().await?;
    let (begun, granted) = (Arc::new(AtomicUsize::new(0)), watch::Sender::new(0_usize));
    let mut workers = JoinSet::new();
    for _ in 0..AT_ONCE.min(count) {
        let (azure, gateway) = (Arc::clone(&azure), gateway.clone());
        let (begun, granted) = (Arc::clone(&begun), granted.clone());
        workers.spawn(async move {
            let mut connection = azure.connect(&gateway).await?;
            loop {
                let turn = begun.fetch_add(1, Ordering::Relaxed);
                if turn >= count {
                    return Result::Ok(());
                }
                azure.session(&mut connection, turn + 1, &granted).await?;
            }
        });
    }
    let listeners = listen(count).await?;
    let mut all = granted.subscribe();
    let done = async {
        while let Some(done) = workers.join_next().await {
            done??;
        }
        Result::Ok(())
    };
    let mut done = std::pin::pin!(done);
    let over = tokio::select! {
        _ = all.wait_for(|granted| *granted == count) => false,
        ended = &mut done => {
            ended?;
            true
        }
    };
    writeln!(std::io::stdout(), "{READY}")?;
    if !over {
        done.await?;
    }
    writeln!(std::io::stdout(), "{DELETED}")?;
    std::future::pending::<()>().await;
    drop(listeners);
    Ok(())
}

/// As `listen = 0` has it: a free port, the same on both addresses.
async fn listen(count: usize) -> Result<Vec<TcpListener>> {
    let mut listeners = Vec::with_capacity(2 * count);
    let ipv6 = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await.is_ok();
    while listeners.len() < if ipv6 { 2 * count } else { count } {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        if ipv6 {
            // Free on the one, and perhaps taken on the other: then the next.
            let port = listener.local_addr()?.port();
            let Ok(other) = TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await else { continue };
            listeners.push(other);
        }
        listeners.push(listener);
    }
    Ok(listeners)
}

/// The emulator, by the file that it writes.
struct Azure {
    address: SocketAddr,
    resource_manager: String,
    token: String,
    tls: TlsConnector,
}

impl Azure {
    fn read(endpoint: &Value) -> Result<Self> {
        let field = |name| text(endpoint, name);
        let authority = CertificateDer::from_pem_slice(field("ca_pem")?.as_bytes())?;
        Ok(Self {
            address: field("address")?.parse()?,
            resource_manager: field("resource_manager")?,
            token: field("token")?,
            tls: TlsConnector::from(Arc::new(plain::client_config(authority)?)),
        })
    }

    async fn connect(&self, host: &str) -> Result<Connection> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let name = host.split_once(':').map_or(host, |(name, _)| name).to_owned();
        let stream = self.tls.connect(ServerName::try_from(name)?, stream).await?;
        Ok(Connection { host: host.to_owned(), stream, read: Vec::new() })
    }

    /// Where the gateway is.
    async fn gateway(&self) -> Result<String> {
        let mut connection = self.connect(&self.resource_manager).await?;
        let path = format!("{}?api-version=2024-05-01", id("Microsoft.Network/bastionHosts/hub"));
        let headers = format!("Authorization: Bearer {}\r\n", self.token);
        let bastion: Value = serde_json::from_slice(&connection.ask("GET", &path, &headers, "", 200).await?)?;
        text(bastion.get("properties").unwrap_or(&Value::Null), "dnsName")
    }

    /// One session, granted and deleted.
    async fn session(&self, to: &mut Connection, port: usize, granted: &watch::Sender<usize>) -> Result<()> {
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("resourceId", &id("Microsoft.Compute/virtualMachines/box"))
            .append_pair("protocol", "tcptunnel")
            .append_pair("workloadHostPort", &port.to_string())
            .append_pair("aztoken", &self.token)
            .finish();
        let kind = "Content-Type: application/x-www-form-urlencoded\r\n";
        let session: Value = serde_json::from_slice(&to.ask("POST", "/api/tokens", kind, &form, 200).await?)?;
        granted.send_modify(|granted| *granted += 1);
        let token = text(&session, "authToken")?;
        let token = percent_encoding::utf8_percent_encode(&token, percent_encoding::NON_ALPHANUMERIC);
        let node = format!("X-Node-Id: {}\r\n", text(&session, "nodeId")?);
        to.ask("DELETE", &format!("/api/tokens/{token}"), &node, "", 204).await?;
        Ok(())
    }
}

fn id(what: &str) -> String {
    format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/{what}")
}

fn text(of: &Value, name: &str) -> Result<String> {
    Ok(of.get(name).and_then(Value::as_str).ok_or_else(|| format!("no {name}"))?.to_owned())
}

/// HTTP/1.1 over one connection, one request after another.
struct Connection {
    host: String,
    stream: TlsStream<TcpStream>,
    read: Vec<u8>,
}

impl Connection {
    /// Asks for something, and reads the whole answer.
    async fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &str,
        body: &str,
        status: u16,
    ) -> Result<Vec<u8>> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: least\r\nContent-Length: {}\r\n{headers}\r\n{body}",
            self.host,
            body.len(),
        );
        self.stream.write_all(request.as_bytes()).await?;
        self.stream.flush().await?;
        self.read.clear();
        loop {
            if let Some((code, head, length)) = head(&self.read)? {
                if code != status {
                    return Err(format!("{method} {path}: HTTP {code}").into());
                }
                if let Some(body) = self.read.get(head..head + length) {
                    return Ok(body.to_vec());
                }
            }
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Err(format!("{method} {path}: the connection ended").into());
            }
        }
    }
}

/// Status, length of the head and of the body, once the head is whole.
fn head(bytes: &[u8]) -> Result<Option<(u16, usize, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut answer = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = answer.parse(bytes)? else { return Ok(None) };
    let length = answer.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = length.map_or(Ok("0"), |header| std::str::from_utf8(header.value))?;
    Ok(Some((answer.code.ok_or("no status")?, head, length.trim().parse()?)))
}
