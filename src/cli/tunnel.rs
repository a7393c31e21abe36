//! `bastion tunnel`: one tunnel without a file.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use super::azure::Azure;
use super::declaration::Fixed;
use super::journal::{self, Journaled};
use super::settings::Settings;
use super::up::whose;
use super::{ExitStatus, Failure, load, stop};
use crate::instance::Whose;
use crate::model::{
    AzCurrent, Bastion, BastionTraits, Behaviour, Cloud, Desired, Emulation, Endpoint, Identity, Limits,
    Listen, Locator, Machine, Name, NameError, NotCurrent, Port, Reason, ResourceId, Service, State, Target,
    Tunnel, TunnelStatus, printable,
};
use crate::supervisor::Remains;
use crate::supervisor::{Parts, Setting, Supervisor};
use crate::sys::clock;
use crate::sys::signal::{StopSignal, StopSignals};
use crate::ui::Printer;
use clap::Args;

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
    /// The bastion's subscription, by its ID; az's current one when none is given
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
    /// Which Azure: public, us-government, china, emulator (in this process, or the one that BASTION_EMULATOR names), or
    /// one of `[clouds.NAME]` in your own configuration
    #[arg(long, value_name = "NAME", default_value = "public")]
    cloud: String,
}

fn target_port(text: &str) -> Result<Port, &'static str> {
    text.parse().map_err(|_| "a port is a number from 1 to 65535")
}

pub(super) async fn run(
    arguments: Arguments,
    settings: &Settings,
    printer: Printer,
) -> Result<ExitStatus, Failure> {
    let (cloud, network) = match load::cloud(&arguments.cloud, settings, printer)? {
        // Whoever names an emulator in the environment means it.
        (Cloud::Public, network) if settings.emulator.is_some() => (Cloud::Emulator, network),
        meant => meant,
    };
    let home = home(&arguments, &cloud, settings, printer)?;
    let desired = declare(&arguments, cloud, &home)?;
    let mut signals = StopSignals::register().map_err(|error| {
        Failure::new(ExitStatus::Failed, format!("taking over the stop signals: {error}"))
    })?;
    let azure = Azure::of(&desired, &network, settings, printer).await?;
    let journal = Journaled::open(&azure, Whose::Tunnel, settings, printer);
    let parts = Parts {
        source: Arc::new(Fixed { desired, places: settings.places() }),
        dialer: Arc::new(journal::with(&azure, journal.as_ref())),
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
    let journal = journal.as_deref();
    let mut recovery = std::pin::pin!(journal::recover(journal, printer));
    let mut recovered = false;
    let ended = loop {
        tokio::select! {
            () = &mut recovery, if !recovered => recovered = true,
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
    journal::close(journal).await;
    Ok(status)
}

/// Where the bastion is, and who asks.
struct Home {
    subscription: String,
    identity: Identity,
}

/// The subscription that is named, or az's current one, as `az network bastion tunnel` has it.
fn home(
    arguments: &Arguments,
    cloud: &Cloud,
    settings: &Settings,
    printer: Printer,
) -> Result<Home, Failure> {
    let named = arguments.subscription.clone();
    let emulated = (*cloud == Cloud::Emulator).then(|| Emulation::SUBSCRIPTION.to_owned());
    if let Some(subscription) = named.or(emulated) {
        return Ok(Home { subscription, identity: Identity::default() });
    }
    let current = settings.az().within(cloud).map_err(|NotCurrent { why, way_out }| {
        let status = match settings.az() {
            AzCurrent::SignedOut => ExitStatus::SignIn,
            AzCurrent::NoneChosen
            | AzCurrent::NoSubscription
            | AzCurrent::Unreadable(_)
            | AzCurrent::Is(_) => ExitStatus::Usage,
        };
        Failure::new(status, format!("`--subscription` is needed: {why} [no-subscription]"))
            .hint(&format!("{way_out}, or name the one that the bastion is in: `--subscription ID`"))
    })?;
    printer.say(&whose(current));
    // az may be signed in to several tenants, and only the tokens of one open its current subscription.
    let tenant = current.tenant().map(str::to_owned);
    let identity = Identity { tenant, ..Identity::default() };
    Ok(Home { subscription: current.id().to_owned(), identity })
}

/// The declared set that the options amount to.
fn declare(arguments: &Arguments, cloud: Cloud, home: &Home) -> Result<Desired, Failure> {
    let wrong = |option: &str, error: &dyn std::fmt::Display| {
        Failure::new(ExitStatus::Usage, format!("`{option}`: {error}"))
    };
    let kind = "Microsoft.Network/bastionHosts";
    let (group, subscription) = (&arguments.resource_group, &home.subscription);
    let parts = [("--subscription", subscription), ("--resource-group", group), ("--name", &arguments.name)];
    let bastion = ResourceId::compose(subscription, group, kind, &arguments.name);
    let bastion = bastion.map_err(|_not_an_id| {
        let fits = |part: &str| ResourceId::compose("s", "g", kind, part).is_ok_and(|id| id.name() == part);
        let (option, text) =
            parts.into_iter().find(|(_, text)| !fits(text)).unwrap_or(("--name", &arguments.name));
        let named = printable(text, 100);
        let what = format!("`{named}` is not made of letters, digits, `-`, `_`, `.`, `(` and `)`");
        match option {
            "--subscription" => wrong(option, &what).hint(&format!(
                "only its ID will do: `az account show --name \"{}\" --query id -o tsv` says it",
                named.replace(['"', '$', '`', '\\'], "")
            )),
            _ => wrong(option, &what),
        }
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
            Bastion { id: bastion.clone(), identity: home.identity.clone(), limits: Limits::default() },
        )]),
        targets: BTreeMap::from([(target.clone(), Target { bastion: via, locator: locator.clone() })]),
        tunnels: BTreeMap::from([(
            tunnel,
            Tunnel {
                listen: Listen::Localhost(arguments.port),
                auto: false,
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
