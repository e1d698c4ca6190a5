//! What the agent says of itself over HTTP: kube-proxy's ports, paths and JSON, so that load balancers and dashboards work as before.
//!
//! | port | paths | who asks |
//! |---|---|---|
//! | 10256, all addresses | `/healthz`, `/livez` | cloud load balancers (KEP-3836), probes |
//! | 10249, loopback | `/metrics`, `/proxyMode`, `/healthz` | Prometheus, tests |
//! | each healthCheckNodePort, the node's addresses | any | load balancers of Services with externalTrafficPolicy Local |

mod answers;
mod metrics;
mod server;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rust_ingress_model::l4::plan::Plan;
use rust_ingress_model::l4::{L4Service, TrafficPolicy, node_plan};
use rust_ingress_model::{Name, ObjectRef};

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
    /// A plan is to be written; where healthCheckNodePorts are to be served from now on.
    pub fn planned(&self, plan: &Plan) -> Vec<SocketAddr> {
        let checks: BTreeMap<u16, Check> = plan.services().iter().filter_map(|(name, part)| check(name, part, plan)).collect();
        let addresses = node_plan::node_port_addresses(plan.node(), plan.settings());
        let at = checks.keys().flat_map(|port| addresses.iter().map(|address| SocketAddr::new(*address, *port))).collect();
        let mut facts = self.facts();
        facts.leaving = plan.node().leaving;
        facts.checks = checks;
        facts.pending.get_or_insert_with(Instant::now);
        at
    }

    /// The kernel has the plan.
    pub fn written(&self) {
        let mut facts = self.facts();
        (facts.written, facts.pending) = (Some(SystemTime::now()), None);
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
