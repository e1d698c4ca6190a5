//! The default certificate: what is presented for names that no Secret covers. Given as two PEM files, or made at start.
//!
//! Called by `cli/run` once. One that is made lives as long as the process; its key never leaves memory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rust_ingress_model::{Certificate, Fingerprint, KeyPair};
use rust_ingress_translate::DefaultCertificate;

/// The name in a certificate that we make: no client trusts it, and it says who made it.
const NAME: &str = "rust-ingress.local";

/// Why there is no default certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// Making one failed.
    #[error("can't make the default certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// A file can't be read.
    #[error("can't read {path}: {error}; --default-certificate takes a certificate chain and its key, both PEM files")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The files are there, but aren't a certificate and its key.
    #[error("--default-certificate {certificate},{key}: the pair (tls.crt, tls.key) {message}")]
    Bad {
        /// The file with the chain.
        certificate: PathBuf,
        /// The file with the key.
        key: PathBuf,
        /// What is wrong.
        message: String,
    },
}

/// Makes a self-signed certificate with a new key (ECDSA P-256).
pub fn make() -> Result<DefaultCertificate, CertificateError> {
    let names = vec![NAME.to_owned(), "localhost".to_owned()];
    let mut params = rcgen::CertificateParams::new(names.clone())?;
    let mut subject = rcgen::DistinguishedName::new();
    subject.push(rcgen::DnType::CommonName, "rust-ingress default certificate");
    params.distinguished_name = subject;
    let key = rcgen::KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    let pair = KeyPair { chain: vec![certificate.der().to_vec()], key: key.serialize_der().into() };
    let certificate = Certificate { source: None, dns_names: names, not_after: params.not_after.unix_timestamp() };
    Ok(DefaultCertificate { fingerprint: Fingerprint::SELF_MADE, pair: Arc::new(pair), certificate })
}

/// Reads a chain and its key from two PEM files.
pub fn read(certificate: &Path, key: &Path) -> Result<DefaultCertificate, CertificateError> {
    let bytes = |path: &Path| std::fs::read(path).map_err(|error| CertificateError::Read { path: path.to_owned(), error });
    let (chain, private) = (bytes(certificate)?, bytes(key)?);
    DefaultCertificate::from_pem(&chain, &private).map_err(|message| CertificateError::Bad {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        message,
    })
}
