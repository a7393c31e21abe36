//! Which Azure a command talks to: the emulator in this process, or one that is running already.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use secrecy::SecretString;

use super::network::Way;
use super::settings::Settings;
use super::{ExitStatus, Failure};
use crate::azure::{Arm, Cloud};
use crate::emulator::Emulator;
use crate::gateway::{AccessTokens, TokenError};
use crate::model::{Cloud as CloudName, Desired, Emulation, EmulatorEndpoint, NetworkRules, chain};
use crate::net::{Network, Trust};
use crate::supervisor::Surroundings;
use crate::ui::Printer;

/// What is sent as `User-Agent` where no tunnel is concerned.
const USER_AGENT: &str = concat!("bastion/", env!("CARGO_PKG_VERSION"));

/// The simulated Azure of a command.
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
                Ok(Self { surroundings: surroundings(&endpoint, way)?, emulator: None })
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

fn surroundings(endpoint: &EmulatorEndpoint, way: Way) -> Result<Surroundings, Failure> {
    let failed = |error: &(dyn std::error::Error + 'static)| Failure::from_error(ExitStatus::Failed, error);
    let trust = Trust::Only(endpoint.ca_pem.clone(), way.ca_files);
    let network = Network::new(&trust, way.proxy, USER_AGENT).map_err(|error| failed(&error))?;
    let arm = Arm::new(Cloud::emulated(endpoint), network.http().map_err(|error| failed(&error))?);
    let tokens = Arc::new(EmulatorToken(endpoint.token.clone().into()));
    Ok(Surroundings { arm, tokens, network })
}

/// Refuses a workspace that lives in Azure itself.
pub(super) fn only_emulated(desired: &Desired) -> Result<(), Failure> {
    match outside_reach(desired) {
        Some((what, way_out)) => Err(Failure::new(ExitStatus::Usage, what).hint(way_out)),
        None => Ok(()),
    }
}

/// Why a workspace cannot be brought up yet, and the way out.
pub(super) fn outside_reach(desired: &Desired) -> Option<(&'static str, &'static str)> {
    let way_out = "`cloud = \"emulator\"` in `[azure]` runs everything against the embedded emulator";
    match desired.cloud {
        CloudName::Emulator => None,
        CloudName::Public | CloudName::UsGovernment | CloudName::China | CloudName::Defined(_) => {
            Some((NO_SIGN_IN, way_out))
        }
    }
}

const NO_SIGN_IN: &str = "signing in to Azure is not supported yet";

/// Shown by commands that would need a real sign-in.
pub(super) fn no_sign_in_yet() -> Failure {
    Failure::new(ExitStatus::Usage, NO_SIGN_IN)
        .hint("`--cloud emulator` runs the same tunnel against the embedded emulator")
}
