//! `[[emulator.faults]]`: what goes wrong, and when.

use std::collections::BTreeMap;
use std::ops::Range;

use super::values::{Zero, bad_duration, parse_duration, parse_size, whole};
use super::{Declared, Found, Kind, declared, given, machines, resolve};
use crate::config::codes;
use crate::config::diagnostic::{Diagnostic, quote};
use crate::config::keys;
use crate::config::reader::{Field, Scalar, Text};
use crate::config::shapes::{Fault as RawFault, File};
use crate::config::suggest::nearest;
use crate::model::{Fault, FaultAction, FaultPhase, Name, Target};

const PHASES: &[(&str, FaultPhase)] = &[
    ("arm", FaultPhase::Arm),
    ("sign-in", FaultPhase::SignIn),
    ("broker", FaultPhase::Broker),
    ("token", FaultPhase::Token),
    ("upgrade", FaultPhase::Upgrade),
    ("stream", FaultPhase::Stream),
    ("delete", FaultPhase::Delete),
];

/// What may stand in `do`, as it is shown to a person.
const ACTIONS: &str = "401, plain:401, empty:503, redirect:307:URL, malformed, answer:TEXT, delay:5s, silence, drop, close-notify, reset, close:1011, http-after-101, bare-101, wrong-accept, reserved-bit, masked, unknown-opcode, text, no-pong, pings:2s";

/// Lowers the faults, in file order; those with a mistake are left out.
pub(super) fn lower(file: &File, targets: &BTreeMap<Name, Target>, found: &mut Found) -> Vec<Fault> {
    let known = declared(&file.targets);
    file.emulator.faults.iter().filter_map(|raw| fault(raw, file, &known, targets, found)).collect()
}

fn fault(
    raw: &RawFault,
    file: &File,
    known: &Declared<'_>,
    targets: &BTreeMap<Name, Target>,
    found: &mut Found,
) -> Option<Fault> {
    for (key, field) in [("phase", &raw.phase), ("do", &raw.action)] {
        if field.is_none() && !raw.spoilt {
            let message = format!("a fault needs a `{key}`");
            let missing = Diagnostic::new(codes::MISSING_KEY, raw.span.clone(), message, "not in this table");
            found.push(missing.help("for example `phase = \"token\"` with `do = \"401\"`"));
        }
    }
    let phase = given(raw.phase.as_ref()).and_then(|text| phase(text, found));
    let action = given(raw.action.as_ref()).and_then(|text| action(text, found));
    let after = match &raw.after {
        Some(field) => after(field, phase, found),
        None => Some(0),
    };
    let times = whole(raw.times.as_ref(), "times", keys::TIMES, found).unwrap_or(1);
    let target = match &raw.target {
        Some(field) => {
            let text = field.value.as_ref()?;
            let name = resolve(text, 0..text.value.len(), &file.targets, Kind::Target, known, found)?;
            if phase == Some(FaultPhase::SignIn) {
                let message = "whoever signs in, signs in for no target in particular";
                let label = "it signs in for no target";
                let wrong = Diagnostic::new(codes::FAULT_PHASE, field.key.clone(), message, label);
                found.push(wrong.help("take it out"));
                return None;
            }
            Some(machines::meant(&targets.get(&name)?.locator)?)
        }
        None => None,
    };
    let (phase, action) = (phase?, action?);
    if !action.strikes_in(phase) {
        let (phase_text, action_text) = (given(raw.phase.as_ref())?, given(raw.action.as_ref())?);
        found.push(misplaced(&action, action_text, phase_text));
        return None;
    }
    Some(Fault { phase, action, after: after?, times, target })
}

fn misplaced(action: &FaultAction, written: &Text, phase: &Text) -> Diagnostic {
    let message = format!("{} cannot happen in phase {}", quote(&written.value), quote(&phase.value));
    let possible: Vec<String> = PHASES
        .iter()
        .filter(|(_, phase)| action.strikes_in(*phase))
        .map(|(word, _)| format!("`{word}`"))
        .collect();
    Diagnostic::new(codes::FAULT_PHASE, written.span.clone(), message, "cannot happen")
        .also(phase.span.clone(), "in this phase")
        .help(format!("it can happen in {}", possible.join(", ")))
}

fn phase(text: &Text, found: &mut Found) -> Option<FaultPhase> {
    let known = PHASES.iter().find(|(word, _)| *word == text.value);
    if known.is_none() {
        let message = format!("{} is not a phase", quote(&text.value));
        let wrong = Diagnostic::new(codes::INVALID_VALUE, text.span.clone(), message, "unknown phase");
        let words = PHASES.iter().map(|(word, _)| *word);
        found.push(super::suggest_word(wrong, text, words));
    }
    known.map(|(_, phase)| *phase)
}

fn action(text: &Text, found: &mut Found) -> Option<FaultAction> {
    let (word, rest) = match text.value.split_once(':') {
        Some((word, rest)) => (word, Some(rest)),
        None => (text.value.as_str(), None),
    };
    let at = |rest: &str| text.value.len() - rest.len()..text.value.len();
    let wrong = |part: Range<usize>, label: &str| {
        let span = if part == (0..text.value.len()) { text.span.clone() } else { text.part(part) };
        let message = format!("{} is not a fault of the emulator", quote(&text.value));
        Diagnostic::new(codes::INVALID_VALUE, span, message, label)
    };
    let parsed = match (word, rest) {
        ("plain", Some(code)) => status(code, 200..=599).map(FaultAction::PlainStatus).ok_or((code, STATUS)),
        ("empty", Some(code)) => status(code, 200..=599).map(FaultAction::EmptyStatus).ok_or((code, STATUS)),
        ("redirect", Some(rest)) => {
            redirect(rest).ok_or((rest, "expected a status from 300 to 399 and a URL"))
        }
        // Unchecked on purpose: a wrong one is what it is for.
        ("answer", Some(text)) => Ok(FaultAction::Answer(text.to_owned())),
        ("close", Some(code)) => {
            close(code).ok_or((code, "close codes are 1000 to 4999, or 0 for none at all"))
        }
        ("delay" | "pings", Some(time)) => {
            let zero = if word == "pings" { Zero::Refused } else { Zero::Allowed };
            match parse_duration(time, zero) {
                Ok(time) if word == "pings" => Ok(FaultAction::Pings(time)),
                Ok(time) => Ok(FaultAction::Delay(time)),
                Err(why) => {
                    found.push(bad_duration(text, at(time), "do", why));
                    return None;
                }
            }
        }
        (word, None) => match plain(word) {
            Some(action) => Ok(action),
            None if word.bytes().all(|b| b.is_ascii_digit()) => {
                status(word, 200..=599).map(FaultAction::Status).ok_or((word, STATUS))
            }
            None => Err((word, "unknown")),
        },
        (_, Some(_)) => Err((text.value.as_str(), "unknown")),
    };
    match parsed {
        Ok(action) => Some(action),
        Err((rest, "unknown")) => {
            let unknown = wrong(at(rest), "unknown fault");
            found.push(match nearest(&text.value, WORDS.iter().map(|(word, _)| *word)) {
                Some(near) => {
                    unknown.fix(format!("did you mean `{near}`?"), text.span.clone(), format!("\"{near}\""))
                }
                None => unknown.help(format!("the faults: {ACTIONS}")),
            });
            None
        }
        Err((rest, label)) => {
            found.push(wrong(at(rest), label));
            None
        }
    }
}

const STATUS: &str = "an HTTP status is a number from 200 to 599";

/// Faults that take nothing after a colon.
const WORDS: &[(&str, FaultAction)] = &[
    ("malformed", FaultAction::Malformed),
    ("silence", FaultAction::Silence),
    ("drop", FaultAction::Drop),
    ("close-notify", FaultAction::CloseNotify),
    ("reset", FaultAction::Reset),
    ("http-after-101", FaultAction::HttpAfter101),
    ("bare-101", FaultAction::Bare101),
    ("wrong-accept", FaultAction::WrongAccept),
    ("reserved-bit", FaultAction::ReservedBit),
    ("masked", FaultAction::Masked),
    ("unknown-opcode", FaultAction::UnknownOpcode),
    ("text", FaultAction::Text),
    ("no-pong", FaultAction::NoPong),
];

fn plain(word: &str) -> Option<FaultAction> {
    WORDS.iter().find(|(known, _)| *known == word).map(|(_, action)| action.clone())
}

fn status(digits: &str, range: std::ops::RangeInclusive<u16>) -> Option<u16> {
    let digits = Some(digits).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?;
    digits.parse().ok().filter(|code| range.contains(code))
}

fn redirect(rest: &str) -> Option<FaultAction> {
    let (code, url) = rest.split_once(':')?;
    // The URL becomes a header line of the answer.
    let fits = !url.is_empty() && url.bytes().all(|b| b.is_ascii_graphic());
    status(code, 300..=399).filter(|_| fits).map(|code| FaultAction::Redirect(code, url.to_owned()))
}

fn close(code: &str) -> Option<FaultAction> {
    if code == "0" { Some(FaultAction::Close(0)) } else { status(code, 1000..=4999).map(FaultAction::Close) }
}

fn after(field: &Field<Scalar>, phase: Option<FaultPhase>, found: &mut Found) -> Option<u64> {
    if phase.is_some_and(|phase| phase != FaultPhase::Stream) {
        let message = "`after` has a meaning in phase `stream` only";
        let wrong =
            Diagnostic::new(codes::FAULT_PHASE, field.key.clone(), message, "no bytes flow in this phase");
        found.push(wrong.help("take it out, or set `phase = \"stream\"`"));
        return None;
    }
    match field.value.as_ref()? {
        Scalar::Number(number) => {
            let size = u64::try_from(*number.get_ref()).ok();
            if size.is_none() {
                let message = "`after` is a number of bytes, which is not negative";
                found.push(Diagnostic::new(codes::INVALID_VALUE, number.span(), message, "too small"));
            }
            size
        }
        Scalar::Text(text) => {
            match parse_size(&text.value) {
                Ok(size) => Some(size),
                Err(why) => {
                    let message = format!("{} is not a size", quote(&text.value));
                    let wrong = Diagnostic::new(codes::INVALID_VALUE, text.span.clone(), message, why);
                    found.push(wrong.help(
                        "sizes look like \"512 B\", \"64 KiB\" or \"1 MiB\"; a bare number counts bytes",
                    ));
                    None
                }
            }
        }
        Scalar::Flag(_) => None,
    }
}
