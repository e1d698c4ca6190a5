//! `proxy/OBSERVE.md` names every metric and every field that there is, and no other.

use std::collections::BTreeSet;

use rust_ingress_model::Snapshot;

use crate::access_log::every_field;
use crate::support::{metrics, observer, publish};

const DOCUMENT: &str = include_str!("../../OBSERVE.md");

/// The names in backticks in the first column of a section's table.
fn documented(section: &str) -> BTreeSet<String> {
    let (_, rest) = DOCUMENT.split_once(&format!("\n## {section}\n")).expect("the section");
    let section = rest.split("\n## ").next().unwrap();
    let columns = section.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let columns = columns.skip(1).flat_map(|column| column.split('`').skip(1).step_by(2));
    columns.map(str::to_owned).collect()
}

#[test]
fn every_metric_is_documented() {
    let observer = observer();
    publish(&observer, Snapshot::default());
    let text = metrics(&observer);
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let names: BTreeSet<String> = types
        .map(|(name, kind)| match kind {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            _ => name.to_owned(),
        })
        .collect();
    assert_eq!(names, documented("Metrics"));
}

#[test]
fn every_field_is_documented() {
    assert_eq!(every_field(), documented("Access log"));
}
