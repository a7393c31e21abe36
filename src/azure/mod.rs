//! Azure's control plane: what a bastion is and where its gateway is. Reads only.
//!
//! It does not know the data plane, and the data plane does not know it.

use secrecy::SecretString;

mod arm;
mod bastion_host;

pub use arm::{Arm, ArmError, Cloud};
pub use bastion_host::{BastionHost, Refusal};

/// The credential that needs no sign-in: the emulator's own token, which no other service believes.
#[derive(Clone, Debug)]
pub struct FixedToken(SecretString);

impl FixedToken {
    /// Takes the token that an emulator handed out.
    pub fn new(token: SecretString) -> Self {
        Self(token)
    }

    /// The token.
    pub fn token(&self) -> SecretString {
        self.0.clone()
    }
}
