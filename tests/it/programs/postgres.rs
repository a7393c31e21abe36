//! PostgreSQL through a tunnel: queries, copies out and in, many clients at once.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::Command;
use tokio::task::JoinSet;

use super::{TRANSFER, found, id, require, serve};
use crate::env::TestEnv;
use crate::process::{Process, succeed};

/// A cluster of its own, in a directory of its own.
struct Postgres {
    port: u16,
    home: TempDir,
    /// Whom it runs as: it refuses to be root.
    owner: (u32, u32),
    process: Process,
}

impl Postgres {
    async fn start(env: &TestEnv) -> Self {
        // Not below the test's own directory, which nobody else may enter.
        let home = TempDir::with_prefix("bastion-postgres-").unwrap();
        let mut owner = home.path().metadata().map(|own| (own.uid(), own.gid())).unwrap();
        if owner.0 == 0 {
            let of = async |flag: &str| id(&[flag, "postgres"]).await.parse().unwrap();
            owner = (of("-u").await, of("-g").await);
            chown(home.path(), Some(owner.0), Some(owner.1)).unwrap();
        }
        std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        let mut initdb = program(env, "initdb", home.path(), owner);
        initdb.args([
            "--auth=trust",
            "--username=app",
            "--no-sync",
            "--encoding=UTF8",
            "--locale=C",
            "--pgdata=data",
        ]);
        succeed(initdb, TRANSFER).await;
        let server = |port: u16| {
            let mut command = program(env, "postgres", home.path(), owner);
            command.args(["-D", "data", "-h", "127.0.0.1", "-p", &port.to_string()]);
            for setting in
                ["unix_socket_directories=", "fsync=off", "max_connections=40", "logging_collector=off"]
            {
                command.args(["-c", setting]);
            }
            command
        };
        let (process, port) = serve(server, "ready to accept connections").await;
        Self { port, home, owner, process }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Killed, it would leave shared memory behind. "Immediate" still ends every process of the cluster.
        self.process.signal(rustix::process::Signal::QUIT);
        let data = self.home.path().join("data");
        let mut stop = std::process::Command::new(found("pg_ctl"));
        std::os::unix::process::CommandExt::uid(&mut stop, self.owner.0);
        stop.current_dir(self.home.path()).args([
            "stop",
            "--silent",
            "--wait",
            "--timeout=20",
            "--mode=immediate",
        ]);
        // Fails when it is gone already, which is as good.
        drop(stop.arg("--pgdata").arg(data).stdout(Stdio::null()).stderr(Stdio::null()).status());
    }
}

/// One of PostgreSQL's programs, as the owner of the cluster.
fn program(env: &TestEnv, name: &str, home: &Path, owner: (u32, u32)) -> Command {
    let mut command = env.command(found(name));
    command.current_dir(home).env("HOME", home).env("TMPDIR", home).env("LC_ALL", "C");
    command.uid(owner.0).gid(owner.1);
    command
}

/// `psql` that fails when anything does.
fn psql(env: &TestEnv, port: u16, sql: &str) -> Command {
    let mut command = env.command(found("psql"));
    command.args([
        "--no-psqlrc",
        "--quiet",
        "--tuples-only",
        "--no-align",
        "--set=ON_ERROR_STOP=1",
        "--host=127.0.0.1",
    ]);
    command.args([&format!("--port={port}"), "--username=app", "--dbname=postgres", "--command", sql]);
    command
}

/// About 30 MB of rows that differ.
const ROWS: &str = "create table rows as select n, md5(n::text) as a, repeat(chr(65 + n % 26), n % 20) as b \
                    from generate_series(1, 600000) as n";

#[tokio::test]
async fn psql_queries_and_copies_both_ways() {
    if !require("PostgreSQL", &["initdb", "psql"]) {
        return;
    }
    let env = TestEnv::new();
    let postgres = Postgres::start(&env).await;
    env.forward("db", 5432, ([127, 0, 0, 1], postgres.port).into(), "");
    let up = env.up(&["-vv"]);
    let port = up.address("db").await.port();
    assert_eq!(succeed(psql(&env, port, "select 1"), TRANSFER).await, b"1\n");
    succeed(psql(&env, postgres.port, ROWS), TRANSFER).await;
    let direct = succeed(psql(&env, postgres.port, "copy rows to stdout"), TRANSFER).await;
    assert!(direct.len() > 29_000_000, "{}", direct.len());
    let tunnelled = succeed(psql(&env, port, "copy rows to stdout"), TRANSFER).await;
    assert!(direct == tunnelled, "{} bytes in place of {}", tunnelled.len(), direct.len());
    // And up again, into a table whose rows the server compares.
    std::fs::write(env.path("rows"), tunnelled).unwrap();
    succeed(psql(&env, postgres.port, "create table again as table rows with no data"), TRANSFER).await;
    let mut copy = psql(&env, port, "copy again from stdin");
    copy.stdin(Stdio::from(std::fs::File::open(env.path("rows")).unwrap()));
    succeed(copy, TRANSFER).await;
    let differ =
        "select count(*) from ((table rows except table again) union all (table again except table rows)) d";
    assert_eq!(succeed(psql(&env, port, differ), TRANSFER).await, b"0\n");
    env.finish(up).await;
}

#[tokio::test]
async fn sixteen_psqls_at_once_each_get_their_own_answer() {
    if !require("PostgreSQL", &["initdb", "psql"]) {
        return;
    }
    let env = TestEnv::new();
    let postgres = Postgres::start(&env).await;
    env.forward("db", 5432, ([127, 0, 0, 1], postgres.port).into(), "");
    let up = env.up(&[]);
    let port = up.address("db").await.port();
    succeed(psql(&env, postgres.port, "create table here (client int)"), TRANSFER).await;
    let mut clients = JoinSet::new();
    for client in 0..16 {
        // Each waits until all have come: 16 sessions are open at once, or none of them is ever answered.
        let mut psql = psql(&env, port, &format!("insert into here values ({client})"));
        psql.args(["--command", "do $$ begin while (select count(*) from here) < 16 loop perform pg_sleep(0.01); end loop; end $$"]);
        psql.args([
            "--command",
            &format!(
                "select string_agg('{client}-' || n, ' ' order by n) from generate_series(1, 2000) as n"
            ),
        ]);
        let expected = (1..=2000).map(|n| format!("{client}-{n}")).collect::<Vec<_>>().join(" ");
        clients.spawn(async move { (succeed(psql, TRANSFER).await, expected) });
    }
    for (answer, expected) in clients.join_all().await {
        assert_eq!(String::from_utf8_lossy(&answer).trim_end(), expected);
    }
    env.finish(up).await;
}
