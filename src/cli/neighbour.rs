//! The other workspaces of this user that run: who they are, when one of them has what this one needs.

use std::path::Path;
use std::time::Duration;

use tokio::time::timeout;

use super::load::shown;
use crate::control::Status;
use crate::control::client::Client;
use crate::instance::{self, Owner, Places};
use crate::model::printable;
use crate::supervisor::Neighbour;
use crate::sys::clock;

/// How long it may take to say its name: without it, its directory will do.
const PATIENCE: Duration = Duration::from_millis(700);
/// The longest name of a workspace that is shown.
const LONGEST: usize = 63;

/// The workspace that a process keeps up.
pub(super) async fn neighbour(places: &Places, process: u32) -> Option<Neighbour> {
    let owner = instance::list(places).ok()?.into_iter().find(|owner| owner.pid == process)?;
    // One that ends or is stuck is a neighbour all the same.
    let status = timeout(PATIENCE, ask(&owner)).await.ok().flatten().unwrap_or_default();
    let file = owner.path();
    let of_directory = || Path::new(&owner.directory).file_name().unwrap_or_default().to_string_lossy();
    let name =
        if status.workspace.is_empty() { of_directory().into_owned() } else { status.workspace.clone() };
    let mut what = format!("the workspace `{}` ({}", printable(&name, LONGEST), shown(&file));
    let mut stop = format!("bastion down -f {}", quoted(&shown(&file)));
    if let Some(environment) = &owner.environment {
        let environment = printable(environment, LONGEST);
        what.push_str(&format!(", environment {environment}"));
        stop.push_str(&format!(" --env {}", quoted(&environment)));
    }
    what.push(')');
    let tunnels = status.into_model(clock::now()).tunnels.into_iter();
    Some(Neighbour { what, stop, tunnels: tunnels.map(|tunnel| (tunnel.name, tunnel.listen)).collect() })
}

async fn ask(owner: &Owner) -> Option<Status> {
    Client::connect(&owner.socket).await.ok()??.status().await.ok()
}

/// As one would type it in a shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+:@,\\".contains(c);
    if text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_quoted_where_a_shell_would_take_it_apart() {
        assert_eq!(quoted("/a/b-c.toml"), "/a/b-c.toml");
        assert_eq!(quoted("/my files/it's"), r"'/my files/it'\''s'");
    }
}
