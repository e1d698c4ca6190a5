//! What the API server makes of AddressPools, by the CustomResourceDefinition of the chart: its schema and CEL rules.

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};

use crate::suite::Report;

/// Specs that must be taken.
fn good() -> Vec<Value> {
    let all = json!([
        "192.0.2.0/24",
        "192.0.2.10",
        "192.0.2.10-192.0.2.20",
        "192.0.2.10 - 192.0.2.20",
        "2001:db8::/64",
        "2001:db8::1-2001:db8::9"
    ]);
    let selector =
        json!({"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}, {"key": "c", "operator": "Exists"}]});
    vec![
        json!({"addresses": all}),
        json!({"addresses": ["192.0.2.0/24"], "default": true, "namespaces": ["a"], "serviceSelector": selector}),
        json!({"addresses": ["192.0.2.0/24"], "announce": {"nodeSelector": {"a": "b"}, "maxNodes": 3}}),
    ]
}

/// Specs that must be refused, and what the message must hold.
fn bad() -> Vec<(Value, &'static str)> {
    let of = |text: &str| json!({"addresses": [text]});
    vec![
        (json!({}), "addresses"),
        (json!({"addresses": []}), "addresses"),
        (json!({"addresses": ["192.0.2.1", "192.0.2.1"]}), "Duplicate"),
        (of("x"), "must be a CIDR"),
        (of("192.0.2.0/33"), "must be a CIDR"),
        (of("192.0.2.1-"), "two addresses"),
        (of("192.0.2.1-192.0.2.2-192.0.2.3"), "two addresses"),
        (of("192.0.2.1-2001:db8::1"), "one address family"),
        (of("127.0.0.1"), "hosts can have"),
        (of("ff02::/16"), "hosts can have"),
        (of("fe80::/64"), "hosts can have"),
        (json!({"addresses": ["192.0.2.1"], "namespaces": ["A_b"]}), "namespaces"),
        (json!({"addresses": ["192.0.2.1"], "announce": {"maxNodes": 0}}), "maxNodes"),
        (
            json!({"addresses": ["192.0.2.1"], "serviceSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}),
            "need values",
        ),
        (
            json!({"addresses": ["192.0.2.1"], "serviceSelector": {"matchExpressions": [{"key": "a", "operator": "Is"}]}}),
            "operator",
        ),
        (json!({"addresses": ["192.0.2.1"], "adresses": []}), "adresses"),
    ]
}

/// Runs the group.
pub(super) fn all(report: &mut Report, dry_run: impl Fn(&str) -> Result<()>) {
    let pool = |spec: &Value| json!({"apiVersion": "rust-ingress.dev/v1alpha1", "kind": "AddressPool", "metadata": {"name": "tried"}, "spec": spec});
    for spec in good() {
        report.case("AddressPool", &format!("takes {spec}"), || dry_run(&pool(&spec).to_string()));
    }
    for (spec, says) in bad() {
        report.case("AddressPool", &format!("refuses {spec}"), || {
            let Err(error) = dry_run(&pool(&spec).to_string()) else { bail!("it was taken") };
            ensure!(error.to_string().contains(says), "the message doesn't hold {says}: {error}");
            Ok(())
        });
    }
}
