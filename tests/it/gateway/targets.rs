//! Targets that Resource Manager is asked for, and machines that it is asked about when a gateway refuses them.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use bastion::emulator::{EntryKind, RequestEntry};
use bastion::model::{
    Emulation, Endpoint, Fault, FaultAction, FaultPhase, Locator, Machine, MachinePower, ResourceId, Service,
    State,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::stage::{ECHO, HTTP, Stage, always, desired, emulation, fault, id, machine_id, port, reason};
use crate::supervised::Supervised;

fn set() -> ResourceId {
    id("Microsoft.Compute/virtualMachineScaleSets", "vmss-api")
}

fn interface() -> ResourceId {
    id("Microsoft.Network/networkInterfaces", "nic-card")
}

fn any() -> Locator {
    Locator::AnyInstance(set())
}

/// A machine with an echo.
fn echo(id: ResourceId, power: MachinePower) -> Machine {
    let ports = [(port(ECHO), Service::Echo), (port(HTTP), Service::Http)].into();
    Machine { ports, power, ..Machine::new(Endpoint::Resource(id)) }
}

fn instance(number: u32, power: MachinePower) -> Machine {
    echo(ResourceId::parse(&format!("{}/virtualMachines/{number}", set())).unwrap(), power)
}

/// An Azure with these machines only.
fn with(machines: Vec<Machine>, faults: Vec<Fault>) -> Emulation {
    Emulation { machines, ..emulation(None, faults) }
}

/// The lists that were read, without what stands before their names.
fn lists(stage: &Stage) -> Vec<RequestEntry> {
    let list = |entry: &RequestEntry| entry.path.split('?').next().unwrap().ends_with("/virtualMachines");
    stage.entries(EntryKind::Arm).into_iter().filter(list).collect()
}

/// Whom the gateway was asked for, in order.
fn asked_for(stage: &Stage) -> Vec<String> {
    let resource = |entry: RequestEntry| {
        let (_, id) = entry.form.into_iter().find(|(name, _)| name == "resourceId").unwrap();
        ResourceId::parse(&id).unwrap().name().to_owned()
    };
    stage.entries(EntryKind::Token).into_iter().map(resource).collect()
}

#[tokio::test]
async fn any_instance_is_the_first_that_runs_and_every_page_is_read() {
    let all = [(0, MachinePower::Deallocated), (1, MachinePower::Starting), (9, MachinePower::Running)];
    let all = all.into_iter().chain([(10, MachinePower::Running)]);
    let stage = Stage::new(with(all.map(|(number, power)| instance(number, power)).collect(), vec![])).await;
    let tunnel = stage.tunnel_with(&desired(any(), HTTP, Duration::from_secs(5))).await;
    assert_eq!(asked_for(&stage), ["9"]);
    let pages = lists(&stage);
    assert_eq!(pages.len(), 4, "{pages:#?}");
    assert!(pages[1..].iter().all(|page| page.path.contains("skiptoken")), "{pages:#?}");
    assert!(
        pages.iter().all(|page| page.path.contains("expand")),
        "asked for again on each page: {pages:#?}"
    );
    tunnel.stop().await;
    stage.innocent();
}

#[tokio::test]
async fn the_instances_of_a_flexible_set_are_machines_with_names() {
    let named = |name: &str, power| Machine {
        scale_set: Some(set()),
        ..echo(id("Microsoft.Compute/virtualMachines", name), power)
    };
    let machines = vec![
        named("api_1a", MachinePower::Stopped),
        named("api_2b", MachinePower::Running),
        // In the group, but not of the set.
        echo(id("Microsoft.Compute/virtualMachines", "api_0"), MachinePower::Running),
    ];
    let stage = Stage::new(with(machines, vec![])).await;
    let tunnel = stage.tunnel_with(&desired(any(), HTTP, Duration::from_secs(5))).await;
    assert_eq!(asked_for(&stage), ["api_2b"]);
    tunnel.stop().await;
    stage.innocent();
}

#[tokio::test]
async fn a_connection_goes_to_another_instance_when_the_first_has_gone() {
    let on = |number| instance(number, MachinePower::Running);
    let stage = Stage::new(with(vec![on(0), on(1)], vec![])).await;
    let tunnel = stage.tunnel_with(&desired(any(), ECHO, Duration::from_secs(30))).await;
    let mut first = tunnel.connect().await;
    first.write_all(b"one").await.unwrap();
    let mut answer = [0; 3];
    first.read_exact(&mut answer).await.unwrap();
    let off = instance(0, MachinePower::Deallocated);
    stage.emulator.update(with(vec![off, on(1)], vec![])).unwrap();
    // Held until the set is looked at again.
    let mut second = tunnel.connect().await;
    second.write_all(b"two").await.unwrap();
    second.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"two");
    let asked = asked_for(&stage);
    assert_eq!((asked.first().unwrap().as_str(), asked.last().unwrap().as_str()), ("0", "1"), "{asked:?}");
    first.write_all(b"end").await.unwrap();
    first.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"end", "what is open stays where it is");
    drop((first, second));
    tunnel.stop().await;
    stage.innocent();
}

#[tokio::test]
async fn where_no_instance_runs_that_is_said_and_waited_for() {
    let stage = Stage::new(with(vec![instance(0, MachinePower::Deallocated)], vec![])).await;
    let supervised =
        Supervised::start(desired(any(), HTTP, Duration::from_secs(5)), Arc::new(stage.surroundings())).await;
    let told = supervised.until("one", |tunnel| tunnel.reason.is_some()).await;
    let (blocked, why) = reason(&told);
    assert!(!blocked && why.code == "no-instance", "{told:?}");
    assert_eq!(why.what, "no instance of the scale set `vmss-api` is running: 1 deallocated");
    assert!(stage.entries(EntryKind::Token).is_empty());
    stage.emulator.update(with(vec![instance(0, MachinePower::Running)], vec![])).unwrap();
    supervised.until_state("one", State::Ready).await;
    supervised.stop().await;
    stage.innocent();
}

#[tokio::test]
async fn a_list_that_leads_elsewhere_is_not_followed() {
    // A listener that would hear of it.
    let stranger = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let elsewhere = format!("https://localhost:{}/subscriptions", stranger.local_addr().unwrap().port());
    let page = format!(r#"{{"properties":{{}},"value":[],"nextLink":"{elsewhere}"}}"#);
    let hostile = Fault {
        target: Some(Endpoint::Resource(set())),
        ..always(FaultPhase::Arm, FaultAction::Answer(page))
    };
    let stage = Stage::new(with(vec![instance(0, MachinePower::Running)], vec![hostile])).await;
    let told = stage.refusal(any()).await;
    let (blocked, why) = reason(&told);
    assert!(blocked && why.code == "arm-answer", "{told:?}");
    assert!(why.what.contains(&elsewhere) && why.what.contains("not Azure Resource Manager"), "{}", why.what);
    assert!(stage.entries(EntryKind::Token).is_empty());
    let nobody = tokio::time::timeout(Duration::from_millis(1), stranger.accept()).await;
    assert!(nobody.is_err(), "the stranger was called");
}

#[tokio::test]
async fn a_list_that_never_ends_is_given_up() {
    let stage = Stage::new(with(vec![instance(0, MachinePower::Running)], vec![])).await;
    let again = format!("https://{}{}/virtualMachines", stage.emulator.endpoint().resource_manager, set());
    let page = format!(r#"{{"properties":{{}},"value":[],"nextLink":"{again}?api-version=2024-07-01"}}"#);
    let endless = Fault {
        target: Some(Endpoint::Resource(set())),
        ..always(FaultPhase::Arm, FaultAction::Answer(page))
    };
    stage.emulator.inject(endless);
    let told = stage.refusal(any()).await;
    let (blocked, why) = reason(&told);
    assert!(blocked && why.what.contains("the list does not end"), "{told:?}");
}

#[tokio::test]
async fn the_machine_of_an_interface_is_the_one_it_is_attached_to() {
    let machine = Machine { interface: Some(interface()), ..echo(machine_id(), MachinePower::Running) };
    let stage = Stage::new(with(vec![machine], vec![])).await;
    let tunnel =
        stage.tunnel_with(&desired(Locator::Interface(interface()), HTTP, Duration::from_secs(5))).await;
    assert_eq!(asked_for(&stage), ["vm-one"]);
    tunnel.stop().await;
    stage.innocent();
}

#[tokio::test]
async fn an_interface_of_no_machine_is_told_of() {
    let loose = Emulation { loose_interfaces: vec![interface()], ..emulation(None, vec![]) };
    let stage = Stage::new(loose).await;
    let told = stage.refusal(Locator::Interface(interface())).await;
    let (blocked, why) = reason(&told);
    assert!(blocked && why.code == "not-attached", "{told:?}");
    assert_eq!(why.what, "the network interface `nic-card` is attached to no machine");
    let told = Stage::faulty(vec![]).await.refusal(Locator::Interface(interface())).await;
    let (blocked, why) = reason(&told);
    assert!(blocked && why.code == "not-found", "{told:?}");
    assert!(why.what.contains("the network interface `nic-card`"), "{}", why.what);
}

#[tokio::test]
async fn a_machine_that_does_not_run_is_told_of_and_reached_when_it_does() {
    let stage = Stage::new(with(vec![echo(machine_id(), MachinePower::Deallocated)], vec![])).await;
    let target = Endpoint::Resource(machine_id());
    let supervised =
        Supervised::start(desired(target, HTTP, Duration::from_secs(5)), Arc::new(stage.surroundings()))
            .await;
    let told = supervised.until("one", |tunnel| tunnel.reason.is_some()).await;
    let (blocked, why) = reason(&told);
    assert!(!blocked && why.code == "vm-stopped", "{told:?}");
    assert!(why.what.starts_with("the machine `vm-one` is deallocated; "), "{}", why.what);
    assert_eq!(why.hint.as_deref(), Some(&*format!("`az vm start --ids {}`", machine_id())));
    // However often it is tried: Azure is asked about the machine once.
    stage.seen(EntryKind::Token, 3).await;
    let reads = stage.entries(EntryKind::Arm);
    let reads = reads.iter().filter(|entry| entry.path.contains("/virtualMachines/")).count();
    assert_eq!(reads, 1);
    stage.emulator.update(with(vec![echo(machine_id(), MachinePower::Running)], vec![])).unwrap();
    supervised.until_state("one", State::Ready).await;
    supervised.stop().await;
    stage.innocent();
}

#[tokio::test]
async fn whose_reader_is_missing_is_found_out() {
    let nic = id("Microsoft.Network/networkInterfaces", "vm-one-nic");
    let denied = |target: &ResourceId| Fault {
        target: Some(Endpoint::Resource(target.clone())),
        ..always(FaultPhase::Arm, FaultAction::Status(403))
    };
    for (faults, words) in [
        (vec![denied(&machine_id())], "needs Reader on the machine `vm-one`, which it cannot read either"),
        (vec![denied(&nic)], "needs Reader on the network interface `vm-one-nic`, which"),
        (vec![], "what may be missing is Reader on their virtual network"),
    ] {
        let refused = always(FaultPhase::Token, FaultAction::Status(403));
        let stage = Stage::faulty([faults, vec![refused]].concat()).await;
        let told = stage.refusal(Endpoint::Resource(machine_id())).await;
        let (blocked, why) = reason(&told);
        assert!(blocked && why.code == "denied", "{told:?}");
        assert!(why.hint.as_ref().unwrap().contains(words), "{why:?}");
    }
}

#[tokio::test]
async fn a_machine_that_arm_does_not_know_either_is_told_of() {
    let stage = Stage::faulty(vec![]).await;
    let told = stage.refusal(Endpoint::Resource(id("Microsoft.Compute/virtualMachines", "vm-two"))).await;
    let (blocked, why) = reason(&told);
    assert!(blocked && why.code == "not-found", "{told:?}");
    assert!(
        why.hint.as_ref().unwrap().contains("knows no machine `vm-two` in the resource group"),
        "{why:?}"
    );
}

#[tokio::test]
async fn what_arm_does_not_tell_takes_nothing_from_what_the_gateway_said() {
    let target = Some(Endpoint::Resource(machine_id()));
    for action in [FaultAction::Status(500), FaultAction::Drop, FaultAction::Answer("[]".to_owned())] {
        let arm = Fault { target: target.clone(), ..always(FaultPhase::Arm, action) };
        let stage = Stage::faulty(vec![arm, fault(FaultPhase::Token, FaultAction::Status(404))]).await;
        let told = stage.refusal(Endpoint::Resource(machine_id())).await;
        let (blocked, why) = reason(&told);
        assert!(blocked && why.code == "not-found", "{told:?}");
        assert!(why.hint.as_ref().unwrap().starts_with("check the target's name"), "{why:?}");
    }
}
