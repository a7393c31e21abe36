//! `bastion emulator`: the stand-in for Azure as a process of its own.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::azure::only_emulated;
use super::faults::Faults;
use super::settings::Settings;
use super::{ExitStatus, Failure, load};
use crate::emulator::{Admin, Emulator};
use crate::model::EmulatorEndpoint;
use crate::sys::files;
use crate::sys::signal::{StopSignal, StopSignals};
use crate::ui::Printer;

/// Run a local stand-in for Azure: sign-in, Resource Manager, Bastion gateway
///
/// Serves the bastions and targets of bastion.toml and what its `[emulator]` table says. Another `bastion` uses it
/// when BASTION_EMULATOR names the file that this one writes.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// Where to listen; port 0 takes any free one
    #[arg(long, value_name = "ADDRESS", default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))]
    listen: SocketAddr,
    /// The file to write how to reach it; it holds the emulator's own token and is removed at the end
    #[arg(long, value_name = "FILE")]
    endpoint: Option<PathBuf>,
    /// Write every request to this file, one JSON object a line
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Something that goes wrong, with the keys of `[[emulator.faults]]`, as `phase=token do=503 times=3`;
    /// may be repeated
    #[arg(long, value_name = "FAULT")]
    fault: Vec<String>,
    /// Let whoever has the emulator's token add faults and see sessions while it runs, at `admin.localhost` and its
    /// own port
    #[arg(long)]
    admin: bool,
}

pub(super) async fn run(
    arguments: Arguments,
    settings: &Settings,
    printer: Printer,
) -> Result<ExitStatus, Failure> {
    if !crate::model::is_loopback(&arguments.listen) {
        return Err(Failure::new(
            ExitStatus::Usage,
            format!("{} is not a loopback address", arguments.listen),
        )
        .hint(
            "the emulator connects whoever reaches it to local servers, so it listens for this machine only",
        ));
    }
    let desired = load::load(settings, printer)?;
    only_emulated(&desired)?;
    let mut emulation = desired.emulation;
    let faults = Faults::new(settings)?;
    for text in &arguments.fault {
        emulation.faults.push(faults.typed(text)?);
    }
    if let Some(log) = arguments.log {
        emulation.log = Some(log);
    }
    let mut signals = StopSignals::register().map_err(|error| {
        Failure::new(ExitStatus::Failed, format!("taking over the stop signals: {error}"))
    })?;
    let emulator = Emulator::start(emulation, arguments.listen)
        .await
        .map_err(|error| Failure::from_error(ExitStatus::Failed, &error))?;
    if arguments.admin {
        emulator.open_admin(Admin::new(move |fields| faults.fault(fields)));
    }
    let file = arguments.endpoint.unwrap_or_else(|| {
        std::env::temp_dir().join(format!("bastion-emulator-{}.json", emulator.endpoint().address.port()))
    });
    write_endpoint(&file, &emulator.endpoint())?;
    printer.say(&format!("The emulator is ready on {}", emulator.endpoint().address));
    if arguments.admin {
        let port = emulator.endpoint().address.port();
        printer.say(&format!("It takes faults at https://admin.localhost:{port}/"));
    }
    printer.say("From another terminal, tunnels use it with:");
    printer.data(&format!("export BASTION_EMULATOR={}", file.display()));
    let why = signals.next().await;
    drop(std::fs::remove_file(&file));
    // What still deletes its sessions gets the chance to, unless it has none.
    emulator.wait_for_sessions(|counts| counts.live == 0, Duration::from_secs(10)).await;
    let counts = emulator.sessions();
    emulator.stop().await;
    printer.say(&format!(
        "Sessions: {} opened, {} deleted, {} left",
        counts.opened, counts.deleted, counts.live
    ));
    Ok(match why {
        StopSignal::Interrupt => ExitStatus::Interrupted,
        StopSignal::Terminate => ExitStatus::Done,
    })
}

/// Writes how to reach an emulator, for its user's eyes only.
fn write_endpoint(path: &Path, endpoint: &EmulatorEndpoint) -> Result<(), Failure> {
    let text = serde_json::json!({
        "version": 1,
        "address": endpoint.address.to_string(),
        "resource_manager": endpoint.resource_manager,
        "ca_pem": endpoint.ca_pem,
        "token": endpoint.token,
    });
    let failed = |error: std::io::Error| {
        let what = format!("writing {}: {error}", path.display());
        Failure::new(ExitStatus::Failed, what)
            .hint("`--endpoint FILE` names another one; an old one may be removed")
    };
    // Left by an emulator that was killed.
    if path.symlink_metadata().is_ok_and(|old| old.is_file()) && files::is_ours(path) {
        std::fs::remove_file(path).map_err(failed)?;
    }
    let mut file = files::create_private(path).map_err(failed)?;
    file.write_all(text.to_string().as_bytes()).map_err(failed)
}

/// Reads how to reach a running emulator.
pub(super) fn read_endpoint(path: &Path) -> Result<EmulatorEndpoint, Failure> {
    let failed = |why: &str| {
        Failure::new(ExitStatus::Usage, format!("reading {} (BASTION_EMULATOR): {why}", path.display()))
            .hint("start `bastion emulator`: it says what to set; without BASTION_EMULATOR, Azure is emulated in this process")
    };
    if path.exists() && !files::is_ours(path) {
        return Err(failed("it belongs to another user, who would see what your programs send"));
    }
    let text = files::read_text(path, 64 * 1024).map_err(|error| {
        let gone = error.kind() == std::io::ErrorKind::NotFound;
        failed(&if gone {
            "there is no such file; has the emulator ended?".to_owned()
        } else {
            error.to_string()
        })
    })?;
    let foreign = "it is not a file that `bastion emulator` writes";
    let value: serde_json::Value = serde_json::from_str(&text).map_err(|_not_json| failed(foreign))?;
    let field = |name: &str| {
        let text = value.get(name).and_then(serde_json::Value::as_str).map(str::to_owned);
        text.ok_or_else(|| failed(&format!("{foreign}: it has no `{name}`")))
    };
    let address = field("address")?.parse().map_err(|error| failed(&format!("{error}")))?;
    Ok(EmulatorEndpoint {
        address,
        resource_manager: field("resource_manager")?,
        ca_pem: field("ca_pem")?,
        token: field("token")?,
    })
}
