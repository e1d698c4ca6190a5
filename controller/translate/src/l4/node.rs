//! What a Node object says of the node that the agent runs on.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Node;
use rust_ingress_model::Name;
use rust_ingress_model::l4::NodeFacts;

/// The label with a node's zone.
const ZONE: &str = "topology.kubernetes.io/zone";

/// The taint by which the cluster autoscaler announces that it takes a node away.
const LEAVING: &str = "ToBeDeletedByClusterAutoscaler";

/// The facts of a node. Its addresses stand in the order of the object, internal ones first: the first of each family is the
/// primary one, as for the kubelet.
pub(super) fn facts(name: &Name, node: &Node) -> NodeFacts {
    let said = node.status.iter().flat_map(|status| status.addresses.iter().flatten());
    let of = |kind: &'static str| said.clone().filter(move |address| address.type_ == kind);
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in of("InternalIP").chain(of("ExternalIP")).filter_map(|address| address.address.parse().ok()) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    let labels = node.metadata.labels.as_ref();
    let spec = node.spec.as_ref();
    let one = spec.and_then(|spec| spec.pod_cidr.clone()).into_iter().collect::<Vec<_>>();
    let pod_cidrs = spec.and_then(|spec| spec.pod_cidrs.clone()).filter(|all| !all.is_empty()).unwrap_or(one);
    let taints = spec.and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    NodeFacts {
        name: name.clone(),
        zone: labels.and_then(|labels| labels.get(ZONE)).filter(|zone| !zone.is_empty()).map(|zone| zone.as_str().into()),
        labels: labels.into_iter().flatten().map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect(),
        addresses,
        interface_addresses: Vec::new(),
        leaving: node.metadata.deletion_timestamp.is_some() || taints.iter().any(|taint| taint.key == LEAVING),
        pod_cidrs: pod_cidrs.iter().filter_map(|text| text.parse().ok()).collect(),
    }
}
