//! What to change in one snapshot to have another: the parts that differ. Costs the chunks of maps that aren't shared.

use std::collections::BTreeMap;
use std::hash::Hash;

use ipnet::IpNet;
use rust_ingress_model::l4::L4Service;
use rust_ingress_model::{
    Backend, BackendKey, Certificate, Fingerprint, HostPattern, Listener, ListenerName, Name, ObjectRef, Part, PartMap, Report,
    ReportKey, RouteSet, RouteSetName, Snapshot, TlsSet, VirtualHost,
};
use serde::{Deserialize, Serialize};

/// Changes from one snapshot to another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Difference {
    listeners: Changes<ListenerName, Listener>,
    /// Route sets that are new or have changes, even none at all: a set may be empty.
    route_sets: BTreeMap<RouteSetName, Changes<HostPattern, VirtualHost>>,
    gone_route_sets: Vec<RouteSetName>,
    backends: Changes<BackendKey, Backend>,
    tls_sets: Changes<Name, TlsSet>,
    certificates: Changes<Fingerprint, Certificate>,
    services: Changes<ObjectRef, L4Service>,
    /// The new ones, if they changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    service_cidrs: Option<Vec<IpNet>>,
    reports: Changes<ReportKey, Report>,
}

/// Changes of one map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    default,
    bound(serialize = "K: Serialize + Ord, V: Serialize", deserialize = "K: Deserialize<'de> + Ord, V: Deserialize<'de> + Hash")
)]
pub struct Changes<K, V> {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    put: BTreeMap<K, Part<V>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    gone: Vec<K>,
}

impl<K, V> Default for Changes<K, V> {
    fn default() -> Self {
        Self { put: BTreeMap::new(), gone: Vec::new() }
    }
}

impl<K: Ord + Hash + Clone, V> Changes<K, V> {
    /// Looks only at what the maps don't share.
    fn between(old: &PartMap<K, V>, new: &PartMap<K, V>) -> Self {
        let gone = old.near_changes(new).filter(|(key, _)| !new.contains_key(*key));
        let put = new.near_changes(old).filter(|(key, part)| old.get(*key) != Some(*part));
        Self {
            gone: gone.map(|(key, _)| key.clone()).collect(),
            put: put.map(|(key, part)| (key.clone(), part.clone())).collect(),
        }
    }

    fn is_empty(&self) -> bool {
        self.put.is_empty() && self.gone.is_empty()
    }

    fn apply(self, to: &mut PartMap<K, V>) {
        for key in &self.gone {
            to.remove(key);
        }
        to.extend(self.put);
    }
}

impl Difference {
    /// What to change in `old` to have `new`.
    pub fn between(old: &Snapshot, new: &Snapshot) -> Self {
        let nothing = RouteSet::default();
        let changed = new.route_sets.iter().filter_map(|(name, set)| {
            let before = old.route_sets.get(name);
            let changes = Changes::between(&before.unwrap_or(&nothing).hosts, &set.hosts);
            (before.is_none() || !changes.is_empty()).then(|| (name.clone(), changes))
        });
        let gone = old.route_sets.keys().filter(|name| !new.route_sets.contains_key(*name));
        Self {
            listeners: Changes::between(&old.listeners, &new.listeners),
            route_sets: changed.collect(),
            gone_route_sets: gone.cloned().collect(),
            backends: Changes::between(&old.backends, &new.backends),
            tls_sets: Changes::between(&old.tls_sets, &new.tls_sets),
            certificates: Changes::between(&old.certificates, &new.certificates),
            services: Changes::between(&old.services, &new.services),
            service_cidrs: (old.service_cidrs != new.service_cidrs).then(|| new.service_cidrs.clone()),
            reports: Changes::between(&old.reports, &new.reports),
        }
    }

    /// Makes the changes.
    pub fn apply(self, to: &mut Snapshot) {
        self.listeners.apply(&mut to.listeners);
        for name in &self.gone_route_sets {
            to.route_sets.remove(name);
        }
        for (name, changes) in self.route_sets {
            changes.apply(&mut to.route_sets.entry(name).or_default().hosts);
        }
        self.backends.apply(&mut to.backends);
        self.tls_sets.apply(&mut to.tls_sets);
        self.certificates.apply(&mut to.certificates);
        self.services.apply(&mut to.services);
        if let Some(cidrs) = self.service_cidrs {
            to.service_cidrs = cidrs;
        }
        self.reports.apply(&mut to.reports);
    }

    /// How many parts change.
    pub fn len(&self) -> usize {
        fn of<K, V>(changes: &Changes<K, V>) -> usize {
            changes.put.len() + changes.gone.len()
        }
        let hosts: usize = self.route_sets.values().map(of).sum();
        let rest = [of(&self.listeners), of(&self.backends), of(&self.tls_sets), of(&self.certificates)];
        let l4 = of(&self.services) + usize::from(self.service_cidrs.is_some());
        hosts + self.gone_route_sets.len() + rest.iter().sum::<usize>() + l4 + of(&self.reports)
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.route_sets.is_empty()
    }
}
