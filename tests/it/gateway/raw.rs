//! A gateway of the test's own, for what the emulator does not write down: pongs, masks, and when they come.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bastion::gateway::Gateway;
use bastion::model::{GatewayHost, PortRule};
use bastion::net::{Network, Trust};
use bastion::relay::{Counts, Relay};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{TlsAcceptor, rustls};

use super::stage::{PATIENCE, Stream, Tokens, destination, options, pattern, send};

/// The gateway's end of a WebSocket.
struct Frames(TlsStream<TcpStream>);

impl Frames {
    /// Sends a frame of less than 64 KiB.
    async fn send(&mut self, first: u8, payload: &[u8]) {
        let mut frame = vec![first, 126];
        frame.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        frame.extend(payload);
        self.0.write_all(&frame).await.unwrap();
        self.0.flush().await.unwrap();
    }

    /// The next frame: its first byte, its mask, and what it holds.
    async fn next(&mut self) -> (u8, [u8; 4], Vec<u8>) {
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

/// Opens a stream of the client's to a gateway that this test plays.
async fn opened() -> (Stream, Frames, JoinSet<()>) {
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
    let (sockets, mut opened) = tokio::sync::mpsc::channel(1);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((tcp, _)) = listener.accept().await {
            let (acceptor, sockets) = (acceptor.clone(), sockets.clone());
            connections.spawn(async move {
                let tls = acceptor.accept(tcp).await.unwrap();
                if let Some(socket) = serve(tls).await {
                    sockets.send(socket).await.unwrap();
                }
            });
        }
    });
    let trust = Trust::Only(signed.cert.pem(), vec![]);
    let network = Network::new(&trust, None, "bastion-test").unwrap();
    let host = GatewayHost::parse(&host, PortRule::Allowed).unwrap();
    let gateway = Gateway::new(host, network, 1).unwrap();
    let tokens = Tokens::of(&["a.b.c"]);
    let stream = gateway.open(&destination(22), &tokens, &options()).await.unwrap();
    (stream, Frames(opened.recv().await.unwrap()), tasks)
}

/// Answers requests until one becomes a WebSocket.
async fn serve(mut tls: TlsStream<TcpStream>) -> Option<TlsStream<TcpStream>> {
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
        let answer = if head.starts_with("POST") {
            // What nobody asked for is no reason to refuse it.
            let session = r#"{"authToken":"AA","websocketToken":"BB","nodeId":"10.0.0.1","new":{"x":[1]},"username":null}"#;
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{session}", session.len())
        } else if head.starts_with("DELETE") {
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
    let (mut stream, mut gateway, _tasks) = opened().await;
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
    // Within what is read ahead, at once; beyond it, with the next sip.
    for (kib, limit) in [(128, Duration::from_millis(900)), (384, Duration::from_secs(3))] {
        let (mut stream, mut gateway, _tasks) = opened().await;
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
