//! A private OpenSSH server, and clients that trust it.

use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::process::Command;

use super::{found, id, serve};
use crate::env::TestEnv;
use crate::process::{self, PATIENCE, Process};

/// A server on loopback that lets the test's own key in, as the user who runs the test.
pub(crate) struct Sshd {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Whom it lets in.
    pub(crate) user: String,
    _process: Process,
}

/// The name that its host key is known by.
pub(crate) const ALIAS: &str = "vm-ssh";

impl Sshd {
    pub(crate) async fn start(env: &TestEnv) -> Self {
        let user = id(&["-un"]).await;
        if user == "root" {
            // The server insists on an empty directory, which a service manager would have made.
            std::fs::create_dir_all("/run/sshd").unwrap();
        }
        for name in ["host_key", "user_key", "other_key"] {
            let mut keygen = env.command(found("ssh-keygen"));
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(env.path(name));
            process::succeed(keygen, PATIENCE).await;
        }
        for (file, key) in [("known_hosts", "host_key"), ("changed_hosts", "other_key")] {
            let key = std::fs::read_to_string(env.path(&format!("{key}.pub"))).unwrap();
            std::fs::write(env.path(file), format!("{ALIAS} {key}")).unwrap();
        }
        let server = |port: u16| {
            let at = |name: &str| env.path(name).display().to_string();
            let config = format!(
                "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nPidFile none\nAuthorizedKeysFile {}\n\
                 StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
                 PermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\nMaxStartups 100\n",
                at("host_key"),
                at("user_key.pub"),
            );
            std::fs::write(env.path("sshd_config"), config).unwrap();
            let mut command = env.command(found("sshd"));
            command.args(["-D", "-e", "-f"]).arg(env.path("sshd_config"));
            command
        };
        let (process, port) = serve(server, "Server listening on").await;
        Self { address: ([127, 0, 0, 1], port).into(), user, _process: process }
    }

    /// Options for a client behind the tunnel at `port`, which `flag` names: nobody's configuration, one key, and the
    /// host key checked by the name of the machine, as the local address says nothing.
    pub(crate) fn options(env: &TestEnv, flag: &str, port: u16) -> Vec<String> {
        let at = |name: &str| env.path(name).display().to_string();
        let mut options = vec!["-F".to_owned(), "none".to_owned(), "-i".to_owned(), at("user_key")];
        for option in [
            "BatchMode=yes".to_owned(),
            "IdentitiesOnly=yes".to_owned(),
            "IdentityAgent=none".to_owned(),
            "StrictHostKeyChecking=yes".to_owned(),
            "GlobalKnownHostsFile=none".to_owned(),
            format!("UserKnownHostsFile={}", at("known_hosts")),
            format!("HostKeyAlias={ALIAS}"),
        ] {
            options.extend(["-o".to_owned(), option]);
        }
        options.extend([flag.to_owned(), port.to_string()]);
        options
    }

    /// `ssh` to a command.
    pub(crate) fn ssh(&self, env: &TestEnv, port: u16, words: &str) -> Command {
        let mut command = env.command(found("ssh"));
        command.args(Self::options(env, "-p", port)).args(["-l", &self.user, "127.0.0.1", words]);
        command
    }

    /// `scp` from and to; what begins with `:` is on the other side.
    pub(crate) fn scp(&self, env: &TestEnv, port: u16, from: &str, to: &str) -> Command {
        let remote = |path: &str| match path.strip_prefix(':') {
            Some(path) => format!("{}@127.0.0.1:{}", self.user, env.path(path).display()),
            None => env.path(path).display().to_string(),
        };
        let mut command = env.command(found("scp"));
        command.arg("-q").args(Self::options(env, "-P", port)).args([remote(from), remote(to)]);
        command
    }

    /// The same, no faster than so many KiB a second.
    pub(crate) fn slow_scp(&self, env: &TestEnv, port: u16, rate: u32, from: &str, to: &str) -> Command {
        let scp = self.scp(env, port, from, to);
        let mut slow = env.command(found("scp"));
        slow.args(["-l", &(rate * 8).to_string()]).args(scp.as_std().get_args());
        slow
    }

    /// The command line that other programs start `ssh` with.
    pub(crate) fn shell(env: &TestEnv, port: u16) -> String {
        let ssh: PathBuf = found("ssh");
        format!("{} {}", ssh.display(), Self::options(env, "-p", port).join(" "))
    }
}
