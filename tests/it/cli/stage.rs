//! A scripted instance for the tested program to find: it holds the real lock and serves the real socket, in this
//! process, and says what the test has it say.

use std::path::PathBuf;
use std::process::Output;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use bastion::control::{About, Answer, Answering, Instance, Refused, Request, server};
use bastion::instance::{Identity, Lock, Places, Surroundings};
use bastion::model::{self, BastionStatus, Name, Reason, State};
use bastion::sys::clock;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::words;
use crate::env::{POLL, TestEnv};
use crate::process::PATIENCE;

/// Two tunnels and one of a profile.
pub(super) const WORKSPACE: &str = r#"name = "shop"
[azure]
cloud = "emulator"

[bastions.hub]

[targets]
web = { vm = "vm-web" }
db = { vm = "vm-db" }

[tunnels]
page = "8080 -> web:80"
orders = "5432 -> db:5432"

[tunnels.debug]
listen = 0
target = "web"
port = 9229
profiles = ["debug"]
"#;

type Answers = Box<dyn Fn(&Request) -> Result<Answer, Refused> + Send + Sync>;

/// The instance as its socket sees it.
struct Actor {
    about: About,
    status: Mutex<model::Status>,
    events: broadcast::Sender<model::TunnelEvent>,
    changed: watch::Sender<u64>,
    asked: watch::Sender<Vec<Request>>,
    answers: Answers,
    /// Until then, no proof is made.
    proves: watch::Sender<bool>,
}

/// A workspace with its instance.
pub(super) struct Stage {
    pub(super) env: TestEnv,
    actor: Arc<Actor>,
    stop: CancellationToken,
    served: JoinSet<()>,
    lock: Option<Lock>,
}

impl Stage {
    /// An instance that runs these tunnels and does what it is asked.
    pub(super) fn new(tunnels: Vec<model::TunnelStatus>) -> Self {
        Self::answering(tunnels, |request| {
            Ok(match request {
                Request::Down { tunnels, .. } => {
                    Answer::Stopping { waiting: Vec::new(), whole: tunnels.is_empty() }
                }
                Request::Up { .. }
                | Request::Reload { .. }
                | Request::Plan { .. }
                | Request::Prove { .. } => Answer::Done,
            })
        })
    }

    /// An instance with answers of the test's own.
    pub(super) fn answering(
        tunnels: Vec<model::TunnelStatus>,
        answers: impl Fn(&Request) -> Result<Answer, Refused> + Send + Sync + 'static,
    ) -> Self {
        let env = TestEnv::new();
        env.workspace(WORKSPACE);
        Self::beside(env, None, tunnels, answers)
    }

    /// An instance for a workspace that is there already, in an environment.
    pub(super) fn beside(
        env: TestEnv,
        environment: Option<&str>,
        tunnels: Vec<model::TunnelStatus>,
        answers: impl Fn(&Request) -> Result<Answer, Refused> + Send + Sync + 'static,
    ) -> Self {
        let environment = environment.map(name);
        let identity = Identity { directory: directory(&env), file: "bastion.toml".into(), environment };
        let lock = Lock::claim(&places(&env), &identity, clock::now()).unwrap();
        let listener = server::bind(lock.socket()).unwrap();
        let status = model::Status { generation: 1, rejected: None, tunnels, bastions: vec![bastion()] };
        let Identity { directory, file, environment } = identity;
        let actor = Arc::new(Actor {
            about: About::new(&name("shop"), &directory, &file, environment.as_ref(), UNIX_EPOCH),
            status: Mutex::new(status),
            events: broadcast::channel(16).0,
            changed: watch::channel(0).0,
            asked: watch::channel(Vec::new()).0,
            answers: Box::new(answers),
            proves: watch::channel(true).0,
        });
        let (stop, mut served) = (CancellationToken::new(), JoinSet::new());
        served.spawn(server::serve(listener, Arc::<Actor>::clone(&actor), stop.clone()));
        Self { env, actor, stop, served, lock: Some(lock) }
    }

    /// What a command says to it, and how it ends.
    pub(super) async fn said(&self, arguments: &[&str]) -> String {
        self.words(&self.env.run(arguments).await)
    }

    /// What differs from run to run is replaced.
    pub(super) fn words(&self, output: &Output) -> String {
        let text = words(&self.env, output);
        let text = text.replace(&std::process::id().to_string(), "PID");
        text.replace(&format!("\"{}\"", env!("CARGO_PKG_VERSION")), "\"VERSION\"")
    }

    /// Something happens to a tunnel.
    pub(super) fn happens(&self, tunnel: model::TunnelStatus) {
        {
            let mut status = self.actor.status.lock().unwrap();
            status.tunnels.retain(|other| other.name != tunnel.name);
            status.tunnels.push(tunnel.clone());
        }
        // Nobody may be listening yet.
        let _nobody = self.actor.events.send(model::TunnelEvent { time: UNIX_EPOCH, tunnel });
    }

    /// The declared set changes.
    pub(super) fn declares(&self, tunnels: Vec<model::TunnelStatus>) {
        self.change(|status| (status.generation, status.tunnels) = (status.generation + 1, tunnels));
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut model::Status)) {
        change(&mut self.actor.status.lock().unwrap());
        self.actor.changed.send_modify(|edition| *edition += 1);
    }

    /// Whether it makes proofs that it is asked for, or takes its time.
    pub(super) fn proves(&self, proves: bool) {
        self.actor.proves.send_replace(proves);
    }

    /// Waits until it was asked this many things, and gives all of them.
    pub(super) async fn asked(&self, least: usize) -> Vec<Request> {
        let mut asked = self.actor.asked.subscribe();
        let enough = timeout(PATIENCE, asked.wait_for(|asked| asked.len() >= least)).await;
        let asked =
            enough.unwrap_or_else(|_| panic!("{least} requests, but {:?}", self.actor.asked.borrow()));
        asked.unwrap().clone()
    }

    /// Waits until somebody listens to what happens to it.
    pub(super) async fn heard(&self) {
        let listens = async {
            while self.actor.events.receiver_count() == 0 {
                tokio::time::sleep(POLL).await;
            }
        };
        timeout(PATIENCE, listens).await.expect("somebody listens to what happens");
    }

    /// Stops listening; its lock is still held.
    pub(super) async fn falls_silent(&mut self) {
        self.stop.cancel();
        timeout(PATIENCE, async { while self.served.join_next().await.is_some() {} }).await.unwrap();
    }

    /// Ends as a process does.
    pub(super) async fn end(&mut self) {
        self.falls_silent().await;
        self.lock = None;
    }
}

impl Instance for Actor {
    fn about(&self) -> About {
        self.about.clone()
    }

    fn status(&self) -> model::Status {
        self.status.lock().unwrap().clone()
    }

    fn events(&self) -> broadcast::Receiver<model::TunnelEvent> {
        self.events.subscribe()
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn ask(&self, request: Request) -> Answering<'_> {
        Box::pin(async move {
            let is_proof = matches!(request, Request::Prove { .. });
            let answer = (self.answers)(&request);
            self.asked.send_modify(|asked| asked.push(request));
            if is_proof {
                self.proves.subscribe().wait_for(|proves| *proves).await.unwrap();
            }
            answer
        })
    }
}

/// Where the program that runs in this room has its instances.
pub(super) fn places(env: &TestEnv) -> Places {
    let root = env.work().parent().unwrap().to_owned();
    Places::new(&Surroundings {
        runtime: None,
        state: Some(root.join("home/.local/state")),
        temporary: root.join("tmp"),
    })
}

/// The workspace's directory as a program that runs in it finds it.
pub(super) fn directory(env: &TestEnv) -> PathBuf {
    env.work().canonicalize().unwrap()
}

pub(super) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn bastion() -> BastionStatus {
    BastionStatus { name: name("hub"), sku: Some("Standard".to_owned()), sessions: 2, max_sessions: 0 }
}

/// A tunnel that is well.
pub(super) fn ready(tunnel: &str, port: u16) -> model::TunnelStatus {
    model::TunnelStatus {
        name: name(tunnel),
        state: State::Ready,
        reason: None,
        attempt: 0,
        next_retry: None,
        listen: vec![([127, 0, 0, 1], port).into(), ([0, 0, 0, 0, 0, 0, 0, 1], port).into()],
        target: "web:80".to_owned(),
        route: "hub".to_owned(),
        verified: true,
        target_verified: false,
        connections: 0,
        waiting: Vec::new(),
        held: Vec::new(),
        bytes_in: 0,
        bytes_out: 0,
        rate_in: 0,
        rate_out: 0,
        last_error: None,
        since: clock::now() - Duration::from_secs(200),
        env: [].into(),
    }
}

/// A tunnel that is not, with a code that says why.
pub(super) fn ill(tunnel: &str, state: State, code: &'static str) -> model::TunnelStatus {
    let reason = Reason {
        code: code.into(),
        what: "the gateway bst refused a session: HTTP 503".to_owned(),
        hint: Some("mend it".to_owned()),
    };
    model::TunnelStatus { state, reason: Some(reason), listen: Vec::new(), ..ready(tunnel, 0) }
}
