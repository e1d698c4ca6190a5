//! This node's kernel, as the driver keeps it up to date: told only where Services, or the node itself, have changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use ipnet::IpNet;
use rust_ingress_model::l4::{L4Service, NodeFacts, Pool};
use rust_ingress_model::{Fault, Name, ObjectRef, PartMap, Snapshot};
use rust_ingress_translate::World;

use super::FaultChanges;
use crate::plane::Kernel;

/// The node that an agent programs.
pub(super) struct Node {
    name: Name,
    kernel: Box<dyn Kernel>,
    /// What was programmed last.
    programmed: Option<Programmed>,
    /// What was wrong with it.
    faults: BTreeSet<Fault>,
    /// Whether it was said that the Node object isn't there.
    missing: bool,
}

struct Programmed {
    services: PartMap<ObjectRef, L4Service>,
    service_cidrs: Vec<IpNet>,
    pools: BTreeMap<Name, Pool>,
    facts: Arc<NodeFacts>,
}

impl Node {
    pub(super) fn new(name: Name, kernel: Box<dyn Kernel>) -> Self {
        Self { name, kernel, programmed: None, faults: BTreeSet::new(), missing: false }
    }

    /// Programs the kernel where the Services of the snapshot, or what is known of the node, are others than last time.
    /// `triggered`: when what changed endpoints since then happened.
    pub(super) fn program(&mut self, world: &World, snapshot: &Arc<Snapshot>, triggered: &[SystemTime]) {
        let facts = self.facts(world);
        let same = |last: &Programmed| {
            let same = Arc::ptr_eq(&last.facts, &facts) && last.services == snapshot.services;
            same && last.service_cidrs == snapshot.service_cidrs && last.pools == snapshot.pools
        };
        if self.programmed.as_ref().is_some_and(same) {
            return;
        }
        let faults: BTreeSet<Fault> = self.kernel.publish(snapshot, &facts, triggered).into_iter().collect();
        FaultChanges::of(&self.faults, &faults).log();
        self.faults = faults;
        let (services, service_cidrs) = (snapshot.services.clone(), snapshot.service_cidrs.clone());
        self.programmed = Some(Programmed { services, service_cidrs, pools: snapshot.pools.clone(), facts });
    }

    /// A node that isn't known any more stays what it was: Services that work are worth more than facts that may be old.
    /// One that never was has its name alone, which is enough for ClusterIPs.
    fn facts(&mut self, world: &World) -> Arc<NodeFacts> {
        let known = world.node(&self.name);
        if known.is_none() && !self.missing {
            tracing::warn!(node = %self.name, "there is no Node of this name: no NodePorts are served, and sources of this node's Pods aren't kept; check --node-name");
        }
        self.missing = known.is_none();
        match (known, &self.programmed) {
            (Some(facts), _) => facts.clone(),
            (None, Some(last)) => last.facts.clone(),
            (None, None) => Arc::new(NodeFacts { name: self.name.clone(), ..NodeFacts::default() }),
        }
    }
}
