//! One integration binary, so that the library is linked once.

mod config;
#[cfg(test)]
mod gateway;
