//! Limits that are too long to wait for. The clock is stopped once the sockets have said all that they will say, so that
//! it jumps to the next moment at which anything is due.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bastion::emulator::EntryKind;
use bastion::model::{Disposition, FaultAction as A, FaultPhase, Service};
use tokio::time::Instant;

use super::stage::{
    ECHO, End, HTTP, OWN, Stage, always, destination, drain, emulation, fault, options, port, target,
};

/// Stops the clock once there is an entry of this kind; when that was.
async fn stop_at(stage: &Stage, kind: EntryKind) -> Instant {
    stage.seen(kind, 1).await;
    tokio::time::pause();
    Instant::now()
}

/// Whole seconds, the nearest.
fn rounded(time: Duration) -> u64 {
    (time + Duration::from_millis(500)).as_secs()
}

#[tokio::test]
async fn an_exchange_without_an_answer_is_given_up_after_30_s() {
    let stage = Stage::faulty(vec![always(FaultPhase::Token, A::Silence)]).await;
    let gateway = stage.gateway().await;
    let (destination, options) = (destination(HTTP), options());
    let probe = async {
        let error = gateway.probe(&destination, &*stage.tokens, &options).await.unwrap_err();
        (error, Instant::now())
    };
    let ((error, ended), started) = tokio::join!(probe, stop_at(&stage, EntryKind::Token));
    assert_eq!(rounded(ended.duration_since(started)), 30);
    assert!(bastion::model::chain(&error).contains("no answer within 30 s"), "{error:?}");
    assert_eq!((error.code(), error.disposition()), ("gateway-unreachable", Disposition::Retry));
}

#[tokio::test]
async fn an_upgrade_without_an_answer_is_given_up_after_20_s_and_its_session_deleted() {
    let stage = Stage::faulty(vec![always(FaultPhase::Upgrade, A::Silence)]).await;
    let gateway = stage.gateway().await;
    let open = async { (stage.open(&gateway, ECHO).await.err().unwrap(), Instant::now()) };
    let ((error, ended), started) = tokio::join!(open, stop_at(&stage, EntryKind::Upgrade));
    tokio::time::resume();
    assert_eq!(rounded(ended.duration_since(started)), 20);
    assert!(bastion::model::chain(&error).contains("did not answer within 20 s"), "{error:?}");
    assert_eq!((error.code(), error.disposition()), ("gateway-unreachable", Disposition::Retry));
    stage.settled(1).await;
}

#[tokio::test]
async fn a_read_from_arm_without_an_answer_is_given_up_after_30_s() {
    let stage = Stage::faulty(vec![always(FaultPhase::Arm, A::Silence)]).await;
    let read = async { (stage.read().await.unwrap_err(), Instant::now()) };
    let ((error, ended), started) = tokio::join!(read, stop_at(&stage, EntryKind::Arm));
    assert_eq!(rounded(ended.duration_since(started)), 30);
    assert_eq!((error.code(), error.disposition()), ("arm-unreachable", Disposition::Retry));
}

#[tokio::test]
async fn a_held_connection_is_reset_when_its_time_is_up() {
    let stage = Stage::faulty(vec![]).await;
    let tunnel = stage.tunnel(ECHO).await;
    stage.emulator.inject(fault(FaultPhase::Token, A::Silence));
    let local = tunnel.connect().await;
    stage.seen(EntryKind::Token, 2).await;
    tokio::time::pause();
    let started = Instant::now();
    assert_eq!(drain(local).await, (vec![], End::Reset));
    assert_eq!(rounded(started.elapsed()), 5, "its connect_timeout");
}

/// Where a log goes that a test reads.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_server_that_should_speak_first_and_does_not_is_told_of() {
    let lines = Lines::default();
    let sink = lines.clone();
    let log = tracing_subscriber::fmt().with_writer(move || sink.clone()).with_ansi(false).finish();
    let _log = tracing::subscriber::set_default(log);
    let (address, _target) = target(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let mut emulation = emulation(Some(address), vec![]);
    for machine in &mut emulation.machines {
        machine.ports.insert(port(22), Service::Tcp(address));
    }
    let stage = Stage::new(emulation).await;
    // On a port whose server waits for the client, silence says nothing.
    for (to, told) in [(OWN, false), (22, true)] {
        let tunnel = stage.tunnel(to).await;
        let local = tunnel.connect().await;
        stage.until("a WebSocket", |c| c.streams == 1).await;
        tokio::time::pause();
        tokio::time::sleep(Duration::from_secs(11)).await;
        tokio::time::resume();
        let said = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert_eq!(said.contains("target-silent"), told, "{said}");
        assert_eq!(said.contains("not one byte came from port 22 of the target in 10 s"), told, "{said}");
        drop(local);
        stage.until("no WebSocket", |c| c.streams == 0).await;
        tunnel.stop().await;
    }
}
