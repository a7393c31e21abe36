//! Whom we believe: the operating system's trust store, more authorities that the user names, or one authority alone.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;

use crate::sys::files;

/// The longest file of authorities; the system's own has a quarter of that.
const MAX_FILE: u64 = 4 << 20;

/// Which certificate authorities are believed. There is no way to believe everyone.
#[derive(Clone, Debug)]
pub enum Trust {
    /// The operating system's, and those in these PEM files (given once, for REST and WebSocket alike).
    System(Vec<PathBuf>),
    /// This one, as PEM text (the emulator's), and those in these PEM files; not the system's.
    Only(String, Vec<PathBuf>),
}

/// Why the trust store could not be put together.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A file with authorities cannot be read.
    #[error("reading the certificate authorities in {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not PEM, or holds no certificate.
    #[error("finding a certificate in {origin}")]
    Pem {
        /// The file, or what the text is.
        origin: String,
        /// What is wrong with it.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// rustls does not accept it.
    #[error("using the certificate authorities")]
    Tls(#[source] rustls::Error),
}

impl Trust {
    /// A TLS client that offers HTTP/1.1 and nothing else: sessions that were opened over HTTP/2 were seen to hang.
    pub(super) fn client_config(&self) -> Result<ClientConfig, TrustError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(TrustError::Tls)?;
        let mut config = match self {
            Self::System(files) => {
                let verifier =
                    Verifier::new_with_extra_roots(read(files)?, provider).map_err(TrustError::Tls)?;
                builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth()
            }
            Self::Only(pem, files) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(pem.as_bytes(), "the emulator's certificate")?
                    .into_iter()
                    .chain(read(files)?)
                {
                    roots.add(certificate).map_err(TrustError::Tls)?;
                }
                builder.with_root_certificates(roots).with_no_client_auth()
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

/// Whether authorities can be read from a file.
///
/// # Errors
/// Says why not.
pub fn check_authorities(path: &Path) -> Result<(), TrustError> {
    read(&[path.to_owned()]).map(drop)
}

fn read(files: &[PathBuf]) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let mut all = Vec::new();
    for path in files {
        let text =
            files::read(path, MAX_FILE).map_err(|source| TrustError::Read { path: path.clone(), source })?;
        all.extend(certificates(&text, &path.display().to_string())?);
    }
    Ok(all)
}

fn certificates(pem: &[u8], origin: &str) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let broken = |source| TrustError::Pem { origin: origin.to_owned(), source };
    let all: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(broken)?;
    if all.is_empty() {
        return Err(broken(rustls::pki_types::pem::Error::NoItemsFound));
    }
    Ok(all)
}
