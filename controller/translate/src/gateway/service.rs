//! The Service of type LoadBalancer that a Gateway of a cluster wants, and what it has been given.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::Service;
use rust_ingress_model::status::{GatewayService, StatusAddress};
use rust_ingress_model::{Digest, Name};

use super::layout::Placed;
use super::listener::Gateway;
use super::parameters::Parameters;
use crate::l4::frontend::{GATEWAY_NAME, cluster_ips, is_of_gateway};
use crate::pool::{CLASS, POOL};

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
    let said = &placed.parameters.service;
    let mut labels = said.labels.clone();
    labels.extend(gateway.labels.clone());
    labels.insert(GATEWAY_NAME.into(), label.into());
    labels.insert("app.kubernetes.io/managed-by".into(), "rust-ingress".into());
    let served = !ports.is_empty() && placed.refused.is_none();
    let mut annotations = said.annotations.clone();
    annotations.extend(gateway.annotations.clone());
    let internal = is_internal(&placed.parameters);
    let balanced = Some(said).filter(|_| !internal);
    let pool = balanced.and_then(|said| said.address_pool.clone());
    let class = balanced.and_then(|said| said.load_balancer_class.clone()).or_else(|| pool.is_some().then(|| CLASS.to_owned()));
    let pooled = !internal && class.as_deref().map_or(pooled, |class| class == CLASS);
    annotations.extend(pool.map(|pool| (POOL.to_owned(), pool)));
    let addresses = gateway.ips().collect();
    let source_ranges = balanced.and_then(|said| said.load_balancer_source_ranges.clone()).unwrap_or_default();
    served.then(|| GatewayService {
        name: own.clone(),
        labels,
        annotations,
        ports,
        addresses,
        pooled,
        internal,
        class,
        source_ranges,
    })
}

/// The addresses that a Service has been given.
pub(crate) fn addresses(service: &Service, parameters: &Parameters) -> Vec<StatusAddress> {
    if is_internal(parameters) {
        let address = |ip: IpAddr| StatusAddress { r#type: "IPAddress".into(), value: ip.to_string().into() };
        return cluster_ips(service).map(address).collect();
    }
    balanced(service)
}

/// Whether a Gateway is reached from inside of the cluster alone.
fn is_internal(parameters: &Parameters) -> bool {
    parameters.service.kind.as_deref() == Some("ClusterIP")
}

/// Those that a load balancer has given.
fn balanced(service: &Service) -> Vec<StatusAddress> {
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
    let given = |service: &Service| is_of_gateway(service).then(|| balanced(service));
    given(old) == given(new)
}
