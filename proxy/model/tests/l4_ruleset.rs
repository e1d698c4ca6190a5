//! The fixed rules as nft text, both families: what a node has before any Service, and each kind of chain on demand.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use rust_ingress_model::l4::{By, ChainName, EgressSnat, Family, L4Settings, LocalPods, Ruleset, SetName};

/// All kinds of chains that elements go to.
fn chains() -> BTreeSet<ChainName> {
    let by = [By::Frontend, By::NodePort];
    let choose = by.into_iter().flat_map(|by| {
        [(false, false), (false, true), (true, false), (true, true)].map(|(outside, sticky)| ChainName::Choose {
            by,
            outside,
            sticky,
            slots: 4,
        })
    });
    choose.chain(by.map(|by| ChainName::Stick { by, seconds: 10_800 })).collect()
}

/// Compares with the file, or writes it under `UPDATE_GOLDEN=1`.
fn golden(name: &str, settings: &L4Settings, chains: &BTreeSet<ChainName>) {
    let sizes = BTreeMap::from([(SetName::Endpoints, 262_144), (SetName::Affinity, 65_536)]);
    let text: String = Family::BOTH.map(|family| Ruleset::new(family, settings, chains, &sizes).to_string()).concat();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/l4").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let wanted = fs::read_to_string(&path).unwrap_or_default();
    assert!(wanted == text, "{name} differs; UPDATE_GOLDEN=1 writes it, then read it. Now:\n{text}");
}

#[test]
fn the_rules_of_a_node() {
    golden("rules.nft", &L4Settings::default(), &chains());
}

#[test]
fn the_rules_with_pods_by_interface_and_egress() {
    let egress = EgressSnat { random_fully: true, to_ports: Some((1024, 65_535)), ..EgressSnat::default() };
    let local_pods = LocalPods::Interfaces(vec!["cali".into(), "veth".into()]);
    golden(
        "rules-interfaces-egress.nft",
        &L4Settings { local_pods, egress: Some(egress), ..L4Settings::default() },
        &BTreeSet::new(),
    );
}

#[test]
fn the_rules_that_masquerade_all_and_egress_without_ports() {
    let settings = L4Settings { masquerade_all: true, egress: Some(EgressSnat::default()), ..L4Settings::default() };
    golden("rules-masquerade-all-egress.nft", &settings, &BTreeSet::new());
}

#[test]
fn the_rules_that_know_pods_by_the_range_of_the_cluster() {
    // A Pod of another node that asks this one's NodePort is in the range as well, and its answers would go past this node.
    golden(
        "rules-cluster-cidr.nft",
        &L4Settings { local_pods: LocalPods::Cidrs(Vec::new()), ..L4Settings::default() },
        &BTreeSet::new(),
    );
}
