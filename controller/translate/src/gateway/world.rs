//! The World's part for the Gateway API: its objects, who refers to what, and what each change makes dirty.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Namespace;
use rust_ingress_model::{BackendKey, HostPattern, Name, ObjectRef};

use super::authority::Bundle;
use super::class::Class;
use super::grant::Grant;
use super::listener::{Gateway, Listener, Namespaces};
use super::parameters::Parameters;
use super::policy::Policy;
use super::route::Route;
use super::service;
use super::set::ListenerSet;
use crate::world::index::{Multimap, backends_of};
use crate::world::{Key, World};

/// The label that every namespace has of the API server.
pub(crate) const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// The Gateway API's objects, and who refers to what.
#[derive(Default)]
pub(crate) struct Gateways {
    pub(crate) classes: BTreeMap<Name, Class>,
    pub(crate) gateways: BTreeMap<Key, Arc<Gateway>>,
    /// Of all kinds.
    pub(crate) routes: BTreeMap<ObjectRef, Arc<Route>>,
    /// By namespace and name.
    pub(crate) grants: BTreeMap<Name, BTreeMap<Name, Grant>>,
    /// GatewayParameters, or why they can't be used.
    pub(crate) parameters: BTreeMap<Key, Result<Parameters, String>>,
    /// Labels.
    pub(crate) namespaces: BTreeMap<Name, BTreeMap<String, String>>,
    /// Gateways to routes.
    pub(crate) attached: Multimap<Key, ObjectRef>,
    /// Virtual hosts of Gateways to routes.
    pub(crate) hosts: Multimap<(Key, HostPattern), ObjectRef>,
    /// Service ports to routes.
    pub(crate) backends: Multimap<BackendKey, ObjectRef>,
    /// Secrets to Gateways.
    pub(crate) secrets: Multimap<Key, Key>,
    /// ListenerSets.
    pub(crate) sets: BTreeMap<Key, Arc<ListenerSet>>,
    /// Gateways to ListenerSets.
    pub(crate) gateway_sets: Multimap<Key, Key>,
    /// ListenerSets to routes.
    pub(crate) set_routes: Multimap<Key, ObjectRef>,
    /// Secrets to ListenerSets.
    pub(crate) set_secrets: Multimap<Key, Key>,
    /// BackendTLSPolicies.
    pub(crate) policies: BTreeMap<Key, Arc<Policy>>,
    /// Services to policies.
    pub(crate) policies_of: Multimap<Key, Key>,
    /// Authorities, by the object that holds them.
    pub(crate) bundles: BTreeMap<ObjectRef, Bundle>,
    /// Objects that hold authorities to Gateways.
    pub(crate) bundle_gateways: Multimap<ObjectRef, Key>,
    /// Objects that hold authorities to policies.
    pub(crate) bundle_policies: Multimap<ObjectRef, Key>,
}

impl Gateways {
    pub(super) fn enter(&mut self, key: &ObjectRef, route: &Route) {
        Self::sets_of_route(route).for_each(|set| self.set_routes.insert(set, key.clone()));
        for gateway in self.gateways_of(route) {
            route.hostnames.iter().for_each(|host| self.hosts.insert((gateway.clone(), host.clone()), key.clone()));
            self.attached.insert(gateway, key.clone());
        }
        self.keys_of(route).into_iter().for_each(|backend| self.backends.insert(backend, key.clone()));
    }

    /// The ports of a Service that routes refer to.
    pub(crate) fn backends_of(&self, service: &Key) -> impl Iterator<Item = &BackendKey> {
        backends_of(&self.backends, service)
    }

    /// The routes of the other kind of HTTP with a hostname in common.
    fn rivals(&self, route: &Route) -> Vec<Arc<Route>> {
        let gateways = self.gateways_of(route);
        let attached = gateways.iter().flat_map(|gateway| self.attached.get(gateway));
        let others = attached.filter(|other| other.kind != route.reference.kind).filter_map(|other| self.routes.get(other));
        others.filter(|other| other.rivals(route, &HostPattern::Any)).cloned().collect()
    }

    pub(super) fn leave(&mut self, key: &ObjectRef, route: &Route) {
        Self::sets_of_route(route).for_each(|set| self.set_routes.remove(&set, key));
        for gateway in self.gateways_of(route) {
            route.hostnames.iter().for_each(|host| self.hosts.remove(&(gateway.clone(), host.clone()), key));
            self.attached.remove(&gateway, key);
        }
        self.keys_of(route).iter().for_each(|backend| self.backends.remove(backend, key));
    }
}

impl World {
    pub(crate) fn set_gateway_class(&mut self, name: &Name, new: Option<Class>) {
        if self.gateways.classes.get(name) == new.as_ref() {
            return;
        }
        match new {
            Some(class) => self.gateways.classes.insert(name.clone(), class),
            None => self.gateways.classes.remove(name),
        };
        self.references += 1;
        self.dirty.layout = true;
        self.dirty.objects.insert(ObjectRef::new("GatewayClass", "", name));
        let of_class = self.gateways.gateways.iter().filter(|(_, gateway)| gateway.class == *name);
        for key in of_class.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
            self.touch_gateway(&key);
        }
    }

    pub(crate) fn set_gateway(&mut self, key: &Key, new: Option<Gateway>) {
        let old = self.gateways.gateways.get(key).cloned();
        if old.as_deref() == new.as_ref() {
            return;
        }
        let secrets = |gateway: Option<&Gateway>| gateway.map(Gateway::secrets).unwrap_or_default();
        let (before, after) = (secrets(old.as_deref()), secrets(new.as_ref()));
        self.references += 1;
        before.iter().for_each(|secret| self.gateways.secrets.remove(secret, key));
        after.into_iter().for_each(|secret| self.gateways.secrets.insert(secret, key.clone()));
        let bundles =
            |gateway: Option<&Gateway>| -> Vec<ObjectRef> { gateway.into_iter().flat_map(Gateway::bundles).cloned().collect() };
        bundles(old.as_deref()).iter().for_each(|bundle| self.gateways.bundle_gateways.remove(bundle, key));
        bundles(new.as_ref()).into_iter().for_each(|bundle| self.gateways.bundle_gateways.insert(bundle, key.clone()));
        let shows = |gateway: Option<&Gateway>| gateway.is_some_and(|gateway| gateway.client_certificate.is_some());
        let moved = if shows(old.as_deref()) == shows(new.as_ref()) { Vec::new() } else { self.attached(key) };
        moved.iter().for_each(|route| self.touch_route(route));
        moved.iter().for_each(|route| self.gateways.leave(&route.reference, route));
        match new {
            Some(gateway) => drop(self.gateways.gateways.insert(key.clone(), Arc::new(gateway))),
            None => drop(self.gateways.gateways.remove(key)),
        }
        moved.iter().for_each(|route| self.gateways.enter(&route.reference, route));
        self.touch_gateway(key);
    }

    /// The routes that name a Gateway.
    fn attached(&self, gateway: &Key) -> Vec<Arc<Route>> {
        self.gateways.attached.get(gateway).filter_map(|key| self.gateways.routes.get(key)).cloned().collect()
    }

    pub(crate) fn set_route(&mut self, key: &ObjectRef, new: Option<Route>) {
        let old = self.gateways.routes.get(key).cloned();
        if old.as_deref() == new.as_ref() {
            return;
        }
        for route in old.as_deref().into_iter().chain(&new) {
            self.touch_rivals(route);
        }
        if let Some(old) = old {
            self.touch_route(&old);
            self.gateways.leave(key, &old);
            self.gateways.routes.remove(key);
        }
        if let Some(new) = new {
            self.touch_route(&new);
            self.gateways.enter(key, &new);
            self.gateways.routes.insert(key.clone(), Arc::new(new));
        }
    }

    pub(crate) fn set_grant(&mut self, key: &Key, new: Option<Grant>) {
        let (namespace, name) = key;
        let grants = self.gateways.grants.entry(namespace.clone()).or_default();
        if grants.get(name) == new.as_ref() {
            return;
        }
        match new {
            Some(grant) => drop(grants.insert(name.clone(), grant)),
            None => drop(grants.remove(name)),
        }
        // Whatever refers into the namespace from another.
        let backends = self.gateways.backends.iter().filter(|(backend, _)| backend.namespace == *namespace);
        let routes: Vec<ObjectRef> =
            backends.flat_map(|(_, routes)| routes).filter(|route| route.namespace != *namespace).cloned().collect();
        self.touch_routes(&routes);
        let secrets = self.gateways.secrets.iter().filter(|(secret, _)| secret.0 == *namespace);
        let bundles = self.gateways.bundle_gateways.iter().filter(|(bundle, _)| bundle.namespace == *namespace);
        let gateways = secrets.flat_map(|(_, gateways)| gateways).chain(bundles.flat_map(|(_, gateways)| gateways));
        let mut gateways: Vec<Key> = gateways.cloned().collect();
        let secrets = self.gateways.set_secrets.iter().filter(|(secret, _)| secret.0 == *namespace);
        gateways.extend(self.gateways_of_sets(secrets.flat_map(|(_, sets)| sets)));
        self.touch_references(gateways);
    }

    /// What some Gateways refer to has changed.
    pub(super) fn touch_references(&mut self, gateways: Vec<Key>) {
        self.dirty.layout |= !gateways.is_empty();
        for key in gateways {
            match self.gateways.gateways.get(&key).is_some_and(|gateway| gateway.client_certificate.is_some()) {
                true => self.touch_gateway(&key),
                false => drop(self.dirty.gateways.insert(key)),
            }
        }
    }

    pub(crate) fn set_namespace(&mut self, name: &Name, new: Option<&Namespace>) {
        let labels = new.map(|namespace| {
            let mut labels = namespace.metadata.labels.clone().unwrap_or_default();
            labels.insert(NAMESPACE_NAME.into(), name.to_string());
            labels
        });
        if self.gateways.namespaces.get(name) == labels.as_ref() {
            return;
        }
        match labels {
            Some(labels) => drop(self.gateways.namespaces.insert(name.clone(), labels)),
            None => drop(self.gateways.namespaces.remove(name)),
        }
        let by = |namespaces: &Namespaces| matches!(namespaces, Namespaces::Selector(_));
        let any = |listeners: &[Listener]| listeners.iter().any(|listener| by(&listener.namespaces));
        let selecting = self.gateways.gateways.iter().filter(|(_, one)| by(&one.sets) || any(&one.listeners));
        let sets = self.gateways.sets.iter().filter(|(_, set)| any(&set.listeners)).map(|(key, _)| key);
        let gateways: BTreeSet<Key> = selecting.map(|(key, _)| key.clone()).chain(self.gateways_of_sets(sets)).collect();
        for key in gateways {
            self.touch_gateway(&key);
        }
    }

    /// Makes dirty all that a Gateway takes part in.
    pub(crate) fn touch_gateway(&mut self, key: &Key) {
        self.dirty.layout = true;
        self.dirty.gateways.insert(key.clone());
        self.dirty.objects.insert(ObjectRef::new("Gateway", &key.0, &key.1));
        let routes: Vec<ObjectRef> = self.gateways.attached.get(key).cloned().collect();
        self.touch_routes(&routes);
    }

    /// Makes dirty all that some routes take part in.
    pub(crate) fn touch_routes(&mut self, keys: &[ObjectRef]) {
        for key in keys {
            if let Some(route) = self.gateways.routes.get(key).cloned() {
                self.touch_route(&route);
            }
        }
    }

    pub(super) fn touch_route(&mut self, route: &Route) {
        self.dirty.routes.insert(route.reference.clone());
        self.dirty.objects.insert(route.reference.clone());
        let backends = self.gateways.keys_of(route);
        backends.iter().for_each(|key| self.touch_policies_of(&(key.namespace.clone(), key.service.clone())));
        self.dirty.backends.extend(backends);
        for gateway in self.gateways.gateways_of(route) {
            self.dirty.route_hosts.extend(route.hostnames.iter().map(|host| (gateway.clone(), host.clone())));
            self.dirty.gateways.insert(gateway);
        }
    }

    /// Makes dirty the routes that may be taken, or not be, when this one comes or goes; and those that depend on these.
    fn touch_rivals(&mut self, route: &Route) {
        let mut seen = BTreeSet::from([route.reference.clone()]);
        let mut todo = self.gateways.rivals(route);
        while let Some(next) = todo.pop() {
            if seen.insert(next.reference.clone()) {
                self.touch_route(&next);
                todo.extend(self.gateways.rivals(&next));
            }
        }
    }

    /// A Secret has changed.
    pub(crate) fn touch_secret_of_gateways(&mut self, secret: &Key) {
        let mut gateways: Vec<Key> = self.gateways.secrets.get(secret).cloned().collect();
        gateways.extend(self.gateways_of_sets(self.gateways.set_secrets.get(secret)));
        self.touch_references(gateways);
    }

    /// A Service has come, gone or changed: which of its ports are there is for routes to say.
    pub(crate) fn touch_service_of_routes(&mut self, service: &Key) {
        let ports = self.gateways.backends_of(service);
        let routes: Vec<ObjectRef> = ports.flat_map(|port| self.gateways.backends.get(port)).cloned().collect();
        self.touch_routes(&routes);
        self.touch_policies_of(service);
    }

    /// A Service has come, gone or changed that may bring a Gateway its traffic.
    pub(crate) fn touch_service_of_gateways(&mut self, service: &Key) {
        let of_namespace = self.gateways.gateways.range((service.0.clone(), Name::from(""))..);
        let mut of_namespace = of_namespace.take_while(|(key, _)| key.0 == service.0);
        if let Some((key, _)) = of_namespace.find(|(_, gateway)| service::name(gateway) == service.1) {
            self.dirty.gateways.insert(key.clone());
        }
    }

    /// All that there is, as if it had just changed.
    pub(crate) fn every_gateway(&self, dirty: &mut crate::Dirty) {
        dirty.layout = true;
        dirty.gateways.extend(self.gateways.gateways.keys().cloned());
        dirty.routes.extend(self.gateways.routes.keys().cloned());
        dirty.route_hosts.extend(self.gateways.hosts.keys().cloned());
        dirty.backends.extend(self.gateways.backends.keys().cloned());
        dirty.policies.extend(self.gateways.policies.keys().cloned());
        dirty.sets.extend(self.gateways.sets.keys().cloned());
        dirty.objects.extend(self.gateways.classes.keys().map(|name| ObjectRef::new("GatewayClass", "", name)));
        dirty.objects.extend(self.gateways.gateways.values().map(|gateway| gateway.reference.clone()));
        dirty.objects.extend(self.gateways.routes.values().map(|route| route.reference.clone()));
    }
}
