//! This node's kernel, as the driver keeps it up to date: told only where Services, or the node itself, have changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use ipnet::IpNet;
use rust_ingress_model::l4::redirect::{DOOR, Redirects};
use rust_ingress_model::l4::{L4Service, L4Settings, NodeFacts, Pool};
use rust_ingress_model::{Fault, Name, ObjectRef, PartMap, Snapshot};
use rust_ingress_proxy::PublishFault;
use rust_ingress_translate::World;

use super::FaultChanges;
use crate::plane::Kernel;

/// The node that an agent programs.
pub(super) struct Node {
    name: Name,
    kernel: Box<dyn Kernel>,
    settings: L4Settings,
    /// What the proxy was told of Services that go through it.
    redirects: Redirects,
    /// Whether it takes their traffic.
    open: bool,
    /// What was programmed last.
    programmed: Option<Programmed>,
    /// What was wrong with it.
    faults: BTreeSet<Fault>,
    /// Whether it was said that the Node object isn't there.
    missing: bool,
}

/// What came of programming.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Programming {
    /// All was so already.
    Nothing,
    /// Done.
    Done,
    /// Done but for Services that go through the proxy, which has to know them first: [`Node::finish`].
    Waits,
}

struct Programmed {
    services: PartMap<ObjectRef, L4Service>,
    service_cidrs: Vec<IpNet>,
    pools: BTreeMap<Name, Pool>,
    facts: Arc<NodeFacts>,
}

impl Node {
    pub(super) fn new(name: Name, settings: L4Settings, kernel: Box<dyn Kernel>) -> Self {
        let (redirects, open, faults) = (Redirects::default(), true, BTreeSet::new());
        Self { name, kernel, settings, redirects, open, programmed: None, faults, missing: false }
    }

    /// Programs the kernel where the Services of the snapshot, or what is known of the node, are others than last time.
    /// `triggered`: when what changed endpoints since then happened.
    pub(super) fn program(&mut self, world: &World, snapshot: &Arc<Snapshot>, triggered: &[SystemTime]) -> Programming {
        let facts = self.facts(world);
        let same = |last: &Programmed| {
            let same = Arc::ptr_eq(&last.facts, &facts) && last.services == snapshot.services;
            same && last.service_cidrs == snapshot.service_cidrs && last.pools == snapshot.pools
        };
        if self.programmed.as_ref().is_some_and(same) {
            return Programming::Nothing;
        }
        let next = self.redirects.next(&snapshot.services, &facts, &self.settings);
        let without = self.redirects.known(&next);
        self.redirects = next;
        let (services, service_cidrs) = (snapshot.services.clone(), snapshot.service_cidrs.clone());
        self.programmed = Some(Programmed { services, service_cidrs, pools: snapshot.pools.clone(), facts });
        let Some(services) = without else {
            self.publish(snapshot, triggered);
            return Programming::Done;
        };
        let some = Arc::new(Snapshot { services, ..Snapshot::clone(snapshot) });
        self.programmed.iter().for_each(|programmed| drop(self.kernel.publish(&some, &programmed.facts, triggered)));
        Programming::Waits
    }

    /// What waited for the proxy, which knows all now; or, where it can't take it, none of it goes there.
    pub(super) fn finish(&mut self, snapshot: &Arc<Snapshot>) {
        if self.open {
            return self.publish(snapshot, &[]);
        }
        self.redirects = Redirects::default();
    }

    /// Whether the proxy takes what is redirected, as it was when it was told last.
    pub(super) fn opened(&mut self, failed: &[PublishFault]) {
        self.open = failed.iter().all(|fault| &*fault.listener != DOOR);
    }

    /// Puts the Services that go through the proxy into what it is told.
    pub(super) fn redirect(&self, given: &mut Snapshot) {
        if let Some(port) = self.settings.l7_port {
            self.redirects.put(given, port);
        }
    }

    fn publish(&mut self, snapshot: &Arc<Snapshot>, triggered: &[SystemTime]) {
        let Some(programmed) = &self.programmed else { return };
        let faults: BTreeSet<Fault> = self.kernel.publish(snapshot, &programmed.facts, triggered).into_iter().collect();
        FaultChanges::of(&self.faults, &faults).log();
        self.faults = faults;
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
