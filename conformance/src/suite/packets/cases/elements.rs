//! The elements that we put in over netlink are those that `nft` makes of the text that we show: every golden folder of the
//! plan, both families.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use ipnet::IpNet;
use rust_ingress_model::l4::text::AddElements;
use rust_ingress_model::l4::{ChainName, Element, Family, L4Service, L4Settings, NodeFacts, Plan};
use rust_ingress_model::{ObjectRef, Part, Snapshot};
use rust_ingress_proxy::agent::nft::Tables;
use serde::Deserialize;

use super::bytes::same;
use crate::suite::Report;
use crate::suite::packets::dumped;
use crate::suite::packets::namespace::Namespace;

/// What a golden folder says; the packets that it explains are of no consequence here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Input {
    node: NodeFacts,
    #[serde(default)]
    settings: L4Settings,
    #[serde(default)]
    service_cidrs: Vec<IpNet>,
    services: BTreeMap<ObjectRef, L4Service>,
}

/// Runs the group.
pub fn all(report: &mut Report) -> Result<()> {
    for folder in folders()? {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        report.case("elements", &name, || Family::BOTH.into_iter().try_for_each(|family| same_elements(&folder, family)));
    }
    Ok(())
}

fn folders() -> Result<Vec<PathBuf>> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("conformance stands in the repository")?;
    let entries = std::fs::read_dir(top.join("proxy/model/tests/l4")).context("can't list the golden folders of the plan")?;
    let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    ensure!(!folders.is_empty(), "proxy/model/tests/l4 has no golden folders");
    Ok(folders)
}

fn same_elements(folder: &Path, family: Family) -> Result<()> {
    let input: Input = serde_saphyr::from_str(&std::fs::read_to_string(folder.join("in.yaml"))?)?;
    let services = input.services.into_iter().map(|(name, service)| (name, Part::new(service))).collect();
    let snapshot = Snapshot { services, service_cidrs: input.service_cidrs, ..Snapshot::default() };
    let (plan, _) = Plan::empty(input.settings).next(&snapshot, &input.node);
    let mut ruleset = plan.ruleset(family);
    if family == Family::Ipv6 {
        // nft 1.0.6 aborts on these; see the model's `text`.
        ruleset.chains.retain(|chain| !matches!(chain.name, ChainName::Stick { .. }));
    }
    let elements: Vec<Element> = plan.elements().into_iter().filter(|element| element.family == family).collect();
    let (ours, theirs) = (Namespace::make("ours")?, Namespace::make("theirs")?);
    ours.inside(|| Ok(Tables::open()?.replace(std::slice::from_ref(&ruleset), &elements)?))?;
    theirs.nft(&format!("{ruleset}{}", AddElements(&elements)))?;
    let number = if family == Family::Ipv4 { 2 } else { 10 };
    same(&comparable(dumped::table(&theirs, number)?), &comparable(dumped::table(&ours, number)?))
}

/// Without what means the same: which element comes last in its message; that nothing is below the first range, which nft says
/// in an element of its own; that a range of one address ends where it begins.
fn comparable(lines: Vec<String>) -> Vec<String> {
    let below =
        |line: &str| line.ends_with(" 3=00000001") && line.split("1=").nth(1).is_some_and(|key| key.starts_with("00000000"));
    let one = |line: &str| match line.split_once("} 10{ 1=") {
        Some((start, end)) if start.ends_with(&format!("1={end}")) => start.to_owned(),
        _ => line.to_owned(),
    };
    let (elements, rest): (Vec<String>, Vec<String>) =
        lines.into_iter().partition(|line| line.split_once(": ").is_some_and(|(set, _)| !set.contains(' ')));
    let elements = elements.iter().map(|line| line.trim_end_matches('}')).filter(|line| !below(line)).map(one);
    let elements: BTreeSet<String> = elements.collect();
    rest.into_iter().chain(elements).collect()
}
