//! What others may have put into a workspace's files: it reaches nothing that its user has not allowed.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use bastion::config::Variables;
use bastion::instance::Grants;
use bastion::model::{AzCurrent, Grant};
use bastion::workspace::{Where, Workspace};
use tokio::time::Instant;

use crate::env::TestEnv;
use crate::process::{PATIENCE, output};
use crate::reload::{Scene, closed, free_port, greeted, is_ready, live, places, words};

/// Somebody else: nobody.
const OTHER: u32 = 65534;

/// Gives a file to another user. Only root can.
fn give_away(path: &Path) -> bool {
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: a file of another user's can be made by root only");
        return false;
    }
    chown(path, Some(OTHER), Some(OTHER)).unwrap();
    true
}

/// What `up` says in a directory, and how it ends.
async fn up_in(env: &TestEnv, directory: &Path, flags: &[&str]) -> String {
    let mut command = env.bastion(&[&["up"], flags].concat());
    command.current_dir(directory);
    let done = output(command, PATIENCE).await;
    let said = String::from_utf8(done.stderr).unwrap();
    let said = said.replace(&env.work().canonicalize().unwrap().display().to_string(), "WORK");
    format!("exit {}\n{}", done.status.code().unwrap_or(-1), said.trim_end())
}

#[tokio::test]
async fn a_file_that_somebody_put_into_a_shared_directory_is_not_used() {
    let env = TestEnv::new();
    let (shared, project) = (env.path("shared"), env.path("shared/project/deep"));
    fs::create_dir_all(&project).unwrap();
    // As /tmp is.
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o1777)).unwrap();
    fs::write(shared.join("bastion.toml"), "[tunnels]\n").unwrap();
    if !give_away(&shared.join("bastion.toml")) {
        return;
    }
    insta::assert_snapshot!(up_in(&env, &project, &[]).await, @r"
    exit 2
    error: WORK/shared/bastion.toml belongs to another user, so it is not used
    hint: a file says where connections go: name it with `-f` if you trust it
    ");
    // Nor is a link of somebody else's to a file of ours.
    fs::remove_file(shared.join("bastion.toml")).unwrap();
    env.workspace("[tunnels]\n");
    std::os::unix::fs::symlink(env.path("bastion.toml"), shared.join("bastion.toml")).unwrap();
    std::os::unix::fs::lchown(shared.join("bastion.toml"), Some(OTHER), Some(OTHER)).unwrap();
    let said = up_in(&env, &project, &[]).await;
    assert!(said.contains("WORK/shared/bastion.toml belongs to another user"), "{said}");
    // Nor what lies in a directory of somebody else's, whoever made the file.
    fs::remove_file(shared.join("bastion.toml")).unwrap();
    fs::write(shared.join("bastion.toml"), "[tunnels]\n").unwrap();
    assert!(give_away(&shared));
    let said = up_in(&env, &project, &[]).await;
    assert!(said.contains("WORK/shared belongs to another user"), "{said}");
}

#[tokio::test]
async fn a_file_that_becomes_somebody_elses_is_no_edit() {
    let (old, new) = (free_port(), free_port());
    let scene = Scene::start(&format!("a = \"{old} -> one:7\"\n")).await;
    let planted = scene.env.path("planted");
    fs::write(&planted, scene.text(&format!("a = \"{new} -> two:7\"\n"))).unwrap();
    if give_away(&planted) {
        fs::rename(&planted, scene.env.path("bastion.toml")).unwrap();
        let why = scene.until("that it is refused", |status| status.rejected.clone()).await;
        assert!(why.contains("bastion.toml belongs to another user"), "{why}");
        drop(greeted(old).await.unwrap());
        closed(new).await;
        let saved = scene.edit(&format!("a = \"{new} -> one:7\"\n"));
        drop(live(new, "one", saved, "our own file again").await);
    }
    scene.env.finish(scene.up).await;
}

#[tokio::test]
async fn a_file_may_name_neither_secrets_nor_where_tokens_go() {
    let port = free_port();
    let good = format!("a = \"{port} -> one:7\"\n");
    let scene = Scene::start(&good).await;
    let before = scene.status().await;
    for (mistake, code, words) in [
        ("b = { listen = 0, target = \"${HOME_SECRET}\", port = 7 }", "foreign-variable", "HOME_SECRET"),
        ("b = \"0 -> ${PATH}:7\"", "foreign-variable", "PATH"),
        ("b = \"0 -> ${BASTION:-x}:7\"", "foreign-variable", "BASTION"),
        ("[clouds.lab]\nresource_manager = \"https://example.org\"", "user-config-only", "clouds"),
        ("[network]\nproxy = \"http://example.org:3128\"", "user-config-only", "network"),
    ] {
        scene.edit(&format!("{good}{mistake}\n"));
        let found = |text: &str| text.contains(&format!("error[{code}]")) && text.contains(words);
        let shown = scene.until(mistake, |status| status.rejected.clone().filter(|all| found(all))).await;
        assert!(shown.contains('^'), "{shown}");
        drop(greeted(port).await.unwrap());
    }
    assert_eq!(scene.status().await.generation, before.generation);
    scene.env.finish(scene.up).await;
}

fn exposed(port: u16, target: &str) -> String {
    format!("open = {{ listen = \"0.0.0.0:{port}\", target = \"{target}\", port = 7, expose = true }}\n")
}

/// The workspace's file as the program found it.
fn file(env: &TestEnv) -> PathBuf {
    env.work().canonicalize().unwrap().join("bastion.toml")
}

/// What the workspace asks for, as it is now.
fn wanted(env: &TestEnv) -> Vec<Grant> {
    let workspace = Workspace::find(&Where { file: Some(file(env)), ..Where::default() }).unwrap();
    let desired =
        workspace.read().unwrap().load(&Variables::default(), &AzCurrent::SignedOut).desired.unwrap();
    desired.grants_wanted().into_iter().map(|(_, grant)| grant).collect()
}

#[tokio::test]
async fn what_is_exposed_without_a_grant_is_blocked_and_the_rest_comes_up() {
    let (port, own) = (free_port(), free_port());
    let scene =
        Scene::start_with(&format!("own = \"{own} -> two:7\"\n{}", exposed(port, "one")), &["-v"]).await;
    scene.tunnel("own", is_ready).await;
    let open = scene.tunnel("open", |open| open.state == "blocked").await;
    assert_eq!((open.code.as_deref(), open.listen.len()), (Some("needs-allow"), 0));
    drop(greeted(own).await.unwrap());
    closed(port).await;
    scene.up.wait_line(|line| line.starts_with("1 of 2"), "how many are ready").await;
    let said = words(&scene.up.stderr().join("\n"), &[(port, "PORT"), (own, "OWN")]);
    let said: Vec<&str> = said.lines().filter(|line| !line.starts_with("ready")).collect();
    insta::assert_snapshot!(said.join("\n"), @r"
    Azure is emulated in this process: no account, no cost
    blocked  open         tunnel `open` listens on 0.0.0.0:PORT (every network of this machine) and leads to port 7 of /subscriptions/00000000-0000-4000-8000-0000000e0001/resourceGroups/rg-emulator/providers/Microsoft.Compute/virtualMachines/vm-one through /subscriptions/00000000-0000-4000-8000-0000000e0001/resourceGroups/rg-emulator/providers/Microsoft.Network/bastionHosts/hub, which you have not allowed [needs-allow]
    hint: `bastion allow` shows it and asks; `bastion up --allow expose` allows it for this time
    1 of 2 tunnels are ready, 1 blocked; Ctrl-C stops it
    ");
    scene.env.finish(scene.up).await;
}

#[tokio::test]
async fn with_the_flag_it_listens_for_as_long_as_this_runs() {
    let (port, next) = (free_port(), free_port());
    let scene = Scene::start_with(&exposed(port, "one"), &["-v", "--allow", "expose"]).await;
    scene.tunnel("open", is_ready).await;
    drop(greeted(port).await.unwrap());
    // The flag allows the kind, whatever the file makes of it.
    let saved = scene.edit(&exposed(next, "two"));
    drop(live(next, "two", saved, "exposed at another port").await);
    let Scene { env, up, .. } = scene;
    env.finish(up).await;
    assert_eq!(fs::read_dir(places(&env.home()).state.join("grants")).map_or(0, Iterator::count), 0);
}

#[tokio::test]
async fn what_is_not_to_be_exposed_any_more_is_closed_whatever_becomes_of_the_new_address() {
    let (port, taken) = (free_port(), free_port());
    let other = std::net::TcpListener::bind(("127.0.0.1", taken)).unwrap();
    let scene = Scene::start_with(&exposed(port, "one"), &["-v", "--allow", "expose"]).await;
    scene.tunnel("open", is_ready).await;
    scene.edit(&format!("open = \"{taken} -> one:7\"\n"));
    let now = scene.tunnel("open", |open| open.code.as_deref() == Some("port-taken")).await;
    assert_eq!((&*now.state, now.listen.len()), ("blocked", 0));
    closed(port).await;
    drop(other);
    let saved = scene.edit(&format!("# Free now.\nopen = \"{taken} -> one:7\"\n"));
    drop(live(taken, "one", saved, "no longer exposed").await);
    scene.env.finish(scene.up).await;
}

#[tokio::test]
async fn a_grant_takes_effect_by_itself_and_only_for_what_it_says() {
    let (port, other) = (free_port(), free_port());
    let scene = Scene::start_with(&exposed(port, "one"), &["-v"]).await;
    scene.tunnel("open", |open| open.code.as_deref() == Some("needs-allow")).await;
    let allow = || {
        let mut grants = Grants::load(&places(&scene.env.home()), &file(&scene.env));
        grants.remember(&wanted(&scene.env)).unwrap();
        Instant::now()
    };
    let saved = allow();
    drop(live(port, "one", saved, "allowed").await);
    scene.tunnel("open", is_ready).await;

    // Another target, another port, and a new name: each is something else.
    let blocked = async |port: u16| {
        scene.tunnel("open", |open| open.code.as_deref() == Some("needs-allow")).await;
        closed(port).await;
    };
    scene.edit(&exposed(port, "two"));
    blocked(port).await;
    let saved = scene.edit(&exposed(port, "one"));
    drop(live(port, "one", saved, "what was allowed, again").await);
    scene.edit(&exposed(other, "one"));
    blocked(port).await;
    closed(other).await;
    let saved = allow();
    drop(live(other, "one", saved, "allowed, at another port").await);

    // It is taken back.
    let grants = Grants::load(&places(&scene.env.home()), &file(&scene.env));
    fs::remove_file(grants.path()).unwrap();
    blocked(other).await;
    scene.env.finish(scene.up).await;
}

#[tokio::test]
async fn a_grant_that_others_could_have_written_grants_nothing() {
    let port = free_port();
    let scene = Scene::start_with(&exposed(port, "one"), &["-v"]).await;
    let mut grants = Grants::load(&places(&scene.env.home()), &file(&scene.env));
    grants.remember(&wanted(&scene.env)).unwrap();
    scene.tunnel("open", is_ready).await;
    fs::set_permissions(grants.path(), fs::Permissions::from_mode(0o666)).unwrap();
    scene.tunnel("open", |open| open.code.as_deref() == Some("needs-allow")).await;
    scene.up.wait_line(|line| line.contains("others can write to it"), "why").await;
    closed(port).await;
    scene.up.stop().await;
}

/// What a terminal obeys: a control, an escape, a one-character escape, and what turns text around or hides it.
const NASTY: [char; 7] = ['\u{1b}', '\u{7}', '\u{9b}', '\u{9d}', '\u{202e}', '\u{2066}', '\u{200b}'];

#[track_caller]
fn is_plain(said: &[String]) {
    for line in said {
        assert!(!line.contains(NASTY), "{line:?}");
    }
}

#[tokio::test]
async fn what_a_terminal_obeys_is_never_shown_as_it_is() {
    let port = free_port();
    let good = format!("a = \"{port} -> one:7\"\n");
    let scene = Scene::start_with(&good, &["-vv", "--format", "json"]).await;
    scene.tunnel("a", is_ready).await;
    for (number, nasty) in NASTY.into_iter().enumerate() {
        let escaped = format!("\\u{:04X}", u32::from(nasty));
        // In a name, a target, a value, a variable and a comment beside a mistake, as it is where TOML allows that.
        let raw = if nasty.is_ascii_control() { ' ' } else { nasty };
        let mistakes = format!(
            "\"na{escaped}[31mme{number}\" = \"0 -> one:7\"\nb = \"0 -> o{escaped}]0;ne:7\" # {raw}[2J\n\
             c = {{ listen = \"lo{escaped}cal:1\", target = \"{raw}\", port = 7, pr{number} = 1 }}\n\
             d = \"0 -> ${{BAS{escaped}TION}}:7\"\n"
        );
        scene.edit(&format!("{good}{mistakes}"));
        let found = |all: &String| all.contains(&format!("pr{number}"));
        let shown = scene.until("the mistakes", |status| status.rejected.clone().filter(found)).await;
        is_plain(&[shown]);
        scene.up.wait_line(|line| line.contains(&format!("pr{number}")), "the mistakes").await;
        // Raw where TOML forbids it.
        scene.save(&format!("{}# {nasty}[31m{number}\n{number}{nasty} = \"{nasty}", scene.text(&good)));
        scene.until("the mistake", |status| status.rejected.clone().filter(|all| !found(all))).await;
    }
    // What is right, and is passed on to others.
    let url = NASTY.map(|nasty| format!("\\u{:04X}", u32::from(nasty))).join("");
    let env = format!("env = {{ A_URL = \"http://{{addr}}/{url}\" }}");
    let saved = scene.edit(&format!("a = {{ listen = {port}, target = \"two\", port = 7, {env} }}\n"));
    drop(live(port, "two", saved, "with an unusual env").await);
    scene.up.wait_data(|line| line.contains("A_URL"), "an event with that env").await;
    is_plain(&scene.up.stdout());
    is_plain(&scene.up.stderr());
    for line in scene.up.stdout() {
        drop(serde_json::from_str::<serde_json::Value>(&line).unwrap());
    }
    scene.env.finish(scene.up).await;
}
