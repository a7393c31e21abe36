//! A supervisor of a declaration that the test holds in its hand.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bastion::carrier::Remains;
use bastion::model::{Desired, Name, State, TunnelStatus};
use bastion::supervisor::{
    Applied, Declared, Dialer, Handle, Parts, Refusal, Rejected, Setting, Source, Supervisor,
};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// No wait of a test is longer; in paused time, a minute is a usual wait.
const PATIENCE: Duration = Duration::from_secs(90);

/// What is declared at the moment.
#[derive(Clone)]
pub(crate) struct Declaration(Arc<Mutex<Result<Declared, Rejected>>>);

/// A supervisor that runs, until this is dropped.
pub(crate) struct Supervised {
    pub(crate) handle: Handle,
    declaration: Declaration,
    run: JoinSet<Remains>,
}

impl Declaration {
    fn new(desired: Desired) -> Self {
        Self(Arc::new(Mutex::new(Ok(Declared { desired, withheld: BTreeMap::new() }))))
    }

    /// Declares something else; nobody is told.
    pub(crate) fn set(&self, desired: Desired) {
        *self.0.lock().unwrap() = Ok(Declared { desired, withheld: BTreeMap::new() });
    }
}

impl Source for Declaration {
    fn read(&self, _setting: &Setting) -> Result<Declared, Rejected> {
        self.0.lock().unwrap().clone()
    }

    fn accept(&self, _declared: &Declared) -> Result<(), Rejected> {
        Ok(())
    }

    fn paths(&self) -> Vec<PathBuf> {
        Vec::new()
    }
}

impl Supervised {
    /// Starts everything that is declared.
    pub(crate) async fn start(desired: Desired, dialer: Arc<dyn Dialer>) -> Self {
        Self::start_at(desired, dialer, bastion::sys::clock::now).await
    }

    /// The same by another clock.
    pub(crate) async fn start_at(
        desired: Desired,
        dialer: Arc<dyn Dialer>,
        clock: fn() -> SystemTime,
    ) -> Self {
        let declaration = Declaration::new(desired);
        let parts = Parts { source: Arc::new(declaration.clone()), dialer, watch: None, clock };
        let (supervisor, handle) = Supervisor::new(parts).await.unwrap();
        let mut run = JoinSet::new();
        run.spawn(supervisor.run());
        let supervised = Self { handle, declaration, run };
        supervised.handle.up(Vec::new(), Vec::new(), Setting::default()).await.unwrap();
        supervised
    }

    /// Declares something else, and has it carried out.
    pub(crate) async fn edit(&self, desired: Desired) -> Result<Applied, Refusal> {
        self.declaration.set(desired);
        self.handle.reload(Setting::default()).await
    }

    /// What holds of a tunnel.
    pub(crate) fn tunnel(&self, name: &str) -> Option<TunnelStatus> {
        let name = Name::new(name).unwrap();
        self.handle.status().tunnels.into_iter().find(|tunnel| tunnel.name == name)
    }

    /// Waits until a tunnel is as it should be.
    pub(crate) async fn until(&self, name: &str, is_it: impl Fn(&TunnelStatus) -> bool) -> TunnelStatus {
        let mut changed = self.handle.changed();
        let seen = async {
            loop {
                if let Some(tunnel) = self.tunnel(name).filter(|tunnel| is_it(tunnel)) {
                    return tunnel;
                }
                changed.changed().await.unwrap();
            }
        };
        match timeout(PATIENCE, seen).await {
            Ok(tunnel) => tunnel,
            Err(_) => panic!("`{name}` is {:#?}", self.tunnel(name)),
        }
    }

    /// Waits until a tunnel is in a state.
    pub(crate) async fn until_state(&self, name: &str, state: State) -> TunnelStatus {
        self.until(name, |tunnel| tunnel.state == state).await
    }

    /// Stops at once. Says what is left behind.
    pub(crate) async fn stop(mut self) -> Remains {
        // It may be stopping already.
        let _stopping = self.handle.stop(Duration::ZERO).await;
        timeout(PATIENCE, self.run.join_next()).await.unwrap().unwrap().unwrap()
    }
}
