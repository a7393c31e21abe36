//! Tells somebody that something happened to some things, however often, without anybody waiting.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The things that something happened to since somebody last listened: as many as there are things, never more.
#[derive(Debug)]
pub(super) struct Bell<K> {
    rung: Mutex<BTreeSet<K>>,
    notify: Notify,
}

impl<K: Ord> Bell<K> {
    /// Nothing happened yet.
    pub(super) fn new() -> Self {
        Self { rung: Mutex::new(BTreeSet::new()), notify: Notify::new() }
    }

    /// Something happened to this.
    pub(super) fn ring(&self, key: K) {
        self.rung().insert(key);
        self.notify.notify_one();
    }

    /// What something happened to, once it did. Cancel-safe; for one listener.
    pub(super) async fn heard(&self) -> BTreeSet<K> {
        loop {
            let rung = std::mem::take(&mut *self.rung());
            if !rung.is_empty() {
                return rung;
            }
            self.notify.notified().await;
        }
    }

    fn rung(&self) -> MutexGuard<'_, BTreeSet<K>> {
        self.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
