//! az's current subscription, where it stands in for one that no file names: for whom it does, and what that leads to.

use std::collections::BTreeMap;

use super::Found;
use super::home::Place;
use crate::config::codes;
use crate::config::diagnostic::{Diagnostic, quote};
use crate::model::{AzCurrent, AzSubscription, Cloud, CredentialKind, NotCurrent};

/// What az says, and what was made of it so far. Each thing is said once, at the first place that it concerns.
#[derive(Debug)]
pub(super) struct Current {
    is: Result<AzSubscription, NotCurrent>,
    /// Who asks for sessions on each bastion, by the bastion's name as it is written.
    askers: BTreeMap<String, CredentialKind>,
    /// Whether it was said that az has none.
    said_of_az: bool,
    /// Whether it was said that another credential has none.
    said_of_others: bool,
    /// That it was taken.
    pub(super) taken: Option<Taken>,
}

/// That az's current subscription was taken.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) subscription: AzSubscription,
    pub(super) warning: Diagnostic,
    /// Which keys have a value by it, part by part, and which.
    pub(super) values: Vec<(Vec<String>, String)>,
}

impl Current {
    pub(super) fn new(az: &AzCurrent, cloud: Option<&Cloud>) -> Self {
        // Where the cloud was refused, that mistake comes first and nobody asks for a subscription.
        let is = az.within(cloud.unwrap_or(&Cloud::Public)).cloned();
        Self { is, askers: BTreeMap::new(), said_of_az: false, said_of_others: false, taken: None }
    }

    /// Which credential asks for sessions on a bastion.
    pub(super) fn asks(&mut self, bastion: &str, credential: CredentialKind) {
        self.askers.insert(bastion.to_owned(), credential);
    }

    /// That a key has its value by az's current subscription.
    pub(super) fn note(&mut self, key: &[&str], value: &str) {
        let Some(taken) = &mut self.taken else { return };
        let noted = (key.iter().map(|part| (*part).to_owned()).collect(), value.to_owned());
        if !taken.values.contains(&noted) {
            taken.values.push(noted);
        }
    }

    /// The current subscription, if whoever asks is signed in by az.
    pub(super) fn stand_in(&mut self, place: &Place<'_>, found: &mut Found) -> Option<AzSubscription> {
        // A bastion that is not declared is a mistake of its own.
        let credential = *self.askers.get(place.bastion?)?;
        let by_az = matches!(credential, CredentialKind::Auto | CredentialKind::AzureCli);
        match &self.is {
            Ok(current) if by_az => {
                let subscription = current.clone();
                self.taken.get_or_insert_with(|| Taken {
                    warning: warning(place, &subscription),
                    subscription: subscription.clone(),
                    values: Vec::new(),
                });
                self.note(&["azure", "subscription"], subscription.id());
                return Some(subscription);
            }
            Err(not) if by_az => {
                let message = format!("{} {} is in no subscription", place.what, quote(place.name));
                if !std::mem::replace(&mut self.said_of_az, true) {
                    let mistake =
                        Diagnostic::new(codes::NO_SUBSCRIPTION, place.key.clone(), message, &not.why);
                    found.push(
                        mistake.help(format!("{}, or add `subscription = \"…\"` to `[azure]`", not.way_out)),
                    );
                }
            }
            is => {
                if !std::mem::replace(&mut self.said_of_others, true) {
                    found.push(of_another(place, credential, is.as_ref().ok()));
                }
            }
        }
        None
    }
}

/// Only az has a current subscription.
fn of_another(place: &Place<'_>, credential: CredentialKind, current: Option<&AzSubscription>) -> Diagnostic {
    let word = CredentialKind::ALL.iter().find(|(_, kind)| *kind == credential).map_or("", |(word, _)| word);
    let message = format!("{} {} is in no subscription", place.what, quote(place.name));
    let label = format!("`{word}` signs in for it, and only az has a current subscription");
    let mistake = Diagnostic::new(codes::NO_SUBSCRIPTION, place.key.clone(), message, label);
    match current {
        Some(current) => mistake.help(format!(
            "if az's current one, {}, is meant, add `subscription = \"{}\"` to `[azure]`",
            quote(current.name()),
            current.id()
        )),
        None => mistake
            .help("add `subscription = \"…\"` to `[azure]`; the portal shows its ID below \"Subscriptions\""),
    }
}

fn warning(place: &Place<'_>, current: &AzSubscription) -> Diagnostic {
    let message = format!(
        "{} {} is looked for in az's current subscription, {} ({})",
        place.what,
        quote(place.name),
        quote(current.name()),
        current.id()
    );
    let label = "no file says which one it is in, and another person's az may have another current one";
    Diagnostic::new(codes::AZ_SUBSCRIPTION, place.key.clone(), message, label).warning().help(format!(
        "to have the same one everywhere, add `subscription = \"{}\"` to `[azure]`",
        current.id()
    ))
}
