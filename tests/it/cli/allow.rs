//! What `allow` shows, and what it remembers.

use super::{said_of, words};
use crate::env::TestEnv;

const FILE: &str = r#"[azure]
cloud = "emulator"
[bastions.hub]
[targets]
web = { vm = "vm-web" }
[tunnels]
page = "8080 -> web:80"
[tunnels.open]
listen = "0.0.0.0:8081"
target = "web"
port = 80
expose = true
[tunnels.wide]
listen = "[::]:8082"
target = "web"
port = 80
expose = true
"#;

#[tokio::test]
async fn nobody_can_be_asked() {
    let env = TestEnv::new();
    env.workspace(FILE);
    insta::assert_snapshot!(words(&env, &env.run(&["allow"]).await), @r"
    exit 2
    ----- err
    expose: tunnel `open` listens on 0.0.0.0:8081 (every network of this machine) and leads to port 80 of /subscriptions/00000000-0000-4000-8000-0000000e0001/resourceGroups/rg-emulator/providers/Microsoft.Compute/virtualMachines/vm-web through /subscriptions/00000000-0000-4000-8000-0000000e0001/resourceGroups/rg-emulator/providers/Microsoft.Network/bastionHosts/hub
    expose: tunnel `wide` listens on [::]:8082 (every network of this machine) and leads to port 80 of /subscriptions/00000000-0000-4000-8000-0000000e0001/resourceGroups/rg-emulator/providers/Microsoft.Compute/virtualMachines/vm-web through /subscriptions/00000000-0000-4000-8000-0000000e0001/resourceGroups/rg-emulator/providers/Microsoft.Network/bastionHosts/hub
    error: nobody can be asked, so nothing is allowed
    hint: `bastion allow` in a terminal asks; `--yes` allows without asking
    ");
    assert!(!env.work().parent().unwrap().join("home/.local/state/bastion/grants").exists());
}

#[tokio::test]
async fn what_is_allowed_is_asked_for_no_more() {
    let env = TestEnv::new();
    env.workspace(FILE);
    insta::assert_snapshot!(words(&env, &env.run(&["allow", "o*", "-y"]).await), @r"
    exit 0
    ----- err
    expose: tunnel `open` listens on 0.0.0.0:8081 (every network of this machine) and leads to port 80 of /subscriptions/00000000-0000-4000-8000-0000000e0001/resourceGroups/rg-emulator/providers/Microsoft.Compute/virtualMachines/vm-web through /subscriptions/00000000-0000-4000-8000-0000000e0001/resourceGroups/rg-emulator/providers/Microsoft.Network/bastionHosts/hub
    Allowed, for this workspace
    ");
    insta::assert_snapshot!(words(&env, &env.run(&["allow", "open"]).await), @r"
    exit 0
    ----- err
    Nothing has to be allowed
    ");
    insta::assert_snapshot!(words(&env, &env.run(&["-q", "allow", "--yes"]).await), @r"
    exit 0
    ----- err
    expose: tunnel `wide` listens on [::]:8082 (every network of this machine) and leads to port 80 of /subscriptions/00000000-0000-4000-8000-0000000e0001/resourceGroups/rg-emulator/providers/Microsoft.Compute/virtualMachines/vm-web through /subscriptions/00000000-0000-4000-8000-0000000e0001/resourceGroups/rg-emulator/providers/Microsoft.Network/bastionHosts/hub
    ");
    insta::assert_snapshot!(words(&env, &env.run(&["allow", "--yes"]).await), @r"
    exit 0
    ----- err
    Nothing has to be allowed
    ");
    // Whatever changes has to be allowed anew.
    env.workspace(&FILE.replace("8081", "8083"));
    let said = words(&env, &env.run(&["allow"]).await);
    assert!(said.contains("0.0.0.0:8083") && !said.contains("8082"), "{said}");
}

/// Python gives the program a terminal, and types into it what comes from here.
#[cfg(unix)]
#[tokio::test]
async fn on_a_terminal_it_asks() {
    use std::process::Stdio;

    use tokio::io::AsyncWriteExt as _;

    const TERMINAL: &str =
        "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";
    if !crate::programs::require("on_a_terminal_it_asks", &["python3"]) {
        return;
    }
    let env = TestEnv::new();
    env.workspace(FILE);
    for (typed, code, end) in [
        ("\n", 1, "error: nothing is allowed"),
        ("no\n", 1, "error: nothing is allowed"),
        // Ctrl-D: the answer ends without a line.
        ("\u{4}", 1, "[y/N] \r\nerror: nothing is allowed"),
        ("y\n", 0, "Allowed, for this workspace"),
        ("", 0, "Nothing has to be allowed"),
    ] {
        let mut command = env.command(crate::programs::found("python3"));
        command.args(["-c", TERMINAL, env!("CARGO_BIN_EXE_bastion"), "--color", "never", "allow"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(typed.as_bytes()).await.unwrap();
        let output = tokio::time::timeout(crate::process::PATIENCE, child.wait_with_output()).await.unwrap();
        let output = output.unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(code), "{typed:?}: {said}");
        assert!(said.trim_end().ends_with(end), "{typed:?}: {said}");
        assert_eq!(said.contains("Allow this? [y/N] "), !typed.is_empty(), "{said}");
        assert_eq!(said.contains("0.0.0.0:8081"), !typed.is_empty(), "{said}");
        drop(stdin);
    }
}

#[tokio::test]
async fn nothing_is_wanted() {
    let file = FILE.split("[tunnels.open]").next().unwrap();
    assert_eq!(said_of(file, &["allow"]).await, "exit 0\n----- err\nNothing has to be allowed");
    assert_eq!(said_of(FILE, &["allow", "page"]).await, "exit 0\n----- err\nNothing has to be allowed");
}

#[tokio::test]
async fn mistakes() {
    insta::assert_snapshot!(said_of(FILE, &["allow", "opne"]).await, @r"
    exit 2
    ----- err
    error: there is no tunnel `opne` in this workspace [unknown-tunnel]
    hint: did you mean `open`?
    ");
    insta::assert_snapshot!(said_of("[tunnels", &["allow", "-y"]).await, @r"
    exit 2
    ----- err
    error[syntax]: unclosed table, expected `]`
     --> bastion.toml:1:9
      |
    1 | [tunnels
      |         ^

    error: bastion.toml has 1 mistake; nothing is allowed
    ");
}

#[cfg(unix)]
#[tokio::test]
async fn grants_that_others_could_have_written_count_for_nothing() {
    use std::os::unix::fs::PermissionsExt as _;

    let env = TestEnv::new();
    env.workspace(FILE);
    assert!(env.run(&["allow", "-y"]).await.status.success());
    let grants = env.work().parent().unwrap().join("home/.local/state/bastion/grants");
    let file = std::fs::read_dir(&grants).unwrap().next().unwrap().unwrap().path();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
    let said = words(&env, &env.run(&["allow", "open"]).await);
    let said = said.replace(&file.display().to_string(), "FILE");
    insta::assert_snapshot!(said, @r"
    exit 2
    ----- err
    warning: `FILE`, which holds what you allowed, grants nothing: others can write to it
    expose: tunnel `open` listens on 0.0.0.0:8081 (every network of this machine) and leads to port 80 of /subscriptions/00000000-0000-4000-8000-0000000e0001/resourceGroups/rg-emulator/providers/Microsoft.Compute/virtualMachines/vm-web through /subscriptions/00000000-0000-4000-8000-0000000e0001/resourceGroups/rg-emulator/providers/Microsoft.Network/bastionHosts/hub
    error: nobody can be asked, so nothing is allowed
    hint: `bastion allow` in a terminal asks; `--yes` allows without asking
    ");
    // A directory that is open to others holds nothing.
    std::fs::set_permissions(&grants, std::fs::Permissions::from_mode(0o755)).unwrap();
    let said = words(&env, &env.run(&["allow", "open", "-y"]).await);
    let said =
        said.replace(&file.display().to_string(), "FILE").replace(&grants.display().to_string(), "DIR");
    insta::assert_snapshot!(said, @r"
    exit 1
    ----- err
    warning: `FILE`, which holds what you allowed, grants nothing: others can write to it
    expose: tunnel `open` listens on 0.0.0.0:8081 (every network of this machine) and leads to port 80 of /subscriptions/00000000-0000-4000-8000-0000000e0001/resourceGroups/rg-emulator/providers/Microsoft.Compute/virtualMachines/vm-web through /subscriptions/00000000-0000-4000-8000-0000000e0001/resourceGroups/rg-emulator/providers/Microsoft.Network/bastionHosts/hub
    error: `DIR` is open to other users; close it: chmod 700 'DIR'
    ");
}
