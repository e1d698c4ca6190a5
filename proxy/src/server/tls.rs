//! TLS with clients: one rustls configuration per TLS set, which outlives tables, over certificates that change with them.
//!
//! The table holds the hosts; `accept` asks one for its configuration; `Proxy::publish` activates a table's certificates.
//! SNI picks the certificate; the request's host picks the route (reference: Ingress v1, TLS).

use std::fmt;
use std::sync::Arc;

use ahash::AHashMap;
use arc_swap::ArcSwap;
use rust_ingress_model::{ClientCertificates, Fingerprint, HostPattern, KeyPair, KeyStore, Name, Part, Snapshot, TlsSet};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, ServerConfig};
use rustls::sign::CertifiedKey;

use super::clients;

/// Certificates with their keys, by fingerprint.
#[derive(Default)]
pub struct Certificates(AHashMap<Fingerprint, Arc<CertifiedKey>>);

impl Certificates {
    /// Loads the certificates that a snapshot names; those of `previous` are shared. One that can't be loaded is left
    /// out and named in the log; handshakes for its hosts are refused.
    pub fn new(snapshot: &Snapshot, keys: &KeyStore, previous: &Self) -> Self {
        let load = |fingerprint: &Fingerprint| {
            let kept = previous.0.get(fingerprint).cloned();
            let loaded = kept.or_else(|| match keys.get(fingerprint).map(|pair| certified_key(pair)) {
                Some(Ok(loaded)) => Some(Arc::new(loaded)),
                Some(Err(error)) => {
                    tracing::error!(%fingerprint, %error, "certificate can't be used; check that the Secret's key belongs to its certificate");
                    None
                }
                None => {
                    tracing::error!(%fingerprint, "certificate has no key; check the Secret that it comes from");
                    None
                }
            });
            Some((*fingerprint, loaded?))
        };
        Self(snapshot.certificates.keys().filter_map(load).collect())
    }
}

/// Makes a chain and a key ready for rustls.
fn certified_key(pair: &KeyPair) -> Result<CertifiedKey, rustls::Error> {
    let chain = pair.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
    let key = PrivateKeyDer::try_from(pair.key.to_vec()).map_err(|text| rustls::Error::General(text.to_owned()))?;
    CertifiedKey::from_der(chain, key, &provider())
}

/// The one cryptography provider: aws-lc-rs.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: std::sync::OnceLock<Arc<CryptoProvider>> = std::sync::OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider())).clone()
}

/// The provider with AES-128-GCM and SHA-256 first: processors have instructions for both, and none here for SHA-384, which
/// costs a tenth of a handshake (`bench http`).
fn server_provider() -> Arc<CryptoProvider> {
    let mut provider = CryptoProvider::clone(&provider());
    provider.cipher_suites.sort_by_key(|suite| !suite.suite().as_str().is_some_and(|name| name.contains("AES_128_GCM_SHA256")));
    Arc::new(provider)
}

/// What one TLS set presents, in one table, and the configuration that it shares with the same set of other tables.
pub struct TlsHost {
    set: Part<TlsSet>,
    names: Arc<NameTable>,
    live: Arc<Live>,
    config: Option<Arc<ServerConfig>>,
}

impl TlsHost {
    /// Resolves a set's fingerprints; shares the configuration of the same set in the table before.
    pub fn new(set: &Part<TlsSet>, certificates: &Certificates, previous: Option<&Arc<Self>>) -> Arc<Self> {
        let names = NameTable::new(set, certificates);
        // Clients that are checked otherwise get a configuration of their own: its sessions can't be resumed in the other's.
        if let Some(previous) = previous.filter(|previous| previous.set.clients == set.clients) {
            if previous.set == *set && previous.names.same(&names) {
                return previous.clone();
            }
            let (live, config) = (previous.live.clone(), previous.config.clone());
            return Arc::new(Self { set: set.clone(), names: Arc::new(names), live, config });
        }
        let names = Arc::new(names);
        let live = Arc::new(Live(ArcSwap::new(names.clone())));
        let config = server_config(live.clone(), set.clients.as_ref())
            .inspect_err(|error| tracing::error!(%error, "TLS can't be set up; its listeners aren't opened"))
            .ok();
        Arc::new(Self { set: set.clone(), names, live, config })
    }

    /// The configuration for new connections.
    pub fn config(&self) -> Option<&Arc<ServerConfig>> {
        self.config.as_ref()
    }

    /// Handshakes see this table's certificates from now on.
    pub fn activate(&self) {
        if !Arc::ptr_eq(&self.live.0.load(), &self.names) {
            self.live.0.store(self.names.clone());
        }
    }
}

fn server_config(live: Arc<Live>, clients: Option<&ClientCertificates>) -> Result<Arc<ServerConfig>, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(server_provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => builder.with_client_cert_verifier(clients::verifier(clients, provider())?),
    };
    let mut config = builder.with_cert_resolver(live);
    config.ignore_client_order = true;
    // One is enough for a client that keeps its connection, and each costs a key derivation and a record.
    config.send_tls13_tickets = 1;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
    Ok(Arc::new(config))
}

/// The names in force now.
struct Live(ArcSwap<NameTable>);

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Live")
    }
}

impl ResolvesServerCert for Live {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let names = self.0.load();
        match hello.server_name() {
            Some(name) => names.find(&name.to_ascii_lowercase()),
            None => names.default.clone(),
        }
    }
}

/// `None`: the name's certificate has no usable key. Its handshakes are refused; nobody else's certificate stands in for it.
type ByName = AHashMap<Name, Option<Arc<CertifiedKey>>>;

/// Which certificate answers which name.
#[derive(Default)]
struct NameTable {
    exact: ByName,
    one_label: ByName,
    any_labels: ByName,
    default: Option<Arc<CertifiedKey>>,
}

impl NameTable {
    fn new(set: &TlsSet, certificates: &Certificates) -> Self {
        let mut names =
            Self { default: set.default.as_ref().and_then(|one| certificates.0.get(one)).cloned(), ..Self::default() };
        for (pattern, fingerprint) in &set.by_host {
            let key = certificates.0.get(fingerprint).cloned();
            match pattern {
                HostPattern::Exact(name) => drop(names.exact.insert(name.clone(), key)),
                HostPattern::OneLabel(suffix) => drop(names.one_label.insert(suffix.clone(), key)),
                HostPattern::AnyLabels(suffix) => drop(names.any_labels.insert(suffix.clone(), key)),
                HostPattern::Any => names.default = key,
            }
        }
        names
    }

    fn find(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        if let Some(key) = self.exact.get(name) {
            return key.clone();
        }
        for (stripped, (dot, _)) in name.match_indices('.').enumerate() {
            let Some(suffix) = name.get(dot + 1..) else { continue };
            let one_label = if stripped == 0 && dot > 0 { self.one_label.get(suffix) } else { None };
            if let Some(key) = one_label.or_else(|| self.any_labels.get(suffix)) {
                return key.clone();
            }
        }
        self.default.clone()
    }

    /// Whether both hold the same loaded certificates, for sets known to be equal.
    fn same(&self, other: &Self) -> bool {
        let both = |one: &Option<Arc<CertifiedKey>>, two: &Option<Arc<CertifiedKey>>| match (one, two) {
            (Some(one), Some(two)) => Arc::ptr_eq(one, two),
            (None, None) => true,
            _ => false,
        };
        let equal = |one: &ByName, two: &ByName| {
            one.len() == two.len() && one.iter().all(|(name, key)| two.get(name).is_some_and(|other| both(key, other)))
        };
        both(&self.default, &other.default)
            && equal(&self.exact, &other.exact)
            && equal(&self.one_label, &other.one_label)
            && equal(&self.any_labels, &other.any_labels)
    }
}
