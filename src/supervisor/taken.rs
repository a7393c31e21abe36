//! Local addresses that another program has: which program that is, and what is to be done about it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::declared::{Neighbour, Source};
use super::live::{Live, Taken, Tunnel};
use crate::model::{Reason, overlap, printable};
use crate::sys::socket::{self, Holder};

/// How long the loop waits for the answer. Without one, nobody is named.
const PATIENCE: Duration = Duration::from_secs(1);
/// What is said to whoever has the next port.
const KEEPS: &str = "`on_port_taken = \"next\"`: it keeps the port that it has until it is started again";
/// The longest name of a program or a user that is shown.
const LONGEST: usize = 40;

/// Why an address cannot be had, naming who has it where that is known.
pub(super) fn reason(address: SocketAddr, holder: Option<&Holder>, neighbour: Option<&Neighbour>) -> Reason {
    let other = "choose another local port (0 takes any free one)";
    let look = || format!("`{}` names it; stop it, or {other}", socket::who_has(address.port()));
    let named = |process: &socket::Process| {
        format!("`{}` (process {})", printable(&process.name, LONGEST), process.id)
    };
    let (who, hint) = match (holder, neighbour) {
        (Some(Holder::Process { process, .. }), Some(neighbour)) => {
            let (who, stop) = neighbour.at(&address);
            let hint = format!(
                "`{stop}` stops it; or choose another local port (`port_offset` moves all of a workspace)"
            );
            (format!("{who} (process {}) listens there", process.id), hint)
        }
        (Some(Holder::Process { process, .. }), None) if process.id == std::process::id() => {
            ("this `bastion` itself has it for something else".to_owned(), other.to_owned())
        }
        (Some(Holder::Process { process, listens: true }), None) => {
            (format!("{} listens there", named(process)), format!("stop that program, or {other}"))
        }
        (Some(Holder::Process { process, listens: false }), None) => (
            format!("{} has it as its own end of a connection", named(process)),
            format!("try again later, or {other}"),
        ),
        (Some(Holder::User(user)), _) => {
            (format!("a program of the user `{}` listens there", printable(user, LONGEST)), look())
        }
        (None, _) => ("another program listens there".to_owned(), look()),
    };
    Reason { code: "port-taken".into(), what: format!("listening on {address}: {who}"), hint: Some(hint) }
}

impl Live {
    /// Says who has the addresses that could not be had. They are looked up together: it takes a look at every process.
    pub(super) async fn name_holders(&mut self, source: &dyn Source) {
        let taken = self.tunnels.values().flat_map(Tunnel::taken);
        let addresses: Vec<SocketAddr> = taken.filter_map(|taken| taken.unnamed).collect();
        if addresses.is_empty() {
            return;
        }
        let holders = timeout(PATIENCE, holders(addresses)).await.unwrap_or_default();
        let neighbours = timeout(PATIENCE, neighbours(&holders, source)).await.unwrap_or_default();
        let name = |taken: &mut Taken| {
            if let Some(address) = taken.unnamed.take() {
                let holder = holders.get(&address);
                let neighbour = holder.and_then(|holder| neighbours.get(&listening(holder)?));
                taken.reason = reason(address, holder, neighbour);
            }
        };
        for tunnel in self.tunnels.values_mut() {
            tunnel.unbound.iter_mut().for_each(|unbound| name(&mut unbound.taken));
            for taken in tunnel.bound.iter_mut().filter_map(|bound| bound.instead.as_mut()) {
                name(taken);
                taken.reason.hint = Some(KEEPS.to_owned());
            }
        }
    }
}

impl Tunnel {
    /// What it could not have.
    fn taken(&self) -> impl Iterator<Item = &Taken> {
        let instead = self.bound.iter().filter_map(|bound| bound.instead.as_ref());
        self.unbound.iter().map(|unbound| &unbound.taken).chain(instead)
    }
}

async fn holders(addresses: Vec<SocketAddr>) -> BTreeMap<SocketAddr, Holder> {
    let mut looking = JoinSet::new();
    looking.spawn_blocking(move || socket::holders(&addresses));
    looking.join_next().await.and_then(Result::ok).unwrap_or_default()
}

/// The instances of this user among them, each asked once.
async fn neighbours(holders: &BTreeMap<SocketAddr, Holder>, source: &dyn Source) -> BTreeMap<u32, Neighbour> {
    let processes: BTreeSet<u32> = holders.values().filter_map(listening).collect();
    let ask =
        processes.into_iter().map(|process| async move { Some((process, source.neighbour(process).await?)) });
    join_all(ask).await.into_iter().flatten().collect()
}

/// The other process that listens.
fn listening(holder: &Holder) -> Option<u32> {
    match holder {
        Holder::Process { process, listens: true } if process.id != std::process::id() => Some(process.id),
        Holder::Process { .. } | Holder::User(_) => None,
    }
}

impl Neighbour {
    /// Which of it has an address, and what stops that, as one would type it.
    fn at(&self, address: &SocketAddr) -> (String, String) {
        match self.tunnels.iter().find(|(_, listen)| listen.iter().any(|other| overlap(other, address))) {
            Some((tunnel, _)) => {
                (format!("tunnel `{tunnel}` of {}", self.what), format!("{} {tunnel}", self.stop))
            }
            None => (self.what.clone(), self.stop.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Name;

    fn said(holder: Option<&Holder>, neighbour: Option<&Neighbour>) -> String {
        let reason = reason("127.0.0.1:8080".parse().unwrap(), holder, neighbour);
        assert_eq!(reason.code, "port-taken");
        format!("{}; {}", reason.what, reason.hint.unwrap_or_default())
    }

    #[test]
    fn whoever_has_the_address_is_named() {
        let process = |id, listens| {
            let process = socket::Process { id, name: "node\u{1b}[31m".to_owned() };
            Some(Holder::Process { process, listens })
        };
        insta::assert_snapshot!(said(process(7, true).as_ref(), None), @"listening on 127.0.0.1:8080: `node␛[31m` (process 7) listens there; stop that program, or choose another local port (0 takes any free one)");
        insta::assert_snapshot!(said(process(7, false).as_ref(), None), @"listening on 127.0.0.1:8080: `node␛[31m` (process 7) has it as its own end of a connection; try again later, or choose another local port (0 takes any free one)");
        insta::assert_snapshot!(said(process(std::process::id(), true).as_ref(), None), @"listening on 127.0.0.1:8080: this `bastion` itself has it for something else; choose another local port (0 takes any free one)");
        let other = said(Some(&Holder::User("www-data".to_owned())), None);
        let nobody = said(None, None);
        // Which command that is, is the system's business.
        let command = format!("`{}`", socket::who_has(8080));
        insta::assert_snapshot!(other.replace(&command, "COMMAND"), @"listening on 127.0.0.1:8080: a program of the user `www-data` listens there; COMMAND names it; stop it, or choose another local port (0 takes any free one)");
        insta::assert_snapshot!(nobody.replace(&command, "COMMAND"), @"listening on 127.0.0.1:8080: another program listens there; COMMAND names it; stop it, or choose another local port (0 takes any free one)");
    }

    #[test]
    fn another_workspace_is_named_with_its_tunnel_and_what_stops_it() {
        let mut neighbour = Neighbour {
            what: "the workspace `orders` (/a/bastion.toml)".to_owned(),
            stop: "bastion down -f /a/bastion.toml".to_owned(),
            tunnels: vec![(Name::new("db").unwrap(), vec!["0.0.0.0:8080".parse().unwrap()])],
        };
        let holder =
            Holder::Process { process: socket::Process { id: 7, name: "bastion".to_owned() }, listens: true };
        insta::assert_snapshot!(said(Some(&holder), Some(&neighbour)), @"listening on 127.0.0.1:8080: tunnel `db` of the workspace `orders` (/a/bastion.toml) (process 7) listens there; `bastion down -f /a/bastion.toml db` stops it; or choose another local port (`port_offset` moves all of a workspace)");
        neighbour.tunnels.clear();
        insta::assert_snapshot!(said(Some(&holder), Some(&neighbour)), @"listening on 127.0.0.1:8080: the workspace `orders` (/a/bastion.toml) (process 7) listens there; `bastion down -f /a/bastion.toml` stops it; or choose another local port (`port_offset` moves all of a workspace)");
    }
}
