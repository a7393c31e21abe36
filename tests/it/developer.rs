//! The other ways to a target, with the program itself: Developer bastions and addresses, byte for byte; and what is
//! refused, in which words.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Duration, timeout};

use crate::env::{TestEnv, check_no_token};
use crate::pattern::Check;
use crate::process::PATIENCE;
use crate::server::Server;
use crate::streams;

/// A workspace with one tunnel to this port of this target, below a bastion that is so.
fn workspace(target: &str, port: u16, bastion: &str, more: &str) -> String {
    format!(
        "[azure]\ncloud = \"emulator\"\n[bastions.hub]\n[targets]\nhost = {target}\n[tunnels.host]\nlisten = 0\nport = {port}\n\
         [emulator]\nlog = \"requests.jsonl\"\n[emulator.bastions.hub]\n{bastion}\n{more}\n"
    )
}

fn served(port: u16, server: &Server) -> String {
    format!("[emulator.targets]\nhost = {{ {port} = \"{}\" }}", server.address)
}

const MACHINE: &str = r#"{ vm = "vm-host" }"#;
const ADDRESS: &str = r#"{ ip = "10.0.0.4" }"#;

/// Asks for so many bytes and sends its end at once: all of them come, and then an end.
async fn half_closed(mut stream: TcpStream, len: u64) {
    stream.write_all(format!("{len}\n").as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut check = Check::default();
    let mut buffer = vec![0; 1 << 16];
    let all = async {
        while let read @ 1.. = stream.read(&mut buffer).await.unwrap() {
            check.feed(&buffer[..read]);
        }
    };
    timeout(2 * PATIENCE, all).await.unwrap();
    assert_eq!(check.len(), len, "the end came early");
}

/// Three connections at once, each way and back, and the answer to one that has finished sending.
async fn byte_for_byte(target: &str, bastion: &str) -> (TestEnv, String) {
    const LEN: u64 = 3 << 20;
    let env = TestEnv::new();
    let (echo, bytes) = (Server::echo().await, Server::bytes().await);
    let more = format!(
        "[tunnels.bytes]\ntarget = \"host\"\nlisten = 0\nport = 3389\n\
         [emulator.targets]\nhost = {{ 22 = \"{}\", 3389 = \"{}\" }}",
        echo.address, bytes.address
    );
    env.workspace(&workspace(target, 22, bastion, &more));
    let up = env.up(&["-v"]);
    let (address, half) = (up.address("host").await, up.address("bytes").await);
    let connect = |address| async move { TcpStream::connect(address).await.unwrap() };
    let (one, two, three) = (connect(address).await, connect(address).await, connect(address).await);
    let half = connect(half).await;
    tokio::join!(
        streams::echo(one, LEN),
        streams::echo(two, LEN),
        streams::echo(three, 1),
        half_closed(half, LEN)
    );
    let said = env.finish(up).await;
    assert_eq!(env.check_sessions().opened, 6, "one each, and one for the proof of each tunnel");
    (env, said)
}

fn count(env: &TestEnv, kind: &str) -> usize {
    env.requests().iter().filter(|request| request["kind"] == kind).count()
}

#[tokio::test]
async fn a_developer_bastion_carries_every_byte() {
    let (env, said) = byte_for_byte(MACHINE, "sku = \"Developer\"").await;
    assert!(!said.contains("WARN"), "{said}");
    let requests = env.requests();
    for request in requests.iter().filter(|request| request["kind"] != "arm" && request["kind"] != "broker") {
        assert!(request["host"].as_str().unwrap().starts_with("pod-"), "{request}");
    }
    assert_eq!(count(&env, "broker"), 2, "once for each port");
}

#[tokio::test]
async fn quick_connect_is_developer_by_its_old_name() {
    let env = TestEnv::new();
    let server = Server::echo().await;
    env.workspace(&workspace(MACHINE, 3389, "sku = \"QuickConnect\"", &served(3389, &server)));
    let up = env.up(&["-v"]);
    streams::echo(TcpStream::connect(up.address("host").await).await.unwrap(), 100_000).await;
    env.finish(up).await;
    assert_eq!(count(&env, "broker"), 1);
}

#[tokio::test]
async fn an_address_carries_every_byte() {
    let (env, said) = byte_for_byte(ADDRESS, "").await;
    assert!(!said.contains("WARN"), "{said}");
    for post in env.requests().iter().filter(|request| request["kind"] == "token") {
        let field = |name: &str| {
            let pairs = post["form"].as_array().unwrap();
            pairs.iter().find(|pair| pair[0] == name).unwrap()[1].as_str().unwrap().to_owned()
        };
        assert!(field("resourceId").ends_with("/providers/Microsoft.Network/bh-hostConnect/10.0.0.4"));
        assert_eq!(field("hostname"), "10.0.0.4");
    }
}

#[tokio::test]
async fn an_address_on_another_port_is_tried_and_warned_of_once() {
    let env = TestEnv::new();
    let server = Server::echo().await;
    env.workspace(&workspace(ADDRESS, 5432, "", &served(5432, &server)));
    let up = env.up(&["-v"]);
    let address = up.address("host").await;
    for _ in 0..2 {
        streams::echo(TcpStream::connect(address).await.unwrap(), 1000).await;
    }
    let said = env.finish(up).await;
    let warnings: Vec<&str> = said.lines().filter(|line| line.contains("ip-connect-port")).collect();
    let [warning] = warnings.as_slice() else { panic!("{said}") };
    insta::assert_snapshot!(warning.split_once("WARN").unwrap().1.trim(), @r#"Azure supports IP-based connections on ports 22 and 3389 only; trying 10.0.0.4:5432 all the same bastion="hub" code="ip-connect-port""#);
}

/// What is said of a tunnel that cannot be, before anybody was asked who gets a token for the data plane.
async fn refused(target: &str, port: u16, bastion: &str) -> String {
    let env = TestEnv::new();
    env.workspace(&workspace(target, port, bastion, ""));
    let up = env.up(&[]);
    let line = up.wait_line(|line| line.contains("hint:"), "what mends it").await;
    let lines = up.stderr();
    let said = up.stop().await;
    check_no_token(&said);
    for kind in ["token", "broker", "upgrade", "delete", "other"] {
        assert_eq!(count(&env, kind), 0, "{kind} was asked:\n{said}");
    }
    assert!(count(&env, "arm") > 0);
    let end = lines.iter().position(|l| *l == line).unwrap();
    let begin = lines[..end].iter().rposition(|l| l.starts_with("blocked")).unwrap();
    shown(&lines[begin..=end])
}

/// Lines as they were said, without how long something still waits.
fn shown(lines: &[String]) -> String {
    let lines = lines.iter().map(|line| line.split("; looked at again").next().unwrap());
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn what_a_sku_or_a_switch_does_not_allow_is_refused_with_the_property_and_the_command() {
    insta::assert_snapshot!(refused(MACHINE, 22, "sku = \"Basic\"").await, @r"
    blocked  host         the bastion `hub` is of the SKU Basic, which has no native client support: it needs Standard or Premium [wrong-sku]
    hint: `az network bastion update --name hub --resource-group rg-emulator --subscription 00000000-0000-4000-8000-0000000e0001 --sku Standard --enable-tunneling true` (it cannot be taken back)
    ");
    insta::assert_snapshot!(refused(MACHINE, 22, "enable_tunneling = false").await, @r"
    blocked  host         native client support is off on the bastion `hub` (enableTunneling is not true) [tunneling-disabled]
    hint: `az network bastion update --name hub --resource-group rg-emulator --subscription 00000000-0000-4000-8000-0000000e0001 --enable-tunneling true`
    ");
    insta::assert_snapshot!(refused(MACHINE, 22, "sku = \"Premium\"\nenable_tunneling = \"absent\"").await, @r"
    blocked  host         native client support is off on the bastion `hub` (enableTunneling is not true) [tunneling-disabled]
    hint: `az network bastion update --name hub --resource-group rg-emulator --subscription 00000000-0000-4000-8000-0000000e0001 --enable-tunneling true`
    ");
    insta::assert_snapshot!(refused(ADDRESS, 22, "enable_ip_connect = false").await, @r"
    blocked  host         IP-based connection is off on the bastion `hub` (enableIpConnect is not true) [ip-connect-disabled]
    hint: `az network bastion update --name hub --resource-group rg-emulator --subscription 00000000-0000-4000-8000-0000000e0001 --enable-ip-connect true`
    ");
    insta::assert_snapshot!(refused(ADDRESS, 22, "enable_ip_connect = \"absent\"").await, @r"
    blocked  host         IP-based connection is off on the bastion `hub` (enableIpConnect is not true) [ip-connect-disabled]
    hint: `az network bastion update --name hub --resource-group rg-emulator --subscription 00000000-0000-4000-8000-0000000e0001 --enable-ip-connect true`
    ");
    insta::assert_snapshot!(refused(ADDRESS, 22, "sku = \"Developer\"").await, @r#"
    blocked  host         the bastion `hub` is of the SKU Developer, which reaches virtual machines on ports 22 and 3389 only, not the address 10.0.0.4 (it has no enableIpConnect) [developer-limits]
    hint: `az network bastion create --sku Standard --enable-tunneling true --enable-ip-connect true …` makes one that reaches it (it needs a subnet `AzureBastionSubnet` and is paid for by the hour)
    "#);
    insta::assert_snapshot!(refused(MACHINE, 5432, "sku = \"Developer\"").await, @r#"
    blocked  host         the bastion `hub` is of the SKU Developer, which reaches virtual machines on ports 22 and 3389 only, not port 5432 [developer-limits]
    hint: `az network bastion create --sku Standard --enable-tunneling true --enable-ip-connect true …` makes one that reaches it (it needs a subnet `AzureBastionSubnet` and is paid for by the hour)
    "#);
}

/// What is said when the broker answers so.
async fn answered(action: &str) -> String {
    let env = TestEnv::new();
    let fault = format!("[[emulator.faults]]\nphase = \"broker\"\ntimes = 0\ndo = {action}");
    env.workspace(&workspace(MACHINE, 22, "sku = \"Developer\"", &fault));
    let up = env.up(&["-vv"]);
    let line = up.wait_line(|line| line.contains("hint:"), "what mends it").await;
    let lines = up.stderr();
    let said = up.stop().await;
    check_no_token(&said);
    for kind in ["token", "upgrade", "delete", "other"] {
        assert_eq!(count(&env, kind), 0, "{kind} was asked:\n{said}");
    }
    let end = lines.iter().position(|l| *l == line).unwrap();
    let begin = lines[..end].iter().rposition(|l| l.starts_with("blocked")).unwrap();
    let text = shown(&lines[begin..=end]);
    let (before, after) = text.split_once("omnibrain.bastion.localhost:").unwrap();
    format!("{before}BROKER{}", after.trim_start_matches(|c: char| c.is_ascii_digit()))
}

#[tokio::test]
async fn a_broker_that_answers_what_it_must_not_is_told_of() {
    let stranger = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = stranger.local_addr().unwrap().port();
    for action in [
        format!("\"answer:127.0.0.1:{port}\""),
        format!("\"answer:user@localhost:{port}\""),
        format!("\"answer:https://localhost:{port}/\""),
        format!("\"redirect:302:https://localhost:{port}/api/connection\""),
    ] {
        let said = answered(&action).await;
        assert!(said.starts_with("blocked"), "{said}");
    }
    let nobody = timeout(Duration::from_millis(1), stranger.accept()).await;
    assert!(nobody.is_err(), "the stranger was called");
    insta::assert_snapshot!(answered("\"answer:evil/@x\"").await, @r#"
    blocked  host         the broker BROKER named no data pod for vm-host:22: HTTP 200, "evil/@x", to which no token goes: it is not a bare DNS name [broker-answer]
    hint: a token goes only to a bare DNS name that the broker answered; is a proxy or captive portal on the way?
    "#);
    insta::assert_snapshot!(answered("\"answer:10.0.0.1\"").await, @r#"
    blocked  host         the broker BROKER named no data pod for vm-host:22: HTTP 200, "10.0.0.1", to which no token goes: it is an IP address, not a DNS name [broker-answer]
    hint: a token goes only to a bare DNS name that the broker answered; is a proxy or captive portal on the way?
    "#);
    insta::assert_snapshot!(answered("\"redirect:302:https://stranger.example/\"").await, @r#"
    blocked  host         the broker BROKER named no data pod for vm-host:22: HTTP 302 [broker-redirect]
    hint: a redirect is not followed, because the request carries an access token; is a captive portal or proxy on the way?
    "#);
    insta::assert_snapshot!(answered("\"plain:403\"").await, @r#"
    blocked  host         the broker BROKER named no data pod for vm-host:22: HTTP 403, "Forbidden" [broker-denied]
    hint: the account needs Reader on the bastion and on the virtual machine, and this machine's public address must be among the bastion's `networkAcls.ipRules` where there are any
    "#);
    insta::assert_snapshot!(answered(&format!("\"answer:{}\"", "x".repeat(4096))).await, @r#"
    blocked  host         the broker BROKER named no data pod for vm-host:22: HTTP 200, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", to which no token goes: it is longer than any host name (4096 bytes) [broker-answer]
    hint: a token goes only to a bare DNS name that the broker answered; is a proxy or captive portal on the way?
    "#);
}
