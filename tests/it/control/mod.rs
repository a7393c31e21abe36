//! An instance's socket, from both sides and by hand, over a real socket with a scripted instance behind it.

mod by_hand;
#[cfg(unix)]
mod users;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use bastion::control::client::{Client, ClientError, Event, Events};
use bastion::control::{self, About, Answer, Answering, Instance, Refused, Request, server};
use bastion::model::{self, AzCurrent, AzSubscription, BastionStatus, Name, Reason, State, Wait};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::process::PATIENCE;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A tunnel that is connecting, with something to say in every field.
fn tunnel(attempt: u32) -> model::TunnelStatus {
    model::TunnelStatus {
        name: name("db"),
        state: State::Connecting,
        reason: Some(Reason {
            code: "outage".into(),
            what: "asking the gateway: no route".to_owned(),
            hint: Some("wait".to_owned()),
        }),
        attempt,
        next_retry: Some(Duration::from_micros(1_234_567)),
        listen: vec!["127.0.0.1:5432".parse().unwrap(), "[::1]:5432".parse().unwrap()],
        target: "orders:5432".to_owned(),
        route: "hub".to_owned(),
        verified: false,
        target_verified: false,
        connections: 2,
        waiting: vec![(Wait::Path, 3)],
        held: Vec::new(),
        bytes_in: 10,
        bytes_out: 20,
        rate_in: 1,
        rate_out: 2,
        last_error: None,
        since: UNIX_EPOCH + Duration::from_millis(1500),
        env: [("URL".to_owned(), "postgres://127.0.0.1:5432".to_owned())].into(),
    }
}

/// An instance that remembers what it was asked.
struct Script {
    about: About,
    status: Mutex<model::Status>,
    events: broadcast::Sender<model::TunnelEvent>,
    changed: watch::Sender<u64>,
    statuses: AtomicU64,
    asked: Mutex<Vec<Request>>,
}

impl Script {
    fn new() -> Arc<Self> {
        let bastion = BastionStatus { name: name("hub"), sku: None, sessions: 1, max_sessions: 0 };
        let status = model::Status {
            generation: 1,
            rejected: None,
            tunnels: vec![tunnel(1)],
            bastions: vec![bastion],
        };
        Arc::new(Self {
            about: About::new(&name("orders"), Path::new("/w"), "bastion.toml".as_ref(), None, UNIX_EPOCH),
            status: Mutex::new(status),
            events: broadcast::channel(16).0,
            changed: watch::channel(0).0,
            statuses: AtomicU64::new(0),
            asked: Mutex::default(),
        })
    }

    fn change(&self, change: impl FnOnce(&mut model::Status)) {
        change(&mut self.status.lock().unwrap());
        self.changed.send_modify(|edition| *edition += 1);
    }

    /// Says that the tunnel failed once more.
    fn happens(&self, attempt: u32) {
        self.status.lock().unwrap().tunnels = vec![tunnel(attempt)];
        let event = model::TunnelEvent { time: UNIX_EPOCH, tunnel: tunnel(attempt) };
        // Nobody may be listening yet.
        let _nobody = self.events.send(event);
    }
}

impl Instance for Script {
    fn about(&self) -> About {
        self.about.clone()
    }

    fn status(&self) -> model::Status {
        self.statuses.fetch_add(1, Ordering::Relaxed);
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
            let answer = match &request {
                Request::Up { .. } => {
                    Ok(Answer::Applied { generation: 2, started: vec!["db".to_owned()], lines: vec![] })
                }
                Request::Down { .. } => {
                    Ok(Answer::Stopping { waiting: vec![("db".to_owned(), 2)], whole: true })
                }
                Request::Plan { .. } => Ok(Answer::Plan { lines: vec!["+ db".to_owned()], changes: 1 }),
                Request::Prove { .. } => Ok(Answer::Done),
                Request::Reload { .. } => Err(Refused {
                    report: Some("error[syntax]".to_owned()),
                    ..Refused::new("rejected", "the file has a mistake", Some("mend it"))
                }),
            };
            self.asked.lock().unwrap().push(request);
            answer
        })
    }
}

/// A scripted instance that is served.
struct Stage {
    script: Arc<Script>,
    path: PathBuf,
    stop: CancellationToken,
    served: JoinSet<()>,
    _directory: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = socket(directory.path());
        let (script, stop) = (Script::new(), CancellationToken::new());
        let listener = server::bind(&path).unwrap();
        let mut served = JoinSet::new();
        served.spawn(server::serve(listener, Arc::<Script>::clone(&script), stop.clone()));
        Self { script, path, stop, served, _directory: directory }
    }

    async fn client(&self) -> Client {
        Client::connect(&self.path).await.unwrap().expect("an instance is there")
    }

    async fn stopped(&mut self) {
        self.stop.cancel();
        timeout(PATIENCE, self.served.join_next()).await.unwrap().unwrap().unwrap();
    }
}

/// Where an instance listens, below a directory; on Windows, pipes are elsewhere.
fn socket(directory: &Path) -> PathBuf {
    let unique = directory.file_name().unwrap().to_string_lossy().replace('.', "");
    bastion::sys::local::address(directory, directory, &unique, "test")
}

async fn next(events: &mut Events) -> Event {
    timeout(PATIENCE, events.next()).await.expect("in time").unwrap().expect("not the end")
}

fn current() -> AzCurrent {
    let id = "11111111-2222-3333-4444-555555555555";
    AzCurrent::Is(AzSubscription::new(id, "Shop", Some("contoso.com"), "AzureCloud").unwrap())
}

fn variables() -> BTreeMap<String, String> {
    [("BASTION_PASSWORD".to_owned(), "hunter2".to_owned())].into()
}

#[tokio::test]
async fn nobody_there_is_no_error() {
    let directory = tempfile::tempdir().unwrap();
    assert!(Client::connect(&socket(directory.path())).await.unwrap().is_none());
}

#[tokio::test]
async fn what_holds_arrives_whole() {
    let stage = Stage::new();
    let client = stage.client().await;
    assert_eq!(client.about().await.unwrap(), stage.script.about);
    let status = client.status().await.unwrap();
    assert_eq!(status.tunnels[0].state(), Some(State::Connecting));
    assert_eq!(status.tunnels[0].waiting[0].wait(), Some(Wait::Path));
    let text = serde_json::to_string_pretty(&status).unwrap();
    let text = text.replace(&format!("\"pid\": {}", std::process::id()), "\"pid\": 1");
    insta::assert_snapshot!(text.replace(env!("CARGO_PKG_VERSION"), "0.0.0"), @r#"
    {
      "version": 1,
      "workspace": "orders",
      "env": null,
      "instance": {
        "program": "0.0.0",
        "pid": 1,
        "directory": "/w",
        "file": "bastion.toml",
        "started": "1970-01-01T00:00:00.000Z"
      },
      "generation": 1,
      "tunnels": [
        {
          "name": "db",
          "state": "connecting",
          "code": "outage",
          "reason": "asking the gateway: no route",
          "hint": "wait",
          "attempt": 1,
          "next_retry": 1.235,
          "listen": [
            "127.0.0.1:5432",
            "[::1]:5432"
          ],
          "target": "orders:5432",
          "route": "hub",
          "verified": false,
          "target_verified": false,
          "connections": 2,
          "waiting": [
            {
              "for": "path",
              "count": 3
            }
          ],
          "bytes_in": 10,
          "bytes_out": 20,
          "rate_in": 1,
          "rate_out": 2,
          "last_error": null,
          "since": "1970-01-01T00:00:01.500Z",
          "env": {
            "URL": "postgres://127.0.0.1:5432"
          }
        }
      ],
      "bastions": [
        {
          "name": "hub",
          "sku": null,
          "sessions": 1,
          "max_sessions": 0
        }
      ]
    }
    "#);
}

#[tokio::test]
async fn every_request_arrives_as_it_was_asked() {
    let stage = Stage::new();
    let client = stage.client().await;
    let tunnels = vec!["d*".to_owned()];
    let up = Request::Up {
        tunnels: tunnels.clone(),
        profiles: vec!["debug".to_owned()],
        variables: variables(),
        az: current(),
        allow: vec!["expose".to_owned()],
    };
    let asked = [
        up,
        Request::Down { tunnels: tunnels.clone(), now: true },
        Request::Plan { variables: variables(), az: AzCurrent::NoneChosen },
        Request::Prove { tunnels },
    ];
    let answers = [
        Answer::Applied { generation: 2, started: vec!["db".to_owned()], lines: vec![] },
        Answer::Stopping { waiting: vec![("db".to_owned(), 2)], whole: true },
        Answer::Plan { lines: vec!["+ db".to_owned()], changes: 1 },
        Answer::Done,
    ];
    for (request, answer) in asked.iter().zip(answers) {
        let shown = format!("{request:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("contoso"), "{shown}");
        assert_eq!(client.ask(request.clone()).await.unwrap(), answer);
    }
    assert_eq!(*stage.script.asked.lock().unwrap(), asked);
    let Err(ClientError::Refused(refused)) =
        client.ask(Request::Reload { variables: variables(), az: current() }).await
    else {
        panic!("it was not refused")
    };
    assert_eq!((refused.code.as_str(), refused.hint.as_deref()), ("rejected", Some("mend it")));
    assert_eq!(
        (refused.to_string().as_str(), refused.report.as_deref()),
        ("the file has a mistake", Some("error[syntax]"))
    );
}

#[tokio::test]
async fn two_readers_hear_the_whole_and_then_each_change() {
    let mut stage = Stage::new();
    let mut readers = Vec::new();
    for _ in 0..2 {
        let mut events = stage.client().await.events().await.unwrap();
        let Event::Status(status) = next(&mut events).await else { panic!("first comes all that holds") };
        assert_eq!((status.generation, status.tunnels[0].attempt), (1, 1));
        readers.push(events);
    }
    stage.script.happens(2);
    for events in &mut readers {
        let Event::Tunnel(event) = next(events).await else { panic!("an event of the tunnel") };
        assert_eq!((event.event.as_str(), event.tunnel.as_str(), event.now.attempt), ("state", "db", 2));
    }
    // Counts are no news; a new edition and a refused file are.
    stage.script.change(|status| status.bastions.clear());
    stage.script.change(|status| status.rejected = Some("error[syntax]".to_owned()));
    for events in &mut readers {
        let Event::Status(status) = next(events).await else { panic!("the file was refused") };
        assert_eq!(status.rejected.as_deref(), Some("error[syntax]"));
    }
    stage.script.change(|status| (status.generation, status.rejected) = (2, None));
    for events in &mut readers {
        let Event::Status(status) = next(events).await else { panic!("a new edition") };
        assert_eq!((status.generation, status.rejected), (2, None));
    }
    stage.script.happens(3);
    stage.stopped().await;
    for events in &mut readers {
        assert!(matches!(next(events).await, Event::Tunnel(event) if event.now.attempt == 3));
        assert_eq!(next(events).await, Event::End);
        assert_eq!(timeout(PATIENCE, events.next()).await.unwrap().unwrap(), None);
    }
    assert!(Client::connect(&stage.path).await.unwrap().is_none());
}

#[tokio::test]
async fn a_reader_that_was_too_slow_hears_the_whole_again() {
    let stage = Stage::new();
    let mut events = stage.client().await.events().await.unwrap();
    next(&mut events).await;
    // Until the socket is full, and the queue behind it more than full.
    let mut attempt = 1;
    while stage.script.events.len() < 16 {
        attempt += 1;
        stage.script.happens(attempt);
        tokio::task::yield_now().await;
    }
    let last = attempt + 100;
    for attempt in attempt..=last {
        stage.script.happens(attempt);
    }
    let (mut heard, mut wholes) = (0, 0);
    while heard < last {
        heard = match next(&mut events).await {
            Event::Tunnel(event) => event.now.attempt,
            Event::Status(status) => {
                wholes += 1;
                status.tunnels[0].attempt
            }
            Event::End => panic!("it did not end"),
        };
    }
    assert!(wholes >= 1, "nothing was lost: this proves nothing");
    stage.script.happens(last + 1);
    assert!(matches!(next(&mut events).await, Event::Tunnel(event) if event.now.attempt == last + 1));
}

#[tokio::test]
async fn waiting_for_an_event_can_be_given_up_and_taken_up() {
    let stage = Stage::new();
    let mut events = stage.client().await.events().await.unwrap();
    next(&mut events).await;
    for attempt in 2..50 {
        let given_up = timeout(Duration::from_micros(50), events.next()).await;
        assert!(given_up.is_err(), "{given_up:?}");
        stage.script.happens(attempt);
        assert!(matches!(next(&mut events).await, Event::Tunnel(event) if event.now.attempt == attempt));
    }
}

#[test]
fn schemas_are_those_of_what_is_sent() {
    for (file, schema) in [("status", control::schema()), ("event", control::event_schema())] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("schemas/{file}.schema.json"));
        if std::env::vars_os().any(|(name, value)| name == "UPDATE" && value == "1") {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &schema).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
        assert!(kept == schema, "schemas/{file}.schema.json is not what is sent; UPDATE=1 writes it anew");
    }
}
