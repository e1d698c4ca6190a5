//! Which endpoints of a Service port a node sends to, as kube-proxy's `CategorizeEndpoints` has it: readiness, terminating ones
//! where there are no others, topology hints (KEP-2433, KEP-3015), and what the traffic policies leave.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::node::NodeFacts;
use super::service::{L4Endpoint, L4Port, L4Service, TrafficPolicy};
use super::set::Family;

/// What a node sees of a port's endpoints of one family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View<'a> {
    /// For policy Cluster.
    pub cluster: Vec<&'a L4Endpoint>,
    /// For policy Local: those on this node.
    pub local: Vec<&'a L4Endpoint>,
    /// Whether any endpoint anywhere could serve. If none: refused, whatever the policy.
    pub any: bool,
    /// How `cluster` was chosen.
    pub choice: Choice,
}

/// How the endpoints for policy Cluster were chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// All that are ready.
    Ready,
    /// Ready, and hinted for this node.
    SameNode,
    /// Ready, and hinted for this node's zone.
    SameZone,
    /// None is ready: those that still serve while they terminate (KEP-1669).
    Terminating,
}

impl<'a> View<'a> {
    /// What this node sees.
    pub fn new(endpoints: impl Iterator<Item = &'a L4Endpoint>, node: &NodeFacts) -> Self {
        let usable: Vec<&L4Endpoint> = endpoints.filter(|endpoint| endpoint.ready || is_leaving(endpoint)).collect();
        let ready: Vec<&L4Endpoint> = usable.iter().copied().filter(|endpoint| endpoint.ready).collect();
        let (cluster, choice) = if ready.is_empty() { (usable.clone(), Choice::Terminating) } else { near(&ready, node) };
        let here = |endpoint: &&L4Endpoint| is_here(endpoint, node);
        let mut local: Vec<&L4Endpoint> = ready.iter().copied().filter(here).collect();
        if local.is_empty() {
            local = usable.iter().copied().filter(here).collect();
        }
        Self { any: !usable.is_empty(), cluster, local, choice }
    }

    /// Those of a policy.
    pub fn of(&self, policy: TrafficPolicy) -> &[&'a L4Endpoint] {
        match policy {
            TrafficPolicy::Cluster => &self.cluster,
            TrafficPolicy::Local => &self.local,
        }
    }
}

fn is_leaving(endpoint: &L4Endpoint) -> bool {
    endpoint.serving && endpoint.terminating
}

/// Whether an endpoint runs on this node.
pub fn is_here(endpoint: &L4Endpoint, node: &NodeFacts) -> bool {
    endpoint.node.as_ref() == Some(&node.name)
}

/// Hints count only if every ready endpoint has some, and one of them is for us.
fn near<'a>(ready: &[&'a L4Endpoint], node: &NodeFacts) -> (Vec<&'a L4Endpoint>, Choice) {
    let for_node = |endpoint: &L4Endpoint| endpoint.for_nodes.contains(&node.name);
    let for_zone = |endpoint: &L4Endpoint| node.zone.as_ref().is_some_and(|zone| endpoint.for_zones.contains(zone));
    let chosen = |of: &dyn Fn(&L4Endpoint) -> bool| ready.iter().copied().filter(|endpoint| of(endpoint)).collect();
    if ready.iter().all(|endpoint| !endpoint.for_nodes.is_empty()) && ready.iter().any(|endpoint| for_node(endpoint)) {
        return (chosen(&for_node), Choice::SameNode);
    }
    if ready.iter().all(|endpoint| !endpoint.for_zones.is_empty()) && ready.iter().any(|endpoint| for_zone(endpoint)) {
        return (chosen(&for_zone), Choice::SameZone);
    }
    (ready.to_vec(), Choice::Ready)
}

impl L4Port {
    /// The endpoints of a family.
    pub fn of_family(&self, family: Family) -> impl Iterator<Item = &L4Endpoint> {
        self.endpoints.iter().filter(move |endpoint| Family::of(endpoint.address.ip()) == family)
    }
}

impl L4Service {
    /// Ready endpoints on a node, each address once: what healthCheckNodePort answers. Terminating ones don't count, so that load
    /// balancers leave before the last is gone.
    pub fn ready_on(&self, node: &NodeFacts) -> usize {
        let endpoints = self.ports.iter().flat_map(|port| &port.endpoints);
        // A Pod of both families is counted once: in the family of the first ClusterIP, as kube-proxy has it.
        let first = self.cluster_ips.first().map(|address| Family::of(*address));
        let counts = |endpoint: &&L4Endpoint| first.is_none_or(|family| Family::of(endpoint.address.ip()) == family);
        let ready = endpoints.filter(|endpoint| endpoint.ready && is_here(endpoint, node)).filter(counts);
        ready.map(|endpoint| endpoint.address.ip()).collect::<BTreeSet<IpAddr>>().len()
    }
}
