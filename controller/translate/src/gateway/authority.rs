//! Authorities that certificates must chain to: ConfigMaps and ClusterTrustBundles, and the references to them.
//!
//! Used by BackendTLSPolicies for endpoints' certificates, and by Gateways for clients'.

use std::sync::Arc;

use k8s_openapi::api::certificates::v1::ClusterTrustBundle;
use k8s_openapi::api::core::v1::ConfigMap;
use rust_ingress_model::{Name, ObjectRef};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::grant::{CONFIG_MAP, Kind};
use super::layout::Why;
use crate::world::World;

/// The entry of a ConfigMap that holds authorities.
const ENTRY: &str = "ca.crt";
/// The group of ClusterTrustBundles.
const TRUST_GROUP: &str = "certificates.k8s.io";

/// Authorities in PEM, or what is wrong with the object, as the rest of a sentence that begins with it.
pub(crate) type Bundle = Result<Arc<str>, String>;

/// A reference to authorities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AuthorityRef {
    /// What it is, for messages: `ConfigMap infra/ca`.
    what: String,
    /// `None`: of a kind that can't hold authorities.
    pub(crate) object: Option<ObjectRef>,
}

/// Which reasons conditions have for a reference that can't be followed: they differ between policies and listeners.
#[derive(Clone, Copy)]
pub(crate) struct Reasons {
    pub(crate) kind: &'static str,
    pub(crate) reference: &'static str,
}

/// Authorities of a ConfigMap.
pub(crate) fn of_config_map(object: &ConfigMap) -> Bundle {
    let text = object.data.as_ref().and_then(|data| data.get(ENTRY)).map(String::as_str);
    let binary = || object.binary_data.as_ref().and_then(|data| std::str::from_utf8(&data.get(ENTRY)?.0).ok());
    text.or_else(binary).ok_or_else(|| format!("has no {ENTRY}; write authorities in PEM there")).and_then(read)
}

/// Authorities of a ClusterTrustBundle.
pub(crate) fn of_trust_bundle(object: &ClusterTrustBundle) -> Bundle {
    read(&object.spec.trust_bundle)
}

/// Checks authorities with the code that will use them.
fn read(pem: &str) -> Bundle {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| format!("holds authorities that aren't PEM ({error}); correct them"))?;
        roots.add(certificate).map_err(|error| format!("holds an authority that can't be used ({error}); correct it"))?;
    }
    match roots.is_empty() {
        true => Err("holds no authority; write at least one in PEM".into()),
        false => Ok(pem.into()),
    }
}

impl AuthorityRef {
    /// Reads a reference that stands in a namespace.
    pub(crate) fn parse(from: &Name, (group, kind): (&str, &str), namespace: Option<&str>, name: &str) -> Self {
        let namespace = namespace.filter(|text| !text.is_empty()).unwrap_or(from);
        match (group, kind) {
            ("" | "core", "ConfigMap") => {
                let object = ObjectRef::new("ConfigMap", namespace, name);
                Self { what: format!("ConfigMap {namespace}/{name}"), object: Some(object) }
            }
            (TRUST_GROUP, "ClusterTrustBundle") => {
                let object = ObjectRef::new("ClusterTrustBundle", "", name);
                Self { what: format!("ClusterTrustBundle {name}"), object: Some(object) }
            }
            _ => Self { what: format!("{kind} {name} of group {group:?}"), object: None },
        }
    }
}

impl World {
    /// All authorities that can be had of some references, and what is wrong with the first that can't.
    pub(crate) fn authorities(&self, refs: &[AuthorityRef], from: (Kind, &Name), why: Reasons) -> (Vec<String>, Option<Why>) {
        let (mut found, mut wrong) = (Vec::new(), None);
        for reference in refs {
            match self.authority(reference, from, why) {
                Ok(pem) => found.push(pem.to_string()),
                Err(why) => drop(wrong.get_or_insert(why)),
            }
        }
        (found, wrong)
    }

    fn authority(&self, AuthorityRef { what, object }: &AuthorityRef, from: (Kind, &Name), why: Reasons) -> Result<&str, Why> {
        let Some(object) = object else {
            return Err((why.kind, format!("{what} can't hold authorities; name a ConfigMap or a ClusterTrustBundle")));
        };
        let namespaced = !object.namespace.is_empty();
        if namespaced && !self.granted(from, CONFIG_MAP, (&object.namespace, &object.name)) {
            let message = format!("{what} is in another namespace, and no ReferenceGrant there allows it; write one");
            return Err(("RefNotPermitted", message));
        }
        match self.gateways.bundles.get(object) {
            Some(Ok(pem)) => Ok(pem),
            Some(Err(wrong)) => Err((why.reference, format!("{what} {wrong}"))),
            None => Err((why.reference, format!("{what} isn't there; create it, or correct the reference"))),
        }
    }
}
