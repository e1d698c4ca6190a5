//! Services that go through the L7 proxy, as the proxy of one node is told of them: listeners without sockets, a rule each, and
//! the endpoints that this node sees. The kernel's half is in [`super::service_plan`]; both ask [`super::l7`].

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::l7::{self, Stand};
use super::node::{L4Settings, LocalPods, NodeFacts};
use super::node_plan::node_port_addresses;
use super::service::{L4Port, L4Service, L7, TrafficPolicy};
use super::set::Family;
use super::vet;
use super::view::View;
use crate::app_protocol::AppProtocol;
use crate::backend::{Backend, BackendRef, Balance, Discovery, Endpoint};
use crate::digest::Part;
use crate::listener::{Listener, ListenerAddress, Parent, Protocol};
use crate::names::{BackendKey, HostPattern, ListenerName, Name, ObjectRef, PortRef};
use crate::parts::PartMap;
use crate::route::{PathMatch, RouteMatch, Rule, Timeouts, VirtualHost, WeightedBackend};
use crate::snapshot::{RouteSet, Snapshot};

/// What the listener is called at which the kernel of this node hands connections over.
pub const DOOR: &str = "l7";

/// What is told to the proxy, kept from one snapshot to the next: costs the Services that changed.
#[derive(Debug, Clone, Default)]
pub struct Redirects {
    services: PartMap<ObjectRef, L4Service>,
    node: NodeFacts,
    of: BTreeMap<ObjectRef, Vec<Redirect>>,
}

/// One Service port in one family, for clients that see the same endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Redirect {
    name: Name,
    key: BackendKey,
    listener: Part<Listener>,
    host: Part<VirtualHost>,
    backend: Part<Backend>,
}

impl Redirects {
    /// Those of a snapshot's Services on a node.
    pub fn next(&self, services: &PartMap<ObjectRef, L4Service>, node: &NodeFacts, settings: &L4Settings) -> Self {
        let mut next = Self { services: services.clone(), node: node.clone(), of: BTreeMap::new() };
        if self.node == *node {
            next.of = self.of.clone();
            for (name, _) in self.services.near_changes(services).filter(|(name, _)| !services.contains_key(*name)) {
                next.of.remove(name);
            }
            for (name, service) in services.near_changes(&self.services) {
                next.set(name, service, settings);
            }
        } else {
            services.iter().for_each(|(name, service)| next.set(name, service, settings));
        }
        next
    }

    fn set(&mut self, name: &ObjectRef, service: &L4Service, settings: &L4Settings) {
        let redirects = redirects(name, service, &self.node, settings);
        if redirects.is_empty() {
            self.of.remove(name);
        } else {
            self.of.insert(name.clone(), redirects);
        }
    }

    /// How many Services go through the proxy.
    pub fn len(&self) -> usize {
        self.of.len()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// The Services without those that would be sent to a proxy that knows them by other frontends, or not yet: they don't ask for
    /// it. `None`: there are none of these.
    pub fn known(&self, next: &Self) -> Option<PartMap<ObjectRef, L4Service>> {
        let parents = |of: &Self, name: &ObjectRef| -> Option<Vec<Parent>> {
            Some(of.of.get(name)?.iter().map(|redirect| redirect.listener.parent.clone()).collect())
        };
        let unknown = next.of.keys().filter(|name| parents(self, name) != parents(next, name));
        // One that may not go on without the proxy is better sent to one that refuses it.
        let unknown = unknown.filter_map(|name| Some((name, next.services.get(name)?)));
        let mut services = next.services.clone();
        let mut any = false;
        for (name, service) in unknown.filter(|(_, service)| service.l7 == L7::Enabled) {
            services.insert(name.clone(), Part::new(L4Service { l7: L7::Off, ..L4Service::clone(service) }));
            any = true;
        }
        any.then_some(services)
    }

    /// Puts them into the snapshot that the proxy of this node gets.
    pub fn put(&self, snapshot: &mut Snapshot, port: u16) {
        if self.is_empty() {
            return;
        }
        let door = Listener { parent: Parent::Node, ..Listener::http(ListenerAddress::Any, port, "".into()) };
        snapshot.listeners.insert(DOOR.into(), Part::new(door));
        for Redirect { name, key, listener, host, backend } in self.of.values().flatten() {
            snapshot.listeners.insert(name.clone(), listener.clone());
            let hosts = [(HostPattern::Any, host.clone())].into_iter().collect();
            snapshot.route_sets.insert(name.clone(), RouteSet { hosts });
            snapshot.backends.insert(key.clone(), backend.clone());
        }
    }
}

/// Those of one Service.
fn redirects(name: &ObjectRef, service: &L4Service, node: &NodeFacts, settings: &L4Settings) -> Vec<Redirect> {
    if service.l7.is_off() {
        return Vec::new();
    }
    let families = vet::families(service);
    let mut redirects = Vec::new();
    for family in &families {
        for port in service.ports.iter().filter(|port| port.port != 0) {
            if l7::proxy(service, port, node, settings, *family).is_none() {
                continue;
            }
            let endpoints = port.of_family(*family).filter(|endpoint| vet::fit_endpoint(endpoint.address, &families));
            let view = View::new(endpoints.take(vet::MOST_ENDPOINTS), node);
            let of = Of { name, port, family: *family };
            let stand = l7::stand(node, settings, *family).ok().flatten();
            let inside = frontends(port, *family, &service.cluster_ips);
            redirects.extend(of.redirect("", inside, stand, &view, service.internal));
            if service.external == TrafficPolicy::Cluster {
                let own = node_port_addresses(node, settings);
                let outside = [&service.external_ips[..], &service.load_balancer_ips].concat();
                let outside = frontends(port, *family, &outside).into_iter();
                let outside = outside.filter(|address| !service.cluster_ips.contains(&address.ip()));
                let (mut at_node, outside): (Vec<_>, Vec<_>) = outside.partition(|address| own.contains(&address.ip()));
                redirects.extend(of.redirect("/external", outside, stand, &view, TrafficPolicy::Cluster));
                // A Pod of another node may ask here, which can't be told from one of this node in the range of the whole cluster.
                let stand = stand.filter(|_| !matches!(settings.local_pods, LocalPods::Cidrs(_)));
                let own = own.into_iter().filter(|address| Family::of(*address) == *family);
                at_node.extend(own.filter_map(|address| Some(SocketAddr::new(address, port.node_port?))));
                redirects.extend(of.redirect("/node-port", at_node, stand, &view, TrafficPolicy::Cluster));
            }
        }
    }
    redirects
}

/// The addresses on which a port is served.
fn frontends(port: &L4Port, family: Family, addresses: &[IpAddr]) -> Vec<SocketAddr> {
    let fit =
        |address: &&IpAddr| Family::of(**address) == family && vet::unfit(**address).is_none() && !port.without.contains(address);
    let mut frontends: Vec<SocketAddr> =
        addresses.iter().filter(fit).map(|address| SocketAddr::new(*address, port.port)).collect();
    frontends.sort_unstable();
    frontends.dedup();
    frontends
}

/// What a redirect is of.
struct Of<'a> {
    name: &'a ObjectRef,
    port: &'a L4Port,
    family: Family,
}

impl Of<'_> {
    /// `None`: there is nothing to redirect, or the kernel refuses or drops it.
    fn redirect(
        &self,
        kind: &str,
        frontends: Vec<SocketAddr>,
        stand: Option<Stand>,
        view: &View<'_>,
        policy: TrafficPolicy,
    ) -> Option<Redirect> {
        let endpoints = view.of(policy);
        if frontends.is_empty() || endpoints.is_empty() {
            return None;
        }
        let Self { name: object, port, family } = self;
        let place = format!("{}/{}{kind}", port.port, if *family == Family::Ipv4 { "ipv4" } else { "ipv6" });
        let name: ListenerName = format!("service/{}/{}/{place}", object.namespace, object.name).into();
        // No port of a Service has such a name.
        let key = BackendKey {
            namespace: object.namespace.clone(),
            service: object.name.clone(),
            port: PortRef::Name(place.into()),
            protocol: None,
            gateway: None,
        };
        let endpoint = |address: SocketAddr| Endpoint { address, target: None, zone: None };
        let backend = Backend {
            protocol: port.http.unwrap_or(AppProtocol::Http),
            tls: None,
            balance: Balance::default(),
            discovery: Discovery::Endpoints(endpoints.iter().map(|one| endpoint(one.address)).collect()),
        };
        let listener = Listener {
            protocol: if port.http.is_some() { Protocol::Http } else { Protocol::Tcp },
            parent: Parent::Service { object: (*object).clone(), port: port.port, frontends, stand },
            ..Listener::http(ListenerAddress::Any, port.port, name.clone())
        };
        let host = VirtualHost { host: HostPattern::Any, rules: vec![self.rule(&key)] };
        Some(Redirect { name, key, listener: Part::new(listener), host: Part::new(host), backend: Part::new(backend) })
    }

    /// Everything to one backend, and no limit on bodies: without the proxy there is none.
    fn rule(&self, key: &BackendKey) -> Rule {
        Rule {
            source: self.name.clone(),
            field: format!("spec.ports[{}]", self.port.port).into(),
            matches: vec![RouteMatch::path(PathMatch::Prefix("/".into()))],
            filters: Vec::new(),
            guards: Vec::new(),
            backends: vec![WeightedBackend { backend: BackendRef::Service(key.clone()), weight: 1, filters: Vec::new() }],
            timeouts: Timeouts::default(),
            retry: None,
            persistence: None,
            max_body: Some(0),
        }
    }
}
