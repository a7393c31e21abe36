//! Azure's control plane: what a bastion is and where its gateway is. Reads only.
//!
//! It does not know the data plane, and the data plane does not know it.

mod arm;
mod bastion_host;
mod cloud;

pub use arm::{Arm, ArmError, Cloud};
pub use bastion_host::{BastionHost, Refusal};
pub use cloud::Addresses;
