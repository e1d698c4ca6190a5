//! The client side of TLS towards endpoints, as a backend's settings have it. Built with the table, used by `connect`.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use rust_ingress_model::KeyStore;
use rust_ingress_model::backend::{BackendTls, Verify};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

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
        let builder = match &tls.verify {
            Verify::None => builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(provider))),
            Verify::System => builder.with_root_certificates(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }),
            Verify::Authorities(authorities) => builder.with_root_certificates(roots(authorities)?),
        };
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

fn roots(authorities: &[String]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for pem in authorities {
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate = certificate.map_err(|error| format!("an authority isn't PEM: {error}"))?;
            roots.add(certificate).map_err(|error| format!("an authority can't be used: {error}"))?;
        }
    }
    if roots.is_empty() { Err("no authority is given to verify the endpoint with".into()) } else { Ok(roots) }
}

/// `Verify::None`: any certificate, as long as the endpoint holds its key.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
