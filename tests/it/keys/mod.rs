//! Keys of behaviour, each as its user meets it, on the emulator.

mod closing;
mod lazy;
mod prewarm;
mod probes;
