//! What is in the kernel, and the way from one plan to the next.
//!
//! The kernel is never read back: what we wrote is what is there, unless somebody else wrote too. That is heard of (`drift`), or
//! shows when a transaction is refused; both end in writing everything anew, in one transaction that no packet falls through.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rust_ingress_model::l4::plan::{Plan, PlanChange};
use rust_ingress_model::l4::{Family, L4Service, L4Settings, L7, NodeFacts, NodePortAddresses, SetName};
use rust_ingress_model::{Fault, Part, Snapshot};

use super::addresses;
use super::alive::Alive;
use super::conntrack;
use super::health::{Health, Server};
use super::localhost::Localhost;
use super::netlink::Netlink;
use super::nft::{CommitError, Pairs, Tables};
use super::route;
use super::stale;
use super::{AGAIN, StartError};

/// What was done, for metrics and tests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Transactions that changed some elements.
    pub changes: u64,
    /// Transactions that wrote everything.
    pub full_writes: u64,
    /// Times that somebody else had changed our tables.
    pub drifts: u64,
    /// Transactions that the kernel refused.
    pub failures: u64,
    /// UDP flows that were forgotten.
    pub flows_forgotten: u64,
    /// How long the last transaction took, making its bytes included.
    pub last: Duration,
}

/// The agent's knowledge of the kernel.
#[derive(Debug)]
pub(super) struct State {
    tables: Tables,
    conntrack: Netlink,
    route: Netlink,
    plan: Plan,
    /// Of what was published last, what is planned.
    published: Snapshot,
    /// Whether the kernel has the plan.
    written: bool,
    /// Whether anything was ever published: before that, nothing is ours to repair.
    begun: bool,
    /// The agent that has taken over from this one, by its port: the tables are its.
    successor: Option<u32>,
    /// Whether the kernel may remember clients of sessions.
    sticky: bool,
    /// Whether the routes of the L7 proxy's sources are there.
    routes: bool,
    counters: Counters,
    beside: Beside,
}

/// What works beside it.
#[derive(Debug)]
pub(super) struct Beside {
    pub health: Arc<Health>,
    pub server: Server,
    pub alive: Alive,
    pub localhost: Option<Localhost>,
}

impl State {
    /// Nothing planned, nothing known.
    pub fn new(settings: L4Settings, tables: Tables, beside: Beside) -> Result<Self, StartError> {
        let conntrack = Netlink::open(0).map_err(StartError::Netlink)?;
        let route = Netlink::open_route().map_err(StartError::Netlink)?;
        let (plan, published) = (Plan::empty(settings), Snapshot::default());
        let counters = Counters::default();
        let (written, begun, successor, sticky, routes) = (false, false, None, false, false);
        Ok(Self { tables, conntrack, route, plan, published, written, begun, successor, sticky, routes, counters, beside })
    }

    /// See [`super::Agent::publish`].
    pub fn publish(&mut self, snapshot: &Snapshot, node: &NodeFacts) -> Vec<Fault> {
        let (services, service_cidrs) = (snapshot.services.clone(), snapshot.service_cidrs.clone());
        self.published = Snapshot { services, service_cidrs, ..Snapshot::default() };
        let mut node = node.clone();
        if let Some(addresses) = self.addresses() {
            node.interface_addresses = addresses;
        }
        let (next, change) = self.plan_next(snapshot, &node);
        let old = std::mem::replace(&mut self.plan, next);
        let first = !std::mem::replace(&mut self.begun, true);
        let sticky = |((_, set), _): (&(Family, SetName), &usize)| matches!(set, SetName::Sticky | SetName::StickyNodePorts);
        self.sticky |= self.plan.counts().iter().any(sticky);
        self.beside.server.check_at(&self.beside.health.planned(&old, &self.plan));
        if let Some(localhost) = &self.beside.localhost {
            localhost.carry_to(self.plan.node_port_addresses());
        }
        // The plan of one that is overtaken is kept for when the other is gone.
        let overtaken = !first && self.is_overtaken();
        let written = match self.written {
            _ if overtaken => {
                self.beside.health.written();
                Ok(())
            }
            true => self.change(&change),
            false => self.write(),
        };
        self.beside.alive.want(if self.successor.is_none() { through_l7(&self.plan) } else { 0 });
        let stale = if first { stale::all(&self.plan) } else { stale::between(&old, &self.plan) };
        match conntrack::forget(&mut self.conntrack, &stale) {
            Ok(count) => {
                let count = u64::try_from(count).unwrap_or_default();
                self.counters.flows_forgotten += count;
                self.beside.health.metrics.forgot(count);
            }
            Err(error) => {
                tracing::warn!(%error, "stale UDP flows can't be forgotten: clients may send to endpoints that are gone");
            }
        }
        if let Err(error) = written {
            tracing::error!(
                "L4: {error}; this node carries Services as before, and all is tried again in {} ms",
                AGAIN.as_millis()
            );
        }
        self.plan.faults().cloned().collect()
    }

    /// The next plan, with the routes that it needs: a proxy that can't take clients' places takes no traffic.
    fn plan_next(&mut self, snapshot: &Snapshot, node: &NodeFacts) -> (Plan, PlanChange) {
        let (next, change) = self.plan.next(snapshot, node);
        // Made once, and left: connections that go through the proxy need them for as long as they live.
        if self.routes || through_l7(&next) == 0 {
            return (next, change);
        }
        match route::make(&mut self.route) {
            Ok(()) => {
                self.routes = true;
                (next, change)
            }
            Err(error) => {
                tracing::error!(%error, "the route of the L7 proxy's sources can't be made; Services with the annotation rust-ingress.dev/l7 don't go through the proxy");
                self.plan.next(&without_l7(snapshot), node)
            }
        }
    }

    /// The addresses of the node's interfaces, where the plan depends on them.
    fn addresses(&mut self) -> Option<Vec<IpAddr>> {
        if self.plan.settings().node_port_addresses == NodePortAddresses::Primary {
            return None;
        }
        match addresses::read(&mut self.route) {
            Ok(addresses) => Some(addresses),
            Err(error) => {
                tracing::warn!(%error, "the node's addresses can't be read; NodePorts stay where they are");
                Some(self.plan.node().interface_addresses.clone())
            }
        }
    }

    /// Plans anew where the node's addresses have changed.
    pub fn look_at_addresses(&mut self) {
        if !self.begun {
            return;
        }
        if self.addresses().is_some_and(|addresses| addresses != self.plan.node().interface_addresses) {
            let (published, node) = (self.published.clone(), self.plan.node().clone());
            self.publish(&published, &node);
        }
    }

    /// Writes what isn't written yet; whether there was anything.
    pub fn settle(&mut self) -> bool {
        if self.written || !self.begun || self.is_overtaken() {
            return false;
        }
        if let Err(error) = self.write() {
            tracing::error!(%error, "the kernel's tables can't be written");
        }
        true
    }

    /// Somebody else has changed our tables: all is written anew, at once.
    pub fn drifted(&mut self) {
        if !self.begun {
            return;
        }
        let before = self.successor;
        self.successor = self.tables.successor(before);
        if let Some(port) = self.successor {
            if before.is_none() {
                tracing::info!(port, "another agent has taken over this node's Services; they are left to it");
            }
            return self.distrust();
        }
        self.counters.drifts += 1;
        self.beside.health.metrics.drifted();
        self.distrust();
        if self.settle() && self.written {
            tracing::warn!("another program changed our nftables tables; they are as they should be again");
        }
    }

    /// Takes nothing for granted any more.
    pub fn distrust(&mut self) {
        self.beside.alive.want(if self.successor.is_none() { through_l7(&self.plan) } else { 0 });
        self.written = false;
    }

    /// Whether the kernel has the plan.
    pub fn is_written(&self) -> bool {
        self.written
    }

    /// See [`super::Agent::programmed`].
    pub fn programmed(&self, triggered: &[SystemTime]) {
        let now = SystemTime::now();
        // A clock ahead of ours says nothing.
        let took = triggered.iter().filter_map(|time| now.duration_since(*time).ok());
        took.for_each(|took| self.beside.health.metrics.programmed(took));
    }

    /// What was done so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Whether another agent has the tables, and still runs.
    fn is_overtaken(&mut self) -> bool {
        if self.successor.is_none() {
            return false;
        }
        self.successor = self.tables.successor(self.successor);
        if self.successor.is_none() {
            tracing::info!("the agent that had taken over is gone; this one programs the node's Services again");
            self.beside.alive.want(through_l7(&self.plan));
        }
        self.successor.is_some()
    }

    fn change(&mut self, change: &PlanChange) -> Result<(), CommitError> {
        if change.is_empty() {
            self.beside.health.written();
            return Ok(());
        }
        let begin = Instant::now();
        match self.tables.change(&change.chains, &change.removed, &change.added) {
            Ok(()) => {
                self.counters.changes += 1;
                self.synced(false, begin.elapsed());
                self.forget_clients(change);
                Ok(())
            }
            Err(error) if error.is_full() => self.write(),
            Err(error) => {
                if error.is_drift() {
                    self.counters.drifts += 1;
                    self.beside.health.metrics.drifted();
                }
                self.failed();
                tracing::warn!(%error, "a change to the kernel's tables was refused; all of them are written anew");
                self.write()
            }
        }
    }

    /// Everything, in one transaction.
    fn write(&mut self) -> Result<(), CommitError> {
        let begin = Instant::now();
        let rulesets = Family::BOTH.map(|family| self.plan.ruleset(family));
        let result = self.tables.replace(&rulesets, &self.plan.elements());
        self.written = result.is_ok();
        match &result {
            Ok(()) => {
                self.counters.full_writes += 1;
                self.synced(true, begin.elapsed());
            }
            Err(_) => self.failed(),
        }
        result
    }

    fn synced(&mut self, everything: bool, took: Duration) {
        self.counters.last = took;
        self.beside.health.metrics.synced(everything, took);
        self.beside.health.written();
    }

    fn failed(&mut self) {
        self.counters.failures += 1;
        self.beside.health.metrics.failed();
    }

    /// Clients of endpoints that are gone choose anew; those of endpoints that only moved to another index don't.
    fn forget_clients(&mut self, change: &PlanChange) {
        if !self.sticky {
            return;
        }
        let stay: Vec<_> = change.added.iter().filter_map(Pairs::of).collect();
        let gone: Pairs = change.removed.iter().filter_map(Pairs::of).filter(|pair| !stay.contains(pair)).collect();
        if let Err(error) = self.tables.forget_clients(&gone) {
            tracing::warn!(%error, "clients of endpoints that are gone can't be forgotten; they are sent there until they time out");
        }
    }
}

/// How many addresses and node ports are sent to the L7 proxy.
fn through_l7(plan: &Plan) -> usize {
    let sent = |set: &SetName| matches!(set, SetName::L7Services | SetName::L7NodePorts);
    plan.counts().iter().filter(|((_, set), _)| sent(set)).map(|(_, count)| count).sum()
}

/// The same Services, none of which asks for the proxy but those that may not do without.
fn without_l7(snapshot: &Snapshot) -> Snapshot {
    let mut services = snapshot.services.clone();
    for (name, service) in snapshot.services.iter().filter(|(_, service)| service.l7 == L7::Enabled) {
        services.insert(name.clone(), Part::new(L4Service { l7: L7::Off, ..L4Service::clone(service) }));
    }
    Snapshot { services, service_cidrs: snapshot.service_cidrs.clone(), ..Snapshot::default() }
}
