//! One test for each rule that the emulator holds clients to, spoken by hand: no code of the client side is used.

mod client;
mod developer;
mod ends;
mod faults;
mod frames;
mod pure;
mod rdp;
mod rest;
mod serve;
mod sign_in;
mod socket;
mod streams;
mod update;
