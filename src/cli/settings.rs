//! The environment, read once, here and nowhere else.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::OnceLock;

use etcetera::BaseStrategy as _;
use secrecy::SecretString;

use crate::azure::{Environment, Pipelines, current_subscription};
use crate::config::{Variables, nameable};
use crate::instance::{Places, Surroundings};
use crate::model::AzCurrent;
use crate::ui::LogWriter;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// What the flags and the environment say to every command. It cannot be printed: the proxy may have a password.
pub(super) struct Settings {
    /// `--file`.
    pub(super) file: Option<PathBuf>,
    /// `--env`, or `BASTION_ENV`.
    pub(super) environment: Option<String>,
    /// `--profile`, or `BASTION_PROFILE` (several with commas between them): what belongs to these runs besides the
    /// default set.
    pub(super) profiles: Vec<String>,
    /// Where the user's own configuration is, or would be.
    pub(super) user_config: Option<PathBuf>,
    /// Where the system and the environment would have the files of instances.
    surroundings: Surroundings,
    /// `BASTION_EMULATOR`: the file in which a running emulator wrote how to reach it.
    pub(super) emulator: Option<PathBuf>,
    /// The home directory, where the search for a workspace stops.
    pub(super) home: Option<PathBuf>,
    /// `HTTPS_PROXY`, or `ALL_PROXY`: which of them, and what it says.
    pub(super) proxy: Option<(&'static str, String)>,
    /// `NO_PROXY`.
    pub(super) no_proxy: String,
    /// `BASTION_CA_FILE`, `SSL_CERT_FILE`, `REQUESTS_CA_BUNDLE`: authorities to believe besides the system's.
    pub(super) ca_files: Vec<(&'static str, PathBuf)>,
    /// What signs in.
    pub(super) sign_in: Environment,
    /// What az says is its current subscription, once somebody has asked.
    az: OnceLock<AzCurrent>,
}

impl Settings {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
    pub(super) fn from_environment(
        file: Option<PathBuf>,
        environment: Option<String>,
        profiles: Vec<String>,
    ) -> Self {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let text = |names: &[&str]| {
            names.iter().find_map(|name| set(name)).and_then(|value| value.into_string().ok())
        };
        let places = etcetera::choose_base_strategy().ok();
        Self {
            file,
            environment: environment
                .or_else(|| set("BASTION_ENV").map(|name| name.to_string_lossy().into_owned())),
            profiles: if profiles.is_empty() { listed(text(&["BASTION_PROFILE"])) } else { profiles },
            user_config: places
                .as_ref()
                .map(|places| places.config_dir().join("bastion").join("config.toml")),
            surroundings: Surroundings {
                runtime: places.as_ref().and_then(etcetera::BaseStrategy::runtime_dir),
                // Windows has no place for what is remembered; this is the one for what stays on the machine.
                state: places.as_ref().map(|all| all.state_dir().unwrap_or_else(|| all.cache_dir())),
                temporary: std::env::temp_dir(),
            },
            emulator: set("BASTION_EMULATOR").map(PathBuf::from),
            home: std::env::home_dir().filter(|home| !home.as_os_str().is_empty()),
            proxy: ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]
                .into_iter()
                .find_map(|name| Some((name, text(&[name])?))),
            no_proxy: text(&["NO_PROXY", "no_proxy"]).unwrap_or_default(),
            ca_files: ["BASTION_CA_FILE", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"]
                .into_iter()
                .filter_map(|name| Some((name, PathBuf::from(set(name)?))))
                .collect(),
            sign_in: sign_in(),
            az: OnceLock::new(),
        }
    }

    /// Where the files of this user's instances are.
    pub(super) fn places(&self) -> Places {
        Places::new(&self.surroundings)
    }

    /// What az says is its current subscription. It is asked once: a command does not change its mind on the way.
    pub(super) fn az(&self) -> &AzCurrent {
        self.az.get_or_init(|| current_subscription(self.sign_in.az_profile.as_deref()))
    }

    /// The variables that files may name, as they are now: those that every workspace may, and those that the user's
    /// own configuration mentions.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
    pub(super) fn variables(&self, mentioned: &BTreeSet<String>, environment: Option<&str>) -> Variables {
        // Where the system names them otherwise, they can be named all the same.
        let home = self.home.as_ref().and_then(|home| home.to_str()).map(|home| ("HOME", home.to_owned()));
        let user = std::env::var("USERNAME").ok().map(|user| ("USER", user));
        let known = [home, user].into_iter().flatten().map(|(name, value)| (name.to_owned(), value));
        let set = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| nameable(name) || mentioned.contains(name));
        // What is meant goes over the variable, here too.
        let environment = environment.iter().map(|name| ("BASTION_ENV".to_owned(), (*name).to_owned()));
        known.chain(set).chain(environment).collect()
    }
}

/// What the usual variables say about signing in.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
fn sign_in() -> Environment {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let text = |name: &str| set(name).and_then(|value| value.into_string().ok());
    let secret = |name: &str| text(name).map(SecretString::from);
    let file = |name: &str| set(name).map(PathBuf::from);
    let pipelines = || {
        Some(Pipelines {
            service_connection: text("AZURESUBSCRIPTION_SERVICE_CONNECTION_ID")?,
            access_token: secret("SYSTEM_ACCESSTOKEN"),
            request_uri: set("SYSTEM_OIDCREQUESTURI").is_some(),
            tenant: text("AZURESUBSCRIPTION_TENANT_ID"),
            client_id: text("AZURESUBSCRIPTION_CLIENT_ID"),
        })
    };
    let profile = |name: &str, usual: &str| file(name).or_else(|| Some(std::env::home_dir()?.join(usual)));
    Environment {
        tenant: text("AZURE_TENANT_ID"),
        client_id: text("AZURE_CLIENT_ID"),
        client_secret: secret("AZURE_CLIENT_SECRET"),
        client_certificate: file("AZURE_CLIENT_CERTIFICATE_PATH"),
        federated_token_file: file("AZURE_FEDERATED_TOKEN_FILE"),
        authority_host: text("AZURE_AUTHORITY_HOST"),
        identity_endpoint: set("IDENTITY_ENDPOINT").or_else(|| set("MSI_ENDPOINT")).is_some(),
        github: text("ACTIONS_ID_TOKEN_REQUEST_URL").zip(secret("ACTIONS_ID_TOKEN_REQUEST_TOKEN")),
        pipelines: pipelines(),
        az_profile: profile("AZURE_CONFIG_DIR", ".azure"),
        azd_profile: profile("AZD_CONFIG_DIR", ".azd"),
        path: None,
        // Who asks knows the user's own configuration.
        for_programs: Vec::new(),
    }
}

/// The parts of a list with commas.
fn listed(text: Option<String>) -> Vec<String> {
    let text = text.unwrap_or_default();
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// Logs to standard error. Only our own words: what libraries log may hold secrets.
pub(super) fn log(verbose: u8, quiet: bool, colors: bool) {
    let level = match (quiet, verbose) {
        (true, _) => LevelFilter::ERROR,
        (false, 0) => LevelFilter::WARN,
        (false, 1) => LevelFilter::INFO,
        (false, _) => LevelFilter::DEBUG,
    };
    let lines =
        tracing_subscriber::fmt::layer().with_writer(|| LogWriter).with_target(false).with_ansi(colors);
    let ours = Targets::new().with_target("bastion", level);
    // A second start in one process keeps the first log.
    drop(tracing_subscriber::registry().with(lines).with(ours).try_init());
}
