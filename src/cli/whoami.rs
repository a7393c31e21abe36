//! `bastion whoami`: who signs in, which credential that is, and why those before it did not.

use std::collections::BTreeMap;
use std::time::SystemTime;

use clap::Args;
use serde_json::{Value, json};

use super::azure::sign_ins;
use super::load::Checked;
use super::settings::Settings;
use super::{ExitStatus, Failure, Format, load};
use crate::azure::{Account, Granted, PassedOver, SignInError, credential_word};
use crate::model::{Blocked, Cloud, Disposition, Identity, Name, NetworkRules};
use crate::sys::signal::{StopSignal, StopSignals};
use crate::ui::{Printer, pairs, terminal_width};
use crate::workspace::{FindError, Workspace};

/// Say who signs in to Azure: which credential, whose account, until when
///
/// For each identity of the workspace, and without a workspace for `auto`. A token is asked for and thrown away; nothing
/// of it is shown but whose it is. Exits with 3 when nobody is signed in, and says what to type.
#[derive(Args, Debug)]
pub(super) struct Arguments {}

/// Who asks, and for which bastions.
struct Asker {
    identity: Identity,
    bastions: Vec<Name>,
}

pub(super) async fn run(
    settings: &Settings,
    format: Format,
    printer: Printer,
) -> Result<ExitStatus, Failure> {
    let (cloud, rules, askers) = askers(settings, printer)?;
    let Some(sign_ins) = sign_ins(&cloud, &rules, settings)? else {
        match format {
            Format::Text => printer.say("The cloud is the emulator: nobody signs in"),
            Format::Json => {
                printer.data(&json!({ "version": 1, "cloud": "emulator", "identities": [] }).to_string());
            }
        }
        return Ok(ExitStatus::Done);
    };
    let mut signals = StopSignals::register().map_err(|error| {
        Failure::new(ExitStatus::Failed, format!("taking over the stop signals: {error}"))
    })?;
    let mut status = ExitStatus::Done;
    let mut told = Vec::new();
    for asker in &askers {
        let tokens = sign_ins.tokens(&asker.identity);
        let answer = tokio::select! {
            answer = tokens.token(false) => answer,
            // What was started is ended before this program is; a terminal does not do that for it.
            why = signals.next() => return Ok(match why {
                StopSignal::Interrupt => ExitStatus::Interrupted,
                StopSignal::Terminate => ExitStatus::Failed,
            }),
        };
        let failed = match answer.as_ref().map_err(SignInError::disposition) {
            Ok(_) => ExitStatus::Done,
            Err(Disposition::Blocked(Blocked::SignIn)) => ExitStatus::SignIn,
            // A way that is barred, or what may pass.
            Err(Disposition::Blocked(_) | Disposition::Retry | Disposition::RetryAfter(_)) => {
                ExitStatus::Failed
            }
        };
        status = if status == ExitStatus::SignIn { status } else { worse(status, failed) };
        match format {
            Format::Text => tell(asker, &answer, &told, printer),
            Format::Json => {}
        }
        told.push(object(asker, &answer));
    }
    if format == Format::Json {
        printer.data(&json!({ "version": 1, "cloud": word(&cloud), "identities": told }).to_string());
    }
    Ok(status)
}

fn worse(one: ExitStatus, other: ExitStatus) -> ExitStatus {
    if other == ExitStatus::Done { one } else { other }
}

fn word(cloud: &Cloud) -> &str {
    match cloud {
        Cloud::Defined(definition) => definition.name.as_str(),
        Cloud::Public => "public",
        Cloud::UsGovernment => "us-government",
        Cloud::China => "china",
        Cloud::Emulator => "emulator",
    }
}

/// Everybody that the workspace has sign in; without a workspace, whoever can.
fn askers(settings: &Settings, printer: Printer) -> Result<(Cloud, NetworkRules, Vec<Asker>), Failure> {
    let nobody = || vec![Asker { identity: Identity::default(), bastions: Vec::new() }];
    let found = Workspace::find(&load::place(settings)?);
    if let Err(FindError::None { .. }) = &found
        && settings.file.is_none()
    {
        return Ok((Cloud::Public, load::network(settings, printer, "nothing was started")?, nobody()));
    }
    let Checked { desired, network, .. } =
        load::checked_for_identities(settings, printer, "nobody was asked")?;
    let mut identities: BTreeMap<Identity, Vec<Name>> = BTreeMap::new();
    for (name, bastion) in desired.bastions {
        identities.entry(bastion.identity).or_default().push(name);
    }
    let askers = identities.into_iter().map(|(identity, bastions)| Asker { identity, bastions });
    let askers: Vec<Asker> = askers.collect();
    Ok((desired.cloud, network, if askers.is_empty() { nobody() } else { askers }))
}

fn tell(asker: &Asker, answer: &Result<Granted, SignInError>, before: &[Value], printer: Printer) {
    if !before.is_empty() {
        printer.data("");
    }
    let bastions: Vec<&str> = asker.bastions.iter().map(Name::as_str).collect();
    let bastions = bastions.join(", ");
    let mut lines: Vec<(&str, String)> = Vec::new();
    if !bastions.is_empty() {
        lines.push(("bastions", bastions));
    }
    let passed = match answer {
        Ok(granted) => {
            let Account { name, application, tenant } = Account::of(&granted.token);
            lines.push(("credential", credential_word(granted.by).to_owned()));
            let known = [("account", name), ("application", application), ("tenant", tenant)];
            lines.extend(known.into_iter().filter_map(|(word, text)| Some((word, text?))));
            lines.push(("until", until(granted.expires)));
            &granted.passed
        }
        Err(error) => {
            lines.push(("credential", "none".to_owned()));
            &error.passed
        }
    };
    for PassedOver { credential, why, .. } in passed {
        lines.push(("passed over", format!("{}: {why}", credential_word(*credential))));
    }
    let lines: Vec<(&str, &str)> = lines.iter().map(|(word, text)| (*word, text.as_str())).collect();
    printer.data(pairs(&lines, terminal_width()).trim_end());
    if let Err(error) = answer {
        let what = if error.passed.is_empty() { error.to_string() } else { error.what.clone() };
        printer.error(&format!("{what} [{}]", error.code), error.way_out.as_deref());
    }
}

fn object(asker: &Asker, answer: &Result<Granted, SignInError>) -> Value {
    let bastions: Vec<&str> = asker.bastions.iter().map(Name::as_str).collect();
    let passed = |passed: &[PassedOver]| -> Vec<Value> {
        let one = |p: &PassedOver| json!({ "credential": credential_word(p.credential), "why": p.why });
        passed.iter().map(one).collect()
    };
    let asked = credential_word(asker.identity.credential);
    match answer {
        Ok(granted) => {
            let Account { name, application, tenant } = Account::of(&granted.token);
            json!({
                "bastions": bastions,
                "asked": asked,
                "credential": credential_word(granted.by),
                "account": name,
                "application": application,
                "tenant": tenant,
                "until": until(granted.expires),
                "passed_over": passed(&granted.passed),
            })
        }
        Err(error) => json!({
            "bastions": bastions,
            "asked": asked,
            "credential": null,
            "code": error.code,
            "reason": error.what,
            "hint": error.way_out,
            "passed_over": passed(&error.passed),
        }),
    }
}

fn until(expires: SystemTime) -> String {
    let time = jiff::Timestamp::try_from(expires).unwrap_or_default();
    format!("{time:.0}")
}
