//! Azure's control plane: who we are, what a bastion is and where its gateway is. Reads only.
//!
//! It does not know the data plane, and the data plane does not know it.

mod account;
mod arm;
mod bastion_host;
mod challenge;
mod cloud;
mod compute;
mod credential;
mod profile;
mod sign_in;
mod tokens;
mod transport;

pub use account::Account;
pub use arm::{Arm, ArmError, Cloud, Subject};
pub use bastion_host::{BastionHost, Refusal};
pub use challenge::Challenge;
pub use cloud::Addresses;
pub use compute::{Instance, Machine, NoMachine, Power};
pub use credential::{
    Asking, Credential, Environment, Flaw, Granted, PassedOver, Pipelines, SignInError, credential_word,
};
pub use profile::current_subscription;
pub use sign_in::SignIns;
pub use tokens::Tokens;
