//! The World: every object that matters to translation, parsed, with reverse indexes. Sources fill it, `translate` reads it.
//!
//! [`World::apply`] knows by itself what a change makes dirty. An object that is put again unchanged makes nothing dirty.

pub(crate) mod index;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use rust_ingress_model::l4::NodeFacts;
use rust_ingress_model::{Fault, Fingerprint, KeyStore, Name, ObjectRef, Snapshot};

use crate::certificate;
use crate::dirty::Dirty;
use crate::gateway;
use crate::gateway::authority;
use crate::gateway::grant::Grant;
use crate::gateway::listener::Gateway;
use crate::gateway::parameters::Parameters;
use crate::gateway::policy::Policy;
use crate::gateway::route::Route;
use crate::gateway::set::ListenerSet;
use crate::gateway::world::Gateways;
use crate::ingress::Ingress;
use crate::ingress::class::Class;
use crate::l4::{self, L4};
use crate::object::{Change, Object};
use crate::pool::AddressPool;
use crate::settings::Settings;
use index::{Index, Multimap};

/// Namespace and name.
pub(crate) type Key = (Name, Name);

/// The label by which a slice names its Service.
pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Every object that matters to translation. No `Debug`: it holds keys.
#[derive(Default)]
pub struct World {
    pub(crate) ingresses: BTreeMap<Key, Arc<Ingress>>,
    pub(crate) classes: BTreeMap<Name, Class>,
    pub(crate) services: BTreeMap<Key, Arc<Service>>,
    /// By Service, then by the slice's own name.
    pub(crate) slices: BTreeMap<Key, BTreeMap<Name, Arc<EndpointSlice>>>,
    slice_services: BTreeMap<Key, Key>,
    /// Slices that name no Service.
    pub(crate) stray_slices: BTreeSet<Key>,
    pub(crate) secrets: BTreeMap<Key, certificate::Parsed>,
    /// Which Secrets hold a certificate; the first of them counts as its source.
    pub(crate) certificates: Multimap<Fingerprint, Key>,
    /// What sources have to say of their parts.
    pub(crate) sources: BTreeMap<ObjectRef, Vec<Fault>>,
    pub(crate) index: Index,
    pub(crate) gateways: Gateways,
    /// Where the program runs a node agent.
    pub(crate) l4: Option<L4>,
    /// Counts what may change which Secrets are wanted.
    pub(crate) references: u64,
    pub(crate) dirty: Dirty,
}

impl World {
    /// An empty World, with what these settings need.
    pub fn new(settings: &Settings) -> Self {
        Self { l4: settings.l4.then(|| L4::new(settings)), ..Self::default() }
    }

    /// Takes in a change.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Put(object) => self.put(object),
            Change::Delete(reference) => self.delete(&reference),
            Change::Faults { source, faults } => {
                self.dirty.objects.insert(source.clone());
                match faults.is_empty() {
                    true => self.sources.remove(&source),
                    false => self.sources.insert(source, faults),
                };
            }
            Change::Unreadable { object, why, advice } if &*object.kind == "Secret" => {
                self.set_secret((object.namespace, object.name), Some(Err(certificate::Unusable { why, advice: advice.into() })));
            }
            Change::Unreadable { object, why, advice } if matches!(&*object.kind, "ConfigMap" | "ClusterTrustBundle") => {
                self.set_bundle(object, Some(Err(format!("{why}; {advice}"))));
            }
            Change::Unreadable { .. } => {}
        }
    }

    /// What the changes since the last call made dirty. Works out first what is only worked out for all of them together.
    pub fn take_dirty(&mut self) -> Dirty {
        if let Some(l4) = &mut self.l4 {
            self.dirty.objects.extend(l4.settle(&self.services));
        }
        std::mem::take(&mut self.dirty)
    }

    /// What is known of a node; nothing without L4. Another allocation where its facts have changed.
    pub fn node(&self, name: &str) -> Option<&Arc<NodeFacts>> {
        self.l4.as_ref()?.node(name)
    }

    /// What the nodes are like, by name.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<NodeFacts>> {
        self.l4.iter().flat_map(L4::nodes)
    }

    /// Whether pools have addresses for Services that name no class.
    pub(crate) fn pools_serve_all(&self) -> bool {
        self.l4.as_ref().is_some_and(|l4| l4.addresses.has_default())
    }

    /// The keys of a snapshot that was just made from this World.
    pub fn key_store(&self, snapshot: &Snapshot, settings: &Settings) -> KeyStore {
        let mut store = KeyStore::default();
        let default = settings.default_certificate.as_ref().map(|default| (default.fingerprint, &default.pair));
        for fingerprint in snapshot.certificates.keys() {
            let secret = self.certificate(fingerprint).map(|usable| &usable.pair);
            let default = default.as_ref().filter(|(of, _)| of == fingerprint).map(|(_, pair)| *pair);
            if let Some(pair) = secret.or(default) {
                store.insert_as(*fingerprint, pair.clone());
            }
        }
        store
    }

    /// The certificate of a fingerprint, from the first Secret that holds it.
    pub(crate) fn certificate(&self, fingerprint: &Fingerprint) -> Option<&certificate::Usable> {
        self.certificates.get(fingerprint).find_map(|key| self.secrets.get(key)?.as_ref().ok())
    }

    /// All that there is, as if it had just changed.
    pub(crate) fn everything(&self) -> Dirty {
        let mut dirty = Dirty::all();
        dirty.hosts.extend(self.index.hosts.keys().cloned());
        dirty.backends.extend(self.index.backends.keys().cloned());
        dirty.certificates.extend(self.certificates.keys().copied());
        dirty.objects.extend(self.ingresses.values().map(|ingress| ingress.reference.clone()));
        dirty.objects.extend(self.classes.keys().map(|name| ObjectRef::new("IngressClass", "", name)));
        dirty.objects.extend(self.services.keys().map(|(namespace, name)| ObjectRef::new("Service", namespace, name)));
        dirty.objects.extend(self.stray_slices.iter().map(|(namespace, name)| ObjectRef::new("EndpointSlice", namespace, name)));
        dirty.objects.extend(self.l4.iter().flat_map(L4::cidr_names).map(|name| ObjectRef::new("ServiceCIDR", "", name)));
        let pools = self.l4.iter().flat_map(|l4| l4.addresses.pool_names());
        dirty.objects.extend(pools.map(|name| ObjectRef::new("AddressPool", "", name)));
        dirty.objects.extend(self.sources.keys().cloned());
        self.every_gateway(&mut dirty);
        dirty
    }

    fn put(&mut self, object: Object) {
        let reference = object.reference();
        let key = (reference.namespace.clone(), reference.name.clone());
        match object {
            Object::Ingress(object) => self.set_ingress(key, Some(Ingress::parse(&reference, &object))),
            Object::IngressClass(object) => self.set_class(&key.1, Some(Class::parse(&object))),
            Object::Service(object) => self.set_service(key, Some(object)),
            Object::EndpointSlice(object) => self.set_slice(&key, Some(object)),
            Object::Secret(mut object) => self.set_secret(key, Some(certificate::parse(&reference, &mut object))),
            Object::Node(object) => self.set_node(&key.1, Some(&object)),
            Object::ServiceCidr(object) => self.set_cidr(&reference, Some(&object)),
            Object::AddressPool(object) => self.set_pool(&key.1, Some(*object)),
            Object::GatewayParameters(object) => self.set_parameters(&key, Some(Parameters::parse(&object.spec))),
            Object::Namespace(object) => self.set_namespace(&key.1, Some(&object)),
            Object::GatewayClass(object) => self.set_gateway_class(&key.1, Some(gateway::class::Class::parse(&object))),
            Object::Gateway(object) => self.set_gateway(&key, Some(Gateway::parse(&reference, &object))),
            Object::HttpRoute(object) => self.set_route(&reference, Some(Route::http(&reference, &object))),
            Object::GrpcRoute(object) => self.set_route(&reference, Some(Route::grpc(&reference, &object))),
            Object::ReferenceGrant(object) => self.set_grant(&key, Some(Grant::parse(&object))),
            Object::BackendTlsPolicy(object) => self.set_policy(&key, Some(Policy::parse(&reference, &object))),
            Object::ListenerSet(object) => self.set_listener_set(&key, Some(ListenerSet::parse(&reference, &object))),
            Object::ConfigMap(object) => self.set_bundle(reference, Some(authority::of_config_map(&object))),
            Object::ClusterTrustBundle(object) => self.set_bundle(reference, Some(authority::of_trust_bundle(&object))),
            Object::Pod(_) => {}
        }
    }

    fn delete(&mut self, reference: &ObjectRef) {
        let key = (reference.namespace.clone(), reference.name.clone());
        match &*reference.kind {
            "Ingress" => self.set_ingress(key, None),
            "IngressClass" => self.set_class(&key.1, None),
            "Service" => self.set_service(key, None),
            "EndpointSlice" => self.set_slice(&key, None),
            "Secret" => self.set_secret(key, None),
            "Node" => self.set_node(&key.1, None),
            "ServiceCIDR" => self.set_cidr(reference, None),
            "AddressPool" => self.set_pool(&key.1, None),
            "GatewayParameters" => self.set_parameters(&key, None),
            "Namespace" => self.set_namespace(&key.1, None),
            "GatewayClass" => self.set_gateway_class(&key.1, None),
            "Gateway" => self.set_gateway(&key, None),
            kind if gateway::ROUTE_KINDS.contains(&kind) => self.set_route(reference, None),
            "ReferenceGrant" => self.set_grant(&key, None),
            "BackendTLSPolicy" => self.set_policy(&key, None),
            "ListenerSet" => self.set_listener_set(&key, None),
            "ConfigMap" | "ClusterTrustBundle" => self.set_bundle(reference.clone(), None),
            _ => {}
        }
    }

    fn set_ingress(&mut self, key: Key, new: Option<Ingress>) {
        let old = self.ingresses.get(&key).cloned();
        if old.as_deref() == new.as_ref() {
            return;
        }
        self.references += u64::from(wanted::differ(old.as_deref(), new.as_ref()));
        if let Some(old) = old {
            self.touch(&old);
            self.index.remove(&key, &old);
            self.ingresses.remove(&key);
        }
        if let Some(new) = new {
            self.touch(&new);
            self.index.insert(&key, &new);
            self.ingresses.insert(key, Arc::new(new));
        }
    }

    /// Makes dirty all that an Ingress takes part in.
    fn touch(&mut self, ingress: &Ingress) {
        self.dirty.objects.insert(ingress.reference.clone());
        self.dirty.hosts.extend(ingress.hosts());
        self.dirty.backends.extend(ingress.backends.keys().cloned());
    }

    fn touch_all(&mut self, keys: Vec<Key>) {
        for key in keys {
            if let Some(ingress) = self.ingresses.get(&key).cloned() {
                self.touch(&ingress);
            }
        }
    }

    /// A class can be the default, so Ingresses without a class depend on each.
    fn set_class(&mut self, name: &Name, new: Option<Class>) {
        if self.classes.get(name) == new.as_ref() {
            return;
        }
        self.references += 1;
        self.dirty.objects.insert(ObjectRef::new("IngressClass", "", name));
        match new {
            Some(class) => self.classes.insert(name.clone(), class),
            None => self.classes.remove(name),
        };
        self.dirty.objects.extend(self.classes.keys().map(|name| ObjectRef::new("IngressClass", "", name)));
        let (named, unnamed) = (Some(name.clone()), None);
        let ingresses = self.index.classes.get(&named).chain(self.index.classes.get(&unnamed)).cloned().collect();
        self.touch_all(ingresses);
    }

    fn set_service(&mut self, key: Key, new: Option<Box<Service>>) {
        let with_l4 = self.l4.is_some();
        let same = |old: &Service, new: &Service| {
            let alike = old.spec == new.spec && old.metadata.annotations == new.metadata.annotations;
            alike && (!with_l4 || l4::same_service(old, new)) && gateway::service::same(old, new)
        };
        let old = self.services.get(&key).map(|old| &**old);
        if both_or_neither(old, new.as_deref(), same) {
            return;
        }
        let rivals = self.l4.as_mut().map(|l4| l4.set_service(&key, old, new.as_deref())).unwrap_or_default();
        self.dirty.objects.extend(rivals.iter().map(|(namespace, name)| ObjectRef::new("Service", namespace, name)));
        self.dirty.objects.insert(ObjectRef::new("Service", &key.0, &key.1));
        self.dirty.backends.extend(self.index.backends_of(&key).cloned());
        self.touch_service_of_routes(&key);
        self.touch_service_of_gateways(&key);
        match new {
            Some(service) => self.services.insert(key, Arc::from(service)),
            None => self.services.remove(&key),
        };
    }

    fn set_slice(&mut self, key: &Key, new: Option<Box<EndpointSlice>>) {
        let service = new.as_ref().and_then(|slice| slice.metadata.labels.as_ref()?.get(SERVICE_NAME));
        let service = service.map(|service| (key.0.clone(), Name::from(service.as_str())));
        let old_service = self.slice_services.get(key).cloned();
        let old = old_service.as_ref().and_then(|service| self.slices.get(service)?.get(&key.1));
        let same = |old: &EndpointSlice, new: &EndpointSlice| {
            let alike = old.address_type == new.address_type && old.endpoints == new.endpoints && old.ports == new.ports;
            alike && l4::same_slice(old, new)
        };
        if old_service == service && both_or_neither(old.map(|old| &**old), new.as_deref(), same) {
            return;
        }
        let stray = new.is_some() && service.is_none();
        let changed = if stray { self.stray_slices.insert(key.clone()) } else { self.stray_slices.remove(key) };
        if changed {
            self.dirty.objects.insert(ObjectRef::new("EndpointSlice", &key.0, &key.1));
        }
        if let Some(old) = self.slice_services.remove(key) {
            self.touch_endpoints(&old);
            if let Some(slices) = self.slices.get_mut(&old) {
                slices.remove(&key.1);
            }
            if self.slices.get(&old).is_some_and(BTreeMap::is_empty) {
                self.slices.remove(&old);
            }
        }
        if let (Some(slice), Some(service)) = (new, service) {
            self.touch_endpoints(&service);
            if let Some(l4) = &mut self.l4 {
                l4.enter_places(&slice);
            }
            self.slices.entry(service.clone()).or_default().insert(key.1.clone(), Arc::from(slice));
            self.slice_services.insert(key.clone(), service);
        }
    }

    /// Makes dirty what is made of a Service's endpoints.
    fn touch_endpoints(&mut self, service: &Key) {
        self.dirty.backends.extend(self.index.backends_of(service).cloned());
        self.dirty.backends.extend(self.gateways.backends_of(service).cloned());
        if self.l4.is_some() {
            self.dirty.objects.insert(ObjectRef::new("Service", &service.0, &service.1));
        }
    }

    /// Nothing in a snapshot depends on a node: who needs it asks for [`Self::node`].
    fn set_node(&mut self, name: &Name, new: Option<&Node>) {
        if let Some(l4) = &mut self.l4 {
            l4.set_node(name, new);
        }
    }

    fn set_cidr(&mut self, reference: &ObjectRef, new: Option<&ServiceCIDR>) {
        if self.l4.as_mut().is_some_and(|l4| l4.set_cidr(&reference.name, new)) {
            self.dirty.objects.insert(reference.clone());
        }
    }

    /// What it changes shows when all changes are in: [`Self::take_dirty`].
    fn set_pool(&mut self, name: &Name, new: Option<AddressPool>) {
        let before = self.pools_serve_all();
        if let Some(l4) = &mut self.l4 {
            l4.addresses.set_pool(name, new);
        }
        // The Services of Gateways differ by it.
        self.dirty.layout |= before != self.pools_serve_all();
    }

    fn set_secret(&mut self, key: Key, new: Option<certificate::Parsed>) {
        if certificate::same(self.secrets.get(&key), new.as_ref()) {
            return;
        }
        if let Some(Ok(old)) = self.secrets.remove(&key) {
            self.dirty.certificates.insert(old.fingerprint);
            self.certificates.remove(&old.fingerprint, &key);
        }
        if let Some(Ok(new)) = &new {
            self.dirty.certificates.insert(new.fingerprint);
            self.certificates.insert(new.fingerprint, key.clone());
        }
        let ingresses: Vec<Key> = self.index.secrets.get(&key).cloned().collect();
        for ingress in ingresses.iter().filter_map(|key| self.ingresses.get(key)) {
            self.dirty.objects.insert(ingress.reference.clone());
            self.dirty.hosts.extend(ingress.tls.hosts().cloned());
        }
        self.touch_secret_of_gateways(&key);
        if let Some(new) = new {
            self.secrets.insert(key, new);
        }
    }
}

/// Whether two states of an object are the same: both there and alike, or neither there.
fn both_or_neither<T>(old: Option<&T>, new: Option<&T>, same: impl FnOnce(&T, &T) -> bool) -> bool {
    match (old, new) {
        (Some(old), Some(new)) => same(old, new),
        (None, None) => true,
        _ => false,
    }
}
