//! `bastion tunnel`: one tunnel without a file.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use super::azure::Azure;
use super::declaration::Fixed;
use super::settings::Settings;
use super::{ExitStatus, Failure, load, stop};
use crate::model::{
    Bastion, BastionTraits, Behaviour, Cloud, Desired, Emulation, Endpoint, Identity, Limits, Listen,
    Locator, Machine, Name, NameError, Port, Reason, ResourceId, Service, State, Target, Tunnel,
    TunnelStatus,
};
use crate::supervisor::Remains;
use crate::supervisor::{Parts, Setting, Supervisor};
use crate::sys::clock;
use crate::sys::signal::{StopSignal, StopSignals};
use crate::ui::Printer;
use clap::{Args, ValueEnum};

/// Open one tunnel without a file, with the options of `az network bastion tunnel`
///
/// Prints "Tunnel is ready, connect on port N" once the bastion has granted a session for the target.
#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("target").required(true).args(["target_resource_id", "target_ip_address"]))]
pub(super) struct Arguments {
    /// The bastion's name
    #[arg(short, long)]
    name: String,
    /// The bastion's resource group
    #[arg(short = 'g', long, value_name = "GROUP")]
    resource_group: String,
    /// The bastion's subscription
    #[arg(long)]
    subscription: Option<String>,
    /// The target's resource ID
    #[arg(
        long,
        value_name = "ID",
        conflicts_with = "target_ip_address",
        required_unless_present = "target_ip_address"
    )]
    target_resource_id: Option<String>,
    /// The target's IPv4 address (IP-based connection)
    #[arg(long, value_name = "ADDRESS")]
    target_ip_address: Option<Ipv4Addr>,
    /// The port on the target
    #[arg(long, value_name = "PORT", value_parser = target_port)]
    resource_port: Port,
    /// The local port; 0 takes any free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// End after this many seconds
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// Which Azure
    #[arg(long, value_enum, default_value_t)]
    cloud: CloudName,
}

fn target_port(text: &str) -> Result<Port, &'static str> {
    text.parse().map_err(|_| "a port is a number from 1 to 65535")
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum CloudName {
    /// Azure
    #[default]
    Public,
    /// Azure Government
    UsGovernment,
    /// Azure operated by 21Vianet
    China,
    /// The emulator: in this process, or the one that BASTION_EMULATOR names
    Emulator,
}

pub(super) async fn run(
    arguments: Arguments,
    settings: &Settings,
    printer: Printer,
) -> Result<ExitStatus, Failure> {
    let cloud = match arguments.cloud {
        // Whoever names an emulator in the environment means it.
        CloudName::Public if settings.emulator.is_none() => Cloud::Public,
        CloudName::Public | CloudName::Emulator => Cloud::Emulator,
        CloudName::UsGovernment => Cloud::UsGovernment,
        CloudName::China => Cloud::China,
    };
    let desired = declare(&arguments, cloud)?;
    let mut signals = StopSignals::register().map_err(|error| {
        Failure::new(ExitStatus::Failed, format!("taking over the stop signals: {error}"))
    })?;
    let network = load::network(settings, printer)?;
    let azure = Azure::of(&desired, &network, settings, printer).await?;
    let parts = Parts {
        source: Arc::new(Fixed(desired)),
        dialer: Arc::new(azure.surroundings.clone()),
        watch: None,
        clock: clock::now,
    };
    let (supervisor, handle) = Supervisor::new(parts)
        .await
        .map_err(|error| Failure::new(ExitStatus::Failed, format!("starting: {error}")))?;
    let mut events = handle.events();
    let mut run = std::pin::pin!(supervisor.run());
    let limit = async {
        match arguments.timeout {
            Some(limit) => tokio::time::sleep(Duration::from_secs(limit)).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(limit);
    let asked = async {
        // What it is made of cannot be refused.
        let _applied = handle.up(Vec::new(), Vec::new(), Setting::default()).await;
        std::future::pending::<()>().await;
    };
    tokio::pin!(asked);
    let ended = loop {
        tokio::select! {
            left = &mut run => break Err(left),
            () = &mut asked => {}
            why = signals.next() => break Ok(Ok(why)),
            () = &mut limit => break Ok(Ok(StopSignal::Terminate)),
            Ok(event) = events.recv() => {
                if let Err(reason) = show(&event.tunnel, printer) { break Ok(Err(reason)) }
            }
        }
    };
    let status = match ended {
        Ok(Ok(why)) => stop::stop(&mut run, &handle, &mut signals, why, printer).await,
        Ok(Err(reason)) => {
            let left = stop::at_once(&mut run, &handle).await;
            if left != Remains::default() {
                stop::tell(left, printer);
            }
            let text = format!("{} [{}]", reason.what, reason.code);
            printer.error(&text, reason.hint.as_deref());
            status_of(&reason)
        }
        // It only ends when it is told to.
        Err(left) => {
            stop::tell(left, printer);
            ExitStatus::Failed
        }
    };
    azure.stop().await;
    Ok(status)
}

/// The declared set that the options amount to.
fn declare(arguments: &Arguments, cloud: Cloud) -> Result<Desired, Failure> {
    let wrong = |option: &str, error: &dyn std::fmt::Display| {
        Failure::new(ExitStatus::Usage, format!("`{option}`: {error}"))
    };
    let emulated = (cloud == Cloud::Emulator).then_some(Emulation::SUBSCRIPTION);
    let Some(subscription) = arguments.subscription.as_deref().or(emulated) else {
        let what = "`--subscription` is needed: which subscription is the bastion in?";
        return Err(
            Failure::new(ExitStatus::Usage, what).hint("`az account show --query id` says the current one")
        );
    };
    let bastion = ResourceId::compose(
        subscription,
        &arguments.resource_group,
        "Microsoft.Network/bastionHosts",
        &arguments.name,
    )
    .map_err(|_not_an_id| {
        let what = "they are made of letters, digits, `-`, `_`, `.`, `(` and `)`";
        wrong("--name, --resource-group, --subscription", &what)
    })?;
    let locator = match (&arguments.target_resource_id, arguments.target_ip_address) {
        (Some(id), _) => {
            Locator::of(ResourceId::parse(id).map_err(|error| wrong("--target-resource-id", &error))?)
        }
        (None, Some(address)) => Endpoint::Address(address).into(),
        (None, None) => {
            return Err(Failure::new(
                ExitStatus::Usage,
                "`--target-resource-id` or `--target-ip-address` is needed",
            ));
        }
    };
    let named = |text: &str| Name::new(text).map_err(|error: NameError| wrong("--name", &error));
    let (via, target, tunnel) = (named(&arguments.name)?, named("target")?, named("tunnel")?);
    Ok(Desired {
        workspace: tunnel.clone(),
        cloud,
        bastions: BTreeMap::from([(
            via.clone(),
            Bastion { id: bastion.clone(), identity: Identity::default(), limits: Limits::default() },
        )]),
        targets: BTreeMap::from([(target.clone(), Target { bastion: via, locator: locator.clone() })]),
        tunnels: BTreeMap::from([(
            tunnel,
            Tunnel {
                listen: Listen::Localhost(arguments.port),
                target,
                port: arguments.resource_port,
                profiles: BTreeSet::new(),
                env: BTreeMap::new(),
                behaviour: Behaviour::default(),
            },
        )]),
        emulation: emulation(bastion, &locator),
    })
}

/// An emulator of our own knows the bastion and the target that were named: a page on port 80, an echo on port 7.
fn emulation(bastion: ResourceId, target: &Locator) -> Emulation {
    let services = [(80, Service::Http), (7, Service::Echo)];
    let ports: BTreeMap<Port, Service> =
        services.into_iter().filter_map(|(port, service)| Some((Port::new(port)?, service))).collect();
    let machines = Machine::all_of(target).into_iter();
    Emulation {
        bastions: vec![(bastion, BastionTraits::default())],
        machines: machines.map(|machine| Machine { ports: ports.clone(), ..machine }).collect(),
        ..Emulation::default()
    }
}

/// Shows what happened; what only a person can mend is given back.
fn show(tunnel: &TunnelStatus, printer: Printer) -> Result<(), Reason> {
    match (tunnel.state, &tunnel.reason) {
        (State::Ready, _) => {
            if let Some(address) = tunnel.listen.first() {
                printer.say(&format!("Tunnel is ready, connect on port {}", address.port()));
                printer.say("Ctrl + C to close");
            }
            Ok(())
        }
        (State::Blocked, Some(reason)) => Err(reason.clone()),
        (State::Connecting | State::Degraded, Some(_)) => {
            printer.change(tunnel);
            Ok(())
        }
        _ => Ok(()),
    }
}

fn status_of(reason: &Reason) -> ExitStatus {
    match &*reason.code {
        "sign-in" | "denied" => ExitStatus::SignIn,
        "port-taken" => ExitStatus::InTheWay,
        _ => ExitStatus::Failed,
    }
}
