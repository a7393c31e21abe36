//! What targets mean that have to be looked up, and what Resource Manager says of a machine that a gateway does not reach.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, timeout};

use super::route_error::RouteError;
use crate::azure::{Arm, ArmError, Instance, Machine, NoMachine, Power, Subject};
use crate::gateway::AccessTokens;
use crate::model::{Endpoint, Locator, Reason, ResourceId, printable};

/// How many machines are looked at for a reason at once. When everything fails, the first few tell why.
const AT_ONCE: usize = 8;
/// How many bastions are named in place of one that is not found.
const NAMED: usize = 5;
/// How long a failure waits for a better reason.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long what was found of a machine is taken for true.
const GOOD_FOR: Duration = Duration::from_secs(50);

/// A read of ARM under a token.
pub(super) type Reading<'a, T> = Pin<Box<dyn Future<Output = Result<T, ArmError>> + Send + 'a>>;

/// Reads ARM under one identity.
pub(super) struct Reader {
    arm: Arm,
    pub(super) tokens: Arc<dyn AccessTokens>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("arm", &self.arm).finish_non_exhaustive()
    }
}

impl Reader {
    pub(super) fn new(arm: Arm, tokens: Arc<dyn AccessTokens>) -> Self {
        Self { arm, tokens }
    }

    /// Asks ARM, with one more try under a fresh token when the first is not believed.
    pub(super) async fn ask<'a, T>(
        &'a self,
        read: impl Fn(&'a Arm, SecretString) -> Reading<'a, T>,
    ) -> Result<T, RouteError> {
        let token = self.tokens.token(false).await.map_err(RouteError::Token)?;
        match read(&self.arm, token).await {
            Err(error) if error.status() == Some(401) => {
                let token = self.tokens.token(true).await.map_err(RouteError::Token)?;
                read(&self.arm, token).await.map_err(RouteError::Arm)
            }
            answer => answer.map_err(RouteError::Arm),
        }
    }
}

/// What is known of targets, shared by all tunnels that lead to them.
#[derive(Debug)]
pub(super) struct Lookup {
    /// What names mean. Each is looked up once, however many wait for it.
    meanings: std::sync::Mutex<BTreeMap<Locator, Arc<Mutex<Option<Meaning>>>>>,
    /// Why machines could not be reached when that was last looked at.
    findings: std::sync::Mutex<BTreeMap<ResourceId, (Finding, Instant)>>,
    at_once: Semaphore,
}

#[derive(Clone, Debug)]
struct Meaning {
    endpoint: Endpoint,
    read: Instant,
}

/// Why a gateway may not reach a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// It does not run.
    Off(Power),
    /// ARM knows no such machine.
    Missing,
    /// The account may not read this.
    Unreadable(Subject),
    /// Neither: it runs, and it and its network interface can be read.
    InOrder,
}

impl Lookup {
    pub(super) fn new() -> Self {
        Self {
            meanings: std::sync::Mutex::default(),
            findings: std::sync::Mutex::default(),
            at_once: Semaphore::new(AT_ONCE),
        }
    }

    /// What a gateway is to connect to: as it was last found, or as it is now when that is as old as `stale`.
    pub(super) async fn endpoint(
        &self,
        target: &Locator,
        stale: Option<Duration>,
        reader: &Reader,
    ) -> Result<Endpoint, RouteError> {
        if let Locator::Endpoint(endpoint) = target {
            return Ok(endpoint.clone());
        }
        let slot = Arc::clone(locked(&self.meanings).entry(target.clone()).or_default());
        let mut slot = slot.lock().await;
        if let Some(known) = &*slot
            && stale.is_none_or(|stale| known.read.elapsed() < stale)
        {
            return Ok(known.endpoint.clone());
        }
        let before = slot.as_ref().and_then(|known| resource(&known.endpoint));
        let endpoint = find(target, before, reader).await?;
        if before.is_some() && before != resource(&endpoint) {
            tracing::info!(target = %target, machine = %endpoint, "it is another machine from now on");
        }
        *slot = Some(Meaning { endpoint: endpoint.clone(), read: Instant::now() });
        Ok(endpoint)
    }

    /// Why a gateway may not reach a machine; none where nothing can be found out in time, or too many ask.
    pub(super) async fn finding(&self, machine: &ResourceId, reader: &Reader) -> Option<Finding> {
        let known = locked(&self.findings).get(machine).cloned();
        if let Some((finding, _)) = known.filter(|(_, read)| read.elapsed() < GOOD_FOR) {
            return Some(finding);
        }
        let _turn = self.at_once.try_acquire().ok()?;
        let finding = timeout(PATIENCE, look(machine, reader)).await.ok()??;
        let mut findings = locked(&self.findings);
        findings.retain(|_, (_, read)| read.elapsed() < GOOD_FOR);
        findings.insert(machine.clone(), (finding.clone(), Instant::now()));
        Some(finding)
    }

    /// What mends it that there is no such bastion; none where that cannot be found out in time.
    pub(super) async fn beside(&self, bastion: &ResourceId, reader: &Reader) -> Option<String> {
        let all =
            reader.ask(|arm, token| Box::pin(async move { arm.bastions_beside(bastion, &token).await }));
        let all = timeout(PATIENCE, all).await.ok()?.ok()?;
        Some(named(bastion, &all))
    }

    /// A person may have changed what was found.
    pub(super) fn forget(&self) {
        locked(&self.findings).clear();
    }
}

/// What there is in place of a bastion.
fn named(bastion: &ResourceId, all: &[ResourceId]) -> String {
    let subscription = bastion.subscription();
    let name = |id: &ResourceId| {
        let (name, group) = (printable(id.name(), 80), printable(id.resource_group(), 90));
        format!("`{name}` in the resource group `{group}`")
    };
    let mut names: Vec<String> = all.iter().take(NAMED).map(name).collect();
    if all.len() > names.len() {
        names.push(format!("{} more", all.len() - names.len()));
    }
    match names.pop() {
        None => format!(
            "the account sees no bastion in the subscription {subscription}: is that the right one, and has the account Reader there?"
        ),
        Some(only) if names.is_empty() => {
            format!("the subscription {subscription} has {only}; is that meant?")
        }
        Some(last) => format!("the subscription {subscription} has {} and {last}", names.join(", ")),
    }
}

async fn find(
    target: &Locator,
    before: Option<&ResourceId>,
    reader: &Reader,
) -> Result<Endpoint, RouteError> {
    let found = match target {
        Locator::Endpoint(endpoint) => return Ok(endpoint.clone()),
        Locator::AnyInstance(set) => {
            let all =
                reader.ask(|arm, token| Box::pin(async move { arm.instances(set, &token).await })).await?;
            Instance::choose(&all, before, set)
        }
        Locator::Interface(id) => {
            let machine =
                reader.ask(|arm, token| Box::pin(async move { arm.interface(id, &token).await })).await?;
            machine.ok_or_else(|| NoMachine::Attached { interface: id.name().to_owned() })
        }
    };
    found.map(Endpoint::Resource).map_err(RouteError::NoMachine)
}

async fn look(id: &ResourceId, reader: &Reader) -> Option<Finding> {
    let machine: Result<Machine, _> =
        reader.ask(|arm, token| Box::pin(async move { arm.machine(id, &token).await })).await;
    let machine = match machine {
        Ok(machine) => machine,
        Err(error) => return refused(error),
    };
    if machine.power.is_off() {
        return Some(Finding::Off(machine.power));
    }
    // Those of numbered instances are read by other means, and a gateway goes by the primary one.
    let Some(interface) = machine.interfaces.first().filter(|interface| interface.parent().is_none()) else {
        return Some(Finding::InOrder);
    };
    match reader.ask(|arm, token| Box::pin(async move { arm.interface(interface, &token).await })).await {
        Ok(_machine) => Some(Finding::InOrder),
        Err(error) => refused(error),
    }
}

fn refused(error: RouteError) -> Option<Finding> {
    let RouteError::Arm(error) = error else { return None };
    match error.status()? {
        404 => Some(Finding::Missing),
        403 => Some(Finding::Unreadable(error.subject().clone())),
        _ => None,
    }
}

impl Finding {
    /// Adds to the reason for a gateway's refusal, which it answered with this status, what mends it.
    pub(super) fn add_to(&self, reason: &mut Reason, status: u16, machine: &ResourceId) {
        let subject = Subject::Machine(machine.clone());
        match (self, status) {
            (Self::Off(power), _) => {
                reason.code = "vm-stopped".into();
                reason.what = format!("{subject} is {power}; {}", reason.what);
                reason.hint = Some(start(*power, machine));
            }
            (Self::Missing, 404) => {
                let group = machine.resource_group();
                reason.hint = Some(format!(
                    "Azure Resource Manager knows no machine `{}` in the resource group `{group}` either: check its name, resource group and subscription",
                    machine.name()
                ));
            }
            (Self::Unreadable(what), 403 | 404) => {
                reason.hint =
                    Some(format!("the account needs Reader on {what}, which it cannot read either"));
            }
            (Self::InOrder, 403) => {
                reason.hint = Some(format!(
                    "the account can read the bastion, {subject} and its network interface; what may be missing is Reader on their virtual network, or a few minutes since it was granted"
                ));
            }
            (Self::Missing | Self::Unreadable(_) | Self::InOrder, _) => {}
        }
    }
}

/// What starts a machine.
fn start(power: Power, machine: &ResourceId) -> String {
    let (group, name) = (machine.resource_group(), machine.name());
    match (power, machine.parent()) {
        (Power::Starting, _) => "it is tried again until the machine has started".to_owned(),
        (_, None) => format!("`az vm start --ids {machine}`"),
        (_, Some(set)) => {
            let (subscription, set) = (machine.subscription(), set.name());
            format!(
                "`az vmss start --subscription {subscription} --resource-group {group} --name {set} --instance-ids {name}`"
            )
        }
    }
}

fn resource(endpoint: &Endpoint) -> Option<&ResourceId> {
    match endpoint {
        Endpoint::Resource(id) => Some(id),
        Endpoint::Address(_) => None,
    }
}

fn locked<T>(mutex: &std::sync::Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
