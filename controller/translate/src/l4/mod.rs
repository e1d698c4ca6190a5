//! L4: Services with their endpoints as the node agent programs them, the node's own facts, the ranges of ClusterIPs.
//!
//! Kept and computed only where the program runs an agent: a World that is made without L4 pays nothing for it. What depends
//! on the node (policies, topology, which family) is decided in the model's plan, not here: a snapshot is the same on every node.

mod endpoints;
pub(crate) mod frontend;
mod node;
mod service;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use rust_ingress_model::l4::NodeFacts;
use rust_ingress_model::{Name, ObjectRef};

use crate::pool::{Addresses, Settled};
use crate::settings::{Origin, Settings};
use crate::world::Key;
use frontend::Claims;

pub(crate) use service::programmed;

/// The label by which a Service or a slice belongs to another program than the node agent (KEP-2447).
pub(crate) const PROXY_NAME: &str = "service.kubernetes.io/service-proxy-name";
/// The label of what has no virtual IP to program.
pub(crate) const HEADLESS: &str = "service.kubernetes.io/headless";

/// What a World keeps for L4 beside Services and slices.
#[derive(Default)]
pub(crate) struct L4 {
    pub(crate) claims: Claims,
    nodes: BTreeMap<Name, Arc<NodeFacts>>,
    /// By the name of their ServiceCIDR.
    cidrs: BTreeMap<Name, Vec<IpNet>>,
    /// Names of nodes and zones, each once: 100,000 endpoints share them.
    places: HashSet<Name>,
    /// Pools, and what they give.
    pub(crate) addresses: Addresses,
    /// Whether a Service is served at what pools give it, or at what its status says, where somebody writes that.
    serves_given: bool,
}

impl L4 {
    /// Nothing yet.
    pub(crate) fn new(settings: &Settings) -> Self {
        Self { serves_given: settings.origin == Origin::Files, ..Self::default() }
    }

    /// Takes in a node; whether its facts are others than before.
    pub(crate) fn set_node(&mut self, name: &Name, new: Option<&Node>) -> bool {
        let new = new.map(|node| node::facts(name, node));
        if self.nodes.get(name).map(|old| &**old) == new.as_ref() {
            return false;
        }
        match new {
            Some(facts) => self.nodes.insert(name.clone(), Arc::new(facts)),
            None => self.nodes.remove(name),
        };
        true
    }

    /// What is known of a node.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Arc<NodeFacts>> {
        self.nodes.values()
    }

    pub(crate) fn node(&self, name: &str) -> Option<&Arc<NodeFacts>> {
        self.nodes.get(name)
    }

    /// Takes in a ServiceCIDR; whether it is another than before.
    pub(crate) fn set_cidr(&mut self, name: &Name, new: Option<&ServiceCIDR>) -> bool {
        let texts = |cidr: &ServiceCIDR| cidr.spec.as_ref().and_then(|spec| spec.cidrs.clone()).unwrap_or_default();
        // What isn't a network the API server has refused already; without it packets to it are merely not dropped.
        let new = new.map(|cidr| texts(cidr).iter().filter_map(|text| text.parse().ok()).collect::<Vec<IpNet>>());
        if self.cidrs.get(name) == new.as_ref() {
            return false;
        }
        match new {
            Some(nets) => self.cidrs.insert(name.clone(), nets),
            None => self.cidrs.remove(name),
        };
        true
    }

    /// The ServiceCIDRs that are there.
    pub(crate) fn cidr_names(&self) -> impl Iterator<Item = &Name> {
        self.cidrs.keys()
    }

    /// All ranges that ClusterIPs are taken from, in order, each once.
    pub(crate) fn cidrs(&self) -> Vec<IpNet> {
        self.cidrs.values().flatten().map(IpNet::trunc).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Enters the names of nodes and zones that a slice has.
    pub(crate) fn enter_places(&mut self, slice: &EndpointSlice) {
        for name in slice.endpoints.iter().flatten().flat_map(endpoints::places) {
            if !self.places.contains(name) {
                self.places.insert(name.into());
            }
        }
    }

    /// The shared form of a name.
    fn place(&self, name: &str) -> Name {
        self.places.get(name).cloned().unwrap_or_else(|| name.into())
    }

    /// Takes in another state of a Service; gives the others that have claims in common with either.
    pub(crate) fn set_service(&mut self, key: &Key, old: Option<&Service>, new: Option<&Service>) -> Vec<Key> {
        let given = self.given(key);
        self.addresses.set_service(key, new);
        let frontends = |service: Option<&Service>| service.map(|one| frontends(one, given.as_deref())).unwrap_or_default();
        self.claims.set(key, &frontends(old), &frontends(new))
    }

    /// Works out who gets which address of the pools; gives what is to be computed again.
    pub(crate) fn settle(&mut self, services: &BTreeMap<Key, Arc<Service>>) -> BTreeSet<ObjectRef> {
        let Settled { objects: changed, pools } = self.addresses.settle(services);
        let mut dirty: BTreeSet<ObjectRef> = pools.iter().map(|name| ObjectRef::new("AddressPool", "", name)).collect();
        for (object, before) in changed {
            let key = (object.namespace.clone(), object.name.clone());
            let service = services.get(&key).filter(|_| self.serves_given && &*object.kind == "Service");
            if let Some(service) = service {
                let old = frontends(service, before.as_deref());
                let new = frontends(service, self.given(&key).as_deref());
                let rivals = self.claims.set(&key, &old, &new);
                dirty.extend(rivals.iter().map(|(namespace, name)| ObjectRef::new("Service", namespace, name)));
            }
            dirty.insert(object);
        }
        dirty
    }

    /// What pools give a Service that is served there.
    fn given(&self, key: &Key) -> Option<Vec<IpAddr>> {
        let object = ObjectRef::new("Service", &key.0, &key.1);
        self.addresses.given(&object).filter(|_| self.serves_given).map(<[IpAddr]>::to_vec)
    }

    /// Where a Service is served as a load balancer's.
    fn load_balancer_ips(&self, key: &Key, service: &Service) -> Vec<IpAddr> {
        self.given(key).unwrap_or_else(|| frontend::load_balancer_ips(service).collect())
    }
}

/// The frontends of a Service of ours.
fn frontends(service: &Service, given: Option<&[IpAddr]>) -> BTreeSet<frontend::Frontend> {
    if !ours(service) {
        return BTreeSet::new();
    }
    let balancer = given.map_or_else(|| frontend::load_balancer_ips(service).collect(), <[IpAddr]>::to_vec);
    frontend::frontends(service, &balancer)
}

/// Whether a label of this name is there, whatever its value.
fn labelled(labels: Option<&BTreeMap<String, String>>, name: &str) -> bool {
    labels.is_some_and(|labels| labels.contains_key(name))
}

/// Whether labels leave an object to another program, or say that there is nothing to program.
fn left_out(labels: Option<&BTreeMap<String, String>>) -> bool {
    labelled(labels, PROXY_NAME) || labelled(labels, HEADLESS)
}

/// Whether a Service is programmed here at all.
fn ours(service: &Service) -> bool {
    let Some(spec) = &service.spec else { return false };
    let headless = spec.cluster_ip.as_deref() == Some("None");
    !headless && spec.type_.as_deref() != Some("ExternalName") && !left_out(service.metadata.labels.as_ref())
}

/// Whether two states of a Service look alike to L4, their specs aside.
pub(crate) fn same_service(old: &Service, new: &Service) -> bool {
    let balancer = |service: &Service| service.status.as_ref().and_then(|status| status.load_balancer.clone());
    let (one, other) = (&old.metadata, &new.metadata);
    let dates = one.creation_timestamp == other.creation_timestamp && one.deletion_timestamp == other.deletion_timestamp;
    // Pools choose by labels.
    dates && balancer(old) == balancer(new) && one.labels == other.labels && one.finalizers == other.finalizers
}

/// Whether two states of a slice look alike to L4, their endpoints and ports aside.
pub(crate) fn same_slice(old: &EndpointSlice, new: &EndpointSlice) -> bool {
    left_out(old.metadata.labels.as_ref()) == left_out(new.metadata.labels.as_ref())
}
