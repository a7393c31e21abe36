//! Signing in: the real credentials against a fake az and the emulator's sign-in, below the command line and above it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bastion::azure::{Addresses, Arm, Cloud, Environment, SignIns};
use bastion::emulator::{Emulator, EntryKind};
use bastion::model::{
    Bastion, BastionTraits, Behaviour, Cloud as CloudName, CredentialKind, Desired, Emulation, Endpoint,
    Fault, FaultAction, FaultPhase, Identity, Limits, Listen, Machine, Name, Port, PortRule, ResourceId,
    Service, Target, Tunnel,
};
use bastion::net::{Network, Trust};
use bastion::supervisor::Surroundings;
use tempfile::TempDir;

mod applications;
mod az;
mod azd;
mod hanging;
mod jobs;
mod managed;
mod stand_in;
mod statements;
mod subscription;
mod trust;
mod way;
mod whoami;

const AUDIENCE: &str = "https://management.core.windows.net/";
const OTHER_SUBSCRIPTION: &str = "00000000-0000-4000-8000-0000000e0009";
const OTHER_TENANT: &str = "00000000-0000-4000-8000-0000000e000b";
const SIGNED_OUT: &str = "ERROR: Please run 'az login' to setup account.";

/// An az that says what is in its files, and a profile that can be touched.
pub(super) struct FakeAz {
    directory: TempDir,
}

impl FakeAz {
    /// Nobody is signed in.
    fn new() -> Self {
        let directory = TempDir::with_prefix("bastion-az-").unwrap();
        let az = Self { directory };
        for name in ["bin", "profile"] {
            std::fs::create_dir(az.path(name)).unwrap();
        }
        let home = az.directory.path().display();
        // Arguments that the real one would not be asked with are told apart from everything else that can happen.
        let script = format!(
            "#!/bin/sh\necho \"$*\" >> '{home}/calls'\nasked='account get-access-token -o json --scope {AUDIENCE}/.default'\n\
             tenant=own\ncase \"$*\" in\n  \"$asked\") ;;\n  \"$asked --tenant \"*) tenant=${{8}} ;;\n  \
             *) echo \"ERROR: unrecognized arguments: $*\" >&2; exit 2 ;;\nesac\n\
             if [ -f \"{home}/answer.$tenant\" ]; then /bin/cat \"{home}/answer.$tenant\"; exit 0; fi\n\
             /bin/cat '{home}/error' >&2\nexit 1\n"
        );
        let program = az.path("bin/az");
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        az.fails(SIGNED_OUT);
        az
    }

    /// Has it do something else in place of answering.
    fn does(&self, script: &str) {
        std::fs::write(self.path("bin/az"), format!("#!/bin/sh\n{script}\n")).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What it says when nobody is signed in to a tenant.
    fn fails(&self, with: &str) {
        std::fs::write(self.path("error"), with).unwrap();
    }

    /// Signs in to a tenant (`own`: the one that is meant where none is named), without a word to the profile.
    fn gives(&self, tenant: &str, token: &str) {
        let expires = seconds() + 3600;
        let answer = format!(r#"{{"accessToken":"{token}","expires_on":{expires},"tokenType":"Bearer"}}"#);
        std::fs::write(self.path(&format!("answer.{tenant}")), answer).unwrap();
    }

    /// Changes the profile, as a sign-in does.
    fn touch(&self) {
        std::fs::write(self.path("profile/azureProfile.json"), format!("{{\"n\":{}}}", self.calls().len()))
            .unwrap();
    }

    /// What it was asked so far, one a call.
    fn calls(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.path("calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// A search path on which there is nothing else: no az or azd of the machine's.
    fn search(&self) -> OsString {
        self.path("bin").into_os_string()
    }

    fn environment(&self) -> Environment {
        let (path, az_profile) = (Some(self.search()), Some(self.path("profile")));
        Environment { path, az_profile, ..Environment::default() }
    }
}

/// The wall clock, in seconds since the epoch.
fn seconds() -> u64 {
    bastion::sys::clock::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// An emulator with a bastion in each of two subscriptions, and a machine behind each.
async fn emulator(faults: Vec<Fault>) -> Emulator {
    let ports = BTreeMap::from([(port(7), Service::Echo)]);
    let machine = |subscription: &str| Machine {
        ports: ports.clone(),
        ..Machine::new(Endpoint::Resource(vm(subscription)))
    };
    let emulation = Emulation {
        bastions: [Emulation::SUBSCRIPTION, OTHER_SUBSCRIPTION]
            .map(|subscription| (hub(subscription), BastionTraits::default()))
            .into(),
        machines: [Emulation::SUBSCRIPTION, OTHER_SUBSCRIPTION].map(machine).into(),
        faults,
        ..Emulation::default()
    };
    Emulator::start(emulation, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap()
}

fn port(number: u16) -> Port {
    Port::new(number).unwrap()
}

fn hub(subscription: &str) -> ResourceId {
    ResourceId::compose(subscription, "rg", "Microsoft.Network/bastionHosts", "hub").unwrap()
}

fn vm(subscription: &str) -> ResourceId {
    ResourceId::compose(subscription, "rg", "Microsoft.Compute/virtualMachines", "vm").unwrap()
}

/// Resource Manager's refusal, so many times; 0: for ever.
fn unauthorized(times: u32) -> Fault {
    Fault { phase: FaultPhase::Arm, action: FaultAction::Status(401), after: 0, times, target: None }
}

/// The emulator as a cloud that is signed in to for real.
fn surroundings(emulator: &Emulator, environment: Environment) -> Surroundings {
    let resource_manager = emulator.endpoint().resource_manager;
    let cloud = Cloud { resource_manager, gateway_ports: PortRule::Allowed };
    let network = network(emulator);
    let arm = Arm::new(cloud, &network.http().unwrap());
    let sign_ins = sign_ins(emulator, environment, bastion::sys::clock::now);
    Surroundings { arm, sign_in: Arc::new(sign_ins), network, journal: None }
}

/// Whoever signs in to the emulator, by this clock.
fn sign_ins(emulator: &Emulator, environment: Environment, clock: fn() -> SystemTime) -> SignIns {
    let endpoint = emulator.endpoint();
    let addresses = Addresses {
        resource_manager: endpoint.resource_manager,
        authority: format!("https://login.localhost:{}", endpoint.address.port()),
        audience: AUDIENCE.to_owned(),
    };
    SignIns::new(&addresses, environment, network(emulator).http().unwrap(), clock)
}

/// A network on which nobody is believed but the emulator.
fn network(emulator: &Emulator) -> Network {
    let trust = Trust::Only(emulator.endpoint().ca_pem, Vec::new());
    Network::new(&trust, None, "bastion-test").unwrap()
}

/// A tunnel through the bastion of each of these subscriptions under each of these identities, named `a`, `b`, ….
fn desired(users: &[(&str, Identity)]) -> Desired {
    let name = |text: &str| Name::new(text).unwrap();
    let mut desired = Desired {
        workspace: name("test"),
        cloud: CloudName::Public,
        bastions: BTreeMap::new(),
        targets: BTreeMap::new(),
        tunnels: BTreeMap::new(),
        emulation: Emulation::default(),
    };
    for ((subscription, identity), letter) in users.iter().zip(["a", "b", "c"]) {
        let (id, identity) = (hub(subscription), identity.clone());
        desired.bastions.insert(name(letter), Bastion { id, identity, limits: Limits::default() });
        let locator = Endpoint::Resource(vm(subscription)).into();
        desired.targets.insert(name(letter), Target { bastion: name(letter), locator });
        let tunnel = Tunnel {
            listen: Listen::Localhost(0),
            auto: false,
            target: name(letter),
            port: port(7),
            profiles: BTreeSet::new(),
            env: BTreeMap::new(),
            behaviour: Behaviour { connect_timeout: Duration::from_secs(10), ..Behaviour::default() },
        };
        desired.tunnels.insert(name(letter), tunnel);
    }
    desired
}

fn identity(credential: CredentialKind, tenant: Option<&str>) -> Identity {
    Identity { tenant: tenant.map(str::to_owned), credential, client_id: None }
}

fn through_az(tenant: Option<&str>) -> Identity {
    identity(CredentialKind::AzureCli, tenant)
}

/// How often somebody signed in at the emulator.
fn logins(emulator: &Emulator) -> usize {
    emulator.log().entries().iter().filter(|entry| entry.kind == EntryKind::Login).count()
}
