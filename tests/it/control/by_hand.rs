//! The socket as another program sees it: HTTP written by hand, right and wrong.

use std::path::Path;
use std::time::Duration;

use bastion::sys::local::{self, Stream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout};

use super::Stage;
use crate::process::PATIENCE;

async fn connect(path: &Path) -> Stream {
    local::connect(path).await.unwrap().expect("an instance is there")
}

/// What is sent, and all that comes back until the end.
async fn exchange(path: &Path, request: &[u8]) -> String {
    let mut stream = connect(path).await;
    // It may have had enough before all is sent; what it answered arrives all the same.
    let _refused = stream.write_all(request).await;
    rest(&mut stream).await
}

async fn rest(stream: &mut Stream) -> String {
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    // A reset behind an answer is an end too.
    let _reset = read.expect("an answer, or the end");
    String::from_utf8_lossy(&answer).into_owned()
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").into_bytes()
}

fn post(path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}

/// Status line and JSON of an answer.
fn read(answer: &str) -> (u16, serde_json::Value) {
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    assert!(head.contains("content-type: application/json"), "{head}");
    (status.unwrap(), serde_json::from_str(body).unwrap())
}

#[tokio::test]
async fn any_client_of_http_can_ask() {
    let stage = Stage::new();
    let (status, about) = read(&exchange(&stage.path, &get("/v1/about")).await);
    assert_eq!((status, &about["workspace"], &about["environment"]), (200, &"orders".into(), &().into()));
    let (status, answer) = read(&exchange(&stage.path, &post("/v1/prove", "")).await);
    assert_eq!((status, answer), (200, serde_json::json!({ "answer": "done" })));
    let body = r#"{"tunnels":["db"],"profiles":[],"of a later release":1}"#;
    let (status, answer) = read(&exchange(&stage.path, &post("/v1/up", body)).await);
    assert_eq!(
        (status, answer),
        (200, serde_json::json!({ "answer": "applied", "generation": 2, "started": ["db"], "lines": [] }))
    );
    let (status, refused) = read(&exchange(&stage.path, &post("/v1/reload", "{}")).await);
    assert_eq!(
        (status, &refused["code"], &refused["report"]),
        (409, &"rejected".into(), &"error[syntax]".into())
    );
}

#[tokio::test]
async fn events_are_server_sent_events() {
    let mut stage = Stage::new();
    let mut stream = connect(&stage.path).await;
    stream.write_all(&get("/v1/events")).await.unwrap();
    // Heard, once the first of it is here.
    let mut first = [0; 15];
    timeout(PATIENCE, stream.read_exact(&mut first)).await.unwrap().unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    stage.script.happens(2);
    stage.stopped().await;
    let all = rest(&mut stream).await;
    assert!(all.contains("content-type: text/event-stream"), "{all}");
    let kinds: Vec<&str> = all.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    assert_eq!(kinds, ["status", "tunnel", "end"], "{all}");
    let event = all.lines().filter_map(|line| line.strip_prefix("data: ")).nth(1).unwrap();
    let event: serde_json::Value = serde_json::from_str(event).unwrap();
    for (key, value) in [("event", "state"), ("tunnel", "db"), ("state", "connecting"), ("code", "outage")] {
        assert_eq!(event[key], value, "{event}");
    }
}

#[tokio::test]
async fn status_and_down_work_across_editions_and_the_others_name_the_skew() {
    let stage = Stage::new();
    let (status, _) = read(&exchange(&stage.path, &get("/v2/status")).await);
    assert_eq!(status, 200);
    let (status, answer) = read(&exchange(&stage.path, &post("/v2/down", r#"{"later":[]}"#)).await);
    assert_eq!((status, &answer["answer"]), (200, &"stopping".into()));
    for request in [get("/v2/events"), post("/v2/up", "{}"), post("/nonsense/reload", "{}")] {
        let (status, refused) = read(&exchange(&stage.path, &request).await);
        assert_eq!((status, &refused["code"]), (404, &"version-skew".into()));
        let what = refused["what"].as_str().unwrap();
        assert!(what.contains(env!("CARGO_PKG_VERSION")) && what.contains("edition 1"), "{what}");
    }
    assert_eq!(stage.script.asked.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_not_there_is_refused_in_words() {
    let stage = Stage::new();
    for request in
        [get("/"), get("/v1/up"), get("/v1/nothing"), post("/v1/nothing", ""), post("/v1/status", "")]
    {
        let (status, refused) = read(&exchange(&stage.path, &request).await);
        assert_eq!((status, &refused["code"]), (404, &"bad-request".into()), "{refused}");
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_or_no_json_reaches_nobody() {
    let stage = Stage::new();
    let secret = "hunter2";
    for (body, expected) in [
        (format!("{{\"variables\":{{\"A\":\"{}\"}}}}", "x".repeat(1024 * 1024)), 413),
        (format!("{{\"variables\":{{\"A\":\"{secret}"), 400),
        (format!("{{\"variables\":\"{secret}\"}}"), 400),
        (secret.to_owned(), 400),
    ] {
        let answer = exchange(&stage.path, &post("/v1/up", &body)).await;
        let (status, refused) = read(&answer);
        assert_eq!((status, &refused["code"]), (expected, &"bad-request".into()));
        assert!(!answer.contains(secret), "{answer}");
    }
    // Without a length said beforehand.
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let head = "POST /v1/up HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let answer = exchange(&stage.path, format!("{head}{}", chunk.repeat(17)).as_bytes()).await;
    assert_eq!(read(&answer).0, 413);
    assert_eq!(*stage.script.asked.lock().unwrap(), []);
}

#[tokio::test]
async fn noise_is_answered_and_hurts_nobody_else() {
    let stage = Stage::new();
    let client = stage.client().await;
    let long = format!("GET /v1/{} HTTP/1.1\r\n\r\n", "x".repeat(200_000));
    for noise in
        [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], b"\0\0\0\0\r\n\r\n", long.as_bytes(), b""]
    {
        let mut stream = connect(&stage.path).await;
        let _refused = stream.write_all(noise).await;
        drop(stream);
        client.about().await.unwrap();
    }
    let answer = exchange(&stage.path, b"NOT HTTP AT ALL\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}

#[tokio::test]
async fn a_request_that_trickles_is_dropped() {
    let stage = Stage::new();
    let mut head = connect(&stage.path).await;
    let mut body = connect(&stage.path).await;
    head.write_all(b"GET /v1/about HTTP/1.1\r\nHo").await.unwrap();
    body.write_all(b"POST /v1/up HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{").await.unwrap();
    let begun = Instant::now();
    let (head, body) = tokio::join!(rest(&mut head), rest(&mut body));
    assert!(
        (Duration::from_secs(4)..Duration::from_secs(15)).contains(&begun.elapsed()),
        "{:?}",
        begun.elapsed()
    );
    assert!(!head.contains("200 OK"), "{head}");
    assert!(body.starts_with("HTTP/1.1 408"), "{body}");
    assert_eq!(*stage.script.asked.lock().unwrap(), []);
}

#[tokio::test]
async fn a_reader_that_does_not_read_does_not_hold_up_the_end() {
    let mut stage = Stage::new();
    let mut stream = connect(&stage.path).await;
    stream.write_all(&get("/v1/events")).await.unwrap();
    // Until the socket is full, and the queue behind it.
    let mut attempt = 1;
    while stage.script.events.receiver_count() == 0 || stage.script.events.len() < 16 {
        attempt += 1;
        stage.script.happens(attempt);
        tokio::task::yield_now().await;
    }
    let begun = Instant::now();
    stage.stopped().await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let told = rest(&mut stream).await;
    assert!(
        told.contains("event: tunnel") && !told.contains("event: end"),
        "it was not full: this proves nothing"
    );
}

#[tokio::test]
async fn too_many_connections_are_closed_and_the_others_go_on() {
    let stage = Stage::new();
    let client = stage.client().await;
    let mut readers = Vec::new();
    for _ in 0..64 {
        let mut events = client.events().await.unwrap();
        super::next(&mut events).await;
        readers.push(events);
    }
    assert!(client.about().await.is_err(), "a 65th connection was served");
    stage.script.happens(2);
    for events in &mut readers {
        super::next(events).await;
    }
    readers.pop();
    let served = async { while client.about().await.is_err() {} };
    timeout(PATIENCE, served).await.expect("room for one more");
}
