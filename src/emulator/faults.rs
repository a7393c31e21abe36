//! What goes wrong, and whose turn it is: a list in order, each fault with the number of times it has left.
//!
//! A fault is counted down when it strikes, not when somebody prepares for it, so two streams cannot share one.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use crate::model::{Endpoint, Fault, FaultAction, FaultPhase};

/// The faults of a running emulator.
pub(super) struct FaultPlan {
    faults: Mutex<Vec<Planned>>,
    changed: watch::Sender<u64>,
}

struct Planned {
    fault: Fault,
    /// `None`: for ever.
    left: Option<u32>,
}

/// A fault that waits in a stream for its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pending {
    index: usize,
    /// After how many bytes to the client it strikes.
    pub(super) after: u64,
}

impl FaultPlan {
    pub(super) fn new(faults: Vec<Fault>) -> Self {
        let faults = faults.into_iter().map(Planned::new).collect();
        Self { faults: Mutex::new(faults), changed: watch::Sender::new(0) }
    }

    /// Adds a fault behind the others.
    pub(super) fn inject(&self, fault: Fault) {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).push(Planned::new(fault));
        self.changed.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// The fault that strikes here and now, if any.
    pub(super) fn strike(&self, phase: FaultPhase, target: Option<&Endpoint>) -> Option<FaultAction> {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        faults.iter_mut().find(|p| p.matches(phase, target))?.take()
    }

    /// The fault that a stream to `target` has to look out for, other than those that it had.
    pub(super) fn pending(&self, target: &Endpoint, had: &BTreeSet<usize>) -> Option<Pending> {
        let faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let mut candidates = faults.iter().enumerate();
        candidates
            .find(|(index, p)| !had.contains(index) && p.matches(FaultPhase::Stream, Some(target)))
            .map(|(index, p)| Pending { index, after: p.fault.after })
    }

    /// Strikes with a pending fault; `None`: another stream was there first.
    pub(super) fn claim(&self, pending: Pending, had: &mut BTreeSet<usize>) -> Option<FaultAction> {
        had.insert(pending.index);
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        faults.get_mut(pending.index).filter(|p| p.left != Some(0))?.take()
    }

    /// Tells when faults were added.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

impl Planned {
    fn new(fault: Fault) -> Self {
        Self { left: (fault.times != 0).then_some(fault.times), fault }
    }

    fn matches(&self, phase: FaultPhase, target: Option<&Endpoint>) -> bool {
        let meant = self.fault.target.is_none() || self.fault.target.as_ref() == target;
        self.left != Some(0) && self.fault.phase == phase && meant
    }

    fn take(&mut self) -> Option<FaultAction> {
        self.left = self.left.map(|n| n.saturating_sub(1));
        Some(self.fault.action.clone())
    }
}

/// Whether a fault can strike where it is meant to; otherwise why not.
pub(super) fn check(fault: &Fault) -> Result<(), &'static str> {
    if !fault.action.strikes_in(fault.phase) {
        return Err("this action cannot strike in this phase");
    }
    match &fault.action {
        FaultAction::Status(s) | FaultAction::PlainStatus(s) | FaultAction::EmptyStatus(s)
            if !(200..600).contains(s) =>
        {
            Err("a status is a number from 200 to 599")
        }
        FaultAction::Redirect(s, _) if !(300..400).contains(s) => {
            Err("the status of a redirect is a number from 300 to 399")
        }
        FaultAction::Redirect(_, to) if !to.bytes().all(|b| b.is_ascii_graphic()) => {
            Err("a redirect leads to a URL")
        }
        FaultAction::Pings(every) if every.is_zero() => Err("pings need time between them"),
        FaultAction::Status(_)
        | FaultAction::PlainStatus(_)
        | FaultAction::EmptyStatus(_)
        | FaultAction::Redirect(..)
        | FaultAction::Malformed
        | FaultAction::Delay(_)
        | FaultAction::Silence
        | FaultAction::Drop
        | FaultAction::CloseNotify
        | FaultAction::Reset
        | FaultAction::Close(_)
        | FaultAction::HttpAfter101
        | FaultAction::Bare101
        | FaultAction::WrongAccept
        | FaultAction::ReservedBit
        | FaultAction::Masked
        | FaultAction::UnknownOpcode
        | FaultAction::Text
        | FaultAction::NoPong
        | FaultAction::Pings(_) => Ok(()),
    }
}
