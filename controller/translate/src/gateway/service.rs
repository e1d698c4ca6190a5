//! The Service of type LoadBalancer that a Gateway of a cluster wants, and what it has been given.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Service;
use rust_ingress_model::status::{GatewayService, StatusAddress};
use rust_ingress_model::{Digest, Name};

use super::layout::Placed;
use super::listener::Gateway;
use crate::l4::frontend::{GATEWAY_NAME, is_of_gateway};

/// Longest name of a Service, and longest label (RFC 1123).
const LONGEST: usize = 63;

/// The name of a Gateway's Service: readable, and its own by a hash of the Gateway's.
pub(crate) fn name(gateway: &Gateway) -> Name {
    let hash = Digest::of(&(&gateway.reference.namespace, &gateway.reference.name)).to_string();
    let readable: String = gateway.reference.name.chars().map(|one| if one == '.' { '-' } else { one }).take(40).collect();
    format!("gateway-{}-{}", readable.trim_end_matches('-'), hash.get(..8).unwrap_or_default()).into()
}

/// The Service that a Gateway wants; none where nothing of it can be served: a Service has a port.
pub(crate) fn wanted(placed: &Placed<'_>, pooled: bool) -> Option<GatewayService> {
    let gateway = placed.gateway;
    let served = placed.listeners.iter().filter(|state| state.accepted.is_ok() && state.conflict.is_none());
    let ports = served.filter_map(|state| Some((state.listener.port, *placed.ports.get(&state.listener.port)?)));
    let ports: BTreeMap<u16, u16> = ports.collect();
    // A label has 63 characters, a Gateway's name up to 253.
    let full = &*gateway.reference.name;
    let own = name(gateway);
    let label = if full.len() <= LONGEST { full } else { &*own };
    let mut labels = gateway.labels.clone();
    labels.insert(GATEWAY_NAME.into(), label.into());
    labels.insert("app.kubernetes.io/managed-by".into(), "rust-ingress".into());
    let served = !ports.is_empty() && placed.refused.is_none();
    let (annotations, addresses) = (gateway.annotations.clone(), gateway.ips().collect());
    served.then(|| GatewayService { name: own.clone(), labels, annotations, ports, addresses, pooled })
}

/// The addresses that a Service has been given.
pub(crate) fn addresses(service: &Service) -> Vec<StatusAddress> {
    let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let entries = balancer.and_then(|balancer| balancer.ingress.as_ref()).into_iter().flatten();
    let address = |kind: &str, value: &str| StatusAddress { r#type: kind.into(), value: value.into() };
    let mut addresses: Vec<StatusAddress> = entries
        .filter_map(|entry| match (&entry.ip, &entry.hostname) {
            (Some(ip), _) => Some(address("IPAddress", ip)),
            (None, Some(name)) => Some(address("Hostname", name)),
            (None, None) => None,
        })
        .collect();
    addresses.sort();
    addresses.dedup();
    addresses
}

/// Whether a Service that changed is the same to its Gateway; of those that are none's only the spec matters.
pub(crate) fn same(old: &Service, new: &Service) -> bool {
    let given = |service: &Service| is_of_gateway(service).then(|| addresses(service));
    given(old) == given(new)
}
