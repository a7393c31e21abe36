//! Tunnels for the tests of this room.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use crate::model::{BastionStatus, Name, Reason, State, TunnelStatus};

/// The time that the tests call now.
pub(super) fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

pub(super) fn reason(code: &'static str, what: &str) -> Reason {
    Reason { code: code.into(), what: what.to_owned(), hint: None }
}

/// A tunnel that is well and idle.
pub(super) fn tunnel(name: &str) -> TunnelStatus {
    TunnelStatus {
        name: Name::new(name).unwrap(),
        state: State::Ready,
        reason: None,
        attempt: 0,
        next_retry: None,
        listen: vec!["127.0.0.1:8080".parse().unwrap(), "[::1]:8080".parse().unwrap()],
        target: format!("{name}:80"),
        route: "hub".to_owned(),
        verified: true,
        target_verified: false,
        connections: 0,
        waiting: Vec::new(),
        held: Vec::new(),
        bytes_in: 0,
        bytes_out: 0,
        rate_in: 0,
        rate_out: 0,
        last_error: None,
        since: now() - Duration::from_secs(200),
        env: BTreeMap::new(),
    }
}

pub(super) fn bastion(name: &str) -> BastionStatus {
    BastionStatus {
        name: Name::new(name).unwrap(),
        sku: Some("Standard".to_owned()),
        sessions: 2,
        max_sessions: 0,
    }
}
