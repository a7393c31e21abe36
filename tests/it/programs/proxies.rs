//! Proxies on the way to Azure: a real one that wants credentials (tinyproxy), and one that replaces certificates.
//!
//! Azure is an emulator in a process of its own, under names that only we resolve: so tinyproxy passes what it lets
//! through on to a proxy of the test's own, which writes down what it is asked.

use std::net::SocketAddr;
use std::path::Path;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{found, free_port, require, serve};
use crate::detour::{Detour, Interceptor};
use crate::env::{EmulatorProcess, Running, TestEnv, check_no_token};
use crate::process::{PATIENCE, Process};

const WORKSPACE: &str = "[azure]\ncloud = \"emulator\"\n[bastions.hub]\n[targets]\nweb = { vm = \"vm-web\" }\n\
                         [tunnels]\necho = \"0 -> web:7\"\n[emulator]\nlog = \"requests.jsonl\"\n";
/// As a URL may have it, and what it stands for.
const PASSWORD: &str = "hunter%32%5F%70ass";
const PLAIN: &str = "hunter2_pass";

/// A workspace, and the emulator that is its Azure.
async fn azure() -> (TestEnv, EmulatorProcess) {
    let env = TestEnv::new();
    env.workspace(WORKSPACE);
    let emulator = env.emulator(&[]).await;
    (env, emulator)
}

/// A real proxy that wants a user's password, and passes everything on to another one.
async fn tinyproxy(env: &TestEnv, upstream: u16) -> (Process, u16) {
    let server = |port: u16| {
        let config = format!(
            "Port {port}\nListen 127.0.0.1\nTimeout 60\nLogLevel Info\nMaxClients 50\n\
             BasicAuth user {PLAIN}\nUpstream http 127.0.0.1:{upstream}\n"
        );
        std::fs::write(env.path("tinyproxy.conf"), config).unwrap();
        // It logs to standard output.
        let mut command = env.command("/bin/sh");
        command.args(["-c", "exec \"$0\" -d -c tinyproxy.conf >&2"]).arg(found("tinyproxy"));
        command
    };
    serve(server, "Accepting connections").await
}

/// Writes a configuration of the user's own.
fn configure(env: &TestEnv, own: &str) {
    let directory = env.home().join(".config/bastion");
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("config.toml"), own).unwrap();
}

/// Starts `up` with more in its environment, and perhaps a configuration of the user's own.
fn up(env: &TestEnv, emulator: &EmulatorProcess, variables: &[(&str, &str)], own: &str) -> Running {
    // One that was just written is an edit to `up`, after which it looks at once at what is blocked.
    if !own.is_empty() {
        configure(env, own);
    }
    let mut command = env.bastion(&["-vv", "up"]);
    command.env("BASTION_EMULATOR", emulator.endpoint()).envs(variables.iter().copied());
    env.run_command(command)
}

async fn echoes(address: SocketAddr) {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"through").await.unwrap();
        let mut back = [0; 7];
        stream.read_exact(&mut back).await.unwrap();
        assert_eq!(&back, b"through");
    };
    timeout(PATIENCE, exchange).await.expect("an echo in time");
}

/// ARM's host and port, and the gateway's, as the emulator has them.
fn hosts(env: &TestEnv, emulator: &EmulatorProcess) -> (String, String) {
    let requests = env.requests();
    let gateway = requests.iter().find(|r| r["kind"] == "token").unwrap()["host"].as_str().unwrap();
    (emulator.field("resource_manager"), gateway.to_owned())
}

/// How often a host stands in a list.
fn count(all: &[String], host: &str) -> usize {
    all.iter().filter(|one| *one == host).count()
}

async fn blocked(up: &Running, code: &str) -> String {
    let says = |line: &str| line.contains(&format!("[{code}]"));
    up.wait_line(says, &format!("a tunnel that is not ready for [{code}]")).await
}

#[tokio::test]
async fn through_a_real_proxy_with_credentials() {
    let test = "through_a_real_proxy_with_credentials";
    if !require(test, &["tinyproxy"]) {
        return;
    }
    let (env, emulator) = azure().await;
    let onward = Detour::start(None).await;
    let (proxy, port) = tinyproxy(&env, onward.port).await;

    // The environment names it; then the user's own configuration does, whatever the environment says.
    let url = format!("http://user:{PASSWORD}@127.0.0.1:{port}");
    let own = format!("[network]\nproxy = \"http://user:${{PROXY_PASSWORD}}@127.0.0.1:{port}\"\n");
    let nowhere = [("HTTPS_PROXY", "http://127.0.0.1:1"), ("PROXY_PASSWORD", PASSWORD)];
    let mut seen = 0;
    for (variables, own) in [(&[("HTTPS_PROXY", url.as_str())][..], ""), (&nowhere, own.as_str())] {
        let up = up(&env, &emulator, variables, own);
        echoes(up.address("echo").await).await;
        let said = env.finish(up).await;
        assert!(!said.contains(PASSWORD) && !said.contains(PLAIN), "{said}");
        let (arm, gateway) = hosts(&env, &emulator);
        let asked = onward.hosts().split_off(seen);
        seen += asked.len();
        assert_eq!(count(&asked, &arm), 1, "{asked:?}");
        // REST, and the WebSocket.
        assert!(count(&asked, &gateway) >= 2, "{asked:?}");
        assert_eq!(count(&asked, &arm) + count(&asked, &gateway), asked.len(), "{asked:?}");
    }
    let logged: Vec<String> = proxy
        .stderr()
        .into_iter()
        .filter(|line| line.contains("Request ") && line.contains(": CONNECT "))
        .collect();
    assert_eq!(logged.len(), seen, "{logged:?}");
    // Nothing of ours is said in the clear, to it or behind it.
    assert!(onward.asked().iter().all(|head| !head.contains("webtunnel") && !head.contains("aztoken")));
    check_no_token(&emulator.into_running().stop().await);
}

#[tokio::test]
async fn no_proxy_goes_round_a_real_one() {
    if !require("no_proxy_goes_round_a_real_one", &["tinyproxy"]) {
        return;
    }
    let (env, emulator) = azure().await;
    let onward = Detour::start(None).await;
    let (proxy, port) = tinyproxy(&env, onward.port).await;
    let url = format!("http://user:{PASSWORD}@127.0.0.1:{port}");
    let through = ("HTTPS_PROXY", url.as_str());
    for (variables, own) in [
        (vec![through, ("NO_PROXY", "example.com,.localhost")], "[network]\n"),
        (vec![through], "[network]\nno_proxy = [\"example.com\", \".localhost\"]\n"),
        (vec![through], "[network]\nproxy = \"none\"\n"),
    ] {
        let up = up(&env, &emulator, &variables, own);
        echoes(up.address("echo").await).await;
        env.finish(up).await;
    }
    assert_eq!(onward.hosts(), [""; 0]);
    assert!(!proxy.stderr().iter().any(|line| line.contains("CONNECT ")), "{:?}", proxy.stderr());
}

#[tokio::test]
async fn a_real_proxy_that_refuses_is_told_with_words() {
    if !require("a_real_proxy_that_refuses_is_told_with_words", &["tinyproxy"]) {
        return;
    }
    let (env, emulator) = azure().await;
    let onward = Detour::start(None).await;
    let (_proxy, port) = tinyproxy(&env, onward.port).await;
    let wrong = format!("http://user:wr0ng-secret@127.0.0.1:{port}");
    let none = format!("http://127.0.0.1:{port}");
    for (url, words) in [
        (&wrong, "it does not accept the user name and password it was given"),
        (&none, "it wants a user name and a password"),
    ] {
        let up = up(&env, &emulator, &[("HTTPS_PROXY", url)], "");
        let line = blocked(&up, "proxy-credentials").await;
        assert!(line.contains(words) && line.contains(&format!("127.0.0.1:{port}")), "{line}");
        let said = up.stop().await;
        assert!(said.contains("hint: put USER:PASSWORD@"), "{said}");
        assert!(!said.contains("wr0ng-secret"), "{said}");
    }
    // One that cannot reach the other side: its own proxy is gone.
    let gone = free_port();
    let (_other, port) = tinyproxy(&env, gone).await;
    let reachable = format!("http://user:{PASSWORD}@127.0.0.1:{port}");
    let up_there = up(&env, &emulator, &[("HTTPS_PROXY", &reachable)], "");
    let line = blocked(&up_there, "proxy-refused").await;
    assert!(line.contains("it answered HTTP 50") && line.contains("it cannot reach that host"), "{line}");
    up_there.stop().await;
    assert_eq!((onward.hosts(), env.requests().len()), (Vec::new(), 0), "a request arrived");
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_told_with_words() {
    let (env, emulator) = azure().await;
    let url = format!("http://user:s3cret@127.0.0.1:{}", free_port());
    let up = up(&env, &emulator, &[("ALL_PROXY", &url)], "");
    let line = blocked(&up, "proxy-unreachable").await;
    assert!(line.contains("it cannot be reached") && line.contains("refused"), "{line}");
    let said = up.stop().await;
    assert!(!said.contains("s3cret"), "{said}");
    assert_eq!(env.requests().len(), 0, "a request arrived");
}

/// A proxy that replaces certificates, and its authority in a file.
async fn intercepting(env: &TestEnv, emulator: &EmulatorProcess, file: &Path) -> Detour {
    std::fs::create_dir_all(env.home()).unwrap();
    let interceptor = Interceptor::new(&emulator.field("ca_pem"));
    std::fs::write(file, &interceptor.ca_pem).unwrap();
    Detour::start(Some(interceptor)).await
}

#[tokio::test]
async fn the_authority_of_a_proxy_that_replaces_certificates_is_given_once() {
    let (env, emulator) = azure().await;
    let file = env.home().join("proxy.pem");
    let proxy = intercepting(&env, &emulator, &file).await;
    let url = format!("http://127.0.0.1:{}", proxy.port);
    let path = file.to_str().unwrap();
    let through = ("HTTPS_PROXY", url.as_str());
    let mut seen = 0;
    for (variables, own) in [
        (vec![through, ("BASTION_CA_FILE", path)], ""),
        (vec![through, ("SSL_CERT_FILE", path)], ""),
        (vec![through, ("REQUESTS_CA_BUNDLE", path)], ""),
        (vec![through], "[network]\nca_file = \"~/proxy.pem\"\n"),
    ] {
        let up = up(&env, &emulator, &variables, own);
        echoes(up.address("echo").await).await;
        env.finish(up).await;
        let read = proxy.read().split_off(seen);
        seen += read.len();
        // It saw all of it: ARM, the exchange with the deletion, the WebSocket.
        for part in ["GET /subscriptions/", "POST /api/tokens", "GET /webtunnelv2/"] {
            assert!(read.iter().any(|line| line.starts_with(part)), "{part}: {read:?}");
        }
    }
}

#[tokio::test]
async fn a_proxy_that_replaces_certificates_is_refused_without_its_authority() {
    let (env, emulator) = azure().await;
    let file = env.home().join("proxy.pem");
    let proxy = intercepting(&env, &emulator, &file).await;
    let url = format!("http://127.0.0.1:{}", proxy.port);
    let up = up(&env, &emulator, &[("HTTPS_PROXY", &url)], "");
    let line = blocked(&up, "untrusted-certificate").await;
    assert!(line.contains("certificate"), "{line}");
    let said = up.stop().await;
    assert!(
        said.contains("hint: if a proxy on the way replaces certificates, name its authority's PEM file"),
        "{said}"
    );
    assert_eq!((proxy.read(), env.requests().len()), (Vec::new(), 0), "a request was sent");
}

#[tokio::test]
async fn a_tunnel_without_a_file_goes_by_the_users_configuration_too() {
    let (env, emulator) = azure().await;
    let proxy = Detour::start(None).await;
    configure(&env, &format!("[network]\nproxy = \"http://127.0.0.1:{}\"\n", proxy.port));
    let id = "/subscriptions/00000000-0000-4000-8000-0000000e0001/resourceGroups/rg-emulator/providers\
              /Microsoft.Compute/virtualMachines/vm-web";
    let options = ["--name", "hub", "--resource-group", "rg-emulator", "--target-resource-id", id];
    let tunnel = env.start_on(&emulator, &[&["tunnel", "--resource-port", "7"], &options[..]].concat());
    tunnel.wait_line(|line| line.starts_with("Tunnel is ready"), "the tunnel").await;
    tunnel.stop().await;
    let (arm, gateway) = hosts(&env, &emulator);
    assert_eq!(proxy.hosts(), [arm, gateway]);
}

#[tokio::test]
async fn an_edit_of_the_network_is_told_of_and_changes_nothing_that_runs() {
    let (env, emulator) = azure().await;
    let up = up(&env, &emulator, &[], "[network]\nproxy = \"none\"\n");
    echoes(up.address("echo").await).await;
    configure(&env, &format!("[network]\nproxy = \"http://127.0.0.1:{}\"\n", free_port()));
    up.wait_line(|line| line.contains("takes effect when `bastion up` starts again"), "that it is told")
        .await;
    echoes(up.address("echo").await).await;
    env.finish(up).await;
}
