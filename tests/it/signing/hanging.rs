//! An az that hangs: it is a script that starts another program, and neither may outlive whoever asked.

use std::time::Duration;

use tokio::process::Command;
use tokio::time::{Instant, sleep};

use super::FakeAz;
use crate::env::{POLL, Running, TestEnv};
use crate::process::PATIENCE;

const WORKSPACE: &str = "[azure]\nsubscription = \"s\"\nresource_group = \"rg\"\ncredential = \"azure-cli\"\n[bastions.hub]\n\
                         [targets]\nweb = { vm = \"vm-web\" }\n[tunnels]\npage = \"0 -> web:80\"\n";

/// An az that starts another program and waits for it.
fn hanging() -> FakeAz {
    let az = FakeAz::new();
    az.does(&format!("/bin/sleep 600 &\necho $! > '{}'\nwait", az.path("child").display()));
    az
}

fn command(env: &TestEnv, az: &FakeAz, arguments: &[&str]) -> Command {
    let mut command = env.bastion(arguments);
    command.env("PATH", az.search()).env("AZURE_CONFIG_DIR", az.path("profile"));
    command
}

/// What az started, once it has.
async fn child(az: &FakeAz) -> u32 {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = std::fs::read_to_string(az.path("child")).unwrap_or_default();
        if text.ends_with('\n') {
            return text.trim().parse().unwrap();
        }
        assert!(Instant::now() < deadline, "az was not asked");
        sleep(POLL).await;
    }
}

/// Waits until a process runs no more. Nobody may have waited for it yet.
async fn is_gone(process: u32) {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        if stat.is_empty() || stat.contains(") Z") {
            return;
        }
        assert!(Instant::now() < deadline, "it still runs: {stat}");
        sleep(POLL).await;
    }
}

async fn ends_with(az: &FakeAz, running: Running, signal: rustix::process::Signal, code: i32) {
    let child = child(az).await;
    running.signal(signal);
    let (ended, said) = running.wait().await;
    assert_eq!(ended, code, "{said}");
    is_gone(child).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn nothing_of_az_outlives_who_asks_it() {
    let (env, az) = (TestEnv::new(), hanging());
    let whoami = env.run_command(command(&env, &az, &["whoami"]));
    ends_with(&az, whoami, rustix::process::Signal::INT, 130).await;

    let az = hanging();
    env.workspace(WORKSPACE);
    let up = env.run_command(command(&env, &az, &["up", "--no-watch"]));
    ends_with(&az, up, rustix::process::Signal::TERM, 0).await;
}
