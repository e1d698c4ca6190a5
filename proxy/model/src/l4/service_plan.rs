//! The elements of one Service on one node: its frontends, its node ports, their endpoints.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::element::{Data, Element, Frontend, Key, NodePort, OUTSIDE, Verdict};
use super::l7;
use super::node::{L4Settings, NodeFacts};
use super::rule::{By, ChainName};
use super::ruleset::slots;
use super::service::{L4Endpoint, L4Port, L4Service, L7, TrafficPolicy, Transport};
use super::set::{Family, SetName};
use super::vet;
use super::view::{View, is_here};
use crate::fault::Fault;
use crate::names::ObjectRef;

/// What one Service is on a node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServicePlan {
    /// Its elements, sorted; no other Service has any of them.
    pub elements: Vec<Element>,
    /// Those that other Services may have too: a Pod behind two, a ClusterIP on which translation found two.
    pub shared: BTreeSet<Element>,
    /// What is left out, and why.
    pub faults: Vec<Fault>,
}

/// Plans a Service.
pub fn plan_service(name: &ObjectRef, service: &L4Service, node: &NodeFacts, settings: &L4Settings) -> ServicePlan {
    let mut plan = ServicePlan { faults: vet::faults(name, service), ..ServicePlan::default() };
    plan.faults.extend(l7::node_faults(name, service, node, settings));
    let families = vet::families(service);
    for family in &families {
        for address in service.cluster_ips.iter().filter(|address| serves(*family, **address)) {
            let key = Key::Address(*address);
            plan.shared.insert(Element { family: *family, set: SetName::ClusterIps, key, data: Data::None });
        }
        for port in service.ports.iter().filter(|port| port.port != 0) {
            let endpoints = port.of_family(*family).filter(|endpoint| vet::fit_endpoint(endpoint.address, &families));
            let view = View::new(endpoints.take(vet::MOST_ENDPOINTS), node);
            let proxy = l7::proxy(service, port, node, settings, *family);
            Port { family: *family, service, port, node, view: &view, proxy }.plan(&mut plan);
        }
    }
    plan.elements.sort_unstable();
    plan.elements.dedup();
    plan
}

/// Whether an address is a frontend in a family's table.
fn serves(family: Family, address: IpAddr) -> bool {
    Family::of(address) == family && vet::unfit(address).is_none()
}

impl ServicePlan {
    fn add(&mut self, family: Family, set: SetName, key: Key, data: Data) {
        self.elements.push(Element { family, set, key, data });
    }
}

/// One port in one family.
struct Port<'a> {
    family: Family,
    service: &'a L4Service,
    port: &'a L4Port,
    node: &'a NodeFacts,
    view: &'a View<'a>,
    /// Where the node's proxy takes it, if it does.
    proxy: Option<SocketAddr>,
}

/// What clients of a kind get.
#[derive(Clone, Copy)]
struct Clients {
    /// Those from outside.
    outside: bool,
    policy: TrafficPolicy,
}

/// What an element's key begins with.
#[derive(Clone, Copy)]
enum Place {
    Frontend(Frontend),
    NodePort(NodePort),
}

impl Place {
    fn by(self) -> By {
        match self {
            Self::Frontend(_) => By::Frontend,
            Self::NodePort(_) => By::NodePort,
        }
    }

    fn key(self) -> Key {
        match self {
            Self::Frontend(frontend) => Key::Frontend(frontend),
            Self::NodePort(port) => Key::NodePort(port),
        }
    }

    fn endpoint(self, index: u32) -> Key {
        match self {
            Self::Frontend(frontend) => Key::Endpoint(frontend, index),
            Self::NodePort(port) => Key::NodePortEndpoint(port, index),
        }
    }

    /// The set for frontends, or the one like it for node ports.
    fn set(self, frontend: SetName, node_port: SetName) -> SetName {
        match self {
            Self::Frontend(_) => frontend,
            Self::NodePort(_) => node_port,
        }
    }
}

impl Port<'_> {
    fn plan(&self, plan: &mut ServicePlan) {
        for address in self.of_family(&self.service.cluster_ips) {
            let place = Place::Frontend(self.frontend(address));
            self.place(plan, place, &[Clients { outside: false, policy: self.service.internal }]);
            plan.add(self.family, SetName::Masqueraded, place.key(), Data::None);
        }
        let external = self.of_family(&self.service.external_ips).chain(self.of_family(&self.service.load_balancer_ips));
        let external: BTreeSet<IpAddr> = external.filter(|address| !self.service.cluster_ips.contains(address)).collect();
        for address in external {
            self.external(plan, Place::Frontend(self.frontend(address)));
        }
        if let Some(port) = self.port.node_port.filter(|port| *port != 0) {
            self.external(plan, Place::NodePort(NodePort { transport: self.port.transport, port }));
        }
        for address in self.of_family(&self.service.load_balancer_ips) {
            self.firewall(plan, self.frontend(address));
        }
        let used = self.view.cluster.iter().chain(&self.view.local).filter(|endpoint| is_here(endpoint, self.node));
        plan.shared.extend(used.map(|endpoint| Element {
            family: self.family,
            set: SetName::Hairpin,
            key: Key::Itself(endpoint.address.ip()),
            data: Data::None,
        }));
    }

    /// Addresses on which this port is served.
    fn of_family(&self, addresses: &[IpAddr]) -> impl Iterator<Item = IpAddr> {
        let mine = |address: &IpAddr| serves(self.family, *address) && !self.port.without.contains(address);
        addresses.iter().copied().filter(mine)
    }

    fn frontend(&self, address: IpAddr) -> Frontend {
        Frontend { address, transport: self.port.transport, port: self.port.port }
    }

    /// What may be reached from outside. This node and its Pods get all endpoints, whatever externalTrafficPolicy says.
    fn external(&self, plan: &mut ServicePlan, place: Place) {
        let near = Clients { outside: false, policy: TrafficPolicy::Cluster };
        let kept = match self.service.external {
            TrafficPolicy::Cluster => {
                self.place(plan, place, &[near]);
                place.set(SetName::Masqueraded, SetName::MasqueradedNodePorts)
            }
            TrafficPolicy::Local => {
                self.place(plan, place, &[near, Clients { outside: true, policy: TrafficPolicy::Local }]);
                place.set(SetName::SourceKept, SetName::SourceKeptNodePorts)
            }
        };
        plan.add(self.family, kept, place.key(), Data::None);
    }

    fn place(&self, plan: &mut ServicePlan, place: Place, clients: &[Clients]) {
        for clients in clients {
            self.clients(plan, place, *clients);
        }
        self.l7(plan, place, clients);
        if let Some(seconds) = self.service.affinity_s {
            let stick = Verdict::Jump(ChainName::Stick { by: place.by(), seconds });
            let set = place.set(SetName::Sticky, SetName::StickyNodePorts);
            plan.add(self.family, set, place.key(), Data::Verdict(stick));
        }
    }

    /// Only where all clients see the same endpoints, and some: the proxy can't tell clients from outside, and what is dropped or
    /// refused is so by the kernel.
    fn l7(&self, plan: &mut ServicePlan, place: Place, clients: &[Clients]) {
        if let (Some(proxy), [only]) = (self.proxy, clients)
            && !self.view.of(only.policy).is_empty()
        {
            let set = place.set(SetName::L7Services, SetName::L7NodePorts);
            plan.add(self.family, set, place.key(), Data::Endpoint(proxy));
        }
        if self.service.l7 == L7::Required && self.port.transport == Transport::Tcp {
            plan.add(self.family, place.set(SetName::L7Only, SetName::L7OnlyNodePorts), place.key(), Data::None);
        }
    }

    /// Adds the verdict and the endpoints for some clients.
    fn clients(&self, plan: &mut ServicePlan, place: Place, clients: Clients) {
        let endpoints: &[&L4Endpoint] = self.view.of(clients.policy);
        let sticky = self.service.affinity_s.is_some();
        let verdict = match (self.view.any, endpoints.is_empty()) {
            // There are some, but the policy lets these clients have none.
            (true, true) => Verdict::Drop,
            // Where there are none at all the chain refuses.
            _ => Verdict::Goto(ChainName::Choose {
                by: place.by(),
                outside: clients.outside,
                sticky,
                slots: slots(endpoints.len()),
            }),
        };
        let set = match clients.outside {
            false => place.set(SetName::Services, SetName::NodePorts),
            true => place.set(SetName::ServicesOutside, SetName::NodePortsOutside),
        };
        plan.add(self.family, set, place.key(), Data::Verdict(verdict));
        let offset = if clients.outside { OUTSIDE } else { 0 };
        let set = place.set(SetName::Endpoints, SetName::NodePortEndpoints);
        for (index, endpoint) in (offset..).zip(endpoints) {
            plan.add(self.family, set, place.endpoint(index), Data::Endpoint(endpoint.address));
        }
    }

    /// loadBalancerSourceRanges. A family that no range is of may not come in at all: an allow-list fails closed.
    fn firewall(&self, plan: &mut ServicePlan, frontend: Frontend) {
        let of_family = |net: &&IpNet| Family::of(net.addr()) == self.family;
        let mut ranges: Vec<IpNet> = self.service.source_ranges.iter().filter(of_family).map(IpNet::trunc).collect();
        if self.service.source_ranges.is_empty() || ranges.iter().any(|range| range.prefix_len() == 0) {
            return;
        }
        // A node that may come in does so from the address itself, where it holds it.
        if self.node.addresses.iter().any(|address| ranges.iter().any(|range| range.contains(address))) {
            ranges.push(frontend.address.into());
        }
        plan.add(self.family, SetName::Firewalled, Key::Frontend(frontend), Data::None);
        for range in IpNet::aggregate(&ranges) {
            plan.add(self.family, SetName::SourceRanges, Key::Source(frontend, range), Data::None);
        }
    }
}
