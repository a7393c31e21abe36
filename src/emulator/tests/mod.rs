//! One test for each rule that the emulator holds clients to, spoken by hand: no code of the client side is used.

mod client;
mod faults;
mod frames;
mod pure;
mod rest;
mod serve;
mod socket;
mod streams;
