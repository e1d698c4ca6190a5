//! What is known of the nodes that answer for addresses of pools, and what this node is to hold. Pure: time is data.
//!
//! Each such node keeps a Lease of its own and says in it which pools it answers for and what it holds. Times in a Lease are never
//! compared with our clock: a node is gone when its Lease hasn't changed for its duration while we watched it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use rust_ingress_model::Name;
use rust_ingress_model::l4::placement::{Announced, Candidate, holder};
use rust_ingress_model::l4::{NodeFacts, Pool};

/// How long a node is believed after its last renewal.
pub(super) const DURATION: Duration = Duration::from_secs(2);
/// The label of such Leases.
pub(crate) const LABEL: &str = "rust-ingress.dev/announces";
/// Annotations of such Leases: names and addresses, with commas between them.
pub(super) const POOLS: &str = "rust-ingress.dev/pools";
pub(super) const HOLDS: &str = "rust-ingress.dev/holds";
/// The node of a Lease.
pub(super) const NODE: &str = "rust-ingress.dev/node";

/// A Lease as it was last seen.
struct Seen {
    version: String,
    since: Instant,
    /// When it changed after its node had counted as gone.
    returned: Option<Instant>,
    /// The Pod that wrote it; none where it was given back.
    by: Option<String>,
    begun: Option<MicroTime>,
    pools: BTreeSet<Name>,
    holds: BTreeSet<IpAddr>,
}

/// The Leases of all nodes.
pub(super) struct Board {
    node: Name,
    pod: String,
    begun: MicroTime,
    seen: BTreeMap<Name, Seen>,
}

/// The addresses that a Lease says its node holds, with the node's name; none once it is given back.
pub(crate) fn held(lease: &Lease) -> Vec<(IpAddr, String)> {
    let annotation = |name: &str| lease.metadata.annotations.as_ref().and_then(|all| all.get(name)).map(String::as_str);
    let given_back = lease.spec.as_ref().is_none_or(|spec| spec.holder_identity.is_none());
    let (Some(node), Some(holds), false) = (annotation(NODE), annotation(HOLDS), given_back) else { return Vec::new() };
    holds.split(',').filter_map(|text| Some((text.parse().ok()?, node.to_owned()))).collect()
}

/// What this node is to say and do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Part {
    /// The pools that it answers for.
    pub(super) pools: BTreeSet<Name>,
    /// What it is to hold.
    pub(super) holds: BTreeSet<IpAddr>,
}

impl Board {
    /// Of this node, and this Pod on it, which began then.
    pub(super) fn new(node: Name, pod: String, begun: MicroTime) -> Self {
        Self { node, pod, begun, seen: BTreeMap::new() }
    }

    /// A Lease is there, or has changed.
    pub(super) fn see(&mut self, lease: &Lease, now: Instant) {
        let annotation = |name: &str| lease.metadata.annotations.as_ref().and_then(|all| all.get(name)).map(String::as_str);
        let Some(node) = annotation(NODE) else { return };
        let list = |name: &str| annotation(name).unwrap_or_default().split(',').filter(|text| !text.is_empty());
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        let spec = lease.spec.as_ref();
        let before = self.seen.get(node);
        let known = before.filter(|seen| seen.version == version).map(|seen| seen.since);
        let was_gone = before.is_some_and(|seen| known.is_none() && now >= seen.since + DURATION);
        let returned = if was_gone { Some(now) } else { before.and_then(|seen| seen.returned) };
        let seen = Seen {
            version,
            since: known.unwrap_or(now),
            returned,
            by: spec.and_then(|spec| spec.holder_identity.clone()).filter(|by| !by.is_empty()),
            begun: spec.and_then(|spec| spec.acquire_time.clone()),
            pools: list(POOLS).map(Name::from).collect(),
            holds: list(HOLDS).filter_map(|text| text.parse().ok()).collect(),
        };
        self.seen.insert(node.into(), seen);
    }

    /// A Lease is gone.
    pub(super) fn gone(&mut self, lease: &Lease) {
        let annotations = lease.metadata.annotations.as_ref();
        if let Some(node) = annotations.and_then(|all| all.get(NODE)) {
            self.seen.remove(node.as_str());
        }
    }

    /// Only these Leases are there.
    pub(super) fn only(&mut self, leases: &[Lease], now: Instant) {
        let name = |lease: &Lease| lease.metadata.annotations.as_ref().and_then(|all| all.get(NODE)).cloned();
        let there: BTreeSet<String> = leases.iter().filter_map(name).collect();
        self.seen.retain(|node, _| there.contains(&**node));
        leases.iter().for_each(|lease| self.see(lease, now));
    }

    /// Nobody could renew for a while, for all we know: each node has its full time from now on.
    pub(super) fn forgive(&mut self, now: Instant) {
        self.seen.values_mut().for_each(|seen| (seen.since, seen.returned) = (now, None));
    }

    /// Whether another node says that it holds an address.
    pub(super) fn is_held_by_another(&self, address: IpAddr) -> bool {
        self.seen.iter().any(|(node, seen)| *node != self.node && seen.by.is_some() && seen.holds.contains(&address))
    }

    /// Whether a Pod that began later answers on this node in our place, as in an upgrade.
    pub(super) fn is_succeeded(&self, now: Instant) -> bool {
        let newer = |seen: &Seen| {
            let another = seen.by.as_ref().is_some_and(|by| *by != self.pod);
            another && seen.begun.as_ref().is_some_and(|begun| begun.0 > self.begun.0) && now < seen.since + DURATION
        };
        self.seen.get(&self.node).is_some_and(newer)
    }

    /// When the next node is gone, if it doesn't renew.
    pub(super) fn next_end(&self, now: Instant) -> Option<Instant> {
        let others = self.seen.iter().filter(|(node, seen)| **node != self.node && seen.by.is_some());
        others.map(|(_, seen)| seen.since + DURATION).filter(|end| *end > now).min()
    }

    /// What this node is to hold, which holds this now.
    pub(super) fn part(
        &self,
        announced: &BTreeMap<IpAddr, Announced>,
        pools: &BTreeMap<Name, Pool>,
        node: &NodeFacts,
        holds: &BTreeSet<IpAddr>,
        now: Instant,
    ) -> Part {
        let live = |(name, seen): &(&Name, &Seen)| **name != self.node && seen.by.is_some() && now < seen.since + DURATION;
        let others: Vec<(&Name, &Seen)> = self.seen.iter().filter(live).collect();
        let own = self.seen.get(&self.node).map(|seen| &seen.pools);
        let takes_part = |(name, pool): &(&Name, &Pool)| {
            let labelled = pool.node_selector.iter().all(|(label, value)| node.labels.get(label) == Some(value));
            let among = others.iter().filter(|(_, seen)| seen.pools.contains(*name)).count();
            let most = usize::try_from(pool.max_nodes).unwrap_or(usize::MAX);
            labelled && (among < most || own.is_some_and(|own| own.contains(*name) && among <= most))
        };
        let ours: BTreeSet<Name> = pools.iter().filter(takes_part).map(|(name, _)| name.clone()).collect();
        let own = Candidate { name: self.node.clone(), pools: ours.clone(), holds: holds.clone() };
        let theirs = others.into_iter().map(|(name, seen)| {
            // A request that was under way when a node was cut off arrives with what it held then.
            let outdated = seen.returned.is_some_and(|returned| now < returned + DURATION);
            let holds = if outdated { BTreeSet::new() } else { seen.holds.clone() };
            Candidate { name: name.clone(), pools: seen.pools.clone(), holds }
        });
        let candidates: Vec<Candidate> = theirs.chain([own]).collect();
        let is_ours = |(address, one): &(&IpAddr, &Announced)| holder(**address, one, &candidates) == Some(&self.node);
        Part { pools: ours, holds: announced.iter().filter(is_ours).map(|(address, _)| *address).collect() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use k8s_openapi::jiff::Timestamp;
    use serde_json::json;

    use super::*;

    fn lease(node: &str, version: u32, holds: &str, by: &str) -> Lease {
        serde_json::from_value(json!({
            "metadata": {"name": node, "resourceVersion": version.to_string(),
                "annotations": {NODE: node, POOLS: "p", HOLDS: holds}},
            "spec": {"holderIdentity": by, "acquireTime": "2026-01-01T00:00:00.000000Z"}
        }))
        .unwrap()
    }

    fn board() -> Board {
        Board::new("n1".into(), "pod1".into(), MicroTime(Timestamp::from_second(1_700_000_000).unwrap()))
    }

    fn ip() -> IpAddr {
        "192.0.2.1".parse().unwrap()
    }

    /// Whether this node is to hold the one address that there is.
    fn holds(board: &Board, already: bool, now: Instant) -> bool {
        let announced = [(ip(), Announced { pool: "p".into(), only: None })].into();
        let pools = [("p".into(), Pool { max_nodes: 2, ..Pool::default() })].into();
        let has = if already { [ip()].into() } else { BTreeSet::new() };
        board.part(&announced, &pools, &NodeFacts::default(), &has, now).holds.contains(&ip())
    }

    #[test]
    fn alone_it_holds_all_and_a_living_holder_keeps_it() {
        let (mut board, now) = (board(), Instant::now());
        assert!(holds(&board, false, now));
        board.see(&lease("n2", 1, "192.0.2.1", "pod2"), now);
        assert!(!holds(&board, false, now));
        assert!(!holds(&board, false, now + DURATION - Duration::from_millis(1)));
        assert!(holds(&board, false, now + DURATION), "its Lease hasn't changed for 2 s");
        assert_eq!(board.next_end(now), Some(now + DURATION));
        board.see(&lease("n2", 2, "192.0.2.1", "pod2"), now + DURATION);
        assert!(!holds(&board, false, now + DURATION), "it renewed");
        board.see(&lease("n2", 3, "192.0.2.1", ""), now + DURATION);
        assert!(holds(&board, false, now + DURATION), "it gave the Lease back");
    }

    #[test]
    fn what_is_seen_again_unchanged_is_no_renewal() {
        let (mut board, now) = (board(), Instant::now());
        board.see(&lease("n2", 1, "192.0.2.1", "pod2"), now);
        board.only(&[lease("n2", 1, "192.0.2.1", "pod2")], now + DURATION);
        assert!(holds(&board, false, now + DURATION));
        board.forgive(now + DURATION);
        assert!(!holds(&board, false, now + DURATION), "after an outage of the API server everybody has time");
        board.gone(&lease("n2", 1, "", ""));
        assert!(holds(&board, false, now + DURATION));
    }

    #[test]
    fn what_a_node_held_before_it_was_gone_counts_for_nothing_when_it_returns() {
        let (mut board, now) = (board(), Instant::now());
        board.see(&lease("n2", 1, "192.0.2.1", "pod2"), now);
        let later = now + DURATION;
        assert!(holds(&board, false, later));
        board.see(&lease("n2", 2, "192.0.2.1", "pod2"), later);
        assert!(holds(&board, true, later), "we have taken it over");
        assert!(board.is_held_by_another(ip()), "and would leave it to n2 if we had been cut off");
        board.see(&lease("n2", 3, "", "pod2"), later);
        assert!(holds(&board, true, later + DURATION / 2));
    }

    #[test]
    fn more_nodes_than_the_pool_wants_take_no_part() {
        let (mut board, now) = (board(), Instant::now());
        board.see(&lease("n2", 1, "", "pod2"), now);
        let announced = BTreeMap::new();
        let pools = [("p".into(), Pool { max_nodes: 1, ..Pool::default() })].into();
        let part = |board: &Board| board.part(&announced, &pools, &NodeFacts::default(), &BTreeSet::new(), now).pools.len();
        assert_eq!(part(&board), 0);
        board.see(&lease("n1", 1, "", "pod1"), now);
        assert_eq!(part(&board), 1, "one that takes part already stays");
    }

    #[test]
    fn the_pod_that_began_later_answers() {
        let (mut board, now) = (board(), Instant::now());
        board.see(&lease("n1", 1, "", "pod1"), now);
        assert!(!board.is_succeeded(now), "our own");
        board.see(&lease("n1", 2, "", "pod9"), now);
        assert!(board.is_succeeded(now) && !board.is_succeeded(now + DURATION));
        let mut older = Board::new("n1".into(), "pod1".into(), MicroTime(Timestamp::now()));
        older.see(&lease("n1", 2, "", "pod9"), now);
        assert!(!older.is_succeeded(now), "it began before us");
    }
}
