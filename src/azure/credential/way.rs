//! The way to whoever signs in: a proxy, a certificate, a network. What is in it is told as it is on the way to Resource Manager.

use std::io;

use super::flaw::{Flaw, SignInError};
use crate::model::CredentialKind;
use crate::net::{HttpError, ProxyError, UNTRUSTED};

impl SignInError {
    /// The same of a request that was not answered: what is in the way is told as it is everywhere else.
    pub(super) fn unanswered(self, error: &HttpError) -> Self {
        let passing = Self::new(self.credential, Flaw::Passing, self.what);
        match error.proxy() {
            Some(proxy) => passing.at_proxy(proxy),
            None if error.is_untrusted() => passing.untrusted(UNTRUSTED),
            None => passing,
        }
    }

    /// The same of what az or azd say of the way to Azure, which they go by themselves.
    pub(super) fn of_its_way(self, said: &str) -> Option<Self> {
        let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
        let refused = |status: u16| ProxyError::Refused { status, named: true };
        if has(&["CERTIFICATE_VERIFY_FAILED", "certificate verify failed", "tls: failed to verify", "x509:"])
        {
            let way_out = if self.credential == CredentialKind::AzureDeveloperCli {
                "have this machine believe the authority of your network, or name its PEM file in SSL_CERT_FILE"
            } else {
                "name a PEM file in REQUESTS_CA_BUNDLE that holds the authority of your network and the usual ones: az \
                 believes those in it and no others"
            };
            return Some(self.untrusted(way_out));
        }
        if has(&["407 Proxy", "Proxy Authentication Required"]) {
            return Some(self.at_proxy(&refused(407)));
        }
        if has(&["Tunnel connection failed: 403"]) {
            return Some(self.at_proxy(&refused(403)));
        }
        let unreachable = has(&["ProxyError", "Unable to connect to proxy", "proxyconnect tcp"]);
        unreachable.then(|| self.at_proxy(&ProxyError::Unreachable(io::ErrorKind::NotConnected.into())))
    }

    fn at_proxy(self, proxy: &ProxyError) -> Self {
        let flaw = if proxy.is_lasting() { Flaw::Proxy } else { Flaw::Passing };
        Self { flaw, code: proxy.code(), ..self }.way_out(proxy.hint())
    }

    fn untrusted(self, way_out: &str) -> Self {
        Self { flaw: Flaw::Untrusted, code: "untrusted-certificate", ..self }.way_out(way_out)
    }

    /// Whether the way is in the way, and not this credential: another one is not what that asks for.
    pub(super) fn is_of_the_way(&self) -> bool {
        matches!(self.flaw, Flaw::Passing | Flaw::Proxy | Flaw::Untrusted)
    }
}
