//! Places, claims and grants.
