//! What a node programs: the elements of every Service and of the node itself, and what changes from one plan to the next.
//!
//! A plan keeps no elements: those of a Service are a pure function of it, the node and the settings, and are made again from the
//! old Service when it changes. So a plan costs pointers, and a change what changed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::element::{Data, Element, Verdict};
use super::node::{L4Settings, NodeFacts};
use super::node_plan::{node_elements, node_port_addresses};
use super::rule::ChainName;
use super::ruleset::Ruleset;
use super::service::L4Service;
use super::service_plan::{ServicePlan, plan_service};
use super::set::{Family, SetName};
use crate::digest::Part;
use crate::fault::Fault;
use crate::names::ObjectRef;
use crate::parts::PartMap;
use crate::snapshot::Snapshot;

/// All that a node programs for one snapshot.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    settings: L4Settings,
    node: NodeFacts,
    services: PartMap<ObjectRef, L4Service>,
    /// The node's own elements, sorted.
    own: Vec<Element>,
    /// Elements that several Services may have, with how many do.
    shared: PartMap<Element, u32>,
    /// Chains that elements go to. None is taken away before the next start: chains cost little, and an unused one nothing.
    chains: BTreeSet<ChainName>,
    counts: BTreeMap<(Family, SetName), usize>,
    faults: BTreeMap<ObjectRef, Vec<Fault>>,
}

/// What to do in the kernel, in this order and in one batch. Sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlanChange {
    /// Chains that weren't there, for both families.
    pub chains: Vec<ChainName>,
    /// Elements to take out: by key, the data is what they had.
    pub removed: Vec<Element>,
    /// Elements to put in. A key may be in `removed` too: its data changes.
    pub added: Vec<Element>,
}

impl PlanChange {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.chains.is_empty() && self.removed.is_empty() && self.added.is_empty()
    }
}

impl Plan {
    /// A plan without Services, for a node that nothing is known of: no elements.
    pub fn empty(settings: L4Settings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// The plan for a snapshot on a node, and what changes from this one to it.
    ///
    /// Costs the Services that differ; all of them if the node's name, zone or addresses do.
    pub fn next(&self, snapshot: &Snapshot, node: &NodeFacts) -> (Self, PlanChange) {
        let mut next = Self {
            node: node.clone(),
            services: snapshot.services.clone(),
            own: node_elements(node, &self.settings, snapshot),
            ..self.clone()
        };
        let mut change = Building::default();
        let seen = |node: &NodeFacts| (node.name.clone(), node.zone.clone(), node.addresses.clone(), node.pod_cidrs.clone());
        if seen(&self.node) == seen(node) {
            for (name, _) in
                self.services.near_changes(&snapshot.services).filter(|(name, _)| !snapshot.services.contains_key(*name))
            {
                change.service(name, self, &mut next);
            }
            for (name, part) in snapshot.services.near_changes(&self.services) {
                if self.services.get(name) != Some(part) {
                    change.service(name, self, &mut next);
                }
            }
        } else {
            let names: BTreeSet<&ObjectRef> = self.services.keys().chain(snapshot.services.keys()).collect();
            for name in names {
                change.service(name, self, &mut next);
            }
        }
        change.removed.extend(gone(&self.shared, &next.shared));
        change.added.extend(gone(&next.shared, &self.shared));
        change.differ(&self.own, &next.own);
        let change = change.done(&mut next);
        (next, change)
    }

    /// All elements, sorted.
    pub fn elements(&self) -> Vec<Element> {
        let services =
            self.services.iter().flat_map(|(name, part)| plan_service(name, part, &self.node, &self.settings).elements);
        let mut elements: Vec<Element> = services.chain(self.shared.keys().copied()).chain(self.own.iter().copied()).collect();
        elements.sort_unstable();
        elements
    }

    /// The table of a family, with room for twice the elements that there are.
    pub fn ruleset(&self, family: Family) -> Ruleset {
        let of_family = self.counts.iter().filter(|((of, _), _)| *of == family);
        let double = |count: usize| u32::try_from(count.saturating_mul(2).next_power_of_two()).unwrap_or(u32::MAX);
        let sizes = of_family.map(|((_, set), count)| (*set, double(*count))).collect();
        Ruleset::new(family, &self.settings, &self.chains, &sizes)
    }

    /// How many elements each set has.
    pub fn counts(&self) -> &BTreeMap<(Family, SetName), usize> {
        &self.counts
    }

    /// What can't be programmed, and is left out.
    pub fn faults(&self) -> impl Iterator<Item = &Fault> {
        self.faults.values().flatten()
    }

    /// The Services that are planned.
    pub fn services(&self) -> &PartMap<ObjectRef, L4Service> {
        &self.services
    }

    /// The node that is planned for.
    pub fn node(&self) -> &NodeFacts {
        &self.node
    }

    /// The node's addresses that NodePorts are served on.
    pub fn node_port_addresses(&self) -> Vec<IpAddr> {
        node_port_addresses(&self.node, &self.settings)
    }

    /// How the agent is set up.
    pub fn settings(&self) -> &L4Settings {
        &self.settings
    }

    fn service_plan(&self, name: &ObjectRef) -> ServicePlan {
        let plan = |part: &Part<L4Service>| plan_service(name, part, &self.node, &self.settings);
        self.services.get(name).map(plan).unwrap_or_default()
    }
}

/// What one has and the other hasn't.
fn gone<'a>(one: &'a PartMap<Element, u32>, other: &'a PartMap<Element, u32>) -> impl Iterator<Item = Element> {
    one.near_changes(other).map(|(element, _)| *element).filter(|element| !other.contains_key(element))
}

/// A change as it comes together.
#[derive(Default)]
struct Building {
    removed: Vec<Element>,
    added: Vec<Element>,
}

impl Building {
    /// From what a Service was in the old plan to what it is in the next.
    fn service(&mut self, name: &ObjectRef, old: &Plan, next: &mut Plan) {
        let (was, is) = (old.service_plan(name), next.service_plan(name));
        for element in is.shared.difference(&was.shared) {
            let count = next.shared.get(element).map_or(0, |count| **count);
            next.shared.insert(*element, Part::new(count + 1));
        }
        for element in was.shared.difference(&is.shared) {
            match next.shared.get(element).map(|count| **count) {
                Some(count) if count > 1 => next.shared.insert(*element, Part::new(count - 1)),
                _ => next.shared.remove(element),
            };
        }
        if is.faults.is_empty() {
            next.faults.remove(name);
        } else {
            next.faults.insert(name.clone(), is.faults);
        }
        self.differ(&was.elements, &is.elements);
    }

    /// Both sorted.
    fn differ(&mut self, old: &[Element], new: &[Element]) {
        self.removed.extend(old.iter().filter(|element| new.binary_search(element).is_err()));
        self.added.extend(new.iter().filter(|element| old.binary_search(element).is_err()));
    }

    fn done(mut self, next: &mut Plan) -> PlanChange {
        self.removed.sort_unstable();
        self.added.sort_unstable();
        for element in &self.removed {
            if let Some(count) = next.counts.get_mut(&(element.family, element.set)) {
                *count = count.saturating_sub(1);
            }
        }
        next.counts.retain(|_, count| *count > 0);
        for element in &self.added {
            *next.counts.entry((element.family, element.set)).or_default() += 1;
        }
        let to = self.added.iter().filter_map(|element| match element.data {
            Data::Verdict(Verdict::Goto(chain) | Verdict::Jump(chain)) => Some(chain),
            _ => None,
        });
        let chains: BTreeSet<ChainName> = to.filter(|chain| chain.is_on_demand() && !next.chains.contains(chain)).collect();
        next.chains.extend(&chains);
        PlanChange { chains: chains.into_iter().collect(), removed: self.removed, added: self.added }
    }
}
