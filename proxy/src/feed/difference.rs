//! What to change in one snapshot to have another: the parts that differ. Costs a look at each pointer, and what changed.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use rust_ingress_model::l4::L4Service;
use rust_ingress_model::{
    Backend, BackendKey, Certificate, Fingerprint, HostPattern, Listener, ListenerName, Name, ObjectRef, Part, Report, ReportKey,
    RouteSet, RouteSetName, Snapshot, TlsSet, VirtualHost,
};
use serde::{Deserialize, Serialize};

/// Changes from one snapshot to another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Difference {
    listeners: Changes<ListenerName, Part<Listener>>,
    /// Route sets that are new or have changes, even none at all: a set may be empty.
    route_sets: BTreeMap<RouteSetName, Changes<HostPattern, Part<VirtualHost>>>,
    gone_route_sets: Vec<RouteSetName>,
    backends: Changes<BackendKey, Part<Backend>>,
    tls_sets: Changes<Name, Part<TlsSet>>,
    certificates: Changes<Fingerprint, Part<Certificate>>,
    services: Changes<ObjectRef, Part<L4Service>>,
    reports: Changes<ReportKey, Part<Report>>,
}

/// Changes of one map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    default,
    bound(serialize = "K: Serialize + Ord, V: Serialize", deserialize = "K: Deserialize<'de> + Ord, V: Deserialize<'de>")
)]
pub struct Changes<K, V> {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    put: BTreeMap<K, V>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    gone: Vec<K>,
}

impl<K, V> Default for Changes<K, V> {
    fn default() -> Self {
        Self { put: BTreeMap::new(), gone: Vec::new() }
    }
}

impl<K: Ord + Clone, V: PartialEq + Clone> Changes<K, V> {
    /// Both maps are walked once, side by side.
    fn between(old: &BTreeMap<K, V>, new: &BTreeMap<K, V>) -> Self {
        let mut changes = Self::default();
        let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
        loop {
            let order = match (old.peek(), new.peek()) {
                (Some((was, _)), Some((is, _))) => was.cmp(is),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return changes,
            };
            let was = if order.is_le() { old.next() } else { None };
            let is = if order.is_ge() { new.next() } else { None };
            match (was, is) {
                (Some((key, _)), None) => changes.gone.push(key.clone()),
                (was, Some((key, value))) if was.is_none_or(|(_, was)| was != value) => {
                    changes.put.insert(key.clone(), value.clone());
                }
                _ => {}
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.put.is_empty() && self.gone.is_empty()
    }

    fn apply(self, to: &mut BTreeMap<K, V>) {
        for key in &self.gone {
            to.remove(key);
        }
        if to.is_empty() {
            *to = self.put;
        } else {
            to.extend(self.put);
        }
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
        self.reports.apply(&mut to.reports);
    }

    /// How many parts change.
    pub fn len(&self) -> usize {
        fn of<K, V>(changes: &Changes<K, V>) -> usize {
            changes.put.len() + changes.gone.len()
        }
        let hosts: usize = self.route_sets.values().map(of).sum();
        let rest = [of(&self.listeners), of(&self.backends), of(&self.tls_sets), of(&self.certificates)];
        hosts + self.gone_route_sets.len() + rest.iter().sum::<usize>() + of(&self.services) + of(&self.reports)
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.route_sets.is_empty()
    }
}
