//! A gateway of the test's own, for what the emulator does not write down: pongs, masks, and when they come.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bastion::carrier::{OpenOptions, Remains};
use bastion::gateway::Gateway;
use bastion::model::{GatewayHost, Limits, PortRule};
use bastion::net::{Network, Trust};
use bastion::relay::{Counts, Relay};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{TlsAcceptor, rustls};

use super::stage::{PATIENCE, Stream, Tokens, destination, options, pattern, send};

/// A grant; what nobody asked for is no reason to refuse it.
const GRANT: &str =
    r#"{"authToken":"AA","websocketToken":"BB","nodeId":"10.0.0.1","new":{"x":[1]},"username":null}"#;

/// What goes for a stream unless it is about pings.
pub(super) const KEEPALIVE: Duration = Duration::from_secs(30);

/// A client of a gateway that this test plays.
struct Played {
    gateway: Gateway,
    sockets: mpsc::Receiver<TlsStream<TcpStream>>,
    deletions: Arc<AtomicUsize>,
    heads: Heads,
    tasks: JoinSet<()>,
}

/// The heads of all requests, as they came.
type Heads = Arc<Mutex<Vec<String>>>;

/// What is played.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// A bastion's own gateway.
    Own,
    /// A broker, which names itself as the pod, and that pod.
    Shared,
}

/// The gateway's end of a WebSocket.
pub(super) struct Frames(TlsStream<TcpStream>);

impl Frames {
    /// Sends a frame of less than 64 KiB.
    pub(super) async fn send(&mut self, first: u8, payload: &[u8]) {
        let mut frame = vec![first, 126];
        frame.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        frame.extend(payload);
        self.0.write_all(&frame).await.unwrap();
        self.0.flush().await.unwrap();
    }

    /// The next frame: its first byte, its mask, and what it holds.
    pub(super) async fn next(&mut self) -> (u8, [u8; 4], Vec<u8>) {
        let first = self.0.read_u8().await.unwrap();
        let second = self.0.read_u8().await.unwrap();
        assert!(second & 0x80 != 0, "a frame of a client's is masked");
        let length = match second & 0x7f {
            126 => usize::from(self.0.read_u16().await.unwrap()),
            127 => panic!("a frame of more than 64 KiB"),
            short => usize::from(short),
        };
        let mut mask = [0; 4];
        self.0.read_exact(&mut mask).await.unwrap();
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload).await.unwrap();
        for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= key;
        }
        (first, mask, payload)
    }
}

/// A gateway that grants this to whoever asks.
async fn played(grant: &'static str, role: Role) -> Played {
    let signed = rcgen::generate_simple_self_signed(["gateway.localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(signed.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![signed.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = format!("gateway.localhost:{}", listener.local_addr().unwrap().port());
    let (sender, sockets) = mpsc::channel(1);
    let deletions = Arc::new(AtomicUsize::new(0));
    let heads = Heads::default();
    let (count, write, name) = (Arc::clone(&deletions), Arc::clone(&heads), host.clone());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((tcp, _)) = listener.accept().await {
            let (acceptor, sockets, count) = (acceptor.clone(), sender.clone(), Arc::clone(&count));
            let (heads, pod) = (Arc::clone(&write), name.clone());
            connections.spawn(async move {
                let tls = acceptor.accept(tcp).await.unwrap();
                if let Some(socket) = serve(tls, (grant, &pod), &count, &heads).await {
                    sockets.send(socket).await.unwrap();
                }
            });
        }
    });
    let trust = Trust::Only(signed.cert.pem(), vec![]);
    let network = Network::new(&trust, None, "bastion-test").unwrap();
    let host = GatewayHost::parse(&host, PortRule::Allowed).unwrap();
    let limits = Limits { sessions: 0, setups: 1 };
    let gateway = match role {
        Role::Own => Gateway::new(host, network, limits),
        Role::Shared => Gateway::shared(host, PortRule::Allowed, network, limits),
    };
    Played { gateway: gateway.unwrap(), sockets, deletions, heads, tasks }
}

/// Opens a stream of the client's to a gateway that this test plays.
pub(super) async fn opened(keepalive: Duration) -> (Stream, Frames, JoinSet<()>) {
    let mut played = played(GRANT, Role::Own).await;
    let (tokens, options) = (Tokens::of(&["a.b.c"]), OpenOptions { keepalive, ..options() });
    let stream = played.gateway.open(&destination(22), &tokens, &options).await.unwrap();
    (stream, Frames(played.sockets.recv().await.unwrap()), played.tasks)
}

/// Answers requests until one becomes a WebSocket.
async fn serve(
    mut tls: TlsStream<TcpStream>,
    (grant, pod): (&str, &str),
    deletions: &AtomicUsize,
    heads: &Heads,
) -> Option<TlsStream<TcpStream>> {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(tls.read_u8().await.ok()?);
        }
        let head = String::from_utf8(head).unwrap();
        let header = |name: &str| {
            let lines = head.lines().filter_map(|line| line.split_once(": "));
            lines.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).next()
        };
        let mut body = vec![0; header("content-length").map_or(0, |n| n.parse().unwrap())];
        tls.read_exact(&mut body).await.ok()?;
        heads.lock().unwrap().push(head.clone());
        let answer = if head.starts_with("POST") {
            let text = if head.starts_with("POST /api/connection ") { pod } else { grant };
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len())
        } else if head.starts_with("DELETE") {
            deletions.fetch_add(1, Ordering::Relaxed);
            "HTTP/1.1 204 No Content\r\n\r\n".to_owned()
        } else {
            let key = header("sec-websocket-key").unwrap();
            let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
            let head =
                "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nconnection: keep-alive, upgrade";
            format!("{head}\r\nsec-websocket-accept: {accept}\r\n\r\n")
        };
        tls.write_all(answer.as_bytes()).await.ok()?;
        tls.flush().await.ok()?;
        if head.starts_with("GET") {
            return Some(tls);
        }
    }
}

#[tokio::test]
async fn frames_are_whole_and_every_mask_is_a_new_one() {
    let (mut stream, mut gateway, _tasks) = opened(KEEPALIVE).await;
    let bytes = pattern(400_000);
    let sending = async {
        for piece in bytes.chunks(50_000) {
            send(&mut stream, piece).await;
        }
    };
    let receiving = async {
        let (mut all, mut masks, mut frames) = (Vec::new(), BTreeSet::new(), 0);
        while all.len() < bytes.len() {
            let (first, mask, payload) = gateway.next().await;
            assert_eq!(first, 0x82, "FIN, no reserved bit, binary");
            assert!((1..=4096).contains(&payload.len()), "{} bytes", payload.len());
            masks.insert(mask);
            frames += 1;
            all.extend(payload);
        }
        assert!(all == bytes);
        assert_eq!(masks.len(), frames, "a mask was used twice");
        assert!(!masks.contains(&[0; 4]));
    };
    timeout(PATIENCE, async { tokio::join!(sending, receiving) }).await.unwrap();
}

/// A local connection whose buffers in the kernel are as small as they can be.
async fn narrow() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let program = TcpSocket::new_v4().unwrap();
    program.set_recv_buffer_size(4096).unwrap();
    let (program, accepted) =
        tokio::join!(program.connect(listener.local_addr().unwrap()), listener.accept());
    let (accepted, _) = accepted.unwrap();
    socket2::SockRef::from(&accepted).set_send_buffer_size(4096).unwrap();
    (program.unwrap(), accepted)
}

#[tokio::test]
async fn a_ping_is_answered_while_the_local_program_does_not_read() {
    // Within what is read ahead, at once, and not only with the next sip; beyond it, with that one.
    for (kib, limit) in [(128, Duration::from_millis(1800)), (384, Duration::from_secs(8))] {
        let (mut stream, mut gateway, _tasks) = opened(KEEPALIVE).await;
        let (mut program, accepted) = narrow().await;
        let mut relay = Relay::new(accepted, Arc::new(Counts::default()));
        let bytes = pattern(kib * 1024);
        let play = async {
            for piece in bytes.chunks(8192) {
                gateway.send(0x82, piece).await;
            }
            gateway.send(0x89, b"are you there").await;
            let asked = Instant::now();
            let (first, _, payload) = gateway.next().await;
            assert_eq!((first, &*payload), (0x8a, &b"are you there"[..]));
            assert!(asked.elapsed() < limit, "{kib} KiB: {:?}", asked.elapsed());
            // And nothing of it is lost.
            let mut all = vec![0; bytes.len()];
            program.read_exact(&mut all).await.unwrap();
            assert!(all == bytes);
        };
        tokio::select! {
            outcome = relay.run(&mut stream, None) => panic!("{outcome:?}"),
            played = timeout(PATIENCE, play) => played.unwrap(),
        }
    }
}

#[tokio::test]
async fn a_grant_that_names_its_session_is_deleted_though_nothing_can_be_done_with_it() {
    for grant in [
        r#"{"authToken":"AA","websocketToken":"","nodeId":"10.0.0.1"}"#,
        r#"{"authToken":"AA","nodeId":"10.0.0.1"}"#,
    ] {
        let played = played(grant, Role::Own).await;
        let opened = played.gateway.open(&destination(22), &Tokens::of(&["a.b.c"]), &options()).await;
        let error = opened.err().unwrap();
        assert_eq!(error.code(), "gateway-answer", "{grant}");
        let asked = async {
            while played.deletions.load(Ordering::Relaxed) == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(timeout(PATIENCE / 2, asked).await.is_ok(), "a session is left behind: {grant}");
        assert_eq!(played.deletions.load(Ordering::Relaxed), 1, "{grant}");
    }
}

#[tokio::test]
async fn a_pod_that_names_no_node_is_told_none() {
    for (grant, node) in [
        (r#"{"authToken":"AA","websocketToken":"BB"}"#, false),
        (r#"{"authToken":"AA","websocketToken":"BB","nodeId":null}"#, false),
        (r#"{"authToken":"AA","websocketToken":"BB","nodeId":"10.0.0.1"}"#, true),
    ] {
        let mut played = played(grant, Role::Shared).await;
        let stream = played.gateway.open(&destination(22), &Tokens::of(&["a.b.c"]), &options()).await;
        drop((stream.unwrap(), played.sockets.recv().await.unwrap()));
        let left = played.gateway.settle(Instant::now() + PATIENCE).await;
        assert_eq!((left, played.gateway.sessions()), (Remains::default(), (1, 1)), "{grant}");
        let heads = played.heads.lock().unwrap().clone();
        let lines: Vec<&str> = heads.iter().map(|head| head.lines().next().unwrap()).collect();
        assert_eq!(
            lines,
            [
                "POST /api/connection HTTP/1.1",
                "POST /api/tokens HTTP/1.1",
                "GET /omni/webtunnel/BB HTTP/1.1",
                "DELETE /api/tokens/AA HTTP/1.1",
            ]
        );
        let names_it = |head: &String| head.to_ascii_lowercase().contains("x-node-id");
        assert_eq!(heads.iter().map(names_it).collect::<Vec<_>>(), [false, false, false, node], "{grant}");
    }
}
