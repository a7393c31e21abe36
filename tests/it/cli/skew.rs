//! Beside an instance of another release: `status`, `port` and `down` work, the others say what is the matter.

use std::sync::Mutex;

use bastion::control::server;
use bastion::instance::{Identity, Lock};
use bastion::sys::clock;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::stage::{WORKSPACE, directory, places};
use super::words;
use crate::env::TestEnv;
use crate::process::PATIENCE;

/// An instance whose interface is edition 9: of ours, it understands two things.
struct Other {
    env: TestEnv,
    lock: Mutex<Option<Lock>>,
    status: Mutex<Value>,
}

impl Other {
    fn new() -> (Self, bastion::sys::local::LocalListener) {
        let env = TestEnv::new();
        env.workspace(WORKSPACE);
        let identity =
            Identity { directory: directory(&env), file: "bastion.toml".into(), environment: None };
        let lock = Lock::claim(&places(&env), &identity, clock::now()).unwrap();
        let listener = server::bind(lock.socket()).unwrap();
        let page =
            json!({ "name": "page", "state": "hibernating", "listen": ["127.0.0.1:8080"], "moon": "full" });
        let status =
            json!({ "version": 9, "instance": { "program": "9.0.0" }, "tunnels": [page], "sun": [] });
        (Self { env, lock: Mutex::new(Some(lock)), status: Mutex::new(status) }, listener)
    }

    /// What it answers to the first line of a request.
    fn answer(&self, line: &str, body: &str) -> (u16, String) {
        if line.starts_with("GET /v1/status ") {
            return (200, self.status.lock().unwrap().to_string());
        }
        if line.starts_with("POST /v1/down ") {
            if body.contains("page") {
                self.status.lock().unwrap()["tunnels"] = json!([]);
            } else {
                *self.lock.lock().unwrap() = None;
            }
            return (
                200,
                json!({ "answer": "stopping", "whole": !body.contains("page"), "why": 1 }).to_string(),
            );
        }
        let what =
            "the running instance is bastion 9.0.0, whose interface is edition 9; it was asked for `v1`";
        (404, json!({ "code": "version-skew", "what": what, "hint": "`bastion down` stops it" }).to_string())
    }

    async fn serve(&self, listener: bastion::sys::local::LocalListener) {
        loop {
            let (mut stream, _ours) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            // Whoever only looks whether somebody listens says nothing.
            while !whole(&request) && stream.read_buf(&mut request).await.unwrap() > 0 {}
            let text = String::from_utf8(request).unwrap();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let (code, answer) = self.answer(head.lines().next().unwrap(), body);
            let length = answer.len();
            let head = format!("HTTP/1.1 {code} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            stream.write_all(format!("{head}{answer}").as_bytes()).await.unwrap();
        }
    }

    async fn said(&self, arguments: &[&str]) -> String {
        words(&self.env, &self.env.run(arguments).await)
    }
}

fn whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0_usize)
}

#[tokio::test]
async fn what_works_and_what_names_the_skew() {
    let (other, listener) = Other::new();
    let commands = async {
        insta::assert_snapshot!(other.said(&["status"]).await.replace(env!("CARGO_PKG_VERSION"), "VERSION"), @r"
        exit 0
        ----- out
        TUNNEL  STATE    LISTEN          TARGET     CONNS  IN/OUT     SINCE
        page    pending  127.0.0.1:8080   through   0      0 B / 0 B  0 s
          it is `hibernating`, a state of bastion 9.0.0 that bastion VERSION does not know [version-skew]
        ");
        insta::assert_snapshot!(other.said(&["status", "--format", "json"]).await, @r#"
        exit 0
        ----- out
        {"version":1,"workspace":"","env":null,"instance":{"program":"9.0.0","pid":0,"directory":"","file":"","started":""},"generation":0,"tunnels":[{"name":"page","state":"hibernating","code":null,"reason":null,"hint":null,"attempt":0,"next_retry":null,"listen":["127.0.0.1:8080"],"target":"","route":"","verified":false,"target_verified":false,"connections":0,"waiting":[],"bytes_in":0,"bytes_out":0,"rate_in":0,"rate_out":0,"last_error":null,"since":"","env":{}}],"bastions":[]}
        "#);
        assert_eq!(other.said(&["port", "page"]).await, "exit 0\n----- out\n127.0.0.1:8080");
        let skew = other.said(&["plan"]).await;
        insta::assert_snapshot!(skew, @r"
        exit 1
        ----- err
        error: the running instance is bastion 9.0.0, whose interface is edition 9; it was asked for `v1` [version-skew]
        hint: `bastion down` stops it
        ");
        assert_eq!(other.said(&["reload"]).await, skew);
        assert_eq!(other.said(&["wait"]).await, skew);
        assert_eq!(other.said(&["down", "page"]).await, "exit 0\n----- err\nStopped");
        assert_eq!(other.said(&["down"]).await, "exit 0\n----- err\nStopped");
        assert!(other.lock.lock().unwrap().is_none());
    };
    let served = async {
        tokio::select! {
            () = other.serve(listener) => {}
            () = commands => {}
        }
    };
    timeout(PATIENCE, served).await.expect("in time");
}
