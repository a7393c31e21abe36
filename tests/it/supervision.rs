//! The loop in paused time, over ways that do what a script says: what is tried, when, and whom a failure concerns.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bastion::carrier::{ByteStream, Carrier, Carrying, OpenOptions, Remains, Usage};
use bastion::model::{
    Bastion, Behaviour, Blocked, Cloud, Desired, Disposition, Emulation, Endpoint, Failure, Identity, Limits,
    Listen, Locator, Name, Port, Probe, Reason, ResourceId, Scope, State, Target, Tunnel,
};
use bastion::supervisor::{Dialer, Refusal, Setting};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::supervised::Supervised;

const SECOND: Duration = Duration::from_secs(1);

/// What a way does when it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    Work,
    Fail(Scope, Disposition),
    /// Breaks in the middle of what it was asked for.
    Panic,
    /// Breaks before it has begun: in the hands of the route's own task.
    PanicAtOnce,
    Hang,
}

/// What all ways to one bastion do, and what they were asked.
#[derive(Clone)]
struct Script(Arc<Mutex<Acts>>, Arc<Notify>);

struct Acts {
    resolve: Does,
    probe: Does,
    /// As long as it hangs, a change of it ends that.
    open: Does,
    resolved: Vec<Instant>,
    probed: Vec<Instant>,
    opened: usize,
}

/// Ways by the bastion's name.
#[derive(Clone, Default)]
struct Scripts(BTreeMap<String, Script>);

impl Script {
    fn new() -> Self {
        let (resolved, probed) = (Vec::new(), Vec::new());
        let (resolve, probe, open) = (Does::Work, Does::Work, Does::Hang);
        let acts = Acts { resolve, probe, open, resolved, probed, opened: 0 };
        Self(Arc::new(Mutex::new(acts)), Arc::default())
    }

    fn resolves(&self, does: Does) {
        self.0.lock().unwrap().resolve = does;
    }

    fn probes(&self, does: Does) {
        self.0.lock().unwrap().probe = does;
    }

    fn opens(&self, does: Does) {
        self.0.lock().unwrap().open = does;
        self.1.notify_waiters();
    }

    /// Waits until so many openings were begun.
    async fn until_opened(&self, number: usize) {
        loop {
            let begun = self.1.notified();
            if self.opened() >= number {
                return;
            }
            begun.await;
        }
    }

    fn opened(&self) -> usize {
        self.0.lock().unwrap().opened
    }

    fn resolved(&self) -> Vec<Instant> {
        self.0.lock().unwrap().resolved.clone()
    }

    fn probed(&self) -> Vec<Instant> {
        self.0.lock().unwrap().probed.clone()
    }

    fn act(does: Does) -> Carrying<'static, Result<(), Failure>> {
        assert!(does != Does::PanicAtOnce, "as the script wants it");
        Box::pin(async move {
            match does {
                Does::Work => Ok(()),
                Does::Fail(scope, disposition) => Err(Failure { scope, disposition, reason: reason() }),
                Does::Panic | Does::PanicAtOnce => panic!("as the script wants it"),
                Does::Hang => std::future::pending().await,
            }
        })
    }
}

impl Carrier for Script {
    fn resolve(&self) -> Carrying<'_, Result<(), Failure>> {
        let does = {
            let mut acts = self.0.lock().unwrap();
            acts.resolved.push(Instant::now());
            acts.resolve
        };
        Self::act(does)
    }

    fn probe<'a>(
        &'a self,
        _target: &'a Locator,
        _port: Port,
        _options: &'a OpenOptions,
    ) -> Carrying<'a, Result<(), Failure>> {
        let does = {
            let mut acts = self.0.lock().unwrap();
            acts.probed.push(Instant::now());
            acts.probe
        };
        Self::act(does)
    }

    fn open<'a>(
        &'a self,
        _target: &'a Locator,
        _port: Port,
        _options: &'a OpenOptions,
    ) -> Carrying<'a, Result<Box<dyn ByteStream>, Failure>> {
        self.0.lock().unwrap().opened += 1;
        self.1.notify_waiters();
        Box::pin(async {
            loop {
                let changed = self.1.notified();
                let does = self.0.lock().unwrap().open;
                match does {
                    Does::Hang => changed.await,
                    Does::Fail(scope, disposition) => {
                        return Err(Failure { scope, disposition, reason: reason() });
                    }
                    Does::Work | Does::Panic | Does::PanicAtOnce => unreachable!("not needed here"),
                }
            }
        })
    }

    fn doubt(&self) {}

    fn set_limits(&self, _limits: Limits) {}

    fn usage(&self) -> Usage {
        Usage::default()
    }

    fn settle(&self, _deadline: Instant) -> Carrying<'_, Remains> {
        Box::pin(std::future::ready(Remains::default()))
    }
}

impl Dialer for Scripts {
    fn carrier(&self, bastion: &Bastion) -> Arc<dyn Carrier> {
        Arc::new(self.0[bastion.id.name()].clone())
    }
}

fn reason() -> Reason {
    Reason { code: "test".into(), what: "the script wants it so".to_owned(), hint: None }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// Tunnels, each `NAME@BASTION`, to ports of one machine a bastion: the first tunnel's target is port 1, and so on.
fn desired(tunnels: &[&str], listen: Listen, behaviour: &Behaviour) -> Desired {
    let mut desired = Desired {
        workspace: name("test"),
        cloud: Cloud::Emulator,
        bastions: BTreeMap::new(),
        targets: BTreeMap::new(),
        tunnels: BTreeMap::new(),
        emulation: Emulation::default(),
    };
    for (tunnel, port) in tunnels.iter().zip(1..) {
        let (tunnel, bastion) = tunnel.split_once('@').unwrap();
        let id = ResourceId::compose("s", "g", "Microsoft.Network/bastionHosts", bastion).unwrap();
        let machine = ResourceId::compose("s", "g", "Microsoft.Compute/virtualMachines", bastion).unwrap();
        let (identity, limits) = (Identity::default(), Limits::default());
        desired.bastions.insert(name(bastion), Bastion { id, identity, limits });
        let target = Target { bastion: name(bastion), locator: Endpoint::Resource(machine).into() };
        desired.targets.insert(name(bastion), target);
        let tunnel_of = Tunnel {
            listen,
            auto: false,
            target: name(bastion),
            port: Port::new(port).unwrap(),
            profiles: BTreeSet::new(),
            env: BTreeMap::new(),
            behaviour: behaviour.clone(),
        };
        desired.tunnels.insert(name(tunnel), tunnel_of);
    }
    desired
}

fn free(tunnels: &[&str]) -> Desired {
    desired(tunnels, Listen::Localhost(0), &Behaviour::default())
}

fn scripts(bastions: &[&str]) -> Scripts {
    Scripts(bastions.iter().map(|name| ((*name).to_owned(), Script::new())).collect())
}

async fn start(desired: Desired, scripts: &Scripts) -> Supervised {
    Supervised::start(desired, Arc::new(scripts.clone())).await
}

fn waits(times: &[Instant]) -> Vec<Duration> {
    times.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

const DENIED: Does = Does::Fail(Scope::Target, Disposition::Blocked(Blocked::Denied));
const PASSING: Does = Does::Fail(Scope::Bastion, Disposition::Retry);

#[tokio::test(start_paused = true)]
async fn what_is_blocked_is_looked_at_after_a_minute_and_ever_less_often_and_at_once_when_asked() {
    let scripts = scripts(&["hub"]);
    let script = scripts.0["hub"].clone();
    script.probes(DENIED);
    let supervised = start(free(&["web@hub"]), &scripts).await;
    let blocked = supervised.until_state("web", State::Blocked).await;
    assert_eq!(blocked.reason.unwrap().code, "test");
    while script.probed().len() < 7 {
        tokio::time::sleep(10 * SECOND).await;
    }
    let minutes: Vec<u64> = waits(&script.probed()).iter().map(Duration::as_secs).collect();
    assert_eq!(minutes, [60, 120, 240, 480, 600, 600]);
    // The right is granted, and somebody says so.
    script.probes(Does::Work);
    let asked = Instant::now();
    supervised.handle.reload(Setting::default()).await.unwrap();
    supervised.until_state("web", State::Ready).await;
    assert!(asked.elapsed() < SECOND, "{:?}", asked.elapsed());
    assert_eq!(supervised.stop().await, Remains::default());
}

#[tokio::test(start_paused = true)]
async fn a_bastion_in_trouble_has_one_try_for_all_its_tunnels_with_full_jitter() {
    let scripts = scripts(&["hub"]);
    let script = scripts.0["hub"].clone();
    script.resolves(PASSING);
    let tunnels = free(&["a@hub", "b@hub", "c@hub"]);
    let supervised = start(tunnels, &scripts).await;
    while script.resolved().len() < 20 {
        tokio::time::sleep(SECOND).await;
    }
    let waited = waits(&script.resolved());
    let ceilings = (0..)
        .map(|tries: u32| Duration::from_millis(800 * 2_u64.pow(tries.min(10))).min(Duration::from_secs(30)));
    for (wait, ceiling) in waited.iter().zip(ceilings) {
        // The clock of paused time has milliseconds.
        assert!(*wait <= ceiling + Duration::from_millis(2), "{waited:?}");
    }
    assert!(waited.iter().any(|wait| *wait < 15 * SECOND) && waited.iter().any(|wait| *wait > 2 * SECOND));
    let a = supervised.tunnel("a").unwrap();
    assert_eq!((a.state, a.attempt > 10), (State::Connecting, true));
    script.resolves(Does::Work);
    for tunnel in ["a", "b", "c"] {
        supervised.until_state(tunnel, State::Ready).await;
    }
    supervised.stop().await;
}

#[tokio::test(start_paused = true)]
async fn stopping_does_not_wait_for_what_waits() {
    let scripts = scripts(&["hub", "other"]);
    scripts.0["hub"].resolves(PASSING);
    scripts.0["other"].probes(Does::Hang);
    let supervised = start(free(&["a@hub", "b@other"]), &scripts).await;
    supervised.until("a", |tunnel| tunnel.attempt > 3).await;
    let asked = Instant::now();
    supervised.stop().await;
    assert!(asked.elapsed() < SECOND, "{:?}", asked.elapsed());
}

/// What becomes of a connection whose path is needed no longer while it is opened: it was told what the path was last.
#[tokio::test(start_paused = true)]
async fn an_opening_that_fails_when_its_tunnel_is_gone_is_not_tried_again_and_again() {
    let scripts = scripts(&["hub"]);
    let script = scripts.0["hub"].clone();
    let with = free(&["a@hub"]);
    let supervised = start(with.clone(), &scripts).await;
    let ready = supervised.until_state("a", State::Ready).await;
    let mut connection = TcpStream::connect(ready.listen[0]).await.unwrap();
    script.until_opened(1).await;
    supervised.edit(Desired { tunnels: BTreeMap::new(), ..with }).await.unwrap();
    script.opens(Does::Fail(Scope::Target, Disposition::Retry));
    let ended = connection.read(&mut [0; 1]).await;
    assert!(ended.is_err(), "a reset: {ended:?}");
    assert_eq!(script.opened(), 1);
    supervised.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_mistake_of_ours_in_one_route_is_told_and_no_other_route_notices() {
    for does in [Does::Panic, Does::PanicAtOnce] {
        let scripts = scripts(&["broken", "well"]);
        let (broken, well) = (scripts.0["broken"].clone(), scripts.0["well"].clone());
        broken.probes(does);
        let supervised = start(free(&["a@broken", "b@well"]), &scripts).await;
        supervised.until_state("b", State::Ready).await;
        let told = supervised.until("a", |tunnel| tunnel.reason.is_some()).await;
        assert_eq!((told.state, &*told.reason.unwrap().code), (State::Connecting, "internal"), "{does:?}");
        while broken.probed().len() < 6 {
            tokio::time::sleep(SECOND).await;
        }
        let tries = broken.probed();
        assert!(tries[5] - tries[0] > SECOND, "it backs off: {:?}", waits(&tries));
        assert_eq!((well.probed().len(), supervised.tunnel("b").unwrap().state), (1, State::Ready));
        // It works again as soon as the mistake is gone.
        broken.probes(Does::Work);
        supervised.until_state("a", State::Ready).await;
        supervised.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn tunnels_with_one_path_share_its_probe() {
    let scripts = scripts(&["hub"]);
    let mut both = free(&["a@hub", "b@hub"]);
    let port = both.tunnels[&name("a")].port;
    both.tunnels.get_mut(&name("b")).unwrap().port = port;
    let supervised = start(both, &scripts).await;
    supervised.until_state("a", State::Ready).await;
    supervised.until_state("b", State::Ready).await;
    assert_eq!(scripts.0["hub"].probed().len(), 1);
    // Proven within the last minute is proven; later it is shown again, once for both.
    supervised.handle.prove(vec!["a".to_owned()]).await.unwrap();
    assert_eq!(scripts.0["hub"].probed().len(), 1);
    tokio::time::sleep(61 * SECOND).await;
    supervised.handle.prove(vec!["*".to_owned()]).await.unwrap();
    assert_eq!(scripts.0["hub"].probed().len(), 2);
    assert!(matches!(supervised.handle.prove(vec!["x".to_owned()]).await, Err(Refusal::Unknown { .. })));
    supervised.stop().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_probe_a_tunnel_is_ready_and_not_verified() {
    let scripts = scripts(&["hub"]);
    let behaviour = Behaviour { probe: Probe::None, ..Behaviour::default() };
    let supervised = start(desired(&["web@hub"], Listen::Localhost(0), &behaviour), &scripts).await;
    let ready = supervised.until_state("web", State::Ready).await;
    assert!(!ready.verified);
    assert_eq!(scripts.0["hub"].probed().len(), 0);
    supervised.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_taken_address_is_tried_again_after_a_minute() {
    let scripts = scripts(&["hub"]);
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    let listen = Listen::Address(address.ip(), address.port());
    let supervised = start(desired(&["web@hub"], listen, &Behaviour::default()), &scripts).await;
    let blocked = supervised.until_state("web", State::Blocked).await;
    assert_eq!(blocked.reason.unwrap().code, "port-taken");
    let begun = Instant::now();
    drop(other);
    let ready = supervised.until_state("web", State::Ready).await;
    assert_eq!(ready.listen, [address]);
    assert!((59..=61).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    supervised.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_stopped_stays_stopped_until_it_is_wanted_again() {
    let scripts = scripts(&["hub"]);
    let supervised = start(free(&["a@hub", "b@hub"]), &scripts).await;
    supervised.until_state("a", State::Ready).await;
    assert_eq!(supervised.handle.down(vec!["a".to_owned()], SECOND).await.unwrap(), []);
    assert_eq!(supervised.tunnel("a"), None);
    // An edit of something else does not bring it back.
    let applied = supervised.edit(free(&["a@hub", "b@hub", "c@hub"])).await.unwrap();
    assert_eq!(applied.started, [name("c")]);
    assert_eq!(supervised.tunnel("a"), None);
    let up = |tunnels: &[&str]| {
        let tunnels = tunnels.iter().map(|name| (*name).to_owned()).collect();
        supervised.handle.up(tunnels, Vec::new(), Setting::default())
    };
    assert!(matches!(up(&["nobody"]).await, Err(Refusal::Unknown { .. })));
    assert_eq!(up(&[]).await.unwrap().started, [name("a")]);
    assert_eq!(up(&["a"]).await.unwrap().started, []);
    supervised.until_state("a", State::Ready).await;
    supervised.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_edit_that_changes_nothing_is_no_new_edition() {
    let scripts = scripts(&["hub"]);
    let supervised = start(free(&["a@hub"]), &scripts).await;
    let before = supervised.until_state("a", State::Ready).await;
    let generation = supervised.handle.status().generation;
    let applied = supervised.edit(free(&["a@hub"])).await.unwrap();
    assert_eq!((applied.generation, applied.changes), (generation, 0));
    let plan = supervised.handle.plan(Setting::default()).await.unwrap();
    assert_eq!(plan.lines.iter().map(ToString::to_string).collect::<Vec<_>>(), ["= 1 unchanged"]);
    assert_eq!(supervised.tunnel("a").unwrap(), before);
    supervised.stop().await;
}

/// How far the clock on the wall was set forward, in seconds.
static FORWARD: AtomicU64 = AtomicU64::new(0);

fn wall() -> SystemTime {
    bastion::sys::clock::now() + SECOND * u32::try_from(FORWARD.load(Ordering::SeqCst)).unwrap()
}

#[tokio::test(start_paused = true)]
async fn after_a_sleep_what_waits_is_tried_at_once_and_not_all_in_the_same_moment() {
    let scripts = scripts(&["hub"]);
    let script = scripts.0["hub"].clone();
    script.probes(DENIED);
    let names: Vec<String> = (0..20).map(|number| format!("t{number}@hub")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let supervised = Supervised::start_at(free(&names), Arc::new(scripts.clone()), wall).await;
    supervised.until_state("t19", State::Blocked).await;
    assert_eq!(script.probed().len(), 20);
    // A minute from now they would be looked at again; the lid is closed for an hour, and somebody mended it meanwhile.
    script.probes(Does::Work);
    FORWARD.store(3600, Ordering::SeqCst);
    let woke = Instant::now();
    for number in 0..20 {
        supervised.until_state(&format!("t{number}"), State::Ready).await;
    }
    assert!(woke.elapsed() < 10 * SECOND, "{:?}", woke.elapsed());
    let tries = script.probed();
    let (first, last) = (tries[20], *tries.last().unwrap());
    assert!(
        (SECOND / 2..=3 * SECOND + SECOND / 10).contains(&(last - first)),
        "spread over {:?}",
        last - first
    );
    supervised.stop().await;
}
