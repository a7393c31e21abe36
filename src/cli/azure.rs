//! Which Azure a command talks to: Azure itself with a real sign-in, or an emulator with its own throw-away token.
//! Neither ever sees the other's token: which of them it is, is decided here, once.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use secrecy::SecretString;

use super::network::{Way, for_programs};
use super::settings::Settings;
use super::{ExitStatus, Failure};
use crate::azure::{Addresses, Arm, Cloud, Environment, SignIns};
use crate::emulator::Emulator;
use crate::gateway::{AccessTokens, TokenError};
use crate::instance::digest;
use crate::model::{Cloud as CloudName, Desired, Emulation, EmulatorEndpoint, NetworkRules, PortRule, chain};
use crate::net::{Network, Trust};
use crate::supervisor::{OneSource, Surroundings};
use crate::sys::clock;
use crate::ui::Printer;

/// What is sent as `User-Agent` where no tunnel is concerned.
const USER_AGENT: &str = concat!("bastion/", env!("CARGO_PKG_VERSION"));
/// What the name of every emulator's realm begins with.
const EMULATOR: &str = "emulator";

/// The Azure of a command.
#[derive(Debug)]
pub(super) struct Azure {
    /// How the supervisor reaches it.
    pub(super) surroundings: Surroundings,
    /// Which one it is, for whoever comes after this process; none for an emulator that ends with it.
    pub(super) realm: Option<Realm>,
    /// The emulator, when it runs in this process.
    emulator: Option<Arc<EmulatorHere>>,
}

/// One Azure among others, as a journal names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Realm {
    /// Its name. Each emulator is one of its own: another knows nothing of its sessions.
    pub(super) word: String,
    /// Whether its gateways may have ports.
    pub(super) ports: PortRule,
}

/// An emulator in this process, until it is stopped.
#[derive(Debug)]
pub(super) struct EmulatorHere(Mutex<Option<Emulator>>);

impl EmulatorHere {
    /// Goes over to what is declared now, or says why it cannot.
    pub(super) fn update(&self, emulation: &Emulation) -> Result<(), String> {
        let emulator = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(emulator) = &*emulator else { return Ok(()) };
        emulator.update(emulation.clone()).map_err(|error| chain(&error))
    }
}

/// The credential that needs no sign-in: the emulator has one token, which no other service believes.
struct EmulatorToken(SecretString);

impl AccessTokens for EmulatorToken {
    fn token(
        &self,
        _fresh: bool,
    ) -> Pin<Box<dyn Future<Output = Result<SecretString, TokenError>> + Send + '_>> {
        Box::pin(std::future::ready(Ok(self.0.clone())))
    }
}

impl Azure {
    /// The Azure that a declaration lives in.
    pub(super) async fn of(
        desired: &Desired,
        rules: &NetworkRules,
        settings: &Settings,
        printer: Printer,
    ) -> Result<Self, Failure> {
        match Cloud::of(&desired.cloud).zip(addresses(&desired.cloud, settings)) {
            Some((cloud, addresses)) => {
                let realm = Realm { word: desired.cloud.name().to_owned(), ports: cloud.gateway_ports };
                let network = network(&desired.cloud, rules, settings)?;
                Self::real(realm, cloud, &addresses, network, environment(rules, settings))
            }
            None => Self::emulated(desired.emulation.clone(), rules, settings, printer).await,
        }
    }

    /// Azure itself. Nobody is asked for a token yet.
    fn real(
        realm: Realm,
        cloud: Cloud,
        addresses: &Addresses,
        network: Network,
        environment: Environment,
    ) -> Result<Self, Failure> {
        let http = network.http().map_err(|error| failed(&error))?;
        let sign_ins = SignIns::new(addresses, environment, http.clone(), clock::now);
        let arm = Arm::new(cloud, &http);
        let surroundings = Surroundings { arm, sign_in: Arc::new(sign_ins), network, journal: None };
        Ok(Self { surroundings, realm: Some(realm), emulator: None })
    }

    /// The emulator that the user named, or one of our own that serves this emulation.
    pub(super) async fn emulated(
        emulation: Emulation,
        rules: &NetworkRules,
        settings: &Settings,
        printer: Printer,
    ) -> Result<Self, Failure> {
        match &settings.emulator {
            Some(file) => {
                let endpoint = super::emulator::read_endpoint(file)?;
                let way = Way::new(&CloudName::Emulator, rules, settings)?;
                printer.say(&format!("Azure is emulated by the process that wrote {}", file.display()));
                let realm = Some(Realm::emulated(&endpoint));
                Ok(Self { surroundings: surroundings(&endpoint, way)?, realm, emulator: None })
            }
            None => {
                printer.say("Azure is emulated in this process: no account, no cost");
                let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
                let emulator = Emulator::start(emulation, anywhere)
                    .await
                    .map_err(|error| Failure::from_error(ExitStatus::Failed, &error))?;
                // It is on this machine, so no proxy is on the way, whatever the environment says.
                Ok(Self {
                    surroundings: surroundings(
                        &emulator.endpoint(),
                        Way { proxy: None, ca_files: Vec::new() },
                    )?,
                    realm: None,
                    emulator: Some(Arc::new(EmulatorHere(Mutex::new(Some(emulator))))),
                })
            }
        }
    }

    /// The emulator in this process, if there is one.
    pub(super) fn emulator(&self) -> Option<Arc<EmulatorHere>> {
        self.emulator.clone()
    }

    /// Stops the emulator, if it is ours. Call it when the last session is deleted.
    pub(super) async fn stop(self) {
        let take = |here: Arc<EmulatorHere>| here.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let emulator = self.emulator.and_then(take);
        if let Some(emulator) = emulator {
            emulator.stop().await;
        }
    }
}

impl Realm {
    fn emulated(endpoint: &EmulatorEndpoint) -> Self {
        let word = format!("{EMULATOR} {} {}", endpoint.address, digest(&endpoint.ca_pem));
        Self { word, ports: PortRule::Allowed }
    }

    /// The realm that a journal names, and the way there.
    pub(super) fn find(
        word: &str,
        settings: &Settings,
        printer: Printer,
    ) -> Result<(Self, Network), Failure> {
        if word.split(' ').next() == Some(EMULATOR) {
            let (_, rules) = super::load::cloud(EMULATOR, settings, printer)?;
            let named = settings.emulator.as_ref().map(|file| super::emulator::read_endpoint(file));
            let named = named.transpose()?.filter(|endpoint| Self::emulated(endpoint).word == word);
            let Some(endpoint) = named else {
                let what = "it is in an emulator that BASTION_EMULATOR does not name; when that has ended, so has the session";
                return Err(Failure::new(ExitStatus::Failed, what));
            };
            let way = Way::new(&CloudName::Emulator, &rules, settings)?;
            return Ok((Self::emulated(&endpoint), emulated_network(&endpoint, way)?));
        }
        let (cloud, rules) = super::load::cloud(word, settings, printer)?;
        let ports = Cloud::of(&cloud).map_or(PortRule::Forbidden, |cloud| cloud.gateway_ports);
        Ok((Self { word: word.to_owned(), ports }, network(&cloud, &rules, settings)?))
    }
}

fn emulated_network(endpoint: &EmulatorEndpoint, way: Way) -> Result<Network, Failure> {
    let trust = Trust::Only(endpoint.ca_pem.clone(), way.ca_files);
    Network::new(&trust, way.proxy, USER_AGENT).map_err(|error| failed(&error))
}

fn surroundings(endpoint: &EmulatorEndpoint, way: Way) -> Result<Surroundings, Failure> {
    let network = emulated_network(endpoint, way)?;
    let arm = Arm::new(Cloud::emulated(endpoint), &network.http().map_err(|error| failed(&error))?);
    let token: Arc<dyn AccessTokens> = Arc::new(EmulatorToken(endpoint.token.clone().into()));
    Ok(Surroundings { arm, sign_in: Arc::new(OneSource(token)), network, journal: None })
}

/// How connections to a cloud other than the emulator are made.
fn network(cloud: &CloudName, rules: &NetworkRules, settings: &Settings) -> Result<Network, Failure> {
    let way = Way::new(cloud, rules, settings)?;
    Network::new(&Trust::System(way.ca_files), way.proxy, USER_AGENT).map_err(|error| failed(&error))
}

fn failed(error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::from_error(ExitStatus::Failed, error)
}

/// The sign-ins of a cloud, for a command that wants nothing else of it; none in the emulator's.
pub(super) fn sign_ins(
    cloud: &CloudName,
    rules: &NetworkRules,
    settings: &Settings,
) -> Result<Option<SignIns>, Failure> {
    let Some(addresses) = addresses(cloud, settings) else { return Ok(None) };
    let http = network(cloud, rules, settings)?.http().map_err(|error| failed(&error))?;
    Ok(Some(SignIns::new(&addresses, environment(rules, settings), http, clock::now)))
}

/// What signing in finds around it.
fn environment(rules: &NetworkRules, settings: &Settings) -> Environment {
    Environment { for_programs: for_programs(rules, settings), ..settings.sign_in.clone() }
}

/// Where a cloud is; none for the emulator, whose addresses it says itself.
fn addresses(cloud: &CloudName, settings: &Settings) -> Option<Addresses> {
    let mut addresses = Addresses::of(cloud)?;
    if *cloud != CloudName::Public {
        return Some(addresses);
    }
    // The user's own environment may lead the sign-in elsewhere, as in every program that signs in to Azure. A
    // workspace cannot.
    if let Some(host) = &settings.sign_in.authority_host {
        host.trim_end_matches('/').clone_into(&mut addresses.authority);
    }
    Some(addresses)
}

/// Refuses a workspace that lives in Azure itself.
pub(super) fn only_emulated(desired: &Desired) -> Result<(), Failure> {
    match desired.cloud {
        CloudName::Emulator => Ok(()),
        CloudName::Public | CloudName::UsGovernment | CloudName::China | CloudName::Defined(_) => {
            let what = "this workspace lives in Azure itself: there is nothing to emulate";
            let way_out = "`cloud = \"emulator\"` in `[azure]` has it run against an emulator";
            Err(Failure::new(ExitStatus::Usage, what).hint(way_out))
        }
    }
}
