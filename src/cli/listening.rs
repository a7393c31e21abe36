//! The running instance's socket and lock: served and held to the end, and put back when somebody removes them, as a
//! logout or a tidy-up of temporary files does.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::instance::Running;
use super::load::shown;
use super::running::Meant;
use crate::control::server;
use crate::instance::{ClaimError, Lock};
use crate::sys::clock;
use crate::sys::local::LocalListener;
use crate::watch::{Mode, Watch};

/// An instance that can be asked.
pub(super) struct Listening {
    instance: Arc<Running>,
    lock: Lock,
    task: JoinSet<()>,
    stop: CancellationToken,
    watch: Option<Watch>,
}

impl Listening {
    pub(super) fn start(lock: Lock, socket: LocalListener, instance: Running) -> Self {
        // What cannot be watched is still served.
        let watch = Watch::start(&[lock.socket().to_owned(), lock.path().to_owned()], Mode::Auto).ok();
        let (instance, stop) = (Arc::new(instance), CancellationToken::new());
        let mut listening = Self { instance, lock, task: JoinSet::new(), stop, watch };
        listening.serve(socket);
        listening
    }

    /// Waits until something happened to the socket or the lock. Cancel-safe.
    pub(super) async fn disturbed(&mut self) {
        match &mut self.watch {
            Some(watch) => watch.changed().await,
            None => std::future::pending().await,
        }
    }

    /// Puts back what is gone.
    pub(super) async fn mend(&mut self, meant: &Meant) {
        if self.lock.path().exists() && self.lock.socket().exists() {
            return;
        }
        match meant.claim(clock::now()) {
            // Its file was removed: it is another file that is held from now on.
            Ok(lock) => self.lock = lock,
            // Only the socket was.
            Err(ClaimError::Held(owner)) if owner.pid == std::process::id() => {}
            Err(ClaimError::Held(owner)) => {
                tracing::warn!(
                    "process {} has taken this instance's place, because `{}` was removed; other commands reach that one",
                    owner.pid,
                    shown(self.lock.path())
                );
                self.watch = None;
                return;
            }
            Err(error) => {
                tracing::warn!("other commands cannot reach this instance any more: {error}");
                return;
            }
        }
        // Its end removes the socket that has its name, which must not be the new one.
        self.stop.cancel();
        while self.task.join_next().await.is_some() {}
        self.stop = CancellationToken::new();
        match server::bind(self.lock.socket()) {
            Ok(socket) => {
                tracing::info!("the instance's socket was removed, and is there again");
                self.serve(socket);
            }
            Err(error) => {
                let path = shown(self.lock.socket());
                tracing::warn!(
                    "other commands cannot reach this instance any more: listening on {path}: {error}"
                );
            }
        }
    }

    fn serve(&mut self, socket: LocalListener) {
        let instance = Arc::clone(&self.instance);
        self.task.spawn(server::serve(socket, instance, self.stop.clone()));
    }

    /// Tells everybody that the instance ends. The lock is the last thing to be let go.
    pub(super) async fn stop(mut self) -> Lock {
        self.stop.cancel();
        while self.task.join_next().await.is_some() {}
        self.lock
    }
}
