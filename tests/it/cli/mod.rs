//! Every word that a user sees of the commands: exit code, standard output, standard error.

mod allow;
#[cfg(unix)]
mod az;
mod check;
#[cfg(unix)]
mod down;
mod explain;
#[cfg(unix)]
mod gc;
mod help;
mod layers;
mod plan;
#[cfg(unix)]
mod port;
mod refusals;
#[cfg(unix)]
mod reload;
#[cfg(unix)]
mod skew;
#[cfg(unix)]
mod stage;
#[cfg(unix)]
mod status;
mod tunnels;
#[cfg(unix)]
mod wait;

use std::process::Output;

use crate::env::TestEnv;

const WORKSPACE: &str = r#"[azure]
cloud = "emulator"

[bastions.hub]

[targets]
web = { vm = "vm-web" }

[tunnels]
page = "0 -> web:80"
"#;

/// What a command said, and how it ended; what differs from run to run is replaced.
fn words(env: &TestEnv, output: &Output) -> String {
    let text = |bytes: &[u8]| {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let text = text.replace(&env.work().display().to_string(), "WORK");
        text.replace(&env.work().canonicalize().unwrap().display().to_string(), "WORK").trim_end().to_owned()
    };
    let mut all = format!("exit {}", output.status.code().unwrap_or(-1));
    for (name, bytes) in [("out", &output.stdout), ("err", &output.stderr)] {
        if !bytes.is_empty() {
            all.push_str(&format!("\n----- {name}\n{}", text(bytes)));
        }
    }
    all
}

async fn said(arguments: &[&str]) -> String {
    let env = TestEnv::new();
    words(&env, &env.run(arguments).await)
}

/// With a workspace.
async fn said_of(workspace: &str, arguments: &[&str]) -> String {
    let env = TestEnv::new();
    env.workspace(workspace);
    words(&env, &env.run(arguments).await)
}

pub(crate) const TUNNEL: &[&str] = &[
    "tunnel",
    "--cloud",
    "emulator",
    "--name",
    "hub",
    "--resource-group",
    "rg-emulator",
    "--resource-port",
    "80",
    "--target-resource-id",
    "/subscriptions/00000000-0000-4000-8000-0000000e0001/resourceGroups/rg-emulator/providers/Microsoft.Compute/virtualMachines/vm-web",
];
