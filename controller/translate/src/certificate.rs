//! Secrets as certificates: parsed once at the door, key bytes wiped everywhere but in the `KeyPair`. Called by the World.

use std::borrow::Cow;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use rust_ingress_model::{Certificate, Fingerprint, HostPattern, KeyPair, ObjectRef, Part};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;
use zeroize::{Zeroize, Zeroizing};

/// A usable certificate. No `Debug`: it holds the key.
pub(crate) struct Usable {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) pair: Arc<KeyPair>,
    pub(crate) certificate: Part<Certificate>,
}

impl Usable {
    /// Whether one of its DNS names covers a host. A wildcard stands for one label (RFC 6125).
    pub(crate) fn covers(&self, host: &HostPattern) -> bool {
        let name = |name: &str| match (name.parse::<HostPattern>(), host) {
            (_, HostPattern::Any) => true,
            (Ok(pattern @ HostPattern::OneLabel(_)), HostPattern::Exact(host)) => pattern.matches(host),
            (Ok(pattern), _) => pattern == *host,
            (Err(_), _) => false,
        };
        self.certificate.dns_names.iter().any(|dns| name(&dns.to_ascii_lowercase()))
    }
}

/// What became of a Secret: a usable certificate, or what is wrong with it.
pub(crate) type Parsed = Result<Usable, Unusable>;

/// What is wrong with a Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unusable {
    /// As the rest of a sentence that begins with the Secret.
    pub(crate) why: String,
    pub(crate) advice: Cow<'static, str>,
}

impl From<String> for Unusable {
    fn from(why: String) -> Self {
        let advice = "write a certificate chain to tls.crt and its private key to tls.key, both in PEM";
        Self { why, advice: advice.into() }
    }
}

/// Whether two states of a Secret are the same.
pub(crate) fn same(old: Option<&Parsed>, new: Option<&Parsed>) -> bool {
    match (old, new) {
        (None, None) => true,
        (Some(Ok(old)), Some(Ok(new))) => old.fingerprint == new.fingerprint && old.pair.key == new.pair.key,
        (Some(Err(old)), Some(Err(new))) => old == new,
        _ => false,
    }
}

/// Parses a Secret of type `kubernetes.io/tls`, or any with its two entries; wipes the bytes that it came in.
pub(crate) fn parse(reference: &ObjectRef, secret: &mut Secret) -> Parsed {
    let result = {
        let entry = |name: &str| {
            let data = secret.data.as_ref().and_then(|data| data.get(name)).map(|bytes| bytes.0.as_slice());
            data.or_else(|| secret.string_data.as_ref().and_then(|data| data.get(name)).map(String::as_bytes))
        };
        match (entry("tls.crt"), entry("tls.key")) {
            (Some(chain), Some(key)) => read(Some(reference), chain, key),
            (None, _) => Err("has no tls.crt".to_owned()),
            (_, None) => Err("has no tls.key".to_owned()),
        }
    };
    secret.data.iter_mut().flat_map(|data| data.values_mut()).for_each(|bytes| bytes.0.zeroize());
    secret.string_data.iter_mut().flat_map(|data| data.values_mut()).for_each(Zeroize::zeroize);
    result.map_err(Unusable::from)
}

pub(crate) fn read(reference: Option<&ObjectRef>, chain: &[u8], key: &[u8]) -> Result<Usable, String> {
    let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("has a tls.crt that isn't PEM: {error}"))?;
    let leaf = certificates.first().ok_or("has a tls.crt without a certificate")?;
    let (_, parsed) =
        parse_x509_certificate(leaf).map_err(|error| format!("has a tls.crt that isn't an X.509 certificate: {error}"))?;
    let names = parsed.subject_alternative_name().ok().flatten();
    let dns_names = names.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    });
    let certificate = Certificate {
        source: reference.cloned(),
        dns_names: dns_names.collect(),
        not_after: parsed.validity().not_after.timestamp(),
    };
    let mut key =
        PrivateKeyDer::from_pem_slice(key).map_err(|error| format!("has a tls.key that isn't a private key in PEM: {error}"))?;
    let bytes = Zeroizing::new(key.secret_der().to_vec());
    let matches = keys_match(&certificates, &key);
    key.zeroize();
    matches?;
    let chain: Vec<Vec<u8>> = certificates.into_iter().map(|certificate| certificate.to_vec()).collect();
    let pair = KeyPair { chain, key: bytes };
    Ok(Usable { fingerprint: pair.fingerprint(), pair: Arc::new(pair), certificate: Part::new(certificate) })
}

fn keys_match(chain: &[CertificateDer<'static>], key: &PrivateKeyDer<'static>) -> Result<(), String> {
    let signing = any_supported_type(key).map_err(|error| format!("has a tls.key that can't be used: {error}"))?;
    match CertifiedKey::new(chain.to_vec(), signing).keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(()),
        Err(rustls::Error::InconsistentKeys(_)) => Err("has a tls.key that doesn't belong to its tls.crt".into()),
        Err(error) => Err(format!("has a tls.crt that can't be used: {error}")),
    }
}
