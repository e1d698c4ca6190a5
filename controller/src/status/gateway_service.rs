//! The Service of a Gateway, and the EndpointSlices that lead it to our Pods: whatever gives addresses to Services of type
//! LoadBalancer in this cluster gives the Gateway its own.
//!
//! The Service stands in the Gateway's namespace, where a selector can't see our Pods: so it has none, and we write its slices.
//! Both belong to the Gateway by ownerReferences and go with it. Applied on the server side: nobody else writes our fields.

use std::collections::BTreeSet;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, Error};
use rust_ingress_model::ObjectRef;
use rust_ingress_model::status::GatewayService;
use serde_json::{Value, json};

use crate::status::gateway;
use crate::status::write::FIELD_MANAGER;

/// A Pod like ours that is ready: its address and its node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer {
    /// One of `status.podIPs`.
    pub ip: IpAddr,
    /// `spec.nodeName`
    pub node: String,
}

/// Makes the Service of a Gateway what it shall be.
///
/// # Errors
/// The API server's.
pub async fn apply(client: &Client, object: &ObjectRef, wish: &GatewayService, peers: &BTreeSet<Peer>) -> Result<(), Error> {
    let there = gateway::api(client.clone(), object).get(&object.name).await?;
    let owner = json!([{"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "name": object.name,
        "uid": there.metadata.uid, "controller": true}]);
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let services: Api<Service> = Api::namespaced(client.clone(), &object.namespace);
    services.patch(&wish.name, &params, &Patch::Apply(service(wish, &owner))).await?;
    let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), &object.namespace);
    for (family, is_of) in [("IPv4", IpAddr::is_ipv4 as fn(&IpAddr) -> bool), ("IPv6", IpAddr::is_ipv6)] {
        let peers: Vec<&Peer> = peers.iter().filter(|peer| is_of(&peer.ip)).collect();
        let name = format!("{}-{}", wish.name, family.to_ascii_lowercase());
        let slice = slice(wish, &owner, &name, family, &peers);
        slices.patch(&name, &params, &Patch::Apply(slice)).await?;
    }
    Ok(())
}

fn port_name(port: u16) -> String {
    format!("port-{port}")
}

fn service(wish: &GatewayService, owner: &Value) -> Value {
    let ports = wish
        .ports
        .iter()
        .map(|(port, target)| json!({"name": port_name(*port), "port": port, "targetPort": target, "protocol": "TCP"}));
    let mut annotations = wish.annotations.clone();
    let ports: Value = ports.collect();
    if wish.internal {
        let spec = json!({"type": "ClusterIP", "ipFamilyPolicy": "PreferDualStack", "ports": ports});
        return json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": wish.name, "labels": wish.labels, "annotations": annotations, "ownerReferences": owner},
            "spec": spec});
    }
    let mut spec = json!({
        "type": "LoadBalancer",
        // Each node hands on what comes to it to its own Pod of ours, and the client's address stays.
        "externalTrafficPolicy": "Local",
        "ipFamilyPolicy": "PreferDualStack",
        "ports": ports,
    });
    if let Some(class) = &wish.class {
        spec["loadBalancerClass"] = json!(class);
    }
    if !wish.source_ranges.is_empty() {
        spec["loadBalancerSourceRanges"] = json!(wish.source_ranges);
    }
    if wish.pooled {
        spec["allocateLoadBalancerNodePorts"] = json!(false);
    }
    if let Some(first) = wish.addresses.first() {
        let all: Vec<String> = wish.addresses.iter().map(IpAddr::to_string).collect();
        annotations.insert("rust-ingress.dev/addresses".into(), all.join(","));
        spec["loadBalancerIP"] = json!(first);
    }
    json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": wish.name, "labels": wish.labels, "annotations": annotations, "ownerReferences": owner},
        "spec": spec})
}

fn slice(wish: &GatewayService, owner: &Value, name: &str, family: &str, peers: &[&Peer]) -> Value {
    let ports = wish.ports.iter().map(|(port, target)| json!({"name": port_name(*port), "port": target, "protocol": "TCP"}));
    let endpoints = peers.iter().map(|peer| {
        // A Pod that asks goes to the proxy of its own node: straight from one node to another's proxy nobody may.
        json!({"addresses": [peer.ip], "nodeName": peer.node, "hints": {"forNodes": [{"name": peer.node}]},
            "conditions": {"ready": true, "serving": true, "terminating": false}})
    });
    let labels = json!({"kubernetes.io/service-name": wish.name, "endpointslice.kubernetes.io/managed-by": "rust-ingress.dev"});
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": name, "labels": labels, "ownerReferences": owner},
        "addressType": family, "endpoints": endpoints.collect::<Value>(), "ports": ports.collect::<Value>()})
}
