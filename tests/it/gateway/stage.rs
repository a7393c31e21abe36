//! What every test of this room stands on: an emulator, the client's rooms set up against it, targets and local
//! programs that do as they are told.

use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, poll_fn};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bastion::azure::{Arm, ArmError, BastionHost, Cloud};
use bastion::carrier::{Break, ByteStream, Closing, OpenOptions, Received, Remains};
use bastion::emulator::{Emulator, EntryKind, RequestEntry, SessionCounts};
use bastion::gateway::{AccessTokens, Destination, Gateway, GatewayError, GatewayStream, TokenError};
use bastion::model::{
    Bastion, BastionTraits, Behaviour, Cloud as CloudName, Desired, Disposition, Emulation, Endpoint, Fault,
    FaultAction, FaultPhase, Identity, Limits, Listen, Locator, Machine, Name, Port, PortRule, Reason,
    ResourceId, Service, State, Target, Tunnel, TunnelStatus,
};
use bastion::net::{Network, Proxy, Trust};
use bastion::supervisor::{OneSource, Surroundings};

use crate::supervised::Supervised;
use secrecy::SecretString;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

/// No wait in these tests is longer, unless it says so.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// The port of the machine that leads to a target of the test's own.
pub(super) const OWN: u16 = 9000;
pub(super) const HTTP: u16 = 80;
pub(super) const ECHO: u16 = 7;
/// The address that is reached without a resource.
pub(super) const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 4);

pub(super) type Stream = GatewayStream<TlsStream<TcpStream>>;

/// An emulator and a client of it.
pub(super) struct Stage {
    pub(super) emulator: Emulator,
    pub(super) network: Network,
    pub(super) arm: Arm,
    pub(super) tokens: Arc<Tokens>,
}

/// Access tokens that are counted: the listed ones first, then the last of them for ever.
pub(super) struct Tokens {
    given: Mutex<Vec<String>>,
    asked: Mutex<Vec<bool>>,
}

/// A running tunnel.
pub(super) struct Running {
    pub(super) supervised: Supervised,
    pub(super) address: SocketAddr,
}

/// How a local program saw its connection end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Eof,
    Reset,
}

pub(super) fn port(number: u16) -> Port {
    Port::new(number).unwrap()
}

pub(super) fn bastion_id() -> ResourceId {
    id("Microsoft.Network/bastionHosts", "bas-hub")
}

pub(super) fn machine_id() -> ResourceId {
    id("Microsoft.Compute/virtualMachines", "vm-one")
}

pub(super) fn id(kind: &str, name: &str) -> ResourceId {
    ResourceId::compose(Emulation::SUBSCRIPTION, Emulation::RESOURCE_GROUP, kind, name).unwrap()
}

pub(super) fn fault(phase: FaultPhase, action: FaultAction) -> Fault {
    Fault { phase, action, after: 0, times: 1, target: None }
}

pub(super) fn always(phase: FaultPhase, action: FaultAction) -> Fault {
    Fault { times: 0, ..fault(phase, action) }
}

/// One bastion, one machine with a page, an echo and a target of the test's own, one address with the same.
pub(super) fn emulation(own: Option<SocketAddr>, faults: Vec<Fault>) -> Emulation {
    let mut ports = BTreeMap::from([(port(HTTP), Service::Http), (port(ECHO), Service::Echo)]);
    ports.extend(own.map(|address| (port(OWN), Service::Tcp(address))));
    let machine = |endpoint| Machine { ports: ports.clone(), ..Machine::new(endpoint) };
    Emulation {
        bastions: vec![(bastion_id(), BastionTraits::default())],
        machines: vec![machine(Endpoint::Resource(machine_id())), machine(Endpoint::Address(ADDRESS))],
        faults,
        ..Emulation::default()
    }
}

impl Stage {
    pub(super) async fn new(emulation: Emulation) -> Self {
        Self::through(emulation, None).await
    }

    /// With these faults and no target of the test's own.
    pub(super) async fn faulty(faults: Vec<Fault>) -> Self {
        Self::new(emulation(None, faults)).await
    }

    /// Everything goes through a proxy.
    pub(super) async fn through(emulation: Emulation, proxy: Option<Proxy>) -> Self {
        let emulator = Emulator::start(emulation, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
        let trust = Trust::Only(emulator.endpoint().ca_pem, Vec::new());
        Self::believing(emulator, &trust, proxy)
    }

    pub(super) fn believing(emulator: Emulator, trust: &Trust, proxy: Option<Proxy>) -> Self {
        let endpoint = emulator.endpoint();
        let network = Network::new(trust, proxy, "bastion-test").unwrap();
        let cloud =
            Cloud { resource_manager: endpoint.resource_manager.clone(), gateway_ports: PortRule::Allowed };
        let arm = Arm::new(cloud, &network.http().unwrap());
        Self { emulator, network, arm, tokens: Arc::new(Tokens::of(&[&endpoint.token])) }
    }

    pub(super) async fn read(&self) -> Result<BastionHost, ArmError> {
        self.arm.bastion(&bastion_id(), &self.emulator.endpoint().token.into()).await
    }

    pub(super) async fn gateway(&self) -> Gateway {
        Gateway::new(self.read().await.unwrap().gateway, self.network.clone(), Limits::default()).unwrap()
    }

    pub(super) async fn open(&self, gateway: &Gateway, port: u16) -> Result<Stream, GatewayError> {
        gateway.open(&destination(port), &*self.tokens, &options()).await
    }

    /// What the supervisor needs of this stage.
    pub(super) fn surroundings(&self) -> Surroundings {
        let tokens: Arc<dyn AccessTokens> = Arc::<Tokens>::clone(&self.tokens);
        let sign_in = Arc::new(OneSource(tokens));
        Surroundings { arm: self.arm.clone(), sign_in, network: self.network.clone(), journal: None }
    }

    /// A tunnel to a port of the machine, once it is ready.
    pub(super) async fn tunnel(&self, to: u16) -> Running {
        self.tunnel_with(&desired(Endpoint::Resource(machine_id()), to, Duration::from_secs(5))).await
    }

    pub(super) async fn tunnel_with(&self, desired: &Desired) -> Running {
        let supervised = Supervised::start(desired.clone(), Arc::new(self.surroundings())).await;
        let ready = supervised.until_state("one", State::Ready).await;
        Running { supervised, address: ready.listen[0] }
    }

    /// Why a tunnel does not become ready, as soon as that is known.
    pub(super) async fn refusal(&self, target: impl Into<Locator>) -> TunnelStatus {
        let desired = desired(target, HTTP, Duration::from_secs(5));
        let supervised = Supervised::start(desired, Arc::new(self.surroundings())).await;
        let told = supervised.until("one", |tunnel| tunnel.reason.is_some()).await;
        assert_eq!(supervised.stop().await, Remains::default());
        told
    }

    pub(super) fn counts(&self) -> SessionCounts {
        self.emulator.sessions()
    }

    /// Waits until the emulator's counts are so.
    pub(super) async fn until(&self, what: &str, fits: impl Fn(&SessionCounts) -> bool) {
        let met = self.emulator.log().wait_for(|_| fits(&self.counts()), PATIENCE).await;
        assert!(met, "not {what}: {:#?}", (self.counts(), self.emulator.log().entries()));
    }

    /// Waits until every session that was opened is deleted, and no WebSocket is left.
    pub(super) async fn settled(&self, opened: u64) {
        let done = |c: &SessionCounts| c.opened == opened && c.deleted == opened && c.streams == 0;
        self.until(&format!("{opened} sessions opened and deleted"), done).await;
    }

    /// The client broke no rule and bent none.
    pub(super) fn innocent(&self) {
        let counts = self.counts();
        assert_eq!((counts.violations, counts.warnings), (vec![], vec![]));
    }

    pub(super) fn entries(&self, kind: EntryKind) -> Vec<RequestEntry> {
        self.emulator.log().entries().into_iter().filter(|entry| entry.kind == kind).collect()
    }

    /// Waits for so many entries of a kind.
    pub(super) async fn seen(&self, kind: EntryKind, number: usize) -> Vec<RequestEntry> {
        let enough = |entries: &[RequestEntry]| entries.iter().filter(|e| e.kind == kind).count() >= number;
        let met = self.emulator.log().wait_for(enough, PATIENCE).await;
        assert!(met, "not {number} of {kind:?}: {:#?}", self.emulator.log().entries());
        self.entries(kind)
    }
}

impl Tokens {
    pub(super) fn of(tokens: &[&str]) -> Self {
        let given = tokens.iter().rev().map(|&token| token.to_owned()).collect();
        Self { given: Mutex::new(given), asked: Mutex::default() }
    }

    /// Each call so far, and whether it wanted a fresh one.
    pub(super) fn asked(&self) -> Vec<bool> {
        self.asked.lock().unwrap().clone()
    }
}

impl AccessTokens for Tokens {
    fn token(
        &self,
        fresh: bool,
    ) -> Pin<Box<dyn Future<Output = Result<SecretString, TokenError>> + Send + '_>> {
        self.asked.lock().unwrap().push(fresh);
        let mut given = self.given.lock().unwrap();
        let token = if given.len() > 1 { given.pop() } else { given.last().cloned() };
        let none = TokenError {
            what: "there is no token".to_owned(),
            disposition: Disposition::Retry,
            code: "sign-in",
            hint: None,
        };
        Box::pin(std::future::ready(token.map(Into::into).ok_or(none)))
    }
}

impl Running {
    pub(super) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Stops it; every session is deleted.
    pub(super) async fn stop(self) {
        assert_eq!(self.supervised.stop().await, Remains::default(), "sessions left behind");
    }
}

pub(super) fn options() -> OpenOptions {
    OpenOptions {
        user_agent: "bastion/test (tunnel one)".to_owned(),
        keepalive: Duration::from_secs(30),
        prewarm: 0,
        prewarm_dial: false,
        waiting: None,
    }
}

pub(super) fn destination(to: u16) -> Destination {
    Destination { bastion: bastion_id(), endpoint: Endpoint::Resource(machine_id()), port: port(to) }
}

pub(super) fn desired(target: impl Into<Locator>, to: u16, connect_timeout: Duration) -> Desired {
    let name = |text: &str| Name::new(text).unwrap();
    let tunnel = Tunnel {
        listen: Listen::Localhost(0),
        auto: false,
        target: name("target"),
        port: port(to),
        profiles: BTreeSet::new(),
        env: BTreeMap::new(),
        behaviour: Behaviour { connect_timeout, ..Behaviour::default() },
    };
    Desired {
        workspace: name("test"),
        cloud: CloudName::Emulator,
        bastions: BTreeMap::from([(
            name("hub"),
            Bastion { id: bastion_id(), identity: Identity::default(), limits: Limits::default() },
        )]),
        targets: BTreeMap::from([(name("target"), Target { bastion: name("hub"), locator: target.into() })]),
        tunnels: BTreeMap::from([(name("one"), tunnel)]),
        emulation: Emulation::default(),
    }
}

/// Why a tunnel is not ready, and whether it is blocked.
pub(super) fn reason(tunnel: &TunnelStatus) -> (bool, &Reason) {
    assert!(matches!(tunnel.state, State::Blocked | State::Connecting), "{tunnel:?}");
    (tunnel.state == State::Blocked, tunnel.reason.as_ref().unwrap())
}

/// A target that treats every connection alike. It ends with the set.
pub(super) async fn target<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> (SocketAddr, JoinSet<()>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(serve(stream));
        }
    });
    (address, tasks)
}

/// A target that sends this, and then waits for the end.
pub(super) async fn sending(bytes: Arc<Vec<u8>>) -> (SocketAddr, JoinSet<()>) {
    target(move |mut stream| {
        let bytes = Arc::clone(&bytes);
        async move {
            drop(stream.write_all(&bytes).await);
            drain(&mut stream).await;
        }
    })
    .await
}

/// Reads until nobody sends any more; what was read.
pub(super) async fn drain(mut stream: impl AsyncRead + Unpin) -> (Vec<u8>, End) {
    let mut all = Vec::new();
    let end = match stream.read_to_end(&mut all).await {
        Ok(_) => End::Eof,
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => End::Reset,
        Err(error) => panic!("neither end nor reset: {error}"),
    };
    (all, end)
}

/// Bytes in which no two places look alike.
pub(super) fn pattern(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend((state >> 16).to_le_bytes().iter().take(4));
    }
    bytes.truncate(length);
    bytes
}

pub(super) async fn recv<R: ByteStream>(remote: &mut R) -> Received {
    timeout(PATIENCE, poll_fn(|cx| remote.poll_recv(cx))).await.expect("bytes or an end in time")
}

/// Everything that a stream has, and how it ended.
pub(super) async fn receive<R: ByteStream>(remote: &mut R) -> (Vec<u8>, Result<bool, Break>) {
    let mut all = Vec::new();
    loop {
        match recv(remote).await {
            Received::Data(bytes) => all.extend_from_slice(&bytes),
            Received::End { clean } => return (all, Ok(clean)),
            Received::Broken(broken) => return (all, Err(broken)),
        }
    }
}

pub(super) async fn send<R: ByteStream>(remote: &mut R, bytes: &[u8]) {
    poll_fn(|cx| remote.poll_ready(cx)).await.unwrap();
    remote.send(bytes.to_vec().into()).unwrap();
    poll_fn(|cx| remote.poll_flush(cx)).await.unwrap();
}

pub(super) async fn close<R: ByteStream>(remote: &mut R) {
    timeout(PATIENCE, poll_fn(|cx| remote.poll_close(cx, Closing::Done))).await.unwrap();
}

/// Makes the clock go so many times as fast as it does, as long as this is polled. Unlike a clock that is stopped, it
/// does not run away while bytes are under way in the kernel.
#[expect(
    clippy::disallowed_methods,
    reason = "the clock that is hurried has to be waited for by another one"
)]
pub(super) async fn hurry(times: u32) {
    const TICK: Duration = Duration::from_millis(1);
    tokio::time::pause();
    loop {
        // A blocking task holds the stopped clock still.
        tokio::task::spawn_blocking(|| std::thread::sleep(TICK)).await.unwrap();
        tokio::time::advance(TICK * times).await;
    }
}
