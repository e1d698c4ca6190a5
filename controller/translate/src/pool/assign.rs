//! Which claim gets which address. Pure: pools and claims in, addresses and faults out.
//!
//! Who has an address keeps it while it may; then those that ask for a certain one; then the others, lowest free address of the
//! first pool first. Within each, the oldest object first.

use std::collections::BTreeMap;
use std::net::IpAddr;

use rust_ingress_model::l4::Family;
use rust_ingress_model::l4::pool::following;
use rust_ingress_model::{Fault, Name, ObjectRef, Reason};

use super::Known;
use super::claim::{Claim, selects};
use crate::faults::Faults;

/// What a claim gets.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Outcome {
    /// In order of family.
    pub(crate) addresses: Vec<IpAddr>,
    /// Why not all that was asked for.
    pub(crate) faults: Vec<Fault>,
}

/// Pools by name, and claims of any number.
pub(super) fn assign<'a>(pools: &BTreeMap<Name, Known>, claims: impl Iterator<Item = &'a Claim>) -> BTreeMap<ObjectRef, Outcome> {
    let mut all: Vec<&Claim> = claims.collect();
    all.sort_by(|one, other| one.rank().cmp(&other.rank()));
    let mut desk = Desk { pools, taken: BTreeMap::new(), next: BTreeMap::new() };
    // One without a class that no pool is for is somebody else's, or nobody's.
    let ours = all.into_iter().filter(|claim| !claim.default_only || desk.pools(claim).next().is_some());
    let mut got: Vec<Got<'_>> = ours.map(Got::new).collect();
    got.iter_mut().for_each(|got| desk.keep(got));
    got.iter_mut().for_each(|got| desk.requests(got));
    got.iter_mut().for_each(|got| desk.fill(got));
    got.into_iter().map(|got| (got.claim.object.clone(), got.outcome())).collect()
}

/// A claim and what it has so far.
struct Got<'a> {
    claim: &'a Claim,
    addresses: BTreeMap<Family, IpAddr>,
    faults: Faults,
}

impl<'a> Got<'a> {
    fn new(claim: &'a Claim) -> Self {
        Self { claim, addresses: BTreeMap::new(), faults: Faults::of(claim.object.clone()) }
    }

    fn lacks(&self) -> Vec<Family> {
        self.claim.families.iter().filter(|family| !self.addresses.contains_key(family)).copied().collect()
    }

    fn outcome(self) -> Outcome {
        let faults = self.claim.faults.iter().cloned().chain(self.faults.into_list()).collect();
        Outcome { addresses: self.addresses.into_values().collect(), faults }
    }
}

/// Who has what while all are served.
struct Desk<'a> {
    pools: &'a BTreeMap<Name, Known>,
    taken: BTreeMap<IpAddr, Vec<&'a Claim>>,
    /// The address from which on the next free one of a pool's range is looked for: below it none is free.
    next: BTreeMap<(&'a Name, usize), IpAddr>,
}

impl<'a> Desk<'a> {
    /// The pools that a claim may be served from.
    fn pools(&self, claim: &Claim) -> impl Iterator<Item = (&'a Name, &'a Known)> + use<'a> {
        let (namespace, default_only, labels) = (claim.object.namespace.clone(), claim.default_only, claim.labels.clone());
        let only = claim.pool.clone();
        self.pools.iter().filter(move |(name, _)| only.as_ref().is_none_or(|only| only.as_str() == &***name)).filter(
            move |(_, known)| {
                let spec = &known.object.spec;
                let listed = spec.namespaces.is_empty() || spec.namespaces.iter().any(|one| **one == *namespace);
                listed && (spec.is_default || !default_only) && selects(&known.object, &labels)
            },
        )
    }

    fn may_have(&self, claim: &Claim, address: IpAddr) -> bool {
        self.pools(claim).any(|(_, known)| known.pool.contains(address))
    }

    /// Who else has it, and doesn't share.
    fn rival(&self, claim: &Claim, address: IpAddr) -> Option<&'a Claim> {
        self.taken.get(&address)?.iter().find(|other| !other.shares_with(claim)).copied()
    }

    fn take(&mut self, got: &mut Got<'a>, address: IpAddr) {
        self.taken.entry(address).or_default().push(got.claim);
        got.addresses.insert(Family::of(address), address);
    }

    /// What it has, while it may: one of a family, and not where it asks for another.
    fn keep(&mut self, got: &mut Got<'a>) {
        for address in &got.claim.held {
            let family = Family::of(*address);
            let wanted = got.claim.families.contains(&family) && !got.addresses.contains_key(&family);
            let asked = got.claim.requested.get(&family).is_none_or(|asked| asked == address);
            if wanted && asked && self.may_have(got.claim, *address) && self.rival(got.claim, *address).is_none() {
                self.take(got, *address);
            }
        }
    }

    fn requests(&mut self, got: &mut Got<'a>) {
        for family in got.lacks() {
            let Some(address) = got.claim.requested.get(&family).copied() else { continue };
            if !self.may_have(got.claim, address) {
                let message = format!("{address}, which it asks for, is in no pool that it may have an address of");
                let advice = "ask for an address of a pool whose namespaces, serviceSelector and default let it in";
                got.faults.error("", Reason::AddressNotInPool, message, advice);
            } else if let Some(other) = self.rival(got.claim, address) {
                let message = format!("{address}, which it asks for, is {}'s", other.object);
                let advice = "ask for another one, or give both the same rust-ingress.dev/share-address and other ports";
                got.faults.error("", Reason::Conflict, message, advice);
            } else {
                self.take(got, address);
            }
        }
    }

    /// The lowest free address of each family that is still missing. One that asks for a certain address gets no other.
    fn fill(&mut self, got: &mut Got<'a>) {
        for family in got.lacks().into_iter().filter(|family| !got.claim.requested.contains_key(family)) {
            match self.shared(got.claim, family).or_else(|| self.lowest(got.claim, family)) {
                Some(address) => self.take(got, address),
                None => self.lament(got, family),
            }
        }
        let lacks = got.lacks();
        if got.claim.all_families && !lacks.is_empty() && !got.addresses.is_empty() {
            for address in std::mem::take(&mut got.addresses).into_values() {
                self.give_back(got.claim, address);
            }
            let message = "its ipFamilyPolicy asks for both families or nothing: it has no address";
            got.faults.error("spec.ipFamilyPolicy", Reason::PoolExhausted, message, "give a pool addresses of both families");
        }
    }

    /// An address of one that it shares with.
    fn shared(&self, claim: &Claim, family: Family) -> Option<IpAddr> {
        claim.share.as_ref()?;
        let with = |(address, others): &(&IpAddr, &Vec<&Claim>)| {
            Family::of(**address) == family && others.iter().all(|other| other.shares_with(claim))
        };
        let shared = self.taken.iter().filter(|(_, others)| !others.is_empty()).filter(with).map(|(address, _)| *address);
        shared.into_iter().find(|address| self.may_have(claim, *address))
    }

    fn lowest(&mut self, claim: &Claim, family: Family) -> Option<IpAddr> {
        for (name, known) in self.pools(claim) {
            for (place, range) in known.pool.ranges.iter().enumerate().filter(|(_, range)| range.family() == family) {
                let mut at = self.next.get(&(name, place)).copied().or(Some(range.first()));
                while let Some(address) = at.filter(|address| range.contains(*address)) {
                    if self.taken.get(&address).is_none_or(Vec::is_empty) {
                        self.next.insert((name, place), address);
                        return Some(address);
                    }
                    at = following(address);
                }
                self.next.insert((name, place), following(range.last()).unwrap_or(range.last()));
            }
        }
        None
    }

    fn give_back(&mut self, claim: &Claim, address: IpAddr) {
        if let Some(holders) = self.taken.get_mut(&address) {
            holders.retain(|holder| holder.object != claim.object);
        }
        self.next.clear();
    }

    /// Nothing to say where it is content with the family that pools have.
    fn lament(&self, got: &mut Got<'a>, family: Family) {
        let named: Vec<&str> = self.pools(got.claim).map(|(name, _)| &**name).collect();
        let has_family = |known: &Known| known.pool.ranges.iter().any(|range| range.family() == family);
        let of_family = self.pools(got.claim).any(|(_, known)| has_family(known));
        let content = !of_family && !got.claim.all_families && got.claim.families.len() > 1;
        if content {
            return;
        }
        let text = if family == Family::Ipv4 { "IPv4" } else { "IPv6" };
        let (message, advice) = match named.as_slice() {
            [] => (
                "there is no AddressPool that it may have an address of".to_owned(),
                "make one, or look at namespaces and serviceSelector of those that are there (kubectl get addresspools)",
            ),
            names => (
                format!("no {text} address is left in AddressPool {}", names.join(", ")),
                "add addresses to the pool, or delete a Service that has one",
            ),
        };
        got.faults.error("spec.type", Reason::PoolExhausted, message, advice);
    }
}

#[cfg(test)]
mod tests;
