//! What the API server makes of GatewayParameters, by the CustomResourceDefinition of the chart: its schema and CEL rules.

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};

use crate::suite::Report;

/// Specs that must be taken.
fn good() -> Vec<Value> {
    let timeouts = json!({"request": "1m30s", "backendRequest": "500ms", "connect": "2s", "idle": "0s"});
    vec![
        json!({}),
        json!({"service": {"type": "ClusterIP", "labels": {"a": "b"}, "annotations": {"c.d/e": "f"}}}),
        json!({"service": {"addressPool": "public", "loadBalancerSourceRanges": ["192.0.2.0/24", "2001:db8::/32"]}}),
        json!({"service": {"type": "LoadBalancer", "loadBalancerClass": "rust-ingress.dev/pool", "addressPool": "public"}}),
        json!({"proxyProtocol": true, "defaults": {"maxBodyBytes": 0, "timeouts": timeouts}}),
    ]
}

/// Specs that must be refused, and what the message must hold.
fn bad() -> Vec<(Value, &'static str)> {
    vec![
        (json!({"service": {"type": "NodePort"}}), "service.type"),
        (json!({"service": {"type": "ClusterIP", "addressPool": "public"}}), "are for type LoadBalancer"),
        (json!({"service": {"loadBalancerClass": "example.com/lb", "addressPool": "public"}}), "rust-ingress.dev/pool"),
        (json!({"service": {"loadBalancerClass": "lb"}}), "loadBalancerClass"),
        (json!({"service": {"loadBalancerSourceRanges": ["192.0.2.1"]}}), "must be a CIDR"),
        (json!({"defaults": {"maxBodyBytes": -1}}), "maxBodyBytes"),
        (json!({"defaults": {"timeouts": {"request": "10"}}}), "timeouts.request"),
        (json!({"defaults": {"timeouts": {"reqest": "10s"}}}), "reqest"),
    ]
}

/// Runs the group.
pub(super) fn all(report: &mut Report, dry_run: impl Fn(&str) -> Result<()>) {
    let object = |spec: &Value| {
        let metadata = json!({"name": "tried", "namespace": "default"});
        json!({"apiVersion": "rust-ingress.dev/v1alpha1", "kind": "GatewayParameters", "metadata": metadata, "spec": spec})
            .to_string()
    };
    for spec in good() {
        report.case("GatewayParameters", &format!("takes {spec}"), || dry_run(&object(&spec)));
    }
    for (spec, says) in bad() {
        report.case("GatewayParameters", &format!("refuses {spec}"), || {
            let Err(error) = dry_run(&object(&spec)) else { bail!("it was taken") };
            ensure!(error.to_string().contains(says), "the message doesn't hold {says}: {error}");
            Ok(())
        });
    }
}
