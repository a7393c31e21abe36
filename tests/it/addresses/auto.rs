//! `listen = "auto"`: a port that nobody has to choose, and that stays the same.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::net::TcpListener;

use crate::env::{Running, TestEnv};
use crate::reload::{Scene, Servers, closed, goes_on, greeted, live};

const TUNNELS: &str =
    "one = { port = 7 }\ntwo = { listen = \"auto\", port = 7 }\nshort = \"auto -> three:7\"\n";

async fn json(env: &TestEnv, arguments: &[&str]) -> Value {
    let output = env.run(&[arguments, &["--format", "json"]].concat()).await;
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The ports of the three tunnels, once they are ready.
async fn ports(up: &Running) -> Vec<u16> {
    let mut all = Vec::new();
    for tunnel in ["one", "two", "short"] {
        all.push(up.address(tunnel).await.port());
    }
    all
}

#[tokio::test]
async fn ports_are_chosen_shown_beforehand_and_the_same_again() {
    let (env, servers) = (TestEnv::new(), Servers::start().await);
    env.workspace(&servers.workspace(TUNNELS));
    fs::write(env.path("bastion.test.toml"), "[emulator]\nlog = \"other.jsonl\"\n").unwrap();
    let plan = json(&env, &["plan"]).await;
    let config = json(&env, &["config"]).await;
    let up = env.up(&[]);
    let first = ports(&up).await;
    assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 3, "{first:?}");
    let range = bastion::sys::socket::quiet_ports();
    assert!(first.iter().all(|port| range.contains(port)), "{first:?}");
    for (tunnel, port) in ["one", "two", "short"].iter().zip(&first) {
        let line = format!("+ {tunnel}  localhost:{port} (auto) -> ");
        assert!(
            plan["lines"].as_array().unwrap().iter().any(|l| l.as_str().unwrap().starts_with(&line)),
            "{plan}"
        );
        let key = format!("tunnels.{tunnel}.listen");
        let value = config["values"].as_array().unwrap().iter().find(|value| value["key"] == key).unwrap();
        assert_eq!(value["value"], format!("\"auto\" # localhost:{port}"));
        assert_eq!(json(&env, &["port", tunnel]).await["listen"][0], format!("127.0.0.1:{port}"));
    }
    // An environment beside it has others.
    let other = env.up(&["--env", "test"]);
    let others = ports(&other).await;
    assert!(others.iter().all(|port| !first.contains(port)), "{first:?} {others:?}");
    other.stop().await;
    up.stop().await;

    // Somebody takes one meanwhile: its tunnel has the next one, from then on.
    let taken = TcpListener::bind(("127.0.0.1", first[1])).await.unwrap();
    let up = env.up(&[]);
    let second = ports(&up).await;
    assert_eq!((second[0], second[2]), (first[0], first[2]));
    assert!(second[1] != first[1] && !first.contains(&second[1]), "{first:?} {second:?}");
    let status = json(&env, &["status"]).await;
    let two = status["tunnels"].as_array().unwrap().iter().find(|tunnel| tunnel["name"] == "two").unwrap();
    assert_eq!((&two["state"], &two["code"]), (&"ready".into(), &Value::Null));
    up.stop().await;
    drop(taken);
    let up = env.up(&[]);
    assert_eq!(ports(&up).await, second);
    up.stop().await;
}

#[tokio::test]
async fn a_chosen_port_gives_way_to_who_names_it_and_notices_no_other_edit() {
    let scene = Scene::start(TUNNELS).await;
    let is_ready = crate::reload::is_ready;
    let port =
        |tunnel: bastion::control::TunnelStatus| tunnel.listen[0].parse::<SocketAddr>().unwrap().port();
    let one = port(scene.tunnel("one", is_ready).await);
    let (mut stream, name) = greeted(one).await.unwrap();
    assert_eq!(name, "one");
    let plan = json(&scene.env, &["plan"]).await;
    assert_eq!((&plan["changes"], plan["lines"][0].as_str()), (&0.into(), Some("= 3 unchanged")));

    // Its own port by name: nothing moves.
    let named = TUNNELS.replace("one = { port", &format!("one = {{ listen = {one}, port"));
    scene.edit(&(named.clone() + "more = \"auto -> one:7\"\n"));
    let more = port(scene.tunnel("more", is_ready).await);
    assert_ne!(more, one);
    goes_on(&mut stream).await;

    // Another names it: it is that one's, and the tunnel has another.
    scene.edit(TUNNELS);
    scene.tunnel("one", is_ready).await;
    let saved = scene.edit(&(TUNNELS.to_owned() + &format!("more = \"{one} -> two:7\"\n")));
    drop(live(one, "two", saved, "named by another").await);
    let elsewhere = |tunnel: &bastion::control::TunnelStatus| {
        is_ready(tunnel) && !tunnel.listen.is_empty() && !tunnel.listen.contains(&format!("127.0.0.1:{one}"))
    };
    let moved = port(scene.tunnel("one", elsewhere).await);
    assert_eq!(greeted(moved).await.unwrap().1, "one");
    goes_on(&mut stream).await;
    scene.edit(TUNNELS);
    closed(one).await;
    assert_eq!(port(scene.tunnel("one", is_ready).await), moved);
    drop(stream);
    scene.env.finish(scene.up).await;
}
