//! A declaration that changes while the emulator runs: what is open goes on, what is new is so at once.

use crate::emulator::{EmulatorError, EntryKind};
use crate::model::{
    BastionTraits, Emulation, Endpoint, Fault, FaultAction, FaultPhase, Frames, Machine, ResourceId, Service,
    Sku,
};

use super::client::*;
use super::socket::Event;

fn other_id() -> ResourceId {
    let (kind, name) = ("Microsoft.Network/bastionHosts", "bas-other");
    ResourceId::compose(Emulation::SUBSCRIPTION, Emulation::RESOURCE_GROUP, kind, name).unwrap()
}

async fn host_of(site: &Site, id: &ResourceId) -> Option<String> {
    let bearer = format!("Authorization: Bearer {}", site.endpoint.token);
    let answer = site.arm(&format!("{id}?api-version=2024-05-01"), &[&bearer]).await;
    (answer.status == 200).then(|| answer.json()["properties"]["dnsName"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_bastion_that_stays_keeps_its_host_and_its_streams() {
    let site = Site::start().await;
    let (session, mut socket) = site.dial(ECHO).await;
    let mut changed = emulation(None);
    let traits = BastionTraits { max_sessions: 1, ..BastionTraits::of(Sku::Premium) };
    changed.bastions = vec![(other_id(), BastionTraits::default()), (bastion_id(), traits)];
    changed.frames = Frames::Size(1);
    site.emulator.update(changed).unwrap();

    assert_eq!(host_of(&site, &bastion_id()).await.as_ref(), Some(&site.gateway));
    let other = host_of(&site, &other_id()).await.unwrap();
    assert_ne!(other, site.gateway);
    assert_eq!(site.read_bastion().await.json()["sku"]["name"], "Premium");
    socket.data(b"still here").await;
    assert_eq!(socket.next().await, Event::Frame(0x82, b"still here".to_vec()), "framed as it began");
    assert_eq!(site.exchange(&site.form(ECHO, &[]), &[]).await.status, 503, "the session counts against it");
    assert_eq!(site.delete(&session).await.status, 204);
    assert_eq!(socket.closed().await, 1002);

    let (_, mut socket) = site.dial(ECHO).await;
    socket.data(b"xy").await;
    assert_eq!(socket.next().await, Event::Frame(0x82, b"x".to_vec()), "framed as it is now");
    site.innocent();
}

#[tokio::test]
async fn a_bastion_that_goes_gives_no_more_sessions_but_takes_back_those_it_gave() {
    let site = Site::start().await;
    let (session, mut socket) = site.dial(ECHO).await;
    let mut changed = emulation(None);
    changed.bastions.clear();
    site.emulator.update(changed).unwrap();

    assert_eq!(host_of(&site, &bastion_id()).await, None);
    assert_eq!(site.exchange(&site.form(ECHO, &[]), &[]).await.status, 404);
    socket.data(b"x").await;
    assert_eq!(socket.bytes(1).await, b"x");
    assert_eq!(site.delete(&session).await.status, 204);
    assert_eq!(site.emulator.sessions().live, 0);

    // It comes back while it is remembered, then under another host when it is not.
    site.emulator.update(emulation(None)).unwrap();
    assert_eq!(host_of(&site, &bastion_id()).await.as_ref(), Some(&site.gateway));
    for bastions in [vec![], emulation(None).bastions] {
        site.emulator.update(Emulation { bastions, ..emulation(None) }).unwrap();
    }
    assert_ne!(host_of(&site, &bastion_id()).await.as_ref(), Some(&site.gateway));
    site.innocent();
}

#[tokio::test]
async fn to_the_shared_kind_it_is_another_bastion() {
    let site = Site::start().await;
    let developer = vec![(bastion_id(), BastionTraits::of(Sku::Developer))];
    site.emulator.update(Emulation { bastions: developer, ..emulation(None) }).unwrap();
    let host = host_of(&site, &bastion_id()).await.unwrap();
    assert!(host.starts_with("omnibrain."), "{host}");
}

#[tokio::test]
async fn machines_come_change_and_go() {
    let site = Site::start().await;
    let closed = site.session(CLOSED).await;
    let mut changed = emulation(None);
    changed.machines =
        vec![Machine { otherwise: Some(Service::Echo), ..Machine::new(Endpoint::Resource(vm_id())) }];
    site.emulator.update(changed.clone()).unwrap();
    let mut socket = site.open(&closed).await;
    socket.data(b"x").await;
    assert_eq!(socket.bytes(1).await, b"x", "something listens there now");

    let later = site.session(ECHO).await;
    changed.machines.clear();
    site.emulator.update(changed).unwrap();
    assert_eq!(site.exchange(&site.form(ECHO, &[]), &[]).await.status, 404);
    assert_eq!(site.open(&later).await.closed().await, 1011, "nobody is there any more");
    socket.data(b"y").await;
    assert_eq!(socket.bytes(1).await, b"y", "what is open stays open");
}

#[tokio::test]
async fn a_changed_list_of_faults_replaces_the_old_one_and_the_same_list_goes_on() {
    let twice = Fault { times: 2, ..fault(FaultPhase::Token, FaultAction::Status(500)) };
    let with = |faults: Vec<Fault>| Emulation { faults, ..emulation(None) };
    let site = Site::with(with(vec![twice.clone()])).await;
    let status = async || site.exchange(&site.form(ECHO, &[]), &[]).await.status;
    assert_eq!(status().await, 500);
    let mut same = with(vec![twice.clone()]);
    same.bastions.push((other_id(), BastionTraits::default()));
    site.emulator.update(same).unwrap();
    assert_eq!((status().await, status().await), (500, 200), "two in all");

    site.emulator.inject(fault(FaultPhase::Token, FaultAction::Status(429)));
    site.emulator.update(with(vec![fault(FaultPhase::Token, FaultAction::Status(403))])).unwrap();
    assert_eq!((status().await, status().await, status().await), (403, 429, 200), "the injected one stays");
    site.emulator.update(with(vec![])).unwrap();
    site.emulator.update(with(vec![twice])).unwrap();
    assert_eq!((status().await, status().await, status().await), (500, 500, 200), "a new list begins anew");
}

#[tokio::test]
async fn a_stream_looks_out_for_the_faults_of_the_new_list() {
    let later = Fault { after: 100, ..fault(FaultPhase::Stream, FaultAction::Reset) };
    let site = Site::with(Emulation { faults: vec![later], ..emulation(None) }).await;
    let (_, mut socket) = site.dial(ECHO).await;
    socket.data(b"x").await;
    assert_eq!(socket.bytes(1).await, b"x");
    let close = Fault { after: 1, ..fault(FaultPhase::Stream, FaultAction::Close(1011)) };
    site.emulator.update(Emulation { faults: vec![close], ..emulation(None) }).unwrap();
    assert_eq!(socket.closed().await, 1011);
}

#[tokio::test]
async fn the_log_moves_when_its_path_changes_and_what_cannot_be_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (first, second) = (directory.path().join("first"), directory.path().join("second"));
    let to = |log: &std::path::Path| Emulation { log: Some(log.to_owned()), ..emulation(None) };
    let site = Site::with(to(&first)).await;
    site.session(ECHO).await;
    site.emulator.update(to(&second)).unwrap();
    site.session(ECHO).await;
    site.read_bastion().await;

    let nowhere = Emulation { bastions: vec![], ..to(&directory.path().join("no/where")) };
    assert!(matches!(site.emulator.update(nowhere), Err(EmulatorError::Log { .. })));
    let empty = Emulation { frames: Frames::Size(0), bastions: vec![], ..to(&first) };
    assert!(matches!(site.emulator.update(empty), Err(EmulatorError::MessageSize(0))));
    assert_eq!(site.read_bastion().await.status, 200);
    let kinds: Vec<_> = site.emulator.log().entries().iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, [EntryKind::Token, EntryKind::Token, EntryKind::Arm, EntryKind::Arm]);
    site.emulator.stop().await;
    let lines = |path| std::fs::read_to_string(path).unwrap().lines().count();
    assert_eq!((lines(first), lines(second)), (1, 3));
}
