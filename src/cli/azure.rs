//! Which Azure a command talks to: Azure itself with a real sign-in, or an emulator with its own throw-away token.
//! Neither ever sees the other's token: which of them it is, is decided here, once.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use secrecy::SecretString;

use super::settings::Settings;
use super::{ExitStatus, Failure};
use crate::azure::{Addresses, Arm, Cloud, SignIns};
use crate::emulator::Emulator;
use crate::gateway::{AccessTokens, TokenError};
use crate::model::{Desired, Emulation, EmulatorEndpoint, PortRule, chain};
use crate::net::{Network, Proxy, Trust};
use crate::supervisor::{OneSource, Surroundings};
use crate::sys::clock;
use crate::ui::Printer;

/// What is sent as `User-Agent` where no tunnel is concerned.
const USER_AGENT: &str = concat!("bastion/", env!("CARGO_PKG_VERSION"));

/// The Azure of a command.
#[derive(Debug)]
pub(super) struct Azure {
    /// How the supervisor reaches it.
    pub(super) surroundings: Surroundings,
    /// The emulator, when it runs in this process.
    emulator: Option<Arc<EmulatorHere>>,
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
        settings: &Settings,
        printer: Printer,
    ) -> Result<Self, Failure> {
        match addresses(desired.cloud, settings) {
            Some(addresses) => Self::real(&addresses, settings),
            None => Self::emulated(desired.emulation.clone(), settings, printer).await,
        }
    }

    /// Azure itself. Nobody is asked for a token yet.
    fn real(addresses: &Addresses, settings: &Settings) -> Result<Self, Failure> {
        let network = network(settings)?;
        let http = network.http().map_err(|error| failed(&error))?;
        let sign_ins = SignIns::new(addresses, settings.sign_in.clone(), http.clone(), clock::now);
        let resource_manager = addresses.resource_manager.clone();
        let arm = Arm::new(Cloud { resource_manager, gateway_ports: PortRule::Forbidden }, http);
        let surroundings = Surroundings { arm, sign_in: Arc::new(sign_ins), network };
        Ok(Self { surroundings, emulator: None })
    }

    /// The emulator that the user named, or one of our own that serves this emulation.
    pub(super) async fn emulated(
        emulation: Emulation,
        settings: &Settings,
        printer: Printer,
    ) -> Result<Self, Failure> {
        match &settings.emulator {
            Some(file) => {
                let endpoint = super::emulator::read_endpoint(file)?;
                let proxy = proxy(settings)?;
                printer.say(&format!("Azure is emulated by the process that wrote {}", file.display()));
                Ok(Self { surroundings: surroundings(&endpoint, proxy, &settings.ca_files)?, emulator: None })
            }
            None => {
                printer.say("Azure is emulated in this process: no account, no cost");
                let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
                let emulator = Emulator::start(emulation, anywhere)
                    .await
                    .map_err(|error| Failure::from_error(ExitStatus::Failed, &error))?;
                // It is on this machine, so no proxy is on the way, whatever the environment says.
                Ok(Self {
                    surroundings: surroundings(&emulator.endpoint(), None, &[])?,
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

fn surroundings(
    endpoint: &EmulatorEndpoint,
    proxy: Option<Proxy>,
    ca_files: &[PathBuf],
) -> Result<Surroundings, Failure> {
    let trust = Trust::Only(endpoint.ca_pem.clone(), ca_files.to_vec());
    let network = Network::new(&trust, proxy, USER_AGENT).map_err(|error| failed(&error))?;
    let cloud =
        Cloud { resource_manager: endpoint.resource_manager.clone(), gateway_ports: PortRule::Allowed };
    let arm = Arm::new(cloud, network.http().map_err(|error| failed(&error))?);
    let token: Arc<dyn AccessTokens> = Arc::new(EmulatorToken(endpoint.token.clone().into()));
    Ok(Surroundings { arm, sign_in: Arc::new(OneSource(token)), network })
}

/// How connections to Azure itself are made.
fn network(settings: &Settings) -> Result<Network, Failure> {
    let trust = Trust::System(settings.ca_files.clone());
    Network::new(&trust, proxy(settings)?, USER_AGENT).map_err(|error| failed(&error))
}

fn proxy(settings: &Settings) -> Result<Option<Proxy>, Failure> {
    let Some(url) = &settings.proxy else { return Ok(None) };
    let proxy = Proxy::new(url, &settings.no_proxy)
        .map_err(|error| Failure::from_error(ExitStatus::Usage, &error))?;
    Ok(Some(proxy))
}

fn failed(error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::from_error(ExitStatus::Failed, error)
}

/// The sign-ins of a cloud, for a command that wants nothing else of it; none in the emulator's.
pub(super) fn sign_ins(cloud: crate::model::Cloud, settings: &Settings) -> Result<Option<SignIns>, Failure> {
    let Some(addresses) = addresses(cloud, settings) else { return Ok(None) };
    let http = network(settings)?.http().map_err(|error| failed(&error))?;
    Ok(Some(SignIns::new(&addresses, settings.sign_in.clone(), http, clock::now)))
}

/// Where a cloud is; none for the emulator, whose addresses it says itself.
fn addresses(cloud: crate::model::Cloud, settings: &Settings) -> Option<Addresses> {
    let mut addresses = match cloud {
        crate::model::Cloud::Public => Addresses::public(),
        crate::model::Cloud::UsGovernment => return Some(Addresses::us_government()),
        crate::model::Cloud::China => return Some(Addresses::china()),
        crate::model::Cloud::Emulator => return None,
    };
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
        crate::model::Cloud::Emulator => Ok(()),
        crate::model::Cloud::Public | crate::model::Cloud::UsGovernment | crate::model::Cloud::China => {
            let what = "this workspace lives in Azure itself: there is nothing to emulate";
            let way_out = "`cloud = \"emulator\"` in `[azure]` has it run against an emulator";
            Err(Failure::new(ExitStatus::Usage, what).hint(way_out))
        }
    }
}
