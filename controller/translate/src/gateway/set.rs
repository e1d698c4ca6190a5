//! A ListenerSet: further listeners of a Gateway, by others than its owner. Parsed once at the door, with the World's part for it.
//!
//! They stand behind the Gateway's own, the oldest set first, and a listener that has been taken isn't taken from whoever has it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use rust_ingress_model::status::ParentRef;
use rust_ingress_model::{Fault, Name, ObjectRef};

use super::GROUP;
use super::layout::key_of;
use super::listener::{Gateway, Listener, Namespaces};
use super::route::Route;
use super::types::ListenerSet as Object;
use super::world::{Gateways, NAMESPACE_NAME};
use crate::faults::Faults;
use crate::ingress::Age;
use crate::world::{Key, World};

/// The kind.
pub(crate) const KIND: &str = "ListenerSet";

/// A ListenerSet, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListenerSet {
    pub(crate) reference: ObjectRef,
    created: Option<Time>,
    pub(crate) generation: i64,
    /// The Gateway whose listeners they are; `None`: it names something else.
    pub(crate) gateway: Option<Key>,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) faults: Vec<Fault>,
}

impl ListenerSet {
    /// Parses a ListenerSet.
    pub(crate) fn parse(reference: &ObjectRef, object: &Object) -> Self {
        let mut faults = Faults::of(reference.clone());
        let (spec, namespace) = (&object.spec, &reference.namespace);
        let parent = &spec.parent_ref;
        let kind = (parent.group.as_deref().unwrap_or(GROUP), parent.kind.as_deref().unwrap_or("Gateway"));
        let of = parent.namespace.as_deref().filter(|text| !text.is_empty()).unwrap_or(namespace);
        let listeners = spec.listeners.iter().enumerate();
        let listeners = listeners.filter_map(|(index, listener)| {
            Listener::parse(namespace, &format!("spec.listeners[{index}]"), listener, &mut faults)
        });
        Self {
            reference: reference.clone(),
            created: object.metadata.creation_timestamp.clone(),
            generation: object.metadata.generation.unwrap_or_default(),
            gateway: (kind == (GROUP, "Gateway")).then(|| (of.into(), parent.name.as_str().into())),
            listeners: listeners.collect(),
            faults: faults.into_list(),
        }
    }

    /// The Secrets that it refers to.
    fn secrets(&self) -> BTreeSet<&Key> {
        self.listeners.iter().flat_map(Listener::secrets).collect()
    }

    fn age(&self) -> Age {
        let name = &self.reference;
        (self.created.is_none(), self.created.clone(), name.namespace.clone(), name.name.clone())
    }
}

/// Namespace and name of the ListenerSet that a parentRef means.
fn named(route: &Route, parent: &ParentRef) -> Option<Key> {
    let namespace = parent.namespace.as_ref().unwrap_or(&route.reference.namespace);
    (&*parent.group == GROUP && &*parent.kind == KIND).then(|| (namespace.clone(), parent.name.clone()))
}

impl Gateways {
    /// The Gateway whose listeners a parentRef means.
    pub(crate) fn gateway_of(&self, route: &Route, parent: &ParentRef) -> Option<Key> {
        let set = || self.sets.get(&named(route, parent)?)?.gateway.clone();
        route.gateway(parent).or_else(set)
    }

    /// The Gateways whose listeners a route names.
    pub(crate) fn gateways_of(&self, route: &Route) -> BTreeSet<Key> {
        route.parents.iter().filter_map(|parent| self.gateway_of(route, parent)).collect()
    }

    /// The ListenerSets that a route names.
    pub(super) fn sets_of_route(route: &Route) -> impl Iterator<Item = Key> {
        route.parents.iter().filter_map(|parent| named(route, parent))
    }
}

impl World {
    /// The ListenerSets of a Gateway that it allows, oldest first.
    pub(crate) fn sets_of(&self, gateway: &Gateway) -> Vec<&ListenerSet> {
        let key = key_of(gateway);
        let all = self.gateways.gateway_sets.get(&key).filter_map(|set| self.gateways.sets.get(set));
        let own = &gateway.reference.namespace;
        let mut allowed: Vec<&ListenerSet> =
            all.map(|set| &**set).filter(|set| self.is_from(&gateway.sets, own, &set.reference.namespace)).collect();
        allowed.sort_by_cached_key(|set| set.age());
        allowed
    }

    /// Whether a namespace is one of those that are allowed; `own`: that of who allows it.
    pub(super) fn is_from(&self, allowed: &Namespaces, own: &Name, namespace: &Name) -> bool {
        match allowed {
            Namespaces::All => true,
            Namespaces::Same => namespace == own,
            Namespaces::None => false,
            Namespaces::Selector(selector) => {
                // In a folder nobody has to write Namespaces.
                let unwritten = || BTreeMap::from([(NAMESPACE_NAME.to_owned(), namespace.to_string())]);
                selector.takes(&self.gateways.namespaces.get(namespace).cloned().unwrap_or_else(unwritten))
            }
        }
    }

    pub(crate) fn set_listener_set(&mut self, key: &Key, new: Option<ListenerSet>) {
        let old = self.gateways.sets.get(key).cloned();
        if old.as_deref() == new.as_ref() {
            return;
        }
        self.references += 1;
        self.dirty.sets.insert(key.clone());
        // Routes that name it are on other listeners afterwards, perhaps on those of another Gateway.
        let routes = self.gateways.set_routes.get(key).filter_map(|route| self.gateways.routes.get(route));
        let routes: Vec<Arc<Route>> = routes.cloned().collect();
        for route in &routes {
            self.touch_route(route);
            self.gateways.leave(&route.reference, route);
        }
        let gateway = |set: Option<&ListenerSet>| set.and_then(|set| set.gateway.clone());
        let (before, after) = (gateway(old.as_deref()), gateway(new.as_ref()));
        if let Some(old) = &old {
            old.secrets().into_iter().for_each(|secret| self.gateways.set_secrets.remove(secret, key));
            before.iter().for_each(|gateway| self.gateways.gateway_sets.remove(gateway, key));
            self.gateways.sets.remove(key);
        }
        if let Some(new) = new {
            new.secrets().into_iter().for_each(|secret| self.gateways.set_secrets.insert(secret.clone(), key.clone()));
            after.iter().for_each(|gateway| self.gateways.gateway_sets.insert(gateway.clone(), key.clone()));
            self.gateways.sets.insert(key.clone(), Arc::new(new));
        }
        for route in &routes {
            self.gateways.enter(&route.reference, route);
            self.touch_route(route);
        }
        before.iter().chain(&after).for_each(|gateway| self.touch_gateway(gateway));
    }

    /// The Gateways of some ListenerSets.
    pub(super) fn gateways_of_sets<'k>(&self, sets: impl Iterator<Item = &'k Key>) -> Vec<Key> {
        sets.filter_map(|set| self.gateways.sets.get(set)?.gateway.clone()).collect()
    }
}
