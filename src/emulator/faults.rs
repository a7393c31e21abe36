//! What goes wrong, and whose turn it is: a list in order, each fault with the number of times it has left.
//!
//! A fault is counted down when it strikes, not when somebody prepares for it, so two streams cannot share one.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::model::{Endpoint, Fault, FaultAction, FaultPhase};

/// The faults of a running emulator.
pub(super) struct FaultPlan {
    list: Mutex<List>,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct List {
    /// The list that the declaration had, as it stood there.
    declared: Vec<Fault>,
    faults: Vec<Planned>,
    /// How many faults there ever were.
    numbered: usize,
}

struct Planned {
    /// What streams know it by; never given twice.
    number: usize,
    fault: Fault,
    /// Whether it came after the declaration, from within the process.
    injected: bool,
    /// `None`: for ever.
    left: Option<u32>,
}

/// A fault that waits in a stream for its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pending {
    number: usize,
    /// After how many bytes to the client it strikes.
    pub(super) after: u64,
}

impl FaultPlan {
    pub(super) fn new(declared: &[Fault]) -> Self {
        let plan = Self { list: Mutex::default(), changed: watch::Sender::new(0) };
        plan.declare(declared);
        plan
    }

    /// Another list takes the place of the declared one. The same list again changes nothing: what has struck, has.
    pub(super) fn declare(&self, declared: &[Fault]) {
        let mut list = self.list();
        if list.declared == declared {
            return;
        }
        declared.clone_into(&mut list.declared);
        let injected = list.faults.extract_if(.., |planned| planned.injected).collect::<Vec<_>>();
        list.faults.clear();
        for fault in declared {
            list.push(fault.clone(), false);
        }
        list.faults.extend(injected);
        drop(list);
        self.changed.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// Adds a fault behind the others.
    pub(super) fn inject(&self, fault: Fault) {
        self.list().push(fault, true);
        self.changed.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// Nothing goes wrong any more, until something is added or another list declared.
    pub(super) fn clear(&self) {
        self.list().faults.clear();
        self.changed.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// The fault that strikes here and now, if any.
    pub(super) fn strike(&self, phase: FaultPhase, target: Option<&Endpoint>) -> Option<FaultAction> {
        self.list().faults.iter_mut().find(|p| p.matches(phase, target))?.take()
    }

    /// The fault that a stream to `target` has to look out for, other than those that it had.
    pub(super) fn pending(&self, target: &Endpoint, had: &BTreeSet<usize>) -> Option<Pending> {
        let list = self.list();
        let mut candidates = list.faults.iter();
        candidates
            .find(|p| !had.contains(&p.number) && p.matches(FaultPhase::Stream, Some(target)))
            .map(|p| Pending { number: p.number, after: p.fault.after })
    }

    /// Strikes with a pending fault; `None`: another stream was there first, or it is declared no more.
    pub(super) fn claim(&self, pending: Pending, had: &mut BTreeSet<usize>) -> Option<FaultAction> {
        had.insert(pending.number);
        let mut list = self.list();
        let planned = list.faults.iter_mut().find(|p| p.number == pending.number);
        planned.filter(|p| p.left != Some(0))?.take()
    }

    /// Tells when faults came or went.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl List {
    fn push(&mut self, fault: Fault, injected: bool) {
        self.numbered += 1;
        let left = (fault.times != 0).then_some(fault.times);
        self.faults.push(Planned { number: self.numbered, fault, injected, left });
    }
}

impl Planned {
    fn matches(&self, phase: FaultPhase, target: Option<&Endpoint>) -> bool {
        let meant =
            self.fault.target.as_ref().is_none_or(|meant| Some(meant) == target || has(meant, target));
        self.left != Some(0) && self.fault.phase == phase && meant
    }

    fn take(&mut self) -> Option<FaultAction> {
        self.left = self.left.map(|n| n.saturating_sub(1));
        Some(self.fault.action.clone())
    }
}

/// Whether a target is an instance of the scale set that is meant.
fn has(meant: &Endpoint, target: Option<&Endpoint>) -> bool {
    match (meant, target) {
        (Endpoint::Resource(set), Some(Endpoint::Resource(instance))) => {
            instance.parent().as_ref() == Some(set)
        }
        (Endpoint::Resource(_) | Endpoint::Address(_), _) => false,
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
        | FaultAction::Answer(_)
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
