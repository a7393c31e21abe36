//! Ends and breaks: what the local program sees, and what it got before.

use std::sync::Arc;
use std::time::Duration;

use bastion::emulator::EntryKind;
use bastion::model::{Fault, FaultAction as A, FaultPhase};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::stage::{End, OWN, PATIENCE, Stage, drain, emulation, fault, pattern, sending, target};

/// After so many bytes something happens: nothing, one, 64 KiB, and more than all buffers on the way hold.
const AFTER: [usize; 4] = [0, 1, 65_536, 10 << 20];

/// What a local program gets when this happens after so many bytes.
async fn struck(action: &A, after: usize, bytes: &Arc<Vec<u8>>) -> (Vec<u8>, End, Stage) {
    let (address, _target) = sending(Arc::clone(bytes)).await;
    let stage = Stage::new(emulation(Some(address), vec![])).await;
    let tunnel = stage.tunnel(OWN).await;
    stage.emulator.inject(Fault { after: after as u64, ..fault(FaultPhase::Stream, action.clone()) });
    let (seen, end) = timeout(PATIENCE, drain(tunnel.connect().await))
        .await
        .unwrap_or_else(|_| panic!("{action:?} after {after}: no end"));
    stage.settled(2).await;
    tunnel.stop().await;
    (seen, end, stage)
}

async fn ends_so(action: A, expected: End) {
    let bytes = Arc::new(pattern((10 << 20) + 100_000));
    for after in AFTER {
        let (seen, end, _stage) = struck(&action, after, &bytes).await;
        assert!(seen == bytes[..after], "{action:?} after {after}: {} bytes", seen.len());
        assert_eq!(end, expected, "{action:?} after {after}");
    }
}

#[tokio::test]
async fn close_1000_is_an_end() {
    ends_so(A::Close(1000), End::Eof).await;
}

#[tokio::test]
async fn close_without_a_code_is_an_end() {
    ends_so(A::Close(0), End::Eof).await;
}

#[tokio::test]
async fn close_notify_without_a_close_frame_is_an_end() {
    ends_so(A::CloseNotify, End::Eof).await;
}

#[tokio::test]
async fn any_other_code_is_a_break() {
    for code in [1001, 1008, 1011] {
        ends_so(A::Close(code), End::Reset).await;
    }
    let bytes = Arc::new(pattern(2000));
    for code in [1002, 1003, 1007, 1009, 1012, 3000, 4999] {
        let (seen, end, _stage) = struck(&A::Close(code), 1000, &bytes).await;
        assert!(seen == bytes[..1000] && end == End::Reset, "{code}: {} bytes, {end:?}", seen.len());
    }
}

#[tokio::test]
async fn the_end_of_tcp_without_close_notify_is_a_break() {
    ends_so(A::Drop, End::Reset).await;
}

#[tokio::test]
async fn crooked_frames_are_a_break() {
    let bytes = Arc::new(pattern(100_000));
    for action in [A::ReservedBit, A::Masked, A::UnknownOpcode] {
        for after in [0, 1, 65_536] {
            let (seen, end, _stage) = struck(&action, after, &bytes).await;
            assert!(
                seen == bytes[..after] && end == End::Reset,
                "{action:?} after {after}: {} bytes",
                seen.len()
            );
        }
    }
}

#[tokio::test]
async fn a_reset_is_a_break() {
    let bytes = Arc::new(pattern((10 << 20) + 100_000));
    for after in AFTER {
        let (seen, end, _stage) = struck(&A::Reset, after, &bytes).await;
        // A reset overtakes what was not yet read; what was read is what was sent.
        assert!(seen.len() <= after && seen == bytes[..seen.len()], "after {after}: {} bytes", seen.len());
        assert_eq!(end, End::Reset, "after {after}");
    }
}

#[tokio::test]
async fn a_target_that_refuses_is_a_break() {
    // Nothing listens on this port of the machine: the gateway says so with 1011.
    let stage = Stage::new(emulation(None, vec![])).await;
    let tunnel = stage.tunnel(OWN).await;
    assert_eq!(timeout(PATIENCE, drain(tunnel.connect().await)).await.unwrap(), (vec![], End::Reset));
    stage.settled(2).await;
    tunnel.stop().await;
    stage.innocent();
}

#[tokio::test]
async fn a_local_reset_is_no_end_for_the_target() {
    let (sender, mut heard) = tokio::sync::mpsc::channel(1);
    let (address, _target) = target(move |stream| {
        let sender = sender.clone();
        async move {
            sender.send(drain(stream).await).await.unwrap();
        }
    })
    .await;
    let stage = Stage::new(emulation(Some(address), vec![])).await;
    let tunnel = stage.tunnel(OWN).await;
    let mut local = tunnel.connect().await;
    local.write_all(b"half a sente").await.unwrap();
    stage.until("a WebSocket", |c| c.streams == 1).await;
    local.set_zero_linger().unwrap();
    drop(local);
    let (_, end) = timeout(PATIENCE, heard.recv()).await.unwrap().unwrap();
    assert_eq!(end, End::Reset, "the target must not take half of it for all of it");
    stage.settled(2).await;
    tunnel.stop().await;
}

#[tokio::test]
async fn after_the_local_fin_the_answer_still_comes() {
    // `nc -N`: the question ends, and the answer comes much later.
    let answer = Arc::new(pattern(1 << 20));
    let (address, _target) = target({
        let answer = Arc::clone(&answer);
        move |mut stream| {
            let answer = Arc::clone(&answer);
            async move {
                let mut question = [0; 8];
                stream.read_exact(&mut question).await.unwrap();
                tokio::time::sleep(Duration::from_millis(300)).await;
                drop(stream.write_all(&answer).await);
            }
        }
    })
    .await;
    let stage = Stage::new(emulation(Some(address), vec![])).await;
    let tunnel = stage.tunnel(OWN).await;
    let mut local = tunnel.connect().await;
    local.write_all(b"question").await.unwrap();
    local.shutdown().await.unwrap();
    let (seen, end) = timeout(PATIENCE, drain(local)).await.unwrap();
    assert!(seen == *answer, "{} bytes", seen.len());
    assert_eq!(end, End::Eof);
    stage.settled(2).await;
    tunnel.stop().await;
    stage.innocent();
}

#[tokio::test]
async fn a_local_end_is_close_1000_behind_every_byte() {
    let (sender, mut heard) = tokio::sync::mpsc::channel(1);
    let (address, _target) = target(move |stream| {
        let sender = sender.clone();
        async move {
            sender.send(drain(stream).await).await.unwrap();
        }
    })
    .await;
    let stage = Stage::new(emulation(Some(address), vec![])).await;
    let tunnel = stage.tunnel(OWN).await;
    let bytes = pattern(3 << 20);
    let mut local = tunnel.connect().await;
    local.write_all(&bytes).await.unwrap();
    // The whole program goes: there is nobody left to wait for.
    drop(local);
    let (seen, end) = timeout(PATIENCE, heard.recv()).await.unwrap().unwrap();
    assert!(seen == bytes, "{} bytes", seen.len());
    assert_eq!(end, End::Eof);
    stage.settled(2).await;
    let streams = stage.seen(EntryKind::Stream, 1).await;
    assert!(streams[0].end.as_ref().is_some_and(|end| end.contains("client closed 1000")), "{streams:#?}");
    tunnel.stop().await;
    stage.innocent();
}
