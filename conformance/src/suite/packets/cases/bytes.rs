//! The rules that we make over netlink are those that `nft` makes of the text that we show.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use rust_ingress_model::l4::{By, ChainName, EgressSnat, Family, L4Settings, LocalPods, Ruleset};
use rust_ingress_proxy::agent::nft::{Tables, specimen};

use crate::suite::Report;
use crate::suite::packets::dumped;
use crate::suite::packets::namespace::Namespace;

const GROUP: &str = "bytes";

/// Settings that between them have every step a rule can have.
fn settings() -> [(&'static str, L4Settings); 3] {
    let egress = EgressSnat { random_fully: true, to_ports: Some((40_000, 50_000)), ..EgressSnat::default() };
    [
        ("usual settings", L4Settings::default()),
        ("all masqueraded, egress SNAT", L4Settings { masquerade_all: true, egress: Some(egress), ..L4Settings::default() }),
        (
            "Pods by interface, egress SNAT",
            L4Settings {
                local_pods: LocalPods::Interfaces(vec!["cali".into(), "veth".into()]),
                egress: Some(EgressSnat::default()),
                ..L4Settings::default()
            },
        ),
    ]
}

fn chains() -> BTreeSet<ChainName> {
    let mut chains = BTreeSet::new();
    for by in [By::Frontend, By::NodePort] {
        for (outside, sticky) in [(false, false), (true, false), (false, true), (true, true)] {
            chains.insert(ChainName::Choose { by, outside, sticky, slots: 4 });
        }
        chains.insert(ChainName::Stick { by, seconds: 10_800 });
    }
    chains
}

/// Runs the group.
pub fn all(report: &mut Report) {
    for (name, settings) in settings() {
        for family in Family::BOTH {
            let ruleset = Ruleset::new(family, &settings, &chains(), &BTreeMap::new());
            report.case(GROUP, &format!("{name}, {}", family.name()), || same_rules(ruleset));
        }
    }
    for ruleset in specimen() {
        report.case(GROUP, &format!("what `agent check` tries, {}", ruleset.family.name()), || same_rules(ruleset));
    }
}

fn same_rules(mut ruleset: Ruleset) -> Result<()> {
    if ruleset.family == Family::Ipv6 {
        // nft 1.0.6 aborts on these rules; see the model's `text`. That ours are right is shown by packets.
        ruleset.chains.retain(|chain| !matches!(chain.name, ChainName::Stick { .. }));
    }
    let (ours, theirs) = (Namespace::make("ours")?, Namespace::make("theirs")?);
    ours.inside(|| Ok(Tables::open()?.replace(std::slice::from_ref(&ruleset), &[])?))?;
    theirs.nft(&ruleset.to_string())?;
    let number = if ruleset.family == Family::Ipv4 { 2 } else { 10 };
    same(&dumped::table(&theirs, number)?, &dumped::table(&ours, number)?)
}

pub(super) fn same(expected: &[String], found: &[String]) -> Result<()> {
    let missing = expected.iter().filter(|line| !found.contains(line)).map(|line| format!("nft  {line}"));
    let more = found.iter().filter(|line| !expected.contains(line)).map(|line| format!("ours {line}"));
    let differences: Vec<String> = missing.chain(more).collect();
    if differences.is_empty() && expected == found && !expected.is_empty() {
        return Ok(());
    }
    bail!("{} lines of nft's, {} of ours, these differ:\n{}", expected.len(), found.len(), differences.join("\n"))
}
