//! `bastion port`: where a tunnel listens, for scripts.

use clap::Args;
use serde_json::json;

use super::pick;
use super::running::Meant;
use super::settings::Settings;
use super::{ExitStatus, Failure, Format};
use crate::model::{Name, TunnelStatus, printable};
use crate::sys::clock;
use crate::ui::{self, Printer};

/// Print where a tunnel listens, as 127.0.0.1:5432
///
/// The first of its addresses; `--format json` prints all. It says nothing of whether the tunnel is ready: `bastion
/// wait` does.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// The tunnel's name
    #[arg(value_name = "TUNNEL")]
    tunnel: String,
}

pub(super) async fn run(
    arguments: Arguments,
    settings: &Settings,
    format: Format,
    printer: Printer,
) -> Result<ExitStatus, Failure> {
    let wanted = Name::new(&arguments.tunnel).map_err(|error| {
        let what = format!("`{}` cannot be the name of a tunnel: {error}", printable(&arguments.tunnel, 100));
        Failure::new(ExitStatus::Usage, what)
    })?;
    let patterns = pick::patterns(&[arguments.tunnel])?;
    let meant = Meant::find(settings)?;
    let Some(client) = meant.client().await? else {
        meant.exists()?;
        pick::pick(patterns, &[], || meant.declared(settings))?;
        return Err(meant.not_running());
    };
    let status = client.status().await.map_err(|error| Failure::from_client(&error))?;
    let tunnels = status.into_model(clock::now()).tunnels;
    let names: Vec<Name> = tunnels.iter().map(|tunnel| tunnel.name.clone()).collect();
    let picked = pick::pick(patterns, &names, || meant.declared(settings))?;
    let Some(tunnel) = tunnels.into_iter().find(|tunnel| tunnel.name == wanted) else {
        return Err(picked.idle.first().map_or_else(|| meant.not_running(), pick::idle));
    };
    let listen: Vec<String> = tunnel.listen.iter().map(ToString::to_string).collect();
    let Some(first) = listen.first() else { return Err(silent(&tunnel)) };
    match format {
        Format::Json => printer.data(&json!({ "tunnel": wanted.as_str(), "listen": listen }).to_string()),
        Format::Text => printer.data(first),
    };
    Ok(ExitStatus::Done)
}

/// That a tunnel does not listen, and why.
fn silent(tunnel: &TunnelStatus) -> Failure {
    let what = format!("tunnel `{}` does not listen: {}", tunnel.name, ui::plain_line(tunnel));
    let failure = Failure::new(ExitStatus::Failed, what);
    match tunnel.reason.as_ref().and_then(|reason| reason.hint.as_deref()) {
        Some(hint) => failure.hint(&printable(hint, 400)),
        None => failure.hint("`bastion wait` waits until it is ready"),
    }
}
