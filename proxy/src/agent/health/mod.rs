//! What the agent says of itself over HTTP: kube-proxy's ports, paths and JSON, so that load balancers and dashboards work as before.
//!
//! | port | paths | who asks |
//! |---|---|---|
//! | 10256, all addresses | `/healthz`, `/livez` | cloud load balancers (KEP-3836), probes |
//! | 10249, loopback | `/metrics`, `/proxyMode`, `/healthz` | Prometheus, tests |
//! | each healthCheckNodePort, the node's addresses | any | load balancers of Services with externalTrafficPolicy Local |

mod answers;
mod changes;
mod metrics;
mod server;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rust_ingress_model::l4::plan::Plan;
use rust_ingress_model::l4::{L4Service, NodeFacts, TrafficPolicy, node_plan};
use rust_ingress_model::{Name, ObjectRef, PartMap};

pub(super) use metrics::Metrics;
pub(super) use server::Server;

/// The ports. `None`: not served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ports {
    /// `/healthz` and `/livez`.
    pub health: Option<SocketAddr>,
    /// `/metrics` and `/proxyMode`.
    pub status: Option<SocketAddr>,
}

impl Default for Ports {
    /// kube-proxy's.
    fn default() -> Self {
        Self { health: Some(([0_u16; 8], 10_256).into()), status: Some(([127, 0, 0, 1], 10_249).into()) }
    }
}

/// An update that isn't in the kernel after this makes the node unhealthy: twice kube-proxy's sync period of 30 s.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is known of the agent's health.
#[derive(Debug, Default)]
pub(super) struct Health {
    facts: Mutex<Facts>,
    /// What is counted.
    pub metrics: Metrics,
}

#[derive(Debug, Default)]
struct Facts {
    /// When the kernel last got what it should have.
    written: Option<SystemTime>,
    /// Since when something isn't there that should be.
    pending: Option<Instant>,
    /// Whether load balancers shall leave the node.
    leaving: bool,
    /// healthCheckNodePorts.
    checks: BTreeMap<u16, Check>,
    /// What is planned, and for which node.
    services: PartMap<ObjectRef, L4Service>,
    node: NodeFacts,
}

/// A Service that load balancers ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Check {
    namespace: Name,
    name: Name,
    /// Ready endpoints on this node.
    local: usize,
}

impl Health {
    /// A plan is to be written in place of another; where healthCheckNodePorts are to be served from now on.
    pub fn planned(&self, old: &Plan, plan: &Plan) -> Vec<SocketAddr> {
        let mut facts = self.facts();
        if old.node() == plan.node() {
            let (gone, come): (Vec<_>, Vec<_>) = changes::differing(old, plan)
                .map(|(name, was, is)| (was.and_then(|was| check(name, was, old)), is.and_then(|is| check(name, is, plan))))
                .unzip();
            gone.into_iter().flatten().for_each(|(port, _)| drop(facts.checks.remove(&port)));
            facts.checks.extend(come.into_iter().flatten());
        } else {
            facts.checks = plan.services().iter().filter_map(|(name, part)| check(name, part, plan)).collect();
        }
        facts.leaving = plan.node().leaving;
        (facts.services, facts.node) = (plan.services().clone(), plan.node().clone());
        facts.pending.get_or_insert_with(Instant::now);
        let addresses = node_plan::node_port_addresses(plan.node(), plan.settings());
        let at = facts.checks.keys().flat_map(|port| addresses.iter().map(|address| SocketAddr::new(*address, *port))).collect();
        drop(facts);
        self.metrics.queued(changes::Changes::between(old, plan));
        at
    }

    /// The kernel has the plan.
    pub fn written(&self) {
        let mut facts = self.facts();
        (facts.written, facts.pending) = (Some(SystemTime::now()), None);
        drop(facts);
        self.metrics.settled();
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Facts {
    /// Whether updates reach the kernel.
    fn is_live(&self) -> bool {
        self.pending.is_none_or(|since| since.elapsed() < PATIENCE)
    }

    /// Services with a policy `Local` and endpoints, but none on this node.
    fn without_local(&self, policy: fn(&L4Service) -> TrafficPolicy) -> usize {
        let lacks = |service: &L4Service| {
            let mut endpoints = service.ports.iter().flat_map(|port| &port.endpoints).filter(|endpoint| endpoint.ready);
            policy(service) == TrafficPolicy::Local && endpoints.next().is_some() && service.ready_on(&self.node) == 0
        };
        self.services.values().filter(|service| lacks(service)).count()
    }

    /// Whether traffic may come to this node. Before the first rules are there, it may not.
    fn is_healthy(&self) -> bool {
        self.is_live() && self.written.is_some() && !self.leaving
    }
}

/// As the API has it, only externalTrafficPolicy Local has a check.
fn check(name: &ObjectRef, service: &L4Service, plan: &Plan) -> Option<(u16, Check)> {
    let port = service.health_check_node_port.filter(|port| *port != 0 && service.external == TrafficPolicy::Local)?;
    let local = service.ready_on(plan.node());
    Some((port, Check { namespace: name.namespace.clone(), name: name.name.clone(), local }))
}
