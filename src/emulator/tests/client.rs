//! A client by hand: raw requests and raw frames over TLS, so that a test can be as wrong as it wants to be.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::socket::Socket;
use crate::emulator::world::Limits;
use crate::emulator::{Emulator, RequestEntry};
use crate::model::{
    BastionTraits, Emulation, EmulatorEndpoint, Endpoint, Fault, FaultAction, FaultPhase, Frames, Machine,
    Port, ResourceId, Service,
};

pub(super) const WITHIN: Duration = Duration::from_secs(5);
pub(super) const HTTP: u16 = 80;
pub(super) const ECHO: u16 = 7;
pub(super) const TCP: u16 = 22;
pub(super) const CLOSED: u16 = 9;
pub(super) const ADDRESS: &str = "10.1.20.110";

pub(super) fn bastion_id() -> ResourceId {
    id("Microsoft.Network/bastionHosts", "bas-hub")
}

pub(super) fn vm_id() -> ResourceId {
    id("Microsoft.Compute/virtualMachines", "vm-web")
}

fn id(kind: &str, name: &str) -> ResourceId {
    ResourceId::compose(Emulation::SUBSCRIPTION, Emulation::RESOURCE_GROUP, kind, name).unwrap()
}

/// A bastion, a machine with every service, and an address that echoes.
pub(super) fn emulation(tcp: Option<SocketAddr>) -> Emulation {
    let port = |n: u16| Port::new(n).unwrap();
    let mut ports = BTreeMap::from([(port(HTTP), Service::Http), (port(ECHO), Service::Echo)]);
    if let Some(address) = tcp {
        ports.insert(port(TCP), Service::Tcp(address));
    }
    let echo = BTreeMap::from([(port(ECHO), Service::Echo)]);
    Emulation {
        bastions: vec![(bastion_id(), BastionTraits::default())],
        machines: vec![
            Machine { ports, ..Machine::new(Endpoint::Resource(vm_id())) },
            Machine { ports: echo, ..Machine::new(Endpoint::Address(ADDRESS.parse().unwrap())) },
        ],
        ..Emulation::default()
    }
}

pub(super) fn fault(phase: FaultPhase, action: FaultAction) -> Fault {
    Fault { phase, action, after: 0, times: 1, target: None }
}

/// A running emulator and what a client knows of it.
pub(super) struct Site {
    pub(super) emulator: Emulator,
    pub(super) endpoint: EmulatorEndpoint,
    /// The data plane's host and port, as ARM told it.
    pub(super) gateway: String,
}

/// An HTTP answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(super) fn message(&self) -> String {
        self.json()["message"].as_str().unwrap().to_owned()
    }
}

/// What the token exchange granted.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) auth: String,
    pub(super) websocket: String,
    pub(super) node: String,
}

impl Session {
    pub(super) fn of(answer: &Answer) -> Self {
        assert_eq!(answer.status, 200, "{}", answer.text());
        let json = answer.json();
        let text = |name: &str| json[name].as_str().unwrap().to_owned();
        Self { auth: text("authToken"), websocket: text("websocketToken"), node: text("nodeId") }
    }
}

impl Site {
    pub(super) async fn start() -> Self {
        Self::with(emulation(None)).await
    }

    pub(super) async fn with(emulation: Emulation) -> Self {
        Self::within(emulation, Limits::default()).await
    }

    pub(super) async fn framed(frames: Frames, tcp: Option<SocketAddr>) -> Self {
        Self::with(Emulation { frames, ..emulation(tcp) }).await
    }

    pub(super) async fn within(emulation: Emulation, limits: Limits) -> Self {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let emulator = Emulator::start_within(emulation, any, limits).await.unwrap();
        let endpoint = emulator.endpoint();
        let host = emulator.world.terrain().bastions[0].host.clone();
        let gateway = format!("{host}:{}", endpoint.address.port());
        Self { emulator, endpoint, gateway }
    }

    /// One with a single fault.
    pub(super) async fn faulty(phase: FaultPhase, action: FaultAction) -> Self {
        Self::with(Emulation { faults: vec![fault(phase, action)], ..emulation(None) }).await
    }

    pub(super) async fn tls(&self, host: &str) -> TlsStream<TcpStream> {
        self.offering(host, &["http/1.1"]).await.unwrap()
    }

    pub(super) async fn offering(
        &self,
        host: &str,
        protocols: &[&str],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.endpoint.ca_pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
        let tcp = TcpStream::connect(self.endpoint.address).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name).to_owned();
        let name = ServerName::try_from(name).unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, tcp).await
    }

    /// One request on a connection of its own.
    pub(super) async fn ask(&self, host: &str, line: &str, headers: &[&str], body: &str) -> Answer {
        self.try_ask(host, line, headers, body).await.unwrap()
    }

    pub(super) async fn try_ask(
        &self,
        host: &str,
        line: &str,
        headers: &[&str],
        body: &str,
    ) -> std::io::Result<Answer> {
        let mut tls = self.tls(host).await;
        let host = [format!("Host: {host}")];
        let length = [format!("Content-Length: {}", body.len())];
        let all = host.iter().chain(&length).map(String::as_str).chain(headers.iter().copied());
        let head: Vec<&str> = all.collect();
        write(&mut tls, &format!("{line} HTTP/1.1\r\n{}\r\n\r\n{body}", head.join("\r\n"))).await;
        let mut rest = Vec::new();
        answer(&mut tls, &mut rest).await
    }

    pub(super) async fn arm(&self, path: &str, headers: &[&str]) -> Answer {
        self.ask(&self.endpoint.resource_manager, &format!("GET {path}"), headers, "").await
    }

    /// A read of the bastion as a client makes it.
    pub(super) async fn read_bastion(&self) -> Answer {
        let bearer = format!("Authorization: Bearer {}", self.endpoint.token);
        self.arm(&format!("{}?api-version=2024-05-01", bastion_id()), &[&bearer]).await
    }

    /// The form of an exchange, with changes: an empty value leaves a field out.
    pub(super) fn form(&self, port: u16, changes: &[(&str, &str)]) -> String {
        let id = vm_id().to_string();
        let port = port.to_string();
        let mut fields = vec![
            ("resourceId", id.as_str()),
            ("protocol", "tcptunnel"),
            ("workloadHostPort", port.as_str()),
            ("aztoken", self.endpoint.token.as_str()),
        ];
        for (name, value) in changes {
            fields.retain(|(n, _)| n != name);
            if !value.is_empty() {
                fields.push((name, value));
            }
        }
        form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
    }

    pub(super) async fn exchange(&self, form: &str, headers: &[&str]) -> Answer {
        let kind = ["Content-Type: application/x-www-form-urlencoded"];
        let headers: Vec<&str> = kind.iter().chain(headers).copied().collect();
        self.ask(&self.gateway, "POST /api/tokens", &headers, form).await
    }

    pub(super) async fn session(&self, port: u16) -> Session {
        Session::of(&self.exchange(&self.form(port, &[]), &[]).await)
    }

    pub(super) async fn delete(&self, session: &Session) -> Answer {
        let node = format!("X-Node-Id: {}", session.node);
        self.ask(&self.gateway, &format!("DELETE /api/tokens/{}", session.auth), &[&node], "").await
    }

    /// An upgrade with the given path; on 101, the socket.
    pub(super) async fn upgrade(&self, path: &str, headers: &[&str]) -> (Answer, Socket) {
        let mut tls = self.tls(&self.gateway).await;
        let head =
            format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{}\r\n\r\n", self.gateway, headers.join("\r\n"));
        write(&mut tls, &head).await;
        let mut buffer = Vec::new();
        let answer = answer(&mut tls, &mut buffer).await.unwrap();
        (answer, Socket { tls, buffer })
    }

    pub(super) async fn open(&self, session: &Session) -> Socket {
        let (answer, socket) = self.upgrade(&url(session), &WEBSOCKET).await;
        assert_eq!(answer.status, 101);
        assert_eq!(answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        socket
    }

    /// Exchange and upgrade.
    pub(super) async fn dial(&self, port: u16) -> (Session, Socket) {
        let session = self.session(port).await;
        let socket = self.open(&session).await;
        (session, socket)
    }

    /// The newest entry that fits, once there is one.
    pub(super) async fn entry(&self, fits: impl Fn(&RequestEntry) -> bool) -> RequestEntry {
        let log = self.emulator.log();
        let there = log.wait_for(|entries| entries.iter().any(&fits), WITHIN).await;
        assert!(there, "no such entry in {:#?}", log.entries());
        log.entries().into_iter().rev().find(|entry| fits(entry)).unwrap()
    }

    /// Waits for a violation of a rule.
    pub(super) async fn violated(&self, rule: &str) {
        let rule = format!("{rule}: ");
        self.entry(|entry| entry.violations.iter().any(|v| v.starts_with(&rule))).await;
        assert!(self.emulator.sessions().violations.iter().any(|v| v.starts_with(&rule)));
    }

    pub(super) fn innocent(&self) {
        assert_eq!(self.emulator.sessions().violations, Vec::<String>::new());
    }
}

/// The path of a session's WebSocket, escaped exactly once.
pub(super) fn url(session: &Session) -> String {
    format!("/webtunnelv2/{}?X-Node-Id={}", escape(&session.websocket), session.node)
}

pub(super) fn escape(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

pub(super) const WEBSOCKET: [&str; 4] = [
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
];

pub(super) async fn write(tls: &mut TlsStream<TcpStream>, text: &str) {
    tls.write_all(text.as_bytes()).await.unwrap();
    tls.flush().await.unwrap();
}

/// Reads one answer; what follows it stays in `buffer`.
pub(super) async fn answer(tls: &mut TlsStream<TcpStream>, buffer: &mut Vec<u8>) -> std::io::Result<Answer> {
    let read = async {
        loop {
            let mut headers = [httparse::EMPTY_HEADER; 32];
            let mut head = httparse::Response::new(&mut headers);
            if let httparse::Status::Complete(used) = head.parse(buffer).unwrap() {
                let status = head.code.unwrap();
                let headers: Vec<(String, String)> = head
                    .headers
                    .iter()
                    .map(|h| (h.name.to_owned(), String::from_utf8(h.value.to_vec()).unwrap()))
                    .collect();
                buffer.drain(..used);
                let length = headers.iter().find(|(name, _)| name == "Content-Length");
                let length: usize = length.map_or(0, |(_, value)| value.parse().unwrap());
                while buffer.len() < length {
                    more(tls, buffer).await?;
                }
                let body = buffer.drain(..length).collect();
                return Ok(Answer { status, headers, body });
            }
            more(tls, buffer).await?;
        }
    };
    tokio::time::timeout(WITHIN, read).await.expect("an answer in time")
}

async fn more(tls: &mut TlsStream<TcpStream>, buffer: &mut Vec<u8>) -> std::io::Result<()> {
    match tls.read_buf(buffer).await? {
        0 => Err(std::io::ErrorKind::ConnectionAborted.into()),
        _ => Ok(()),
    }
}
