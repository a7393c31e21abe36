//! How connections are treated: what `[defaults]` says, and each tunnel for itself.

use std::ops::Range;
use std::time::Duration;

use super::values::{Zero, bad_duration, choice, duration, whole};
use super::{Found, given, suggest_word};
use crate::config::codes;
use crate::config::diagnostic::{Diagnostic, quote};
use crate::config::keys;
use crate::config::reader::{Field, Text};
use crate::config::shapes::{Backoff as RawBackoff, Behaviour as RawBehaviour};
use crate::model::{Behaviour, OnOutage, OnPortTaken, Port, Probe};

/// No wait between attempts is longer: who mends what was broken must not have to wait half a day.
const LONGEST_WAIT: Duration = Duration::from_secs(60 * 60);

/// What holds where nothing else is said, and where in the file that stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Basis {
    pub(super) behaviour: Behaviour,
    initial_at: Option<Range<usize>>,
    max_at: Option<Range<usize>>,
    dial_at: Option<Range<usize>>,
}

/// Reads what is said over what held so far. What is refused leaves that as it was.
pub(super) fn lower(raw: &RawBehaviour, basis: &Basis, found: &mut Found) -> Basis {
    let Basis { behaviour: held, .. } = basis;
    let connect_timeout = duration(raw.connect_timeout.as_ref(), "connect_timeout", Zero::Refused, found);
    let idle_close = duration(raw.idle_close.as_ref(), "idle_close", Zero::Allowed, found);
    let max_lifetime = duration(raw.max_lifetime.as_ref(), "max_lifetime", Zero::Allowed, found);
    let keepalive = duration(raw.keepalive.as_ref(), "keepalive", Zero::Allowed, found);
    let drain = duration(raw.drain.as_ref(), "drain", Zero::Allowed, found);
    let words = [("hold", OnOutage::Hold), ("refuse", OnOutage::Refuse)];
    let on_outage = choice(raw.on_outage.as_ref(), "on_outage", &words, found);
    let max_connections = whole(raw.max_connections.as_ref(), "max_connections", keys::CONNECTIONS, found);
    let prewarm = whole(raw.prewarm.as_ref(), "prewarm", keys::PREWARM, found);
    let words = [("fail", OnPortTaken::Fail), ("next", OnPortTaken::Next)];
    let on_port_taken = choice(raw.on_port_taken.as_ref(), "on_port_taken", &words, found);
    let probe = given(raw.probe.as_ref()).and_then(|text| probe(text, found));
    let dial = given(raw.prewarm_dial.as_ref());
    let dial_at = dial.map(toml::Spanned::span).or_else(|| basis.dial_at.clone());
    let (backoff, initial_at, max_at) = backoff(&raw.backoff, basis, found);
    let behaviour = Behaviour {
        connect_timeout: connect_timeout.unwrap_or(held.connect_timeout),
        idle_close: idle_close.unwrap_or(held.idle_close),
        max_lifetime: max_lifetime.unwrap_or(held.max_lifetime),
        keepalive: keepalive.unwrap_or(held.keepalive),
        drain: drain.unwrap_or(held.drain),
        on_outage: on_outage.unwrap_or(held.on_outage),
        max_connections: max_connections.unwrap_or(held.max_connections),
        probe: probe.unwrap_or_else(|| held.probe.clone()),
        prewarm: prewarm.unwrap_or(held.prewarm),
        prewarm_dial: dial.map_or(held.prewarm_dial, |dial| *dial.get_ref()),
        lazy: given(raw.lazy.as_ref()).map_or(held.lazy, |lazy| *lazy.get_ref()),
        backoff,
        on_port_taken: on_port_taken.unwrap_or(held.on_port_taken),
    };
    Basis { behaviour, initial_at, max_at, dial_at }
}

/// Ports whose servers count connections that come to nothing, and shut out whoever makes many.
const UNDIALLED: &[u16] = &[22, 3306];

/// Nothing is dialled in advance where that does harm.
pub(super) fn check_dial(basis: &Basis, port: Port, tunnel: &Range<usize>, found: &mut Found) {
    let Basis { behaviour, dial_at: Some(at), .. } = basis else { return };
    if !behaviour.prewarm_dial || behaviour.prewarm == 0 || !UNDIALLED.contains(&port.get()) {
        return;
    }
    let message = format!("`prewarm_dial` is not for port {port}");
    let label = format!("it leads to port {port}");
    let help = "its server counts connections that come to nothing, and shuts out whoever makes many; \
                with `prewarm_dial = false` in this tunnel, token answers are kept ready instead";
    found.push(
        Diagnostic::new(codes::CONFLICTING_KEYS, tunnel.clone(), message, &label)
            .also(at.clone(), "set here")
            .help(help),
    );
}

/// What a probe may be called. Those without a value are of a later version.
const PROBES: &[(&str, Option<Probe>)] = &[
    ("session", Some(Probe::Session)),
    ("none", Some(Probe::None)),
    ("connect", Some(Probe::Connect)),
    ("banner", Some(Probe::Banner)),
    ("tls", Some(Probe::Tls)),
    ("ssh", None),
];

/// What stands before the path of an HTTP probe.
const HTTP: &str = "http:";
/// No path of a probe is longer.
const LONGEST_PATH: usize = 1000;

fn probe(text: &Text, found: &mut Found) -> Option<Probe> {
    let written = text.value.as_str();
    if let Some(path) = written.strip_prefix(HTTP) {
        return http(path, text, found);
    }
    match PROBES.iter().find(|(word, _)| written == *word) {
        Some((_, Some(probe))) => return Some(probe.clone()),
        Some((_, None)) => {
            let message = format!("the probe {} is not supported yet", quote(written));
            let label = "this version cannot do it";
            found.push(
                Diagnostic::new(codes::NOT_SUPPORTED_YET, text.span.clone(), message, label)
                    .help("`\"banner\"` shows that the target speaks first, as SSH servers do"),
            );
        }
        None => {
            let message = format!("`probe` cannot be {}", quote(written));
            let wrong =
                Diagnostic::new(codes::INVALID_VALUE, text.span.clone(), message, "not the name of a probe");
            found.push(suggest_word(wrong, text, PROBES.iter().map(|(word, _)| *word)));
        }
    }
    None
}

/// What is asked of an HTTP server, which has to be what can stand in a request.
fn http(path: &str, text: &Text, found: &mut Found) -> Option<Probe> {
    let fits = path.starts_with('/')
        && !path.starts_with("//")
        && path.len() <= LONGEST_PATH
        && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    if fits {
        return Some(Probe::Http(path.into()));
    }
    let message = format!("`probe` cannot be {}", quote(&text.value));
    let label = "not `http:` and a path that begins with `/`";
    found.push(Diagnostic::new(codes::INVALID_VALUE, text.span.clone(), message, label).help(
        "other characters than ASCII's, and spaces, are written as `%` and two digits; `#…` is not sent",
    ));
    None
}

type Waits = ((Duration, Duration), Option<Range<usize>>, Option<Range<usize>>);

fn backoff(raw: &RawBackoff, basis: &Basis, found: &mut Found) -> Waits {
    let (held_initial, held_max) = basis.behaviour.backoff;
    let held = ((held_initial, held_max), basis.initial_at.clone(), basis.max_at.clone());
    let initial = wait(raw.initial.as_ref(), "initial", found);
    let max = wait(raw.max.as_ref(), "max", found);
    let (own_initial, own_max) = (place(raw.initial.as_ref()), place(raw.max.as_ref()));
    let waits = (initial.unwrap_or(held_initial), max.unwrap_or(held_max));
    if waits.0 <= waits.1 {
        return (waits, own_initial.or(held.1), own_max.or(held.2));
    }
    // Said where it was made so: the other one may stand in `[defaults]`, or nowhere.
    let (at, label, other) = match (&own_max, &own_initial) {
        (Some(max), other) => (max, "shorter than the first", other.as_ref().or(basis.initial_at.as_ref())),
        (None, Some(initial)) => (initial, "longer than the longest", basis.max_at.as_ref()),
        (None, None) => return held,
    };
    let message = "the longest wait, `max`, cannot be shorter than the first one, `initial`";
    let wrong = Diagnostic::new(codes::INVALID_DURATION, at.clone(), message, label);
    let default = "without them, `initial` is \"800ms\" and `max` is \"30s\"";
    found.push(match other {
        Some(other) => wrong.also(other.clone(), "than this"),
        None => wrong.help(default),
    });
    held
}

fn wait(field: Option<&Field<Text>>, key: &str, found: &mut Found) -> Option<Duration> {
    let wait = duration(field, key, Zero::Refused, found)?;
    if wait <= LONGEST_WAIT {
        return Some(wait);
    }
    let text = given(field)?;
    found.push(bad_duration(text, 0..text.value.len(), key, "the longest wait is 1h"));
    None
}

fn place(field: Option<&Field<Text>>) -> Option<Range<usize>> {
    given(field).map(|text| text.span.clone())
}
