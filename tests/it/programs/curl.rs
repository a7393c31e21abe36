//! nginx behind a tunnel and curl before it: large files at once, many files at once.

use std::net::SocketAddr;
use std::process::Stdio;

use tokio::io::AsyncReadExt as _;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{HEAVY, TRANSFER, found, id, require, serve};
use crate::env::TestEnv;
use crate::pattern::{self, Check};
use crate::process::{Process, succeed};

const GIB: u64 = 1 << 30;
const FILES: usize = 60;

struct Nginx {
    address: SocketAddr,
    _process: Process,
}

impl Nginx {
    /// Serves the directory `www` of the workspace; `extra` goes into its server block.
    async fn start(env: &TestEnv, extra: &str) -> Self {
        let user = format!("user {} {};", id(&["-un"]).await, id(&["-gn"]).await);
        let server = |port: u16| {
            let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                .map(|what| format!("{what}_temp_path {}; ", env.path(what).display()))
                .concat();
            // One process, so that none is left when it is killed.
            let config = format!(
                "daemon off; master_process off; {user} pid {}; error_log stderr notice;\n\
                 events {{ worker_connections 1024; }}\n\
                 http {{ {temporary} access_log off; sendfile on; tcp_nopush on;\n\
                   server {{ listen 127.0.0.1:{port}; root {}; {extra} }} }}\n",
                env.path("nginx.pid").display(),
                env.path("www").display(),
            );
            std::fs::write(env.path("nginx.conf"), config).unwrap();
            let mut command = env.command(found("nginx"));
            command.args(["-e", "stderr", "-p"]).arg(env.work()).arg("-c").arg(env.path("nginx.conf"));
            command
        };
        std::fs::create_dir_all(env.path("www")).unwrap();
        // It speaks of its events once its sockets listen.
        let (process, port) = serve(server, "event method").await;
        Self { address: ([127, 0, 0, 1], port).into(), _process: process }
    }
}

/// Downloads, and compares while it arrives.
async fn download(env: &TestEnv, url: String, len: u64) {
    let mut command = env.command(found("curl"));
    command.args(["--silent", "--show-error", "--fail", &url]);
    let mut curl = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut body = curl.stdout.take().unwrap();
    let mut check = Check::default();
    let mut buffer = vec![0; 1 << 18];
    let all = async {
        while let read @ 1.. = body.read(&mut buffer).await.unwrap() {
            check.feed(&buffer[..read]);
        }
        curl.wait().await.unwrap()
    };
    let status = timeout(TRANSFER, all).await;
    assert!(status.is_ok_and(|status| status.success()), "{url}: {} bytes", check.len());
    assert_eq!(check.len(), len, "{url}");
}

#[tokio::test]
async fn curl_downloads_a_gibibyte_with_others_beside_it() {
    if !require("downloads", &["nginx", "curl"]) {
        return;
    }
    let _alone = HEAVY.lock().await;
    let env = TestEnv::new();
    let nginx = Nginx::start(&env, "").await;
    pattern::write(&env.path("www/1g"), GIB);
    pattern::write(&env.path("www/256m"), GIB / 4);
    env.forward("web", 80, nginx.address, "");
    let up = env.up(&[]);
    let web = up.address("web").await;
    let one = |name: &str, len: u64| download(&env, format!("http://{web}/{name}"), len);
    tokio::join!(one("1g", GIB), one("256m", GIB / 4), one("256m", GIB / 4), one("256m", GIB / 4));
    let sessions = env.settled().await;
    assert_eq!(sessions.opened, 5, "one for each connection, and one for the proof that the path works");
    env.finish(up).await;
}

#[tokio::test]
async fn curl_fetches_60_files_with_60_connections_at_once() {
    if !require("downloads", &["nginx", "curl"]) {
        return;
    }
    let env = TestEnv::new();
    // Slow enough that the last one begins before the first one ends.
    let nginx = Nginx::start(&env, "limit_rate 4k;").await;
    for file in 0..FILES {
        pattern::write(&env.path(&format!("www/{file}")), 12_000 + file as u64);
    }
    env.forward("web", 80, nginx.address, "");
    let up = env.up(&[]);
    let web = up.address("web").await;
    let mut curl = env.command(found("curl"));
    curl.args(["--silent", "--show-error", "--fail", "--parallel", "--parallel-immediate", "--parallel-max"]);
    curl.args([&FILES.to_string(), "--header", "Connection: close"]);
    curl.args(["--output", "got-#1", &format!("http://{web}/[0-{}]", FILES - 1)]);
    succeed(curl, TRANSFER).await;
    for file in 0..FILES {
        pattern::check_file(&env.path(&format!("got-{file}")), 12_000 + file as u64);
    }
    env.finish(up).await;
    assert_eq!(env.most_streams_at_once(), FILES);
}

#[tokio::test]
async fn sixty_curls_at_once_are_all_served() {
    if !require("downloads", &["nginx", "curl"]) {
        return;
    }
    let env = TestEnv::new();
    let nginx = Nginx::start(&env, "").await;
    pattern::write(&env.path("www/file"), 100_000);
    env.forward("web", 80, nginx.address, "");
    let up = env.up(&[]);
    let web = up.address("web").await;
    let mut curls = JoinSet::new();
    for _ in 0..FILES {
        let mut curl = env.command(found("curl"));
        curl.args(["--silent", "--show-error", "--fail", &format!("http://{web}/file")]);
        curls.spawn(succeed(curl, TRANSFER));
    }
    for body in curls.join_all().await {
        assert_eq!(body, pattern::bytes(0, 100_000));
    }
    env.finish(up).await;
}
