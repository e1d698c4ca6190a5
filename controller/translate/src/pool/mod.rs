//! Pools of addresses (AddressPool), who asks for one of them, and who gets which.
//!
//! Kept only where a node agent runs: without one nobody answers for an address. What is assigned is worked out once for a batch
//! of changes, and only if one of them matters to it: it costs a pass over all that ask. In a folder what is assigned is served
//! at once; in a cluster it stands in the status plan, and nodes serve what the Services' status says.

mod assign;
mod claim;
mod kind;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use rust_ingress_model::l4::{AddressRange, Pool};
use rust_ingress_model::status::{Balancer, Condition, ObjectStatus};
use rust_ingress_model::{Fault, Name, ObjectRef, Reason};

use crate::faults::Faults;
use crate::world::Key;
use assign::{Outcome, assign};
use claim::Asks;

pub use claim::FINALIZER;
pub(crate) use claim::{CLASS, POOL};
pub use kind::{AddressPool, AddressPoolAnnounce, AddressPoolSpec};

/// The condition by which a Service says whether it has its addresses.
pub const CONDITION: &str = "rust-ingress.dev/AddressesAssigned";
/// How many nodes answer for a pool where it doesn't say.
const MAX_NODES: u32 = 16;

/// A pool as it is written, and as nodes see it.
pub(crate) struct Known {
    object: AddressPool,
    pool: Pool,
}

/// What a World keeps of pools.
#[derive(Default)]
pub(crate) struct Addresses {
    objects: BTreeMap<Name, AddressPool>,
    pools: BTreeMap<Name, Known>,
    faults: BTreeMap<Name, Vec<Fault>>,
    /// Services that pools may matter to: load balancers, and those with our finalizer.
    candidates: BTreeSet<Key>,
    asks: BTreeMap<ObjectRef, Asks>,
    outcomes: BTreeMap<ObjectRef, Outcome>,
    /// Pools have changed, or who asks for what.
    stale: Stale,
}

/// What is to be worked out again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
enum Stale {
    /// Nothing.
    #[default]
    No,
    /// Who gets what.
    Outcomes,
    /// All, as pools are others.
    Pools,
}

/// What came out otherwise than before.
#[derive(Default)]
pub(crate) struct Settled {
    /// Objects that ask, with the addresses that they had been given.
    pub(crate) objects: Vec<(ObjectRef, Option<Vec<IpAddr>>)>,
    /// Pools.
    pub(crate) pools: Vec<Name>,
}

impl Addresses {
    /// Takes in a pool.
    pub(crate) fn set_pool(&mut self, name: &Name, new: Option<AddressPool>) {
        let created = |pool: &AddressPool| pool.metadata.creation_timestamp.clone();
        let seen = |pool: &AddressPool| (created(pool), pool.spec.clone());
        if self.objects.get(name).map(seen) == new.as_ref().map(seen) {
            return;
        }
        match new {
            Some(new) => self.objects.insert(name.clone(), new),
            None => self.objects.remove(name),
        };
        self.stale = Stale::Pools;
    }

    /// Takes in a Service.
    pub(crate) fn set_service(&mut self, key: &Key, new: Option<&Service>) {
        let matters = |service: &&Service| {
            let balanced = service.spec.as_ref().is_some_and(|spec| spec.type_.as_deref() == Some("LoadBalancer"));
            balanced || service.metadata.finalizers.iter().flatten().any(|one| one == FINALIZER)
        };
        let object = ObjectRef::new("Service", &key.0, &key.1);
        let Some(service) = new.filter(matters) else {
            if self.candidates.remove(key) {
                self.set_asks(&object, Asks::Nothing);
            }
            return;
        };
        self.candidates.insert(key.clone());
        let asks = self.look_at(&object, service);
        self.set_asks(&object, asks);
    }

    fn look_at(&self, object: &ObjectRef, service: &Service) -> Asks {
        claim::of_service(object, service, |ip| self.pools.values().any(|known| known.pool.contains(ip)))
    }

    fn set_asks(&mut self, object: &ObjectRef, new: Asks) {
        let old = self.asks.get(object).unwrap_or(&Asks::Nothing);
        if *old == new {
            return;
        }
        if !self.only_holds_it_now(old, &new) {
            self.stale = self.stale.max(Stale::Outcomes);
        }
        match new {
            Asks::Nothing => self.asks.remove(object),
            new => self.asks.insert(object.clone(), new),
        };
    }

    /// Whether all that has changed is that a claim now has what it was given: then everybody gets what they have, because nobody
    /// who comes before it took these, and those behind it found them taken.
    fn only_holds_it_now(&self, old: &Asks, new: &Asks) -> bool {
        let (Asks::For(old), Asks::For(new)) = (old, new) else { return false };
        let mut as_before = new.clone();
        as_before.held.clone_from(&old.held);
        let given = self.outcomes.get(&new.object).map(|outcome| outcome.addresses.iter().copied().collect::<BTreeSet<_>>());
        self.stale == Stale::No && as_before == *old && given.as_ref() == Some(&new.held)
    }

    /// Works out who gets what, where that may have changed.
    pub(crate) fn settle(&mut self, services: &BTreeMap<Key, Arc<Service>>) -> Settled {
        let mut settled = Settled::default();
        let stale = std::mem::take(&mut self.stale);
        if stale == Stale::No {
            return settled;
        }
        if stale == Stale::Pools {
            settled.pools = self.objects.keys().chain(self.pools.keys()).chain(self.faults.keys()).cloned().collect();
            self.read_pools();
            let looked = self.candidates.iter().filter_map(|key| {
                let object = ObjectRef::new("Service", &key.0, &key.1);
                let asks = self.look_at(&object, services.get(key)?);
                Some((object, asks))
            });
            // What a Service asks for depends on pools: one with an address of nobody's is somebody else's.
            let looked: BTreeMap<ObjectRef, Asks> = looked.filter(|(_, asks)| *asks != Asks::Nothing).collect();
            self.asks.retain(|object, _| &*object.kind != "Service");
            self.asks.extend(looked);
        }
        let claims = self.asks.values().filter_map(|asks| match asks {
            Asks::For(claim) => Some(&**claim),
            _ => None,
        });
        let old = std::mem::replace(&mut self.outcomes, assign(&self.pools, claims));
        let objects: BTreeSet<&ObjectRef> = old.keys().chain(self.outcomes.keys()).collect();
        for object in objects {
            let before = old.get(object);
            if before != self.outcomes.get(object) {
                settled.objects.push((object.clone(), before.map(|outcome| outcome.addresses.clone())));
            }
        }
        settled
    }

    /// Reads all pools, the oldest first: of a stretch that two have, the older one has it.
    fn read_pools(&mut self) {
        let mut objects: Vec<(&Name, &AddressPool)> = self.objects.iter().collect();
        objects.sort_by_key(|(name, pool)| {
            let created = pool.metadata.creation_timestamp.clone();
            (created.is_none(), created, (*name).clone())
        });
        let (mut pools, mut found) = (BTreeMap::<Name, Known>::new(), BTreeMap::new());
        for (name, object) in objects {
            let mut faults = Faults::of(ObjectRef::new("AddressPool", "", name));
            let ranges = ranges(object, &pools, &mut faults);
            let announce = object.spec.announce.clone().unwrap_or_default();
            let max_nodes = announce.max_nodes.and_then(|most| u32::try_from(most).ok()).filter(|most| *most > 0);
            let selector = announce.node_selector.iter();
            let node_selector = selector.map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect();
            let pool = Pool { ranges, node_selector, max_nodes: max_nodes.unwrap_or(MAX_NODES) };
            pools.insert(name.clone(), Known { object: object.clone(), pool });
            let faults = faults.into_list();
            if !faults.is_empty() {
                found.insert(name.clone(), faults);
            }
        }
        (self.pools, self.faults) = (pools, found);
    }

    /// Whether a pool is for Services that name no class.
    pub(crate) fn has_default(&self) -> bool {
        self.objects.values().any(|pool| pool.spec.is_default)
    }

    /// The names of all pools.
    pub(crate) fn pool_names(&self) -> impl Iterator<Item = &Name> {
        self.objects.keys()
    }

    /// All pools, as nodes see them.
    pub(crate) fn pools(&self) -> BTreeMap<Name, Pool> {
        self.pools.iter().map(|(name, known)| (name.clone(), known.pool.clone())).collect()
    }

    /// What is wrong with a pool.
    pub(crate) fn pool_faults(&self, name: &str) -> Vec<Fault> {
        self.faults.get(name).cloned().unwrap_or_default()
    }

    /// The addresses that an object has been given; `None` where it asks for none.
    pub(crate) fn given(&self, object: &ObjectRef) -> Option<&[IpAddr]> {
        self.outcomes.get(object).map(|outcome| outcome.addresses.as_slice())
    }

    /// Why an object has less than it asks for.
    pub(crate) fn claim_faults(&self, object: &ObjectRef) -> Vec<Fault> {
        self.outcomes.get(object).map(|outcome| outcome.faults.clone()).unwrap_or_default()
    }

    /// What to write on a Service; nothing where that is none of our business.
    pub(crate) fn status(&self, object: &ObjectRef) -> Option<ObjectStatus> {
        if let Some(Asks::Release) = self.asks.get(object) {
            return Some(ObjectStatus { balancer: Some(Balancer::Released), ..ObjectStatus::default() });
        }
        let outcome = self.outcomes.get(object)?;
        let (reason, message) = match outcome.faults.first() {
            Some(fault) => (fault.reason.to_string(), fault.message.clone()),
            None => ("Assigned".into(), "it has the addresses that it asks for".into()),
        };
        let condition = Condition { r#type: CONDITION.into(), status: outcome.faults.is_empty(), reason, message };
        let balancer = Some(Balancer::Given(outcome.addresses.clone()));
        Some(ObjectStatus { conditions: vec![condition], balancer, ..ObjectStatus::default() })
    }
}

/// The ranges of a pool that can be read and that no pool before it has.
fn ranges(object: &AddressPool, before: &BTreeMap<Name, Known>, faults: &mut Faults) -> Vec<AddressRange> {
    let mut ranges: Vec<AddressRange> = Vec::new();
    if object.spec.addresses.is_empty() {
        faults.error("spec.addresses", Reason::Required, "the pool has no addresses", "write CIDRs or ranges");
    }
    for (index, text) in object.spec.addresses.iter().enumerate() {
        let field = format!("spec.addresses[{index}]");
        let range: AddressRange = match text.parse() {
            Ok(range) => range,
            Err(why) => {
                let message = format!("{text:?} {why}: it isn't used");
                faults.error(field, Reason::InvalidValue, message, "correct it");
                continue;
            }
        };
        let other = before.iter().find(|(_, known)| known.pool.ranges.iter().any(|other| other.overlaps(&range)));
        let whose = match other {
            Some((name, _)) => format!("AddressPool {name}, which is older,"),
            None if ranges.iter().any(|other| other.overlaps(&range)) => "an earlier entry".to_owned(),
            None => {
                ranges.push(range);
                continue;
            }
        };
        let message = format!("{whose} has some of {text} already: it isn't used");
        faults.error(field, Reason::Conflict, message, "let each address stand in one pool, once");
    }
    ranges
}
