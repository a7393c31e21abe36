//! A managed identity: asked on this machine, and only where there is reason to believe that there is one.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use azure_core::credentials::TokenCredential;
use azure_identity::{ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::flaw::{Flaw, SignInError};
use super::transport;
use crate::model::CredentialKind;

/// The instance metadata service of a virtual machine.
const METADATA: &str = "169.254.169.254:80";
/// How long a connection to it may take: it is on the same host.
const CONNECT: Duration = Duration::from_millis(500);

/// The identity of this machine or app, or the one of its identities that is meant.
pub(super) fn identity(client_id: Option<&str>) -> azure_core::Result<Arc<dyn TokenCredential>> {
    let user_assigned_id = client_id.map(|id| UserAssignedId::ClientId(id.to_owned()));
    let client_options = transport::near(CONNECT).map_err(|error| {
        azure_core::Error::with_error(
            azure_core::error::ErrorKind::Other,
            error,
            "setting up the HTTP client",
        )
    })?;
    let credential: Arc<dyn TokenCredential> =
        ManagedIdentityCredential::new(Some(ManagedIdentityCredentialOptions {
            user_assigned_id,
            client_options,
        }))?;
    Ok(credential)
}

/// Refuses to wait for a metadata service that is not there: elsewhere its address leads nowhere, silently. Where an
/// endpoint is named, nobody else is asked.
pub(super) async fn is_there(endpoint: bool) -> Result<(), SignInError> {
    if endpoint { Ok(()) } else { answers(TcpStream::connect(METADATA)).await }
}

/// Whether a connection comes about in time.
async fn answers<T>(connecting: impl Future<Output = io::Result<T>>) -> Result<(), SignInError> {
    match timeout(CONNECT, connecting).await {
        Ok(Ok(_there)) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(SignInError::new(
            CredentialKind::ManagedIdentity,
            Flaw::Absent,
            "no managed identity endpoint answers on this machine (IDENTITY_ENDPOINT is not set)",
        )
        .way_out("run on an Azure resource that has an identity, or choose another `credential`")),
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_metadata_service_has_half_a_second_to_accept() {
        let began = Instant::now();
        let error = answers(pending::<io::Result<()>>()).await.unwrap_err();
        assert_eq!((began.elapsed(), error.flaw), (Duration::from_millis(500), Flaw::Absent));
        let refused = answers(ready(Err::<(), _>(io::ErrorKind::ConnectionRefused.into()))).await;
        assert_eq!(refused.unwrap_err().flaw, Flaw::Absent);
        assert_eq!(answers(ready(Ok(()))).await, Ok(()));
    }
}
