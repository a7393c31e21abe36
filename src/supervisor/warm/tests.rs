//! How long something is kept ready, in paused time.

use tokio::task::JoinSet;

use super::*;
use crate::carrier::{ByteStream, Carrying, Remains, Usage};
use crate::model::{Endpoint, Failure, Limits, Probe};

const S: Duration = Duration::from_secs(1);

/// A way that keeps what it is asked to, or nothing.
struct Keeps {
    any: bool,
    begun: Instant,
    /// When it was asked, in seconds, and for how many; 0: for none any more.
    asked: Mutex<Vec<(u64, usize)>>,
}

impl Keeps {
    fn note(&self, wanted: usize) {
        self.asked.lock().unwrap().push((self.begun.elapsed().as_secs(), wanted));
    }
}

impl Carrier for Keeps {
    fn resolve(&self) -> Carrying<'_, Result<(), Failure>> {
        Box::pin(std::future::pending())
    }

    fn probe<'a>(&'a self, _: &'a Locator, _: Port, _: &'a OpenOptions) -> Carrying<'a, Result<(), Failure>> {
        Box::pin(std::future::pending())
    }

    fn open<'a>(
        &'a self,
        _: &'a Locator,
        _: Port,
        _: &'a OpenOptions,
    ) -> Carrying<'a, Result<Box<dyn ByteStream>, Failure>> {
        Box::pin(std::future::pending())
    }

    fn warm<'a>(
        &'a self,
        _: &'a Locator,
        _: Port,
        _: &'a OpenOptions,
        wanted: usize,
    ) -> Carrying<'a, Option<Instant>> {
        self.note(wanted);
        Box::pin(std::future::ready(self.any.then(|| Instant::now() + FRESH)))
    }

    fn cool(&self, _: &Locator, _: Port) {
        self.note(0);
    }

    fn doubt(&self) {}

    fn set_limits(&self, _: Limits) {}

    fn usage(&self) -> Usage {
        Usage::default()
    }

    fn settle(&self, _: Instant) -> Carrying<'_, Remains> {
        Box::pin(std::future::pending())
    }
}

fn open(prewarm: usize) -> OpenOptions {
    OpenOptions { user_agent: "test".to_owned(), keepalive: S, prewarm, prewarm_dial: false, waiting: None }
}

/// A keeper of a path that was used just now.
fn kept(any: bool) -> (Arc<Keeps>, watch::Sender<Use>, JoinSet<()>) {
    let carrier = Arc::new(Keeps { any, begun: Instant::now(), asked: Mutex::default() });
    let locator = Endpoint::Address("10.0.0.4".parse().unwrap()).into();
    let path = Key { locator, port: Port::new(22).unwrap(), probe: Probe::Session };
    let (used, seen) = watch::channel(Use { last: Instant::now(), open: open(2) });
    let mut tasks = JoinSet::new();
    tasks.spawn(keep(Arc::<Keeps>::clone(&carrier), path, seen));
    (carrier, used, tasks)
}

#[tokio::test(start_paused = true)]
async fn two_minutes_after_the_last_connection_nothing_is_renewed() {
    let (carrier, used, mut tasks) = kept(true);
    tokio::time::sleep(S * 50).await;
    used.send_modify(|used| used.last = Instant::now());
    tasks.join_next().await.unwrap().unwrap();
    assert!(used.is_closed());
    let asked = [0, 20, 40, 50, 70, 90, 110, 130, 150].map(|at| (at, 2));
    assert_eq!(*carrier.asked.lock().unwrap(), [&asked[..], &[(170, 0)]].concat());
}

#[tokio::test(start_paused = true)]
async fn where_nothing_can_be_kept_only_a_connection_is_a_reason_to_ask_again() {
    let (carrier, used, mut tasks) = kept(false);
    tokio::time::sleep(S * 30).await;
    used.send_modify(|used| used.last = Instant::now());
    tasks.join_next().await.unwrap().unwrap();
    assert_eq!(*carrier.asked.lock().unwrap(), [(0, 2), (30, 2), (150, 0)]);
}

#[tokio::test(start_paused = true)]
async fn an_edit_takes_effect_at_once_and_a_path_that_is_gone_keeps_nothing() {
    let (carrier, used, mut tasks) = kept(true);
    tokio::time::sleep(S * 5).await;
    used.send_modify(|used| used.open.prewarm = 3);
    tokio::time::sleep(S).await;
    drop(used);
    tasks.join_next().await.unwrap().unwrap();
    assert_eq!(*carrier.asked.lock().unwrap(), [(0, 2), (5, 3), (6, 0)]);
    let (carrier, used, mut tasks) = kept(true);
    tokio::time::sleep(S * 5).await;
    used.send_modify(|used| used.open.prewarm = 0);
    tasks.join_next().await.unwrap().unwrap();
    // A mistake of ours elsewhere ends it too.
    let (other, _used, mut aborted) = kept(true);
    tokio::time::sleep(S).await;
    aborted.shutdown().await;
    assert_eq!(*carrier.asked.lock().unwrap(), [(0, 2), (5, 0)]);
    assert_eq!(*other.asked.lock().unwrap(), [(0, 2), (1, 0)]);
}
