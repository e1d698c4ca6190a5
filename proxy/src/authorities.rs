//! Authorities in PEM, as snapshots have them, ready to verify certificates with: those of endpoints, and those of clients.

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// All certificates of all texts.
///
/// # Errors
/// What is wrong with one of them, or that there is none.
pub(crate) fn store(authorities: &[String]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for pem in authorities {
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate = certificate.map_err(|error| format!("an authority isn't PEM: {error}"))?;
            roots.add(certificate).map_err(|error| format!("an authority can't be used: {error}"))?;
        }
    }
    if roots.is_empty() { Err("no authority is given to verify certificates with".into()) } else { Ok(roots) }
}
