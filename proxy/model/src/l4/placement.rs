//! Placement: which node answers on the link for which address of a pool. Pure; the same everywhere that the same is known.
//!
//! By rendezvous hash, so that a node that goes moves only what it had, spread over the others; and sticky, so that one that comes
//! takes nothing from a node that lives.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::pool::Pool;
use super::service::{L4Service, TrafficPolicy};
use crate::names::{Name, ObjectRef};
use crate::parts::PartMap;
use crate::snapshot::Snapshot;

/// An address that one node is to answer for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    /// The pool that it is of.
    pub pool: Name,
    /// The nodes that carry its traffic, where that isn't all of them: those with a ready endpoint of a Service whose external
    /// traffic policy is Local.
    pub only: Option<BTreeSet<Name>>,
}

/// A node that takes part in answering.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The node.
    pub name: Name,
    /// The pools that it answers for.
    pub pools: BTreeSet<Name>,
    /// The addresses that it says it holds.
    pub holds: BTreeSet<IpAddr>,
}

/// Who is to hold an address: of those that may, one that has it already, else the one with the highest hash.
pub fn holder<'a>(address: IpAddr, announced: &Announced, candidates: &'a [Candidate]) -> Option<&'a Name> {
    let may: Vec<&Candidate> = candidates.iter().filter(|one| one.pools.contains(&announced.pool)).collect();
    let has_endpoint = |one: &&&Candidate| announced.only.as_ref().is_none_or(|only| only.contains(&one.name));
    // Where none of them has an endpoint nobody is served anyway; somebody says so, where a client would else only time out.
    let mut able: Vec<&Candidate> = may.iter().filter(has_endpoint).copied().collect();
    if able.is_empty() {
        able = may;
    }
    let best = |holds: bool| {
        let of = able.iter().filter(|one| !holds || one.holds.contains(&address));
        of.max_by_key(|one| (weight(&one.name, address), &one.name)).map(|one| &one.name)
    };
    best(true).or_else(|| best(false))
}

/// FNV-1a over name and address, mixed as splitmix64 does: without that, names that differ in their last letter order the same.
fn weight(node: &str, address: IpAddr) -> u64 {
    let octets = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = node.as_bytes().iter().chain(&[0]).chain(&octets).fold(0xcbf2_9ce4_8422_2325, step);
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

/// The addresses of a snapshot that nodes answer for, kept from one to the next: a change costs the Services that differ.
#[derive(Debug, Clone, Default)]
pub struct Announcements {
    services: PartMap<ObjectRef, L4Service>,
    /// By Service, what of it is announced, and on which nodes only.
    shares: BTreeMap<ObjectRef, Share>,
    pools: BTreeMap<Name, Pool>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Share {
    addresses: Vec<IpAddr>,
    only: Option<BTreeSet<Name>>,
}

impl Share {
    fn of(service: &L4Service) -> Option<Self> {
        let addresses = service.load_balancer_ips.clone();
        let local = service.external == TrafficPolicy::Local;
        let ready = service.ports.iter().flat_map(|port| &port.endpoints).filter(|endpoint| endpoint.ready);
        let only = local.then(|| ready.filter_map(|endpoint| endpoint.node.clone()).collect());
        (service.pooled && !addresses.is_empty()).then_some(Self { addresses, only })
    }
}

impl Announcements {
    /// Takes in a snapshot; whether anything of it is announced otherwise.
    pub fn update(&mut self, snapshot: &Snapshot) -> bool {
        let mut changed = self.pools != snapshot.pools;
        self.pools.clone_from(&snapshot.pools);
        let old = std::mem::replace(&mut self.services, snapshot.services.clone());
        let gone = old.near_changes(&self.services).map(|(name, _)| name).filter(|name| !self.services.contains_key(*name));
        for name in gone {
            changed |= self.shares.remove(name).is_some();
        }
        for (name, part) in self.services.near_changes(&old).filter(|(name, part)| old.get(*name) != Some(*part)) {
            let share = Share::of(part);
            if self.shares.get(name) != share.as_ref() {
                changed = true;
                match share {
                    Some(share) => self.shares.insert(name.clone(), share),
                    None => self.shares.remove(name),
                };
            }
        }
        changed
    }

    /// What is announced. Of Services that share an address, each must have an endpoint where only such nodes count.
    pub fn addresses(&self) -> BTreeMap<IpAddr, Announced> {
        let mut all = BTreeMap::<IpAddr, Announced>::new();
        for share in self.shares.values() {
            for address in &share.addresses {
                let Some((pool, _)) = self.pools.iter().find(|(_, pool)| pool.contains(*address)) else { continue };
                let announced = all.entry(*address).or_insert_with(|| Announced { pool: pool.clone(), only: None });
                announced.only = match (announced.only.take(), &share.only) {
                    (Some(one), Some(other)) => Some(one.intersection(other).cloned().collect()),
                    (one, other) => one.or_else(|| other.clone()),
                };
            }
        }
        all
    }

    /// The pools.
    pub fn pools(&self) -> &BTreeMap<Name, Pool> {
        &self.pools
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn nodes(names: &[&str]) -> Vec<Candidate> {
        let node = |name: &&str| Candidate { name: (*name).into(), pools: ["p".into()].into(), holds: BTreeSet::new() };
        names.iter().map(node).collect()
    }

    fn addresses() -> Vec<IpAddr> {
        (1..=200_u8).map(|last| IpAddr::from([192, 0, 2, last])).collect()
    }

    fn announced(only: Option<&[&str]>) -> Announced {
        Announced { pool: "p".into(), only: only.map(|names| names.iter().map(|name| Name::from(*name)).collect()) }
    }

    fn place(nodes: &[Candidate]) -> BTreeMap<IpAddr, Name> {
        addresses().into_iter().map(|ip| (ip, holder(ip, &announced(None), nodes).unwrap().clone())).collect()
    }

    #[test]
    fn addresses_are_spread_and_the_order_of_nodes_is_of_no_matter() {
        let placed = place(&nodes(&["n1", "n2", "n3", "n4"]));
        for name in ["n1", "n2", "n3", "n4"] {
            let count = placed.values().filter(|holder| &***holder == name).count();
            assert!((30..=70).contains(&count), "{name} has {count} of 200");
        }
        assert_eq!(placed, place(&nodes(&["n4", "n2", "n1", "n3"])));
    }

    #[test]
    fn a_node_that_goes_moves_only_what_it_had() {
        let (before, after) = (place(&nodes(&["n1", "n2", "n3"])), place(&nodes(&["n1", "n3"])));
        assert!(before.iter().all(|(ip, holder)| &**holder == "n2" || after[ip] == *holder));
        let others: BTreeSet<&Name> = before.iter().filter(|(_, old)| &***old == "n2").map(|(ip, _)| &after[ip]).collect();
        assert_eq!(others.len(), 2, "and spreads it over the others");
    }

    #[test]
    fn a_node_that_comes_takes_nothing_from_one_that_lives() {
        let mut all = nodes(&["n1", "n2", "n3"]);
        all[0].holds = addresses().into_iter().collect();
        assert!(place(&all).values().all(|holder| &**holder == "n1"));
        // Two that both think they have it agree on one.
        all[1].holds = addresses().into_iter().collect();
        let placed = place(&all);
        assert!(placed.values().all(|holder| &**holder != "n3") && placed.values().collect::<BTreeSet<_>>().len() == 2);
    }

    #[test]
    fn only_nodes_that_may() {
        let mut all = nodes(&["n1", "n2"]);
        let ip = "192.0.2.1".parse().unwrap();
        assert_eq!(holder(ip, &announced(Some(&["n2"])), &all).unwrap(), &Name::from("n2"));
        assert_eq!(holder(ip, &announced(Some(&["n1"])), &all).unwrap(), &Name::from("n1"));
        assert!(holder(ip, &announced(Some(&["n9"])), &all).is_some(), "an endpoint on no candidate");
        // The holder loses it to one with an endpoint.
        all[0].holds = [ip].into();
        assert_eq!(holder(ip, &announced(Some(&["n2"])), &all).unwrap(), &Name::from("n2"));
        all.iter_mut().for_each(|node| node.pools = BTreeSet::new());
        assert_eq!(holder(ip, &announced(None), &all), None);
        assert_eq!(holder(ip, &announced(None), &[]), None);
    }

    #[test]
    fn announcements_follow_services_and_pools() {
        let (mut all, mut snapshot) = (Announcements::default(), Snapshot::default());
        assert!(!all.update(&snapshot));
        let ip: IpAddr = "192.0.2.1".parse().unwrap();
        let name = ObjectRef::new("Service", "a", "b");
        let service = L4Service { load_balancer_ips: vec![ip], pooled: true, ..L4Service::default() };
        snapshot.services.insert(name.clone(), crate::Part::new(service.clone()));
        assert!(all.update(&snapshot) && all.addresses().is_empty(), "no pool has it");
        snapshot.pools.insert("p".into(), Pool { ranges: vec!["192.0.2.0/24".parse().unwrap()], ..Pool::default() });
        assert!(all.update(&snapshot));
        assert_eq!(all.addresses(), [(ip, announced(None))].into());
        assert!(!all.update(&snapshot));
        let local = L4Service { external: TrafficPolicy::Local, ..service };
        snapshot.services.insert(name.clone(), crate::Part::new(local));
        assert!(all.update(&snapshot));
        assert_eq!(all.addresses(), [(ip, announced(Some(&[])))].into());
        snapshot.services.remove(&name);
        assert!(all.update(&snapshot) && all.addresses().is_empty());
    }
}
