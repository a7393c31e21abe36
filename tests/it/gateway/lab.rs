//! A cloud of the user's own: what a workspace only names, and the user's own configuration defines.

use std::sync::Arc;

use bastion::azure::{Addresses, Arm, Cloud};
use bastion::config::Variables;
use bastion::emulator::{Emulator, EntryKind};
use bastion::gateway::Gateway;
use bastion::model::{AzCurrent, Cloud as CloudName, CloudDefinition, Desired, Limits, PortRule, State};
use bastion::net::{Network, Trust};
use bastion::supervisor::Surroundings;
use bastion::workspace::{Where, Workspace};
use tempfile::TempDir;

use super::stage::{ECHO, Stage, Tokens, bastion_id, close, emulation, machine_id, options, recv, send};
use crate::supervised::Supervised;

/// A workspace in the cloud `lab`, and a user's own configuration in which that is this emulator.
fn written(emulator: &Emulator, root: &TempDir) -> (Desired, CloudDefinition) {
    let endpoint = emulator.endpoint();
    let own = root.path().join("own/config.toml");
    std::fs::create_dir(own.parent().unwrap()).unwrap();
    std::fs::write(own.with_file_name("lab.pem"), &endpoint.ca_pem).unwrap();
    let definition = format!(
        "[clouds.lab]\nresource_manager = \"https://{0}\"\nauthority = \"https://{1}\"\nca_file = \"lab.pem\"\n",
        endpoint.resource_manager,
        endpoint.resource_manager.replace("management", "login"),
    );
    std::fs::write(&own, definition).unwrap();
    let file = root.path().join("bastion.toml");
    let text = format!(
        "[azure]\ncloud = \"lab\"\n[bastions.hub]\nid = \"{}\"\n[targets]\nvm = {{ id = \"{}\" }}\n\
         [tunnels]\none = \"0 -> vm:{ECHO}\"\n",
        bastion_id(),
        machine_id(),
    );
    std::fs::write(&file, text).unwrap();
    let place = Where { file: Some(file), user_config: Some(own.clone()), ..Where::default() };
    let loaded =
        Workspace::find(&place).unwrap().read().unwrap().load(&Variables::default(), &AzCurrent::SignedOut);
    assert_eq!(loaded.diagnostics, []);
    let desired = loaded.desired.unwrap();
    let CloudName::Defined(definition) = desired.cloud.clone() else { panic!("{:?}", desired.cloud) };
    assert_eq!(
        definition.ca_file.as_deref(),
        Some(&*own.with_file_name("lab.pem")),
        "found beside what names it"
    );
    (desired, *definition)
}

#[tokio::test]
async fn a_cloud_of_the_users_own_is_reached_as_azure_is() {
    let root = TempDir::new().unwrap();
    let emulator = Emulator::start(emulation(None, vec![]), "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let (desired, definition) = written(&emulator, &root);
    let addresses = Addresses::of(&desired.cloud).unwrap();
    assert_eq!(addresses.resource_manager, emulator.endpoint().resource_manager);
    let cloud = Cloud::of(&desired.cloud).unwrap();
    assert_eq!(cloud.gateway_ports, PortRule::Allowed);

    // Its authority is believed because the cloud names it, beside the system's.
    let trust = Trust::System(definition.ca_file.into_iter().collect());
    let network = Network::new(&trust, None, "bastion-test").unwrap();
    let arm = Arm::new(cloud, &network.http().unwrap());
    let token = emulator.endpoint().token;
    let host = arm.bastion(&bastion_id(), &token.clone().into()).await.unwrap();
    let gateway = Gateway::new(host.gateway, network.clone(), Limits::default()).unwrap();
    let tokens = Arc::new(Tokens::of(&[&token]));
    let mut stream = gateway.open(&super::stage::destination(ECHO), &*tokens, &options()).await.unwrap();
    send(&mut stream, b"lab").await;
    assert!(matches!(recv(&mut stream).await, bastion::carrier::Received::Data(b) if b == "lab"));
    close(&mut stream).await;
    drop(stream);

    // And whole, as `up` does it once there is a sign-in.
    let stage = Stage { emulator, network, arm, tokens };
    let surroundings: Surroundings = stage.surroundings();
    let supervised = Supervised::start(desired, Arc::new(surroundings)).await;
    supervised.until_state("one", State::Ready).await;
    supervised.stop().await;
    stage.innocent();
    assert!(!stage.entries(EntryKind::Token).is_empty());
}

#[tokio::test]
async fn a_clouds_authority_is_believed_in_that_cloud_only() {
    let root = TempDir::new().unwrap();
    let emulator = Emulator::start(emulation(None, vec![]), "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let (desired, _) = written(&emulator, &root);
    let network = Network::new(&Trust::System(vec![]), None, "bastion-test").unwrap();
    let arm = Arm::new(Cloud::of(&desired.cloud).unwrap(), &network.http().unwrap());
    let error = arm.bastion(&bastion_id(), &emulator.endpoint().token.into()).await.unwrap_err();
    assert_eq!(error.code(), "untrusted-certificate");
    assert!(error.hint().unwrap().contains("`ca_file` in `[network]`"), "{error:?}");
    assert!(emulator.log().entries().is_empty(), "a request arrived");
}
