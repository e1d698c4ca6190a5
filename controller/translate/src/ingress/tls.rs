//! `spec.tls` of an Ingress: which hosts ask for which Secret.
//!
//! An entry without hosts stands for all hosts of the Ingress' rules that no other entry names.

use std::collections::BTreeSet;

use k8s_openapi::api::networking::v1::IngressSpec;
use rust_ingress_model::{HostPattern, Name, Reason};

use super::validate;
use crate::faults::Faults;

/// One entry of `spec.tls`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TlsEntry {
    /// `spec.tls[0]`
    pub(crate) field: String,
    /// Its hosts, each with its field.
    pub(crate) hosts: Vec<(HostPattern, String)>,
    /// The Secret, in the Ingress' namespace. `None`: the default certificate.
    pub(crate) secret: Option<Name>,
}

/// Reads `spec.tls`; `rule_hosts` are the hosts of the Ingress' rules.
pub(super) fn parse(spec: &IngressSpec, rule_hosts: &BTreeSet<HostPattern>, faults: &mut Faults) -> Vec<TlsEntry> {
    let mut named = BTreeSet::new();
    let mut entries = Vec::new();
    for (index, tls) in spec.tls.iter().flatten().enumerate() {
        let field = format!("spec.tls[{index}]");
        let mut hosts = Vec::new();
        for (index, text) in tls.hosts.iter().flatten().enumerate() {
            let field = format!("{field}.hosts[{index}]");
            match validate::host(text) {
                Ok(host) => {
                    named.insert(host.clone());
                    hosts.push((host, field));
                }
                Err(why) => {
                    let advice = "write a DNS name in lower case, or *. and one";
                    faults.error(field, Reason::InvalidValue, format!("{text:?} {why}"), advice);
                }
            }
        }
        let secret = tls.secret_name.as_deref().filter(|name| !name.is_empty());
        let usable = secret.filter(|name| validate::subdomain(name));
        if let (Some(name), None) = (secret, usable) {
            let message = format!("{name:?} isn't the name of a Secret: the default certificate is served");
            faults.error(format!("{field}.secretName"), Reason::InvalidValue, message, "write the Secret's name");
        }
        let everything = tls.hosts.as_ref().is_none_or(Vec::is_empty);
        entries.push((everything, TlsEntry { field, hosts, secret: usable.map(Name::from) }));
    }
    for (_, entry) in entries.iter_mut().filter(|(everything, _)| *everything) {
        entry.hosts = rule_hosts.difference(&named).map(|host| (host.clone(), format!("{}.hosts", entry.field))).collect();
    }
    entries.into_iter().map(|(_, entry)| entry).collect()
}
