//! What is said of tunnels from their start to their end.

use tokio::net::TcpListener;

use super::{TUNNEL, WORKSPACE, said, words};
use crate::env::TestEnv;

#[tokio::test]
async fn one_tunnel_until_its_time_is_up() {
    let env = TestEnv::new();
    let output = env.run(&[TUNNEL, &["--timeout", "1"]].concat()).await;
    let told = words(&env, &output);
    let port = told.lines().find_map(|line| line.strip_prefix("Tunnel is ready, connect on port ")).unwrap();
    assert!(port.parse::<u16>().is_ok_and(|port| port != 0), "{told}");
    insta::assert_snapshot!(told.replace(port, "PORT"), @r#"
    exit 0
    ----- err
    Azure is emulated in this process: no account, no cost
    Tunnel is ready, connect on port PORT
    Ctrl + C to close
    Stopped; every session is deleted
    "#);
}

#[tokio::test]
async fn one_tunnel_that_cannot_be() {
    insta::assert_snapshot!(said(&["tunnel", "--name", "hub", "-g", "rg", "--resource-port", "80", "--target-ip-address", "10.0.0.4"]).await, @r#"
    exit 3
    ----- err
    error: `--subscription` is needed: nobody is signed in to az, so it has no current one [no-subscription]
    hint: `az login`, or name the one that the bastion is in: `--subscription ID`
    "#);
    let mut wrong = TUNNEL.to_vec();
    wrong.pop();
    wrong.push("vm-web");
    insta::assert_snapshot!(said(&wrong).await, @r#"
    exit 2
    ----- err
    error: `--target-resource-id`: a resource ID looks like /subscriptions/SUBSCRIPTION/resourceGroups/GROUP/providers/Microsoft.Compute/virtualMachines/NAME
    "#);
}

#[tokio::test]
async fn a_port_that_is_taken() {
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = other.local_addr().unwrap().port().to_string();
    let told = said(&[TUNNEL, &["--port", &port]].concat()).await;
    insta::assert_snapshot!(crate::addresses::anonymous(&told).replace(&port, "PORT"), @r#"
    exit 5
    ----- err
    Azure is emulated in this process: no account, no cost
    error: listening on 127.0.0.1:PORT: another program listens there [port-taken]
    hint: stop that program, or choose another local port (0 takes any free one)
    "#);

    let env = TestEnv::new();
    env.workspace(&WORKSPACE.replace("\"0 ->", &format!("\"{port} ->")));
    let up = env.up(&[]);
    let line = up.wait_line(|line| line.starts_with("blocked"), "a blocked tunnel").await;
    insta::assert_snapshot!(crate::addresses::anonymous(&line).replace(&port, "PORT"), @"blocked  page         listening on 127.0.0.1:PORT: another program listens there [port-taken]; looked at again in 60 s");
    up.stop().await;
}

#[tokio::test]
async fn one_tunnel_that_is_denied() {
    let env = TestEnv::new();
    env.workspace(&format!("{WORKSPACE}[[emulator.faults]]\nphase = \"token\"\ndo = \"403\"\ntimes = 0\n"));
    let emulator = env.emulator(&[]).await;
    let denied = env.start_on(&emulator, TUNNEL);
    let (code, told) = denied.wait().await;
    let told = told.replace(&*env.work().parent().unwrap().to_string_lossy(), "ROOT");
    insta::with_settings!({filters => vec![(r"bst-[0-9a-f-]+\.bastion\.localhost:\d+", "GATEWAY")]}, {
        insta::assert_snapshot!(format!("exit {code}\n{told}"), @r#"
        exit 3
        Azure is emulated by the process that wrote ROOT/emulator.json
        error: the gateway GATEWAY refused a session: HTTP 403, "The client with object id '00000000-0000-4000-8000-0000000e0003' does not have authorization to perform action 'Microsoft.Network/bastionHosts/read' over the requested scope or the scope is invalid. If access was recently granted, please refresh your credentials." [denied]
        hint: the account can read the bastion, the machine `vm-web` and its network interface; what may be missing is Reader on their virtual network, or a few minutes since it was granted
        "#);
    });
    emulator.into_running().stop().await;
}

/// More tunnels than events are kept for a reader that is slow: some are skipped, and nothing is told twice for it.
#[tokio::test]
async fn up_tells_of_many_tunnels_once_each() {
    let env = TestEnv::new();
    let tunnels: String = (0..1200).map(|i| format!("t{i} = \"127.0.0.1:0 -> web:{}\"\n", i + 1)).collect();
    // Without sessions: they are what takes time, and are not what this is about.
    env.workspace(&format!(
        "[azure]\ncloud = \"emulator\"\n[defaults]\nprobe = \"none\"\n[bastions.hub]\n\
         [targets]\nweb = {{ vm = \"vm-web\" }}\n[tunnels]\n{tunnels}"
    ));
    let up = env.up(&[]);
    up.wait_line(|line| line.starts_with("Everything is ready"), "all of it").await;
    let told = up.stop().await;
    let count = |word: &str| told.lines().filter(|line| line.starts_with(word)).count();
    assert_eq!((count("ready "), count("Everything is ready")), (1200, 1), "{told}");
}

#[tokio::test]
async fn up_from_start_to_stop() {
    let env = TestEnv::new();
    env.workspace(WORKSPACE);
    let up = env.up(&[]);
    up.wait_line(|line| line.starts_with("Everything is ready"), "all of it").await;
    let told = up.stop().await;
    insta::with_settings!({filters => vec![(r"(127\.0\.0\.1|\[::1\]):\d+", "$1:PORT")]}, {
        insta::assert_snapshot!(told, @r#"
        Azure is emulated in this process: no account, no cost
        ready    page         127.0.0.1:PORT, [::1]:PORT -> web:80 through hub
        Everything is ready; Ctrl-C stops it
        Stopped; every session is deleted
        "#);
    });
}
