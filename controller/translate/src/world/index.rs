//! Reverse indexes of the World: who refers to what, so that a change knows what it makes dirty.

use std::collections::{BTreeMap, BTreeSet};

use rust_ingress_model::{BackendKey, HostPattern, Name, PortRef};

use super::Key;
use crate::ingress::Ingress;

/// Several values under a key, in order, without empty sets.
pub(crate) struct Multimap<K, V>(BTreeMap<K, BTreeSet<V>>);

impl<K, V> Default for Multimap<K, V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord, V: Ord> Multimap<K, V> {
    pub(crate) fn insert(&mut self, key: K, value: V) {
        self.0.entry(key).or_default().insert(value);
    }

    pub(crate) fn remove(&mut self, key: &K, value: &V) {
        if let Some(values) = self.0.get_mut(key) {
            values.remove(value);
            if values.is_empty() {
                self.0.remove(key);
            }
        }
    }

    pub(crate) fn get(&self, key: &K) -> impl Iterator<Item = &V> {
        self.0.get(key).into_iter().flatten()
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &K> {
        self.0.keys()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &BTreeSet<V>)> {
        self.0.iter()
    }
}

/// Who refers to what.
#[derive(Default)]
pub(crate) struct Index {
    /// Hosts to Ingresses.
    pub(crate) hosts: Multimap<HostPattern, Key>,
    /// Service ports to Ingresses.
    pub(crate) backends: Multimap<BackendKey, Key>,
    /// Secrets to Ingresses.
    pub(crate) secrets: Multimap<Key, Key>,
    /// Class names to Ingresses; `None` for those without a class.
    pub(crate) classes: Multimap<Option<Name>, Key>,
}

impl Index {
    /// Enters what an Ingress refers to.
    pub(crate) fn insert(&mut self, key: &Key, ingress: &Ingress) {
        ingress.hosts().into_iter().for_each(|host| self.hosts.insert(host, key.clone()));
        ingress.backends.keys().for_each(|backend| self.backends.insert(backend.clone(), key.clone()));
        ingress.secrets().into_iter().for_each(|name| self.secrets.insert((key.0.clone(), name.clone()), key.clone()));
        self.classes.insert(ingress.class.name().cloned(), key.clone());
    }

    /// Takes out what an Ingress referred to.
    pub(crate) fn remove(&mut self, key: &Key, ingress: &Ingress) {
        ingress.hosts().iter().for_each(|host| self.hosts.remove(host, key));
        ingress.backends.keys().for_each(|backend| self.backends.remove(backend, key));
        ingress.secrets().into_iter().for_each(|name| self.secrets.remove(&(key.0.clone(), name.clone()), key));
        self.classes.remove(&ingress.class.name().cloned(), key);
    }

    /// The ports of a Service that Ingresses refer to.
    pub(crate) fn backends_of(&self, service: &Key) -> impl Iterator<Item = &BackendKey> {
        backends_of(&self.backends, service)
    }
}

/// The ports of a Service among those that somebody refers to.
pub(crate) fn backends_of<'m, V>(backends: &'m Multimap<BackendKey, V>, service: &Key) -> impl Iterator<Item = &'m BackendKey> {
    let (namespace, name) = service.clone();
    let first = BackendKey { namespace, service: name, port: PortRef::Number(0), protocol: None, gateway: None };
    let service = service.clone();
    backends.0.range(first..).map(|(key, _)| key).take_while(move |key| key.namespace == service.0 && key.service == service.1)
}
