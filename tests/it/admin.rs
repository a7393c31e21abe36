//! What goes wrong in a running emulator at somebody's word: faults from its command line and at `admin.localhost`.

use std::net::SocketAddr;
use std::time::Duration;

use bastion::net::{Answer, Http, Network, Trust};
use reqwest::{Method, Request};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::env::{EmulatorProcess, TestEnv};

const PATIENCE: Duration = Duration::from_secs(15);

const WORKSPACE: &str = r#"
[azure]
cloud = "emulator"
[bastions.hub]
[targets]
web = { vm = "vm-web" }
[tunnels.echo]
listen = 0
target = "web"
port = 7
connect_timeout = "2s"
backoff = { initial = "50ms", max = "100ms" }
"#;

/// Whoever has the emulator's token, or not.
struct Asker {
    http: Http,
    base: String,
    token: Option<String>,
}

impl Asker {
    fn of(emulator: &EmulatorProcess) -> Self {
        let network = Network::new(&Trust::Only(emulator.field("ca_pem"), Vec::new()), None, "test").unwrap();
        let port = emulator.field("address").parse::<SocketAddr>().unwrap().port();
        let base = format!("https://admin.localhost:{port}");
        Self { http: network.http().unwrap(), base, token: Some(emulator.token()) }
    }

    async fn ask(&self, method: Method, path: &str, form: &str) -> Answer {
        let mut request = Request::new(method, format!("{}{path}", self.base).parse().unwrap());
        if let Some(token) = &self.token {
            request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        if !form.is_empty() {
            let kind = "application/x-www-form-urlencoded".parse().unwrap();
            request.headers_mut().insert("content-type", kind);
            *request.body_mut() = Some(form.to_owned().into());
        }
        self.http.send(request, PATIENCE).await.unwrap()
    }

    async fn post(&self, path: &str, form: &str) -> (u16, String) {
        let answer = self.ask(Method::POST, path, form).await;
        (answer.status, String::from_utf8(answer.body).unwrap())
    }

    async fn sessions(&self) -> serde_json::Value {
        serde_json::from_slice(&self.ask(Method::GET, "/sessions", "").await.body).unwrap()
    }
}

/// Sends three bytes and waits for them: whether they came back.
async fn echoes(stream: &mut TcpStream) -> bool {
    let mut back = [0; 3];
    let exchange = async {
        stream.write_all(b"abc").await.ok()?;
        stream.read_exact(&mut back).await.ok()
    };
    timeout(PATIENCE, exchange).await.expect("an answer or an end in time").is_some()
}

#[tokio::test]
async fn faults_come_and_go_while_everything_runs() {
    let env = TestEnv::new();
    env.workspace(WORKSPACE);
    let emulator = env.emulator(&["--admin"]).await;
    let asker = Asker::of(&emulator);
    let up = env.start_on(&emulator, &["up"]);
    let address = up.address("echo").await;
    let mut first = TcpStream::connect(address).await.unwrap();
    assert!(echoes(&mut first).await);

    assert_eq!(asker.post("/faults", "phase=token&do=503&times=0&target=web").await, (204, String::new()));
    let mut second = TcpStream::connect(address).await.unwrap();
    assert!(!echoes(&mut second).await, "no session is granted");
    assert!(echoes(&mut first).await, "what is open goes on");
    assert_eq!(asker.ask(Method::DELETE, "/faults", "").await.status, 204);
    let mut third = TcpStream::connect(address).await.unwrap();
    assert!(echoes(&mut third).await);

    assert_eq!(asker.sessions().await["live"], 2);
    let (status, lost) = asker.post("/vanish", "").await;
    assert_eq!((status, lost.as_str()), (200, r#"{"lost":2}"#));
    assert!(!echoes(&mut first).await && !echoes(&mut third).await, "their nodes are gone");
    let mut fourth = TcpStream::connect(address).await.unwrap();
    assert!(echoes(&mut fourth).await, "and others in their place");
    drop(fourth);
    up.stop().await;
    let counts = asker.sessions().await;
    assert_eq!((&counts["lost"], &counts["live"]), (&2.into(), &0.into()), "{counts}");
    assert_eq!(counts["violations"], serde_json::json!([]));
    emulator.into_running().stop().await;
}

#[tokio::test]
async fn nobody_is_heard_without_the_token_or_where_it_is_not_open() {
    let env = TestEnv::new();
    env.workspace(WORKSPACE);
    let emulator = env.emulator(&["--admin"]).await;
    let asker = Asker { token: None, ..Asker::of(&emulator) };
    assert_eq!(asker.post("/faults", "phase=token&do=503").await.0, 401);
    let asker = Asker { token: Some("a.b.c".to_owned()), ..asker };
    assert_eq!(asker.post("/faults", "phase=token&do=503").await.0, 401);
    emulator.into_running().stop().await;

    let emulator = env.emulator(&[]).await;
    assert_eq!(Asker::of(&emulator).post("/faults", "phase=token&do=503").await.0, 421);
    emulator.into_running().stop().await;
}

#[tokio::test]
async fn what_is_no_fault_is_told_as_in_a_file() {
    let env = TestEnv::new();
    env.workspace(WORKSPACE);
    let emulator = env.emulator(&["--admin"]).await;
    let asker = Asker::of(&emulator);
    let (status, report) = asker.post("/faults", "phase=stream&do=rest&after=64KiB").await;
    assert_eq!(status, 400);
    insta::assert_snapshot!(report, @r#"
    error[invalid-value]: `rest` is not a fault of the emulator
     --> fault:3:6
      |
    3 | do = "rest"
      |      ^^^^^^ unknown fault
      |
    help: did you mean `reset`?
      |
    3 | do = "reset"
      |          +
    "#);
    for (form, words) in [
        ("", "a fault needs a `phase`"),
        ("phase=token", "a fault needs a `do`"),
        ("phase=token&do=503&target=wab", "did you mean `web`"),
        ("phase=token&do=503&%5D%0A=x", "is not a key of a fault"),
        ("phase=token&do=503&fase=x", "unknown key `fase`"),
        ("phase=token&do=503&times=%22%0A%5Bazure%5D", "times"),
        ("phase=sign-in&do=503&target=web", "signs in for no target in particular"),
    ] {
        let (status, report) = asker.post("/faults", form).await;
        assert!(status == 400 && report.contains(words), "{form}: {status} {report}");
    }
    assert_eq!(asker.ask(Method::PUT, "/faults", "").await.status, 404);
    emulator.into_running().stop().await;
}

#[tokio::test]
async fn faults_of_the_command_line_go_behind_those_of_the_file() {
    let env = TestEnv::new();
    let file = "[[emulator.faults]]\nphase = \"token\"\ndo = \"500\"\ntimes = 1\n";
    env.workspace(&format!("{WORKSPACE}\n[emulator]\nlog = \"requests.jsonl\"\n{file}"));
    let emulator = env.emulator(&["--fault", "phase=token do=429", "--fault", "phase=sign-in do=503"]).await;
    let up = env.start_on(&emulator, &["up"]);
    up.address("echo").await;
    up.stop().await;
    emulator.into_running().stop().await;
    let tokens = env.requests().into_iter().filter(|entry| entry["kind"] == "token");
    let statuses: Vec<_> = tokens.map(|entry| entry["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses[..3], [500, 429, 200]);
}
