//! `spec.tls` of an Ingress: which hosts ask for which Secret.
//!
//! An entry without hosts stands for all hosts of the Ingress' rules that no other entry names; of several such the first.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::networking::v1::IngressSpec;
use rust_ingress_model::{HostPattern, Name, Reason};

use super::validate;
use crate::faults::Faults;

/// `spec.tls`, by entry and by host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tls {
    /// As written.
    pub(crate) entries: Vec<TlsEntry>,
    /// Where each host stands: entry, and place in its hosts. An object may hold ten thousand hosts.
    places: BTreeMap<HostPattern, Vec<(usize, usize)>>,
}

impl Tls {
    fn new(entries: Vec<TlsEntry>) -> Self {
        let mut places: BTreeMap<HostPattern, Vec<(usize, usize)>> = BTreeMap::new();
        for (index, entry) in entries.iter().enumerate() {
            for (place, (host, _)) in entry.hosts.iter().enumerate() {
                places.entry(host.clone()).or_default().push((index, place));
            }
        }
        Self { entries, places }
    }

    /// All hosts.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = &HostPattern> {
        self.places.keys()
    }

    /// The entries that name a host, each with the field that does.
    pub(crate) fn of_host(&self, host: &HostPattern) -> impl Iterator<Item = (&TlsEntry, &str)> {
        self.places.get(host).into_iter().flatten().filter_map(|(entry, place)| {
            let entry = self.entries.get(*entry)?;
            Some((entry, entry.hosts.get(*place)?.1.as_str()))
        })
    }

    /// Whether a host stands here, by itself or under a wildcard.
    pub(crate) fn covers(&self, host: &HostPattern) -> bool {
        let wildcard = || match host {
            HostPattern::Exact(name) => name.split_once('.').map(|(_, suffix)| HostPattern::OneLabel(suffix.into())),
            _ => None,
        };
        self.places.contains_key(host) || wildcard().is_some_and(|wildcard| self.places.contains_key(&wildcard))
    }
}

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
pub(super) fn parse(spec: &IngressSpec, rule_hosts: &BTreeSet<HostPattern>, faults: &mut Faults) -> Tls {
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
    let mut rest = entries.iter_mut().filter(|(everything, _)| *everything).map(|(_, entry)| entry);
    if let Some(entry) = rest.next() {
        entry.hosts = rule_hosts.difference(&named).map(|host| (host.clone(), format!("{}.hosts", entry.field))).collect();
    }
    for entry in rest {
        let message = "an earlier entry without hosts stands for all hosts already: this one does nothing";
        faults.error(format!("{}.hosts", entry.field), Reason::Conflict, message, "name the hosts of each entry");
    }
    Tls::new(entries.into_iter().map(|(_, entry)| entry).collect())
}
