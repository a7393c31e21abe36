//! Edits of the file while `bastion up` keeps it: what is changed is changed at once, and nothing else notices.

mod calm;
mod corners;
mod knocker;
mod mistakes;
mod moves;
mod saves;
mod scp;
mod walk;

use std::collections::HashSet;
use std::net::{SocketAddr, TcpListener};
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use bastion::control::client::Client;
use bastion::control::{Answer, Request, Status, TunnelStatus};
use bastion::instance::{Places, Surroundings, list};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::env::{POLL, Running, TestEnv};
use crate::process::PATIENCE;
use crate::server::Server;

/// A second is promised; other tests run beside this one.
const SOON: Duration = Duration::from_secs(4);

/// Three servers, and what leads to them.
pub(crate) struct Servers {
    one: Server,
    two: Server,
    three: Server,
}

impl Servers {
    pub(crate) async fn start() -> Self {
        Self {
            one: Server::named("one").await,
            two: Server::named("two").await,
            three: Server::named("three").await,
        }
    }

    /// A workspace with these tunnels. Its targets `one`, `two` and `three` answer on port 7 with their names.
    pub(crate) fn workspace(&self, tunnels: &str) -> String {
        self.workspace_with(tunnels, "")
    }

    /// The same, with more of the table `[emulator]`.
    pub(crate) fn workspace_with(&self, tunnels: &str, emulator: &str) -> String {
        let Self { one, two, three } = self;
        format!(
            "[azure]\ncloud = \"emulator\"\n[bastions.hub]\n[targets]\none = {{ vm = \"vm-one\" }}\n\
             two = {{ vm = \"vm-two\" }}\nthree = {{ vm = \"vm-three\" }}\n[emulator]\nlog = \"requests.jsonl\"\n\
             {emulator}\n[emulator.targets]\none = {{ 7 = \"{}\" }}\ntwo = {{ 7 = \"{}\" }}\n\
             three = {{ 7 = \"{}\" }}\n[tunnels]\n{tunnels}\n",
            one.address, two.address, three.address
        )
    }
}

/// A workspace that is edited while `bastion up` keeps it.
pub(crate) struct Scene {
    pub(crate) env: TestEnv,
    pub(crate) up: Running,
    client: Client,
    servers: Servers,
}

impl Scene {
    /// Starts these tunnels, and waits until all of them are ready.
    pub(crate) async fn start(tunnels: &str) -> Self {
        let scene = Self::start_with(tunnels, &["-v"]).await;
        scene.until("that all is ready", |status| status.tunnels.iter().all(is_ready).then_some(())).await;
        scene
    }

    /// Starts these tunnels with flags for `up`.
    pub(crate) async fn start_with(tunnels: &str, flags: &[&str]) -> Self {
        Self::prepared(tunnels, flags, TestEnv::workspace).await
    }

    /// The same with files that are put there in a way of their own.
    pub(crate) async fn prepared(
        tunnels: &str,
        flags: &[&str],
        prepare: impl FnOnce(&TestEnv, &str),
    ) -> Self {
        let servers = Servers::start().await;
        let text = servers.workspace(tunnels);
        Self::of(servers, flags, |env| prepare(env, &text)).await
    }

    /// The same with servers that are there already.
    pub(crate) async fn of(servers: Servers, flags: &[&str], prepare: impl FnOnce(&TestEnv)) -> Self {
        let env = TestEnv::new();
        prepare(&env);
        let up = env.up(flags);
        let client = client(&env, &up).await;
        let scene = Self { env, up, client, servers };
        scene.until("the first edition", |status| (status.generation > 0).then_some(())).await;
        scene
    }

    /// What answers on the targets.
    pub(crate) fn servers(&self) -> &Servers {
        &self.servers
    }

    /// The text of a workspace with these tunnels.
    pub(crate) fn text(&self, tunnels: &str) -> String {
        self.servers.workspace(tunnels)
    }

    /// Saves other tunnels, as most editors do: a new file is put over the old one. Says when.
    pub(crate) fn edit(&self, tunnels: &str) -> Instant {
        self.save(&self.text(tunnels))
    }

    /// The same with any text.
    pub(crate) fn save(&self, text: &str) -> Instant {
        std::fs::write(self.env.path("bastion.toml.new"), text).unwrap();
        std::fs::rename(self.env.path("bastion.toml.new"), self.env.path("bastion.toml")).unwrap();
        Instant::now()
    }

    /// What holds now.
    pub(crate) async fn status(&self) -> Status {
        self.client.status().await.unwrap()
    }

    /// Waits until what holds satisfies a condition, and gives back the value that the condition found in it.
    pub(crate) async fn until<T>(&self, what: &str, find: impl Fn(&Status) -> Option<T>) -> T {
        until(&self.client, &self.up, what, find).await
    }

    /// Waits until a tunnel is as it should be.
    pub(crate) async fn tunnel(&self, name: &str, is_it: impl Fn(&TunnelStatus) -> bool) -> TunnelStatus {
        let find = |status: &Status| status.tunnels.iter().find(|t| t.name == name && is_it(t)).cloned();
        self.until(&format!("`{name}`"), find).await
    }

    /// Waits until a tunnel is ready, and gives the port that it listens on.
    pub(crate) async fn port(&self, name: &str) -> u16 {
        port(&self.tunnel(name, is_ready).await)
    }

    /// Has the instance do something.
    pub(crate) async fn ask(&self, request: Request) -> Answer {
        timeout(PATIENCE, self.client.ask(request)).await.expect("an answer").unwrap()
    }

    /// How often there was something to carry out, once that was said so many times.
    pub(crate) async fn passes(&self, at_least: usize) -> usize {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let said = self.up.stderr();
            let passes = said.iter().filter(|line| line.contains("the declared set was carried out")).count();
            if passes >= at_least {
                return passes;
            }
            assert!(Instant::now() < deadline, "{passes} passes instead of {at_least}:\n{}", said.join("\n"));
            sleep(POLL).await;
        }
    }

    /// What was said after the first line like this one, without what differs from run to run.
    pub(crate) fn said_after(&self, is_it: impl Fn(&str) -> bool, ports: &[(u16, &str)]) -> String {
        let lines = self.up.stderr();
        let after = lines.iter().position(|line| is_it(line)).map_or(0, |at| at + 1);
        words(&lines[after..].join("\n"), ports)
    }

    /// How many sessions were granted for a target.
    pub(crate) fn sessions_of(&self, target: &str) -> usize {
        let granted = |request: &&serde_json::Value| {
            request["kind"] == "token"
                && request["status"] == 200
                && request["target"].as_str().is_some_and(|place| place.contains(target))
        };
        self.env.requests().iter().filter(granted).count()
    }
}

/// A way to the instance that this `up` is.
pub(crate) async fn client(env: &TestEnv, up: &Running) -> Client {
    client_at(&places(&env.home()), up).await
}

/// The same for a user whose files are there.
pub(crate) async fn client_at(places: &Places, up: &Running) -> Client {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let owners = list(places).unwrap();
        if let Some(owner) = owners.iter().find(|owner| owner.pid == up.id())
            && let Some(client) = Client::connect(&owner.socket).await.unwrap()
        {
            return client;
        }
        assert!(Instant::now() < deadline, "no instance: {owners:?}\n{}", up.stderr().join("\n"));
        sleep(POLL).await;
    }
}

/// Where the instances of a user with this home are.
pub(crate) fn places(home: &std::path::Path) -> Places {
    let state = Some(home.join(".local/state"));
    Places::new(&Surroundings { runtime: None, state, temporary: home.with_file_name("tmp") })
}

/// Waits until what holds of an instance satisfies a condition.
pub(crate) async fn until<T>(
    client: &Client,
    up: &Running,
    what: &str,
    find: impl Fn(&Status) -> Option<T>,
) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = client.status().await.unwrap();
        if let Some(found) = find(&status) {
            return found;
        }
        let said = || up.stderr().join("\n");
        assert!(Instant::now() < deadline, "waiting for {what}: {status:#?}\n{}", said());
        sleep(POLL).await;
    }
}

pub(crate) fn is_ready(tunnel: &TunnelStatus) -> bool {
    tunnel.state == "ready" && tunnel.reason.is_none()
}

/// A text with names for ports, and without log lines. Not every machine has ::1.
pub(crate) fn words(text: &str, ports: &[(u16, &str)]) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.retain(|line| !line.contains(" INFO ") && !line.contains(" WARN "));
    let mut text = lines.join("\n");
    for (port, name) in ports {
        text = text.replace(&format!(", [::1]:{port}"), "").replace(&port.to_string(), name);
    }
    text
}

/// The port that a tunnel listens on.
pub(crate) fn port(tunnel: &TunnelStatus) -> u16 {
    let addresses: Vec<SocketAddr> = tunnel.listen.iter().map(|address| address.parse().unwrap()).collect();
    let port = addresses[0].port();
    assert!(addresses.iter().all(|address| address.port() == port), "{addresses:?}");
    port
}

/// A port that is free on both loopback addresses, and stays so: the system gives none of this range by itself, and
/// no other test is given it.
pub(crate) fn free_port() -> u16 {
    static GIVEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);
    for _ in 0..1000 {
        let port = rand::random_range(10_000..32_000);
        let v4 = TcpListener::bind(("127.0.0.1", port));
        // Not every machine has ::1; where it is taken, it is there.
        let v6 = TcpListener::bind(("::1", port));
        let v6_free = v6.is_ok_and(|_| true) || TcpListener::bind(("::1", 0)).is_err();
        if v4.is_ok() && v6_free && GIVEN.lock().unwrap().insert(port) {
            return port;
        }
    }
    panic!("no port is free");
}

pub(crate) async fn connect(port: u16) -> std::io::Result<TcpStream> {
    timeout(PATIENCE, TcpStream::connect(("127.0.0.1", port))).await.expect("an answer to the connection")
}

/// Who answers on a port: the server's name. The connection goes on.
pub(crate) async fn greeted(port: u16) -> std::io::Result<(TcpStream, String)> {
    let mut stream = connect(port).await?;
    let name = greeting(&mut stream).await?;
    Ok((stream, name))
}

/// Who answers a connection.
pub(crate) async fn greeting(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut name = Vec::new();
    while !name.ends_with(b"\n") {
        name.push(timeout(PATIENCE, stream.read_u8()).await.expect("a greeting")?);
    }
    Ok(String::from_utf8(name).unwrap().trim().to_owned())
}

/// Waits until this server answers on a port, and gives the connection. Prints how long after the save that was.
pub(crate) async fn live(port: u16, server: &str, saved: Instant, what: &str) -> TcpStream {
    loop {
        if let Ok((stream, name)) = greeted(port).await
            && name == server
        {
            let took = saved.elapsed();
            println!("live after {} ms: {what}", took.as_millis());
            assert!(took < SOON, "{what}: live only after {took:?}");
            return stream;
        }
        assert!(saved.elapsed() < PATIENCE, "{what}: `{server}` does not answer on port {port}");
        sleep(POLL).await;
    }
}

/// Nobody listens on a port any more.
pub(crate) async fn closed(port: u16) {
    let deadline = Instant::now() + PATIENCE;
    while connect(port).await.is_ok() {
        assert!(Instant::now() < deadline, "somebody listens on port {port} still");
        sleep(POLL).await;
    }
}

/// A connection goes on: what is sent comes back.
pub(crate) async fn goes_on(stream: &mut TcpStream) {
    stream.write_all(b"still there?").await.unwrap();
    let mut back = [0; 12];
    timeout(PATIENCE, stream.read_exact(&mut back)).await.expect("an answer").unwrap();
    assert_eq!(&back, b"still there?");
}

/// A new connection is reset, which may be before its program knows that it has one.
pub(crate) async fn is_turned_away(port: u16) {
    match connect(port).await {
        Ok(stream) => is_reset(stream).await,
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}"),
    }
}

/// A connection ends by a reset, not as if the remote had ended it.
pub(crate) async fn is_reset(mut stream: TcpStream) {
    let end = timeout(PATIENCE, stream.read(&mut [0])).await.expect("an end");
    assert_eq!(end.map_err(|error| error.kind()), Err(std::io::ErrorKind::ConnectionReset));
}
