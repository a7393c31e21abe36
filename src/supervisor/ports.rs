//! Ports that were ours to choose: a tunnel that runs keeps its own, and whoever declares it is told which one that is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::task::JoinSet;

use super::Supervisor;
use super::live::{Live, Tunnel};
use crate::model::Name;
use crate::plan::Spec;

impl Live {
    /// What was chosen for a tunnel that runs stays chosen, unless another tunnel names it now.
    pub(super) fn keep_chosen(&self, specs: &mut BTreeMap<Name, Spec>) {
        let named: BTreeSet<u16> =
            specs.values().filter(|spec| !spec.auto).map(|spec| spec.listen.port()).collect();
        for (name, spec) in specs.iter_mut().filter(|(_, spec)| spec.auto) {
            let Some(held) = self.tunnels.get(name).map(|tunnel| &tunnel.edition.spec) else { continue };
            if held.auto && held.listen.at(0) == spec.listen.at(0) && !named.contains(&held.listen.port()) {
                spec.listen = held.listen;
            }
        }
    }

    /// Where tunnels listen whose ports were ours to choose.
    fn chosen(&self) -> BTreeMap<Name, u16> {
        let of = |tunnel: &Tunnel| {
            let spec = &tunnel.edition.spec;
            let bound = tunnel.bound.iter().find(|bound| spec.auto && bound.listen == spec.listen)?;
            bound.listeners.keys().next().map(std::net::SocketAddr::port)
        };
        self.tunnels.iter().filter_map(|(name, tunnel)| Some((name.clone(), of(tunnel)?))).collect()
    }
}

impl Supervisor {
    /// Has new ports remembered.
    pub(super) async fn remember_ports(&mut self) {
        let chosen = self.live.chosen();
        if chosen.is_empty() || chosen == self.chosen {
            return;
        }
        self.chosen.clone_from(&chosen);
        let source = Arc::clone(&self.source);
        let mut writing = JoinSet::new();
        writing.spawn_blocking(move || source.remember(&chosen));
        while writing.join_next().await.is_some() {}
    }
}
