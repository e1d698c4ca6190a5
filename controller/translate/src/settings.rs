//! What translation is told besides objects: where they come from, where the proxy listens. The controller fills it from flags.

use std::net::SocketAddr;
use std::sync::Arc;

use rust_ingress_model::{Certificate, Fingerprint, KeyPair};

/// The IngressClass controller name that is ours.
pub(crate) const CONTROLLER: &str = "rust-ingress.dev/ingress-controller";

/// Where objects come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A folder of manifests: written by whoever runs the program, and not validated by an API server.
    Files,
    /// A cluster: written by its tenants.
    Cluster,
}

/// The certificate for names that no Secret covers.
#[derive(Clone)]
pub struct DefaultCertificate {
    /// What a snapshot calls it.
    pub fingerprint: Fingerprint,
    /// Chain and key.
    pub pair: Arc<KeyPair>,
    /// What is public of it.
    pub certificate: Certificate,
}

/// What translation is told besides objects. A change of it needs [`crate::Dirty::all`].
#[derive(Clone)]
pub struct Settings {
    /// Where objects come from.
    pub origin: Origin,
    /// The class that is ours in a folder without any IngressClass document, and by the legacy annotation.
    pub ingress_class: String,
    /// Where HTTP is served. An unspecified address means every address of both families.
    pub http: Vec<SocketAddr>,
    /// Where HTTPS is served. The first port is the one that redirects name.
    pub https: Vec<SocketAddr>,
    /// What redirects name where that port is 0: the one that the kernel gave, once it is known.
    pub https_port_given: Option<u16>,
    /// Whether a PROXY protocol header opens every connection of these listeners.
    pub proxy_protocol: bool,
    /// For names that no Secret covers. `None`: their handshakes are refused.
    pub default_certificate: Option<DefaultCertificate>,
    /// Whether Services of type ExternalName are served. Off by default: they reach wherever a tenant points them.
    pub allow_external_name: bool,
    /// Whether Services are translated for a node agent. A World is made for it: [`crate::World::new`].
    pub l4: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            origin: Origin::Files,
            ingress_class: "rust-ingress".into(),
            http: Vec::new(),
            https: Vec::new(),
            https_port_given: None,
            proxy_protocol: false,
            default_certificate: None,
            allow_external_name: false,
            l4: false,
        }
    }
}

impl DefaultCertificate {
    /// Reads a chain and its key, both PEM. The error says what is wrong with them.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, String> {
        let usable = crate::certificate::read(None, chain, key)?;
        Ok(Self { fingerprint: usable.fingerprint, pair: usable.pair, certificate: Certificate::clone(&usable.certificate) })
    }
}
