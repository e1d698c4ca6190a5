//! How the certificates of endpoints are checked where the standard way isn't meant: not at all, or by other names than the one
//! that is asked for. Built by `tls`.

use std::sync::Arc;

use rust_ingress_model::backend::SubjectName;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use webpki::EndEntityCert;

/// `Verify::None`: any certificate, as long as the endpoint holds its key.
#[derive(Debug)]
pub(super) struct Unverified(pub(super) Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A chain to one of the authorities, and a certificate that has one of these names.
#[derive(Debug)]
pub(super) struct Named {
    roots: RootCertStore,
    names: Vec<Expected>,
    provider: Arc<CryptoProvider>,
}

/// One of the names.
#[derive(Debug)]
enum Expected {
    Dns(ServerName<'static>),
    /// `*.suffix`: any one label before it, or the same wildcard.
    Wildcard(String),
    Uri(String),
}

impl Named {
    /// # Errors
    /// A name that can't be one.
    pub(super) fn new(roots: RootCertStore, names: &[SubjectName], provider: Arc<CryptoProvider>) -> Result<Self, String> {
        let expected = |name: &SubjectName| match name {
            SubjectName::Uri(uri) => Ok(Expected::Uri(uri.to_string())),
            SubjectName::Dns(name) => match name.strip_prefix("*.") {
                Some(suffix) => Ok(Expected::Wildcard(suffix.to_owned())),
                None => ServerName::try_from(name.to_string())
                    .map(Expected::Dns)
                    .map_err(|error| format!("the subject name {name} can't be used: {error}")),
            },
        };
        Ok(Self { roots, names: names.iter().map(expected).collect::<Result<_, _>>()?, provider })
    }

    fn has_name(&self, certificate: &CertificateDer<'_>) -> Result<bool, Error> {
        let parsed = ParsedCertificate::try_from(certificate)?;
        let bad = |_| Error::InvalidCertificate(CertificateError::BadEncoding);
        let raw = EndEntityCert::try_from(certificate).map_err(bad)?;
        Ok(self.names.iter().any(|expected| match expected {
            Expected::Dns(name) => verify_server_name(&parsed, name).is_ok(),
            Expected::Wildcard(suffix) => raw.valid_dns_names().any(|name| {
                let below = name.split_once('.').map(|(_, below)| below);
                below.is_some_and(|below| below.eq_ignore_ascii_case(suffix))
            }),
            Expected::Uri(uri) => raw.valid_uri_names().any(|name| name == uri),
        }))
    }
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&certificate, &self.roots, intermediates, now, algorithms)?;
        match self.has_name(end_entity)? {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(Error::InvalidCertificate(CertificateError::NotValidForName)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
