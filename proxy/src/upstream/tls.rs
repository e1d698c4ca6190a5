//! The client side of TLS towards endpoints, as a backend's settings have it. Built with the table, used by `connect`.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use rust_ingress_model::KeyStore;
use rust_ingress_model::backend::{BackendTls, Verify};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use super::verify::{Named, Unverified};
use crate::authorities;

/// A client configuration and the name it asks for.
pub(crate) struct Client {
    /// For rustls. Sessions are resumed over all connections that share it.
    pub(super) config: Arc<ClientConfig>,
    name: Option<ServerName<'static>>,
}

impl Client {
    /// Compiles a backend's TLS settings.
    ///
    /// # Errors
    /// What is wrong with them: a name, an authority, a key.
    pub(super) fn new(tls: &BackendTls, h2: bool, keys: &KeyStore) -> Result<Self, String> {
        let name = tls.server_name.clone().map(ServerName::try_from).transpose();
        let name = name.map_err(|error| format!("the server name can't be used: {error}"))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS can't be set up: {error}"))?;
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier(tls, provider)?);
        let mut config = match &tls.client_certificate {
            None => builder.with_no_client_auth(),
            Some(fingerprint) => {
                let missing = || format!("the key of the client certificate {fingerprint} isn't there");
                let pair = keys.get(fingerprint).ok_or_else(missing)?;
                let chain = pair.chain.iter().cloned().map(CertificateDer::from).collect();
                let key = PrivateKeyDer::try_from(pair.key.to_vec()).map_err(|error| format!("the client's key: {error}"))?;
                builder.with_client_auth_cert(chain, key).map_err(|error| format!("the client certificate: {error}"))?
            }
        };
        config.enable_sni = name.is_some();
        config.alpn_protocols = vec![if h2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        Ok(Self { config: Arc::new(config), name })
    }

    /// The name to verify: the settings' own, or the endpoint's address.
    pub(super) fn name(&self, address: IpAddr) -> ServerName<'static> {
        self.name.clone().unwrap_or_else(|| ServerName::IpAddress(address.into()))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What checks an endpoint's certificate.
fn verifier(tls: &BackendTls, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, String> {
    let roots = match &tls.verify {
        Verify::None => return Ok(Arc::new(Unverified(provider))),
        Verify::System => RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() },
        Verify::Authorities(authorities) => authorities::store(authorities)?,
    };
    if !tls.subject_names.is_empty() {
        return Ok(Arc::new(Named::new(roots, &tls.subject_names, provider)?));
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
    verifier
        .map(|verifier| verifier as Arc<dyn ServerCertVerifier>)
        .map_err(|error| format!("an authority can't be used: {error}"))
}
